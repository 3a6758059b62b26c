"""The only training loop of the repository: act -> step -> observe -> update.

A job's K seeds train together. Each counts the steps of its own live lanes, and has its rows,
evaluations and end by this count, as if it were alone. Whatever depends on time (checkpoints, the
heartbeat) does not affect the computation, so a resumed run ends bit-identical to an uninterrupted
one.
"""

import ctypes
import errno
import gc
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from prism.algos.core.agent import HasArrays, HasRemarks, Step

from ..envs import facts
from ..envs.reproducible import irreproducible
from ..envs.table import vector_env
from ..store import checkpoint, leases, ledger, schema
from ..store.job import Job
from ..store.rows import Changed
from ..util.signals import Stopped, stop_asked
from . import protocol, saving, watchdog
from .build import build_agent
from .evaluate import EvaluationResult
from .evaluations import Evaluations
from .recorder import Columns, Meter, Recorder

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")  # torch's words


def run_job(job: Job) -> None:
    """Train a job's seeds to the end of their budget, from its checkpoint if it has one.

    A seed that fails does not stop the others. SIGINT and SIGTERM save a checkpoint and stop the
    job. Each run's outcome is written to its ``status.json``. A job whose runs another process has
    taken over ends at once and writes nothing more.
    """
    torch.set_num_threads(job.spec.threads)
    keep_freed_memory()
    training: Training | None = None
    with stop_asked() as stopped, _while_ours():
        try:
            training = Training(job)
            training.run(stopped)
        except leases.Lost:
            raise
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            if training:
                training.recorder.end(schema.FAILED, reason, traceback.format_exc(), failure(error))
            ledger.end(job, schema.FAILED, reason, traceback.format_exc(), failure(error), 1)
        finally:
            if training:
                training.close()


@contextmanager
def _while_ours() -> Iterator[None]:
    try:
        yield
    except leases.Lost:
        print("another process has taken over the runs of this job, which ends", file=sys.stderr)


def failure(error: BaseException) -> str:
    """Return the failure class of an exception."""
    if isinstance(error, Changed):
        return schema.LOST
    if isinstance(error, SystemExit):
        return schema.EXIT
    if isinstance(error, OSError) and error.errno in _FULL:
        return schema.DISK
    memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if memory or (isinstance(error, RuntimeError) and any(w in str(error) for w in _NO_MEMORY)):
        return schema.OOM
    return schema.EXCEPTION


def keep_freed_memory() -> None:
    """Keep freed memory in glibc: returning it costs each update a page fault per 4 kB."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            mallopt(parameter, 1 << 30)


def _transfer(device: torch.device) -> Callable[[np.ndarray], torch.Tensor]:
    """Return a function that moves an array to the device; without a copy on the CPU."""
    if device.type == "cpu":
        return torch.from_numpy
    return lambda array: torch.from_numpy(array).to(device)


_ANEW = "resumed with a new episode, because the environment does not repeat"
_NONE = -1  # in a saved state: no row is owed


class Training:
    """The state of a job in training.

    Attributes:
        steps: environment steps that the live lanes of each seed have taken, ``[K]``.
    """

    def __init__(self, job: Job) -> None:
        spec = self.spec = job.spec
        self.job, self.budget = job, spec.budget
        self.device = torch.device(spec.device)
        self._to_device = _transfer(self.device)
        self.agent = build_agent(spec, job.seeds, self.device)
        self._act = self._first_act
        self.lanes, reset = spec.algo.lanes, spec.algo.reset
        self._lanes_wait = reset != "each"
        self.env = vector_env(spec.env, job.seeds, self.lanes, gamma=spec.gamma, reset=reset)
        self.evaluations = Evaluations(spec, job.seeds, self.device)
        self.meter, self.steps = Meter(), np.zeros(len(job.seeds), np.int64)
        self._owed: np.ndarray | None = None  # steps before the tick whose rows are not written yet
        self.saver = saving.Saver(job)
        saved = self.saver.load()
        if saved is not None:
            self._load(saved)
        elif protocol.is_outside(spec):
            protocol.check(spec, protocol.wrong_round_trip(self.agent, len(job.seeds)))
        spent = (saved["wall"], saved["cpu"]) if saved is not None else (0.0, 0.0)
        self.recorder = Recorder(job, self.steps if saved is not None else None, spent)
        self._report_failed()

    def run(self, stopped: Callable[[], bool]) -> None:
        """Train until every seed has spent its budget or failed, or ``stopped()`` is true."""
        self._stopped = stopped
        gc.freeze()  # spare the collector the long-lived objects
        try:
            self._train()
        except Stopped:
            self._save()
            self.recorder.end(schema.INTERRUPTED, "asked to stop")
            return
        finally:
            gc.unfreeze()
        self.recorder.end(schema.FINISHED)
        self.saver.remove()

    def _train(self) -> None:
        advance = self._interact if self.agent.interacts else self._consume
        self.obs = self._to_device(self.env.begin())
        if self._owed is not None:
            self._record(self._owed)
        quiet = self._quiet()
        while self.recorder.live:
            self._tick()
            if quiet:
                quiet -= 1
                advance()
                continue
            before = self.steps.copy()
            advance()
            self._record(before)
            quiet = self._quiet()

    def _tick(self) -> None:
        """Report progress to the watchdog; raise Stopped after a stop request."""
        watchdog.tick()
        if self._stopped():
            raise Stopped

    def _evaluating(self) -> None:
        """Tick during an evaluation, and renew the heartbeat, as no rows are written."""
        self._tick()
        self.recorder.renew(self.steps)

    def _interact(self) -> None:
        """Advance one tick: every live lane of every seed takes one step."""
        action, memo = self._act(self.obs)
        result = self.env.step(action.cpu().numpy())
        next_obs, reward, terminated, truncated, valid = map(self._to_device, result)
        self.agent.observe(
            Step(self.obs, next_obs, action, reward, terminated, truncated, valid, memo)
        )
        metrics = self.agent.update()
        if metrics is not None:
            self.meter.add(metrics)
        if self.env.failed:
            self._report_failed()
        begun = self.env.begin()
        self.obs = next_obs if begun is result.next_obs else self._to_device(begun)
        self.steps += result.valid.sum(1) if self._lanes_wait else self.lanes

    def _first_act(self, obs: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Act for the first time, and check what is not checked at every tick.

        Raises:
            ConfigError: the actions are not those of the protocol.
        """
        self._act = self.agent.act
        action, memo = self._act(obs)
        space = self.env.action_space
        protocol.check(self.spec, protocol.wrong_action(action, obs.shape[:2], space, self.device))
        return action, memo

    def _consume(self) -> None:
        """Advance an agent that does not interact; each update returns the steps it consumed."""
        metrics = self.agent.update()
        assert metrics is not None, "an agent that does not interact learns at every call"
        self.steps += metrics.pop("consumed").long().cpu().numpy()
        self.meter.add(metrics)

    def _quiet(self) -> int:
        """Return for how many ticks no row can be due: in one, a lane takes a step at most."""
        live = self.recorder.live
        if not live or not self.agent.interacts:
            return 0
        cadences = [every for every in (self.spec.row_every, self.spec.evaluate_every) if every > 0]
        steps = self.steps[live]
        due = min(int((every - steps % every).min()) for every in cadences)
        return -(-min(due, self.budget - int(steps.max())) // self.lanes) - 1

    def _crossed(self, every: int, before: np.ndarray) -> np.ndarray:
        """Return which live seeds have a multiple of ``every`` in (before, steps] or are spent."""
        crossed: np.ndarray = self.steps >= self.budget
        if every > 0:
            crossed = crossed | (self.steps // every > before // every)
        crossed &= self._live()
        return crossed

    def _live(self) -> np.ndarray:
        live = np.zeros(len(self.job.seeds), bool)
        live[self.recorder.live] = True
        return live

    def _record(self, before: np.ndarray) -> None:
        """Write the rows that are due, evaluate for them, end seeds; checkpoint if that is due.

        A stop request may interrupt an evaluation. The rows are then still owed and are written
        after a resume; evaluations do not affect the training state.

        Args:
            before: ``[K]``, the steps before the last tick.
        """
        trained = self._crossed(self.spec.row_every, before)
        due = {"final": trained & (self.steps >= self.budget)}
        if self.spec.evaluate_every > 0:
            due["eval"] = self._crossed(self.spec.evaluate_every, before)
        rows = np.any([trained, *due.values()], 0)
        if not rows.any():
            return
        self._owed = before
        columns: Columns = {}
        results = {p: self._evaluate(p, due[p]) for p in sorted(due) if due[p].any()}
        if trained.any():
            columns |= self._training_columns(trained)
        for prefix, (result, failed) in results.items():
            columns |= self._evaluation_columns(prefix, due[prefix], result, failed)
        if "final" in results and (form := self.spec.evaluation.also):
            again = self._evaluate("final", due["final"], form)
            columns |= self._evaluation_columns("final", due["final"], *again, form)
        self.recorder.write(self.steps, columns, rows)
        if "eval" in results and self.spec.tracking.artifacts:
            returns = columns[schema.EVAL_RETURN]
            self.recorder.save_best(returns, self.agent.state()["policy"])
        self._owed = None
        self._finish([k for k in self.recorder.live if due["final"][k]])
        if self.recorder.live and self.saver.is_due(self.agent.state):
            self._save()

    def _finish(self, seeds: list[int]) -> None:
        """End the runs of seeds whose budget is spent; their lanes are not stepped again."""
        if not seeds:
            return
        policy = self.agent.state()["policy"]
        arrays = self.agent.arrays() if isinstance(self.agent, HasArrays) else {}
        for k in seeds:
            self.recorder.save_weights(k, policy)
            if self.spec.tracking.video:
                self.recorder.save_video(k)
            if arrays:
                self.recorder.save_arrays(k, arrays)
            self.env.stop(k)
        own = self.agent.remarks() if isinstance(self.agent, HasRemarks) else None
        unsure = irreproducible(self.spec.record["env"])
        remarks = [
            (unsure, _ANEW if k in self.env.anew else None, own[k] if own else None) for k in seeds
        ]
        self.recorder.finish(seeds, ["; ".join(filter(None, each)) or None for each in remarks])

    def _evaluate(
        self, prefix: str, due: np.ndarray, form: str | None = None
    ) -> tuple[EvaluationResult, dict[int, str]]:
        """Evaluate the seeds that are ``due [K]``; returns also which failed, and why."""
        result = self.evaluations(prefix, self.agent, due, self._evaluating, form)
        return result, self.evaluations.failed

    def _training_columns(self, due: np.ndarray) -> Columns:
        """Return what the seeds that are ``due [K]`` did since their last row; NaN for others."""
        gone = ~self._live()
        columns, k = self.meter.drain(due | gone), len(due)
        for name, values in columns.items():
            if values.shape != (k,):
                shape = list(values.shape)
                raise ValueError(f"update() returns {name} of shape {shape}, not [K] = [{k}]")
            for seed in np.flatnonzero(np.isinf(values) & due):
                reason = f"diverged: {name} is not finite at step {self.steps[seed]}"
                self.env.fail(int(seed), reason)
        self._report_failed()
        updates = self.meter.updates(k)
        gradients = updates * getattr(self.spec.algo, "gradient_steps", 1)
        columns |= {schema.UPDATES: updates, schema.REPLAY_RATIO: gradients / self.steps.clip(1)}
        if self.agent.interacts:  # one that does not lives elsewhere, and its metrics say how
            episodes = self.env.drain(due)
            nothing = (np.nan, np.nan)
            means = [np.mean(done, axis=0)[:2] if done else nothing for done in episodes]
            columns[schema.TRAIN_RETURN], columns[schema.TRAIN_LENGTH] = np.array(means).T
            columns[schema.TRAIN_EPISODES] = np.array([float(len(done)) for done in episodes])
            columns |= self._facts("train", facts.means(episodes, len(self.spec.env.record)))
        return _only(columns, due)

    def _evaluation_columns(
        self,
        prefix: str,
        due: np.ndarray,
        result: EvaluationResult,
        failed: dict[int, str],
        form: str | None = None,
    ) -> Columns:
        """Return what an evaluation tells; of a second ``form`` of the policy, its returns."""
        for k, reason in failed.items():
            self.env.fail(k, f"evaluation: {reason}")
        self._report_failed()
        if form is not None:
            return _only({f"{prefix}/return_{form}": result.returns.mean(1)}, due)
        columns = {
            f"{prefix}/return": result.returns.mean(1),
            f"{prefix}/length": result.lengths.mean(1),
        }
        columns |= self._facts(prefix, result.facts)
        if prefix == "eval":
            columns |= {
                "value/predicted": result.predicted,
                "value/realised": result.realised,
                "value/bias": result.predicted - result.realised,
            }
        return _only(columns, due)

    def _facts(self, prefix: str, means: np.ndarray) -> Columns:
        return {
            f"{prefix}/{name}": x for name, x in zip(self.spec.env.record, means.T, strict=True)
        }

    def _report_failed(self) -> None:
        for k, reason in self.env.failed.items():
            broken = "diverged: " in reason or "not finite" in reason
            self.recorder.fail(k, reason, schema.NAN if broken else schema.EXCEPTION)

    def _save(self) -> None:
        (wall, cpu), owed = self.recorder.spent(), self._owed
        state = {
            "agent": self.agent.state(),
            "env": self.env.state(),
            "meter": self.meter.state(),
            "steps": torch.from_numpy(self.steps.copy()),
            "owed": torch.from_numpy(np.full_like(self.steps, _NONE) if owed is None else owed),
            "ended": torch.tensor([run.state == schema.FINISHED for run in self.recorder.runs]),
            "wall": wall,
            "cpu": cpu,
        }
        self.saver.save(state, [run.written for run in self.recorder.runs])

    def _load(self, state: checkpoint.State) -> None:
        """Continue from a saved state."""
        self.agent.load(state["agent"])
        self.env.load(state["env"])
        self.meter.load(state["meter"], self.device)
        self.steps, owed = state["steps"].numpy().copy(), state["owed"].numpy().copy()
        self._owed = None if (owed == _NONE).all() else owed

    def close(self) -> None:
        """Close every environment."""
        self.env.close()
        self.evaluations.close()


def _only(columns: Columns, due: np.ndarray) -> Columns:
    """Return columns ``[K]`` with NaN for the seeds that are not ``due [K]``."""
    return {name: np.where(due, x, np.nan) for name, x in columns.items()}
