"""Logs of other libraries: each format gives its scores, and notes of what was taken."""

import json

import numpy as np
import pandas as pd
import pytest

from prism.analysis.cli import main
from prism.analysis.errors import AnalysisError
from prism.analysis.load.data import load
from prism.benchmark.store import schema

CHART = "CartPole-v1__dqn__1 - charts/episodic_return"


def told(data):
    return "\n".join(data.notes)


def facts(data):
    """Return label, env, seed and final score of every scored run."""
    runs = data.scored.sort_values(["label", "seed"])
    return list(zip(runs.label, runs.env, runs.seed, runs.final, strict=True))


def monitor(path, lengths, env="CartPole-v1", start=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{length}.0,{length},{start + i / 10}" for i, length in enumerate(lengths)]
    header = json.dumps({"t_start": 1.5, "env_id": env})
    path.write_text("\n".join([f"#{header}", "r,l,t", *rows, ""]))


def evaluations(path, scores):
    path.parent.mkdir(parents=True, exist_ok=True)
    steps = 1000 * np.arange(1, len(scores) + 1)
    results = np.array(scores)[:, None] + [-1.0, 1.0]
    np.savez(path, timesteps=steps, results=results, ep_lengths=results)


def test_the_tree_of_rl_zoo3(tmp_path):
    for label, score in (("a2c", 10.0), ("ppo", 20.0)):
        for n in (1, 2):
            run = tmp_path / "logs" / label / f"CartPole-v1_{n}"
            evaluations(run / "evaluations.npz", [1.0, score + n])
            monitor(run / "0.monitor.csv", [5])
            (run / "CartPole-v1").mkdir()
            (run / "CartPole-v1" / "args.yml").write_text(
                "!!python/object/apply:collections.OrderedDict\n"
                f"- - - algo\n    - {label}\n  - - seed\n    - {40 + n}\n"
            )
    data = load(tmp_path / "logs")
    expected = [("a2c", 41, 11.0), ("a2c", 42, 12.0), ("ppo", 41, 21.0), ("ppo", 42, 22.0)]
    assert facts(data) == [(label, "cartpole", seed, score) for label, seed, score in expected]
    assert data.metrics[schema.STEP].tolist() == [1000, 2000] * 4
    assert "left out beside evaluations.npz: 0.monitor.csv" in told(data)
    assert "CartPole-v1 is cartpole" in told(data)


def test_args_run_no_code(tmp_path):
    run = tmp_path / "ppo" / "CartPole-v1_7"
    evaluations(run / "evaluations.npz", [3.0])
    (run / "x").mkdir()
    touched = tmp_path / "touched"
    (run / "x" / "args.yml").write_text(f"!!python/object/apply:os.mkdir ['{touched}']\n")
    assert facts(load(tmp_path)) == [("ppo", "cartpole", 7, 3.0)] and not touched.exists()


def test_monitors_of_one_run_are_one_curve_by_time(tmp_path):
    run = tmp_path / "mine_seed3"
    monitor(run / "0.monitor.csv", [10, 30])
    monitor(run / "1.monitor.csv", [20], start=0.05)
    data = load(tmp_path)
    assert data.metrics[[schema.STEP, "train/return"]].to_numpy().tolist() == [
        [10, 10.0],
        [30, 20.0],
        [60, 30.0],
    ]
    assert facts(data) == [("mine_seed3", "cartpole", 3, 30.0)]


def test_runs_that_count_episodes_end_at_different_steps_and_are_whole(tmp_path):
    for seed, length in ((0, 10), (1, 30)):
        monitor(tmp_path / f"ppo_seed{seed}" / "monitor.csv", [length] * 20)
    data = load(f"{tmp_path}?label=ppo")
    assert facts(data) == [("ppo", "cartpole", 0, 10.0), ("ppo", "cartpole", 1, 30.0)]
    assert "count as whole that end before the longest of their environment: ppo_" in told(data)


def test_sb3s_table_needs_an_environment_and_takes_it(tmp_path):
    rows = {"time/total_timesteps": [2048, 4096], "rollout/ep_rew_mean": [1.0, 5.0]}
    pd.DataFrame(rows).to_csv(tmp_path / "progress.csv", index=False)
    with pytest.raises(AnalysisError, match=r"no environment is recorded .*\?env=<environment>'"):
        load(tmp_path)
    data = load(f"{tmp_path}?env=Ant-v5&label=PPO&seed=9007199254740993")
    assert facts(data) == [("PPO", "Ant-v5", 2**53 + 1, 5.0)]
    with pytest.raises(AnalysisError, match="query key: unknown 'sed'; nearest: seed"):
        load(f"{tmp_path}?sed=1")


@pytest.mark.parametrize("new", [False, True])
def test_rllib_in_lines_and_as_a_table(tmp_path, new):
    steps = "num_env_steps_sampled_lifetime" if new else "timesteps_total"
    lines = []
    for i in (1, 2):
        returns = {"env_runners": {"episode_return_mean": 10.0 * i}}
        rows = returns if new else {"episode_reward_mean": 10.0 * i}
        lines.append({**rows, steps: 4000 * i, "training_iteration": i, "date": "today"})
    trial = tmp_path / "PPO_CartPole-v1_abc_00003_3_2024-05-01_10-00-00"
    trial.mkdir()
    pd.json_normalize(lines, sep="/").to_csv(trial / "progress.csv", index=False)
    assert facts(load(tmp_path)) == [("PPO", "cartpole", 3, 20.0)]
    config = {"config": {"env": "CartPole-v1", "seed": 8}}
    text = "\n".join(json.dumps(line | config) for line in lines)
    (trial / "result.json").write_text(f'{text}\n{{"cut')
    data = load(tmp_path)
    assert facts(data) == [("PPO", "cartpole", 8, 20.0)]
    assert data.metrics[schema.STEP].tolist() == [4000, 8000]
    assert "incomplete last line is ignored" in told(data)


def test_event_files(tmp_path):
    writers = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    for name, tag in (("CartPole-v1__dqn__1__1700000000", "charts/episodic_return"), ("x", "loss")):
        writer = writers.EventFileWriter(str(tmp_path / "runs" / name))
        for step in (100, 200):
            value = Summary.Value(tag=tag, simple_value=step / 10)
            writer.add_event(Event(step=step, summary=Summary(value=[value])))
        writer.close()
    data = load(tmp_path / "runs" / "CartPole-v1__dqn__1__1700000000")
    assert facts(data) == [("dqn", "cartpole", 1, 20.0)]
    assert data.metrics[schema.STEP].tolist() == [100, 200]
    with pytest.raises(AnalysisError, match="no environment is recorded for x"):
        load(tmp_path / "runs")
    with pytest.raises(AnalysisError, match="add return=<column>"):
        load(f"{tmp_path / 'runs' / 'x'}?env=e")
    blind = load(f"{tmp_path / 'runs' / 'x'}?env=e&return=loss")
    assert facts(blind) == [("x", "e", 0, 20.0)] and len(blind.metrics) == 1
    assert "step=<column> takes one of Step" in told(blind)
    seen = load(f"{tmp_path / 'runs' / 'x'}?env=e&return=loss&step=Step")
    assert seen.metrics[schema.STEP].tolist() == [100, 200]


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("CartPole-v1__dqn__1__1700000000.csv", [100, 200]),
        ("run-CartPole-v1__dqn__1-tag-charts_episodic_return.csv", [100, 200]),
        ("run-CartPole-v1__dqn__1-tag-mine.csv", None),
    ],
)
def test_a_download_of_tensorboard(tmp_path, name, steps):
    rows = {"Wall time": [0.5, 1.5], "Step": [100, 200], "Value": [1.0, 3.0]}
    pd.DataFrame(rows).to_csv(tmp_path / name, index=False)
    if steps is None:
        with pytest.raises(AnalysisError, match="no column is a known return"):
            load(tmp_path / name)
        return
    data = load(tmp_path / name)
    assert facts(data) == [("dqn", "cartpole", 1, 3.0)]
    assert data.metrics[schema.STEP].tolist() == steps and "Step counts environment" in told(data)


def test_a_chart_of_wandb_has_an_axis_only_if_it_is_known(tmp_path):
    rows = {"Step": [0, 1, 2], CHART: [1.0, None, 3.0]}
    rows |= {f"{CHART}__MIN": [0.0] * 3, f"{CHART}__MAX": [9.0] * 3}
    path = tmp_path / "chart.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    data = load(path)
    assert facts(data) == [("dqn", "cartpole", 1, 3.0)] and len(data.metrics) == 1
    assert "step=<column> takes one of Step" in told(data) and "__MIN" in told(data)
    assert load(f"{path}?step=Step").metrics[schema.STEP].tolist() == [0, 2]
    pd.DataFrame(rows).rename(columns={"Step": "global_step"}).to_csv(path, index=False)
    assert load(path).metrics[schema.STEP].tolist() == [0, 2]


def test_a_table_of_runs_of_wandb(tmp_path):
    row = {"State": "finished", "Created": "2025", "algo": "dqn", "env_id": "CartPole-v1"}
    row |= {"total_timesteps": 500, "charts/episodic_return": 7.0, "global_step": 499}
    rows = [row | {"Name": "a", "seed": 1}, row | {"Name": "None", "seed": 2, "State": "crashed"}]
    pd.DataFrame(rows).to_csv(tmp_path / "runs.csv", index=False)
    data = load(tmp_path / "runs.csv")
    assert facts(data) == [("dqn", "cartpole", 1, 7.0)]
    assert data.runs.set_index("run_id").reason["None"] == "state in the tracker: crashed"


def test_scores_in_json(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"DQN": [[1.0, 2.0], [3.0, 4.0]]}))
    assert [score for *_, score in facts(load(path))] == [1.0, 2.0, 3.0, 4.0]
    rows = [
        {"Agent": "DQN", "Game": "Pong", "Iteration": i, "Value": 10.0 * n + i}
        for i in (0, 1)
        for n in (0, 1)
    ]
    path.write_text(json.dumps(rows))
    data = load(path)
    assert facts(data) == [("DQN", "Pong", 0, 1.0), ("DQN", "Pong", 1, 11.0)]
    assert "takes one of Iteration" in told(data)
    steps = {"step_0": {"step_count": 5, "return": [1.0]}, "absolute_metrics": {"return": [3.0]}}
    path.write_text(json.dumps({"suite": {"task": {"ippo": {"seed_4": steps}}}}))
    assert facts(load(path)) == [("ippo", "task", 4, 3.0)]


def test_arrays_hold_no_objects(tmp_path):
    np.save(tmp_path / "Rainbow.npy", np.array([[1.0], [2.0]]))
    assert facts(load(tmp_path / "Rainbow.npy"))[1] == ("Rainbow", "task 0", 1, 2.0)
    np.save(tmp_path / "x.npy", np.array({"DQN": [1]}, object), allow_pickle=True)
    with pytest.raises(AnalysisError, match="holds Python objects, which are not read"):
        load(tmp_path / "x.npy")


def png(folder):
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("x.csv", lambda p: p.write_text(""), "cannot be read"),
        ("x.csv", lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n\0\0"), "cannot be read"),
        ("x.csv", lambda p: p.write_text("a,b\n1,2\n"), "not a format that is read; these are"),
        ("x.json", lambda p: p.write_text("{"), "cannot be read"),
        ("x.json", lambda p: p.write_text('{"name": "package"}'), "no scores in the layout"),
        ("x.npy", lambda p: p.write_bytes(b""), "cannot be read"),
        ("x.png", lambda p: p.write_bytes(b"\x89PNG"), "not a format that is read; these are"),
        ("x", lambda p: p.mkdir(), "a folder without a format that is read; these are"),
        ("x", lambda p: (p.mkdir(), png(p)), "a folder without a format that is read; these are"),
        ("x", lambda p: None, "no such file or folder"),
        ("0.monitor.csv", lambda p: p.write_text('#{"t_start": 1}\nr,l,t\n'), "no environment"),
    ],
)
def test_foreign_content_is_one_line(tmp_path, capsys, name, make, message):
    make(tmp_path / name)
    assert main(["table", str(tmp_path / name)]) == 2
    out, err = capsys.readouterr()
    assert message in err and err.count("\n") == 1 and not out
