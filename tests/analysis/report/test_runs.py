"""The runs behind the numbers."""


def test_the_command_of_a_run_plans_that_run(tmp_path):
    """What the report prints for a run asks the harness for the very same run ids."""
    import shlex

    from prism.analysis.report.runs import command
    from prism.benchmark.plan import grid
    from prism.benchmark.store import records

    common = ("env=acrobot", "algo.lr=1e-3", "evaluation.every=1500", "budget=15000", "seed=1,2")
    jobs = [
        job
        for own in (("algo=rainbow", "components=-noisy,none"), ("algo=dqn", "components=+double"))
        for job in grid.sweep((*own, *common, f"results={tmp_path}")).jobs
    ]
    assert len(jobs) == 3
    for job in jobs:
        record = {**records.run_record(job, 0)}
        _, *again = shlex.split(command(record))
        found = grid.sweep(tuple(w for w in again if w != "-m"))
        assert [run for j in found.jobs for run in j.run_ids] == job.run_ids, command(record)
