"""The actions since each lane's episode began: with its seed, an environment's whole state."""

import numpy as np
from gymnasium import spaces

_NEVER = np.iinfo(np.int64).max  # start of a lane that nothing is kept for


class ActionLog:
    """A growing record of one action per tick and lane, which forgets what no episode needs.

    Args:
        lanes: number of lanes L.
        space: action space of one lane; up to 256 discrete actions are kept as bytes.
    """

    def __init__(self, lanes: int, space: spaces.Space) -> None:
        byte = isinstance(space, spaces.Discrete) and space.n <= 256
        self._rows = np.empty(
            (1024, lanes, *(space.shape or ())), np.uint8 if byte else space.dtype
        )
        self._type = space.dtype
        self._first = 0  # tick of the first row
        self._size = 0
        self._start = np.zeros(lanes, np.int64)  # tick at which the lane's episode began

    def append(self, actions: np.ndarray) -> None:
        """Record the actions ``[L, *act]`` of one tick."""
        if self._size == len(self._rows):
            self._make_room()
        self._rows[self._size] = actions
        self._size += 1

    def begin(self, lane: int) -> None:
        """Note that an episode of the lane begins with the next tick."""
        self._start[lane] = self._first + self._size

    def forget(self, lanes: slice) -> None:
        """Keep nothing for these lanes until they begin again."""
        self._start[lanes] = _NEVER

    def _make_room(self) -> None:
        oldest = min(int(self._start.min()), self._first + self._size)
        kept = self._rows[oldest - self._first : self._size]
        rows = self._rows if 2 * len(kept) <= len(self._rows) else np.repeat(self._rows, 2, 0)
        rows[: len(kept)] = kept.copy()
        self._rows, self._first, self._size = rows, oldest, len(kept)

    def episodes(self, lengths: np.ndarray) -> np.ndarray:
        """Return the first ``lengths [L]`` actions of each episode, ``[L, T, *act]``, padded."""
        out = np.zeros((len(lengths), int(lengths.max()), *self._rows.shape[2:]), self._rows.dtype)
        for lane, length in enumerate(lengths.tolist()):
            start = int(self._start[lane]) - self._first
            out[lane, :length] = self._rows[start : start + length, lane]
        return out

    def load(self, episodes: np.ndarray, lengths: np.ndarray) -> None:
        """Record the running episodes that ``episodes`` returned, as if they had all ended now."""
        longest = int(lengths.max())
        self._rows = np.zeros((max(1024, 2 * longest), *self._rows.shape[1:]), self._rows.dtype)
        self._first, self._size, self._start = 0, longest, longest - lengths
        for lane, length in enumerate(lengths.tolist()):
            self._rows[longest - length : longest, lane] = episodes[lane, :length]

    def typed(self, actions: np.ndarray) -> np.ndarray:
        """Return recorded actions in the type in which environments expect them."""
        return actions.astype(self._type)
