"""Turns a command line or a study into the jobs of a grid.

A grid is a product of axes; a study's ``grid`` is one such mapping or a list of them, their union::

    # @package _global_
    name: rainbow_ablation
    seed: range(0,10)                       # a study may set any config key
    grid:
      - {algo: [dqn, rainbow], env: [acrobot, cartpole]}
      - {algo: rainbow, env: acrobot, components: [leave_one_out, none]}
      - {algo: dqn, env: acrobot, algo.lr: [1e-3, 1e-4]}

The values of an axis are a list, one value, or Hydra's grammar in a string ("range(0,10)"). A key
on the command line replaces the axis of that name in every grid; ``algo=[dqn,c51]`` there means the
same as ``algo=dqn,c51``. A run that appears twice, even under another label, is planned once. The
seeds of a cell form one job, or several with ``seeds_per_job``. Two more keys shape a grid, in a
study or on the command line: ``zip`` names axes that vary together, ``exclude`` lists what to leave
out, by axes and by a variant's label::

      - {algo: [dqn, c51], algo.lr: [1e-3, 1e-4], zip: [algo, algo.lr], env: [acrobot, cartpole],
         exclude: [{algo: c51, env: cartpole}, {label: "DQN, lr=0.001", env: acrobot}]}

The axis ``components`` makes variants from what an algorithm declares in ``COMPONENTS``:
``preset`` (as it is), ``leave_one_out`` (each that is on, taken out: "Rainbow - double"),
``add_one_in`` (each that is off, put in: "DQN + double"), ``none`` (all taken out: "Rainbow -
all"), ``-double`` and ``+double`` (that one). A component's switch is the first key of its ``off``;
it is off where the config holds that value. ``base`` and ``full`` of a variant are the labels of
the presets that the agent's ``FAMILY`` declares; "<full> - all" without a base.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
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

from prism.algos.core.agent import Spec

from ..envs.config import from_dict
from ..envs.make import make_spec
from ..envs.reproducible import irreproducible
from ..store import identity, ledger, records, schema, trackers
from ..store.agents import agent_class
from ..store.job import Job, Sweep
from ..store.spec import RunSpec
from ..util.errors import ConfigError, unknown
from . import alike, learning, study_file, variants
from . import config as cfg
from .axes import NAMES, Axes, Grid, check_excluded, check_excluded_labels, flat, listed, seeds

_GROUPS = ("algo", "env", "study", "tracking", "tuned")
_ONCE = (
    *("study", "tracking", "name", "results", "stale", "strict", "dry_run", "grid", "resume"),
    *("seeds_per_job", "on_failure", "zip", "exclude", "price"),
)
_NOT_LABELLED = ("algo", "env", "env.id", "env.ends", "env.record", "seed", "components")


@dataclass
class Cell:
    """One variant on one environment, without its seeds."""

    algo: str
    env: str
    variant: schema.Variant
    spec: RunSpec
    tuned: str | None

    def job(self, study: str, study_dir: Path, runs: Sequence[tuple[int, str]]) -> Job:
        """Return the job that trains these (seed, run_id) of the cell together."""
        seeds, run_ids = [seed for seed, _ in runs], [run for _, run in runs]
        job_id = identity.job_id(self.spec, self.algo, self.env, seeds)
        return Job(study, str(study_dir), job_id, **vars(self), seeds=seeds, run_ids=run_ids)


def sweep(overrides: Sequence[str]) -> Sweep:
    """Return the sweep that command-line ``overrides`` describe, with every cell checked.

    Raises:
        ConfigError: the first mistake, in one line that names the key and the nearest valid names.
    """
    with cfg.session():
        return _planned(_parse(overrides))


def sweep_of(axes: Axes) -> Sweep:
    """Return the sweep of some axes, already parsed; see ``sweep``.

    Raises:
        ConfigError: as ``sweep``.
    """
    with cfg.session():
        return _planned(axes)


def _planned(axes: Axes) -> Sweep:
    choices = _choices(axes)
    root, resume = _root(axes, choices), _resumed(axes)
    folder = _folder(root, resume)
    plan = Sweep(
        study=folder.name,
        study_dir=folder,
        stale=root.stale,
        dry_run=root.dry_run,
        price=root.price,
        retry=cfg.to_dict(root.retry),
        stop_after=cfg.stop_after(root.on_failure),
    )
    if resume is not None:
        if grid_words := [key for key in axes if not _once(key)]:
            raise ConfigError(f"{grid_words[0]}: resume cannot change the grid")
        plan.jobs = ledger.planned_jobs(folder, ledger.read_plan(folder))
        trackers.check({name for job in plan.jobs for name in job.spec.tracking.active})
        return plan
    grids = list(_grids(root, axes))
    for grid in grids:
        grid.check()
    check_excluded(grids)
    packer = _Packer(plan, root.seeds_per_job)
    for grid in grids:
        packer.pack(grid, choices)
    if "exclude" in axes or all(_once(key) for key in axes):
        check_excluded_labels(grids, packer.labels)
    if plan.skipped and (root.strict or not plan.jobs):
        first = plan.skipped[0]
        raise ConfigError(f"algo={first['algo']} env={first['env']}: {first['reason']}")
    if not plan.jobs:
        raise ConfigError("exclude leaves no cell of the grid")
    plan.notes = alike.notes(plan.jobs) + learning.notes(plan.jobs) + _irreproducible(plan.jobs)
    return plan


def _irreproducible(jobs: Sequence[Job]) -> list[str]:
    """Return a line for each environment whose runs do not follow from their seeds."""
    reasons = (irreproducible(job.spec.record["env"]) for job in jobs)
    return list(dict.fromkeys(filter(None, reasons)))


def _resumed(axes: Axes) -> str | None:
    """Return the folder to resume as it is written: a folder's name refers to nothing."""
    (value,) = axes.get("resume", [None])
    return None if value is None else str(value)


def _folder(root: DictConfig, resume: str | None) -> Path:
    """Return the study's folder, which need not exist."""
    if resume is not None:
        return Path(resume).absolute()
    results = Path(root.results).absolute()
    for path in (results, *results.parents):
        if path.exists() and not path.is_dir():
            raise ConfigError(f"results={root.results}: {path} is not a folder")
    return results / records.study_name("name", root.name)


def _choices(axes: Axes) -> tuple[str, ...]:
    """Return the choices of config groups for a whole command; each may be chosen once."""
    for key, values in axes.items():
        single = len(values) == 1 and not (key in _GROUPS and isinstance(values[0], list))
        if _once(key) and not single:
            raise ConfigError(f"{key} takes one value, got {flat(values)}")
    if "study" in axes:
        study_file.check(str(axes["study"][0]))
    return tuple(f"{key}={axes[key][0]}" for key in ("study", "tracking") if key in axes)


def _root(axes: Axes, choices: tuple[str, ...]) -> DictConfig:
    """Return the config of a whole command; keys that concern no single cell are checked."""
    root = deepcopy(cfg.composed(*choices))
    for key, values in axes.items():
        if key in _GROUPS:
            continue
        if not cfg.is_key(key):
            raise cfg.unknown_key(key, _example(root, axes, choices))
        if _once(key) and key != "resume":
            cfg.assign(root, key, values[0])
    checked = {key: root[key] for key in ("stale", "seeds_per_job")}
    cfg.hold({**checked, "retry": cfg.to_dict(root.retry)})
    return root


def _example(root: DictConfig, axes: Axes, choices: tuple[str, ...]) -> DictConfig:
    """Return a config with the first algorithm and environment of a command, to name keys from."""
    groups = [group for group in ("algo", "env") if flat(axes.get(group, []))]
    try:
        return cfg.composed(*(f"{group}={flat(axes[group])[0]}" for group in groups), *choices)
    except ConfigError:
        return root


def _once(key: str) -> bool:
    """Return whether a key concerns the whole command rather than a cell."""
    return key in _ONCE or key.startswith("retry.")


def _parse(overrides: Sequence[str]) -> Axes:
    """Parse ``key=value`` words in Hydra's grammar; hydra.* keys are skipped."""
    axes: Axes = {}
    for word in overrides:
        override = _read(word)
        if override.is_hydra_override():
            continue
        if override.type is not OverrideType.CHANGE or override.package is not None:
            raise ConfigError(f"{word}: a key can be set (key=value), not added or deleted")
        axes.pop(override.key_or_group, None)  # of a repeated key the last one counts
        axes[override.key_or_group] = _values(override)
    return axes


_PLAIN = re.compile(r"[\w./:,@-]+")


def _read(word: str) -> Override:
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    try:
        return parser.parse_overrides([word])[0]
    except HydraException:
        key, _, value = word.partition("=")
        quoted = ",".join(f"'{part}'" for part in value.split(","))
        if not word.isascii() and _PLAIN.fullmatch(value):  # its grammar has no such letters
            return parser.parse_overrides([f"{key}={quoted}"])[0]
        raise ConfigError(f"cannot read {word!r}: {_mistake(word)}") from None


def _mistake(word: str) -> str:
    """Return what is wrong with a word that Hydra's grammar refuses."""
    key, equals, value = word.partition("=")
    if not equals or key != key.strip():
        return "write <key>=<value>, without spaces around ="
    for first, last in ("()", "[]", "{}"):
        if value.count(first) != value.count(last):
            return f"a {first} or {last} has no partner"
    quote = '"' if "'" in value else "'"
    return f"a value with such characters needs quotes of its own: {key}={quote}{value}{quote}"


def _values(override: Override) -> list[Any]:
    if override.is_sweep_override():
        if not override.is_discrete_sweep():
            raise ConfigError(
                f"{override.input_line}: a range of real numbers cannot be swept; list the values"
            )
        values = list(override.sweep_iterator())
        return [Override._convert_value(value) for value in values]
    return [override.value()]


def _grids(root: DictConfig, words: Axes) -> Iterator[Grid]:
    """Yield every grid: the study's, with the command line's axes over them."""
    grids = list(root.grid) if OmegaConf.is_list(root.grid) else [root.grid or {}]
    fixed = {"seed": root.seed, "components": root.components, "tuned": True}
    own = {key: values for key, values in words.items() if not _once(key)}
    for grid in grids:
        if isinstance(grid, str) or not isinstance(grid, Mapping):
            raise ConfigError(
                f"grid={grid} must be a mapping such as {{algo: [dqn, c51], env: taxi}}, or several"
            )
        shape = {key: _plain(grid.get(key, root[key])) for key in ("zip", "exclude")}
        axes: Axes = {}
        for key, value in {**fixed, **grid}.items():
            if key in shape:
                continue
            if _once(str(key)):
                raise ConfigError(f"grid: {key} concerns the whole study: set it outside the grid")
            if OmegaConf.is_list(value):
                axes[key] = [OmegaConf.to_object(v) if OmegaConf.is_config(v) else v for v in value]
            elif isinstance(value, str):
                axes[key] = _values(_read(f"{key}={value}"))
            else:
                axes[key] = [value]
        replaced, axes = axes, {**axes, **own}
        axes |= {key: flat(axes[key]) for key in NAMES if key in axes}
        excluded = [dict(rule) for rule in listed(shape["exclude"], "exclude", dict)]
        yield Grid(axes, listed(shape["zip"], "zip", str), excluded, replaced)


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


class _Packer:
    """Fills a plan with the jobs of its grids; a repeated run is planned once.

    Args:
        plan: the sweep to fill.
        size: maximum seeds of a job; None = as many as its agent takes.

    Attributes:
        labels: of all variants seen so far.
    """

    def __init__(self, plan: Sweep, size: int | None) -> None:
        self.plan, self.size = plan, size
        self.labels: set[str] = set()
        self._first: dict[str, tuple[Grid, dict[str, Any], schema.Variant]] = {}  # by cell
        self._called: dict[str, str] = {}  # "label|env" -> cell
        self._taken: set[str] = set()  # run ids

    def pack(self, grid: Grid, choices: tuple[str, ...]) -> None:
        """Add the jobs of a grid, and record the impossible cells as skipped."""
        wanted = seeds(grid.axes.pop("seed"))
        swept = {key for key, values in grid.axes.items() if len(values) > 1}
        for point in grid.points():
            for cell in _cells(point, swept, choices):
                label = cell.variant["label"] if isinstance(cell, Cell) else cell["label"]
                self.labels.add(label)
                if not isinstance(cell, Cell):
                    self._skip(cell)
                elif not grid.excludes({**point, "label": label}):
                    self._add(cell, grid, point, wanted)

    def _skip(self, pair: schema.Skipped) -> None:
        if pair not in self.plan.skipped:
            self.plan.skipped.append(pair)

    def _add(self, cell: Cell, grid: Grid, point: dict[str, Any], wanted: list[int]) -> None:
        """Plan the seeds of a cell, except for runs that are already planned."""
        cell.variant = self._variant(cell, grid, point)
        new = []
        for seed in wanted:
            run = identity.run_id(cell.spec, cell.algo, cell.env, seed)
            if run not in self._taken:
                new.append((seed, run))
        self._taken.update(run for _, run in new)
        self.plan.repeated += len(wanted) - len(new)
        most = cell.spec.agent.max_seeds or max(1, len(new))
        size = min(most, self.size or most)
        for start in range(0, len(new), size):
            part = new[start : start + size]
            self.plan.jobs.append(cell.job(self.plan.study, self.plan.study_dir, part))

    def _variant(self, cell: Cell, grid: Grid, point: dict[str, Any]) -> schema.Variant:
        """Return the variant under which a cell is planned: the first one that produced it.

        Raises:
            ConfigError: a swept key does not change the cell, or two cells share a name.
        """
        key = identity.job_id(cell.spec, cell.algo, cell.env, [])
        first, before, variant = self._first.setdefault(key, (grid, point, cell.variant))
        label, name = cell.variant["label"], variant["label"]
        if label != name:
            changed = [k for k in point if point[k] != before.get(k)]
            if first is grid and not {*_GROUPS, "components"} & set(changed):
                one = changed[0]
                raise ConfigError(
                    f"{one} cannot be swept: {one}={before[one]} and {one}={point[one]} "
                    "are the same runs; give it one value"
                )
            reason = f"the same runs as {name!r}, planned once"
            self._skip(schema.Skipped(algo=cell.algo, env=cell.env, label=label, reason=reason))
        elif self._called.setdefault(f"{label}|{cell.env}", key) != key:
            raise ConfigError(
                f"two different cells would both be labelled {label!r} on {cell.env}; "
                "let the grids of a study differ in the algorithm, the components or a swept key"
            )
        return variant


def _cells(
    point: dict[str, Any], swept: set[str], choices: tuple[str, ...]
) -> Iterator[Cell | schema.Skipped]:
    """Yield the variants of one point of a grid, or why one of them is impossible."""
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
    family = variants.family(preset.agent)
    base_algo, full_label = None, None
    if family.base is not None:
        base_algo = cfg.composed(*_pair(family.base, env, point["tuned"], choices)).algo
    if family.full is not None:
        full_label = variants.label(cfg.composed(f"algo={family.full}").algo)
    changes = variants.changes(agent, preset, word)
    if not changes:
        nothing = f"components={word} changes nothing in it"
        yield schema.Skipped(algo=algo, env=env, label=variants.label(preset), reason=nothing)
    for change in changes:
        config = _assigned(pair, change.values, by_hand)
        spec = cfg.resolved(config)
        name = spec.env.name
        variant = variants.describe(change, agent, config.algo, base_algo, full_label, named)
        idle = variants.idle(change, spec.agent, config.algo)
        reason = idle or spec.agent.unsupported(spec.algo, _task(spec)) or spec.unsupported
        reason = reason or learning.never(spec)
        if reason:
            yield schema.Skipped(algo=algo, env=name, label=variant["label"], reason=reason)
        else:
            yield Cell(algo, name, variant, spec, _tuned(algo, env, point["tuned"]))


def _assigned(pair: tuple[str, ...], values: Axes, by_hand: Axes) -> DictConfig:
    """Return a pair's config with a variant's values, overridden by those set by hand."""
    config = deepcopy(cfg.composed(*pair))
    for key, value in {**{f"algo.{key}": v for key, v in values.items()}, **by_hand}.items():
        cfg.assign(config, key, value)
    if "algo.agent" in by_hand:
        cfg.check_agent(config)
    return config


def _pair(algo: str, env: str, tuned: Any, choices: tuple[str, ...]) -> tuple[str, ...]:
    name = _tuned(algo, env, tuned)
    return (f"algo={algo}", f"env={env}", *([f"tuned={name}"] if name else ()), *choices)


def _tuned(algo: str, env: str, tuned: Any) -> str | None:
    """Return the tuned file to load: the pair's own, else its family's, or the named one."""
    if isinstance(tuned, bool):
        return variants.tuned(algo, env) if tuned else None
    if tuned not in cfg.options("tuned"):
        raise unknown("tuned", tuned, ["true", "false", *cfg.options("tuned")])
    return str(tuned)


def _task(spec: RunSpec) -> Spec:
    return _task_of(json.dumps(spec.record["env"]), spec.budget)


@cache
def _task_of(env: str, budget: int) -> Spec:
    """Return what agents know about an environment; cached for its many cells."""
    return make_spec(from_dict(json.loads(env)), budget)
