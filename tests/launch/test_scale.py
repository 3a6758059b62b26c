"""Ten thousand runs: planned within a minute, and told of within seconds."""

import time

import pytest

from prism.benchmark.cli.main import main
from prism.benchmark.launch.core import launch
from prism.benchmark.plan.executors import InlineOptions
from prism.benchmark.plan.grid import sweep
from prism.benchmark.store import ledger, records, schema

ALGOS = (
    *("dqn", "double_dqn", "dueling_dqn", "nstep_dqn", "noisy_dqn", "per_dqn", "c51", "qrdqn"),
    *("rainbow", "double_q", "ppo", "a2c", "grpo", "reinforce", "reinforce_baseline", "trpo"),
    *("cem", "cem_linear", "cem_params", "cem_params_neural"),
)
ENVS = (
    *("cartpole", "acrobot", "mountaincar", "frozenlake", "taxi", "cliffwalking"),
    *("minatar_breakout", "minatar_asterix", "minatar_freeway", "minatar_seaquest"),
)


class Spent:
    """CPU seconds of a block; what else the machine does is not in them."""

    def __enter__(self) -> "Spent":
        self.seconds = -time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time()


@pytest.mark.slow
def test_ten_thousand_runs(tmp_path, capsys):
    words = (f"algo={','.join(ALGOS)}", f"env={','.join(ENVS)}", "tracking=disabled")
    words += ("algo.gamma=0.9,0.95,0.97,0.98,0.99", "seed=range(0,10)", f"results={tmp_path}")
    with Spent() as plan:
        planned = sweep(words)
        assert len(ledger.remaining(planned)) == 20 * 10 * 5
        ledger.write_plan(planned)
    for job in planned.jobs:
        record = records.run_record(job, 0)
        for run in job.run_ids:
            folder = records.run_dir(job, run)
            folder.mkdir(parents=True)
            (folder / "metrics.jsonl").write_bytes(b"1234567\n")
            done = {"state": schema.FINISHED, "global_step": job.spec.budget, "size": 8}
            records.write_json(folder / "status.json", {**ledger.status_of(job, None), **done})
            records.write_json(folder / "run.json", {**record, "run_id": run})
    capsys.readouterr()
    with Spent() as status:
        assert main(["status", str(tmp_path / "adhoc")]) == 0
    assert "10000 runs, 10000 finished" in capsys.readouterr().out
    with Spent() as again:  # nothing is left to do
        assert launch(planned, InlineOptions())
    with capsys.disabled():
        print(
            f"\n10,000 runs: {plan.seconds:.1f} CPU s to plan, {status.seconds:.2f} for status, "
            f"{again.seconds:.1f} for the same command when all are finished"
        )
    assert plan.seconds < 60
    assert status.seconds < 5
    assert again.seconds < 30
