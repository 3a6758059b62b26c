"""One small real study, what can happen to its files, and what the commands make of that."""

import contextlib
import io
import json
import shutil
import signal
import socket
import traceback
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prism.analysis.errors import AnalysisError
from prism.analysis.load.data import load
from prism.benchmark.cli.main import main
from prism.benchmark.launch.core import launch
from prism.benchmark.plan.executors import InlineOptions
from prism.benchmark.plan.grid import sweep
from prism.benchmark.store import ledger, records, schema
from prism.benchmark.store.job import Sweep
from prism.benchmark.train.runner import Training

_WORDS = ("tracking=disabled", "seed=0,1", "evaluation.episodes=2", "name=s")
_GRID = ("algo=q_learning", "env=dyna_maze", "budget=240", "log_every=60", "evaluation.every=60")
_DEEP = (
    *("algo=dqn", "env=cartpole", "budget=240", "log_every=40", "evaluation.every=80"),
    *("algo.hidden=[8]", "algo.learning_starts=40", "algo.batch_size=8", "algo.buffer_size=100"),
)
_OTHER = (*_DEEP, "algo.lr=0.002")
_PATIENCE = 120  # seconds that a command may take on a busy machine


def make(results: Path) -> Path:
    """Make a study of two finished jobs and an interrupted one, of two seeds each."""
    for words in (_GRID, _DEEP):
        assert launch(_planned(results, words), InlineOptions())
    rest = _planned(results, _OTHER)
    ledger.write_plan(rest)
    (job,) = rest.jobs
    ledger.prepare(job)
    training = Training(job)
    training.run(lambda: bool(training.steps[0] >= 170))
    training.close()
    study = results / "s"
    lease: dict[str, Any] = {"mark": "0" * 16, "job_id": job.job_id, "runs": job.run_ids}
    lease |= {"host": socket.gethostname(), "pid": 1, "born": "1", "beat": 3, "engine": None}
    records.write_json(study / "leases" / f"{job.job_id}.json", lease)
    (study / "jobs" / job.job_id / "log.txt").write_text("a line\n")
    (next(_runs(study, "dqn", schema.INTERRUPTED)) / "error.txt").write_text("asked to stop\n")
    return study


def _planned(results: Path, words: tuple[str, ...]) -> Sweep:
    return sweep((*_WORDS, *words, f"results={results}"))


def _runs(study: Path, algo: str, state: str) -> Iterator[Path]:
    for path in sorted(study.glob(f"runs/{algo.replace('_', '-')}-*")):
        status = records.read_status(path)
        if status is not None and status["state"] == state:
            yield path


def _of(algo: str, state: str, name: str) -> Callable[[Path], list[Path]]:
    return lambda study: [path / name for path in _runs(study, algo, state)]


def _glob(pattern: str) -> Callable[[Path], list[Path]]:
    return lambda study: sorted(study.glob(pattern))


_DONE, _OPEN = schema.FINISHED, schema.INTERRUPTED
KINDS: dict[str, Callable[[Path], list[Path]]] = {  # kind of file -> those of a study
    "plan.json": _glob("plan.json"),
    "run.json": _of("dqn", _DONE, "run.json"),
    "status.json": _of("dqn", _DONE, "status.json"),
    "metrics.jsonl": _of("dqn", _DONE, "metrics.jsonl"),
    "metrics.parquet": _of("dqn", _DONE, "metrics.parquet"),
    "timing.jsonl": _of("dqn", _DONE, "timing.jsonl"),
    "weights.pt": _of("dqn", _DONE, "weights.pt"),
    "arrays/result.npz": _of("q_learning", _DONE, schema.ARRAYS),
    "tracking.json": _of("dqn", _DONE, "tracking.json"),
    "run.json, unfinished": _of("dqn", _OPEN, "run.json"),
    "status.json, unfinished": _of("dqn", _OPEN, "status.json"),
    "metrics.jsonl, unfinished": _of("dqn", _OPEN, "metrics.jsonl"),
    "timing.jsonl, unfinished": _of("dqn", _OPEN, "timing.jsonl"),
    "error.txt": _of("dqn", _OPEN, "error.txt"),
    "checkpoint": _glob("jobs/*/checkpoint/*.pt"),
    "heartbeat.json": _glob("jobs/*/heartbeat.json"),
    "lease": _glob("leases/*.json"),
    "log.txt": _glob("jobs/*/log.txt"),
}

Change = Callable[[Path, np.random.Generator], None]


def _pick(rng: np.random.Generator, values: Sequence[Any]) -> Any:
    return values[int(rng.integers(len(values)))]


def _flip(path: Path, rng: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


def _digit(path: Path, rng: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    at = _pick(rng, [i for i, byte in enumerate(data) if chr(byte).isdigit()] or [0])
    data[at] = ord(_pick(rng, [d for d in "0123456789" if ord(d) != data[at]]))
    path.write_bytes(data)


def _truncate(path: Path, rng: np.random.Generator) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.integers(len(data)))])


def _zeros(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _append(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(path.read_bytes() + _pick(rng, [b"x", b"\n", b"{}\n", b"5\n", b"\0" * 9]))


def _write(text: str) -> Change:
    def change(path: Path, rng: np.random.Generator) -> None:
        path.write_text(text)

    return change


def _missing(path: Path, rng: np.random.Generator) -> None:
    path.unlink()


def _swap(path: Path, rng: np.random.Generator) -> None:
    """Exchange a file with that of the same name in another folder of the study."""
    study = next(above for above in path.parents if (above / "plan.json").exists())
    inside = path.relative_to(study)
    depth = len(inside.parts)
    alike = [other for other in study.rglob(path.name) if other != path]
    alike = [other for other in alike if len(other.relative_to(study).parts) == depth]
    if not alike:  # the only one of its name: nothing to exchange it with
        return _flip(path, rng)
    other = _pick(rng, sorted(alike))
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


_VALUES: tuple[Any, ...] = (
    *("-30", "abc", "", -1, 0, 1e300, 10**400, None, True, [], {}, [1], {"a": 1}),
    *("../../x", "\x1b[2J", float("nan"), float("inf")),
)


def _type(path: Path, rng: np.random.Generator) -> None:
    """Give one value of a JSON file, or of one line of it, another type."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    at = int(rng.integers(len(lines)))
    value = json.loads(lines[at])
    places = list(_places(value))
    holder, key = _pick(rng, places)
    holder[key] = _pick(rng, _VALUES)
    lines[at] = json.dumps(value)
    path.write_text("\n".join(lines) + "\n")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a JSON value: its holder, and the key or index there."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in list(entries):
        yield value, key
        if isinstance(each, dict | list):
            yield from _places(each)


CHANGES: dict[str, Change] = {
    "a bit": _flip,
    "a digit": _digit,
    "cut": _truncate,
    "zeros": _zeros,
    "more": _append,
    "missing": _missing,
    "swapped": _swap,
    "empty": _write(""),
    "{}": _write("{}"),
    "[]": _write("[]"),
    "5": _write("5"),
    "null": _write("null"),
    "deep": _write("[" * 100_000),
    "deep, closed": _write('{"a":' * 400 + "1" + "}" * 400),
    "a type": _type,
}
_TYPED = (".json", ".jsonl")

SAME, NAMED, LINE = "same result", "named fault", "one line"
TRACEBACK, HANG, OTHER = "traceback", "hang", "another number"


def changes_of(kind: str) -> list[str]:
    """Return the changes that a kind of file can suffer."""
    name = kind.partition(",")[0]
    typed = name.endswith(_TYPED) or name == "lease"
    return [change for change in CHANGES if typed or change != "a type"]


class Truth:
    """A study, and what each of its runs ends in if nothing happens to it."""

    def __init__(self, folder: Path) -> None:
        self.study = make(folder / "results")
        whole = folder / "whole"
        shutil.copytree(self.study, whole)
        assert _said(["resume", str(whole), "hydra/launcher=inline"])[0] == 0
        self.whole = whole
        self.rows = _rows(whole)
        self.scores = _scores(whole)[0]
        self.evaluated = {
            path.name: _printed(_said(["evaluate", str(path), "--episodes", "2"])[1])
            for path in _runs(whole, "dqn", _DONE)
        }


def _rows(study: Path) -> dict[str, bytes]:
    """Return the rows of every run that counts as finished."""
    folders = study.glob("runs/*")
    return {f.name: (f / "metrics.jsonl").read_bytes() for f in folders if ledger.is_finished(f)}


def _scores(study: Path) -> tuple[dict[str, pd.DataFrame], str]:
    """Return what the analysis has of every scored run, and what it remarks."""
    data = load(str(study))
    frames = {}
    for run in data.scored.itertuples():
        rows = data.metrics[data.metrics.run_id == run.run_id]
        rows = rows.drop(columns=["run_id", *(c for c in rows if str(c).startswith("time/"))])
        rows = rows.dropna(axis="columns", how="all").reset_index(drop=True)
        frames[str(run.run_id)] = rows[sorted(rows)].assign(
            final=run.final, random=run.random, reference=run.reference, label=run.label
        )
    remarks = [*data.notes, *data.runs.excluded[data.runs.excluded != ""]]
    return frames, "\n".join(map(str, remarks))


def _said(words: list[str]) -> tuple[int, str, str]:
    """Run a command; return its code, and what it says on stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    return code, out.getvalue(), err.getvalue()


class Hang(BaseException):
    """A command takes too long; no handler of the code's own takes it."""


def _alarm(*_: object) -> None:
    raise Hang


class Trial:
    """One change of one file, and the outcome of every command over the damaged folder."""

    def __init__(self, truth: Truth, folder: Path, kind: str, change: str, seed: int) -> None:
        self.truth, self.kind, self.change, self.seed = truth, kind, change, seed
        self.study = folder / "s"
        shutil.copytree(truth.study, self.study)
        rng = np.random.default_rng(zlib.crc32(f"{kind} {change} {seed}".encode()))
        self.path = _pick(rng, [path for path in KINDS[kind](self.study) if path.exists()])
        self.before = _scores(self.study)[1]
        before = self.path.read_bytes()
        CHANGES[change](self.path, rng)
        self.idle = self.path.exists() and self.path.read_bytes() == before
        self.said: list[str] = []
        self.wrong = ""
        self.refused: list[str] = []  # commands that have said one line, and done nothing

    def remove(self) -> None:
        """Delete the damaged study, and what was merged from it."""
        shutil.rmtree(self.study.parent)

    def outcome(self) -> str:
        """Return what comes of it; ``wrong`` says more where that is bad."""
        signal.signal(signal.SIGALRM, _alarm)
        signal.alarm(_PATIENCE)
        try:
            self._status()
            self._analysis()
            self._evaluate()
            self._command("logs", str(self.study))
            self._merge()
            self._resume()
            self._command("prune", str(self.study), "--yes")
        except Hang:
            self.wrong = "".join(traceback.format_stack(limit=4))
            return HANG
        except _Other as other:
            self.wrong = str(other)
            return OTHER
        except (Exception, SystemExit):
            self.wrong = traceback.format_exc()
            return TRACEBACK
        finally:
            signal.alarm(0)
        if "resume" in self.refused:
            return LINE
        return NAMED if any([*self.said, *self.refused]) else SAME

    def _command(self, *words: str) -> tuple[int, str, str]:
        code, out, err = _said(list(words))
        if "Traceback" in out + err:
            raise RuntimeError(f"{words[0]} prints a traceback: {out}{err}")
        if code == 2:
            lines = [line for line in err.splitlines() if line.startswith("error: ")]
            if len(lines) != 1:
                raise RuntimeError(f"{words[0]} exits with code 2 and says {err!r}")
            self.refused.append(words[0])
        self.said += [line for line in err.splitlines() if not line.startswith("error: ")]
        return code, out, err

    def _status(self) -> None:
        _, out, _ = self._command("status", str(self.study))
        lines = out.splitlines()
        self.said += [line for line in lines if "resume computes the run again" in line]

    def _analysis(self) -> None:
        try:
            scores, remarks = _scores(self.study)
        except AnalysisError as error:
            if len(str(error).splitlines()) != 1:
                raise RuntimeError(f"the analysis says {error!r}") from None
            self.refused.append("load")
            return
        self._compare(scores)
        self.said += [line for line in remarks.splitlines() if line not in self.before]

    def _compare(self, scores: dict[str, pd.DataFrame]) -> None:
        for run, frame in scores.items():
            true = self.truth.scores.get(run)
            if true is None or not _equal(true, frame):
                raise _Other(f"the analysis has other numbers of {run}:\n{frame}\nnot\n{true}")

    def _evaluate(self) -> None:
        for run in self.truth.evaluated:
            folder = self.study / "runs" / run
            finished = "learning" not in run and (folder / "weights.pt").exists()
            if finished:
                code, out, _ = self._command("evaluate", str(folder), "--episodes", "2")
                if code == 0 and _printed(out) != self.truth.evaluated[run]:
                    raise _Other(f"evaluate says {out!r}, not {self.truth.evaluated[run]!r}")

    def _merge(self) -> None:
        target = self.study.with_name("target")
        shutil.copytree(self.truth.study, target)
        for run in list(target.glob("runs/*"))[::2]:
            shutil.rmtree(run)
        self._command("merge", str(target), str(self.study))
        self._check(target)

    def _resume(self) -> None:
        code, out, _ = self._command("resume", str(self.study), "hydra/launcher=inline")
        self._check(self.study)
        if code == 0:
            rows = _rows(self.study)
            if rows.keys() != self.truth.rows.keys():
                lost = self.truth.rows.keys() ^ rows.keys()
                raise _Other(f"resume is complete, and differs in {lost}: {out}")
            scores, remarks = _scores(self.study)
            self._compare(scores)
            if scores.keys() != self.truth.scores.keys():
                raise _Other(f"after resume the analysis lacks runs: {remarks}")
        elif code == 1:
            raise RuntimeError(f"resume cannot complete the study: {out}")

    def _check(self, study: Path) -> None:
        for run, rows in _rows(study).items():
            if rows != self.truth.rows.get(run):
                raise _Other(f"{run} of {study} counts as finished with other rows")


class _Other(Exception):
    """A number differs from the true one and nothing says so."""


def _equal(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    if list(one) != list(other) or len(one) != len(other):
        return False
    return all(
        list(one[name]) == list(other[name])
        if one[name].dtype.kind not in "fiu"
        else np.array_equal(one[name].astype(float), other[name].astype(float), equal_nan=True)
        for name in one
    )


def _printed(text: str) -> str:
    """Return what ``evaluate`` says of the scores, without where it keeps them."""
    return text.partition("\nkept as ")[0]
