"""What the executors can be told: ``hydra.launcher.<key>`` with ``hydra/launcher=<executor>``."""

from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import Any

from ..util.errors import ConfigError


@dataclass
class Options:
    """Common to all executors; every number is positive."""

    _target_: str = "hydra_plugins.prism.plugins.Launcher"
    executor: str = "inline"  # every job in this process, one after another: for a debugger

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one that is not positive.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
                raise ConfigError(f"hydra.launcher.{each.name}={value} must be above 0")


@dataclass
class LocalOptions(Options):
    """One process per job on this machine."""

    executor: str = "local"
    n_jobs: int | None = None  # at once; null = the cores that we may use, or places on devices
    devices: list[Any] = field(default_factory=list)  # GPUs to share out: [0, 1], or ids of GPUs
    jobs_per_device: int = 1  # that share a GPU; with device=cuda each sees its own GPU alone


@dataclass
class SlurmOptions(Options):
    """One task of an array per job; the command only watches, and finds the tasks again."""

    executor: str = "slurm"
    n_jobs: int = 1000  # tasks in the queue at once
    arguments: list[str] = field(default_factory=list)  # of sbatch: ["--partition=gpu"]
    period: float = 5.0  # seconds between two looks at the queue


@dataclass
class RayOptions(Options):
    """One Ray task per job; needs the extra "ray"."""

    executor: str = "ray"
    n_jobs: int | None = None  # tasks in flight; null = two more than the cluster has room for
    address: str = "local"  # a cluster of this machine's own, or the address of one that runs
    resources: dict[str, Any] = field(default_factory=dict)  # of a task: {num_gpus: 0.5}
    shared: bool = True  # every node sees the results folder; false sends files both ways

    def __post_init__(self) -> None:
        """Check the numbers, and that Ray is here, before anything is written."""
        super().__post_init__()
        try:
            import_module("ray")
        except ImportError:
            raise ConfigError(
                "hydra/launcher=ray: Ray is not installed; pip install 'prism-rl[ray]'"
            ) from None


OPTIONS: dict[str, type[Options]] = {
    "inline": Options,
    "local": LocalOptions,
    "slurm": SlurmOptions,
    "ray": RayOptions,
}
