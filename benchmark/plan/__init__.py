"""What is asked for: configs, axes, variants and grids, checked before anything runs."""
