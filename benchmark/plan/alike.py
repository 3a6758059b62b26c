"""What sets the labels of one grid apart beside their components.

Agents are compared to tell what their components are worth. Two of one class, on one environment,
may differ in what their presets state, in the settings of a component that only one of them has,
and in what a label says was set by hand; more than that is another cause of a difference in scores.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from prism.algos.core.agent import Component

from ..store.agents import agent_class
from ..store.job import Job
from . import config as cfg
from .places import config_folders

_NAMES = ("agent", "name", "label")


def notes(jobs: Iterable[Job]) -> list[str]:
    """Return a line for each environment and agent whose labels differ in more than components.

    Needs a session.
    """
    places: dict[str, dict[str, Job]] = {}
    for job in jobs:
        places.setdefault(job.env, {}).setdefault(job.variant["label"], job)
    return [line for env, labels in places.items() for line in _lines(env, list(labels.values()))]


def _lines(env: str, jobs: Sequence[Job]) -> Iterator[str]:
    budgets: dict[int, list[str]] = {}
    agents: dict[str, list[Job]] = {}
    for job in jobs:
        if "budget" not in _by_hand(job):
            budgets.setdefault(job.spec.budget, []).append(job.variant["label"])
        agents.setdefault(job.spec.record["algo"]["agent"], []).append(job)
    if len(budgets) > 1:
        told = "; ".join(f"{', '.join(names)}: {steps:,}" for steps, names in budgets.items())
        yield f"on {env} the budgets differ ({told}); budget=<steps> makes them equal"
    for first, *others in agents.values():
        beside = {job.variant["label"]: _beside(first, job) for job in others}
        found = {label: keys for label, keys in beside.items() if keys}
        if found:
            told = ", ".join(dict.fromkeys(key for keys in found.values() for key in keys))
            yield (
                f"on {env}, {', '.join(found)} and {first.variant['label']} differ in more than "
                f"their components: {told}"
            )


def _beside(first: Job, other: Job) -> list[str]:
    """Return the settings in which two jobs of an agent differ for no reason of their labels."""
    ours, theirs = first.spec.record["algo"], other.spec.record["algo"]
    expected = {*_NAMES, *_by_hand(first), *_by_hand(other)}
    expected |= _differing(_preset(first.algo), _preset(other.algo))
    differ_in = {*first.variant["on"]} ^ {*other.variant["on"]}
    components: Sequence[Component] = agent_class(ours["agent"]).COMPONENTS
    for component in components:
        if component.name in differ_in:
            expected |= {*component.on, *component.off}
    return sorted(_differing(ours, theirs) - expected)


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> set[str]:
    return {key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key)}


def _by_hand(job: Job) -> set[str]:
    """Return the keys whose values the label tells; of a nested one, also its first part."""
    label = job.variant["label"]
    keys = [key for key in job.variant["overrides"] if f", {key}=" in label]
    return {part for key in keys for part in (key, key.partition(".")[0])}


def _preset(algo: str) -> Mapping[str, Any]:
    return _plain(algo, config_folders())


@cache
def _plain(algo: str, folders: str) -> Mapping[str, Any]:
    """Return what a preset states, without tuned values."""
    plain = OmegaConf.to_container(cfg.composed(f"algo={algo}").algo, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
