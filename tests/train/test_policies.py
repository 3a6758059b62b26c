"""Greedy and sampled evaluation: which is played, from which streams, and what is said of it."""

from functools import cache
from itertools import combinations
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
import torch

from prism.algos.core.agent import GREEDY, SAMPLED
from prism.algos.tabular.agent import Tabular
from prism.algos.tabular.config import TabularConfig
from prism.benchmark.envs.episodes import FINAL
from prism.benchmark.store import identity, records, schema
from prism.benchmark.store.agents import policies, valued
from prism.benchmark.store.job import Job
from prism.benchmark.store.rows import read_rows
from prism.benchmark.train.evaluate import Evaluator, evaluate_run, load_run
from prism.benchmark.util.errors import ConfigError
from tests.helpers import equal
from tests.runs import finished, folders, job, metrics, same_results, stop, weights

CASES: dict[str, dict[str, Any]] = {
    "cem_table": {"env": "frozenlake", "algo__lanes": 4, "algo__sessions": 4, "budget": 600},
    "cem": {"env": "CartPole-v1", "algo__lanes": 4, "algo__sessions": 4, "algo__updates": 2},
    "cem_forest": {"env": "CartPole-v1", "algo__lanes": 4, "algo__sessions": 4, "algo__trees": 2},
    "ppo": {"env": "CartPole-v1", "algo__rollout": 16},
    "sac": {"env": "Pendulum-v1", "env__horizon": 40, "algo__warmup": 40, "algo__train_every": 16},
    "sac_discrete": {"env": "CartPole-v1", "algo__warmup": 40, "algo__train_every": 16},
    "td": {"env": "random_walk"},
}
TWICE = {"cem", "sac_discrete"}  # another of their kind is there
EACH = [pytest.param(x, marks=[pytest.mark.slow] if x in TWICE else []) for x in CASES]


def work(folder: Path, algo: str, **changes: Any) -> Job:
    return job(folder, algo, **{**CASES[algo], **changes})


@cache
def whole(algo: str, **changes: Any) -> Job:
    """Return a finished job whose policies are evaluated sampled."""
    return finished(work(Path(mkdtemp()), algo, evaluation__policy=SAMPLED, **changes))


def last(folder: Path) -> dict[str, Any]:
    return read_rows(folder / "metrics.jsonl")[-1]


@pytest.mark.parametrize("algo", EACH)
def test_a_sampled_evaluation_does_not_depend_on_the_other_seeds(algo: str, tmp_path: Path) -> None:
    alone = finished(work(tmp_path, algo, seeds=(11,), evaluation__policy=SAMPLED))
    assert metrics(alone) == metrics(whole(algo))[1:2]


@pytest.mark.parametrize("algo", EACH[:-1])  # td has one form
def test_the_form_of_the_policy_changes_the_scores_and_nothing_else(
    algo: str, tmp_path: Path
) -> None:
    sampled, greedy = whole(algo), finished(work(tmp_path, algo, evaluation__policy=GREEDY))
    scores = ("eval/", "final/", "value/")
    differ = False
    for k, pair in enumerate(zip(folders(sampled), folders(greedy), strict=True)):
        equal(weights(sampled)[k], weights(greedy)[k])
        ours, theirs = (read_rows(folder / "metrics.jsonl") for folder in pair)
        for row, other in zip(ours, theirs, strict=True):
            kept = [{n: x for n, x in r.items() if not n.startswith(scores)} for r in (row, other)]
            assert kept[0] == kept[1]
        for column in (schema.FINAL_RETURN, schema.FINAL_LENGTH):
            differ |= ours[-1][column] != theirs[-1][column]
    assert differ


@pytest.mark.parametrize("algo", ["cem_table", "ppo", "td"])
def test_a_run_with_sampled_evaluations_resumes_to_the_bit(algo: str, tmp_path: Path) -> None:
    parts = work(tmp_path, algo, evaluation__policy=SAMPLED)
    for ticks in (21, 1, 30):
        stop(parts, ticks)
    finished(parts)
    same_results(whole(algo), parts)


def test_seeds_with_one_policy_draw_different_actions_and_play_the_same_episodes() -> None:
    _, spec, agent = load_run(next(folders(whole("cem_table"))))
    agent.model.p.fill_(0.25)  # type: ignore[attr-defined]
    before = agent.state()
    outcomes = []
    for seed in (3, 3, 11, 42):
        evaluator = Evaluator(spec, [seed], FINAL, 12, torch.device("cpu"))
        outcomes.append(evaluator(agent).lengths[0])
        assert np.array_equal(evaluator(agent).lengths[0], outcomes[-1])  # it begins anew
    assert np.array_equal(outcomes[0], outcomes[1])
    for a, b in combinations(outcomes[1:], 2):
        assert not np.array_equal(a, b)
    equal(agent.state(), before)


def test_an_episode_is_the_same_in_an_evaluation_of_more() -> None:
    _, spec, agent = load_run(next(folders(whole("cem"))))
    few, many = (
        Evaluator(spec, [3], FINAL, n, torch.device("cpu"))(agent).returns[0] for n in (2, 6)
    )
    assert np.array_equal(few, many[:2]) and len(set(many)) > 1


def test_a_second_form_is_a_second_column(tmp_path: Path) -> None:
    both = finished(work(tmp_path, "cem_table", evaluation__also=GREEDY, seeds=(3, 11)))
    for folder, sampled in zip(folders(both), folders(whole("cem_table")), strict=False):
        row = last(folder)
        assert row[schema.FINAL_RETURN] == last(sampled)[schema.FINAL_RETURN]
        assert row["final/return_greedy"] == evaluate_run(folder, 3, GREEDY, FINAL)["mean"]
        assert evaluate_run(folder, 3)["policy"] == SAMPLED
        with pytest.raises(ConfigError, match=r"--policy.*sampld.*nearest: sampled"):
            evaluate_run(folder, 3, policy="sampld")


def test_a_finished_runs_policy_is_that_of_its_own_seed(tmp_path: Path) -> None:
    """A forest grows again from the sessions and the seed; so does the score of any other agent."""
    done = finished(work(tmp_path, "cem_forest", seeds=(3, 11), evaluation__episodes=9))
    for folder in folders(done):
        assert evaluate_run(folder, 9, purpose=FINAL)["mean"] == last(folder)[schema.FINAL_RETURN]
        *_, agent = load_run(folder)
        assert agent.model.forests[0] is not None  # type: ignore[attr-defined]


def test_run_id_and_protocol_know_the_form(tmp_path: Path) -> None:
    jobs = {
        form: work(tmp_path, "ppo", evaluation__policy=form) for form in (None, GREEDY, SAMPLED)
    }
    assert jobs[None].run_ids == jobs[GREEDY].run_ids != jobs[SAMPLED].run_ids
    protocol = {form: identity.protocol(each.spec) for form, each in jobs.items()}
    assert protocol[None] == protocol[GREEDY]
    episodes, form = protocol[SAMPLED][0].split("-")
    assert form == protocol[SAMPLED][1]["policy"] == SAMPLED
    assert protocol[GREEDY][0] == f"{episodes}-greedy"
    assert identity.protocol(work(tmp_path, "cem").spec)[0] == f"{episodes}-sampled"
    record = records.read_json(next(folders(whole("ppo"))) / "run.json")
    assert record["protocol"] == protocol[SAMPLED][0]


VALUED = {
    **{"q_learning": GREEDY, "double_q_learning": GREEDY, "n_step_importance": GREEDY},
    **{"q_lambda": GREEDY, "dyna_q": GREEDY, "value_iteration": GREEDY, "tree_backup": GREEDY},
    **{"sarsa": None, "expected_sarsa": None, "monte_carlo": None, "sarsa_lambda": None},
    **{
        "dyna_q_plus": None,
        "n_step_sarsa": None,
        "policy_evaluation": None,
        "sac": None,
        "sac_discrete": None,
    },
    **{"td": SAMPLED, "td_lambda": SAMPLED, "a2c": SAMPLED, "dqn": GREEDY, "td3": GREEDY},
    **{"n_step_q": None, "n_step_td": SAMPLED, "nstep_dqn": None, "rainbow": None},
    **{"double_dqn": GREEDY},
}


@pytest.mark.parametrize("algo", VALUED)
def test_agents_say_whose_values_they_learn(algo: str, tmp_path: Path) -> None:
    spec = job(tmp_path, algo, "frozenlake").spec
    assert valued(spec.agent, spec.algo) == VALUED[algo]
    if VALUED[algo] is not None:
        assert VALUED[algo] in policies(spec.agent, spec.algo)


@pytest.mark.parametrize(
    ("backup", "target", "n", "form"),
    [
        ("q_learning", "behaviour", 1, GREEDY),
        ("q_learning", "greedy", 2, None),
        ("expected", "greedy", 1, GREEDY),
        ("expected", "greedy", 2, None),
        ("expected", "behaviour", 1, None),
        ("importance_sampling", "greedy", 4, GREEDY),
        ("tree", "greedy", 4, GREEDY),
        ("tree", "behaviour", 4, None),
        ("sarsa", "greedy", 1, None),
    ],
)
def test_n_steps_are_the_greedy_policys_only_where_they_are_corrected(
    backup: str, target: str, n: int, form: str | None
) -> None:
    config = TabularConfig(rule="n_step", backup=backup, target=target, n_step=n)
    assert Tabular.valued(config) == form


def test_a_critics_bias_is_told_of_the_sampled_policy_alone(tmp_path: Path) -> None:
    told = {"value/predicted", "value/realised", "value/bias"}
    assert told <= last(next(folders(whole("ppo")))).keys()
    assert not told & last(next(folders(whole("sac")))).keys()
    for changes in ({"evaluation__policy": GREEDY}, {"algo__normalize_reward": True}):
        other = {"evaluation__policy": SAMPLED, **changes}
        quiet = finished(work(tmp_path / next(iter(changes)), "ppo", seeds=(3,), **other))
        assert not told & last(next(folders(quiet))).keys()
