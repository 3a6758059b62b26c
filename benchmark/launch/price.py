"""The price of a plan: from past runs in the results folder, else from short trials."""

import contextlib
import heapq
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from ..store import digests, identity, ledger, records, schema
from ..store.job import Job
from ..util.text import plural
from . import cost
from .cost import Cost

SEED_SHARE = 0.154  # cost of each further seed relative to the first: `make bench`, DQN CartPole
LAUNCH = 3.0  # seconds until the first job begins: imports, and the server that forks the jobs
_TRIALS = 8  # most trials per plan
_RUNS = 5  # newest past runs used per cell


@dataclass
class Price:
    """The cost of a plan's unfinished part.

    Attributes:
        jobs: number of jobs.
        cpu: CPU seconds of all jobs.
        wall: seconds with ``slots`` concurrent jobs.
        disk: bytes of the runs' folders.
        past: jobs priced from past runs.
        trials: jobs priced from a trial.
        guessed: jobs priced from the other jobs of the plan.
        slots: concurrent jobs.
    """

    jobs: int
    cpu: float
    wall: float
    disk: float
    past: int
    trials: int
    guessed: int
    slots: int

    def __str__(self) -> str:
        if not self.jobs:
            return "price: nothing is left to do"
        sources = (
            f"jobs: {self.past} from past runs, {self.trials} from trials of {cost.TRIAL:.0f} s"
        )
        sources += f", {self.guessed} from their neighbours" if self.guessed else ""
        return (
            f"price: {_clock(self.wall)} with {plural(self.slots, 'job')} at once, "
            f"{self.cpu / 3600:.2g} CPU hours, {self.disk / 1e6:.1f} MB ({sources})"
        )


def of(jobs: list[Job], results: Path, slots: int) -> Price:
    """Return the price of jobs.

    Args:
        jobs: what is to do.
        results: the folder of all studies, whose runs tell how fast this machine is.
        slots: jobs at once.
    """
    jobs = ledger.longest_first(jobs)
    past = _Past(results, {identity.slug(job.algo) for job in jobs})
    costs = {job.job_id: own for job in jobs if (own := past.cost(job)) is not None}
    from_past = len(costs)
    firsts: dict[tuple[str, str], Job] = {}  # the longest job of a pair stands for its variants
    for job in jobs:
        if job.job_id not in costs:
            firsts.setdefault((job.algo, job.env), job)
    trials: dict[tuple[str, str], Cost] = {}
    for pair, job in list(firsts.items())[:_TRIALS]:
        count = f"{len(trials) + 1} of {min(len(firsts), _TRIALS)}"
        print(
            f"measuring {count}: {job.variant['label']} on {job.env}", file=sys.stderr, flush=True
        )
        trials[pair] = cost.tried(job)
    for job in jobs:
        if job.job_id not in costs and (pair := (job.algo, job.env)) in trials:
            costs[job.job_id] = _for_seeds(trials[pair], len(firsts[pair].seeds), len(job.seeds))
    seconds = {j.job_id: costs[j.job_id].seconds(j.spec) for j in jobs if j.job_id in costs}
    rates = [seconds[job.job_id] / _work(job) for job in jobs if job.job_id in seconds]
    lengths = [seconds.get(job.job_id) or median(rates) * _work(job) for job in jobs]
    busy = [costs[j.job_id].busy if j.job_id in costs else float(j.spec.cores) for j in jobs]
    sizes = [costs[job.job_id].disk * len(job.seeds) for job in jobs if job.job_id in costs]
    priced = sum(len(job.seeds) for job in jobs if job.job_id in costs)
    runs = sum(len(job.seeds) for job in jobs)
    return Price(
        jobs=len(jobs),
        cpu=sum(length * share for length, share in zip(lengths, busy, strict=True)),
        wall=_schedule([(x, job.spec.cpus) for x, job in zip(lengths, jobs, strict=True)], slots),
        disk=sum(sizes) * runs / max(priced, 1),
        past=from_past,
        trials=len(costs) - from_past,
        guessed=len(jobs) - len(costs),
        slots=slots,
    )


def _for_seeds(of: Cost, seeds: int, wanted: int) -> Cost:
    """Return the cost of a job with another number of seeds than the one that was tried."""
    times = (1 + SEED_SHARE * (wanted - 1)) / (1 + SEED_SHARE * (seeds - 1))
    parts = {name: times * getattr(of, name) for name in ("start", "step", "evaluation", "final")}
    return replace(of, **parts)


def _cell(config: Mapping[str, Any], env: str) -> str:
    """Return a hash of all settings that affect speed: not the budget or evaluation interval."""
    episodes = [config["evaluation"][key] for key in ("episodes", "periodic_episodes")]
    return identity.digest([config["algo"], {**config["env"], "budget": 0}, env, episodes])


def _work(job: Job) -> float:
    """Return a job's steps in units of a single seed's; further seeds add ``SEED_SHARE`` each."""
    return float(job.spec.budget * (1 + SEED_SHARE * (len(job.seeds) - 1)))


def _schedule(jobs: Iterable[tuple[float, int]], slots: int) -> float:
    """Return the seconds until the last job ends; jobs start in order as slots become free.

    Args:
        jobs: seconds and cpus of each; one larger than all slots runs alone.
        slots: cpus available at once.
    """
    now, busy = LAUNCH, 0
    ends: list[tuple[float, int]] = []
    for seconds, cpus in jobs:
        while busy and busy + cpus > slots:
            now, freed = heapq.heappop(ends)
            busy -= freed
        heapq.heappush(ends, (now + seconds, cpus))
        busy += cpus
    return max((end for end, _ in ends), default=0.0)


class _Past:
    """What finished runs cost, by their cell and the seeds that trained with them.

    Args:
        results: the folder of all studies.
        algos: slugs of the algorithms to price; run folders are named after them.
    """

    def __init__(self, results: Path, algos: set[str]) -> None:
        self._costs: dict[str, dict[int, list[Cost]]] = defaultdict(lambda: defaultdict(list))
        self._jobs: set[str] = set()
        folders = [f for algo in algos for f in results.glob(f"*/runs/{algo}-*")]
        for folder in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                self._read(folder)  # ignore broken folders, maybe of another study

    def _read(self, folder: Path) -> None:
        record = records.read_passing(folder / "run.json")
        if record is None or "pack" not in record or record["job_id"] in self._jobs:
            return
        status = records.read_status(folder)
        if status is None or status["state"] != schema.FINISHED:
            return
        if digests.fault(folder, status, deep=False):
            return
        cell, k = _cell(record["config"], record["env"]), len(record["pack"]["seeds"])
        if len(self._costs[cell][k]) < _RUNS and (fit := cost.fitted(folder)) is not None:
            self._costs[cell][k].append(fit)
        self._jobs.add(record["job_id"])  # its other runs trained together and cost the same

    def cost(self, job: Job) -> Cost | None:
        """Return the cost from past jobs of the same cell, None if there are none that fit.

        Interpolates between seed counts but does not extrapolate: a trial is more accurate.
        """
        costs = self._costs.get(_cell(job.spec.record, job.env), {})
        k, counts = len(job.seeds), sorted(costs)
        if k in costs:
            return _mean(costs[k])
        below, above = [n for n in counts if n < k], [n for n in counts if n > k]
        if not (below and above):
            return None
        low, high = below[-1], above[0]
        share = (k - low) / (high - low)
        ends = _mean(costs[low]), _mean(costs[high])
        return Cost(
            *((1 - share) * a + share * b for a, b in zip(*map(_values, ends), strict=True))
        )


def _values(of: Cost) -> tuple[float, ...]:
    return tuple(vars(of).values())


def _mean(costs: list[Cost]) -> Cost:
    return Cost(*(fmean(column) for column in zip(*map(_values, costs), strict=True)))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
