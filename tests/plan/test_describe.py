"""The documentation of presets and environments, from where they are used."""

import json
from dataclasses import asdict

import pytest
import yaml

from prism.benchmark.plan import config as cfg
from prism.benchmark.plan.describe import (
    WIDTH,
    AlgoDoc,
    EnvDoc,
    describe,
    describe_algo,
    describe_env,
    text,
)
from prism.benchmark.plan.places import FOLDERS_VARIABLE
from prism.benchmark.store.agents import agent_class
from prism.benchmark.util.errors import ConfigError

ALGOS, ENVS, TUNED = (
    sorted(path.stem for path in (cfg.CONF / group).glob("*.yaml"))
    for group in ("algo", "env", "tuned")
)
WITHOUT_A_PAPER = {"n_step_q"}


def fits(page: str) -> bool:
    return all(len(line) <= WIDTH and line == line.rstrip() for line in page.splitlines())


@pytest.mark.parametrize("name", ALGOS)
def test_a_preset(name: str) -> None:
    doc = describe_algo(name)
    with cfg.session():
        algo = cfg.composed(f"algo={name}").algo
        values = {s.key: cfg.OmegaConf.select(algo, s.key) for s in doc.settings}
    assert {s.key: s.value for s in doc.settings} == values
    file = yaml.safe_load((cfg.CONF / "algo" / f"{name}.yaml").read_text())
    assert doc.label == file["label"] and doc.name == file["name"] == name
    stated = {s.key for s in doc.settings if s.value != s.default}
    assert {key.partition(".")[0] for key in stated} <= set(file)
    assert all(s.meaning and s.kind for s in doc.settings)
    assert doc.about and (doc.paper or name in WITHOUT_A_PAPER)
    assert doc.components == () or all(c.paper and c.on and c.off for c in doc.components)
    assert name in doc.presets and set(doc.presets) == set(agent_class(doc.agent).PRESETS)
    names = (name, f"{doc.agent}_family")
    assert list(doc.tuned) == [env for env in ENVS if {f"{n}_{env}" for n in names} & {*TUNED}]
    json.dumps(asdict(doc))
    page = text(doc)
    assert fits(page)
    assert page.startswith(f"{doc.label}  (algo={name})\n")
    keys = {s.key for s in doc.settings} - {"agent", "name", "label"}
    for word in (*doc.tuned, *keys, *(c.name for c in doc.components)):
        assert word in page
    assert doc.paper in page.replace("\n" + " " * 13, " ")


@pytest.mark.parametrize("name", ENVS)
def test_an_environment(name: str) -> None:
    doc = describe_env(name)
    file = yaml.safe_load((cfg.CONF / "env" / f"{name}.yaml").read_text())
    assert doc.id == (None if name == "gym" else file["id"])
    for key in ("random_score", "reference_score"):
        assert getattr(doc, key) == file.get(key)
    assert doc.score_source == file.get("score_source", "")
    assert dict(doc.wrappers) == file.get("wrappers", {})
    assert doc.budget == file.get("budget", 100_000)
    assert all(s.meaning for s in doc.settings)
    family = {*describe_algo("dqn").presets} if f"dqn_family_{name}" in TUNED else set()
    own = {algo for algo in ALGOS if f"{algo}_{name}" in TUNED}
    assert {*doc.tuned} == family | own
    json.dumps(asdict(doc))
    page = text(doc)
    assert fits(page)
    for word in (name, doc.id or "env.id=", *doc.tuned, *(f"{k}=" for k in doc.wrappers)):
        assert word in page


def test_what_a_setting_says() -> None:
    settings = {s.key: s for s in describe_algo("rainbow").settings}
    n_step = settings["n_step"]
    assert (n_step.value, n_step.default, n_step.kind, n_step.bounds) == (3, 1, "int", "at least 1")
    assert settings["grad_clip"].kind == "float | None"
    assert settings["grad_clip"].bounds == "above 0, or null"
    assert settings["hidden"].kind == "list[int]"
    assert settings["value"].choices == ("scalar", "categorical", "quantile")
    assert settings["exploration.end"].default == 0.05


def test_components_and_family() -> None:
    doc = describe_algo("double_dqn")
    assert (doc.base, doc.full, doc.agent) == ("dqn", "rainbow", "dqn")
    found = {c.name: c for c in doc.components}
    assert found["double"].is_on and not found["noisy"].is_on
    assert found["replay"].foundation and found["replay"].off["train_every"] == 1
    smoothing = {c.name: c for c in describe_algo("cem_table").components}["smoothing"]
    assert smoothing.where == {"model": ("table",)}
    assert "where model is table" in text(describe_algo("cem_table"))


def test_what_a_user_adds_is_described_too(
    tmp_path,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    for path, content in {
        "algo/mine": "defaults: [/schema/dqn@_here_, _self_]\nname: mine\nlabel: Mine\nlr: 0.5\n",
        "env/hers": "defaults: [/schema/env@_here_, _self_]\nname: hers\nid: Hers-v0\n"
        "kwargs: {token: '${oc.env:THEIR_TOKEN}'}\n",
        "tuned/mine_hers": "# @package _global_\nalgo: {lr: 0.1}\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / f"{path}.yaml").write_text(content)
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path))
    monkeypatch.setenv("THEIR_TOKEN", "0123456789")
    doc = describe_algo("mine")
    assert (doc.label, doc.about, doc.paper) == ("Mine", "", "")
    assert doc.tuned == tuple(sorted({"hers", *describe_algo("dqn").tuned}))  # its family's too
    assert "mine" in doc.presets and "rainbow" in doc.presets
    assert "* lr                     0.5 " in text(doc)
    env = describe_env("hers")
    assert env.tuned == ("mine",) and "0123456789" not in text(env)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("algo=dqm", "algo: unknown 'dqm'; nearest: .*dqn"),
        ("env=cartpol", "env: unknown 'cartpol'; nearest: cartpole"),
        ("alog=dqn", "help: unknown 'alog=dqn'"),
    ],
)
def test_what_is_not_there_is_one_line(word: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        describe(word)
    assert "\n" not in str(caught.value)
    assert isinstance(describe("algo=dqn"), AlgoDoc) and isinstance(describe("env=taxi"), EnvDoc)
