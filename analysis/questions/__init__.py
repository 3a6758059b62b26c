"""What can be asked of runs: curves, ablations, comparisons, power."""
