"""Cross-entropy method over policy parameters, with added noise (Szita and Lorincz 2006).

Parameters are drawn from a normal distribution with independent coordinates, one candidate a lane;
when every lane's episode is over, the distribution becomes the elites' mean and variance, plus
``max(noise - t * noise_decay, 0)``, which keeps it from collapsing too early.

Deviations:
- A candidate is valued by one episode; the evaluated policy is the mean.
- The default noise is for weights of about 1, not the paper's, which was for Tetris.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from gymnasium import spaces
from torch import Tensor

from ..core.agent import Component, Family, Preset, Spec, Step
from ..core.legality import unheeded
from ..core.parts import HasParts
from ..core.torso import obs_scale
from . import streams
from .config import PARAMS_COMPONENTS, PARAMS_FAMILY, PARAMS_PRESETS, CEMParamsConfig
from .elites import elites
from .spaces import refused


class CEMParams(HasParts):
    """A linear policy, or one with a hidden layer, whose weights are searched for."""

    Config: ClassVar[type] = CEMParamsConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = PARAMS_COMPONENTS
    FAMILY: ClassVar[Family] = PARAMS_FAMILY
    PRESETS: ClassVar[Mapping[str, Preset]] = PARAMS_PRESETS
    max_seeds: ClassVar[int | None] = None
    interacts: ClassVar[bool] = True

    POLICY = ("mean",)
    PARTS = ("std", "theta", "returns", "over", "iteration")

    def __init__(
        self, config: CEMParamsConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        self.config, k = config, len(seeds)
        self.inputs = int(torch.tensor(spec.obs_space.shape).prod())
        self.obs_scale = obs_scale(spec.obs_space)
        space = spec.action_space
        self.discrete = isinstance(space, spaces.Discrete)
        if isinstance(space, spaces.Discrete):
            self.outputs = int(space.n) - 1  # only differences matter: action 0's output is 0
        else:
            assert isinstance(space, spaces.Box)
            self.outputs = int(space.shape[0])
            self.low = torch.as_tensor(space.low, device=device)
            self.high = torch.as_tensor(space.high, device=device)
        h = config.hidden
        middle = h or self.inputs
        self.sizes = ([(self.inputs, h)] if h else []) + [(middle, self.outputs)]
        self.dimension = sum((n + 1) * m for n, m in self.sizes)
        self.seeds = tuple(seeds)
        self.mean = torch.zeros(k, self.dimension, device=device)
        self.std = torch.full_like(self.mean, config.std)
        shape = (k, config.lanes)
        self.iteration = torch.zeros(k, dtype=torch.int64, device=device)
        self.theta = self._candidates(torch.ones(k, dtype=torch.bool, device=device))
        self.returns = torch.zeros(shape, device=device)
        self.over = torch.zeros(shape, dtype=torch.bool, device=device)

    @classmethod
    def unsupported(cls, config: CEMParamsConfig, spec: Spec) -> str | None:
        """Say why the task is impossible."""
        return unheeded(spec) or refused(spec.action_space)

    def _candidates(self, due: Tensor) -> Tensor:
        """Draw parameters ``[K, N, D]`` of the seeds that are due."""
        shape = (self.config.lanes, self.dimension)
        noise = streams.draws(self.seeds, "candidates", self.iteration, due, shape, "normal")
        return self.mean[:, None] + self.std[:, None] * noise

    def _policy(self, theta: Tensor, obs: Tensor) -> Tensor:
        """Return the outputs ``[K, N, out]`` of parameters ``[K, N, D]`` for ``obs [K, N, in]``.

        Products are sums over the last axis, whose bits do not depend on K.
        """
        x, begin = obs.flatten(2).float() / self.obs_scale, 0
        for layer, (n, m) in enumerate(self.sizes):
            weight = theta[..., begin : begin + n * m].reshape(*theta.shape[:2], m, n)
            bias = theta[..., begin + n * m : begin + (n + 1) * m]
            x = (weight * x[..., None, :]).sum(-1) + bias
            begin += (n + 1) * m
            if layer < len(self.sizes) - 1:
                x = x.tanh()
        return x

    def act(self, obs: Tensor, explore: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """Act by each lane's candidate ``[K, N]``, or by the mean."""
        theta = self.theta if explore else self.mean[:, None].expand(-1, obs.shape[1], -1)
        out = self._policy(theta, obs)
        if self.discrete:
            return torch.cat([torch.zeros_like(out[..., :1]), out], -1).argmax(-1), {}
        half = (self.high - self.low) / 2
        return self.low + half * (out.tanh() + 1), {}

    def observe(self, step: Step) -> None:
        """Add the rewards to the candidates' returns."""
        self.returns += torch.where(step.valid, step.reward, 0.0)
        self.over |= (step.terminated | step.truncated) & step.valid
        self.due = self.over.all(1)
        self.any_due = bool(self.due.any())

    def update(self) -> dict[str, Tensor] | None:
        """Move the distribution of those seeds whose candidates have all been valued.

        Where all are equal, it stays.
        """
        if not self.any_due:
            return None
        c, due = self.config, self.due
        if c.iterations is not None:  # the distribution stays; candidates are drawn all the same
            due = due & (self.iteration < c.iterations)
        learned = due
        elite = elites(self.returns, c.elite)
        alike = ~elite.any(-1)
        due = due & ~alike
        elite = elite | alike[:, None]
        count = elite.sum(-1, keepdim=True)
        mean = torch.where(elite[..., None], self.theta, 0.0).sum(1) / count
        spread = torch.where(elite[..., None], self.theta - mean[:, None], 0.0)
        variance = spread.square().sum(1) / count
        extra = (c.noise - self.iteration * c.noise_decay).clamp(min=0)[:, None]
        self.mean = torch.where(due[:, None], mean, self.mean)
        self.std = torch.where(due[:, None], (variance + extra).sqrt(), self.std)
        self.iteration = self.iteration + self.due
        self.theta = torch.where(self.due[:, None, None], self._candidates(self.due), self.theta)
        elite_return = torch.where(elite, self.returns, 0.0).sum(-1) / count[:, 0]
        metrics = {
            "loss/std": self.std.mean(-1),
            "loss/elite_return": elite_return,
            "learned": learned,
        }
        self.returns = torch.where(self.due[:, None], 0.0, self.returns)
        self.over = self.over & ~self.due[:, None]
        return metrics
