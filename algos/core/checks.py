"""Checks of settings that belong together; each raises ValueError with one line.

What one setting alone may be stands beside it (``settings.py``).
"""

from .configs import LevelConfig


def check_schedule(key: str, policy: LevelConfig) -> None:
    """Raise unless the settings ``key`` of a behaviour policy make a schedule of its level.

    The level is a probability (epsilon_greedy), a temperature (boltzmann), else not negative.
    """
    levels = {"start": policy.start, "end": policy.end}
    for name, level in levels.items():
        if policy.kind == "epsilon_greedy" and level > 1:
            raise ValueError(f"{key}.{name} must be between 0 and 1, got {level}")
    if policy.schedule not in ("linear", "exponential"):
        del levels["end"]  # is not reached
    for name, level in levels.items():
        if level > 0:
            continue
        if policy.kind == "boltzmann":
            why = "kind=boltzmann (a temperature)"
        elif policy.schedule == "exponential":
            why = "schedule=exponential"
        else:
            continue
        raise ValueError(f"{key}.{name} must be above 0 with {key}.{why}, got {level}")


def check_cadence(lanes: int, train_every: int) -> None:
    """Raise unless updates every ``train_every`` steps can fall on ticks of ``lanes`` steps.

    Up to ``lanes`` steps, an update is due at each tick.
    """
    if train_every > lanes and (rest := train_every % lanes):
        near = f"{train_every - rest} or {train_every - rest + lanes}"
        says = f"must be at most lanes={lanes} or a multiple of it, for instance {near}"
        raise ValueError(f"train_every {says}; got {train_every}")
