"""The seeds of episodes, and the purposes that evaluations have, none of which share an episode.

What chooses (the best snapshot, an early stop, a search) must not see the episodes that judge what
was chosen. So the 31 bits of an evaluation episode's seed begin with two bits for its purpose.
"""

import numpy as np

from prism.algos.core.rng import generator

TRAINING = "env"
PERIODIC = "eval/periodic"  # during training: curves, and the best snapshot
SELECTION = "eval/selection"  # for choosing among finished runs
FINAL = "eval/final"  # the final score
NEW = "eval/new"  # whatever a user wants to know later
EVALUATIONS = (PERIODIC, SELECTION, FINAL, NEW)

BLOCK = 64  # episode seeds drawn at once
_BITS = 31  # of a seed, as some simulators take no more
_FREE = _BITS - 2


def episode_seeds(seed: int, purpose: str, *lane: int, block: int = 0) -> np.ndarray:
    """Return the seeds of ``BLOCK`` episodes of a lane, from episode ``block * BLOCK`` on.

    Args:
        seed: of the run, or of the evaluation.
        purpose: name of the random stream.
        lane: the lane's number; nothing where all lanes have the same episodes.
        block: how many blocks come before.
    """
    stream = generator(seed, purpose, *lane, block=block)
    if purpose not in EVALUATIONS:
        return stream.integers(2**_BITS, size=BLOCK)
    first = EVALUATIONS.index(purpose) << _FREE
    return first + stream.integers(2**_FREE, size=BLOCK)
