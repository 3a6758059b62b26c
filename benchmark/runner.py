"""The training loop, the only one of the repository: act -> step -> observe -> update.

A job's K seeds go through it together. What depends on time (checkpoints, the heartbeat) never
changes what is computed, so an interrupted run ends bit-identical to an uninterrupted one.
"""

import ctypes
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

import benchmark.schema as schema
from algos.core.agent import Step
from benchmark import checkpoint, store
from benchmark.agents import agent_class
from benchmark.envs.config import from_dict
from benchmark.envs.make import make_spec
from benchmark.envs.vector import SeedVecEnv
from benchmark.evaluate import Evaluator
from benchmark.job import Job
from benchmark.recorder import Columns, Meter, Recorder

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_SAVE_SHARE = 0.02  # of the run's time that checkpoints may take


def run_job(job: Job) -> dict[str, str]:
    """Train a job's seeds to the end of their budget, from its checkpoint if it has one.

    A seed that fails ends alone. SIGINT or SIGTERM checkpoints and stops.

    Returns:
        run_id -> state.
    """
    torch.set_num_threads(job.config["threads"])
    keep_freed_memory()
    with _stop_signals() as stopped:
        training = Training(job)
        try:
            training.run(stopped)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            training.recorder.end(schema.FAILED, reason, traceback.format_exc())
        finally:
            training.close()
    return training.recorder.states()


def keep_freed_memory() -> None:
    """Let glibc keep what is freed: returning it costs a page fault per 4 kB of every update."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            mallopt(parameter, 1 << 30)


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGINT or SIGTERM came; a second one kills."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Training:
    """The state of a job in training."""

    def __init__(self, job: Job) -> None:
        config = job.config
        self.job = job
        self.budget: int = config["budget"]
        self.device = torch.device(config["device"])
        cls = agent_class(config["algo"]["agent"])
        algo = cls.Config(**config["algo"])
        env, evaluation = from_dict(config["env"]), config["evaluation"]
        gamma, lanes = config["algo"].get("gamma", 1.0), config["algo"].get("lanes", 1)
        self.agent = cls(algo, make_spec(env, self.budget), job.seeds, self.device)
        self.interacts, self.lanes = cls.interacts, lanes
        self.env = SeedVecEnv(env, job.seeds, lanes, gamma=gamma, reset=config["algo"]["reset"])
        self.evaluators = {
            prefix: Evaluator(env, len(job.seeds), n, evaluation["seed"], gamma, self.device)
            for prefix, n in (
                ("eval", evaluation["periodic_episodes"]),
                ("final", evaluation["episodes"]),
            )
        }
        every = evaluation["every"]
        self.eval_every: int = max(1, self.budget // 20) if every is None else every
        self.log_every: int = config["log_every"] or max(1, self.budget // 200)
        self.meter, self.step = Meter(), 0
        self.folder = store.job_dir(job)
        self._last_save, self._save_cost = time.monotonic(), 0.0
        saved = self._load()
        self.recorder = Recorder(
            job, self.step if saved else None, (saved["wall"], saved["cpu"]) if saved else (0, 0)
        )
        self._report_failed()

    def run(self, stopped: Callable[[], bool]) -> None:
        """Train until the budget is spent, every seed has failed, or somebody asks to stop."""
        advance = self._interact if self.interacts else self._consume
        self.obs = self._to_device(self.env.begin())
        self._next_row = self._after(self.step)
        while self.step < self.budget and self.recorder.live:
            if stopped():
                self._save()
                self.recorder.end(schema.INTERRUPTED, "asked to stop")
                return
            before = self.step
            advance()
            if self.step >= self._next_row:
                self._record(before)
                self._next_row = self._after(self.step)
        policy = self.agent.state()["policy"]
        for k in self.recorder.live:
            self.recorder.save_weights(k, policy)
        self.recorder.end(schema.FINISHED)
        shutil.rmtree(self.folder / "checkpoint", ignore_errors=True)

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
        """Advance an agent that does not interact: its updates say what they consumed."""
        metrics = self.agent.update()
        assert metrics is not None, "an agent that does not interact learns at every call"
        self.step += int(metrics.pop("consumed").max())
        self.meter.add(metrics)

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

    def _after(self, step: int) -> int:
        """Return the step behind ``step`` at which the next row is due."""
        cadences = [every for every in (self.log_every, self.eval_every) if every > 0]
        due: int = min(every * (step // every + 1) for every in cadences)
        return min(self.budget, due)

    def _crossed(self, every: int, before: int) -> bool:
        """Whether a multiple of ``every`` lies in (before, step], or the budget is spent."""
        if self.step >= self.budget:
            return True
        return every > 0 and self.step // every > before // every

    def _record(self, before: int) -> None:
        """Write the row that is due, evaluate if that is due, and save now and then."""
        columns: Columns = {}
        if self._crossed(self.log_every, before):
            columns |= self._training_columns()
        if self.eval_every and self._crossed(self.eval_every, before):
            columns |= self._evaluate("eval")
        if self.step >= self.budget:
            columns |= self._evaluate("final")
        self.recorder.write(self.step, columns)
        if self.step < self.budget and self._save_is_due():
            self._save()

    def _training_columns(self) -> Columns:
        columns = self.meter.drain()
        for name, values in columns.items():
            for k in np.flatnonzero(~np.isfinite(values)):
                self.env.fail(int(k), f"diverged: {name} is {values[k]} at step {self.step}")
        self._report_failed()
        episodes = self.env.drain()
        nothing = (np.nan, np.nan)
        means = [np.mean(done, axis=0) if done else nothing for done in episodes]
        columns[schema.TRAIN_RETURN], columns[schema.TRAIN_LENGTH] = np.array(means).T
        columns[schema.TRAIN_EPISODES] = np.array([float(len(done)) for done in episodes])
        return columns

    def _evaluate(self, prefix: str) -> Columns:
        evaluator = self.evaluators[prefix]
        result = evaluator(self.agent)
        for k, reason in evaluator.failed.items():
            self.env.fail(k, f"evaluation: {reason}")
        self._report_failed()
        columns = {
            f"{prefix}/return": result.returns.mean(1),
            f"{prefix}/length": result.lengths.mean(1),
        }
        if prefix == "eval":
            columns |= {
                "value/predicted": result.predicted,
                "value/realised": result.realised,
                "value/bias": result.predicted - result.realised,
            }
        return columns

    def _report_failed(self) -> None:
        for k, reason in self.env.failed.items():
            self.recorder.fail(k, reason)

    def _save_is_due(self) -> bool:
        interval = self.job.config["checkpoint_every"]
        wait = max(interval, self._save_cost / _SAVE_SHARE)
        return bool(interval > 0 and time.monotonic() - self._last_save > wait)

    def _save(self) -> None:
        began = time.monotonic()
        wall, cpu = self.recorder.spent()
        state = {
            "agent": self.agent.state(),
            "env": self.env.state(),
            "meter": self.meter.state(),
            "step": self.step,
            "wall": wall,
            "cpu": cpu,
            "code": store.code_hash(),
        }
        checkpoint.save(self.folder / "checkpoint" / "state.pt", state)
        self._last_save = time.monotonic()
        self._save_cost = self._last_save - began

    def _load(self) -> checkpoint.State | None:
        """Continue from the job's checkpoint; one that other code made is not used."""
        path = self.folder / "checkpoint" / "state.pt"
        state = checkpoint.load(path) if path.exists() else None
        if state is None or state["code"] != store.code_hash():
            return None
        self.agent.load(state["agent"])
        self.env.load(state["env"])
        self.meter.load(state["meter"], self.device)
        self.step = state["step"]
        return state

    def close(self) -> None:
        """Close every environment."""
        self.env.close()
        for evaluator in self.evaluators.values():
            evaluator.close()
