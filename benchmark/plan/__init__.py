"""Planning: configs, axes, variants and grids, checked before anything runs."""
