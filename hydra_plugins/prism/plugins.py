"""Where Hydra looks for plug-ins; ours are written in benchmark/launch/plugin.py."""

from prism.benchmark.launch import plugin


class Sweeper(plugin.PrismSweeper):
    """Selected by ``hydra/sweeper=prism``."""


class Launcher(plugin.PrismLauncher):
    """Selected by ``hydra/launcher=local`` and ``hydra/launcher=inline``."""


class SearchPath(plugin.PrismSearchPath):
    """Finds the configs of installed packages."""
