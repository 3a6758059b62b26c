"""Dynamic programming as an agent that needs no experience: it plans on the model it is given.

Policy evaluation, policy iteration, value iteration with V and with Q (Bellman 1957; Howard 1960;
Sutton and Barto, chapter 4). With ``horizon``, the values are those of an episode that ends after
so many steps.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from gymnasium import spaces
from torch import Tensor

from ..core.agent import GREEDY, Component, Preset, Spec, State, Step
from ..core.mdp import MDP, MODEL, picture, tensors
from ..core.oracle import Oracle
from ..core.parts import HasParts
from ..core.states import StateIndex, not_tabular
from ..formulas.dynamic_programming import Model, barred, ending
from .config import PRESETS, PlanningConfig
from .methods import CLEARLY, Method, PolicyEvaluation, PolicyIteration, QIteration, ValueIteration


class Planner(HasParts):
    """Sweeps over the states of a known model; see ``PlanningConfig``."""

    Config: ClassVar[type] = PlanningConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = ()
    PRESETS: ClassVar[Mapping[str, Preset]] = PRESETS
    max_seeds: ClassVar[int | None] = None
    interacts: ClassVar[bool] = False

    POLICY = ("q",)
    PARTS = ("method", "spent")

    def __init__(
        self, config: PlanningConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        self.config, self.index = config, StateIndex(spec, device)
        self.model: MDP = spec.extras[MODEL]
        self.branches = branches = tensors(self.model, config.gamma, device)
        self.method = _method(config, self.model, branches, len(seeds))
        endless = self.model if config.horizon is None else None
        self.oracle = Oracle(endless, config.gamma, config.method == "policy_evaluation")
        shape = (len(seeds), self.model.states, self.model.actions)
        self.q = barred(torch.zeros(shape, dtype=torch.float64, device=device), branches)
        self.residuals: list[Tensor] = []
        self.budget, self.spent = spec.budget, 0
        self._states = self._shown(device)
        self._best: Tensor | None = None  # actions of q

    @classmethod
    def unsupported(cls, config: PlanningConfig, spec: Spec) -> str | None:
        """Say why the task is impossible: there is nothing to plan on."""
        if not isinstance(spec.action_space, spaces.Discrete):
            return f"it needs discrete actions, the environment has {spec.action_space}"
        if reason := not_tabular(spec):
            return reason
        if MODEL not in spec.extras:
            return "it needs a model, the environment has no table P of transitions"
        if spec.legal and spec.extras[MODEL].legal is None:
            return "the model does not say which actions are legal: leave env.masks at false"
        return None

    @classmethod
    def valued(cls, config: PlanningConfig) -> str | None:
        """Greedy, unless the values are of the uniform policy or of a limited horizon."""
        plain = config.method != "policy_evaluation" and config.horizon is None
        return GREEDY if plain else None

    def _shown(self, device: torch.device) -> Tensor:
        """Return, for every observation, the first state that shows it."""
        count = self.index.states
        states = torch.arange(count, device=device)
        if self.model.observation is not None:
            shows = torch.as_tensor(self.model.observation, device=device)
            order = torch.arange(self.model.states, device=device)
            states = states.scatter_reduce(0, shows, order, "amin", include_self=True)
        return states

    def act(self, obs: Tensor, explore: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """Choose the best actions ``[K, N]``; among equals, one that leads to an episode's end."""
        if self._best is None:
            self._best = ending(self.q, self.branches, CLEARLY)
        at = self._states[self.index(obs)]
        seed = torch.arange(len(self.q), device=self.q.device)[:, None]
        return self._best[seed, at], {"value": self.q[seed, at].amax(-1)}

    def observe(self, step: Step) -> None:
        """Learn nothing from experience."""

    def update(self) -> dict[str, Tensor]:
        """Make one sweep; ``consumed`` counts the states backed up, at most what the budget has."""
        over = self.config.horizon is not None and len(self.residuals) >= self.config.horizon
        if over:
            residual = torch.zeros_like(self.residuals[-1])
        else:
            self.q, residual = self.method.sweep(self.q)
            self._best = None
            self.residuals.append(residual)
        consumed = min(self.model.states, self.budget - self.spent)  # the last sweep is whole too
        self.spent += consumed
        error = self.oracle.errors(self.method.value(self.q))
        return {
            "consumed": torch.full_like(residual, consumed),
            "loss/residual": residual,
            "plan/converged": self.converged.to(residual.dtype),
            **{name: x.to(residual.device) for name, x in error.items()},
        }

    @property
    def converged(self) -> Tensor:
        """Whether the last sweep left the values where they were, or was the horizon's, ``[K]``.

        Of policy iteration, whether it left the policy as it was.
        """
        if self.config.horizon is not None:
            whole = len(self.residuals) >= self.config.horizon
            return torch.full_like(self.residuals[-1], whole, dtype=torch.bool)
        if isinstance(self.method, PolicyIteration):
            return self.method.stable
        largest = self.method.value(self.q).abs().amax(-1).clamp(min=1)
        return self.residuals[-1] <= self.config.tolerance * largest

    def remarks(self) -> list[str | None]:
        """Say of each seed that has not converged what the last sweep did."""
        ends = zip(self.converged.tolist(), self.residuals[-1].tolist(), strict=True)
        says = "not converged: the last sweep of the budget"
        if isinstance(self.method, PolicyIteration):
            return [None if done else f"{says} improved the policy" for done, _ in ends]
        return [None if done else f"{says} moved a value by {moved:.3g}" for done, moved in ends]

    def arrays(self) -> dict[str, Tensor]:
        """Return the action values ``[K, S, A]`` and the residual of each sweep ``[K, sweeps]``."""
        residuals = torch.stack(self.residuals, 1)
        return {"q": self.q, "residuals": residuals} | picture(self.model, len(self.q))

    def state(self) -> State:
        """Return the parts and, as one tensor ``[K, sweeps]``, the residuals."""
        residuals = torch.stack(self.residuals, 1) if self.residuals else self.q[:, 0, :0]
        return super().state() | {"residuals": residuals}

    def load(self, state: State) -> None:
        """Continue from a state; from its "policy" alone, only acting works."""
        super().load(state)
        self._best = None
        if "residuals" in state:
            self.residuals = list(state["residuals"].to(self.q.device).unbind(1))


def _method(config: PlanningConfig, model: MDP, branches: Model, k: int) -> Method:
    uniform = torch.as_tensor(model.uniform, device=branches.p.device)
    if config.method == "policy_iteration":
        return PolicyIteration(branches, k, uniform)
    if config.method == "policy_evaluation":
        return PolicyEvaluation(branches, k, uniform)
    plain: dict[str, type[ValueIteration] | type[QIteration]] = {
        "value_iteration": ValueIteration,
        "q_iteration": QIteration,
    }
    return plain[config.method](branches, k)
