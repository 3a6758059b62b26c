"""Read runs from their sources, and check which of them can be scored."""
