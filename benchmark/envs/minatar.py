"""MinAtar games as published: six actions, sticky with probability 0.1, ramping difficulty.

The upstream Gymnasium class keeps the last (sticky) action across episodes; here a reset clears it,
so that an episode depends only on its seed and actions. Observations are channel-first booleans.
"""

from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import DependencyNotInstalled

from .encoding import LAYOUT


@cache
def _rules(game: str) -> ModuleType:
    """Load the module of one game; ``import minatar`` also loads plotting (3 s, 150 MB)."""
    package = find_spec("minatar")
    if package is None or not package.submodule_search_locations:
        raise DependencyNotInstalled("MinAtar is not installed: pip install minatar")
    path = Path(package.submodule_search_locations[0], "environments", f"{game}.py")
    spec = spec_from_file_location(f"minatar_rules_{game}", path)
    if spec is None or spec.loader is None or not path.exists():
        raise DependencyNotInstalled(f"MinAtar has no game {game!r}")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class MinAtar(gymnasium.Env):
    """One MinAtar game (Young and Tian 2019); observations ``[C, 10, 10]`` bool.

    Args:
        game: asterix, breakout, freeway, seaquest or space_invaders.
        minimal_actions: offer only the actions that have an effect in this game.
        sticky: probability that the previous action is repeated.
        ramping: whether the difficulty increases with time.
        render_mode: "rgb_array" or None.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 10,
        LAYOUT: "channels_first",  # one game has as many channels as rows
    }

    def __init__(
        self,
        game: str,
        minimal_actions: bool = False,
        sticky: float = 0.1,
        ramping: bool = True,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        self._game = _rules(game).Env(ramping=ramping)
        self._actions = list(self._game.minimal_action_set()) if minimal_actions else list(range(6))
        self._sticky = sticky
        self._last_action = 0
        height, width, channels = self._game.state_shape()
        self.action_space = spaces.Discrete(len(self._actions))
        self.observation_space = spaces.Box(0, 1, (channels, height, width), np.bool_)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode; with a seed, one that depends on nothing else."""
        if seed is not None:
            self._game.random = np.random.RandomState(seed)  # the type that the games draw from
        self._last_action = 0
        self._game.reset()
        return self._observe(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Act for one frame; the game itself never truncates."""
        chosen = self._actions[action]
        if self._game.random.rand() < self._sticky:
            chosen = self._last_action
        self._last_action = chosen
        reward, terminated = self._game.act(chosen)
        return self._observe(), float(reward), bool(terminated), False, {}

    def _observe(self) -> np.ndarray:
        observation: np.ndarray = np.moveaxis(self._game.state(), -1, 0)
        return observation

    def render(self) -> np.ndarray:
        """Return the frame ``[80, 80, 3]`` uint8, one grey level per channel, the last on top."""
        frame = self._observe()
        level = (frame * np.arange(1, len(frame) + 1)[:, None, None]).max(0) * (255 // len(frame))
        return np.repeat(level.repeat(8, 0).repeat(8, 1)[..., None], 3, -1).astype(np.uint8)
