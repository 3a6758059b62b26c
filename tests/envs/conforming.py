"""Environments over all spaces, and wrappers of all kinds: what Prism must step as Gymnasium does.

``observation_spaces`` say how each becomes what an agent sees, ``action_spaces`` what an agent's
action becomes, in words of their own: none of Prism's code is used to say so.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

_MEMBERS = 12
_DRAWN: dict[int, tuple[spaces.Space, list[Any]]] = {}  # by identity: spaces have no hash
SENT: dict[int, list[Any]] = {}  # episode's seed -> the actions that reached the base environment


def draw(space: Any, rng: np.random.Generator) -> Any:
    """Return a member of a space."""
    if isinstance(space, spaces.Discrete):
        return space.dtype.type(space.start + rng.integers(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return (space.start + rng.integers(space.nvec)).astype(space.dtype)
    if isinstance(space, spaces.MultiBinary):
        return rng.integers(0, 2, space.shape, np.int8)
    if isinstance(space, spaces.Dict):
        return {name: draw(part, rng) for name, part in reversed(space.spaces.items())}
    if isinstance(space, spaces.Tuple):
        return tuple(draw(part, rng) for part in space.spaces)
    assert isinstance(space, spaces.Box)
    if space.dtype == np.bool_:
        return rng.random(space.shape) < 0.5
    if space.dtype.kind in "iu":
        low, high = (x.astype(np.float64) for x in (space.low, space.high))
        drawn = np.floor(low + rng.random(space.shape) * np.minimum(high - low + 1, 2.0**40))
        return np.clip(drawn, low, high).astype(space.dtype)
    finite = space.bounded_below & space.bounded_above
    low = np.where(finite, space.low, np.where(space.bounded_below, space.low, -5.0))
    high = np.where(finite, space.high, np.where(space.bounded_above, space.high, 5.0))
    low, high = np.clip(np.minimum(low, high), -1e6, 1e6), np.clip(np.maximum(low, high), -1e6, 1e6)
    drawn = np.clip(rng.uniform(low, high), space.low, space.high)
    return np.asarray(drawn, space.dtype)


def members(space: spaces.Space) -> list[Any]:
    """Return some members of a space, the same ones every time."""
    if id(space) not in _DRAWN:
        rng = np.random.default_rng(0)
        _DRAWN[id(space)] = (space, [draw(space, rng) for _ in range(_MEMBERS)])
    return _DRAWN[id(space)][1]


class Universal(gymnasium.Env):
    """Observes members of its space, pays a draw and a part of the action, ends at random.

    An action outside its own space is an error, as in environments that check.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, obs: spaces.Space, act: spaces.Space) -> None:
        self.observation_space, self.action_space = obs, act

    def observe(self) -> Any:
        return members(self.observation_space)[self.np_random.integers(_MEMBERS)]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        assert seed is not None
        self.sent = SENT[seed] = []
        return self.observe(), {"start": True}

    def step(self, action: Any) -> Any:
        space = self.action_space
        assert space.contains(action), f"{action!r} is not in {space}"
        self.sent.append(np.array(action))
        reward = float(self.np_random.normal()) + 1e-3 * float(np.sum(action, dtype=np.float64))
        chance = self.np_random.random()
        return self.observe(), reward, chance < 0.1, 0.05 < chance < 0.15, {"chance": chance}


class ReadOnly(Universal):
    """The same, whose spaces are computed and cannot be assigned."""

    def __init__(self, obs: spaces.Space, act: spaces.Space) -> None:
        self._spaces = obs, act

    @property
    def observation_space(self) -> spaces.Space:  # type: ignore[misc]
        return self._spaces[0]

    @property
    def action_space(self) -> spaces.Space:  # type: ignore[misc]
        return self._spaces[1]


# How an observation looks to an agent: by a function of the observation, as arrays.


def vector(obs: Any) -> np.ndarray:
    return np.ravel(np.asarray(obs)).astype(np.float32)


def hw(obs: Any) -> np.ndarray:
    return np.asarray(obs)[None]


def chw(obs: Any) -> np.ndarray:
    return np.asarray(obs)


def hwc(obs: Any) -> np.ndarray:
    return np.stack([obs[:, :, c] for c in range(obs.shape[2])])


def shwc(obs: Any) -> np.ndarray:
    return np.concatenate([hwc(frame) for frame in obs])


def schw(obs: Any) -> np.ndarray:
    return np.concatenate(list(obs))


def one_hot(n: int, start: int = 0) -> Callable[[Any], np.ndarray]:
    return lambda obs: (np.arange(n) == int(obs) - start).astype(np.float32)


def one_hots(nvec: Any, start: Any = 0) -> Callable[[Any], np.ndarray]:
    def look(obs: Any) -> np.ndarray:
        places = np.ravel(obs - np.asarray(start))
        return np.concatenate([one_hot(n)(x) for n, x in zip(np.ravel(nvec), places, strict=True)])

    return look


def scaled(by: float) -> Callable[[Any], np.ndarray]:
    return lambda obs: np.ravel(np.asarray(obs)).astype(np.float32) / np.float32(by)


def parts(**looks: Callable[[Any], np.ndarray]) -> Callable[[Any], np.ndarray]:
    """Of a Dict: its parts in the order of its space."""
    return lambda obs: np.concatenate([look(obs[name]) for name, look in looks.items()])


def items(*looks: Callable[[Any], np.ndarray]) -> Callable[[Any], np.ndarray]:
    return lambda obs: np.concatenate([f(x) for f, x in zip(looks, obs, strict=True)])


@dataclass
class Seen:
    """A space of observations, and how an agent sees its members."""

    space: Any
    look: Callable[[Any], np.ndarray]
    dtype: Any = np.float32
    image: str | None = None  # env.wrappers.image, where nothing else tells the layout

    def __call__(self, obs: Any) -> np.ndarray:
        return self.look(obs).astype(self.dtype)


def box(shape: tuple[int, ...], dtype: Any = np.float32, low: Any = -1, high: Any = 1) -> Any:
    return spaces.Box(low, high, shape, dtype)


def frame(shape: tuple[int, ...], dtype: Any = np.uint8, high: Any = 255) -> Any:
    return spaces.Box(0, high, shape, dtype)


_INF = np.inf
DICT = spaces.Dict(
    img=frame((6, 6, 3)),
    pos=box((2,), np.float64, -_INF, _INF),
    flag=spaces.MultiBinary(2),
    k=spaces.Discrete(3, start=1),
    t=spaces.Tuple((spaces.Discrete(2), box((), np.float32, 0, 1))),
)
OBSERVATIONS: dict[str, Seen] = {
    "float32": Seen(box((3,)), vector),
    "float64": Seen(box((3,), np.float64), vector),
    "float16": Seen(box((3,), np.float16), vector),
    "int8": Seen(box((3,), np.int8, -128, 127), vector),
    "int64": Seen(box((4,), np.int64, -9, 9), vector),
    "uint8 vector": Seen(frame((5,)), vector),
    "uint16 vector": Seen(frame((5,), np.uint16, 65535), vector),
    "bool vector": Seen(spaces.Box(0, 1, (5,), np.bool_), vector),
    "scalar": Seen(box((), np.float32), vector),
    "unbounded": Seen(box((2,), np.float32, -_INF, _INF), vector),
    "half-bounded": Seen(
        spaces.Box(np.array([0, -_INF], np.float32), np.array([_INF, 3], np.float32)), vector
    ),
    "huge": Seen(box((2,), np.float64, -1e300, 1e300), vector),
    "table of floats": Seen(box((2, 3)), vector),
    "table of ints": Seen(box((3, 3), np.int32, -6, 6), vector),
    "Discrete": Seen(spaces.Discrete(4), one_hot(4)),
    "Discrete from 5": Seen(spaces.Discrete(4, start=5), one_hot(4, 5)),
    "Discrete from -2": Seen(spaces.Discrete(3, start=-2, dtype=np.int32), one_hot(3, -2)),
    "MultiDiscrete": Seen(spaces.MultiDiscrete([2, 3]), one_hots([2, 3])),
    "MultiDiscrete from": Seen(
        spaces.MultiDiscrete([2, 3], start=[4, -1]), one_hots([2, 3], [4, -1])
    ),
    "MultiDiscrete matrix": Seen(
        spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[1, 0], [0, 1]], dtype=np.int32),
        one_hots([[2, 3], [4, 2]], [[1, 0], [0, 1]]),
    ),
    "MultiBinary": Seen(spaces.MultiBinary(3), vector),
    "MultiBinary matrix": Seen(spaces.MultiBinary((2, 3)), vector),
    "grey frame": Seen(frame((9, 8)), hw, np.uint8),
    "grey bool frame": Seen(frame((9, 8), np.bool_, 1), hw, np.bool_),
    "grey float frame": Seen(frame((20, 18), np.float32, 1), hw),
    "grey float frame 255": Seen(frame((20, 18), np.float64, 255), hw),
    "grey depth": Seen(frame((20, 18), np.uint16, 65535), hw),
    "channels last": Seen(frame((9, 8, 3)), hwc, np.uint8),
    "channels last, 1": Seen(frame((9, 8, 1)), hwc, np.uint8),
    "channels last, 2": Seen(frame((9, 8, 2)), hwc, np.uint8),
    "channels last, small": Seen(frame((4, 4, 3)), hwc, np.uint8),
    "channels last, 6": Seen(frame((9, 8, 6)), hwc, np.uint8),
    "channels last, float": Seen(frame((9, 8, 3), np.float32, 1), hwc),
    "channels last, float 255": Seen(frame((9, 8, 3), np.float32, 255), hwc),
    "channels last, double": Seen(frame((9, 8, 3), np.float64, _INF), hwc),
    "channels last, int": Seen(frame((9, 8, 4), np.int32, 255), hwc),
    "channels last, bool": Seen(frame((9, 8, 4), np.bool_, 1), hwc, np.bool_),
    "channels first": Seen(frame((3, 9, 8)), chw, np.uint8),
    "channels first, 4": Seen(frame((4, 9, 8)), chw, np.uint8),
    "channels first, 7": Seen(frame((7, 9, 8)), chw, np.uint8),
    "channels first, float": Seen(frame((3, 9, 8), np.float32, 255), chw),
    "channels first, bool": Seen(frame((4, 9, 8), np.bool_, 1), chw, np.bool_),
    "cube, first": Seen(frame((5, 5, 5)), chw, np.uint8, "channels_first"),
    "cube, last": Seen(frame((5, 5, 5)), hwc, np.uint8, "channels_last"),
    "many, first": Seen(frame((12, 8, 8)), chw, np.uint8, "channels_first"),
    "many, last": Seen(frame((8, 8, 12)), hwc, np.uint8, "channels_last"),
    "a frame as a vector": Seen(frame((8, 8, 3)), vector, np.float32, "vector"),
    "a table as a frame": Seen(box((4, 4)), hw, np.float32, "channels_first"),
    "stacked grey": Seen(frame((4, 9, 8)), chw, np.uint8),
    "stacked, channels last": Seen(frame((2, 9, 8, 3)), shwc, np.uint8),
    "stacked, channels first": Seen(frame((2, 3, 9, 8)), schw, np.uint8),
    "stacked, float": Seen(frame((2, 9, 8, 3), np.float32, 1), shwc),
    "Tuple": Seen(spaces.Tuple([spaces.Discrete(2), box((2,))]), items(one_hot(2), vector)),
    "Dict": Seen(
        DICT,
        parts(
            img=scaled(255),
            pos=vector,
            flag=vector,
            k=one_hot(3, 1),
            t=items(one_hot(2), vector),
        ),
    ),
    "Dict in Dict": Seen(
        spaces.Dict(
            b=spaces.Dict(y=spaces.MultiDiscrete([2, 2], start=[1, 1]), x=box((2, 2))),
            a=spaces.Tuple([spaces.Dict(z=spaces.MultiBinary(2)), frame((3,))]),
        ),
        parts(
            b=parts(y=one_hots([2, 2], [1, 1]), x=vector),
            a=items(parts(z=vector), vector),
        ),
    ),
}

REFUSED_OBSERVATIONS: dict[str, tuple[spaces.Space, str]] = {
    "Text": (spaces.Text(8), "Text"),
    "Text in a Dict": (spaces.Dict(a=box((2,)), b=spaces.Dict(c=spaces.Text(8))), "b.c"),
    "Graph": (spaces.Graph(box((2,)), None), "Graph"),
    "Sequence": (spaces.Sequence(spaces.Discrete(3)), "Sequence"),
    "OneOf": (spaces.OneOf([spaces.Discrete(3), box((2,))]), "OneOf"),
    "cube": (frame((6, 6, 6)), "env.wrappers.image"),
    "many channels": (frame((8, 12, 12, 3, 2)), "env.wrappers.image"),
    "stacked cube": (frame((2, 6, 6, 6)), "env.wrappers.image"),
}


# What an agent's action becomes: the agent acts in ``agent``, the environment gets ``sent(action)``


@dataclass
class Acted:
    """A space of actions, what an agent sees of it, and what becomes of an action."""

    space: Any
    agent: spaces.Space
    sent: Callable[[Any], Any]


def _same(action: Any) -> Any:
    return action


def _continuous(space: spaces.Box) -> Acted:
    flat = spaces.Box(space.low.ravel().astype(np.float32), space.high.ravel().astype(np.float32))

    def sent(action: np.ndarray) -> np.ndarray:
        wide = action.reshape(space.shape).astype(np.float64)
        cut = np.clip(wide, space.low, space.high)
        if space.dtype.kind in "iu":
            cut = np.rint(cut)
        return cut.astype(space.dtype)

    wide = space.dtype in (np.float32, np.float64) and len(space.shape) == 1
    return Acted(space, space if wide else flat, sent)


def _multi(space: spaces.MultiDiscrete | spaces.MultiBinary) -> Acted:
    counts = space.nvec if isinstance(space, spaces.MultiDiscrete) else np.full(space.shape, 2)
    start = space.start if isinstance(space, spaces.MultiDiscrete) else 0

    def sent(action: np.ndarray) -> np.ndarray:
        return (action.reshape(space.shape) + start).astype(space.dtype)

    return Acted(space, spaces.MultiDiscrete(counts.ravel()), sent)


def _discrete(n: int, start: int = 0, dtype: Any = np.int64) -> Acted:
    space = spaces.Discrete(n, start=start, dtype=dtype)
    return Acted(space, spaces.Discrete(n), lambda action: dtype(action + start))


_CORNER = spaces.Box(np.array([0.0, -0.1]), np.array([0.3, 0.7]), dtype=np.float64)
_HALF = spaces.Box(np.array([-1, 0], np.float32), np.array([1, _INF], np.float32))
_MAX = float(np.finfo(np.float32).max)
ACTIONS: dict[str, Acted] = {
    "Discrete": _discrete(3),
    "Discrete from -1": _discrete(3, -1),
    "Discrete from 7": _discrete(2, 7),
    "Discrete of int32": _discrete(3, 0, np.int32),
    "Discrete of int8 from 3": _discrete(3, 3, np.int8),
    "MultiDiscrete": _multi(spaces.MultiDiscrete([3, 2])),
    "MultiDiscrete from": _multi(spaces.MultiDiscrete([3, 2], start=[1, -4])),
    "MultiDiscrete of int32": _multi(spaces.MultiDiscrete([3, 2], dtype=np.int32)),
    "MultiDiscrete matrix": _multi(spaces.MultiDiscrete([[2, 3], [4, 2]])),
    "MultiDiscrete matrix from": _multi(
        spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[0, 1], [2, 3]])
    ),
    "MultiBinary": _multi(spaces.MultiBinary(3)),
    "MultiBinary matrix": _multi(spaces.MultiBinary((2, 2))),
    "Box": _continuous(box((2,))),
    "Box of float64": _continuous(box((2,), np.float64)),
    "Box of float16": _continuous(box((2,), np.float16, -0.3, 0.7)),
    "Box, asymmetric": _continuous(_CORNER),
    "Box, infinite": _continuous(box((2,), np.float32, -_INF, _INF)),
    "Box, half-infinite": _continuous(_HALF),
    "Box, huge": _continuous(box((2,), np.float32, -_MAX, _MAX)),
    "Box, matrix": _continuous(box((2, 2))),
    "Box, scalar": _continuous(box(())),
    "Box of int32": _continuous(box((2,), np.int32, 0, 10)),
    "Box of uint8, matrix": _continuous(box((2, 2), np.uint8, 0, 3)),
    "Box of int64": _continuous(box((2,), np.int64, -4, 4)),
    "Box of all int8": _continuous(box((2,), np.int8, -128, 127)),
}

REFUSED_ACTIONS: dict[str, spaces.Space] = {
    "Text": spaces.Text(8),
    "Dict": spaces.Dict(a=spaces.Discrete(2)),
    "Tuple": spaces.Tuple([spaces.Discrete(2)]),
    "Sequence": spaces.Sequence(spaces.Discrete(3)),
}


# Wrappers, as other people write them


class Corners(gymnasium.ActionWrapper):
    """Offers three members of the environment's own space as actions 0, 1, 2."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.choices = [draw(env.action_space, np.random.default_rng(i)) for i in range(3)]
        self.action_space = spaces.Discrete(3)

    def action(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        return self.choices[int(action)]


class Dial(gymnasium.ActionWrapper):
    """Offers one number in [-1, 1], which turns to one of three members of the space."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.choices = [draw(env.action_space, np.random.default_rng(i)) for i in range(3)]
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)

    def action(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        return self.choices[min(2, int((float(action[0]) + 1) * 1.5))]


class Buttons(gymnasium.ActionWrapper):
    """Offers two switches that count from 1, as one of three members of the space."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.choices = [draw(env.action_space, np.random.default_rng(i)) for i in range(3)]
        self.action_space = spaces.MultiDiscrete([2, 2], start=[1, 1])

    def action(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        return self.choices[int(action.sum()) - 2]


class Twice(gymnasium.Wrapper):
    """Does every action twice, as long as the episode lasts."""

    def step(self, action: Any) -> Any:
        obs, reward, terminated, truncated, info = self.env.step(action)
        if not (terminated or truncated):
            obs, more, terminated, truncated, info = self.env.step(action)
            reward = float(reward) + float(more)
        return obs, reward, terminated, truncated, info


class Ordinal(gymnasium.ObservationWrapper):
    """Shows the step's number alone, from 3."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.observation_space = spaces.Discrete(1000, start=3)

    def reset(self, **options: Any) -> Any:
        self.t = 2
        return super().reset(**options)

    def observation(self, observation: Any) -> int:
        self.t += 1
        return self.t


class Pair(gymnasium.ObservationWrapper):
    """Shows the observation beside a constant, in a Dict whose space is read-only."""

    @property
    def observation_space(self) -> spaces.Space:  # type: ignore[misc]
        return spaces.Dict(theirs=self.env.observation_space, one=box((1,)))

    def observation(self, observation: Any) -> Any:
        return {"theirs": observation, "one": np.ones(1, np.float32)}


class Half(gymnasium.RewardWrapper):
    def reward(self, reward: Any) -> float:
        return float(reward) / 2 - 1


class Early(gymnasium.Wrapper):
    """Terminates where the reward is large, in numbers of numpy."""

    def step(self, action: Any) -> Any:
        obs, reward, terminated, truncated, info = self.env.step(action)
        return obs, np.float32(reward), np.bool_(terminated or float(reward) > 3), truncated, info


@dataclass
class Wrapped:
    """A wrapper, and how observations and actions look behind it where it changes them."""

    path: str
    arguments: dict[str, Any] = field(default_factory=dict)
    fits: Callable[[Seen, Acted], bool] = lambda seen, acted: True
    seen: Callable[[Seen], Seen] = _same
    acted: Callable[[Acted], Acted] = _same


def _is_box(seen: Seen) -> bool:
    return isinstance(seen.space, spaces.Box)


def _rescaled(acted: Acted) -> Acted:
    return _continuous(spaces.Box(-2, 2, acted.space.shape, acted.space.dtype))


def _pair(seen: Seen) -> Seen:
    space = spaces.Dict(theirs=seen.space, one=box((1,)))
    shown = seen.space
    image = (
        isinstance(shown, spaces.Box)
        and len(seen(draw(shown, np.random.default_rng(0))).shape) == 3
    )
    by = float(np.abs(shown.high).max()) if image and np.isfinite(shown.high).all() else 1.0
    return Seen(space, parts(theirs=scaled(by) if image else seen, one=vector), image=None)


def _simple(seen: Seen, acted: Acted) -> bool:
    return _is_box(seen) and seen.space.shape == (3,) and seen.space.dtype == np.float32


_HERE = "tests.envs.conforming:"
_THEIRS = "gymnasium.wrappers:"
_BUTTONS = spaces.MultiDiscrete([2, 2], start=[1, 1])
WRAPPERS: dict[str, Wrapped | None] = {
    "none": None,
    "corners": Wrapped(_HERE + "Corners", acted=lambda acted: _discrete(3)),
    "dial": Wrapped(_HERE + "Dial", acted=lambda acted: _continuous(box((1,)))),
    "buttons": Wrapped(_HERE + "Buttons", acted=lambda acted: _multi(_BUTTONS)),
    "twice": Wrapped(_HERE + "Twice"),
    "early": Wrapped(_HERE + "Early"),
    "half": Wrapped(_HERE + "Half"),
    "ordinal": Wrapped(
        _HERE + "Ordinal",
        fits=lambda seen, acted: seen.image is None,
        seen=lambda seen: Seen(spaces.Discrete(1000, start=3), one_hot(1000, 3)),
    ),
    "pair": Wrapped(_HERE + "Pair", fits=lambda seen, acted: seen.image is None, seen=_pair),
    "TimeLimit": Wrapped(_THEIRS + "TimeLimit", {"max_episode_steps": 4}),
    "ClipReward": Wrapped(_THEIRS + "ClipReward", {"min_reward": -0.5, "max_reward": 0.5}),
    "NormalizeReward": Wrapped(_THEIRS + "NormalizeReward"),
    "RecordEpisodeStatistics": Wrapped(_THEIRS + "RecordEpisodeStatistics"),
    "OrderEnforcing": Wrapped(_THEIRS + "OrderEnforcing"),
    "Autoreset": Wrapped(_THEIRS + "Autoreset"),
    "StickyAction": Wrapped(_THEIRS + "StickyAction", {"repeat_action_probability": 0.5}),
    "RepeatAction": Wrapped(_THEIRS + "RepeatAction", {"num_repeats": 2}),
    "ClipAction": Wrapped(
        _THEIRS + "ClipAction",
        fits=lambda seen, acted: (
            isinstance(acted.space, spaces.Box) and acted.space.dtype == np.float32
        ),
        acted=lambda acted: _continuous(box(acted.space.shape, np.float32, -_INF, _INF)),
    ),
    "RescaleAction": Wrapped(
        _THEIRS + "RescaleAction",
        {"min_action": -2.0, "max_action": 2.0},
        fits=lambda seen, acted: acted.space == box((2,)),
        acted=_rescaled,
    ),
    "FlattenObservation": Wrapped(
        _THEIRS + "FlattenObservation",
        fits=lambda seen, acted: seen.image is None and not isinstance(seen.space, spaces.Dict),
        seen=lambda seen: Seen(
            spaces.flatten_space(seen.space),
            lambda obs: vector(obs),
        ),
    ),
    "DelayObservation": Wrapped(
        _THEIRS + "DelayObservation", {"delay": 2}, fits=lambda seen, acted: _is_box(seen)
    ),
    "FrameStackObservation": Wrapped(
        _THEIRS + "FrameStackObservation",
        {"stack_size": 3},
        fits=lambda seen, acted: (
            seen.look in (hwc, chw) and seen.image is None and min(seen.space.shape) > 1
        ),
        seen=lambda seen: Seen(
            spaces.Box(
                np.stack([seen.space.low] * 3),
                np.stack([seen.space.high] * 3),
                dtype=seen.space.dtype,
            ),
            shwc if seen.look is hwc else schw,
            seen.dtype,
        ),
    ),
    "stacked frames": Wrapped(
        _THEIRS + "FrameStackObservation",
        {"stack_size": 4},
        fits=lambda seen, acted: seen.look is hw and seen.image is None,
        seen=lambda seen: Seen(
            spaces.Box(
                np.stack([seen.space.low] * 4),
                np.stack([seen.space.high] * 4),
                dtype=seen.space.dtype,
            ),
            chw,
            seen.dtype,
        ),
    ),
    "GrayscaleObservation": Wrapped(
        _THEIRS + "GrayscaleObservation",
        fits=lambda seen, acted: seen.space == frame((9, 8, 3)),
        seen=lambda seen: Seen(frame((9, 8)), hw, np.uint8),
    ),
    "ReshapeObservation": Wrapped(
        _THEIRS + "ReshapeObservation",
        {"shape": (3, 1)},
        fits=_simple,
        seen=lambda seen: Seen(box((3, 1)), vector),
    ),
    "DtypeObservation": Wrapped(
        _THEIRS + "DtypeObservation",
        {"dtype": np.float64},
        fits=_simple,
        seen=lambda seen: Seen(box((3,), np.float64), vector),
    ),
    "RescaleObservation": Wrapped(
        _THEIRS + "RescaleObservation",
        {"min_obs": 0.0, "max_obs": 2.0},
        fits=_simple,
        seen=lambda seen: Seen(box((3,), np.float32, 0, 2), vector),
    ),
    "NormalizeObservation": Wrapped(
        _THEIRS + "NormalizeObservation",
        fits=_simple,
        seen=lambda seen: Seen(box((3,), np.float32, -_INF, _INF), vector),
    ),
    "FilterObservation": Wrapped(
        _THEIRS + "FilterObservation",
        {"filter_keys": ["k", "pos"]},
        fits=lambda seen, acted: seen.space is DICT,
        seen=lambda seen: Seen(
            spaces.Dict(k=DICT["k"], pos=DICT["pos"]), parts(k=one_hot(3, 1), pos=vector)
        ),
    ),
}
VECTOR_ONLY = (
    "gymnasium.wrappers.vector:ClipReward",
    "gymnasium.wrappers.vector:RecordEpisodeStatistics",
    "gymnasium.wrappers.vector:FlattenObservation",
)


def combinations(full: bool) -> Iterator[tuple[str, str, str]]:
    """Yield (observations, actions, wrapper) that fit: each pair of names, or all triples."""
    for wrapper, wrapped in WRAPPERS.items():
        for obs, seen in OBSERVATIONS.items():
            for act, acted in ACTIONS.items():
                usual = obs == "float32" or act == "Discrete"
                if (usual or full) and (wrapped is None or wrapped.fits(seen, acted)):
                    yield obs, act, wrapper
