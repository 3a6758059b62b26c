"""REINFORCE (Williams 1992): the policy gradient from whole episodes, with three estimators.

``return`` weighs every step by the return of its whole episode, ``to_go`` by the return from that
step on, ``baseline`` by that less a learned value. All have the gradient of the discounted
objective as their mean if the last two carry ``gamma^t`` (``discount_steps: true``). Without it, as
deep agents have it and as is the default here, they are not the gradient of any objective (Nota and
Thomas 2020).

Deviations from the paper:
- The gradient is averaged over the episodes of a set (one per lane) and given to Adam.
- With a baseline, a truncated episode's return goes on with the value of its true last observation;
  the other estimators have no value, and take the time limit for a part of the task.
- When a seed learns is decided by its episodes, so this agent asks the host once a tick.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..core import legality
from ..core.agent import Component, Family, Preset, Spec
from ..core.rollout import Episodes, Trajectories, chunked_sum, chunks
from ..core.settings import setting
from ..formulas import advantages, policy, td
from .agent import PolicyGradientAgent
from .config import PolicyGradientConfig

ESTIMATORS = ("return", "to_go", "baseline")


@dataclass
class ReinforceConfig(PolicyGradientConfig):
    """Every setting of a plain deep REINFORCE."""

    agent: str = "reinforce"
    name: str = "reinforce"
    label: str = "REINFORCE"
    lanes: int = setting(
        8, "parallel environments per seed (`num_envs` elsewhere): episodes per update", ge=1
    )
    reset: str = setting(
        "wait", "a lane waits until the episodes of all have ended", choices=("wait",)
    )
    lr: float = 1e-3
    grad_clip: float | None = None

    estimator: str = setting(
        "to_go",
        "weight of a step: the whole episode's return, that from the step on, or less a baseline",
        choices=ESTIMATORS,
    )
    discount_steps: bool = setting(
        False, "weigh steps by gamma^t: the exact gradient of the discounted objective"
    )
    normalize_advantage: bool = setting(False, "over the episodes of an update")
    value_coef: float = setting(
        0.5, "weight of half the value's squared error (estimator=baseline)", ge=0
    )

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        if self.normalize_reward:
            raise ValueError("normalize_reward=true needs rollouts; use normalize_advantage")


COMPONENTS = (
    Component(
        "baseline",
        "Williams 1992",
        on={"estimator": "baseline"},
        off={"estimator": "to_go"},
    ),
    Component(
        "advantage normalisation",
        "Huang et al. 2022",
        on={"normalize_advantage": True},
        off={"normalize_advantage": False},
    ),
    Component(
        "reward-to-go",
        "Williams 1992",
        on={"estimator": "to_go"},
        off={"estimator": "return"},
        foundation=True,
    ),
    Component(
        "discounted steps",
        "Sutton et al. 2000",
        on={"discount_steps": True},
        off={"discount_steps": False},
        foundation=True,
    ),
    Component(
        "entropy bonus",
        "Mnih et al. 2016",
        on={"entropy": 0.01},
        off={"entropy": 0.0},
        foundation=True,
    ),
    legality.COMPONENT,
)

FAMILY = Family(
    base="reinforce",
    full="reinforce_baseline",
    parts=("baseline", "advantage normalisation"),
)

PRESETS = {
    "reinforce": Preset("rewards-to-go of whole episodes, no baseline", "Williams 1992"),
    "reinforce_baseline": Preset("a learned value as the baseline", "Williams 1992, section 4"),
}


class Reinforce(PolicyGradientAgent):
    """The agent; see ``ReinforceConfig`` for its parts."""

    Config: ClassVar[type] = ReinforceConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = COMPONENTS
    FAMILY: ClassVar[Family] = FAMILY
    PRESETS: ClassVar[Mapping[str, Preset]] = PRESETS
    Storage: ClassVar[type[Episodes]] = Episodes

    config: ReinforceConfig
    experience: Episodes

    def __init__(
        self, config: ReinforceConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        super().__init__(config, spec, seeds, device, 1, int(config.estimator == "baseline"))

    def _learn(self, data: Trajectories) -> dict[str, Tensor]:
        """Make one step of the seeds that are ready."""
        c, ac, optimizer = self.config, self.actor_critic, self.learner.optimizer
        target, advantage, weight = self._weights(data)
        count = chunked_sum(data.valid.float()).clamp(min=1)
        total = {name: torch.zeros_like(count) for name in ("policy", "value", "entropy")}
        predicted: list[Tensor] = []
        rows = (data.obs, data.action, advantage, weight, target, data.valid.float())
        for i, (obs, action, a, w, y, valid) in enumerate(zip(*map(chunks, rows), strict=True)):
            out, values = ac.net(ac.normalized(obs))
            pi = ac.distribution(out)
            # sums over the steps of an episode, means over the episodes
            losses = {
                "policy": (w * policy.policy_gradient(pi.log_prob(action), a)).sum(-1) / c.lanes,
                "entropy": (valid * pi.entropy()).sum(-1) / c.lanes,
            }
            loss = losses["policy"] - c.entropy * losses["entropy"]
            if c.estimator == "baseline":
                error = td.squared(values.squeeze(-1) - y)
                predicted.append(values.detach().squeeze(-1))
                losses["value"] = (valid * error).sum(-1) / count
                loss = loss + c.value_coef * losses["value"]
            optimizer.backward(loss, accumulate=i > 0)
            for name, x in losses.items():
                total[name] = total[name] + x.detach()
        ready = self.experience.ready
        norm = optimizer.step(ready.repeat_interleave(self.learner.members))
        total["entropy"] = total["entropy"] * c.lanes / count
        metrics = {f"loss/{name}": x for name, x in total.items()}
        if predicted:
            v, valid = torch.cat(predicted, 1).view_as(target), data.valid.float()
            metrics["loss/explained_variance"] = advantages.explained_variance(
                v, target, valid, lambda x: chunked_sum(x)[:, None, None]
            )
        return metrics | {"loss/grad_norm": norm, "learned": ready}

    @torch.no_grad()
    def _weights(self, data: Trajectories) -> tuple[Tensor, Tensor, Tensor]:
        """Return value targets, advantages and the weights of steps, each ``[K, T, N]``."""
        c, ac = self.config, self.actor_critic
        discount, carry = data.discounts(c.gamma)
        reward = torch.where(data.valid, data.reward, 0.0).transpose(0, 1)
        v = v_next = torch.zeros_like(data.reward)
        if c.estimator == "baseline":
            v, v_next = (
                torch.cat([ac.net.values(ac.normalized(x)) for x in chunks(obs)], 1).view(v.shape)
                for obs in (data.obs, data.next_obs)
            )
        target = advantages.returns(reward, v_next.transpose(0, 1), discount, carry)
        weight = data.valid.float()
        if c.estimator == "return":
            advantage = target[:1].expand_as(target).transpose(0, 1)
        else:
            advantage = target.transpose(0, 1) - v
            if c.discount_steps:
                weight = weight * c.gamma ** advantages.age(carry).transpose(0, 1)
        if c.normalize_advantage:
            advantage = self._standardised(advantage, data.valid.float())
        return target.transpose(0, 1), advantage, weight

    def _standardised(self, x: Tensor, valid: Tensor) -> Tensor:
        """Return ``x [K, T, N]`` standardised over the rows that count; equal ones are 0."""
        count = chunked_sum(valid)
        centred = x - (chunked_sum(x * valid) / count.clamp(min=1))[:, None, None]
        lowest = torch.where(valid > 0, x, torch.inf).amin((1, 2), keepdim=True)
        highest = torch.where(valid > 0, x, -torch.inf).amax((1, 2), keepdim=True)
        centred = torch.where(lowest < highest, centred, 0.0)
        variance = chunked_sum(centred.square() * valid) / (count - 1).clamp(min=1)
        return centred / (variance.sqrt() + 1e-8)[:, None, None]
