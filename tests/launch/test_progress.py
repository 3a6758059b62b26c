import io

from prism.benchmark.launch import progress
from prism.benchmark.launch.progress import Progress, clock, line
from prism.benchmark.launch.report import extent
from prism.benchmark.store import records, schema
from tests.launch import fakes
from tests.launch.test_core import plan


def test_progress_reads_heartbeats(tmp_path, capsys):
    planned = plan(tmp_path, [fakes.FINISH], "seed=0,1")
    (job,) = planned.jobs
    with Progress(planned, planned.jobs, {job.job_id: job}) as shown:
        assert line(shown._beats()[0]) == "DQN, lr=0.001 on cartpole x 2 seeds: starting"
        beat = {"global_step": 25_000, "wall": 10.0, "seeds": 2}
        beat |= {"budget": job.spec.budget, "train_return": 21.5, "eval_return": None}
        records.write_json(records.job_dir(job) / "heartbeat.json", beat)
        head = shown.head()
    share = f"{25_000 / job.spec.budget:.0%}"
    assert head.startswith(f"0/1 jobs, {share}, 0 runs failed")
    assert "ETA" in head
    text = f"DQN, lr=0.001 on cartpole x 2 seeds: {share}, 5,000 steps/s, return 21.5"
    assert line(shown._beats()[0]) == text
    assert clock(3723.9) == "1:02:03"


def test_a_terminal_gets_a_table(tmp_path, monkeypatch):
    from rich.console import Console

    planned = plan(tmp_path, [fakes.FINISH, fakes.RAISE, fakes.EXIT], "seed=0,1")
    running, ended, _ = planned.jobs
    shown = Progress(planned, planned.jobs, {running.job_id: running})
    failed = {"state": schema.FAILED, "reason": "why"}
    shown.ended(ended, [failed, failed], again=False)  # type: ignore[list-item]
    console = Console(file=io.StringIO(), width=80)
    console.print(shown.table())
    picture = console.file.getvalue()
    assert len(picture.splitlines()) == 5  # head, columns, three jobs: none is broken
    for text in ("1/3 jobs", "2 runs failed", "lr=0.001", "starting", "FAILED", "and 1 job"):
        assert text in picture
    live = progress.live_table(shown.table)
    assert live.get_renderable().row_count == 3


def test_a_sweep_takes_as_long_as_its_slowest_job(tmp_path):
    planned = plan(tmp_path, [fakes.FINISH, fakes.RAISE])
    quick, slow = planned.jobs
    shown = Progress(planned, planned.jobs, {slow.job_id: slow})
    shown.ended(quick, [], again=False)
    beat = {"global_step": 25, "budget": 100, "wall": 1000.0, "seeds": 1}
    beat |= {"train_return": None, "eval_return": None}
    records.write_json(records.job_dir(slow) / "heartbeat.json", beat)
    assert shown.head().endswith("ETA 0:50:00")


def test_what_was_interrupted_is_not_done(tmp_path):
    planned = plan(tmp_path, [fakes.FINISH, fakes.RAISE])
    shown = Progress(planned, planned.jobs, {})
    done, stopped = planned.jobs
    shown.ended(done, [], again=False)
    interrupted = {"state": schema.INTERRUPTED, "reason": "asked to stop"}
    shown.ended(stopped, [interrupted], again=False)  # type: ignore[list-item]
    assert shown.head().startswith("1/2 jobs, 50%, 0 runs failed")


def test_a_command_says_what_it_adds_to_a_study():
    six = [f"r{n}" for n in range(6)]
    assert extent(six, (), " planned") == extent(six, six, " planned") == "6 runs planned"
    assert extent(["r6", "r7"], six, " planned") == "2 runs added to 6"
    assert extent(["r5", "r6"], six) == "1 run added to 6 (1 of the command there before)"
    assert extent(["r1"], six, " planned") == "1 of 6 runs planned"
