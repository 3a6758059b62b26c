"""Checks that the configs of all agents share; each raises ValueError with one line."""

import math


def one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise unless ``value`` is one of the names."""
    if value not in allowed:
        raise ValueError(f"{key} must be one of {', '.join(allowed)}, got {value!r}")


def within(key: str, value: float, low: float, high: float) -> None:
    """Raise unless ``value`` lies in [low, high]."""
    if not low <= value <= high:
        bounds = f"at least {low}" if high == math.inf else f"between {low} and {high}"
        raise ValueError(f"{key} must be {bounds}, got {value}")
