"""The Python interface for notebooks and scripts: train runs and load studies."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from prism.analysis import Study, load
from prism.benchmark.cli.ending import end
from prism.benchmark.launch.core import launch
from prism.benchmark.plan.executors import InlineOptions, Options, options_class
from prism.benchmark.plan.grid import sweep_of
from prism.benchmark.util.errors import ConfigError

__all__ = ["Choice", "choice", "load", "run"]

Names = str | Iterable[str]
_EXAMPLES = {"algo": "dqn", "env": "cartpole"}


class Choice(tuple[Any, ...]):
    """Several values of one key; see ``choice``."""


def choice(*values: Any) -> Choice:
    """Sweep a key over values: ``run(..., algo__lr=choice(1e-3, 1e-4))``."""
    return Choice(values)


def run(
    algo: Names | None = None,
    env: Names | None = None,
    *,
    seeds: int | Iterable[int] | None = None,
    launcher: str | Mapping[str, Any] | None = None,
    **overrides: Any,
) -> Study:
    """Train what ``prism algo=... env=...`` trains, and return the study's results.

    The same call again skips what is finished and resumes what is not. Progress is printed.

    Args:
        algo: one or several names of algorithms; not needed if ``study`` sets them.
        env: likewise for environments.
        seeds: one seed or several; the seeds of a cell train together.
        launcher: an executor ("inline", "local", "slurm", "ray"), or a mapping with its options,
            ``{"name": "local", "n_jobs": 4}``. Default: inline for one job, else local.
        overrides: any other key of the command line (``budget=50_000``, ``study="quickstart"``,
            ``name="mine"``), with two underscores for a dot: ``algo__lr=1e-3``. ``choice`` gives
            a key several values.

    Returns:
        The study's results, also those of earlier calls under the same ``name``.

    Raises:
        ConfigError: bad input; one line that names the key, before anything runs.

    Warns:
        RuntimeWarning: some of the planned runs did not finish.
    """
    named = {"algo": algo, "env": env, "seed": seeds}
    axes = {key: _values(value) for key, value in named.items() if value is not None}
    for key in ("algo", "env"):
        for name in axes.get(key, ()):
            if not isinstance(name, str) or "=" in name:
                raise ConfigError(f"{key}: {name!r} is not a name; say {key}='{_EXAMPLES[key]}'")
    if seeds is not None and "seed" in overrides:
        raise ConfigError("seed: say seeds= or seed=, not both")
    for key, value in overrides.items():
        axes[key.replace("__", ".")] = list(value) if isinstance(value, Choice) else [value]
    plan = sweep_of(axes)
    if plan.dry_run:
        raise ConfigError("dry_run: it is for the command line; sweep_of plans without running")
    options = _options(launcher, single=len(plan.jobs) == 1)
    if not launch(plan, options, then=end):
        message = f"{plan.study}: some runs did not finish; see prism status {plan.study_dir}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return load(plan.study_dir)


def _values(value: Any) -> list[Any]:
    """Return the values of an axis as a list, whether it is one value or several."""
    if isinstance(value, str | int) or not isinstance(value, Iterable):
        return [value]
    return [each.item() if hasattr(each, "item") else each for each in value]


def _options(launcher: str | Mapping[str, Any] | None, single: bool) -> Options:
    if launcher is None:
        return InlineOptions() if single else options_class("local")()
    if isinstance(launcher, str):
        return options_class(launcher)()
    arguments = dict(launcher)
    options = options_class(str(arguments.pop("name", "local")))
    try:
        return options(**arguments)
    except TypeError as error:
        raise ConfigError(f"launcher: {str(error).partition(') ')[2]}") from None
