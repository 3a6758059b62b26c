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
- Where nothing but noise explores, actions are uniform until ``learning_starts``; the papers act by
  the untrained policy (``warmup_actions: policy``), which may choose one action all the time.
- The dueling gradients are not rescaled by 1/sqrt(2).
- With a memory (DRQN, Hausknecht and Stone 2015; R2D2's burn-in, Kapturowski et al. 2019), a
  sequence starts at any step, ends with its episode, and its burn-in lies before it: no step is
  left unlearned. What was remembered before the burn-in is taken to be zero, as DRQN has it; R2D2
  stores it. The recurrent layer is a GRU or an LSTM behind the torso.
- With two networks (``double: coin``) and batch normalisation, the running statistics of both
  networks move at every update, though only one of them takes the step.
- Where some actions are illegal, the mean of the dueling advantages is over all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from gymnasium import spaces
from torch import Tensor

from ..core.agent import (
    GREEDY,
    Component,
    Family,
    Preset,
    Spec,
    Step,
)
from ..core.experience import Experience, averaged
from ..core.explore import Behaviour, Boltzmann, EpsilonGreedy, Greedy
from ..core.heads import NetShape, QNetwork
from ..core.learner import Learner
from ..core.legality import Legality, barred
from ..core.nets import Mode
from ..core.optim import optimizer_of
from ..core.parts import HasParts
from ..core.recurrent import Memory, shape_of
from ..core.replay import Batch, Sequences
from ..core.rng import RandomStream
from ..core.schedules import Schedule
from ..core.torso import obs_scale, too_small
from ..formulas import td
from .config import COMPONENTS, FAMILY, PRESETS, DQNConfig
from .value_models import Categorical, Quantile, Scalar, ValueModel


class DQN(HasParts):
    """The family's agent; see ``DQNConfig`` for its parts."""

    Config: ClassVar[type] = DQNConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = COMPONENTS
    FAMILY: ClassVar[Family] = FAMILY
    PRESETS: ClassVar[Mapping[str, Preset]] = PRESETS
    max_seeds: ClassVar[int | None] = None
    interacts: ClassVar[bool] = True

    POLICY = ("learner",)
    PARTS = ("experience", "behaviour", "coin", "memory")

    def __init__(
        self, config: DQNConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        c = self.config = config
        self.value = _value_model(c, device)
        # Double Q-learning with a coin trains two networks a seed, which lie side by side.
        self.twins = 2 if c.double == "coin" else 1
        members = [(seed, twin) for seed in seeds for twin in range(self.twins)]
        shape = _net_shape(c, spec, self.value.atoms)
        self.legality = shape.legality
        self.learner = Learner(
            lambda name: QNetwork(shape, members, name),
            optimizer_of(c),
            device,
            self.twins,
            has_target=c.target != "none",
        )
        self.online, self.target = self.learner.online, self.learner.target
        alpha = c.alpha if c.prioritized else None
        self.experience = Experience(c, spec, seeds, device, c.buffer_size, c.n_step, alpha)
        self.beta = Schedule("linear", c.beta_start, c.beta_end, spec.budget)
        self.behaviour = _behaviour(c, seeds, shape.actions, self.legality.used)
        e = c.exploration
        self.level = Schedule(e.schedule, e.start, e.end, int(e.fraction * spec.budget))
        self.coin = RandomStream(seeds, "coin", (), device=device)
        self.memory: Memory | None = None
        if (layer := self.online.memory) is not None:
            self.memory = Memory(len(seeds), self.twins, c.lanes, layer.size, device)
        self._loss_of = torch.compile(self._loss) if c.compile else self._loss

    @classmethod
    def unsupported(cls, config: DQNConfig, spec: Spec) -> str | None:
        """Say why the task is impossible: Q-learning takes the maximum over a finite set."""
        if not isinstance(spec.action_space, spaces.Discrete):
            return f"it needs discrete actions, the environment has {spec.action_space}"
        return too_small(spec.obs_space, config.conv)

    @classmethod
    def valued(cls, config: DQNConfig) -> str | None:
        """Several steps of reward are uncorrected: their values are of no policy."""
        return GREEDY if config.n_step == 1 else None

    @torch.no_grad()
    def act(self, obs: Tensor, explore: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """Choose actions ``[K, N]``; greedy acting remembers the values it expects, ``[K, N]``."""
        if explore:
            self.online.resample()
            values, memo = self._look(obs, Mode.SAMPLE, explore)
            return self.behaviour(values, self._level(), self.legality.mask(obs)), memo
        value, action = self._look(obs, Mode.MEAN, explore)[0]().max(-1)
        return action, {"value": value}

    def _level(self) -> float:
        """Return epsilon, or the temperature, at this step."""
        steps = self.experience.steps
        if _is_greedy(self.config):
            return float(steps < self.config.learning_starts)
        return self.level(steps)

    def forget(self) -> None:
        """Begin greedy acting anew: every lane is at the start of an episode."""
        if self.memory is not None:
            self.memory.forget()

    def _look(
        self, obs: Tensor, mode: Mode, explore: bool
    ) -> tuple[Callable[[], Tensor], dict[str, Tensor]]:
        """Return what gives action values ``[K, N, A]``, and a memo of what is remembered."""
        if self.memory is None:  # who explores on every lane spares the look
            return lambda: self._values(self.online(self._each_twin(obs), mode), obs), {}
        before = self.memory.recall(explore, obs.shape[1]).flatten(0, 1)
        out, states = self.online.recall(self._each_twin(obs.unsqueeze(1)), before, mode=mode)
        after = states[:, 0].view(len(obs), self.twins, *states.shape[2:])
        return lambda: self._values(out[:, 0], obs), self.memory.acted(after, explore)

    def _values(self, out: Tensor, obs: Tensor) -> Tensor:
        """Return action values ``[K, N, A]``, barred ones too; of two networks, their mean."""
        return barred(self._over_twins(self.value.mean(out)), self.legality.mask(obs))

    def _each_twin(self, x: Tensor) -> Tensor:
        """Repeat ``[K, ...]`` for the networks of each seed."""
        return x if self.twins == 1 else x.repeat_interleave(2, 0)

    def _over_twins(self, x: Tensor) -> Tensor:
        """Average ``[K * twins, ...]`` over the networks of each seed."""
        return x if self.twins == 1 else (x[0::2] + x[1::2]) / 2

    def observe(self, step: Step) -> None:
        """Store one tick, and remember it."""
        self.experience.add(step)
        if self.memory is not None:
            self.memory.observe(step)

    def update(self) -> dict[str, Tensor] | None:
        """Make the gradient steps that are due at this tick."""
        c, steps = self.config, []
        for _ in range(self.experience.due):
            steps.append(self._learn())
            if c.target == "soft":
                self.learner.update_target(c.tau)
        if steps and c.target == "hard" and self.experience.crossed(c.target_every):
            self.learner.update_target()
        return averaged(steps)

    def _learn(self) -> dict[str, Tensor]:
        """Make one gradient step of every seed."""
        if self.memory is not None:
            return self._learn_sequences()
        batch, weight, index = self.experience.sample(self.beta(self.experience.steps))
        for net in self.learner.networks:
            net.resample()
        batch = Batch(*(self._each_twin(x) for x in batch))
        loss, priority, metrics = self._loss_of(batch, self._each_twin(weight))
        metrics["loss/grad_norm"] = self.learner.step(loss, self._toss())
        self.experience.sampler.update(index, self._over_twins(priority).to(index.device))
        return {key: self._over_twins(x) for key, x in metrics.items()}

    def _learn_sequences(self) -> dict[str, Tensor]:
        """Make one gradient step of every seed on sequences."""
        c = self.config
        sequences = self.experience.sample_sequences(c.burn_in, c.sequence)
        for net in self.learner.networks:
            net.resample()
        loss, metrics = self._sequence_loss(sequences)
        metrics["loss/grad_norm"] = self.learner.step(loss, self._toss())
        return {key: self._over_twins(x) for key, x in metrics.items()}

    def _sequence_loss(self, sequences: Sequences) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss ``[K]`` and metrics ``[K]``: means over the steps that are valid."""
        burn = self.config.burn_in
        steps = Batch(*(self._each_twin(x) for x in sequences.steps))
        begins, valid = self._each_twin(sequences.begins), self._each_twin(sequences.valid)
        batch, rest = Batch(*(x[:, burn:] for x in steps)), begins[:, burn:]
        early = steps.obs[:, :burn], begins[:, :burn]
        out, states = self.online.recall(
            batch.obs, self._burnt_in(self.online, *early), rest, Mode.LEARN
        )
        with torch.no_grad():
            theirs = states
            if self.target is not self.online:
                start = self._burnt_in(self.target, *early)
                _, theirs = self.target.recall(batch.obs, start, rest)
            following = self._behind(self.target, batch.next_obs, theirs)
            chooser = following
            if self.config.double != "off":
                self.online.resample()  # the choice has a noise of its own (Fortunato, 3.1)
                chooser = self._behind(self.online, batch.next_obs, states)
        weight = valid[:, burn:].flatten(1)
        weight = weight / weight.mean(-1, keepdim=True)  # the mean of all is that of the valid
        flat = Batch(*(x.flatten(1, 2) for x in batch))
        out = out.flatten(1, 2)
        loss, _, metrics = self._compared(flat, weight, following, chooser, out)
        q = self.value.mean(td.select(out.detach(), flat.action))
        return loss, metrics | {"loss/q": (weight * q).mean(-1)}

    @staticmethod
    @torch.no_grad()
    def _burnt_in(net: QNetwork, obs: Tensor, begins: Tensor) -> Tensor:
        """Return what is remembered behind steps ``[K, T, B]`` before which nothing was."""
        assert net.memory is not None
        k, ticks, b = begins.shape
        zero = torch.zeros(k, b, net.memory.size, device=begins.device)
        return net.recall(obs, zero, begins)[1][:, -1] if ticks else zero

    @staticmethod
    def _behind(net: QNetwork, next_obs: Tensor, states: Tensor) -> Tensor:
        """Return values ``[K, T * B, A, Z]`` of successors, each behind its own step's memory.

        That is so also where an episode was cut and the next step begins anew.
        """
        flat = next_obs.flatten(1, 2).unsqueeze(1)
        return net.recall(flat, states.flatten(1, 2))[0][:, 0]

    def _loss(self, batch: Batch, weight: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the loss ``[K]``, priorities ``[K, B]`` and metrics ``[K]`` of a batch."""
        with torch.no_grad():
            following = self.target(batch.next_obs)  # [K, B, A, Z]
            chooser = following
            if self.config.double != "off":
                chooser = self.online(batch.next_obs)
                self.online.resample()  # the choice has a noise of its own (Fortunato, 3.1)
        return self._compared(batch, weight, following, chooser, self.online(batch.obs, Mode.LEARN))

    def _compared(
        self, batch: Batch, weight: Tensor, following: Tensor, chooser: Tensor, out: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return what ``_loss`` does.

        Args:
            batch, weight: as there.
            following: values of the successors ``[K, B, A, Z]``. chooser: those that choose.
            out: values of the states, with their graph.
        """
        with torch.no_grad():
            legal = self.legality.mask(batch.next_obs)
            best = barred(self.value.mean(chooser), legal).argmax(-1)
            if self.twins == 2:  # each network is valued by the other one
                following = torch.stack([following[1::2], following[0::2]], 1).flatten(0, 1)
            following = td.select(following, best)
            target = self.value.target(batch.reward, batch.discount, following)
            extra = self.value.diagnostics(batch.reward, batch.discount, following)
        predicted = td.select(out, batch.action)
        per_sample, priority = self.value.loss(predicted, target)
        loss = (weight * per_sample).mean(-1)
        metrics = {"loss/value": loss.detach(), "loss/q": self._mean_q(predicted.detach())}
        return loss, priority, metrics | extra

    def _mean_q(self, predicted: Tensor) -> Tensor:
        return self.value.mean(predicted).mean(-1)

    def _toss(self) -> Tensor | None:
        """Return which network of each seed learns, ``[2K]``; None where there is only one."""
        if self.twins == 1:
            return None
        heads = self.coin() < 0.5
        return torch.stack([heads, ~heads], 1).flatten()


def _value_model(config: DQNConfig, device: torch.device) -> ValueModel:
    if config.value == "categorical":
        return Categorical(config.atoms, config.v_min, config.v_max, device)
    if config.value == "quantile":
        return Quantile(config.quantiles, config.kappa)
    return Scalar(td.huber if config.loss == "huber" else td.squared)


def _net_shape(config: DQNConfig, spec: Spec, atoms: int) -> NetShape:
    assert isinstance(spec.action_space, spaces.Discrete)
    legality = Legality.of(spec, config.masks)
    return NetShape(
        obs=legality.space(spec.obs_space).shape,
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
        memory=shape_of(config),
        legality=legality,
    )


def _is_greedy(config: DQNConfig) -> bool:
    """Say whether the behaviour is greedy once learning has started."""
    return config.noisy or config.exploration.kind == "greedy"


def _behaviour(config: DQNConfig, seeds: Sequence[int], actions: int, masked: bool) -> Behaviour:
    if _is_greedy(config) and config.warmup_actions == "policy":
        return Greedy()
    if not _is_greedy(config) and config.exploration.kind == "boltzmann":
        return Boltzmann(seeds, config.lanes)
    return EpsilonGreedy(seeds, config.lanes, actions, masked)
