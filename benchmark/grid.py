"""Grids: from a command line or a study to jobs.

A grid is a product of axes; a study's ``grid`` is one such mapping or a list of them, their union::

    # @package _global_
    name: rainbow_ablation
    seed: range(0,10)                       # any config key may stand in a study
    grid:
      - {algo: [dqn, rainbow], env: [acrobot, cartpole]}
      - {algo: rainbow, env: acrobot, components: [leave_one_out, none]}
      - {algo: dqn, env: acrobot, algo.lr: [1e-3, 1e-4]}

The values of an axis are a list, one value, or Hydra's grammar in a string ("range(0,10)"). A key
on the command line replaces the axis of that name in every grid. The seeds of a cell form one job,
or several with ``seeds_per_job``. Two more keys shape a grid, there or on the command line: ``zip``
names axes that go in step, ``exclude`` lists what to leave out, by axes and by a variant's label::

      - {algo: [dqn, c51], algo.lr: [1e-3, 1e-4], zip: [algo, algo.lr], env: [acrobot, cartpole],
         exclude: [{algo: c51, env: cartpole}, {label: "DQN, lr=0.001", env: acrobot}]}

The axis ``components`` makes variants from what an algorithm declares in ``COMPONENTS``:
``preset`` (as it is), ``leave_one_out`` (each that is on, taken out: "Rainbow - double"),
``add_one_in`` (each that is off, put in: "DQN + double"), ``none`` (all taken out: "Rainbow -
all"), ``-double`` and ``+double`` (that one). A component's switch is the first key of its ``off``;
it is off where the config holds that value. ``base`` and ``full`` of a variant are the labels of
the presets of the same agent with no and with every component; "<full> - all" without a base.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from algos.core.agent import Spec
from benchmark import config as cfg
from benchmark import ledger, schema, store, variants
from benchmark.agents import agent_class
from benchmark.envs.config import from_dict
from benchmark.envs.make import make_spec
from benchmark.errors import ConfigError, unknown
from benchmark.job import Job, Sweep

Axes = dict[str, list[Any]]  # key -> its values

_GROUPS = ("algo", "env", "study", "tracking", "tuned")
_ONCE = (
    *("study", "tracking", "name", "results", "stale", "strict", "dry_run", "grid", "resume"),
    *("seeds_per_job", "on_failure", "zip", "exclude"),
)
_NOT_LABELLED = ("algo", "env", "env.id", "seed", "components")


@dataclass
class Cell:
    """One variant on one environment, without its seeds."""

    algo: str
    env: str
    variant: schema.Variant
    config: dict[str, Any]
    tuned: str | None

    def job(self, study: str, study_dir: Path, runs: Sequence[tuple[int, str]]) -> Job:
        """Return the job that trains these (seed, run_id) of the cell together."""
        seeds, run_ids = [seed for seed, _ in runs], [run for _, run in runs]
        job_id = store.job_id(self.config, self.algo, self.env, seeds)
        return Job(study, str(study_dir), job_id, **vars(self), seeds=seeds, run_ids=run_ids)


@cache
def sweep(overrides: tuple[str, ...]) -> Sweep:
    """Return the sweep that command-line ``overrides`` describe, every cell checked.

    Raises:
        ConfigError: the first mistake, in one line that names the key and the nearest valid names.
    """
    with cfg.session():
        given = _parse(overrides)
        choices = tuple(f"{key}={given[key][0]}" for key in ("study", "tracking") if key in given)
        root = deepcopy(cfg.composed(*choices))
        for key, values in given.items():
            if _once(key) and len(values) > 1:
                raise ConfigError(f"{key} takes one value, got {values}")
            if _once(key) and key not in _GROUPS:
                cfg.assign(root, key, values[0])
        if root.stale not in cfg.STALE:
            raise unknown("stale", root.stale, cfg.STALE)
        if root.seeds_per_job is not None and root.seeds_per_job < 1:
            raise ConfigError(f"seeds_per_job={root.seeds_per_job} must be at least 1")
        folder = Path(root.resume or Path(root.results) / root.name).absolute()
        plan = Sweep(
            study=folder.name,
            study_dir=folder,
            stale=root.stale,
            dry_run=root.dry_run,
            retry=cfg.to_dict(root.retry),
            stop_after=cfg.stop_after(root.on_failure),
        )
        if root.resume is not None:
            if grid_words := [key for key in given if not _once(key)]:
                raise ConfigError(f"{grid_words[0]}: the plan of a study to resume is fixed")
            plan.jobs = ledger.planned_jobs(folder, ledger.read_plan(folder))
            return plan
        taken: dict[str, str] = {}  # run_id -> run_id, and "label|env|seed" -> run_id
        for grid in _grids(root, given):
            grid.check()
            wanted = seeds(grid.axes.pop("seed"))
            for cell in _cells_of(plan, grid, choices):
                plan.jobs.extend(_pack(plan, cell, wanted, taken, root.seeds_per_job))
        if plan.skipped and (root.strict or not plan.jobs):
            first = plan.skipped[0]
            raise ConfigError(f"algo={first['algo']} env={first['env']}: {first['reason']}")
        if not plan.jobs:
            raise ConfigError("exclude leaves no cell of the grid")
        return plan


def _once(key: str) -> bool:
    """Say whether a key is about the command as a whole, not about a cell."""
    return key in _ONCE or key.startswith("retry.")


def _parse(overrides: Sequence[str]) -> Axes:
    """Read ``key=value`` words in Hydra's grammar; the hydra.* ones are not ours."""
    axes: Axes = {}
    for word in overrides:
        override = _read(word)
        if override.is_hydra_override():
            continue
        if override.type is not OverrideType.CHANGE or override.package is not None:
            raise ConfigError(f"{word}: a key can be set (key=value), not added or deleted")
        axes[override.key_or_group] = _values(override)
    return axes


def _read(word: str) -> Override:
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    try:
        return parser.parse_overrides([word])[0]
    except HydraException as error:
        raise ConfigError(f"cannot read {word!r}: {cfg.one_line(error)}") from None


def _values(override: Override) -> list[Any]:
    if override.is_sweep_override():
        if not override.is_discrete_sweep():
            raise ConfigError(f"{override.input_line}: list the values, an interval has none")
        values = list(override.sweep_iterator())
        return [Override._convert_value(value) for value in values]
    return [override.value()]


@dataclass
class Grid:
    """A product of axes, some of them in step, without what is excluded."""

    axes: Axes
    zipped: list[str]
    excluded: list[dict[str, Any]]  # axis, or "label", -> value or values

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield every point: a value for each axis; the axis that comes first varies slowest."""
        axes, factors = self.axes, []
        for key, values in axes.items():
            if key not in self.zipped:
                factors.append([{key: value} for value in values])
            elif key == next(k for k in axes if k in self.zipped):
                rows = zip(*(axes[k] for k in self.zipped), strict=True)
                factors.append([dict(zip(self.zipped, row, strict=True)) for row in rows])
        for parts in itertools.product(*factors):
            point = {key: value for part in parts for key, value in part.items()}
            if not self.excludes(point):
                yield point

    def excludes(self, point: Mapping[str, Any]) -> bool:
        """Say whether all that one exclusion names is so at a point."""
        return any(
            all(
                key in point and point[key] in (value if isinstance(value, list) else [value])
                for key, value in rule.items()
            )
            for rule in self.excluded
        )

    def check(self) -> None:
        """Raise ConfigError if ``zip`` or ``exclude`` speaks of what the grid does not have."""
        for group in ("algo", "env"):
            if group not in self.axes:
                names = ", ".join(cfg.options(group))
                raise ConfigError(f"{group} is missing; choose from: {names}")
        known = self.axes.keys() - {"seed"}  # the seeds of a cell stay together
        for key in self.zipped:
            if key not in known:
                raise unknown("zip", key, known)
        lengths = {key: len(self.axes[key]) for key in self.zipped}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{key} has {n}" for key, n in lengths.items())
            raise ConfigError(f"zip: axes in step need equally many values: {told}")
        for rule in self.excluded:
            for key in rule:
                if key not in known | {"label"}:
                    raise unknown("exclude", key, known | {"label"})


def _grids(root: DictConfig, given: Axes) -> Iterator[Grid]:
    """Yield every grid: the study's, with the command line's axes over them."""
    grids = root.grid if OmegaConf.is_list(root.grid) else [root.grid or {}]
    fixed = {"seed": root.seed, "components": root.components, "tuned": True}
    own = {key: values for key, values in given.items() if not _once(key)}
    for grid in grids:
        shape = {key: _plain(grid.get(key, root[key])) for key in ("zip", "exclude")}
        axes: Axes = {}
        for key, value in {**fixed, **grid}.items():
            if key in shape:
                continue
            if OmegaConf.is_list(value):
                axes[key] = [OmegaConf.to_object(v) if OmegaConf.is_config(v) else v for v in value]
            elif isinstance(value, str):
                axes[key] = _values(_read(f"{key}={value}"))
            else:
                axes[key] = [value]
        excluded = [dict(rule) for rule in _listed(shape["exclude"], "exclude", dict)]
        yield Grid({**axes, **own}, _listed(shape["zip"], "zip", str), excluded)


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _listed(value: Any, key: str, kind: type) -> list[Any]:
    """Return a list of ``kind`` that may be given as one or as nothing."""
    values = [] if value is None else value if isinstance(value, list) else [value]
    for each in values:
        if not isinstance(each, kind):
            what = "names of axes" if kind is str else "mappings such as {algo: dqn, env: taxi}"
            raise ConfigError(f"{key}={each} must be a list of {what}")
    return list(values)


def seeds(values: Iterable[Any]) -> list[int]:
    """Return the distinct seeds that a ``seed`` axis names, in order."""
    out: list[int] = []
    for value in values:
        if isinstance(value, Sequence) and not isinstance(value, str):
            out.extend(seeds(value))
        elif isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
            raise ConfigError(f"seed={value} must be a whole number from 0 to 2147483647")
        else:
            out.append(value)
    return list(dict.fromkeys(out))


def _cells_of(plan: Sweep, grid: Grid, choices: tuple[str, ...]) -> Iterator[Cell]:
    """Yield the cells of a grid; note in ``plan`` what cannot be."""
    swept = {key for key, values in grid.axes.items() if len(values) > 1}
    for point in grid.points():
        for cell in _cells(point, swept, choices):
            if not isinstance(cell, Cell):
                if cell not in plan.skipped:
                    plan.skipped.append(cell)
            elif not grid.excludes({**point, "label": cell.variant["label"]}):
                yield cell


def _pack(
    plan: Sweep, cell: Cell, wanted: list[int], taken: dict[str, str], size: int | None
) -> Iterator[Job]:
    """Yield the jobs that train ``wanted`` seeds of a cell, without the runs already planned."""
    label, new = cell.variant["label"], []
    for seed in wanted:
        run = store.run_id(cell.config, cell.algo, cell.env, seed)
        if run in taken:
            continue
        if taken.setdefault(f"{label}|{cell.env}|{seed}", run) != run:
            raise ConfigError(
                f"two different cells would both be called {label!r} on {cell.env}; "
                "let the grids of a study differ in the algorithm, the components or a swept key"
            )
        taken[run] = run
        new.append((seed, run))
    most = agent_class(cell.config["algo"]["agent"]).max_seeds or max(1, len(new))
    size = min(most, size or most)
    for start in range(0, len(new), size):
        yield cell.job(plan.study, plan.study_dir, new[start : start + size])


def _cells(
    point: dict[str, Any], swept: set[str], choices: tuple[str, ...]
) -> Iterator[Cell | schema.Skipped]:
    """Yield the variants of one point of a grid, or why one of them cannot be."""
    algo, env, word = str(point["algo"]), str(point["env"]), str(point["components"])
    pair = _pair(algo, env, point["tuned"], choices)
    by_hand = {k: v for k, v in point.items() if k not in (*_GROUPS, "components")}
    named = {
        key: value
        for key, value in point.items()
        if (key in swept or key.startswith(("algo.", "env."))) and key not in _NOT_LABELLED
    }
    preset = cfg.composed(*pair).algo
    agent = agent_class(preset.agent)
    base, full = variants.family(preset.agent, cfg.options("algo"))
    base_algo = cfg.composed(*_pair(base, env, point["tuned"], choices)).algo if base else None
    full_label = variants.label(cfg.composed(f"algo={full}").algo) if full else None
    found = variants.changes(agent, preset, word)
    if not found:
        label, reason = variants.label(preset), f"components={word} changes nothing in it"
        yield schema.Skipped(algo=algo, env=env, label=label, reason=reason)
    for change in found:
        config = _assigned(pair, change.values, by_hand)
        plain = cfg.resolved(config)
        name = str(config.env.name)
        variant = variants.describe(change, agent, config.algo, base_algo, full_label, named)
        reason = agent.unsupported(cfg.build(config, "algo"), _spec(config)) or ""
        if reason:
            yield schema.Skipped(algo=algo, env=name, label=variant["label"], reason=reason)
        else:
            yield Cell(algo, name, variant, plain, _tuned(algo, env, point["tuned"]))


def _assigned(pair: tuple[str, ...], values: Axes, by_hand: Axes) -> DictConfig:
    """Return a pair's config with a variant's values and, over them, those set by hand."""
    config = deepcopy(cfg.composed(*pair))
    for key, value in {**{f"algo.{key}": v for key, v in values.items()}, **by_hand}.items():
        cfg.assign(config, key, value)
    return config


def _pair(algo: str, env: str, tuned: Any, choices: tuple[str, ...]) -> tuple[str, ...]:
    name = _tuned(algo, env, tuned)
    return (f"algo={algo}", f"env={env}", *([f"tuned={name}"] if name else ()), *choices)


def _tuned(algo: str, env: str, tuned: Any) -> str | None:
    """Return the file of conf/tuned to load: the pair's own if there is one, or the one named."""
    if isinstance(tuned, bool):
        name = f"{algo}_{env}"
        return name if tuned and name in cfg.options("tuned") else None
    if tuned not in cfg.options("tuned"):
        raise unknown("tuned", tuned, ["true", "false", *cfg.options("tuned")])
    return str(tuned)


def _spec(config: DictConfig) -> Spec:
    return _spec_of(json.dumps(cfg.to_dict(config.env)), config.budget)


@cache
def _spec_of(env: str, budget: int) -> Spec:
    """Return a spec, made once for the many cells of an environment; ``env`` is its config."""
    return make_spec(from_dict(json.loads(env)), budget)
