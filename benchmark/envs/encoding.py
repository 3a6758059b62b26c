"""Encode observations as the arrays that agents read: vectors and ``[C, H, W]`` images."""

from collections.abc import Callable, Mapping
from operator import index
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from ..util.errors import ConfigError

LAYOUTS = ("channels_first", "channels_last", "vector")
LAYOUT = "layout"  # metadata key: layout of an environment's images, for shapes that leave it open
_SIDE = 16  # a matrix of other types than uint8 and bool is an image from this size on

Encoder = Callable[[Any], np.ndarray]
_Part = tuple[Encoder, np.ndarray, np.ndarray]  # encodes a part as a vector; its low and high


def encoding(
    space: spaces.Space, image: str | None = None, hint: str | None = None
) -> tuple[Encoder, spaces.Box]:
    """Return the function that encodes observations of ``space`` as arrays, and its output space.

    Images become ``[C, H, W]``; stacked frames become channels. uint8 and bool images keep their
    type, others are float32. Everything else becomes one float32 vector: discrete observations are
    one-hot, and an image inside a Dict or Tuple is divided by its largest value.

    Args:
        space: the environment's observation space.
        image: layout of images, one of ``LAYOUTS``; None: inferred from their shape.
        hint: layout to use if the shape leaves it open.

    Raises:
        ConfigError: the layout is unclear, or observations have no fixed size (graphs, sequences,
            text).
    """
    layout = _layout(space, image, hint)
    if layout is not None:
        assert isinstance(space, spaces.Box)
        return _image(space, layout)
    encode, low, high = _part(space, "", scaled=image is None)
    return encode, spaces.Box(low, high, dtype=np.float32)


def _layout(space: spaces.Space, image: str | None, hint: str | None) -> str | None:
    """Return the layout of image observations; None for observations that become a vector."""
    if image == "vector":
        return None
    if not isinstance(space, spaces.Box) or len(space.shape) < 2:
        if image is not None:
            raise ConfigError(f"env.wrappers.image: observations {space} are no images")
        return None
    if len(space.shape) == 2:
        return "channels_first" if image or _is_frame(space) else None
    if len(space.shape) > 4:
        raise ConfigError(
            f"env.wrappers.image: observations {space} are no image and no stack of images; "
            "env.wrappers.image=vector makes vectors of them"
        )
    found = image or _by_shape(space.shape[-3:]) or hint
    if found is None:
        raise ConfigError(
            f"env.wrappers.image: the shape of the observations {space} does not tell where the "
            f"channels are; set env.wrappers.image to {', '.join(LAYOUTS[:-1])} or {LAYOUTS[-1]}"
        )
    return found


def _by_shape(shape: tuple[int, ...]) -> str | None:
    """Return the layout in which channels are fewer than rows and columns; None if neither is."""
    first, middle, last = shape
    if last < min(first, middle):
        return "channels_last"
    return "channels_first" if first < min(middle, last) else None


def _is_frame(space: spaces.Box) -> bool:
    """Return whether a Box holds images.

    A matrix is an image if it is uint8 or bool, or if it is large and all its numbers share the
    bounds 0 and a finite high. Other matrices are plain numbers.
    """
    if len(space.shape) > 2 or space.dtype in (np.uint8, np.bool_):
        return len(space.shape) > 1
    high = space.high.flat[0]
    same = not space.low.any() and np.isfinite(high) and bool((space.high == high).all())
    return len(space.shape) == 2 and same and min(space.shape) >= _SIDE


def _image(space: spaces.Box, layout: str) -> tuple[Encoder, spaces.Box]:
    shape = space.shape
    if len(shape) == 2:
        shape = (1, *shape)
    height, width = shape[-2:] if layout == "channels_first" else shape[-3:-1]

    def arranged(array: np.ndarray) -> np.ndarray:
        if layout == "channels_last":
            array = np.moveaxis(array, -1, -3)
        return array if array.ndim == 3 else array.reshape(-1, height, width)

    dtype = space.dtype if space.dtype in (np.uint8, np.bool_) else np.dtype(np.float32)
    low, high = (_cast(arranged(bound), dtype) for bound in (space.low, space.high))
    read = _reader(space, dtype)
    encode = read if arranged(space.low) is space.low else lambda obs: arranged(read(obs))
    return encode, spaces.Box(low, high, dtype=dtype.type)


def _reader(space: spaces.Box, dtype: np.dtype) -> Encoder:
    """Return a function that checks an observation against its space and converts it."""
    declared, shape = space.dtype, space.shape
    ready = dtype if declared == dtype or declared.kind == "f" else None  # needs no check, no cast

    def read(obs: Any) -> np.ndarray:
        array = np.asarray(obs)
        if array.shape != shape:
            raise ValueError(f"the observation has shape {array.shape}, its space {space}")
        if array.dtype is ready:
            return array
        if array.dtype != declared and declared.kind != "f":
            with np.errstate(invalid="ignore"):
                cast = array.astype(declared)
            if not np.array_equal(cast, array):
                wrong = array.flat[np.argmax((cast != array).ravel())]
                raise ValueError(f"the observation holds {wrong}, its space is {space}")
        return array.astype(dtype, copy=False)

    return read


def _part(space: spaces.Space, path: str, scaled: bool) -> _Part:
    """Return the encoder of a space, or of the part at ``path``, as a float32 vector."""
    if isinstance(space, spaces.Box):
        return _numbers(space, scaled)
    if isinstance(space, spaces.Discrete):
        return _one_hot(space)
    if isinstance(space, spaces.MultiDiscrete):
        return _one_hots(space)
    if isinstance(space, spaces.MultiBinary):
        return _numbers(spaces.Box(0, 1, space.shape, np.int8), scaled=False)
    if isinstance(space, spaces.Dict):
        return _joined(space.spaces, path, scaled)
    if isinstance(space, spaces.Tuple):
        return _joined(dict(enumerate(space.spaces)), path, scaled)
    where = f" ({path})" if path else ""
    raise ConfigError(
        f"env.id: observations of type {type(space).__name__}{where} are not supported; a wrapper "
        "in env.wrappers.extra can make arrays of them"
    )


def _numbers(space: spaces.Box, scaled: bool) -> _Part:
    read = _reader(space, np.dtype(np.float32))
    low, high = (_cast(bound.ravel(), np.dtype(np.float32)) for bound in (space.low, space.high))
    most = float(max(np.abs(low).max(), np.abs(high).max()))
    if scaled and _is_frame(space) and 1 < most < np.inf:
        by = np.float32(most)
        return lambda obs: read(obs).ravel() / by, low / by, high / by
    return lambda obs: read(obs).ravel(), low, high


def _one_hot(space: spaces.Discrete) -> _Part:
    n, start = int(space.n), int(space.start)

    def encode(obs: Any) -> np.ndarray:
        place = index(obs) - start
        if not 0 <= place < n:
            raise ValueError(f"the observation is {obs}, its space {space}")
        out = np.zeros(n, np.float32)
        out[place] = 1
        return out

    return encode, np.zeros(n, np.float32), np.ones(n, np.float32)


def _one_hots(space: spaces.MultiDiscrete) -> _Part:
    counts, start = space.nvec.ravel().astype(np.int64), space.start.ravel().astype(np.int64)
    total, first = int(counts.sum()), counts.cumsum() - counts
    read = _reader(spaces.Box(-np.inf, np.inf, space.shape, np.float64), np.dtype(np.int64))

    def encode(obs: Any) -> np.ndarray:
        places = read(obs).ravel() - start
        if (places < 0).any() or (places >= counts).any():
            raise ValueError(f"the observation is {obs}, its space {space}")
        out = np.zeros(total, np.float32)
        out[first + places] = 1
        return out

    return encode, np.zeros(total, np.float32), np.ones(total, np.float32)


def _joined(named: Mapping[Any, spaces.Space], path: str, scaled: bool) -> _Part:
    """Return the encoder of a Dict or Tuple: its encoded parts joined, in the space's order."""
    if not named:
        raise ConfigError("env.id: observations have an empty Dict or Tuple, with nothing to see")
    made = {name: _part(x, f"{path}.{name}".lstrip("."), scaled) for name, x in named.items()}
    encoders = [encode for encode, *_ in made.values()]
    names = ", ".join(map(str, made))

    def encode(obs: Any) -> np.ndarray:
        try:
            parts = [obs[name] for name in made]
        except (KeyError, IndexError, TypeError):
            raise ValueError(f"the observation lacks one of its parts {names}") from None
        return np.concatenate([f(part) for f, part in zip(encoders, parts, strict=True)])

    low, high = (np.concatenate([part[i] for part in made.values()]) for i in (1, 2))
    return encode, low, high


def _cast(bound: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore"):  # beyond float32, a bound is infinite
        return bound.astype(dtype)


class Encode(gymnasium.ObservationWrapper):
    """Encode observations with ``encoding``."""

    def __init__(self, env: gymnasium.Env, image: str | None = None) -> None:
        super().__init__(env)
        hint = env.metadata.get(LAYOUT)
        self._encode, self.observation_space = encoding(env.observation_space, image, hint)

    def observation(self, observation: Any) -> np.ndarray:
        """Return the encoded observation."""
        return self._encode(observation)


def encoded_space(env: gymnasium.Env) -> spaces.Space:
    """Return the observation space below ``Encode``; without one, the environment's own."""
    layer = env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, Encode):
            return layer.env.observation_space
        layer = layer.env
    return env.observation_space
