"""The only training loop of the repository: act -> step -> observe -> update.

A job's K seeds train together. Whatever depends on time (checkpoints, the heartbeat) does not
affect the computation, so a resumed run ends bit-identical to an uninterrupted one.
"""

import ctypes
import errno
import gc
import traceback
from collections.abc import Callable

import numpy as np
import torch

from prism.algos.core.agent import HasArrays, HasRemarks, Step

from ..envs import facts
from ..envs.table import vector_env
from ..store import checkpoint, ledger, schema
from ..store.job import Job
from ..util.signals import Stopped, stop_asked
from . import saving, watchdog
from .build import build_agent
from .evaluate import EvaluationResult, Evaluator
from .recorder import Columns, Meter, Recorder

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")  # torch's words


def run_job(job: Job) -> None:
    """Train a job's seeds to the end of their budget, from its checkpoint if it has one.

    A seed that fails does not stop the others. SIGINT and SIGTERM save a checkpoint and stop the
    job. Each run's outcome is written to its ``status.json``.
    """
    torch.set_num_threads(job.spec.threads)
    keep_freed_memory()
    training: Training | None = None
    with stop_asked() as stopped:
        try:
            training = Training(job)
            training.run(stopped)
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            if training:
                training.recorder.end(schema.FAILED, reason, traceback.format_exc(), failure(error))
            ledger.end(job, schema.FAILED, reason, traceback.format_exc(), failure(error), 1)
        finally:
            if training:
                training.close()


def failure(error: BaseException) -> str:
    """Return the failure class of an exception."""
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


_NONE = -1


class Training:
    """The state of a job in training."""

    def __init__(self, job: Job) -> None:
        spec = self.spec = job.spec
        self.job, self.budget = job, spec.budget
        self.device = torch.device(spec.device)
        self._to_device = _transfer(self.device)
        self.agent = build_agent(spec, job.seeds, self.device)
        self.lanes, reset = spec.algo.lanes, spec.algo.reset
        self.env = vector_env(spec.env, job.seeds, self.lanes, gamma=spec.gamma, reset=reset)
        self.evaluators = {
            prefix: Evaluator(spec, len(job.seeds), episodes, self.device)
            for prefix, episodes in (
                ("eval", spec.evaluation.periodic_episodes),
                ("final", spec.evaluation.episodes),
            )
        }
        self.meter, self.step = Meter(), 0
        self._owed = _NONE  # the step before the tick whose row is not written yet
        self.saver = saving.Saver(job)
        saved = self.saver.load()
        if saved is not None:
            self._load(saved)
        spent = (saved["wall"], saved["cpu"]) if saved is not None else (0.0, 0.0)
        self.recorder = Recorder(job, self.step if saved is not None else None, spent)
        self._report_failed()

    def run(self, stopped: Callable[[], bool]) -> None:
        """Train until the budget is spent, every seed has failed, or ``stopped()`` is true."""
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
        policy = self.agent.state()["policy"]
        for k in self.recorder.live:
            self.recorder.save_weights(k, policy)
        if self.spec.tracking.video:
            self.recorder.save_videos()
        if isinstance(self.agent, HasArrays):
            self.recorder.save_arrays(self.agent.arrays())
        remarks = self.agent.remarks() if isinstance(self.agent, HasRemarks) else ()
        self.recorder.end(schema.FINISHED, remarks=remarks)
        self.saver.remove()

    def _train(self) -> None:
        advance = self._interact if self.agent.interacts else self._consume
        self.obs = self._to_device(self.env.begin())
        if self._owed != _NONE:
            self._record(self._owed)
        next_row = self._after(self.step)
        while self.step < self.budget and self.recorder.live:
            self._tick()
            before = self.step
            advance()
            if self.step >= next_row:
                self._record(before)
                next_row = self._after(self.step)

    def _tick(self) -> None:
        """Report progress to the watchdog; raise Stopped after a stop request."""
        watchdog.tick()
        if self._stopped():
            raise Stopped

    def _evaluating(self) -> None:
        """Tick during an evaluation, and renew the heartbeat, as no rows are written."""
        self._tick()
        self.recorder.renew(self.step)

    def _interact(self) -> None:
        """Advance one tick: every lane of every seed takes one step."""
        action, memo = self.agent.act(self.obs)
        result = self.env.step(action.cpu().numpy())
        next_obs, reward, terminated, truncated, valid = map(self._to_device, result)
        self.agent.observe(
            Step(self.obs, next_obs, action, reward, terminated, truncated, valid, memo)
        )
        metrics = self.agent.update()
        if metrics:
            self.meter.add(metrics)
        if self.env.failed:
            self._report_failed()
        begun = self.env.begin()
        self.obs = next_obs if begun is result.next_obs else self._to_device(begun)
        self.step += self.lanes

    def _consume(self) -> None:
        """Advance an agent that does not interact; each update returns the steps it consumed."""
        metrics = self.agent.update()
        assert metrics is not None, "an agent that does not interact learns at every call"
        self.step += int(metrics.pop("consumed").max())
        self.meter.add(metrics)

    def _after(self, step: int) -> int:
        """Return the first step after ``step`` at which a row is due."""
        cadences = [every for every in (self.spec.row_every, self.spec.evaluate_every) if every > 0]
        due: int = min(every * (step // every + 1) for every in cadences)
        return min(self.budget, due)

    def _crossed(self, every: int, before: int) -> bool:
        """Return whether a multiple of ``every`` lies in (before, step] or the budget is spent."""
        if self.step >= self.budget:
            return True
        return every > 0 and self.step // every > before // every

    def _record(self, before: int) -> None:
        """Write the due row, with an evaluation if one is due; then checkpoint if that is due.

        A stop request may interrupt the evaluation. The row is then still owed and is written after
        a resume; the evaluation does not affect the training state.
        """
        self._owed = before
        due = {
            "eval": self.spec.evaluate_every > 0 and self._crossed(self.spec.evaluate_every, before)
        }
        due["final"] = self.step >= self.budget
        results = {p: self.evaluators[p](self.agent, self._evaluating) for p in due if due[p]}
        columns: Columns = {}
        if self._crossed(self.spec.row_every, before):
            columns |= self._training_columns()
        for prefix, result in results.items():
            columns |= self._evaluation_columns(prefix, result)
        self.recorder.write(self.step, columns)
        if due["eval"] and self.spec.tracking.artifacts:
            returns, policy = results["eval"].returns.mean(1), self.agent.state()["policy"]
            self.recorder.save_best(returns, policy)
        self._owed = _NONE
        if self.step < self.budget and self.saver.is_due(self.agent.state):
            self._save()

    def _training_columns(self) -> Columns:
        columns, k = self.meter.drain(), len(self.job.seeds)
        for name, values in columns.items():
            if values.shape != (k,):
                shape = list(values.shape)
                raise ValueError(f"update() returns {name} of shape {shape}, not [K] = [{k}]")
            for seed in np.flatnonzero(np.isinf(values)):
                self.env.fail(int(seed), f"diverged: {name} is not finite at step {self.step}")
        self._report_failed()
        if not self.agent.interacts:  # it lives elsewhere, and its metrics say how
            return columns
        episodes = self.env.drain()
        nothing = (np.nan, np.nan)
        means = [np.mean(done, axis=0)[:2] if done else nothing for done in episodes]
        columns[schema.TRAIN_RETURN], columns[schema.TRAIN_LENGTH] = np.array(means).T
        columns[schema.TRAIN_EPISODES] = np.array([float(len(done)) for done in episodes])
        return columns | self._facts("train", facts.means(episodes, len(self.spec.env.record)))

    def _evaluation_columns(self, prefix: str, result: EvaluationResult) -> Columns:
        for k, reason in self.evaluators[prefix].failed.items():
            self.env.fail(k, f"evaluation: {reason}")
        self._report_failed()
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
        return columns

    def _facts(self, prefix: str, means: np.ndarray) -> Columns:
        return {
            f"{prefix}/{name}": x for name, x in zip(self.spec.env.record, means.T, strict=True)
        }

    def _report_failed(self) -> None:
        for k, reason in self.env.failed.items():
            broken = "diverged: " in reason or "not finite" in reason
            self.recorder.fail(k, reason, schema.NAN if broken else schema.EXCEPTION)

    def _save(self) -> None:
        wall, cpu = self.recorder.spent()
        state = {
            "agent": self.agent.state(),
            "env": self.env.state(),
            "meter": self.meter.state(),
            "step": self.step,
            "owed": self._owed,
            "wall": wall,
            "cpu": cpu,
        }
        self.saver.save(state)

    def _load(self, state: checkpoint.State) -> None:
        """Continue from a saved state."""
        self.agent.load(state["agent"])
        self.env.load(state["env"])
        self.meter.load(state["meter"], self.device)
        self.step, self._owed = state["step"], state["owed"]

    def close(self) -> None:
        """Close every environment."""
        self.env.close()
        for evaluator in self.evaluators.values():
            evaluator.close()
