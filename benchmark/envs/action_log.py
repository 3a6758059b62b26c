"""The actions since each lane's episode began; with its seed they determine its state."""

import numpy as np
from gymnasium import spaces

_NEVER = np.iinfo(np.int64).max  # start of a lane whose actions are not kept


class ActionLog:
    """A log of one action per step and lane that drops what no running episode needs.

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
        self._first = 0  # step of the first row
        self._size = 0
        self._start = np.zeros(lanes, np.int64)  # step at which the lane's episode began

    def append(self, actions: np.ndarray) -> None:
        """Record the actions ``[L, *act]`` of one step."""
        if self._size == len(self._rows):
            self._make_room()
        self._rows[self._size] = actions
        self._size += 1

    def begin(self, lane: int) -> None:
        """Mark the next step as the first of the lane's episode."""
        self._start[lane] = self._first + self._size

    def forget(self, lanes: slice) -> None:
        """Keep no actions of these lanes until their next episode."""
        self._start[lanes] = _NEVER

    def _make_room(self) -> None:
        oldest = min(int(self._start.min()), self._first + self._size)
        kept = self._rows[oldest - self._first : self._size]
        rows = self._rows if 2 * len(kept) <= len(self._rows) else np.repeat(self._rows, 2, 0)
        rows[: len(kept)] = kept.copy()
        self._rows, self._first, self._size = rows, oldest, len(kept)

    def episodes(self, lengths: np.ndarray) -> np.ndarray:
        """Return the first ``lengths [L]`` actions of each episode, padded, ``[L, T, *act]``."""
        out = np.zeros((len(lengths), int(lengths.max()), *self._rows.shape[2:]), self._rows.dtype)
        for lane, length in enumerate(lengths.tolist()):
            start = int(self._start[lane]) - self._first
            out[lane, :length] = self._rows[start : start + length, lane]
        return out

    def load(self, episodes: np.ndarray, lengths: np.ndarray) -> None:
        """Restore the running episodes that ``episodes`` returned, aligned at the current step."""
        longest = int(lengths.max())
        self._rows = np.zeros((max(1024, 2 * longest), *self._rows.shape[1:]), self._rows.dtype)
        self._first, self._size, self._start = 0, longest, longest - lengths
        for lane, length in enumerate(lengths.tolist()):
            self._rows[longest - length : longest, lane] = episodes[lane, :length]

    def typed(self, actions: np.ndarray) -> np.ndarray:
        """Return recorded actions in the action space's dtype."""
        return actions.astype(self._type)
