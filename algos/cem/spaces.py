"""Which actions the cross-entropy method can take."""

from gymnasium import spaces


def refused(space: spaces.Space) -> str | None:
    """Say why actions of a space are impossible, or None: they are discrete or a bounded vector."""
    if isinstance(space, spaces.Discrete):
        return None
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.is_bounded():
        return None
    return f"it needs discrete actions or a bounded vector of them, the environment has {space}"
