"""What a sweep does after its last job: prints the scores, and sends its report if asked for."""

from collections.abc import Collection, Sequence
from pathlib import Path

from ..store.job import Job, Sweep
from ..store.ledger import statuses
from ..store.schema import FAILED, FINISHED
from ..util import boundary

_MANY = 200  # finished runs from which on a line says that they are read
_MOST = 2_000  # from which on they are not read without being asked for


def end(sweep: Sweep, jobs: Sequence[Job]) -> None:
    """Print the scores of a sweep; with ``tracking.report``, send its plan and report to W&B.

    Args:
        sweep: all that was asked for.
        jobs: those that were to do.
    """
    states = [status["state"] for job in sweep.jobs for status in statuses(job)]
    runs = {run for job in sweep.jobs for run in job.run_ids}
    print_scores(sweep.study_dir, states.count(FINISHED), runs)
    wanted = any(job.spec.tracking.report and "wandb" in job.spec.tracking.active for job in jobs)
    if wanted and set(states) <= {FINISHED, FAILED}:
        from ..tracking.push import mirror_study

        print("\nwriting the report and sending it to W&B, for tracking.report=true", flush=True)
        mirror_study(sweep.study_dir)


def print_scores(study_dir: Path, finished: int, only: Collection[str] | None = None) -> None:
    """Print mean, interval and number of runs of every label on every environment.

    Args:
        study_dir: ``results/<study>``.
        finished: how many runs may have a score.
        only: ids of the runs that count; None: all.
    """
    if not finished:
        return
    if finished > _MOST:
        print(f"\n{finished:,} runs are finished; their scores: prism table {study_dir}")
        return
    if finished > _MANY:
        print(f"\nreading the scores of {finished:,} runs", flush=True)
    from prism.analysis.report.brief import brief  # pandas takes a second to import

    try:
        text = brief(study_dir, only)
    except Exception as error:  # the runs are finished whatever the analysis makes of them
        text = f"score    none: {boundary.line(error)}"
    if text:
        print(f"\n{text}")
