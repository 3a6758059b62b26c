"""Benchmarks of speed and memory; one module per family lists its cases."""
