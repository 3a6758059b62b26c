"""A video of a finished run's policy: by default the first episode of its final evaluation.

Needs no display.
"""

import os
import sys
from collections.abc import Callable
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from ..store import schema
from ..util import atomic
from .evaluate import load_run
from .play import metadata, play

_FRAMES = 1_000  # for each episode; longer videos are cut
_SIDE = 400  # pixels; larger frames are reduced
_MODE = "rgb_array"
_HEADLESS = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
if sys.platform == "linux":
    _HEADLESS["MUJOCO_GL"] = "egl"


def record(
    run_dir: Path,
    tick: Callable[[], None] = lambda: None,
    episodes: int = 1,
    seed: int | None = None,
) -> Path:
    """Write the video of a finished run into its folder and return its path.

    Args:
        run_dir: folder of a run with saved weights.
        tick: called at every step.
        episodes: how many, one after another.
        seed: of the episodes; None: those of the final evaluation.

    Raises:
        ConfigError: there is no such run, or its environment cannot be rendered.
    """
    run, spec, agent = load_run(run_dir)
    if seed is not None:
        spec = spec.changed({"evaluation.seed": seed})
    for name, value in _HEADLESS.items():
        os.environ.setdefault(name, value)
    rate = float(metadata(spec.env, _MODE).get("render_fps") or 30)
    duration = max(20, 10 * round(100 / rate))  # GIF counts in 10 ms; browsers are slow below 20
    pictures = []
    for frame in islice(play(agent, spec, run["seed"], _MODE, episodes), _FRAMES * episodes):
        tick()
        pictures.append(_picture(frame.picture))
    buffer = BytesIO()
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0
    )
    path = run_dir / schema.VIDEO
    path = path.with_stem("-".join([path.stem, *_suffixes(episodes, seed)]))
    path.parent.mkdir(exist_ok=True)
    atomic.write(path, buffer.getvalue())
    return path


def _suffixes(episodes: int, seed: int | None) -> list[str]:
    """Return what tells a video from the one that training keeps."""
    named = {"episodes": None if episodes == 1 else episodes, "seed": seed}
    return [f"{name}{value}" for name, value in named.items() if value is not None]


def _picture(frame: np.ndarray) -> Image.Image:
    """Return a frame as an image of at most ``_SIDE`` pixels a side, with a 256-colour palette."""
    image = Image.fromarray(np.asarray(frame, np.uint8))
    factor = -(-max(image.size) // _SIDE)
    return (image.reduce(factor) if factor > 1 else image).quantize(256)
