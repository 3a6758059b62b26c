"""Trackers: mirrors of a run's local rows, which stay the source of truth."""
