"""Finds configuration files: Prism's, those of installed packages, and the user's."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..util.registry import entry_points

CONF = Path(__file__).resolve().parents[2] / "conf"
FOLDERS_VARIABLE = "PRISM_CONF"


def config_folders() -> str:
    """Return the folders given by ``--config-dir``, separated as in PATH."""
    return os.environ.get(FOLDERS_VARIABLE, "")


def own_folders() -> list[str]:
    """Return the user's config folders as a list."""
    return [folder for folder in config_folders().split(os.pathsep) if folder]


def packages() -> dict[str, str]:
    """Return config packages by name, from the entry-point group "prism.conf"."""
    return {entry.name: entry.value for entry in entry_points("prism.conf")}


def files(group: str) -> dict[str, Path]:
    """Return the YAML files of a config group by name; duplicates resolve as in Hydra."""
    folders = [CONF, *_others()]
    paths = [path for folder in reversed(folders) for path in (folder / group).glob("*.yaml")]
    return dict(sorted((path.stem, path) for path in paths))


def _others() -> list[Path]:
    """Return the folders of ``--config-dir`` and of config packages."""
    folders = list(map(Path, own_folders()))
    for package in packages().values():
        with suppress(ImportError, ValueError):
            spec = find_spec(package)
            folders += map(Path, (spec and spec.submodule_search_locations) or ())
    return folders


def named() -> set[str]:
    """Return every text in the YAML files of ``--config-dir`` and of config packages."""
    from omegaconf import OmegaConf  # completion at every TAB has no need of it

    texts: set[str] = set()
    for folder in _others():
        for path in folder.glob("*/*.yaml"):
            with suppress(Exception):  # a broken file is reported where it is used
                texts.update(_texts(OmegaConf.to_container(OmegaConf.load(path))))
    return texts


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


def about(path: Path) -> str:
    """Return the first sentence of a YAML file's comments; "" if it has none."""
    comments = (line[1:].strip() for line in path.read_text().splitlines() if line[:1] == "#")
    text = " ".join(line for line in comments if not line.startswith("@package")).strip()
    return re.split(r"(?<=[^.][.:;])\s", text, maxsplit=1)[0].rstrip(".:;")
