"""Configs joined from parts against Hydra's composition of the whole, over random choices."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose
from hydra.errors import HydraException
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from prism.benchmark.plan import config as cfg
from prism.benchmark.plan.places import FOLDERS_VARIABLE
from prism.benchmark.util.errors import ConfigError
from tests.helpers import examples

# files that do what a user's may: override another group, build on a file, set keys of every kind
OWN = {
    "study/contrary": "defaults: [{override /tracking: offline}]\nbudget: 7\nalgo: {lr: 0.5}\n",
    "study/heir": "defaults: [cliff, _self_]\nname: heir\nenv: {horizon: 9}\n",
    "study/chooser": "defaults: [{override /algo: sarsa}, _self_]\nname: chooser\n",
    "algo/heir": "defaults: [/algo/rainbow]\nalgo: {name: heir}\nbudget: 8\n",
    "env/heir": "defaults: [/env/taxi]\nenv: {name: heir, kwargs: {a: 1}}\nlog_every: 3\n",
    "tuned/whole": "budget: 9\nevaluation: {every: 5}\nenv: {horizon: 7, kwargs: {b: [1, 2]}}\n",
}
OPTIONS = {
    "algo": ("dqn", "rainbow", "sac", "ppo", "q_lambda", "cem", "heir"),
    "env": ("cartpole", "acrobot", "frozenlake", "halfcheetah", "atari", "gym", "heir"),
    "tuned": ("dqn_family_acrobot", "acrobot_early", "sac_halfcheetah", "ppo_cartpole", "whole"),
    "study": ("rainbow_ablation", "tabular", "quickstart", "contrary", "heir", "chooser"),
    "tracking": ("auto", "offline", "disabled"),
}
WORDS = (
    *("algo.lr=0.5", "algo.lr=1e-3", "algo.gamma=1", "algo.gamma=x", "algo.name=mine"),
    *("env.horizon=3", "env.horizon=null", "env={horizon:4,ends:true}", "budget=10", "budget=20"),
    *("evaluation={every:3}", "evaluation={every:5,episodes:2}", "evaluation.every=null"),
    *("tracking.tags=[a]", "tracking.tags=[b,c]", "tracking.wandb=online", "limits.hang=1.5"),
    *("nowhere=1", "env.nowhere=1", "evaluation=3"),
)


@pytest.fixture(autouse=True, scope="module")
def own_files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("own")
    for name, text in OWN.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# @package _global_\n{text}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDERS_VARIABLE, str(folder))
        yield


@st.composite
def choices(draw: st.DrawFn) -> list[str]:
    groups = draw(st.lists(st.sampled_from(list(OPTIONS)), unique=True))
    return [f"{group}={draw(st.sampled_from(OPTIONS[group]))}" for group in groups]


def whole(*words: str) -> DictConfig | None:
    """Return what Hydra composes in one piece, or None where it refuses."""
    try:
        return compose("config", overrides=list(words))
    except (HydraException, OmegaConfBaseException):
        return None


def joined(*chosen: str) -> DictConfig | None:
    try:
        return cfg.composed(*chosen)
    except ConfigError:
        return None


def same(ours: DictConfig | None, theirs: DictConfig | None) -> None:
    if ours is None or theirs is None:
        assert ours is theirs
        return
    assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(theirs)
    for key in theirs:
        if not OmegaConf.is_missing(theirs, key):
            assert OmegaConf.get_type(ours, key) is OmegaConf.get_type(theirs, key)


@examples(10)
@given(choices(), st.data())
def test_parts_join_to_what_hydra_composes(chosen: list[str], data: st.DataObject) -> None:
    """In every order in which the choices may be said, and refused where Hydra refuses."""
    with cfg.session():
        same(joined(*chosen), whole(*chosen))
        same(joined(*data.draw(st.permutations(chosen))), joined(*chosen))


@examples(10)
@given(st.lists(st.sampled_from(WORDS), max_size=5))
def test_keys_set_one_after_the_other_are_as_hydra_sets_them(words: list[str]) -> None:
    """The last word on a key counts, also where a word sets several keys."""
    chosen = ("algo=dqn", "env=cartpole")
    with cfg.session():
        theirs = whole(*chosen, *words)
        ours: DictConfig | None = deepcopy(cfg.composed(*chosen))
        try:
            for word in words:
                key, _, text = word.partition("=")
                cfg.assign(ours, key, yaml.safe_load(text.replace(":", ": ")))
        except ConfigError:
            ours = None
        same(ours, theirs)
