"""Deep Q-learning and its extensions: one agent, its parts chosen by the config.

DQN (Mnih et al. 2015), Double DQN (van Hasselt et al. 2016), deep double Q-learning with two
networks (van Hasselt 2010), prioritised replay (Schaul et al. 2016), dueling networks (Wang et al.
2016), multi-step targets, C51 (Bellemare et al. 2017), QR-DQN (Dabney et al. 2018), noisy networks
(Fortunato et al. 2018), Rainbow (Hessel et al. 2018).

Deviations from the papers:
- Noisy layers are those of the head (the last hidden layer and the output), as with Rainbow's
  convolutions; a multilayer perceptron's earlier layers stay plain.
- A prioritised sample's weight is divided by the largest weight of its batch, not of the buffer.
- Evaluation is greedy and, with noisy networks, uses the mean weights.
- The dueling gradients are not rescaled by 1/sqrt(2).
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from ..core.agent import (
    Component,
    Family,
    Preset,
    Spec,
    State,
    Step,
    group_members,
    ungroup_members,
)
from ..core.explore import Behaviour, Boltzmann, EpsilonGreedy, Greedy
from ..core.heads import NetShape, QNetwork
from ..core.optim import FlatParams, SeedOptimizer
from ..core.replay import Batch, Ring
from ..core.rng import Draws
from ..core.samplers import Latest, Prioritized, Sampler, Uniform
from ..core.schedules import Schedule
from ..core.torso import obs_scale
from ..formulas import td
from .config import COMPONENTS, FAMILY, PRESETS, DQNConfig
from .value_models import Categorical, Quantile, Scalar, ValueModel


class DQN:
    """The family's agent; see ``DQNConfig`` for its parts."""

    Config: ClassVar[type] = DQNConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = COMPONENTS
    FAMILY: ClassVar[Family] = FAMILY
    PRESETS: ClassVar[Mapping[str, Preset]] = PRESETS
    max_seeds: ClassVar[int | None] = None
    interacts: ClassVar[bool] = True

    def __init__(
        self, config: DQNConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        assert isinstance(spec.action_space, spaces.Discrete)
        self.config, self.actions = config, int(spec.action_space.n)
        self.value = _value_model(config, device)
        # Double Q-learning with a coin trains two networks a seed, which lie side by side.
        self.twins = 2 if config.double == "coin" else 1
        members = [(seed, twin) for seed in seeds for twin in range(self.twins)]
        shape = _net_shape(config, spec, self.value.atoms)
        self.online = QNetwork(shape, members, "online").to(device)
        self.target = QNetwork(shape, members, "target").to(device)
        self.optimizer = SeedOptimizer(
            FlatParams(self.online.parameters()),
            config.optimizer,
            config.lr,
            config.optimizer_eps,
            config.grad_clip,
            (config.betas[0], config.betas[1]),
            alpha=config.rmsprop_alpha,
        )
        self.target_params = FlatParams(self.target.parameters())
        self._sync_target(1.0)
        self.ring = Ring(
            len(seeds),
            config.lanes,
            spec.obs_space,
            ((), np.int64),
            config.buffer_size if config.replay else config.lanes,
            config.n_step,
            config.gamma,
            device,
        )
        self.sampler = _sampler(config, self.ring, seeds)
        e = config.exploration
        self.exploration = Schedule(e.schedule, e.start, e.end, int(e.fraction * spec.budget))
        self.beta = Schedule("linear", config.beta_start, config.beta_end, spec.budget)
        self.explore = _behaviour(config, seeds, self.actions)
        self.coin_draws = Draws(seeds, "coin", (), device=device)
        self.ticks = 0  # observed
        self.train_ticks = max(1, config.train_every // config.lanes)
        self._loss_of = torch.compile(self._loss) if config.compile else self._loss

    @classmethod
    def unsupported(cls, config: DQNConfig, spec: Spec) -> str | None:
        """Say why the task is impossible: Q-learning takes the maximum over a finite set."""
        if not isinstance(spec.action_space, spaces.Discrete):
            return f"it needs discrete actions, the environment has {spec.action_space}"
        return None

    @property
    def steps(self) -> int:
        """Environment steps per seed so far."""
        return self.ticks * self.config.lanes

    @torch.no_grad()
    def act(self, obs: Tensor, explore: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """Choose actions ``[K, N]``; greedy acting remembers the values it expects, ``[K, N]``."""
        if explore:
            self.online.resample()
            return self.explore(lambda: self._values(obs), self.exploration(self.steps)), {}
        self.online.use_mean(True)
        value, action = self._values(obs).max(-1)
        self.online.use_mean(False)
        return action, {"value": value}

    def _values(self, obs: Tensor) -> Tensor:
        """Return action values ``[K, N, A]``; of two networks, their mean."""
        return self._over_twins(self.value.mean(self.online(self._each_twin(obs))))

    def _each_twin(self, x: Tensor) -> Tensor:
        """Repeat ``[K, ...]`` for the networks of each seed."""
        return x if self.twins == 1 else x.repeat_interleave(2, 0)

    def _over_twins(self, x: Tensor) -> Tensor:
        """Average ``[K * twins, ...]`` over the networks of each seed."""
        return x if self.twins == 1 else (x[0::2] + x[1::2]) / 2

    def observe(self, step: Step) -> None:
        """Store one tick."""
        self.ring.add(step)
        self.ticks += 1

    def update(self) -> dict[str, Tensor] | None:
        """Learn from ``gradient_steps`` batches if an update is due at this tick."""
        c = self.config
        if self.steps < c.learning_starts or not len(self.ring):
            return None
        if self.ticks % self.train_ticks:
            return None
        for _ in range(c.gradient_steps):
            metrics = self._learn()
            if c.target == "soft":
                self._sync_target(c.tau)
        if c.target == "hard" and self._crossed(c.target_every):
            self._sync_target(1.0)
        return metrics

    def _crossed(self, every: int) -> bool:
        """Whether a multiple of ``every`` steps lies between the last update and this one."""
        before = self.steps - self.train_ticks * self.config.lanes
        return self.steps // every > before // every

    def _learn(self) -> dict[str, Tensor]:
        """Make one update of every seed."""
        index, weight = self.sampler.sample(self.beta(self.steps))
        batch, weight = self.ring.gather(index), weight.to(self.ring.device)
        self.online.resample()
        self.target.resample()
        batch = Batch(*(self._each_twin(x) for x in batch))
        loss, priority, metrics = self._loss_of(batch, self._each_twin(weight))
        self.optimizer.backward(loss)
        metrics["loss/grad_norm"] = self.optimizer.step(self._coin())
        self.sampler.update(index, self._over_twins(priority).to(index.device))
        return {key: self._over_twins(x) for key, x in metrics.items()}

    def _loss(self, batch: Batch, weight: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the loss ``[K]``, priorities ``[K, B]`` and metrics ``[K]`` of a batch."""
        with torch.no_grad():
            bootstrap = self.online if self.config.target == "none" else self.target
            following = bootstrap(batch.next_obs)  # [K, B, A, Z]
            chooser = following if self.config.double == "off" else self.online(batch.next_obs)
            best = self.value.mean(chooser).argmax(-1)
            if self.twins == 2:  # each network is valued by the other one
                following = torch.stack([following[1::2], following[0::2]], 1).flatten(0, 1)
            following = td.select(following, best)
            target = self.value.target(batch.reward, batch.discount, following)
            extra = self.value.diagnostics(batch.reward, batch.discount, following)
        self.online.learn_mode(True)
        predicted = td.select(self.online(batch.obs), batch.action)
        self.online.learn_mode(False)
        per_sample, priority = self.value.loss(predicted, target)
        loss = (weight * per_sample).mean(-1)
        metrics = {"loss/value": loss.detach(), "loss/q": self._mean_q(predicted.detach())}
        return loss, priority, metrics | extra

    def _mean_q(self, predicted: Tensor) -> Tensor:
        return self.value.mean(predicted).mean(-1)

    def _coin(self) -> Tensor | None:
        """Return which network of each seed learns, ``[2K]``; None where there is only one."""
        if self.twins == 1:
            return None
        heads = self.coin_draws() < 0.5
        return torch.stack([heads, ~heads], 1).flatten()

    @torch.no_grad()
    def _sync_target(self, share: float) -> None:
        """Move the target network by ``share`` of the way to the online one."""
        self.target_params.data.lerp_(self.optimizer.params.data, share)
        for ours, theirs in zip(self.target.running(), self.online.running(), strict=True):
            ours.lerp_(theirs, share)

    def _streams(self) -> dict[str, Draws]:
        nets = self.online.streams() | self.target.streams()
        return nets | self.explore.streams() | {"coin": self.coin_draws}

    def state(self) -> State:
        """Return networks, optimiser, replay, sampler, streams and the tick count."""
        tensors = {
            "policy": _network_state(self.optimizer.params, self.online),
            "target": _network_state(self.target_params, self.target),
            "optimizer": self.optimizer.state(),
        }
        return group_members(tensors, self.twins) | {
            "ring": self.ring.state(),
            "sampler": self.sampler.state(),
            "streams": {name: draws.state() for name, draws in self._streams().items()},
            "ticks": self.ticks,
        }

    def load(self, state: State) -> None:
        """Continue from a state; from its "policy" alone, only acting works."""
        _load_network(ungroup_members(state["policy"]), self.optimizer.params, self.online)
        if "target" not in state:
            return
        _load_network(ungroup_members(state["target"]), self.target_params, self.target)
        self.optimizer.load(ungroup_members(state["optimizer"]))
        self.ring.load(state["ring"])
        self.sampler.load(state["sampler"])
        for name, draws in self._streams().items():
            draws.load(state["streams"][name])
        self.ticks = state["ticks"]


def _network_state(params: FlatParams, net: QNetwork) -> State:
    return {"params": params.data} | {f"running{i}": t for i, t in enumerate(net.running())}


def _load_network(state: State, params: FlatParams, net: QNetwork) -> None:
    params.data.copy_(state["params"])
    for i, running in enumerate(net.running()):
        running.copy_(state[f"running{i}"])


def _value_model(config: DQNConfig, device: torch.device) -> ValueModel:
    if config.value == "categorical":
        return Categorical(config.atoms, config.v_min, config.v_max, device)
    if config.value == "quantile":
        return Quantile(config.quantiles, config.kappa)
    return Scalar(td.huber if config.loss == "huber" else td.squared)


def _net_shape(config: DQNConfig, spec: Spec, atoms: int) -> NetShape:
    assert isinstance(spec.action_space, spaces.Discrete)
    return NetShape(
        obs=spec.obs_space.shape,
        actions=int(spec.action_space.n),
        atoms=atoms,
        hidden=tuple(config.hidden),
        conv=tuple((c, kernel, stride) for c, kernel, stride in config.conv),
        dueling=config.dueling,
        noisy=config.noisy,
        sigma0=config.sigma0,
        norm=config.norm,
        dropout=config.dropout,
        batch=config.batch_size if config.replay else config.lanes,
        obs_scale=obs_scale(spec.obs_space),
    )


def _behaviour(config: DQNConfig, seeds: Sequence[int], actions: int) -> Behaviour:
    if config.noisy or config.exploration.kind == "greedy":
        return Greedy()
    if config.exploration.kind == "boltzmann":
        return Boltzmann(seeds, config.lanes)
    return EpsilonGreedy(seeds, config.lanes, actions)


def _sampler(config: DQNConfig, ring: Ring, seeds: Sequence[int]) -> Sampler:
    if not config.replay:
        return Latest(ring, seeds)
    if config.prioritized:
        return Prioritized(ring, seeds, config.batch_size, config.alpha)
    return Uniform(ring, seeds, config.batch_size)
