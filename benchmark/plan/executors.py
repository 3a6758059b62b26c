"""Names executors and declares the options of each: ``hydra.launcher.<key>``.

``hydra/launcher=<name>`` chooses one. An installed package adds its own by the entry-point group
"prism.executors", which names a subclass of ``Options``.
"""

from dataclasses import dataclass, field, fields
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

from ..store.job import Job
from ..util.errors import ConfigError, unknown
from ..util.registry import find, registered


@dataclass
class Options:
    """Options of an executor; every number is positive.

    A subclass names its executor's class in ``executor``, as "module:Class". The class is built as
    ``Class(run, jobs, options)``; its protocol is ``Executor`` in benchmark/launch/executor.py.
    """

    executor: ClassVar[str]

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: a number is not positive.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
                raise ConfigError(f"hydra.launcher.{each.name}={value} must be above 0")

    def slots(self, threads: int, cores: int) -> int:
        """Return how many jobs of ``threads`` threads run at once on ``cores`` cores.

        Used to estimate a plan's duration; the executor may decide otherwise when it runs.
        """
        wanted: int | None = getattr(self, "n_jobs", 1)
        return wanted or max(1, cores // threads)

    def build(self, run: Any, jobs: list[Job]) -> Any:
        """Return the executor, ready to run ``run`` for each of ``jobs``.

        Raises:
            ConfigError: a requirement is missing or contradicts the jobs.
        """
        module, _, name = self.executor.partition(":")
        return getattr(import_module(module), name)(run, jobs, self)


@dataclass
class InlineOptions(Options):
    """Every job in this process, one after another: for a debugger."""

    executor = "prism.benchmark.launch.inline:Inline"


@dataclass
class LocalOptions(Options):
    """One process per job on this machine."""

    executor = "prism.benchmark.launch.local:Local"
    n_jobs: int | None = None  # jobs at once; null = the usable cores, or the places on devices
    devices: list[Any] = field(
        default_factory=list
    )  # GPUs to distribute jobs over: [0, 1], or GPU ids
    jobs_per_device: int = (
        1  # jobs that share a GPU; with device=cuda each job sees only its own GPU
    )

    def slots(self, threads: int, cores: int) -> int:
        """Return how many jobs run at once, at most one per place on a device."""
        places = len(self.devices) * self.jobs_per_device
        wanted = self.n_jobs or places or max(1, cores // threads)
        return min(wanted, places) if places else wanted


@dataclass
class SlurmOptions(Options):
    """One array task per job; the command only watches and can reattach to the tasks."""

    executor = "prism.benchmark.launch.slurm:Slurm"
    n_jobs: int = 1000  # tasks in the queue at once
    arguments: list[str] = field(default_factory=list)  # of sbatch: ["--partition=gpu"]
    period: float = 5.0  # seconds between two looks at the queue


@dataclass
class RayOptions(Options):
    """One Ray task per job; needs the extra "ray"."""

    executor = "prism.benchmark.launch.ray:Ray"
    n_jobs: int | None = None  # tasks in flight; null = two more than the cluster has room for
    address: str = (
        "local"  # local: start a cluster on this machine; else the address of a running one
    )
    resources: dict[str, Any] = field(default_factory=dict)  # of a task: {num_gpus: 0.5}
    shared: bool = True  # every node sees the results folder; false sends files both ways

    def __post_init__(self) -> None:
        """Check the numbers, and that Ray is installed, before anything is written."""
        super().__post_init__()
        try:
            import_module("ray")
        except ImportError:
            raise ConfigError(
                "hydra/launcher=ray: Ray is not installed; pip install 'prism-rl[ray]'"
            ) from None


_OURS = {
    "inline": "prism.benchmark.plan.executors:InlineOptions",
    "local": "prism.benchmark.plan.executors:LocalOptions",
    "slurm": "prism.benchmark.plan.executors:SlurmOptions",
    "ray": "prism.benchmark.plan.executors:RayOptions",
}


@cache
def executors() -> dict[str, str]:
    """Return the options class, as "module:Class", of every executor by its name."""
    return registered("prism.executors", _OURS)


def options_class(name: str) -> type[Options]:
    """Return the options of the executor called ``name``.

    Raises:
        ConfigError: no such executor, or its package cannot be imported.
    """
    if name not in executors():
        raise unknown("hydra/launcher", name, executors())
    options: type[Options] = find("hydra/launcher", name, executors())
    return options
