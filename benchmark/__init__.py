"""The harness: everything around an agent."""
