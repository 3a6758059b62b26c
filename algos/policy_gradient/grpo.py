"""Group relative policy optimisation (DeepSeekMath, Shao et al. 2024) on control tasks.

A group is one episode of every lane of a seed, all from the same start state, as G answers to one
question. The reward of an episode less the group's mean, over the group's standard deviation, is
the advantage of each of its steps; there is no critic. The loss is PPO's clipped ratio with the k3
estimate of the KL to a frozen reference policy, averaged over an episode's steps and then over
episodes (equation 3).

Deviations from the paper:
- Outcome supervision only; an episode's reward is its (discounted, if gamma < 1) return.
- The reference is the policy at the start, and with ``reference_every`` that of some updates ago.
- A time limit is part of the task: without a critic nothing stands for what follows.
- A group of equal rewards has advantages of 0; the paper does not say. Nor does it say whether its
  deviation is the population's or the sample's: ``std``.
- When a seed learns is decided by its episodes, so this agent asks the host once a tick.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..core import legality
from ..core.agent import Component, Family, Preset, Spec
from ..core.rollout import Episodes, Trajectories, chunks
from ..core.settings import setting
from ..formulas import advantages, policy
from .agent import PolicyGradientAgent
from .config import PolicyGradientConfig


@dataclass
class GRPOConfig(PolicyGradientConfig):
    """Every setting of the agent."""

    agent: str = "grpo"
    name: str = "grpo"
    label: str = "GRPO"
    lanes: int = setting(
        8, "parallel environments per seed (`num_envs` elsewhere): G, a group's episodes", ge=2
    )
    reset: str = setting(
        "shared",
        "a group's episodes begin together, from one start state",
        choices=("shared",),
    )
    gamma: float = 1.0
    lr: float = 1e-3

    groups: int = setting(1, "groups in an update", ge=1)
    epochs: int = setting(4, "steps on the groups of an update", ge=1)
    clip: float = setting(0.2, "how far the ratio may be from 1", gt=0)
    normalize_group: bool = setting(True, "divide by the group's standard deviation")
    std: str = setting(
        "population",
        "that deviation: population divides by G, sample by G - 1",
        choices=("population", "sample"),
    )
    normalize_length: bool = setting(True, "average over an episode's steps; false: sum over them")
    kl_coef: float = setting(0.04, "beta, weight of the KL to the reference", ge=0)
    reference_every: int = setting(
        0, "updates between copies of the policy into the reference; 0: never", ge=0
    )

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        if self.normalize_reward:
            raise ValueError("normalize_reward=true has no meaning: groups normalise rewards")


COMPONENTS = (
    Component(
        "group deviation",
        "Shao et al. 2024",
        on={"normalize_group": True},
        off={"normalize_group": False},
    ),
    Component(
        "length normalisation",
        "Shao et al. 2024",
        on={"normalize_length": True},
        off={"normalize_length": False},
    ),
    Component("reference policy", "Shao et al. 2024", on={"kl_coef": 0.04}, off={"kl_coef": 0.0}),
    Component(
        "epochs", "Schulman et al. 2017", on={"epochs": 4}, off={"epochs": 1}, foundation=True
    ),
    legality.COMPONENT,
)

FAMILY = Family(
    base=None,
    full="grpo",
    parts=("group deviation", "length normalisation", "reference policy"),
)

PRESETS = {
    "grpo": Preset(
        "groups of episodes from one start state, no critic; sizes for a laptop",
        "Shao et al. 2024",
    ),
}


class Chunk(NamedTuple):
    """Rows of one shape to learn from, ``B`` = ticks x lanes."""

    obs: Tensor  # [K, B, *obs], normalised
    action: Tensor
    valid: Tensor  # [K, B]
    advantage: Tensor
    weight: Tensor  # of a row in the mean over steps and episodes
    old_log_prob: Tensor
    ref_log_prob: Tensor


class GRPO(PolicyGradientAgent):
    """The agent; see ``GRPOConfig`` for its parts."""

    Config: ClassVar[type] = GRPOConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = COMPONENTS
    FAMILY: ClassVar[Family] = FAMILY
    PRESETS: ClassVar[Mapping[str, Preset]] = PRESETS
    Storage: ClassVar[type[Episodes]] = Episodes
    PARTS = (*PolicyGradientAgent.PARTS, "updates")

    config: GRPOConfig
    experience: Episodes

    def __init__(
        self, config: GRPOConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        super().__init__(config, spec, seeds, device, config.groups, values=0, has_target=True)
        self.reference = self.learner.target
        self.updates = torch.zeros(len(seeds), dtype=torch.int64, device=device)

    def _learn(self, data: Trajectories) -> dict[str, Tensor]:
        """Let the seeds learn whose groups are complete."""
        ready, optimizer = self.experience.ready, self.learner.optimizer
        samples = [self._chunk(rows) for rows in self._rows(data)]
        for _ in range(self.config.epochs):
            total: dict[str, Tensor] = {}
            for i, chunk in enumerate(samples):
                loss, metrics = self._loss(chunk)
                optimizer.backward(loss, accumulate=i > 0)
                total = {name: total.get(name, 0) + x for name, x in metrics.items()}
            total["loss/grad_norm"] = optimizer.step(ready)
        self._count(ready)
        return total | {"learned": ready}

    @torch.no_grad()
    def _rows(self, data: Trajectories) -> list[tuple[Tensor, ...]]:
        """Return chunks of observations, actions, validity, advantages and weights."""
        c, valid = self.config, data.valid
        _, carry = data.discounts(c.gamma)
        _, count = data.discounts(1.0)
        nothing, one = torch.zeros_like(carry), valid.float().transpose(0, 1)
        reward = torch.where(valid, data.reward, 0.0).transpose(0, 1)
        score = self._per_group(advantages.returns(reward, nothing, nothing, carry))
        length = self._per_group(advantages.returns(one, nothing, nothing, count))
        advantage = advantages.group_advantages(score, c.std if c.normalize_group else None)
        weight = 1 / length.clamp(min=1) if c.normalize_length else torch.ones_like(length)
        group = self.experience.set[:, : valid.shape[1]]
        index = group.unsqueeze(2).expand(-1, -1, c.lanes)
        per_row = (x.gather(1, index) * valid for x in (advantage, weight))
        rows = (data.obs, data.action, valid, *per_row)
        return list(zip(*map(chunks, rows), strict=True))

    def _per_group(self, to_go: Tensor) -> Tensor:
        """Return what ``to_go [T, K, N]`` is at each group's first tick, ``[K, groups, N]``.

        A seed that is not ready counts nothing, and its groups may begin behind T.
        """
        episodes = self.experience
        start = torch.where(episodes.ready.unsqueeze(1), episodes.start, 0)
        index = start.unsqueeze(2).expand(-1, -1, to_go.shape[2])
        return to_go.transpose(0, 1).gather(1, index)

    @torch.no_grad()
    def _chunk(self, rows: tuple[Tensor, ...]) -> Chunk:
        obs, action, valid, advantage, weight = rows
        ac, ref = self.actor_critic, self.reference
        x = ac.normalized(obs)
        old = ac.distribution(ac.net(x)[0]).log_prob(action)
        reference = ac.head.build(ref(x)[0], ref.log_std).log_prob(action)
        return Chunk(x, action, valid, advantage, weight, old, reference)

    def _loss(self, chunk: Chunk) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a chunk's part of the loss ``[K]`` and of the metrics ``[K]``."""
        c, rows = self.config, self.config.lanes * self.config.groups
        now = self.actor_critic.distribution(self.actor_critic.net(chunk.obs)[0])
        log_prob = now.log_prob(chunk.action)
        # rows that do not count hold what was there before: no ratio may overflow on them
        log_ratio = torch.where(chunk.valid, log_prob - chunk.old_log_prob, 0.0)
        to_ref = torch.where(chunk.valid, chunk.ref_log_prob - log_prob, 0.0)
        gain = policy.clipped_surrogate(log_ratio, chunk.advantage, c.clip)
        parts = {
            "loss/policy": (chunk.weight * gain).sum(-1) / rows,
            "loss/reference_kl": (chunk.weight * policy.k3(to_ref)).sum(-1) / rows,
            "loss/entropy": (chunk.weight * now.entropy()).sum(-1) / rows,
        }
        loss = parts["loss/policy"] + c.kl_coef * parts["loss/reference_kl"]
        loss = loss - c.entropy * parts["loss/entropy"]
        return loss, {name: x.detach() for name, x in parts.items()}

    @torch.no_grad()
    def _count(self, ready: Tensor) -> None:
        """Count the updates of the seeds that made one, and renew their references if due."""
        self.updates += ready
        if self.config.reference_every:
            due = ready & (self.updates % self.config.reference_every == 0)
            ours, theirs = self.learner.target_params, self.learner.params
            ours.copy_(torch.where(due.unsqueeze(1), theirs, ours))
