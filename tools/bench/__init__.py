"""Speed and memory, measured; a module per family lists its cases."""
