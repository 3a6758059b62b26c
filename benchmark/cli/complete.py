"""Shell completion of commands, names and keys. To be fast, importing this does not import torch.

The keys come from the agents' settings, which take seconds to import, so they are cached in the
user's cache folder until the code changes.
"""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..plan.places import CONF, config_folders, files
from ..util import atomic
from ..util.errors import ConfigError
from ..util.registry import entry_points
from .texts import READERS

_GROUPS = ("algo", "env", "study", "tracking", "tuned", "hydra/launcher")
_WORDS = {
    "components": ("preset", "leave_one_out", "add_one_in", "none"),
    "stale": ("refuse", "rerun", "keep"),
    "on_failure": ("continue", "stop", "stop_after:"),
    **dict.fromkeys(("strict", "dry_run"), ("true", "false")),
}
_LAUNCHERS = ("inline", "local", "slurm", "ray")
COMMANDS = (
    *(
        "check-agent",
        "check-env",
        "completion",
        "delete",
        "enjoy",
        "evaluate",
        "extend",
        "help",
        "list",
        "logs",
        "merge",
        "prune",
    ),
    *("rename", "resume", "run", "status", "stop", "study", "submit", "video"),
    *("wandb-push", "wandb-report"),
)
BASH = """\
_prism() {
  local IFS=$'\\n' word="${COMP_LINE:0:COMP_POINT}"
  word="${word##* }"
  COMPREPLY=($(prism complete "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
  [[ $word == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%=*}="}")  # bash splits words at "="
  [[ ${COMPREPLY[0]} == *[=.:] ]] && compopt -o nospace
}
complete -o default -F _prism prism
"""
ZSH = """\
_prism() {
  local -a words open
  local each
  for each in "${(@f)$(prism complete "$LBUFFER" 2>/dev/null)}"; do
    [[ -z $each ]] && continue
    if [[ $each == *[=.:] ]]; then open+=("$each"); else words+=("$each"); fi
  done
  (( $#words + $#open )) || { _files; return; }
  (( $#words )) && compadd -- $words
  (( $#open )) && compadd -S '' -- $open
}
compdef _prism prism
"""
SHELLS = {"bash": BASH, "zsh": ZSH}


def candidates(line: str) -> list[str]:
    """Return the completions of the last word of a command line.

    Args:
        line: the command line up to the cursor, ``prism`` included.
    """
    words = line.split(" ")
    *before, word = words[1:] or [""]
    key, equals, value = word.partition("=")
    if equals:
        chosen, comma, last = value.rpartition(",")
        return [f"{key}={chosen}{comma}{name}" for name in _values(key) if name.startswith(last)]
    before = [each for each in before if each and not each.startswith("-")]
    if before[:1] == ["list"]:
        return [
            name
            for name in ("algos", "envs", "studies", "executors", "results")
            if name.startswith(word)
        ]
    if before[:1] == ["completion"]:
        return [name for name in SHELLS if name.startswith(word)]
    if before[:1] == ["study"] and len(before) == 1:
        return [name for name in files("study") if name.startswith(word)]
    if before and before[0] in {*COMMANDS, *READERS} - {"run", "study", "submit", "help"}:
        return []  # the shell completes folders
    names = [f"{group}=" for group in _GROUPS]
    if not before:
        names += [*COMMANDS, *READERS]
    if before[:1] == ["help"]:
        names = ["algo=", "env=", "study=", *COMMANDS, *READERS]
    else:
        names += _keys(before) if "." in word else _tops(before)
    return sorted({name for name in names if name.startswith(word)})


def _values(key: str) -> Iterable[str]:
    if key == "hydra/launcher":
        plugins = [each.name for each in entry_points("prism.executors")]
        return [*_LAUNCHERS, *plugins, *files(key)]
    if key in _GROUPS:
        return [*files(key), *(("true", "false") if key == "tuned" else ())]
    return _WORDS.get(key, ())


def _tops(words: list[str]) -> list[str]:
    """Return the keys without a dot, and the first parts of those with one."""
    keys = _keys(words)
    return [
        f"{key.partition('.')[0]}." if "." in key else f"{key}="
        for key in (each.removesuffix("=") for each in keys)
        if key not in _GROUPS
    ]


def _keys(words: list[str]) -> list[str]:
    """Return every key; those under ``algo`` only of the algorithms in ``words``, if any."""
    valid = _known()
    chosen = [word.partition("=")[2] for word in words if word.startswith("algo=")]
    algos = [name for each in chosen for name in each.split(",") if name in valid["algo"]]
    settings = {key for name in algos or valid["algo"] for key in valid["algo"][name]}
    keys = [*valid["root"], *(f"algo.{key}" for key in settings)]
    return [f"{key}=" for key in keys]


def _known() -> dict[str, Any]:
    """Return all keys, from the cache if possible: {"root": [...], "algo": {preset: [...]}}."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prism"
    path = folder / f"keys-{_state_of_code()}.json"
    with suppress(OSError, ValueError):
        cached: dict[str, Any] = json.loads(path.read_text())
        return cached
    from ..plan.keys import keys  # seconds: it imports torch

    valid = keys()
    with suppress(OSError):  # without a writable home, completion works but is slow
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("keys-*.json"):
            old.unlink(missing_ok=True)
        atomic.write(path, json.dumps(valid).encode())
    return valid


def _state_of_code() -> str:
    """Return a hash that changes with Prism's modules and configs and the user's config folders."""
    files = (
        p for part in ("algos", "benchmark", "conf") for p in (CONF.parent / part).rglob("*.*")
    )
    newest = max(path.stat().st_mtime_ns for path in files if path.suffix in (".py", ".yaml"))
    return sha256(f"{newest} {config_folders()}".encode()).hexdigest()[:16]


def main(words: list[str]) -> int:
    """Print the script for a shell (``completion bash``) or the candidates for a line."""
    if words[0] == "complete":
        print("\n".join(candidates(words[1] if len(words) > 1 else "")))
        return 0
    if len(words) != 2 or words[1] not in SHELLS:
        raise ConfigError("completion takes the name of a shell: bash or zsh")
    print(SHELLS[words[1]], end="")
    return 0
