"""Atari games with standard preprocessing (Machado et al. 2018); needs the ``atari`` extra."""

from typing import Any

import gymnasium
from gymnasium.wrappers import AtariPreprocessing


def atari(
    game: str, sticky: float = 0.25, life_loss_terminates: bool = False, **preprocessing: Any
) -> gymnasium.Env:
    """Build one game of ``ale_py``; observations are greyscale frames ``[84, 84]``, frame skip 4.

    Args:
        game: Gymnasium id, such as "ALE/Pong-v5".
        sticky: probability that the previous action is repeated.
        life_loss_terminates: whether losing a life terminates the episode, as in the DQN paper.
        preprocessing: further arguments of Gymnasium's ``AtariPreprocessing``.
    """
    env = gymnasium.make(
        game,
        max_episode_steps=-1,
        disable_env_checker=True,
        frameskip=1,  # AtariPreprocessing skips frames
        repeat_action_probability=sticky,
    )
    return AtariPreprocessing(env, terminal_on_life_loss=life_loss_terminates, **preprocessing)
