"""A video of a finished run's policy: the first episode of its final evaluation, played again.

The agent, the environment and their random streams are new, so that training and its evaluations
are not affected. Needs no display.
"""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from prism.algos.core.agent import Agent

from ..envs.config import EnvConfig
from ..envs.episodes import FINAL
from ..envs.make import make_env
from ..envs.vector import SeedVecEnv
from ..envs.wrappers import close
from ..store import schema
from ..store.spec import RunSpec
from ..util import atomic
from ..util.errors import ConfigError
from .evaluate import acting, load_run

_FRAMES = 1_000  # longer episodes are cut
_SIDE = 400  # pixels; larger frames are reduced
_MODE = "rgb_array"
_HEADLESS = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
if sys.platform == "linux":
    _HEADLESS["MUJOCO_GL"] = "egl"


def record(run_dir: Path, tick: Callable[[], None] = lambda: None) -> Path:
    """Write the video of a finished run into its folder and return its path.

    Args:
        run_dir: folder of a run with saved weights.
        tick: called at every step.

    Raises:
        ConfigError: there is no such run, or its environment cannot be rendered.
    """
    run, spec, agent = load_run(run_dir)
    for name, value in _HEADLESS.items():
        os.environ.setdefault(name, value)
    duration = _duration(spec.env)
    pictures = []
    for frame in _frames(agent, spec, run["seed"]):
        tick()
        pictures.append(_picture(frame))
    buffer = BytesIO()
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0
    )
    path = run_dir / schema.VIDEO
    path.parent.mkdir(exist_ok=True)
    atomic.write(path, buffer.getvalue())
    return path


def _duration(env: EnvConfig) -> int:
    """Return an environment's milliseconds per frame.

    Raises:
        ConfigError: it cannot be rendered.
    """
    bare = make_env(env, training=False)
    metadata: dict[str, Any] = bare.unwrapped.metadata
    close(bare)
    if _MODE not in (metadata.get("render_modes") or ()):
        raise ConfigError(f"env.id: {env.id} cannot be rendered: it has no render mode {_MODE!r}")
    rate = float(metadata.get("render_fps") or 30)
    return max(20, 10 * round(100 / rate))  # GIF counts in 10 ms; browsers slow down below 20


def _frames(agent: Agent, spec: RunSpec, seed: int) -> Iterator[np.ndarray]:
    """Play the first episode of the final evaluation; yield a frame of every state."""
    config = replace(spec.env, kwargs={**spec.env.kwargs, "render_mode": _MODE})
    episodes = [spec.evaluation.seed]
    lane = SeedVecEnv(config, episodes, 1, training=False, reset="wait", purpose=FINAL)
    act = acting(agent, spec, [seed], FINAL, 1)
    obs, live, count = lane.reset(), True, 1
    yield lane.render()
    while live and count < _FRAMES:
        action, _ = act(torch.from_numpy(obs))
        step = lane.step(action.numpy())
        if lane.failed:
            raise RuntimeError(lane.failed[0])
        obs, live = step.next_obs, not (step.terminated | step.truncated).any()
        yield lane.render()
        count += 1
    lane.close()


def _picture(frame: np.ndarray) -> Image.Image:
    """Return a frame as an image of at most ``_SIDE`` pixels a side, with a 256-colour palette."""
    image = Image.fromarray(np.asarray(frame, np.uint8))
    factor = -(-max(image.size) // _SIDE)
    return (image.reduce(factor) if factor > 1 else image).quantize(256)
