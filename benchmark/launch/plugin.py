"""Our Hydra plug-ins. Hydra imports this at every start, so whatever is slow is imported late."""

import os
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import unquote

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class PrismSweeper(Sweeper):
    """Hands the whole grid to the launcher at once: seeds of one cell are trained together.

    Args:
        arguments: the grid as command-line overrides, in addition to those Hydra itself was given;
            "$" and "%" as in a URL.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self.arguments = list(map(unquote, arguments))

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Build the launcher that the config names."""
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        """Run every cell."""
        assert self.launcher is not None
        return self.launcher.launch([[*self.arguments, *arguments]], initial_job_idx=0)


class PrismLauncher(Launcher):
    """Runs grids with one of our executors.

    Args:
        executor: "local" or "inline".
        options: the executor's own arguments.
    """

    def __init__(self, executor: str, **options: Any) -> None:
        self.executor, self.options = executor, options

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Nothing is needed from Hydra: a grid brings its own configs."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run grids, each given by its overrides, one grid after another."""
        from ..plan.grid import sweep
        from .core import launch

        returns = []
        for overrides in job_overrides:
            complete = launch(sweep(tuple(overrides)), self.executor, self.options)
            status = JobStatus.COMPLETED if complete else JobStatus.FAILED
            returns.append(JobReturn(overrides=list(overrides), status=status))
        return returns


class PrismSearchPath(SearchPathPlugin):
    """Adds config folders of the user, and packages that distributions name in "prism.conf"."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append each of them, in our own application only."""
        main = next((s.path for s in search_path.get_path() if s.provider == "main"), None)
        if main is None or not main.endswith("conf"):
            return
        for folder in filter(None, os.environ.get("PRISM_CONF", "").split(os.pathsep)):
            search_path.append(provider="config-dir", path=f"file://{folder}")
        for entry in entry_points(group="prism.conf"):
            search_path.append(provider=entry.name, path=f"pkg://{entry.value}")
