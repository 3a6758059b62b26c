"""From planned jobs to finished run folders: the launcher's core, its executors, what it shows."""
