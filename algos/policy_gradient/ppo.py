"""Proximal policy optimisation (Schulman et al. 2017): several epochs on one rollout.

The parts that made its published results (Huang et al. 2022, "The 37 implementation details of
PPO") are switches: the clip or a KL penalty, GAE, standardised advantages, clipped values, the
entropy bonus, annealing, a bound on the KL, normalised observations and rewards.

Deviations from the paper and from OpenAI Baselines:
- The old policy's log-probabilities and the values are computed when the rollout is full, in one
  batch, not while acting: the parameters are the same.
- A truncated episode bootstraps from its true last observation; Baselines and CleanRL treat it as
  terminated.
- Observation statistics move once per rollout, behind its update, not at every step.
- The penalty is adapted after every update by the KL of its last epoch, not by that of all data.
- With dropout or batch normalisation, the old policy is the one that acted: without dropout, by
  running statistics. Its ratio to the one that learns is then not 1 even before the first step,
  and their KL not 0; so ``target_kl`` is refused with them.
- ``target_kl`` stops a seed before the minibatch that would go on from a KL above it; CleanRL looks
  at the end of an epoch, Stable-Baselines3 allows 1.5 times its ``target_kl``.
- With a memory (``memory: gru`` or ``lstm``), a minibatch is whole lanes, gone through from what
  was remembered at the rollout's start, by the parameters of then; gradients end there. Policy and
  critic each remember by themselves unless they share a torso.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..core import legality, recurrent, torso
from ..core.agent import Component, Family, Preset, Spec, Step
from ..core.configs import MemoryConfig
from ..core.distributions import Distribution
from ..core.nets import Mode
from ..core.rng import RandomStream
from ..core.rollout import Rollout, Trajectories, by_lane, reordered
from ..core.schedules import Schedule
from ..core.settings import setting
from ..formulas import advantages, policy, td
from .actor_critic import Estimates
from .agent import PolicyGradientAgent
from .config import PolicyGradientConfig, check_batches

SURROGATES = ("clip", "kl", "none")


@dataclass
class PPOConfig(MemoryConfig, PolicyGradientConfig):
    """CleanRL's defaults for classic control (ppo.py), so that presets state what differs."""

    agent: str = "ppo"
    name: str = "ppo"
    label: str = "PPO"
    anneal: bool = True
    entropy: float = 0.01

    norm: str = setting(
        "none", "normalisation of each hidden layer before its activation", choices=torso.NORMS
    )
    dropout: float = setting(
        0.0, "share of a hidden layer's outputs that an update leaves out", ge=0, lt=1
    )
    rollout: int = setting(128, "ticks between updates (`n_steps` elsewhere)", ge=1)
    epochs: int = setting(4, "passes over a rollout", ge=1)
    batch_size: int = setting(128, "rows of a minibatch; must divide rollout * lanes", ge=1)
    gae_lambda: float = setting(0.95, "lambda of GAE; 1: n-step returns", ge=0, le=1)
    normalize_advantage: bool = setting(True, "within each minibatch")
    surrogate: str = setting(
        "clip",
        "what holds the step: a clip, or a penalty with an adapted weight",
        choices=SURROGATES,
    )
    clip: float = setting(0.2, "how far the ratio may be from 1", gt=0)
    anneal_clip: bool = setting(False, "the clip falls linearly to 0 at the budget's end")
    clip_value: bool = setting(True, "hold the value's step within value_clip")
    value_clip: float | None = setting(
        None, "in units of returns; null: as far as the ratio's", gt=0
    )
    value_coef: float = setting(
        0.5, "weight of half the value's squared error: CleanRL's vf_coef, twice SB3's", ge=0
    )
    target_kl: float | None = setting(
        None, "surrogate=kl aims at it; else a seed's epochs end beyond it; null: they do not", gt=0
    )
    kl_coef: float = setting(1.0, "first weight of the penalty (surrogate=kl)", ge=0)

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        check_batches(self.batch_size, self.rollout, self.lanes)
        if self.norm == "batch" and self.batch_size == 1:
            raise ValueError("norm=batch needs batch_size above 1")
        if self.surrogate == "kl" and self.target_kl is None:
            raise ValueError("surrogate=kl needs target_kl, for instance 0.01")
        if self.target_kl is not None and (self.norm == "batch" or self.dropout > 0):
            raise ValueError(
                "target_kl needs dropout=0 and norm=none or layer: dropout and batch norm make the "
                "KL positive before the first step"
            )
        if self.batch_size == 1 and self.normalize_advantage:
            raise ValueError("normalize_advantage=true needs batch_size above 1")
        if self.memory != "none" and self.dropout > 0:
            raise ValueError(f"memory={self.memory} needs dropout=0")
        if self.memory != "none" and self.norm == "batch":
            raise ValueError(f"memory={self.memory} needs norm=none or layer")
        if self.memory != "none" and self.batch_size % self.rollout:
            raise ValueError(
                f"memory={self.memory} needs whole lanes in a minibatch: batch_size must be a "
                f"multiple of rollout={self.rollout}, got {self.batch_size}"
            )


COMPONENTS = (
    Component(
        "clip",
        "Schulman et al. 2017",
        on={"surrogate": "clip"},
        off={"surrogate": "none"},  # the plain ratio
    ),
    Component(
        "GAE",
        "Schulman et al. 2016",
        on={"gae_lambda": 0.95},
        off={"gae_lambda": 1.0},  # n-step returns to the end of the rollout
    ),
    Component(
        "advantage normalisation",
        "Huang et al. 2022",
        on={"normalize_advantage": True},
        off={"normalize_advantage": False},
    ),
    Component("entropy bonus", "Mnih et al. 2016", on={"entropy": 0.01}, off={"entropy": 0.0}),
    Component(
        "value clipping", "Huang et al. 2022", on={"clip_value": True}, off={"clip_value": False}
    ),
    Component("annealing", "Huang et al. 2022", on={"anneal": True}, off={"anneal": False}),
    Component(
        "epochs", "Schulman et al. 2017", on={"epochs": 4}, off={"epochs": 1}, foundation=True
    ),
    Component(
        "observation normalisation",
        "Huang et al. 2022",
        on={"normalize_obs": True},
        off={"normalize_obs": False},
        foundation=True,
    ),
    Component(
        "reward normalisation",
        "Engstrom et al. 2020",
        on={"normalize_reward": True},
        off={"normalize_reward": False},
        foundation=True,
    ),
    Component(
        "memory",
        "Cho et al. 2014",
        on={"memory": "gru"},
        off={"memory": "none"},  # each observation by itself
        foundation=True,
    ),
    legality.COMPONENT,
    *torso.COMPONENTS,
)

FAMILY = Family(
    base=None,
    full="ppo",
    parts=(
        "clip",
        "GAE",
        "advantage normalisation",
        "entropy bonus",
        "value clipping",
        "annealing",
    ),
)

PRESETS = {
    "ppo": Preset(
        "several epochs of a clipped ratio, at CleanRL's settings for classic control",
        "Schulman et al. 2017",
    ),
    "recurrent_ppo": Preset(
        "PPO that remembers by a gated recurrent unit, for tasks that show a part of their state",
        "Schulman et al. 2017; Cho et al. 2014",
    ),
}


class Remembered(NamedTuple):
    """What goes with rows that are whole lanes, tick after tick: B = lanes * T."""

    begins: Tensor  # [K, B] bool, where an episode begins
    start: Tensor  # [K, lanes, members, S], what was remembered before the first tick

    @property
    def ticks(self) -> int:
        """T."""
        return self.begins.shape[1] // self.start.shape[1]


class Samples(NamedTuple):
    """Rows to learn from; ``B`` is the whole rollout or a minibatch."""

    obs: Tensor  # [K, B, *obs], normalised
    action: Tensor  # [K, B] or [K, B, D]
    old_out: Tensor  # [K, B, P], the old policy's network output
    scalars: Tensor  # [4, K, B]: old log-probability, advantage, value target, old value
    old_std: Tensor | None  # [K, 1, D], the old policy's free log deviations
    memory: Remembered | None = None

    def shuffled(self, order: Tensor) -> "Samples":
        """Return every seed's rows in its own order ``[K, B]``; with a memory, that of lanes."""
        memory = self.memory
        if memory is not None:
            start = reordered(memory.start, order)
            ticks = torch.arange(memory.ticks, device=order.device)
            order = (order.unsqueeze(-1) * memory.ticks + ticks).flatten(1)
            memory = Remembered(reordered(memory.begins, order), start)
        return Samples(
            reordered(self.obs, order),
            reordered(self.action, order),
            reordered(self.old_out, order),
            self.scalars.gather(2, order.expand(4, -1, -1)),
            self.old_std,
            memory,
        )

    def minibatches(self, size: int) -> Iterator["Samples"]:
        """Yield the rows in order, ``size`` at a time."""
        for i in range(0, self.obs.shape[1], size):
            rows, memory = slice(i, i + size), self.memory
            if memory is not None:
                lanes = slice(i // memory.ticks, (i + size) // memory.ticks)
                memory = Remembered(memory.begins[:, rows], memory.start[:, lanes])
            yield Samples(
                self.obs[:, rows],
                self.action[:, rows],
                self.old_out[:, rows],
                self.scalars[..., rows],
                self.old_std,
                memory,
            )


class PPO(PolicyGradientAgent):
    """The agent; see ``PPOConfig`` for its parts."""

    Config: ClassVar[type] = PPOConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = COMPONENTS
    FAMILY: ClassVar[Family] = FAMILY
    PRESETS: ClassVar[Mapping[str, Preset]] = PRESETS
    PARTS = (*PolicyGradientAgent.PARTS, "order", "penalty", "start")

    config: PPOConfig
    experience: Rollout

    def __init__(
        self, config: PPOConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        shape = recurrent.shape_of(config)
        around = torso.Around(config.norm, config.dropout, config.batch_size)
        super().__init__(config, spec, seeds, device, config.rollout, memory=shape, around=around)
        self.memory = self.actor_critic.memory
        # what was remembered before the rollout's first tick, [K, members, N, S]
        self.start = None if self.memory is None else self.memory.training.clone()
        rows = config.lanes if self.memory else config.rollout * config.lanes
        self.order = RandomStream(seeds, "order", (rows,), device=device)
        self.penalty = torch.full((self.k,), config.kl_coef, device=device)
        end = 0.0 if config.anneal_clip else config.clip
        self.clip = Schedule("linear", config.clip, end, spec.budget)

    def forget(self) -> None:
        """Begin greedy acting anew: every lane is at the start of an episode."""
        if self.memory is not None:
            self.memory.forget()

    def observe(self, step: Step) -> None:
        """Store one tick, and remember it."""
        if self.memory is not None:
            if self.experience.filled == 0:
                self.start = self.memory.training.clone()
            self.memory.observe(step)
        super().observe(step)

    def _learn(self, data: Trajectories) -> dict[str, Tensor]:
        """Make several epochs on a rollout."""
        c, samples, clip = self.config, self._samples(data), self.clip(self.experience.begun)
        live = torch.ones(self.k, dtype=torch.bool, device=samples.obs.device)
        steps: list[dict[str, Tensor]] = []
        for _ in range(c.epochs):
            shuffled = samples.shuffled(self.order().argsort(-1))
            for batch in shuffled.minibatches(c.batch_size):
                metrics, live = self._step(batch, clip, live)
                steps.append(metrics)
        _, _, target, v = samples.scalars.unbind(0)
        explained = advantages.explained_variance(v, target)
        return self._summary(steps) | {"loss/explained_variance": explained}

    @torch.no_grad()
    def _samples(self, data: Trajectories) -> Samples:
        """Return a rollout's rows with their advantages and value targets."""
        ac, memory = self.actor_critic, None
        rows = ac.estimate(data, self.config.gae_lambda, self.start)
        if self.start is not None:
            rows = Estimates(*(by_lane(x, self.config.rollout) for x in rows))
            begins = by_lane(data.begins.flatten(1), self.config.rollout)
            memory = Remembered(begins, self.start.transpose(1, 2))
        log_prob = ac.distribution(rows.out).log_prob(rows.action)
        scalars = torch.stack([log_prob, rows.advantage, rows.target, rows.v])
        old_std = None if ac.net.log_std is None else ac.net.log_std.clone()
        return Samples(rows.obs, rows.action, rows.out, scalars, old_std, memory)

    def _networks(self, batch: Samples) -> tuple[Tensor, Tensor]:
        """Return policy outputs ``[K, B, P]`` and values ``[K, B, 1]`` of a batch."""
        net, memory = self.actor_critic.net, batch.memory
        if memory is None:
            return net(batch.obs, Mode.LEARN)  # type: ignore[no-any-return]
        obs, begins = (
            x.reshape(len(x), -1, memory.ticks, *x.shape[2:]).transpose(1, 2)
            for x in (batch.obs, memory.begins)
        )
        out, values, _ = net.recall(obs, memory.start.transpose(1, 2), begins, Mode.LEARN)
        return out.transpose(1, 2).flatten(1, 2), values.transpose(1, 2).flatten(1, 2)

    def _step(self, batch: Samples, clip: float, live: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Make one step of every seed that is ``live [K]``; returns metrics and who still is."""
        loss, kl, metrics = self._loss(batch, clip)
        c, mask = self.config, None
        if c.target_kl is not None and c.surrogate != "kl":
            live = live & (kl <= c.target_kl)
            mask = live.repeat_interleave(self.learner.members)
        metrics["loss/grad_norm"] = self.learner.step(loss, mask)
        metrics["loss/kl"], metrics["loss/live"] = kl, live.float()
        return metrics, live

    def _loss(self, batch: Samples, clip: float) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the loss ``[K]``, the KL from the old policy ``[K]`` and metrics ``[K]``."""
        c = self.config
        old_log_prob, advantage, target, v_old = batch.scalars.unbind(0)
        out, values = self._networks(batch)
        new, v = self.actor_critic.distribution(out), values.squeeze(-1)
        log_ratio = new.log_prob(batch.action) - old_log_prob
        if c.normalize_advantage:
            advantage = advantages.standardise(advantage)
        if c.surrogate == "clip":
            gain = policy.clipped_surrogate(log_ratio, advantage, clip)
        else:
            gain = policy.surrogate(log_ratio, advantage)
        if c.clip_value:
            bound = clip if c.value_clip is None else c.value_clip
            value_loss = policy.clipped_value_loss(v, v_old, target, bound)
        else:
            value_loss = td.squared(v - target)
        policy_loss, value_loss = gain.mean(-1), value_loss.mean(-1)
        entropy = new.entropy().mean(-1)
        loss = policy_loss + c.value_coef * value_loss - c.entropy * entropy
        if c.surrogate == "kl":
            loss = loss + self.penalty * self._old(batch).kl(new).mean(-1)  # type: ignore[arg-type]
        with torch.no_grad():
            kl = policy.k3(log_ratio).mean(-1)
            metrics = {
                "loss/policy": policy_loss.detach(),
                "loss/value": value_loss.detach(),
                "loss/entropy": entropy.detach(),
                "loss/clipped": (log_ratio.expm1().abs() > clip).float().mean(-1),
                "loss/largest_ratio": log_ratio.amax(-1).exp(),
            }
        return loss, kl, metrics

    def _old(self, batch: Samples) -> Distribution:
        """Return the distribution that acted."""
        return self.actor_critic.head.build(batch.old_out, batch.old_std)

    def _summary(self, steps: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the update's metrics ``[K]``; the penalty moves by the last epoch's KL.

        Behind a seed's early stop no step is applied, and none counts; ``loss/live`` says how many
        of the steps were applied.
        """
        c = self.config
        # seeds lead: a mean over the first axis would sum in an order that depends on K
        stacked = {key: torch.stack([m[key] for m in steps], -1) for key in steps[0]}
        metrics = {key: x.mean(-1) for key, x in stacked.items()}
        live = stacked["loss/live"] > 0
        if c.target_kl is not None and c.surrogate != "kl":
            applied, share = live.sum(-1).clamp(min=1), metrics["loss/live"]
            for key, x in stacked.items():
                metrics[key] = torch.where(live, x, 0.0).sum(-1) / applied
            metrics["loss/live"] = share
        metrics["loss/largest_ratio"] = torch.where(live, stacked["loss/largest_ratio"], 0).amax(-1)
        if c.surrogate == "kl":
            assert c.target_kl is not None
            last = stacked["loss/kl"][:, -(len(steps) // c.epochs) :].mean(-1)
            self.penalty = policy.adapted_penalty(self.penalty, last, c.target_kl)
            metrics["loss/penalty"] = self.penalty.clone()
        return metrics
