"""Checks that the configs of all agents share; each raises ValueError with one line."""

import math
from collections.abc import Sequence
from typing import Protocol

from . import optim, schedules


def one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise unless ``value`` is one of the names."""
    if value not in allowed:
        raise ValueError(f"{key} must be one of {', '.join(allowed)}, got {value!r}")


def within(key: str, value: float, low: float, high: float) -> None:
    """Raise unless ``value`` lies in [low, high] and is finite."""
    if not low <= value <= high or math.isinf(value):
        bounds = f"at least {low}" if high == math.inf else f"between {low} and {high}"
        finite = " and finite" if math.isinf(value) else ""
        raise ValueError(f"{key} must be {bounds}{finite}, got {value}")


def above(key: str, value: float, low: float, where: str = "") -> None:
    """Raise unless ``value`` is above ``low`` and finite; ``where`` says in which case."""
    if not low < value < math.inf:
        raise ValueError(f"{key} must be above {low}{where}, got {value}")


class _Optimizer(Protocol):
    optimizer: str
    lr: float
    adam_eps: float
    betas: list[float]
    grad_clip: float | None


def check_optimizer(config: _Optimizer) -> None:
    """Raise unless a config's fields describe an optimiser that descends."""
    one_of("optimizer", config.optimizer, optim.KINDS)
    within("lr", config.lr, 0, math.inf)
    above("adam_eps", config.adam_eps, 0)  # at 0, a parameter without gradients becomes NaN
    if len(config.betas) != 2 or not all(0 <= beta < 1 for beta in config.betas):
        raise ValueError(f"betas must be two numbers from 0 to below 1, got {list(config.betas)}")
    if config.grad_clip is not None:
        above("grad_clip", config.grad_clip, 0)


class _Policy(Protocol):
    kind: str
    start: float
    end: float
    fraction: float
    schedule: str


def check_schedule(key: str, policy: _Policy, kinds: tuple[str, ...]) -> None:
    """Raise unless the settings ``key`` of a behaviour policy make a schedule of its level.

    The level is a probability (epsilon_greedy), a temperature (boltzmann), else not negative.
    """
    one_of(f"{key}.kind", policy.kind, kinds)
    one_of(f"{key}.schedule", policy.schedule, schedules.KINDS)
    within(f"{key}.fraction", policy.fraction, 0, 1)
    levels = {"start": policy.start, "end": policy.end}
    for name, level in levels.items():
        within(f"{key}.{name}", level, 0, 1 if policy.kind == "epsilon_greedy" else math.inf)
    if policy.schedule in ("glie", "constant"):
        del levels["end"]  # is not reached
    for name, level in levels.items():
        if policy.kind == "boltzmann":
            above(f"{key}.{name}", level, 0, f" with {key}.kind=boltzmann (a temperature)")
        if policy.schedule == "exponential":
            above(f"{key}.{name}", level, 0, f" with {key}.schedule=exponential")


def check_layers(hidden: Sequence[int], conv: Sequence[Sequence[int]] = ()) -> None:
    """Raise unless every layer has a width and every convolution channels, kernel and stride."""
    if min(hidden, default=1) < 1:
        raise ValueError(f"hidden must be widths of at least 1, got {list(hidden)}")
    for layer in conv:
        if len(layer) != 3 or min(layer) < 1:
            says = "conv must be [channels, kernel, stride] of each layer, all at least 1"
            raise ValueError(f"{says}; got {list(layer)}")


def check_cadence(lanes: int, train_every: int) -> None:
    """Raise unless updates every ``train_every`` steps can fall on ticks of ``lanes`` steps.

    Up to ``lanes`` steps, an update is due at each tick.
    """
    if train_every > lanes and (rest := train_every % lanes):
        near = f"{train_every - rest} or {train_every - rest + lanes}"
        says = f"must be at most lanes={lanes} or a multiple of it, for instance {near}"
        raise ValueError(f"train_every {says}; got {train_every}")
