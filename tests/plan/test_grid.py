import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from prism.algos.core.agent import Component
from prism.benchmark.plan import config as cfg
from prism.benchmark.plan import variants
from prism.benchmark.plan.axes import seeds
from prism.benchmark.plan.grid import sweep
from prism.benchmark.plan.places import CONF, FOLDERS_VARIABLE
from prism.benchmark.plan.root import JOB_KEYS
from prism.benchmark.store import schema
from prism.benchmark.store.agents import agent_class, registered
from prism.benchmark.util.errors import ConfigError

SIX = ["double", "prioritized", "dueling", "multi-step", "distributional", "noisy"]


def cells(*words: str) -> list[tuple[str, str, list[int]]]:
    return [(job.variant["label"], job.env, job.seeds) for job in sweep(words).jobs]


def variant(*words: str) -> schema.Variant:
    (job,) = sweep(words).jobs
    return job.variant


def test_a_run_is_a_grid_of_one():
    (job,) = sweep(("algo=rainbow", "env=acrobot", "seed=3", "budget=1234")).jobs
    assert (job.algo, job.env, job.seeds, job.study) == ("rainbow", "acrobot", [3], "adhoc")
    assert job.study_dir == str(Path("results/adhoc").absolute())
    assert set(job.spec.record) == set(JOB_KEYS)
    assert job.spec.budget == 1234
    assert job.spec.algo.agent == "dqn"
    assert len(job.run_ids) == 1


def test_seeds_of_a_cell_are_one_job():
    found = cells("algo=dqn,c51", "env=cartpole,acrobot", "seed=range(0,3)")
    assert found == [
        ("DQN", "cartpole", [0, 1, 2]),
        ("DQN", "acrobot", [0, 1, 2]),
        ("C51", "cartpole", [0, 1, 2]),
        ("C51", "acrobot", [0, 1, 2]),
    ]


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("seed=4", [4]),
        ("seed=1,2,3", [1, 2, 3]),
        ("seed=range(0,10)", list(range(10))),
        ("seed=[7,5,7]", [7, 5]),
        ("seed=range(0,10,5)", [0, 5]),
    ],
)
def test_seeds(word, wanted):
    assert cells("algo=dqn", "env=cartpole", word) == [("DQN", "cartpole", wanted)]


@pytest.mark.parametrize("value", [-1, 1.5, "x", True, None, 2**31])
def test_what_no_seed_is(value):
    with pytest.raises(ConfigError, match=r"seed=.* must be a whole number"):
        seeds([value])


def test_leave_one_out():
    found = cells("algo=rainbow", "env=acrobot", "components=leave_one_out,none")
    assert [label for label, *_ in found] == [*(f"Rainbow - {c}" for c in SIX), "Rainbow - all"]
    one = variant("algo=rainbow", "env=acrobot", "components=-noisy")
    assert one["kind"] == schema.LEAVE_ONE_OUT
    assert (one["component"], one["base"], one["full"]) == ("noisy", "DQN", "Rainbow")
    assert "noisy" in one["off"] and "double" in one["on"]
    assert one["overrides"] == {"noisy": False}


def test_add_one_in():
    found = cells("algo=dqn", "env=acrobot", "components=add_one_in")
    assert [label for label, *_ in found] == [f"DQN + {c}" for c in SIX]
    one = variant("algo=dqn", "env=acrobot", "components=+multi-step")
    assert one["kind"] == schema.ADD_ONE_IN
    assert (one["component"], one["base"], one["full"]) == ("multi-step", "DQN", "Rainbow")
    assert one["overrides"] == {"n_step": 3}


def test_a_foundation_is_studied_only_where_it_is_named():
    assert cells("algo=dqn", "env=acrobot", "components=-replay") == [
        ("DQN - replay", "acrobot", [0])
    ]
    assert "replay" in variant("algo=rainbow", "env=acrobot", "components=none")["on"]


def test_of_two_components_with_one_switch_one_is_on():
    for name, other in (("layer norm", "batch norm"), ("batch norm", "layer norm")):
        told = variant("algo=dqn", "env=acrobot", f"components=+{name}")
        assert name in told["on"] and other in told["off"]
        assert told["label"] == f"DQN + {name}"


def test_everything_off_says_what_else_differs_from_the_base():
    words = ("env=acrobot", "tuned=false")
    none = variant("algo=rainbow", "components=none", *words)
    (full,) = sweep(("algo=rainbow", *words)).jobs
    (base,) = sweep(("algo=dqn", *words)).jobs
    off = {key for c in agent_class("dqn").COMPONENTS for key in c.off}
    wanted = {
        key: value
        for key, value in full.spec.record["algo"].items()
        if key not in {*off, "name", "label"} and value != base.spec.record["algo"][key]
    }
    assert none["overrides"] == wanted
    assert none["label"] == "Rainbow - all"


def test_presets_between_base_and_full():
    c51 = variant("algo=c51", "env=acrobot")
    assert (c51["label"], c51["kind"], c51["base"], c51["full"]) == (
        *("C51", schema.PRESET),
        *("DQN", "Rainbow"),
    )
    assert "distributional" in c51["on"] and "double" in c51["off"]


def test_a_swept_setting_is_in_the_label():
    found = sweep(("algo=dqn", "env=acrobot", "algo.lr=1e-3,1e-4")).jobs
    assert [job.variant["label"] for job in found] == ["DQN, lr=0.001", "DQN, lr=0.0001"]
    assert found[0].variant["kind"] == schema.SWEEP
    assert found[0].variant["overrides"] == {"lr": 1e-3}
    assert found[0].spec.algo.lr == 1e-3


def test_whatever_is_set_by_hand_is_in_the_label():
    one = variant("algo=rainbow", "env=acrobot", "components=-double", "algo.gamma=0.9")
    assert one["label"] == "Rainbow - double, gamma=0.9"
    assert (one["base"], one["full"]) == ("DQN, gamma=0.9", "Rainbow, gamma=0.9")
    wrapped = variant("algo=dqn", "env=acrobot", "env.wrappers.reward_scale=0.1")
    assert wrapped["label"] == "DQN, env.wrappers.reward_scale=0.1"
    assert variant("algo=dqn", "env=acrobot", "env.ends=true")["label"] == "DQN"


def test_a_key_by_hand_wins_over_a_component_but_may_not_undo_it():
    words = ("algo=dqn", "env=acrobot", "components=+multi-step")
    (job,) = sweep((*words, "algo.n_step=5")).jobs
    assert job.spec.algo.n_step == 5
    with pytest.raises(ConfigError, match=r"contradicts the variant 'DQN \+ multi-step'"):
        sweep((*words, "algo.n_step=1"))


def test_studies_are_unions_and_the_command_line_wins():
    found = cells("study=quickstart", "seed=range(0,3)", "budget=2000", "env=cartpole")
    labels = ["DQN", "Rainbow", *(f"Rainbow - {c}" for c in SIX), "Rainbow - all"]
    assert found == [(label, "cartpole", [0, 1, 2]) for label in labels]
    plan = sweep(("study=quickstart", "budget=2000"))
    assert plan.study == "quickstart"
    assert {job.spec.budget for job in plan.jobs} == {2000}
    assert min(len(job.seeds) for job in plan.jobs) >= 5


@pytest.mark.parametrize("path", sorted((CONF / "study").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_study_plans(path):
    plan = sweep((f"study={path.stem}",))
    assert plan.study == path.stem
    assert plan.jobs and not plan.skipped


def test_a_cell_asked_for_twice_is_planned_once():
    assert len(cells("algo=dqn", "env=acrobot", "components=preset,preset")) == 1
    assert cells("algo=dqn,dqn", "env=acrobot", "seed=0,0") == [("DQN", "acrobot", [0])]


def test_two_cells_of_one_name_are_refused(monkeypatch):
    monkeypatch.setattr(variants, "_text", lambda value: "same")
    with pytest.raises(ConfigError, match="two different cells would both be labelled"):
        sweep(("algo=dqn", "env=acrobot", "algo.gamma=0.7,0.8"))


def test_agents_that_do_not_batch_get_a_job_per_seed(monkeypatch):
    monkeypatch.setattr(agent_class("dqn"), "max_seeds", 2)
    found = cells("algo=dqn", "env=acrobot", "seed=range(10,15)")
    assert [own for *_, own in found] == [[10, 11], [12, 13], [14]]


def test_an_impossible_pair_is_skipped_in_a_grid_and_refused_alone():
    plan = sweep(("algo=dqn", "env=pendulum,acrobot"))
    assert [job.env for job in plan.jobs] == ["acrobot"]
    assert [(s["algo"], s["env"], s["label"]) for s in plan.skipped] == [("dqn", "pendulum", "DQN")]
    assert "discrete" in plan.skipped[0]["reason"]
    for words in (("env=pendulum",), ("env=pendulum,acrobot", "strict=true")):
        with pytest.raises(ConfigError, match=r"algo=dqn env=pendulum: .*discrete"):
            sweep(("algo=dqn", *words))


ZIP = ("algo=dqn,c51", "env=cartpole,acrobot", "algo.lr=1e-3,1e-4")


def test_axes_in_step():
    found = cells(*ZIP, "zip=[algo,algo.lr]")
    assert [(label, env) for label, env, _ in found] == [
        ("DQN, lr=0.001", "cartpole"),
        ("DQN, lr=0.001", "acrobot"),
        ("C51, lr=0.0001", "cartpole"),
        ("C51, lr=0.0001", "acrobot"),
    ]


def test_what_is_excluded_is_not_planned():
    rules = "[{algo:dqn,env:cartpole},{label:'C51, lr=0.001'},{algo.lr:[1e-4],env:[acrobot]}]"
    found = cells(*ZIP, f"exclude={rules}")
    assert [(label, env) for label, env, _ in found] == [
        ("DQN, lr=0.001", "acrobot"),
        ("C51, lr=0.0001", "cartpole"),
    ]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("zip=[algo,envs]", "zip: unknown 'envs'; nearest: env"),
        (
            "zip=[algo,budget]",
            "zip: these axes need the same number of values: algo has 2, budget has 1",
        ),
        ("zip=[algo,seed]", "zip: unknown 'seed'"),
        ("zip=[1]", "zip=1 must be a list of names of axes"),
        ("exclude=[{alg:dqn}]", "exclude: unknown 'alg'; nearest: algo"),
        ("exclude=dqn", "exclude=dqn must be a list of mappings"),
        ("exclude=[{algo:[dqn,c51]}]", "exclude leaves no cell"),
        ("seeds_per_job=0", "seeds_per_job must be at least 1, got 0"),
    ],
)
def test_a_shape_that_does_not_fit_its_grid(word, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        sweep((*ZIP, "budget=1000", word))


def test_a_study_shapes_each_of_its_grids(tmp_path, monkeypatch):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "shaped.yaml").write_text(
        "# @package _global_\nname: shaped\nseed: range(0,4)\nseeds_per_job: 3\ngrid:\n"
        "  - {algo: [dqn, c51], env: [acrobot, taxi], zip: [algo, env]}\n"
        "  - {algo: [dqn, c51], env: cartpole, exclude: [{algo: dqn}]}\n"
    )
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path))
    found = cells("study=shaped")
    assert found == [
        (label, env, own)
        for label, env in (("DQN", "acrobot"), ("C51", "taxi"), ("C51", "cartpole"))
        for own in ([0, 1, 2], [3])
    ]


def test_a_key_said_again_acts_where_it_stands_last():
    """As in Hydra: over a word between that sets it too."""
    one, two = "algo.behaviour.start=0.7", "algo.behaviour.start=0.8"
    words = ("algo=q_learning", "env=frozenlake", one, "algo.behaviour={start:0.6}", two)
    (job,) = sweep(words).jobs
    assert job.spec.algo.behaviour.start == 0.8


ALL_ENVS = "env=glob(*, exclude=[gym, atari])"  # gym needs an id, atari an extra


@pytest.mark.parametrize(
    "words",
    [
        ("algo=glob(*)", "env=cartpole"),
        ("algo=rainbow", ALL_ENVS),
        pytest.param(("algo=glob(*)", ALL_ENVS), marks=pytest.mark.slow),
    ],
)
def test_every_algorithm_and_environment_composes(words):
    plan = sweep((*words, "budget=100000"))
    algos, envs = ({p.stem for p in (CONF / g).glob("*.yaml")} for g in ("algo", "env"))
    algos &= {"rainbow"} if words[0] == "algo=rainbow" else algos
    envs &= {"cartpole"} if words[1] == "env=cartpole" else envs - {"gym", "atari"}
    ran = [(job.algo, job.env) for job in plan.jobs]
    skipped = [(pair["algo"], pair["env"]) for pair in plan.skipped]
    assert sorted(ran + skipped) == sorted((algo, env) for algo in algos for env in envs)
    assert {env for _, env in ran} >= envs & {"cartpole", "minatar_breakout", "frozenlake"}


@pytest.mark.parametrize(
    "choices",
    [
        ("algo=rainbow", "env=acrobot", "tuned=dqn_family_acrobot", "study=rainbow_ablation"),
        ("algo=sac", "env=halfcheetah", "tuned=sac_halfcheetah", "tracking=offline"),
        ("algo=q_lambda", "env=frozenlake", "study=tabular"),
        ("algo=a3c", "env=cartpole", "tuned=a3c_cartpole", "study=actor_critic"),
        ("algo=dqn", "env=acrobot", "tuned=acrobot_early", "study=contrary", "tracking=disabled"),
        ("algo=heir", "env=acrobot", "study=heir"),
    ],
    ids=" ".join,
)
def test_parts_join_to_what_hydra_composes(choices, tmp_path, monkeypatch):
    for path, text in {
        "study/contrary": "defaults: [{override /tracking: offline}]\nbudget: 7\nalgo: {lr: 0.5}\n",
        "study/heir": "defaults: [cliff, _self_]\nname: heir\nenv: {horizon: 9}\n",
        "algo/heir": "defaults: [/algo/rainbow]\nalgo: {name: heir}\nbudget: 8\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / f"{path}.yaml").write_text(f"# @package _global_\n{text}")
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path))
    with cfg.session():
        whole = cfg.compose("config", overrides=list(choices))
        joined = cfg.composed(*choices)
        assert cfg.OmegaConf.to_yaml(joined) == cfg.OmegaConf.to_yaml(whole)
        for key in ("algo", "env"):
            assert cfg.OmegaConf.get_type(joined, key) is cfg.OmegaConf.get_type(whole, key)


@pytest.mark.parametrize("path", sorted((CONF / "algo").glob("*.yaml")), ids=lambda p: p.stem)
def test_presets_state_only_what_their_schema_has(path):
    preset = yaml.safe_load(path.read_text())
    with cfg.session():
        agent = cfg.composed(f"algo={path.stem}").algo.agent
    fields = {field.name for field in dataclasses.fields(agent_class(agent).Config)}
    assert set(preset) - {"defaults"} <= fields
    assert preset["name"] == path.stem


@pytest.mark.parametrize("path", sorted((CONF / "tuned").glob("*.yaml")), ids=lambda p: p.stem)
def test_tuned_files_say_where_they_come_from(path):
    assert "# tuned: " in path.read_text() or "# from: " in path.read_text()
    pairs = {
        f"{a.stem}_{e.stem}": (a.stem, e.stem)
        for a in (CONF / "algo").glob("*.yaml")
        for e in (CONF / "env").glob("*.yaml")
    }
    pairs |= {
        f"{agent}_family_{e.stem}": (agent, e.stem)
        for agent in registered()
        for e in (CONF / "env").glob("*.yaml")
    }
    if path.stem not in pairs:  # of no pair: a study names it
        studies = [study.read_text() for study in (CONF / "study").glob("*.yaml")]
        assert any(f"tuned: {path.stem}" in study for study in studies)
        return
    algo, env = pairs[path.stem]
    if env == "atari":
        pytest.importorskip("ale_py")
    (job,) = sweep((f"algo={algo}", f"env={env}")).jobs
    assert job.tuned == path.stem


def test_the_switch_is_the_first_key_of_off():
    component = Component("c", "", on={"n": 3, "lr": 1}, off={"n": 1, "lr": 2})
    config = cfg.OmegaConf.create
    assert variants.is_off(component, config({"n": 1, "lr": 1}))
    assert not variants.is_off(component, config({"n": 5, "lr": 2}))


LISTS = [
    (("algo=[rainbow,dqn]", "env=[frozenlake,taxi]"), ("algo=rainbow,dqn", "env=frozenlake,taxi")),
    (("algo=[dqn],c51", "env=acrobot"), ("algo=dqn,c51", "env=acrobot")),
    (
        ("algo=dqn", "env=acrobot", "components=[preset,[+double]]"),
        ("algo=dqn", "env=acrobot", "components=preset,+double"),
    ),
    (
        ("algo=[dqn,c51]", "env=[cartpole,acrobot]", "zip=[algo,env]"),
        ("algo=dqn,c51", "env=cartpole,acrobot", "zip=[algo,env]"),
    ),
    (("algo=dqn", "env=acrobot", "tuned=[false]"), ("algo=dqn", "env=acrobot", "tuned=false")),
]


@pytest.mark.parametrize(("bracketed", "plain"), LISTS, ids=str)
def test_a_list_of_names_is_its_names(bracketed, plain):
    found, wanted = sweep(bracketed), sweep(plain)
    assert [job.run_ids for job in found.jobs] == [job.run_ids for job in wanted.jobs]
    assert found.skipped == wanted.skipped
    assert [job.variant for job in found.jobs] == [job.variant for job in wanted.jobs]


def test_a_list_of_names_in_a_study_is_its_names(tmp_path, monkeypatch):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "nested.yaml").write_text(
        "# @package _global_\nname: nested\ngrid: {algo: [[dqn, c51]], env: '[acrobot,cartpole]'}\n"
    )
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path))
    assert cells("study=nested") == cells("algo=dqn,c51", "env=acrobot,cartpole")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("log_every=10,20",), "log_every=10 and log_every=20 are the same runs"),
        (("threads=1,2",), "threads cannot be swept"),
        (("tracking.notes=a,b",), "tracking.notes=a and tracking.notes=b are the same runs"),
        (("device=cpu,'cpu:0'",), "device cannot be swept"),
        (("env.random_score=-1,-2", "algo.lanes=1,2"), "env.random_score cannot be swept"),
        (
            ("log_every=10,20", "threads=1,2", "zip=[log_every,threads]"),
            "log_every cannot be swept",
        ),
    ],
)
def test_a_swept_key_that_makes_no_other_run_is_refused(words, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        sweep(("algo=q_learning", "env=frozenlake", "budget=100", *words))


def test_a_default_said_in_numbers_makes_no_other_run():
    words = ("algo=q_learning", "env=frozenlake", "budget=1000")
    (plain,) = sweep(words).jobs
    (spelt,) = sweep((*words, "evaluation.every=50")).jobs
    (other,) = sweep((*words, "evaluation.every=100")).jobs
    assert spelt.run_ids == plain.run_ids != other.run_ids


def test_a_key_that_only_says_how_may_go_in_step_with_one_that_says_what():
    words = ("algo=dqn", "env=acrobot,cartpole", "log_every=10,20", "zip=[env,log_every]")
    assert [job.spec.log_every for job in sweep(words).jobs] == [10, 20]


def test_what_a_union_of_grids_asks_for_again_is_told(tmp_path, monkeypatch):
    """The same cell under another name is planned as the first one is, in every number of seeds."""
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "again.yaml").write_text(
        "# @package _global_\nname: again\ngrid:\n"
        "  - {algo: q_learning, env: frozenlake, seed: [0, 1]}\n"
        "  - {algo: q_learning, env: [frozenlake, taxi], seed: [1, 2]}\n"
        "  - {algo: q_learning, env: frozenlake, algo.lanes: [1, 2], seed: [2, 3]}\n"
    )
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path))
    plan = sweep(("study=again", "tuned=false"))
    name = plan.jobs[0].variant["label"]
    assert [(job.variant["label"], job.env, job.seeds) for job in plan.jobs] == [
        (name, "frozenlake", [0, 1]),
        (name, "frozenlake", [2]),
        (name, "taxi", [1, 2]),
        (name, "frozenlake", [3]),
        (f"{name}, lanes=2", "frozenlake", [2, 3]),
    ]
    assert plan.repeated == 2
    (pair,) = plan.skipped
    assert pair["label"] == f"{name}, lanes=1"
    assert pair["reason"] == f"the same runs as {name!r}, planned once"


def test_one_component_taken_out_may_be_all_there_is():
    plan = sweep(("algo=double_dqn", "env=acrobot", "components=leave_one_out,none"))
    (job,), (pair,) = plan.jobs, plan.skipped
    assert job.variant["label"] == "Double DQN - double"
    assert (pair["label"], pair["reason"]) == (
        "Double DQN - all",
        "the same runs as 'Double DQN - double', planned once",
    )


@pytest.mark.parametrize(
    ("words", "kept", "reasons"),
    [
        (("algo=cem", "components=preset,add_one_in"), ["CEM"], ["model=neural"]),
        (("algo=cem_linear", "components=preset,add_one_in"), ["CEM linear"], ["model=linear"]),
        (
            ("algo=cem_forest", "components=preset,add_one_in"),
            ["CEM forest"],
            ["model=forest", "model=forest"],
        ),
        (("algo=cem_table", "components=preset,add_one_in"), ["CEM table"], ["model=table"]),
        (
            ("algo=cem_table", "components=leave_one_out"),
            ["CEM table - session memory", "CEM table - smoothing"],
            [],
        ),
        (
            ("algo=cem", "algo.model=forest", "components=leave_one_out"),
            ["CEM - session memory, model=forest"],
            ["model=forest"],
        ),
    ],
)
def test_a_component_is_studied_where_it_changes_something(words, kept, reasons):
    plan = sweep((*words, "env=frozenlake,taxi", "seed=0"))
    assert sorted({job.variant["label"] for job in plan.jobs}) == kept
    ends = [skipped["reason"].rpartition(" where ") for skipped in plan.skipped]
    assert [end for _, _, end in ends] == 2 * reasons
    assert all(says.endswith("changes nothing") for says, _, _ in ends)
