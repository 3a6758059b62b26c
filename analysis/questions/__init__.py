"""The statistics of runs: curves, scores, ablations, factorials, comparisons, power."""
