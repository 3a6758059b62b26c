"""The commands that work on the folder of a study or run."""

import re
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from ..launch import price
from ..launch.local import cores
from ..launch.report import extent, summary
from ..plan.executors import Options
from ..store import intents, leases, ledger, records, schema, studies
from ..store.job import Job, Sweep
from ..util.errors import ConfigError
from ..util.text import plural, table, tail
from .decide import UNTIL
from .ending import print_scores
from .parser import OneLine, folder


def listing(plan: Sweep) -> str:
    """Return the plan of a sweep as text: its jobs and their states."""
    rows = [["job", "environment", "seeds", "steps per seed", "tuned", "state"]]
    for job in plan.jobs:
        seeds = ",".join(map(str, job.seeds))
        budget = f"{job.spec.budget:,}"
        rows.append([job.variant["label"], job.env, seeds, budget, job.tuned or "-", _state(job)])
    runs = [run for job in plan.jobs for run in job.run_ids]
    skipped = [f"skipped: {s['label']} on {s['env']}: {s['reason']}" for s in plan.skipped]
    notes = [f"note: {note}" for note in plan.notes]
    count = f"{extent(runs, ledger.planned_ids(plan.study_dir))} in {plural(len(plan.jobs), 'job')}"
    again = f" ({plan.repeated} asked for more than once)" * bool(plan.repeated)
    head = f"{plan.study}: {count}{again}, to {plan.study_dir}"
    return "\n".join([head, "", *table(rows), *skipped, *notes])


def priced(plan: Sweep, launcher: Options) -> str:
    """Return what the unfinished part of a sweep costs; measuring takes seconds per cell."""
    todo = [job for job in map(ledger.unfinished_part, plan.jobs) if job is not None]
    threads = max(job.spec.threads for job in plan.jobs)
    return str(price.of(todo, plan.study_dir.parent, launcher.slots(threads, cores())))


def _state(job: Job) -> str:
    """Return the counts of a job's runs by state; runs that never started are "to do"."""
    rest = ledger.unfinished_part(job)
    todo = rest.run_ids if rest is not None else []
    count = Counter(
        "damaged" if status["state"] == schema.FINISHED and run in todo else status["state"]
        for run, status in zip(job.run_ids, ledger.statuses(job), strict=True)
    )
    states = (*schema.STATES[1:], "damaged")
    words = [f"{count[state]} {state}" for state in states if count[state]]
    planned = [f"{count[schema.PLANNED]} to do"] if count[schema.PLANNED] else []
    return ", ".join([*words, *planned])


def _parser(command: str, about: str) -> OneLine:
    return OneLine(prog=f"prism {command}", description=about)


def _status(words: list[str]) -> int:
    parser = _parser("status", "Show how far the runs of a study are.")
    parser.add_argument("study_dir", type=str)
    study = folder(parser.parse_args(words).study_dir)
    print("\n".join([summary(study), *intents.told(study)]))
    runs = (
        records.read_status(study / "runs" / run["run_id"])
        for run in ledger.read_plan(study)["runs"]
    )
    print_scores(study, sum(run is not None and run["state"] == schema.FINISHED for run in runs))
    return 0


def _study(command: str, about: str, words: list[str]) -> Path:
    """Parse a command that takes only a study's folder; return the folder."""
    parser = _parser(command, about)
    parser.add_argument("study_dir", type=str)
    return folder(parser.parse_args(words).study_dir)


def resumed(words: list[str]) -> list[str]:
    """Return the command line that resumes the study whose folder is the first word."""
    if words[:1] in (["-h"], ["--help"]):
        parser = _parser(
            "resume", "Continue a study: everything that is not finished, from its checkpoints."
        )
        parser.add_argument("study_dir", type=str)
        parser.add_argument("overrides", nargs="*", help="dry_run=true, hydra/launcher=slurm, ...")
        parser.parse_args(words)  # prints, and ends
    if not words or "=" in words[0] or words[0].startswith("-"):
        raise ConfigError("resume takes the folder of a study: prism resume results/<study>")
    path = folder(words[0]).absolute()
    with studies.locked(path):
        pass  # a rename that was cut short has now given the study its name
    return ["-m", f"resume={_quoted(str(path))}", *words[1:]]


def _quoted(text: str) -> str:
    """Return a text as a value of Hydra's grammar, where backslashes before a quote are doubled."""
    return "'" + re.sub(r"(\\*)'", r"\1\1\'", re.sub(r"(\\+)$", r"\1\1", text)) + "'"


def _stop(words: list[str]) -> int:
    study = _study("stop", "Ask every running job of a study to save and stop.", words)
    ledger.read_plan(study)
    count = leases.ask_to_stop(study)
    print(f"asked {plural(count, 'running job')} to save and stop; see: prism status {study}")
    return 0


def _logs(words: list[str]) -> int:
    parser = _parser("logs", "Show what the jobs printed and why runs failed.")
    parser.add_argument("study_dir", type=str)
    parser.add_argument(
        "words", nargs="*", help="show only jobs and runs whose names have these parts"
    )
    parser.add_argument("--lines", type=int, default=20)
    args = parser.parse_args(words)
    study = folder(args.study_dir)
    plan = ledger.read_plan(study)
    paths = studies.logs(study, args.words)
    names = {run[key] for run in plan["runs"] for key in ("run_id", "job_id")}
    if not any(all(word in name for word in args.words) for name in names):
        near = get_close_matches(args.words[0], sorted(names), n=3, cutoff=0.2)
        hint = (
            f"nearest: {', '.join(near)}" if near else f"jobs are: {', '.join(sorted(names)[:3])}"
        )
        raise ConfigError(f"no output from jobs matching {' '.join(args.words)}; {hint}")
    texts = {path: tail(path, 200 * args.lines).splitlines()[-args.lines :] for path in paths}
    for path, text in texts.items():
        if text:
            print(f"== {path}", *text, "", sep="\n")
    if not any(texts.values()):
        print("the jobs printed nothing")
    return 0


def _extend(words: list[str]) -> int:
    parser = _parser(
        "extend", "Plan more seeds for every cell, or run them until its comparisons are decided."
    )
    parser.add_argument("study_dir", type=str)
    parser.add_argument("seeds", type=str, help=f"seeds=+8, or {UNTIL}")
    args = parser.parse_args(words)
    key, _, count = args.seeds.partition("=+")
    if key != "seeds" or not count.isdigit() or int(count) < 1:
        raise ConfigError(f"extend {args.seeds}: say how many seeds to add, such as seeds=+8")
    study = folder(args.study_dir)
    ledger.read_plan(study)
    added = studies.extend(study, int(count))
    print(f"{plural(added, 'run')} planned. Run them with: prism resume {shlex.quote(str(study))}")
    return 0


def _merge(words: list[str]) -> int:
    parser = _parser("merge", "Copy into a study the finished runs that other folders of it have.")
    parser.add_argument("target", type=str)
    parser.add_argument("sources", nargs="+", type=str)
    args = parser.parse_args(words)
    target = folder(args.target)
    for source in map(folder, args.sources):
        copied, planned, mirrored = studies.merge(target, source)
        result = (
            f"copied {plural(copied, 'finished run')}, added {plural(planned, 'run')} to the plan"
        )
        print(f"{source}: {result}")
        _tell_of_mirrored(mirrored, target)
    print(summary(target))
    return 0


def _prune(words: list[str]) -> int:
    parser = _parser(
        "prune", "Delete the checkpoints of a study's unfinished jobs; they start over."
    )
    parser.add_argument("study_dir", type=str)
    parser.add_argument("--yes", action="store_true", help="confirm: these jobs start over")
    args = parser.parse_args(words)
    study = folder(args.study_dir)
    with studies.idle(study):
        folders = studies.checkpoints(study)
    if folders and not args.yes:
        jobs = plural(len(folders), "job")
        raise ConfigError(f"prune {study}: {jobs} would start over; confirm with --yes")
    freed = studies.prune(study)
    print(f"deleted {freed / 1e6:.1f} MB of checkpoints; {plural(len(folders), 'job')} start over")
    return 0


def _rename(words: list[str]) -> int:
    parser = _parser("rename", "Give a study another name.")
    parser.add_argument("study_dir", type=str)
    parser.add_argument("name", type=str)
    args = parser.parse_args(words)
    old = Path(args.study_dir)
    if intents.renamed(old, old.parent / args.name) is None:
        old = folder(args.study_dir)
    study, mirrored = studies.rename(old, args.name)
    print(f"the study is now {study}")
    _tell_of_mirrored(mirrored, study)
    return 0


def _tell_of_mirrored(count: int, study: Path) -> None:
    if count:
        print(
            f"W&B still has {plural(count, 'run')} under the old study name. "
            f"Send them under this one with: prism wandb-push {study}"
        )


def _delete(words: list[str]) -> int:
    parser = _parser("delete", "Delete a study and all its results.")
    parser.add_argument("study_dir", type=str)
    parser.add_argument("--yes", action="store_true", help="confirm: delete all of it")
    args = parser.parse_args(words)
    study = Path(args.study_dir)
    if study.exists() or not intents.finish_deleting(study):
        study = folder(args.study_dir)
        with studies.idle(study) as plan:
            runs = plural(len(plan["runs"]), "run")
        if not args.yes:
            raise ConfigError(f"delete {study} with its {runs}: confirm with --yes")
        studies.delete(study)
    print(f"deleted {study}")
    return 0


def _wandb_push(words: list[str]) -> int:
    parser = _parser("wandb-push", "Send Weights & Biases the local rows that it lacks.")
    parser.add_argument("paths", nargs="+", type=str, help="studies or run folders")
    parser.add_argument("--project", help="default: the project the run was tracked with")
    parser.add_argument("--entity", help="default: the entity it was tracked with")
    parser.add_argument(
        "--rate", type=float, default=60.0, help="runs per minute at most (default: 60)"
    )
    args = parser.parse_args(words)
    if not args.rate > 0:
        raise ConfigError(f"--rate={args.rate} must be above 0")

    from ..tracking import push

    paths = [folder(text) for text in args.paths]
    folders = push.run_folders(paths)
    where = {"project": args.project, "entity": args.entity}
    failed, errors = 0, 0
    for outcome in push.push(folders, where, push.Pace(args.rate)):
        failed += bool(outcome.problem)
        end = outcome.problem or ("up to date" if not outcome.sent else "complete")
        print(f"{outcome.run_id}: {outcome.sent} of {outcome.rows} rows sent, {end}", flush=True)
    for study, problem in push.push_studies(paths, where):
        errors += bool(problem)
        print(f"{study.name}: {problem or 'plan and report are on W&B'}")
    print(f"{len(folders) - failed} of {len(folders)} runs are complete on W&B")
    return 1 if failed or errors else 0


def _wandb_report(words: list[str]) -> int:
    parser = _parser("wandb-report", "Create or update a study's W&B Report.")
    parser.add_argument("study_dir", type=str)
    parser.add_argument("--project", help="default: the project its runs were tracked with")
    parser.add_argument("--entity", help="default: the entity it was tracked with")
    parser.add_argument("--draft", action="store_true", help="visible only to you")
    args = parser.parse_args(words)
    study = folder(args.study_dir)

    from ..tracking.push import line, tracking_of
    from ..tracking.view import save_report

    where = tracking_of(study, {"project": args.project, "entity": args.entity})
    try:
        print(save_report(study, where, args.draft))
    except ConfigError:
        raise
    except Exception as error:  # the server's or the network's
        print(f"error: W&B did not take the report: {line(error)}", file=sys.stderr)
        return 1
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "delete": _delete,
    "extend": _extend,
    "logs": _logs,
    "merge": _merge,
    "prune": _prune,
    "rename": _rename,
    "status": _status,
    "stop": _stop,
    "wandb-push": _wandb_push,
    "wandb-report": _wandb_report,
}
