"""The life of one job: the training loop, its records, evaluations and checkpoints."""
