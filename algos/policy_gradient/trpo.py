"""Trust-region policy optimisation (Schulman et al. 2015): the natural gradient, held by a KL.

The step ``x`` solves ``F x = g`` by conjugate gradient, is scaled to the KL that is allowed, and is
shortened until the surrogate has improved within it. All seeds make the same number of products and
of trials; which of them accept, and at which trial, is a mask.

Deviations from the paper:
- Advantages are generalised (Schulman et al. 2016) and standardised over the rollout.
- The critic is a network of its own, trained by minibatches with Adam, as in sb3-contrib.
- A truncated episode bootstraps from its true last observation.
- The Fisher product takes all rows of the rollout.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..core import legality
from ..core.agent import Component, Family, Preset, Spec
from ..core.rng import RandomStream
from ..core.rollout import Trajectories, reordered
from ..core.settings import setting
from ..formulas import advantages, policy, td
from .actor_critic import Estimates
from .agent import PolicyGradientAgent
from .config import PolicyGradientConfig, check_batches


@dataclass
class TRPOConfig(PolicyGradientConfig):
    """sb3-contrib's defaults, with rollouts for a laptop; ``lr`` is the critic's."""

    agent: str = "trpo"
    name: str = "trpo"
    label: str = "TRPO"
    lr: float = 1e-3
    grad_clip: float | None = None

    rollout: int = setting(256, "ticks between updates (`n_steps` elsewhere)", ge=1)
    gae_lambda: float = setting(0.95, "lambda of GAE; 1: n-step returns", ge=0, le=1)
    normalize_advantage: bool = setting(True, "over the rollout")
    max_kl: float = setting(0.01, "delta, the mean KL that a step may lead to", gt=0)
    cg_iterations: int = setting(15, "products of the conjugate gradient", ge=1)
    damping: float = setting(0.1, "added to the Fisher matrix's diagonal", ge=0)
    line_search: int = setting(10, "trials of the line search; 0: take the full step", ge=0)
    shrink: float = setting(0.8, "factor of the step from one trial to the next", gt=0, lt=1)
    critic_epochs: int = setting(10, "the critic's passes over the rollout", ge=0)
    batch_size: int = setting(
        128, "rows of the critic's minibatch; must divide rollout * lanes", ge=1
    )

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        check_batches(self.batch_size, self.rollout, self.lanes)
        if self.shared:
            raise ValueError("shared=true: the trust region needs a policy network of its own")


COMPONENTS = (
    Component(
        "natural gradient",
        "Kakade 2001",
        on={"cg_iterations": 15},
        off={"cg_iterations": 1},  # one product: the plain gradient's direction
    ),
    Component(
        "line search",
        "Schulman et al. 2015",
        on={"line_search": 10},
        off={"line_search": 0},  # the full step
    ),
    Component("GAE", "Schulman et al. 2016", on={"gae_lambda": 0.95}, off={"gae_lambda": 1.0}),
    Component(
        "advantage normalisation",
        "Huang et al. 2022",
        on={"normalize_advantage": True},
        off={"normalize_advantage": False},
        foundation=True,
    ),
    legality.COMPONENT,
)

FAMILY = Family(base=None, full="trpo", parts=("natural gradient", "line search", "GAE"))

PRESETS = {
    "trpo": Preset(
        "the natural gradient within a KL, at sb3-contrib's settings", "Schulman et al. 2015"
    ),
}


class TRPO(PolicyGradientAgent):
    """The agent; see ``TRPOConfig`` for its parts."""

    Config: ClassVar[type] = TRPOConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = COMPONENTS
    FAMILY: ClassVar[Family] = FAMILY
    PRESETS: ClassVar[Mapping[str, Preset]] = PRESETS
    PARTS = (*PolicyGradientAgent.PARTS, "order")

    config: TRPOConfig

    def __init__(
        self, config: TRPOConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        super().__init__(config, spec, seeds, device, config.rollout)
        self.order = RandomStream(seeds, "order", (config.rollout * config.lanes,), device=device)
        self.critics = torch.tensor([False, True] * self.k, device=device)

    def _learn(self, data: Trajectories) -> dict[str, Tensor]:
        """Make one step of the policy, and several epochs of the critic, on a rollout."""
        rows = self.actor_critic.estimate(data, self.config.gae_lambda)
        metrics = self._improve(rows)
        metrics["loss/explained_variance"] = advantages.explained_variance(rows.v, rows.target)
        return metrics | {"loss/value": self._fit(rows)}

    def _improve(self, rows: Estimates) -> dict[str, Tensor]:
        """Make one step of every seed's policy."""
        c = self.config
        surrogate, kl = self._objectives(rows)
        before = surrogate()
        gradient, product = self._gradient(before), self._fisher_product(kl())
        x = policy.conjugate_gradient(product, -gradient, c.cg_iterations)
        curvature = (x * product(x)).sum(-1, keepdim=True)
        live = curvature > 0
        scale = (2 * c.max_kl / torch.where(live, curvature, 1.0)).sqrt()
        step = torch.where(live, scale * x, 0.0)
        mine = self.learner.params[0::2]
        old, accepted = mine.clone(), torch.zeros(self.k, dtype=torch.bool, device=mine.device)
        best, share = old.clone(), 1.0
        with torch.no_grad():
            for _ in range(max(c.line_search, 1)):
                mine.copy_(old + share * step)
                fits = (surrogate() < before) & (kl() <= c.max_kl)
                new = (fits | (c.line_search == 0)) & ~accepted
                best = torch.where(new.unsqueeze(1), mine, best)
                accepted, share = accepted | new, share * c.shrink
            mine.copy_(best)
            return {
                "loss/policy": before.detach(),
                "loss/improvement": before - surrogate(),
                "loss/kl": kl(),
                "loss/accepted": accepted.float(),
                "loss/grad_norm": torch.linalg.vector_norm(gradient, dim=1),
            }

    def _objectives(self, rows: Estimates) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
        """Return the surrogate loss and the mean KL from the old policy, of the parameters now."""
        c, ac = self.config, self.actor_critic
        std = ac.net.log_std
        old = ac.head.build(rows.out, None if std is None else std.detach().clone())
        old_log_prob = old.log_prob(rows.action)
        advantage = rows.advantage
        if c.normalize_advantage:
            advantage = advantages.standardise(advantage)

        def surrogate() -> Tensor:
            new = ac.distribution(ac.net(rows.obs)[0])
            gain = policy.surrogate(new.log_prob(rows.action) - old_log_prob, advantage)
            return gain.mean(-1) - c.entropy * new.entropy().mean(-1)

        def kl() -> Tensor:
            new = ac.distribution(ac.net(rows.obs)[0])
            return old.kl(new).mean(-1)  # type: ignore[arg-type]

        return surrogate, kl

    def _gradient(self, loss: Tensor, keep: bool = False) -> Tensor:
        """Return the gradients of ``loss [K]`` by the policies' parameters, ``[K, D]``."""
        params = self.learner.weights.flat
        grads = torch.autograd.grad(
            loss.sum(), params.parameters, retain_graph=keep, materialize_grads=True
        )
        flat = torch.zeros_like(params.data)
        for view, grad in zip(params.views(flat), grads, strict=True):
            view.copy_(grad)
        return flat[0::2]

    def _fisher_product(self, kl: Tensor) -> Callable[[Tensor], Tensor]:
        """Return ``v -> (F + damping I) v`` for ``v [K, D]``; F is the Hessian of ``kl [K]``."""
        params = self.learner.weights.flat
        slope = torch.autograd.grad(kl.sum(), params.parameters, create_graph=True)

        def product(v: Tensor) -> Tensor:
            both = torch.zeros_like(params.data)
            both[0::2] = v
            along = zip(slope, params.views(both), strict=True)
            derivative = torch.stack([(g * x).sum() for g, x in along])
            return self._gradient(derivative, keep=True) + self.config.damping * v

        return product

    def _fit(self, rows: Estimates) -> Tensor:
        """Train the critics on the rollout; returns the mean loss ``[K]``."""
        c, losses = self.config, []
        for _ in range(c.critic_epochs):
            order = self.order().argsort(-1)
            shuffled = (reordered(x, order) for x in (rows.obs, rows.target))
            batches = (torch.split(x, c.batch_size, 1) for x in shuffled)
            for obs, target in zip(*batches, strict=True):
                values = self.actor_critic.net(obs)[1].squeeze(-1)
                loss = td.squared(values - target).mean(-1)
                self.learner.step(loss, self.critics)
                losses.append(loss.detach())
        return torch.stack(losses, -1).mean(-1) if losses else torch.zeros_like(rows.v[:, 0])
