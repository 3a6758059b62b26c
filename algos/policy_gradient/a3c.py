"""Asynchronous advantage actor-critic (Mnih et al. 2016): workers that share parameters, no locks.

Every worker is a process with an environment of its own. It copies the shared parameters, lives
through a short rollout, and adds its step to the shared parameters and the shared RMSprop memory
while the others do the same. **The result is not reproducible**: it depends on which worker is
faster. An agent is therefore one seed (``max_seeds`` is 1), and nothing about it is bit-equal.

Deviations from the paper:
- Processes instead of threads; Python's threads would wait for each other.
- A rollout has ``rollout`` steps even where an episode ends inside it; sums stop there.
- Workers pause between two calls of ``update``, so evaluation and checkpoints see one set of
  parameters. Within a call, ``report_every`` steps long, nothing waits.
- An episode that a checkpoint interrupts is not resumed: its worker starts a new one.
- A worker's returns are of the rewards it learns from, with the training wrappers.
"""

import multiprocessing
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core.agent import ENVIRONMENT, Component, Family, Preset, Spec, State, Step
from ..core.optim import uncentred_rmsprop
from ..core.parts import HasParts
from ..core.rng import Draws, generator
from ..core.settings import setting
from .a2c import A2C, A2CConfig

_WAIT = 1.0  # seconds between two looks at whether every worker lives


@dataclass
class A3CConfig(A2CConfig):
    """A2C's settings, one environment a worker, the paper's entropy, half the value's weight."""

    agent: str = "a3c"
    name: str = "a3c"
    label: str = "A3C"
    lanes: int = setting(
        1, "parallel environments per seed (`num_envs` elsewhere): 1, each worker has its own", ge=1
    )
    entropy: float = 0.01
    value_coef: float = 0.5

    workers: int = setting(2, "processes, each with an environment of its own", ge=1)
    cpus: int = setting(2, "cores that a job takes; as many as there are workers", ge=1)
    report_every: int = setting(2_000, "environment steps of all workers between two pauses", ge=1)

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        if self.lanes != 1:
            raise ValueError(f"lanes must be 1, each worker has one environment; got {self.lanes}")
        if self.optimizer != "rmsprop_uncentred":
            raise ValueError("optimizer must be rmsprop_uncentred: its memory is what is shared")
        if self.normalize_obs or self.normalize_reward:
            raise ValueError("normalize_obs and normalize_reward need statistics of one process")


class A3C(HasParts):
    """The agent; see ``A3CConfig`` for its parts."""

    Config: ClassVar[type] = A3CConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = tuple(
        c for c in A2C.COMPONENTS if "normalisation" not in c.name
    )
    FAMILY: ClassVar[Family] = Family(full="a3c", parts=("multi-step", "entropy bonus"))
    PRESETS: ClassVar[Mapping[str, Preset]] = {
        "a3c": Preset(
            "asynchronous workers without locks; not reproducible, one seed a job",
            "Mnih et al. 2016",
        ),
    }
    max_seeds: ClassVar[int | None] = 1
    interacts: ClassVar[bool] = False

    POLICY = ("weights",)
    PARTS = ("memory", "steps", "started")

    def __init__(
        self, config: A3CConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        assert len(seeds) == 1, "an asynchronous agent does not batch"
        self.config, self.spec, self.seed = config, spec, seeds[0]
        self.a2c = A2C(config, spec, seeds, device)  # acts, and holds the shape of it all
        self.weights = self.a2c.learner.weights
        self.memory = _shared(torch.zeros_like(self.weights.params))  # RMSprop's
        self.shared = (_shared(self.a2c.learner.params.clone()), self.memory.flatten(0, 1))
        self.steps = 0
        self.started = 0  # how often workers were started; a resumed run draws anew
        self._crew: _Crew | None = None

    @classmethod
    def unsupported(cls, config: A3CConfig, spec: Spec) -> str | None:
        """Say why the task is impossible."""
        return A2C.unsupported(config, spec)

    @classmethod
    def policies(cls, config: A3CConfig) -> tuple[str, ...]:
        """As A2C."""
        return A2C.policies(config)

    @classmethod
    def valued(cls, config: A3CConfig) -> str | None:
        """As A2C."""
        return A2C.valued(config)

    def act(
        self, obs: Tensor, explore: bool = True, draws: Draws | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Choose actions by the parameters of the last pause."""
        return self.a2c.act(obs, explore, draws)

    def observe(self, step: Step) -> None:
        """Do nothing: the workers observe."""

    def update(self) -> dict[str, Tensor]:
        """Let the workers take ``report_every`` steps; ``consumed`` says how many they took."""
        if self._crew is None:
            self.started += 1
            self._crew = _Crew(self.config, self.spec, self.seed, self.started, self.shared)
        c = self.config
        goal = min(self.steps + c.report_every, self.spec.budget)
        reports = self._crew.advance(self.steps, goal, self.spec.budget)
        totals: dict[str, float] = {}
        for key, value in (item for report in reports for item in report.items()):
            totals[key] = totals.get(key, 0) + value
        steps = int(totals["steps"])
        consumed, self.steps = min(steps, self.spec.budget - self.steps), self.steps + steps
        self.a2c.learner.params.copy_(self.shared[0])
        metrics = {
            key: torch.tensor([total / totals["updates"]])
            for key, total in totals.items()
            if key.startswith("loss/")
        }
        if totals["episodes"]:
            for key in ("return", "length"):
                metrics[f"train/{key}"] = torch.tensor([totals[key] / totals["episodes"]])
        return metrics | {"consumed": torch.tensor([consumed])}

    def load(self, state: State) -> None:
        """Continue from a state; from its "policy" alone, only acting works."""
        super().load(state)
        self.shared[0].copy_(self.a2c.learner.params)


def _shared(x: Tensor) -> Tensor:
    """Move a tensor to memory that all processes see."""
    x.share_memory_()  # type: ignore[no-untyped-call]
    return x


def _context() -> Any:
    """Return how workers start: forked from a server that has imported torch, where there is one.

    In a job of the launcher this is the launcher's own server.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


class _Crew:
    """The worker processes of one agent; they end with it."""

    def __init__(
        self, config: A3CConfig, spec: Spec, seed: int, start: int, shared: tuple[Tensor, Tensor]
    ) -> None:
        context = _context()
        self.counts = _shared(torch.zeros(config.workers, dtype=torch.int64))
        self.pipes: list[Connection] = []
        self.processes = []
        for index in range(config.workers):
            ours, theirs = context.Pipe()
            arguments = (theirs, config, spec, (seed, start, index), shared, self.counts)
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)
        # a pipe that closes ends its worker, also where nobody says goodbye
        self._finalizer = weakref.finalize(self, _dismiss, self.pipes)

    def advance(self, step: int, goal: int, budget: int) -> list[dict[str, Any]]:
        """Let every worker go on until all together stand at ``goal``; returns their reports."""
        self.counts.zero_()
        for index, pipe in enumerate(self.pipes):
            try:
                pipe.send((step, goal, budget))
            except OSError:
                raise RuntimeError(self._end_of(index)) from None
        return [self._report(index) for index in range(len(self.pipes))]

    def _report(self, index: int) -> dict[str, Any]:
        pipe, process = self.pipes[index], self.processes[index]
        while not pipe.poll(_WAIT):
            if not process.is_alive():
                raise RuntimeError(self._end_of(index))
        try:
            report: dict[str, Any] = pipe.recv()
        except EOFError:
            raise RuntimeError(self._end_of(index)) from None
        if "error" in report:
            raise RuntimeError(f"worker {index}: {report['error']}")
        return report

    def _end_of(self, index: int) -> str:
        self.processes[index].join()
        return f"worker {index} ended with exit code {self.processes[index].exitcode}"


def _dismiss(pipes: list[Connection]) -> None:
    for pipe in pipes:
        pipe.close()


def _work(
    pipe: Connection,
    config: A3CConfig,
    spec: Spec,
    stream: tuple[int, int, int],
    shared: tuple[Tensor, Tensor],
    counts: Tensor,
) -> None:
    """Be a worker: learn between two messages, until the pipe closes."""
    torch.set_num_threads(1)
    worker = None
    while True:
        try:
            step, goal, budget = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        try:
            worker = worker or _Worker(config, spec, stream, shared, counts)
            pipe.send(worker.advance(step, goal, budget))
        except KeyboardInterrupt:
            return
        except Exception as error:
            reason = str(error).strip().splitlines() or [""]
            with suppress(OSError):  # another one has said it first, and the pipe is closed
                pipe.send({"error": f"{type(error).__name__}: {reason[0]}"})
            return


class _Worker:
    """One environment, and networks that follow the shared ones."""

    def __init__(
        self,
        config: A3CConfig,
        spec: Spec,
        stream: tuple[int, int, int],
        shared: tuple[Tensor, Tensor],
        counts: Tensor,
    ) -> None:
        seed, start, self.index = stream
        self.config, self.counts = config, counts
        self.params, self.memory = shared
        self.a2c = A2C(config, spec, [seed], torch.device("cpu"))
        self.a2c.actor_critic.noise.purpose = f"act/{start}/{self.index}"
        self.env = spec.extras[ENVIRONMENT](gamma=config.gamma)
        self.episodes = generator(seed, "env", start, self.index)
        self._reset()

    def _reset(self) -> None:
        obs, _ = self.env.reset(seed=int(self.episodes.integers(2**31)))
        self.obs = self._tensor(obs)
        self.total, self.length = 0.0, 0

    @staticmethod
    def _tensor(obs: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(obs))[None, None]

    def advance(self, step: int, goal: int, budget: int) -> dict[str, Any]:
        """Learn until all workers together stand at ``goal``."""
        report: dict[str, Any] = dict.fromkeys(
            ("steps", "updates", "episodes", "return", "length"), 0
        )
        while step + int(self.counts.sum()) < goal:
            self.a2c.learner.params.copy_(self.params)
            self.a2c.actor_critic.anneal(min(step + int(self.counts.sum()), budget))
            while not self.a2c.experience.due:
                self._live(report)
            self.counts[self.index] += self.config.rollout
            report["steps"] += self.config.rollout
            for key, value in self._learn().items():
                report[key] = report.get(key, 0.0) + float(value)
            report["updates"] += 1
        return report

    def _live(self, report: dict[str, Any]) -> None:
        """Take one step; an episode that ends starts the next one."""
        action, memo = self.a2c.act(self.obs)
        obs, reward, terminated, truncated, _ = self.env.step(action[0, 0].numpy())
        self.total, self.length = self.total + float(reward), self.length + 1
        following = self._tensor(obs)
        over, cut, valid = (
            torch.tensor([[flag]]) for flag in (terminated, truncated and not terminated, True)
        )
        rewards = torch.tensor([[float(reward)]])
        self.a2c.observe(Step(self.obs, following, action, rewards, over, cut, valid, memo))
        self.obs = following
        if terminated or truncated:
            report["episodes"] += 1
            report["return"] += self.total
            report["length"] += self.length
            self._reset()

    def _learn(self) -> dict[str, Tensor]:
        """Add the rollout's step to the shared parameters, whoever else does the same."""
        optimizer = self.a2c.learner.optimizer
        loss, metrics = self.a2c.loss(self.a2c.experience.take())
        self.a2c.experience.clear()
        optimizer.backward(loss)
        norm = optimizer.clip()
        settings = {"lr": optimizer.lr, "alpha": optimizer.alpha, "eps": optimizer.eps}
        uncentred_rmsprop(self.params, optimizer.grad, self.memory, **settings)
        return metrics | {"loss/grad_norm": norm}
