"""A small agent that keeps the protocol, and one that breaks it for each check."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from prism.algos.core.agent import Component, Spec, State, Step
from prism.algos.core.rng import generator


@dataclass
class SoundConfig:
    """Settings of Sound."""

    agent: str = "tests.train.sound:Sound"
    name: str = "sound"
    lanes: int = 2
    reset: str = "each"
    gamma: float = 0.9


class Sound:
    """Linear Q-learning: weights [K, D, A]."""

    Config = SoundConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = ()
    max_seeds: ClassVar[int | None] = None
    interacts = True

    def __init__(
        self, config: SoundConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        self.config, self.seeds, self.ticks = config, torch.tensor(list(seeds)), 0
        self.actions = int(spec.action_space.n)  # type: ignore[attr-defined]
        size = (spec.obs_space.shape[0], self.actions)
        self.weights = torch.stack([self.first(seed, size) for seed in seeds])

    @classmethod
    def unsupported(cls, config: Any, spec: Spec) -> str | None:
        return None

    def first(self, seed: int, size: tuple[int, int]) -> Tensor:
        draws = generator(seed, "init").normal(size=(4, *size))[0]
        return torch.from_numpy(np.repeat(draws, 4, 1)[:, : size[1]]).float() + 0.1 * seed

    def values(self, obs: Tensor) -> Tensor:
        wide = obs.tanh()[..., None] * self.weights[:, None]  # [K, N, D, A]; no matrix product
        return wide.sum(-2)

    def act(self, obs: Tensor, explore: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        values = self.values(obs)
        best = values.argmax(-1)
        if explore:
            best = self.explore(obs.shape[1])
        return best, {"value": values.max(-1).values}

    def explore(self, lanes: int) -> Tensor:
        draws = [
            generator(int(seed), "act", self.ticks).integers(self.actions, size=lanes)
            for seed in self.seeds
        ]
        return torch.from_numpy(np.stack(draws))

    def observe(self, step: Step) -> None:
        self.ticks += 1
        self.step = step

    def goes_on(self, step: Step) -> Tensor:
        return ~step.terminated

    def update(self) -> dict[str, Tensor] | None:
        step = self.step
        following = self.values(step.next_obs).max(-1).values
        target = step.reward + self.config.gamma * self.goes_on(step) * following
        error = target - self.values(step.obs).gather(-1, step.action[..., None])[..., 0]
        choice = torch.nn.functional.one_hot(step.action, self.actions)
        for lane in range(error.shape[1]):
            change = error[:, lane, None, None] * step.obs[:, lane].tanh()[..., None]
            self.weights = self.weights + 0.05 * change * choice[:, lane, None]
        return {"error": error.abs().sum(1)}

    def state(self) -> State:
        return {"policy": {"weights": self.weights}, "seeds": self.seeds, "ticks": self.ticks}

    def load(self, state: State) -> None:
        self.weights = state["policy"]["weights"].clone()
        self.ticks, self.seeds = state.get("ticks", 0), state.get("seeds", self.seeds)


class FlatActions(Sound):
    def act(self, obs: Tensor, explore: bool = True) -> Any:
        return torch.zeros(obs.shape[1], dtype=torch.int64), {}


class FloatActions(Sound):
    def act(self, obs: Tensor, explore: bool = True) -> Any:
        action, memo = super().act(obs, explore)
        return action.float(), memo


class WildActions(Sound):
    def act(self, obs: Tensor, explore: bool = True) -> Any:
        action, memo = super().act(obs, explore)
        return action + 2, memo


class OneWidth(Sound):
    """Its greedy actions know the lanes of training alone."""

    def act(self, obs: Tensor, explore: bool = True) -> Any:
        action, memo = super().act(obs, explore)
        return action[:, : self.config.lanes], memo


class FlatMemo(Sound):
    def act(self, obs: Tensor, explore: bool = True) -> Any:
        return super().act(obs, explore)[0], {"value": torch.zeros(3)}


class Raising(Sound):
    def act(self, obs: Tensor, explore: bool = True) -> Any:
        raise RuntimeError("not today")


class Idle(Sound):
    def update(self) -> None:
        return None


class OneMetric(Sound):
    def update(self) -> Any:
        return {"error": super().update()["error"].mean()}  # type: ignore[index]


class Infinite(Sound):
    def update(self) -> Any:
        return {"error": super().update()["error"] / 0}  # type: ignore[index]


class StateOfLists(Sound):
    def state(self) -> State:
        return super().state() | {"losses": [1.0]}


class StateWithoutK(Sound):
    def state(self) -> State:
        return super().state() | {"mean": torch.zeros(2)}


class StateWithoutPolicy(Sound):
    def state(self) -> State:
        return {"weights": self.weights}


class Global(Sound):
    """Draws from one stream of the whole process."""

    stream = np.random.default_rng(5)

    def explore(self, lanes: int) -> Tensor:
        return torch.from_numpy(self.stream.integers(2, size=(len(self.seeds), lanes)))


class Mixed(Sound):
    """Seeds learn from each other's errors."""

    def update(self) -> Any:
        metrics = super().update()
        self.weights = self.weights + 1e-3 * self.weights.mean(0, keepdim=True)
        return metrics


class OneStream(Sound):
    """All seeds draw the same actions and the same first weights."""

    def __init__(self, config: Any, spec: Spec, seeds: Sequence[int], device: Any) -> None:
        super().__init__(config, spec, [0] * len(seeds), device)


class OneStart(Sound):
    """Actions differ, first weights do not."""

    def __init__(self, config: Any, spec: Spec, seeds: Sequence[int], device: Any) -> None:
        super().__init__(config, spec, seeds, device)
        draws = generator(0, "init").normal(size=(spec.obs_space.shape[0], 12))
        self.weights = (
            torch.from_numpy(draws).float().expand(len(seeds), -1, -1)[..., : self.actions]
        )
        self.table = torch.from_numpy(draws).float().expand(len(seeds), -1, -1)

    def state(self) -> State:
        state = super().state()
        return state | {"policy": state["policy"] | {"table": self.table}}


class Forgetful(Sound):
    """Its clock starts anew."""

    def load(self, state: State) -> None:
        super().load(state)
        self.ticks = 0


class Hidden(Sound):
    """Depends on what its state does not hold."""

    calls = 0

    def explore(self, lanes: int) -> Tensor:
        self.calls += 1
        return (super().explore(lanes) + self.calls // 7) % 2


class Shared(Sound):
    """A seed that goes on alone takes the place of the first."""

    def explore(self, lanes: int) -> Tensor:
        return (super().explore(lanes) + torch.arange(len(self.seeds))[:, None]) % 2


class Watched(Sound):
    """An evaluation moves its clock."""

    def act(self, obs: Tensor, explore: bool = True) -> Any:
        self.ticks += not explore
        return super().act(obs, explore)


class WatchedInSecret(Hidden):
    """An evaluation moves what its state does not hold."""

    def act(self, obs: Tensor, explore: bool = True) -> Any:
        self.calls += not explore
        return Sound.act(self, obs, explore)

    def explore(self, lanes: int) -> Tensor:
        return (Sound.explore(self, lanes) + (self.calls > 0)) % 2


class Restless(Sound):
    """Its greedy actions are drawn."""

    turn = 0

    def act(self, obs: Tensor, explore: bool = True) -> Any:
        action, memo = super().act(obs, explore)
        self.turn += 1
        return (action if explore else (action + self.turn) % 2), memo


class Headless(Sound):
    """Its greedy actions need more than its policy."""

    offset = 0

    def observe(self, step: Step) -> None:
        super().observe(step)
        self.offset = 1

    def act(self, obs: Tensor, explore: bool = True) -> Any:
        action, memo = super().act(obs, explore)
        return (action if explore else (action + self.offset) % 2), memo


class StopsAtTruncation(Sound):
    def goes_on(self, step: Step) -> Tensor:
        return ~(step.terminated | step.truncated)


class NeverStops(Sound):
    def goes_on(self, step: Step) -> Tensor:
        return torch.ones_like(step.terminated)


class MonteCarlo(StopsAtTruncation):
    """Predicts no value."""

    def act(self, obs: Tensor, explore: bool = True) -> Any:
        return super().act(obs, explore)[0], {}


class Single(Sound):
    max_seeds = 1


class Unloading(Sound):
    def load(self, state: State) -> None:
        super().load(state)
        self.ticks = 1
