"""Where a run's rows go beside the local files, which are the truth: trackers, their mirrors."""
