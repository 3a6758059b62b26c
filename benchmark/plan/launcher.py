"""Reads the executor of a sweep from the ``hydra`` words of a command line.

Hydra only composes; Prism launches. Of Hydra's own keys, Prism takes ``hydra/launcher=`` and
``hydra.launcher.<key>=``.
"""

from collections.abc import Sequence

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from ..util.errors import ConfigError
from .config import build, one_line_errors, session, update
from .executors import Options, executors, options_class

_REFUSED = {  # the start of a key -> what to say instead
    "hydra.run": "Prism keeps its own folders: set results=<folder> and name=<study>",
    "hydra.sweep.": "Prism keeps its own folders: set results=<folder> and name=<study>",
    "hydra.sweeper": "Prism plans grids itself: give a key several values with commas",
    "hydra/sweeper": "Prism plans grids itself: give a key several values with commas",
    "hydra.job": "name a study with name=<study>",
}


def is_launchers(word: str) -> bool:
    """Return whether a command-line word belongs to Hydra rather than the grid."""
    return word.lstrip("+~").startswith(("hydra.", "hydra/"))


def launcher(words: Sequence[str]) -> Options:
    """Return the executor's options from the ``hydra`` words of a command line.

    Raises:
        ConfigError: a word that does not concern the launcher, or an option that it does not have.
    """
    for word in words:
        _check(word.partition("=")[0], word.partition("=")[2])
    choices = [word for word in words if word.startswith("hydra/")]
    with session():
        with one_line_errors():
            config = compose("config", overrides=choices, return_hydra_config=True)
            parser = OverridesParser.create(GlobalHydra.instance().config_loader())
            overrides = parser.parse_overrides([word for word in words if word not in choices])
        config = OmegaConf.create({"hydra": {"launcher": config.hydra.launcher}})
        OmegaConf.set_struct(config, True)
        for override in overrides:
            update(config, override.key_or_group, override.value())
        options: Options = build(config.hydra, "launcher")
        return options


def _check(key: str, value: str) -> None:
    if key == "hydra.launcher":
        raise ConfigError(f"hydra.launcher={value}: write hydra/launcher={value}")
    for start, instead in _REFUSED.items():
        if key.startswith(start):
            raise ConfigError(f"{key}: {instead}")
    if key != "hydra/launcher" and not key.startswith("hydra.launcher."):
        raise ConfigError(
            f"{key}: of Hydra's own keys Prism takes hydra/launcher= and hydra.launcher.<key>="
        )
    if key == "hydra/launcher" and value in executors():
        options_class(value)  # raises if its package cannot be imported
