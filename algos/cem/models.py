"""Models of a policy that are fitted to elite sessions; each acts and is fitted.

``fit(obs [K, M, T, *obs], actions [K, M, T, *act], length [K, M], due [K])`` fits the seeds that
are due to the first ``length`` steps of M sessions each. Continuous actions are fitted as they were
drawn, before the environment's bounds cut them: the mean of what is cut is not the mean.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from ..core.agent import Spec, State
from ..core.distributions import inverse_cdf
from ..core.learner import Learner
from ..core.nets import InitStream, Linear
from ..core.optim import SeedOptimizer
from ..core.parts import HasParts, Part
from ..core.rng import Draws, RandomStream
from ..core.schedules import Schedule
from ..core.states import StateIndex
from ..core.torso import obs_scale
from . import streams
from .config import CEMConfig

SAMPLE = "sample"  # key of a memo: continuous actions as drawn, in units of half the range
Choice = tuple[Tensor, dict[str, Tensor]]  # actions and a memo


class PolicyModel(Part, Protocol):
    """What the cross-entropy method asks of a model."""

    def act(self, obs: Tensor, explore: bool, draws: Draws | None, share: Tensor) -> Choice:
        """Return actions and a memo; ``share [K]`` of the budget is spent."""

    def fit(self, obs: Tensor, actions: Tensor, length: Tensor, due: Tensor) -> None:
        """Imitate."""


class Sampler(HasParts):
    """Turns probabilities or means into actions, from streams.

    Args:
        config: the agent's. space: of actions. seeds: K. device: where.
    """

    PARTS = ("draws",)

    def __init__(
        self, config: CEMConfig, space: spaces.Space, seeds: Sequence[int], device: torch.device
    ) -> None:
        self.discrete = isinstance(space, spaces.Discrete)
        n = config.lanes
        self.outputs = int(space.n) if isinstance(space, spaces.Discrete) else spaces.flatdim(space)
        shape = (n, 1) if self.discrete else (n, self.outputs)
        kind = "uniform" if self.discrete else "normal"
        self.draws = RandomStream(seeds, "act", shape, kind, device)
        self.noise = Schedule("linear", config.noise_start, config.noise_end, 1_000_000)
        self.noise_fraction = max(config.noise_fraction, 1e-6)
        if isinstance(space, spaces.Box):
            self.low = torch.as_tensor(space.low, device=device)
            self.high = torch.as_tensor(space.high, device=device)

    def from_probabilities(self, p: Tensor, explore: bool, draws: Draws | None) -> Choice:
        """Sample from ``p [K, N, A]``, or take the most likely."""
        if explore:
            return inverse_cdf(p, self.draws()), {}
        return (p.argmax(-1) if draws is None else inverse_cdf(p, draws(1))), {}

    def from_mean(self, mean: Tensor, explore: bool, share: Tensor) -> Choice:
        """Add noise to means ``[K, N, act]``, cut to [-1, 1] and stretch to the action's range."""
        if explore:
            done = (1_000_000 * share / self.noise_fraction).tolist()
            level = torch.tensor([self.noise(int(x)) for x in done], device=mean.device)
            mean = mean + level[:, None, None] * self.draws()
        action = self.low + (self.high - self.low) / 2 * (mean.clamp(-1, 1) + 1)
        return action, {SAMPLE: mean}


class Table(HasParts):
    """``pi(a | s)`` by counting, smoothed: the old policy keeps ``1 - smoothing``.

    A state that no elite session met keeps its policy (de Boer et al. 2005, section 3).
    """

    POLICY = ("p",)
    PARTS = ("sampler",)

    def __init__(self, config: CEMConfig, spec: Spec, seeds: Sequence[int], device: torch.device):
        self.index, self.smoothing = StateIndex(spec, device), config.smoothing
        self.sampler = Sampler(config, spec.action_space, seeds, device)
        shape = (len(seeds), self.index.states, self.sampler.outputs)
        self.p = torch.full(shape, 1 / shape[2], device=device)
        self._seed = torch.arange(len(seeds), device=device)[:, None]

    def act(self, obs: Tensor, explore: bool, draws: Draws | None, share: Tensor) -> Choice:
        """Look up."""
        return self.sampler.from_probabilities(self.p[self._seed, self.index(obs)], explore, draws)

    def fit(self, obs: Tensor, actions: Tensor, length: Tensor, due: Tensor) -> None:
        """Count, normalise, mix."""
        k, states, n = self.p.shape
        inside = torch.arange(obs.shape[2], device=obs.device) < length[..., None]
        cell = self.index(obs) * n + actions
        counts = torch.zeros(k, states * n, device=obs.device)
        counts.scatter_add_(1, cell.flatten(1), inside.flatten(1).float())
        counts = counts.view(k, states, n)
        total = counts.sum(-1, keepdim=True)
        new = torch.where(total > 0, counts / total.clamp(min=1), self.p)
        mixed = self.smoothing * new + (1 - self.smoothing) * self.p
        self.p = torch.where(due[:, None, None], mixed, self.p)


class Network(HasParts):
    """A linear or neural policy, fitted by gradient steps on random batches of elite steps."""

    POLICY = ("learner",)
    PARTS = ("sampler", "iteration")

    def __init__(self, config: CEMConfig, spec: Spec, seeds: Sequence[int], device: torch.device):
        self.config = config
        self.sampler = Sampler(config, spec.action_space, seeds, device)
        inputs, self.obs_scale = int(np.prod(spec.obs_space.shape)), obs_scale(spec.obs_space)
        hidden = config.hidden if config.model == "neural" else []
        widths = [inputs, *hidden, self.sampler.outputs]
        adam = partial(SeedOptimizer, kind="adam", lr=config.lr)
        self.learner = Learner(lambda name: _net(InitStream(seeds), widths), adam, device)
        self.seeds = tuple(seeds)
        self.iteration = torch.zeros(len(seeds), dtype=torch.int64, device=device)
        self._seed = torch.arange(len(seeds), device=device)[:, None]

    @torch.no_grad()
    def act(self, obs: Tensor, explore: bool, draws: Draws | None, share: Tensor) -> Choice:
        """Evaluate the network."""
        out = self.learner.online(obs.flatten(2).float() / self.obs_scale)
        if self.sampler.discrete:
            return self.sampler.from_probabilities(out.softmax(-1), explore, draws)
        return self.sampler.from_mean(out, explore, share)

    def fit(self, obs: Tensor, actions: Tensor, length: Tensor, due: Tensor) -> None:
        """Make ``updates`` steps of cross entropy less the entropy bonus, or of squared error."""
        until = length.cumsum(1)
        shape = (self.config.updates, self.config.batch_size)
        batches = streams.draws(self.seeds, "batch", self.iteration, due, shape)
        self.iteration = self.iteration + due
        for batch in batches.unbind(1):
            step = (batch * until[:, -1:]).long().clamp(max=(until[:, -1:] - 1).clamp(min=0))
            session = torch.searchsorted(until, step, right=True).clamp(max=length.shape[1] - 1)
            first = until.gather(1, session) - length.gather(1, session)
            at = (self._seed, session, step - first)
            out = self.learner.online(obs[at].flatten(2) / self.obs_scale)
            target = actions[at]
            if self.sampler.discrete:
                log_p = out.log_softmax(-1)
                entropy = -(log_p.exp() * log_p).sum(-1)
                log_prob = log_p.gather(-1, target[..., None])[..., 0]
                loss = -(log_prob + self.config.entropy * entropy).mean(-1)
            else:
                loss = (out - target).square().mean((-2, -1))
            self.learner.step(loss, due)


class Forest(HasParts):
    """A random forest a seed (Breiman 2001, by scikit-learn), grown anew from the elites.

    Its policy is the sessions it was grown from: the same steps and seed grow the same trees.
    """

    POLICY = ("sessions",)
    PARTS = ("sampler",)

    def __init__(self, config: CEMConfig, spec: Spec, seeds: Sequence[int], device: torch.device):
        self.config, self.seeds, self.device = config, tuple(seeds), device
        self.sampler = Sampler(config, spec.action_space, seeds, device)
        self.forests: list[Any] = [None] * len(self.seeds)
        self.sessions: State = {}

    def act(self, obs: Tensor, explore: bool, draws: Draws | None, share: Tensor) -> Choice:
        """Ask every seed's forest; before the first is grown, all actions are alike."""
        k, lanes = obs.shape[:2]
        rows = obs.flatten(2).numpy(force=True)
        out = np.zeros((k, lanes, self.sampler.outputs), np.float32)
        for i, forest in enumerate(self.forests):
            if forest is None:
                out[i] = 1 / self.sampler.outputs if self.sampler.discrete else 0.0
            elif self.sampler.discrete:
                out[i][:, forest.classes_] = forest.predict_proba(rows[i])
            else:
                out[i] = forest.predict(rows[i]).reshape(lanes, -1)
        answer = torch.from_numpy(out).to(self.device)
        if self.sampler.discrete:
            return self.sampler.from_probabilities(answer, explore, draws)
        return self.sampler.from_mean(answer, explore, share)

    def fit(self, obs: Tensor, actions: Tensor, length: Tensor, due: Tensor) -> None:
        """Grow the forests that are due."""
        new = {"obs": obs, "actions": actions, "length": length}
        if not self.sessions:
            self.sessions = {name: torch.zeros_like(x) for name, x in new.items()}
        for name, x in new.items():
            old = self.sessions[name]
            if old.ndim > 2 and old.shape[2] < x.shape[2]:
                room = torch.zeros_like(x[:, :, old.shape[2] :])
                old = torch.cat([old, room], 2)
            self.sessions[name] = torch.where(due.view(-1, *[1] * (x.ndim - 1)), x, old)
        for i in np.flatnonzero(due.numpy(force=True)):
            self._grow(int(i))

    def _grow(self, i: int) -> None:
        from sklearn import ensemble  # more than a second, and only a forest needs it

        length = self.sessions["length"][i]
        inside = torch.arange(self.sessions["obs"].shape[2], device=length.device) < length[:, None]
        if not inside.any():
            return
        x, y = self.sessions["obs"][i][inside].flatten(1), self.sessions["actions"][i][inside]
        discrete = self.sampler.discrete
        kind = ensemble.RandomForestClassifier if discrete else ensemble.RandomForestRegressor
        forest = kind(self.config.trees, random_state=self.seeds[i], n_jobs=1)
        flat = y.numpy(force=True)
        one = flat.shape[-1:] == (1,)  # one output is a vector to scikit-learn
        self.forests[i] = forest.fit(x.numpy(force=True), flat.ravel() if one else flat)

    def load(self, state: State) -> None:
        """Continue; grow the same forests again."""
        self.sessions = {
            name: x.clone().to(self.device) for name, x in state["policy"]["sessions"].items()
        }
        super().load(state)
        for i in range(len(self.seeds) if self.sessions else 0):
            self._grow(i)


def _net(init: InitStream, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [Linear(init, n_in, n_out), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def build(config: CEMConfig, spec: Spec, seeds: Sequence[int], device: torch.device) -> PolicyModel:
    """Return the model that the config names."""
    if config.model == "table":
        return Table(config, spec, seeds, device)
    if config.model == "forest":
        return Forest(config, spec, seeds, device)
    return Network(config, spec, seeds, device)
