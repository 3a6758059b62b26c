"""Schedules of one number over the steps of a run."""

from dataclasses import dataclass

KINDS = ("linear", "exponential", "harmonic", "constant")


@dataclass(frozen=True)
class Schedule:
    """A value that goes from ``start`` to ``end`` within the first ``steps`` steps.

    ``linear`` and ``exponential`` reach ``end`` at ``steps`` and stay. ``harmonic`` is
    ``start / (1 + step / steps)``: greedy in the limit, and its sum diverges. That is not enough
    for infinite exploration: a state that two exploratory steps in a row lead to is met finitely
    often. GLIE (Singh et al. 2000) counts the visits of each state, see ``tabular/config.py``.
    ``constant`` stays at ``start``.

    Raises:
        ValueError: unknown kind, or an exponential one that starts or ends at zero or below.
    """

    kind: str
    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"schedule must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.kind == "exponential" and min(self.start, self.end) <= 0:
            raise ValueError("an exponential schedule needs start and end above 0")

    def __call__(self, step: int) -> float:
        """Return the value at environment step ``step``."""
        if self.kind == "constant":
            return self.start
        share = step / max(self.steps, 1)
        if self.kind == "harmonic":
            return self.start / (1 + share)
        share = min(share, 1.0)
        if self.kind == "linear":
            return self.start + (self.end - self.start) * share
        return float(self.start * (self.end / self.start) ** share)
