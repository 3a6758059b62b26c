"""The launcher: runs planned jobs with an executor, retries failures, shows progress and prices."""
