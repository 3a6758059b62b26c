"""Where a run's rows go: local files, the truth, and Weights & Biases, their mirror."""
