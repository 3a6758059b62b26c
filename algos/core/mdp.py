"""The tabular model of a Markov decision process, as ``Spec.extras["model"]`` carries it.

Shape letters: S states, A actions, B branches (outcomes) of a state and action.

A reward may have any of three forms: r(s, a), r(s, a, s') and p(r | s, a, s'). All are branches: in
the third form several branches share a successor, or a branch's reward is normal around its mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..formulas.dynamic_programming import Model

MODEL = "model"  # key of Spec.extras
_TOLERANCE = 1e-9  # of a sum of probabilities


@dataclass(frozen=True, eq=False)
class MDP:
    """Every outcome of every state and action; padding branches have probability zero.

    Raises:
        ValueError: shapes that disagree, an invalid distribution, a successor that is no state, a
            state to act from without a legal action; one line that names the state and the action.
    """

    probability: np.ndarray  # [S, A, B] float64
    successor: np.ndarray  # [S, A, B] int64
    reward: np.ndarray  # [S, A, B] float64, the mean
    terminal: np.ndarray  # [S, A, B] bool: the episode ends with this branch
    start: np.ndarray  # [S] float64
    reward_std: np.ndarray | None = None  # [S, A, B]; None = every branch pays its mean
    factors: tuple[int, ...] = ()  # sizes of an observation's one-hot blocks; () = (S,)
    observation: np.ndarray | None = None  # [S], which observation a state shows; None = its own
    # [S, A] bool, actions that a policy may choose; None = all. A state where no episode acts needs
    # none: nothing is chosen there, and all count as legal.
    legal: np.ndarray | None = None
    grid: tuple[int, int] | None = None  # rows, columns, where states are cells in reading order
    moves: tuple[tuple[int, int], ...] = ()  # (rows, columns) that an action moves on the grid

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", tuple(self.factors) or (self.states,))
        _check(self)
        if self.legal is not None:
            object.__setattr__(self, "legal", _filled(self))

    @property
    def states(self) -> int:
        """Number of states S."""
        return int(self.probability.shape[0])

    @property
    def actions(self) -> int:
        """Number of actions A."""
        return int(self.probability.shape[1])

    @property
    def expected_reward(self) -> np.ndarray:
        """Return r(s, a), ``[S, A]``."""
        mean: np.ndarray = (self.probability * self.reward).sum(-1)
        return mean

    @property
    def uniform(self) -> np.ndarray:
        """Return the uniform policy over the legal actions, ``[S, A]``."""
        legal = np.ones((self.states, self.actions)) if self.legal is None else self.legal
        policy: np.ndarray = legal / legal.sum(1, keepdims=True)
        return policy

    def reachable(self) -> np.ndarray:
        """Return which states an episode can be in and act from, ``[S]`` bool."""
        reach = self.start > 0
        lives = (self.probability > 0) & ~self.terminal
        while True:
            following = np.zeros(self.states, bool)
            following[self.successor[reach][lives[reach]]] = True
            if not (following & ~reach).any():
                return reach
            reach = reach | following


def _check(model: MDP) -> None:
    shape = model.probability.shape
    if len(shape) != 3 or model.start.shape != shape[:1]:
        raise ValueError(f"a model needs probabilities [S, A, B] and starts [S], got {shape}")
    for name in ("successor", "reward", "terminal", "reward_std"):
        array = getattr(model, name)
        if array is not None and array.shape != shape:
            raise ValueError(f"{name} has the shape {array.shape}, the probabilities {shape}")
    if model.observation is None and int(np.prod(model.factors)) != shape[0]:
        raise ValueError(f"the factors {model.factors} do not multiply to {shape[0]} states")
    checks = (
        (~np.isfinite(model.probability) | (model.probability < 0), "a probability below 0 or nan"),
        ((model.successor < 0) | (model.successor >= shape[0]), "a successor that is no state"),
        (~np.isfinite(model.reward), "a reward that is not finite"),
    )
    for wrong, what in checks:
        if wrong.any():
            s, a = np.argwhere(wrong)[0][:2]
            raise ValueError(f"state {s}, action {a} has {what}")
    total = model.probability.sum(-1)
    if (wrong := np.abs(total - 1) > _TOLERANCE).any():
        s, a = np.argwhere(wrong)[0]
        raise ValueError(f"state {s}, action {a}: the probabilities sum to {total[s, a]:g}, not 1")
    if (model.start < 0).any() or abs(model.start.sum() - 1) > _TOLERANCE:
        raise ValueError(f"the start distribution sums to {model.start.sum():g}, not 1")
    if model.legal is None:
        return
    if model.legal.shape != shape[:2]:
        raise ValueError(f"legal has the shape {model.legal.shape}, not {shape[:2]}")
    if (wrong := model.reachable() & ~(model.legal > 0).any(1)).any():
        raise ValueError(f"state {int(wrong.argmax())} has no legal action")


def _filled(model: MDP) -> np.ndarray:
    """Return which actions are legal, all of them where none is."""
    assert model.legal is not None
    legal = model.legal > 0
    return legal | ~legal.any(1, keepdims=True)


def from_table(table: Mapping[int, Any] | Sequence[Any], start: np.ndarray, **facts: Any) -> MDP:
    """Return the model of a Gymnasium table ``P[s][a] = [(p, s', r, terminated), ...]``.

    Args:
        table: the table. start: distribution of the first state. facts: ``factors``, ``grid``...

    Raises:
        ValueError: an invalid table, in one line.
    """
    states, actions = len(table), len(table[0])
    rows = [(s, a, list(table[s][a])) for s in range(states) for a in range(actions)]
    branches = max(len(outcomes) for _, _, outcomes in rows)
    shape = (states, actions, branches)
    p, reward = np.zeros(shape), np.zeros(shape)
    successor, terminal = np.zeros(shape, np.int64), np.zeros(shape, bool)
    for s, a, outcomes in rows:
        for b, (chance, to, pays, over) in enumerate(outcomes):
            p[s, a, b], successor[s, a, b], reward[s, a, b] = chance, to, pays
            terminal[s, a, b] = over
    return MDP(p, successor, reward, terminal, np.asarray(start, np.float64), **facts)


def from_arrays(
    transition: np.ndarray,
    reward: np.ndarray,
    start: np.ndarray,
    terminal: np.ndarray | None = None,
    values: np.ndarray | None = None,
    **facts: Any,
) -> MDP:
    """Return the model of p(s' | s, a) and a reward in any of its three forms.

    Args:
        transition: ``[S, A, S]``.
        reward: r(s, a) ``[S, A]``; r(s, a, s') ``[S, A, S]``; or, with ``values``, p(r | s, a, s')
            ``[S, A, S, R]``.
        start: ``[S]``.
        terminal: ``[S]`` bool, states at which an episode ends on arrival; None = no state.
        values: the R rewards of the third form.
        facts: further fields of the model.

    Raises:
        ValueError: an invalid model, in one line.
    """
    states, actions = transition.shape[:2]
    ends = np.zeros(states, bool) if terminal is None else np.asarray(terminal, bool)
    if values is None:
        wide = reward if reward.ndim == 3 else reward[:, :, None]
        chance = transition
        pays = np.broadcast_to(wide, transition.shape).copy()
        repeats = 1
    else:
        repeats = len(values)
        chance = (transition[..., None] * reward).reshape(states, actions, -1)
        pays = np.broadcast_to(np.tile(values, states), chance.shape).copy()
    successor = np.repeat(np.arange(states), repeats)
    successor = np.broadcast_to(successor, chance.shape).copy()
    return MDP(chance, successor, pays, ends[successor], np.asarray(start, np.float64), **facts)


def discounted_return(rewards: Sequence[float], gamma: float) -> float:
    """Return ``sum_t gamma^t r_{t+1}`` (Sutton and Barto, equation 3.8)."""
    total = 0.0
    for reward in reversed(rewards):
        total = reward + gamma * total
    return total


def trajectory_probability(
    model: MDP,
    policy: np.ndarray,
    states: Sequence[int],
    actions: Sequence[int],
    rewards: Sequence[float],
) -> float:
    """Return the probability (or density) of s_0, a_0, r_1, s_1, ..., s_T.

    ``p(s_0) prod pi(a_t | s_t) p(s_{t+1}, r_{t+1} | s_t, a_t)``: where the reward is random given
    the successor, its likelihood is part of the product.

    Args:
        model: the process. policy: ``[S, A]``.
        states: T + 1 of them. actions: T. rewards: T.
    """
    chance = float(model.start[states[0]])
    steps = zip(states[:-1], actions, rewards, states[1:], strict=True)
    for s, a, r, following in steps:
        arrived = model.successor[s, a] == following
        likelihood = np.isclose(model.reward[s, a], r, atol=1e-12).astype(float)
        if model.reward_std is not None:
            std, error = model.reward_std[s, a], r - model.reward[s, a]
            scale = np.where(std > 0, std, 1.0)
            density = np.exp(-0.5 * (error / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
            likelihood = np.where(std > 0, density, likelihood)
        chance *= policy[s, a] * float((model.probability[s, a] * arrived * likelihood).sum())
    return chance


def picture(model: MDP | None, k: int) -> dict[str, Tensor]:
    """Return what a picture of values on a grid needs, once per seed; nothing where there is none.

    ``grid [K, 2]`` rows and columns, ``moves [K, A, 2]``, ``reachable [K, S]``.
    """
    if model is None or model.grid is None:
        return {}
    facts = {"grid": model.grid, "moves": model.moves, "reachable": model.reachable()}
    return {name: torch.as_tensor(x).expand(k, *np.asarray(x).shape) for name, x in facts.items()}


def tensors(model: MDP, gamma: float, device: torch.device | str = "cpu") -> Model:
    """Return a model's branches for the operators of ``formulas/dynamic_programming.py``."""
    arrays = (model.probability, model.reward, gamma * ~model.terminal, model.successor)
    legal = None if model.legal is None else torch.as_tensor(model.legal, device=device)
    p, r, discount, successor = (torch.as_tensor(array, device=device) for array in arrays)
    return Model(p, r, discount, successor, legal)
