"""Policy and critic of the policy-gradient agents: networks, acting, normalisation."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..core.agent import Spec
from ..core.distributions import Distribution, action_head
from ..core.learner import Learner
from ..core.legality import Legality
from ..core.normalize import ObservationNormalizer, RewardScaler
from ..core.optim import optimizer_of
from ..core.parts import HasParts
from ..core.policy_value import PolicyShape, PolicyValue
from ..core.recurrent import Memory, MemoryShape
from ..core.rng import Draws, RandomStream
from ..core.rollout import Trajectories
from ..core.schedules import Schedule
from ..core.torso import BARE, Around, obs_scale
from ..formulas import advantages
from .config import PolicyGradientConfig


class Estimates(NamedTuple):
    """A rollout's rows with what the networks that acted say about them."""

    obs: Tensor  # [K, B, *obs], as the networks take them
    action: Tensor  # [K, B] or [K, B, D]
    out: Tensor  # [K, B, P], the policy's output
    v: Tensor  # [K, B]
    advantage: Tensor  # [K, B], generalised advantage estimates
    target: Tensor  # [K, B], of the value


class ActorCritic(HasParts):
    """Policy and critic of K seeds: how they act, what they say of a rollout, how they normalise.

    Observation statistics move once per update, behind it, so that the policy that is learned from
    is, to the bit, the one that acted.

    Args:
        config: the agent's. spec: the task. seeds: the K seeds. device: where to compute.
        values: outputs of the critic: 1 for V, A for Q, 0 for none.
        has_target: whether there is a copy of the networks that stays behind.
        memory: what the networks remember by; None: nothing.
        around: normalisation and dropout of hidden layers; they learn in ``Mode.LEARN``.

    Attributes:
        net: the networks that act and learn, ``learner.online``.
        memory: what they remember of the running episodes; None where they do not.
    """

    POLICY = ("learner", "obs_norm", "reward_norm")
    PARTS = ("noise", "memory")

    def __init__(
        self,
        config: PolicyGradientConfig,
        spec: Spec,
        seeds: Sequence[int],
        device: torch.device,
        values: int = 1,
        has_target: bool = False,
        memory: MemoryShape | None = None,
        around: Around = BARE,
    ) -> None:
        shape = _shape(config, spec, values, memory, around)
        self.config, self.legality = config, shape.legality
        self.head = action_head(spec.action_space, self.legality.used)
        self.learner = Learner(
            lambda name: PolicyValue(shape, seeds),
            optimizer_of(config, jointly=True),
            device,
            shape.members,
            has_target,
        )
        for net in self.learner.networks:
            net.tie()
        self.net = self.learner.online
        self.memory: Memory | None = None
        if (layer := self.net.net.memory) is not None:
            self.memory = Memory(len(seeds), shape.members, config.lanes, layer.size, device)
        kind = "linear" if config.anneal else "constant"
        self.lr = Schedule(kind, config.lr, 0.0, spec.budget)
        width, noise = self.head.noise
        self.noise = RandomStream(seeds, "act", (config.lanes, width), noise, device)
        self.obs_norm = (
            ObservationNormalizer(len(seeds), shape.obs, device) if config.normalize_obs else None
        )
        self.reward_norm = (
            RewardScaler(len(seeds), config.lanes, config.gamma, device)
            if config.normalize_reward
            else None
        )

    @torch.no_grad()
    def act(
        self, obs: Tensor, explore: bool = True, draws: Draws | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Sample actions, or take the likeliest ones; evaluation remembers the critic's values."""
        x = self.normalized(obs)
        if explore and self.memory is None:
            return self.distribution(self.net.policy(x)).sample(self.noise()), {}
        out, values, memo = self._look(x, explore)
        policy = self.distribution(out)
        if explore:
            return policy.sample(self.noise()), memo
        action = policy.mode() if draws is None else policy.sample(draws(*self.head.noise))
        if values.shape[-1] == 0:
            return action, {}
        value = values if values.shape[-1] == 1 else values.gather(-1, action.unsqueeze(-1))
        value = value.squeeze(-1)
        if self.reward_norm is not None:
            value = value * self.reward_norm.scale.unsqueeze(1)
        return action, {"value": value}

    def _look(self, x: Tensor, explore: bool) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return outputs and values ``[K, N, ...]``, and a memo of what is remembered."""
        if self.memory is None:
            return *self.net(x), {}
        before = self.memory.recall(explore, x.shape[1])
        out, values, states = self.net.recall(x.unsqueeze(1), before)
        return out[:, 0], values[:, 0], self.memory.acted(states[:, :, 0], explore)

    def normalized(self, obs: Tensor) -> Tensor:
        """Return observations ``[K, B, *obs]`` as the networks take them."""
        if self.obs_norm is None:
            return obs
        return self.legality.renewed(obs, self.obs_norm(self.legality.plain(obs).float()))

    def distribution(self, out: Tensor) -> Distribution:
        """Return the policy's distribution from its network's output ``[K, B, P]``."""
        return self.head.build(out, self.net.log_std)

    @torch.no_grad()
    def estimate(
        self, data: Trajectories, lambda_: float, start: Tensor | None = None
    ) -> Estimates:
        """Return a full rollout's rows; the statistics of the rewards' scale move.

        Args:
            data: the rollout. lambda_: of GAE.
            start: what was remembered before the rollout's first tick, ``[K, members, N, S]``.
        """
        obs, action = self.normalized(data.obs.flatten(1, 2)), data.action.flatten(1, 2)
        if start is None:
            out, v = self.net(obs)
            v = v.squeeze(-1)
            advantage = self.gae(data, v, lambda_)
        else:
            shaped = obs.view(*data.reward.shape, *obs.shape[2:])
            out, v, states = self.net.recall(shaped, start, data.begins)
            out, v = out.flatten(1, 2), v.flatten(1)
            # a successor follows what its own row remembers, also where the next row begins anew
            successors = self.normalized(data.next_obs.flatten(1, 2)).unsqueeze(1)
            v_next = self.net.recall(successors, states.flatten(2, 3))[1].flatten(1)
            advantage = self._gae(data, v, v_next, lambda_)
        return Estimates(obs, action, out, v, advantage, advantage + v)

    @torch.no_grad()
    def gae(self, data: Trajectories, v: Tensor, lambda_: float) -> Tensor:
        """Return advantages ``[K, B]`` from a rollout's values ``v [K, B]``, as ``estimate``."""
        v_next = self.net.values(self.normalized(data.next_obs.flatten(1, 2)))
        return self._gae(data, v, v_next, lambda_)

    def _gae(self, data: Trajectories, v: Tensor, v_next: Tensor, lambda_: float) -> Tensor:
        v_tm1, v_t = data.timewise(v), data.timewise(v_next)
        reward, discounts = self.rewards(data).transpose(0, 1), data.discounts(self.config.gamma)
        advantage = advantages.gae(reward, v_tm1, v_t, *discounts, lambda_)
        return advantage.transpose(0, 1).flatten(1)

    def rewards(self, data: Trajectories) -> Tensor:
        """Return the rewards to learn from, ``[K, T, N]``; statistics of the scale move."""
        if self.reward_norm is None:
            return data.reward
        return self.reward_norm(data.reward, data.terminated | data.truncated, data.valid)

    def absorb(self, obs: Tensor, valid: Tensor) -> None:
        """Let the observation statistics move by rows ``[K, B, *obs]`` that are ``valid``."""
        if self.obs_norm is not None:
            self.obs_norm.add(self.legality.plain(obs), valid)

    @torch.no_grad()
    def settings(self) -> dict[str, Tensor]:
        """Return the learning rates and, with free deviations, the policies' mean one, ``[K]``."""
        optimizer, members = self.learner.optimizer, self.learner.members
        k = len(self.learner.params) // members
        rates = [optimizer.lr] * k if optimizer.rates is None else optimizer.rates[::members]
        metrics = {"loss/learning_rate": torch.tensor(rates, device=self.learner.params.device)}
        if self.net.log_std is not None:
            metrics["loss/policy_std"] = self.net.log_std.exp().flatten(1).mean(-1)
        return metrics

    def anneal(self, step: int | Sequence[int]) -> None:
        """Set the learning rate of environment step ``step``, or of a step of each seed."""
        optimizer = self.learner.optimizer
        if isinstance(step, int):
            optimizer.lr = self.lr(step)
        else:
            optimizer.rates = [self.lr(own) for own in step for _ in range(self.learner.members)]


def _shape(
    config: PolicyGradientConfig,
    spec: Spec,
    values: int,
    memory: MemoryShape | None,
    around: Around,
) -> PolicyShape:
    head, legality = action_head(spec.action_space), Legality.of(spec, config.masks)
    return PolicyShape(
        obs=legality.space(spec.obs_space).shape,
        outputs=head.outputs,
        values=values,
        free_std=head.free_std,
        hidden=tuple(config.hidden),
        conv=tuple((c, kernel, stride) for c, kernel, stride in config.conv),
        activation=config.activation,
        obs_scale=1.0 if config.normalize_obs else obs_scale(spec.obs_space),
        shared=config.shared,
        orthogonal=config.orthogonal,
        log_std=config.log_std,
        memory=memory,
        legality=legality,
        around=around,
    )
