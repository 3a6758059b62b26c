"""The names in ``conf/env`` of the environments that other programs name by their id."""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

_LINE = re.compile(r"^(name|id): *(\S+)", re.MULTILINE)


def renamed(envs: Iterable[str]) -> dict[str, str]:
    """Return the ``conf/env`` name of each id that one has: ``CartPole-v1`` is ``cartpole``.

    Another version of an environment is another environment, with other scores.
    """
    return {env: names[env] for env in dict.fromkeys(envs) if env in (names := _names())}


@cache
def _names() -> dict[str, str]:
    by_id = defaultdict(list)
    for path in (files("prism") / "conf" / "env").iterdir():
        found = dict(_LINE.findall(path.read_text()))
        if {"name", "id"} <= set(found) and "$" not in found["name"]:
            by_id[found["id"]].append(found["name"])
    return {id_: name for id_, names in by_id.items() if (name := _main(id_, names))}


def _main(id_: str, names: list[str]) -> str | None:
    """Return the only name of an id, or the one that is spelled like it."""
    stem = re.sub(r"^.*/|-v\d+$", "", id_).lower()
    return names[0] if len(names) == 1 else next((n for n in names if n == stem), None)
