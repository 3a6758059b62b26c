"""A finished run's policy, played one episode after another and shown: for videos and ``enjoy``.

The agent, the environment and their random streams are new, so that training and its evaluations
are not affected. The first episode is the first one of the evaluation with that seed and purpose;
in an environment that evaluation steps by its tabular model (``env.table``), chance may differ.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from prism.algos.core.agent import Agent

from ..envs.config import EnvConfig
from ..envs.episodes import FINAL
from ..envs.make import make_env
from ..envs.vector import SeedVecEnv
from ..envs.wrappers import close
from ..store.spec import RunSpec
from ..util.errors import ConfigError
from .evaluate import acting


class Frame(NamedTuple):
    """The state before a step, or at the end of an episode."""

    picture: Any  # what the environment renders: an array, a text, or None where it has a window
    episode: int  # from 0
    step: int  # steps of this episode so far
    total: float  # its raw return so far
    ended: bool


def metadata(env: EnvConfig, mode: str) -> Mapping[str, Any]:
    """Return what an environment says of itself.

    Raises:
        ConfigError: it does not render in this mode.
    """
    bare = make_env(env, training=False)
    found: dict[str, Any] = bare.unwrapped.metadata
    close(bare)
    modes = found.get("render_modes") or ()
    if mode not in modes:
        others = f"; it has {', '.join(modes)}" if modes else ""
        raise ConfigError(
            f"env.id: {env.id} cannot be rendered: it has no render mode {mode!r}{others}"
        )
    return found


def mode_of(env: EnvConfig, wanted: str | None, display: bool) -> tuple[str, float]:
    """Return how an environment is shown to a person, and its frames per second.

    Args:
        env: the environment.
        wanted: human | ansi; None: a window if there is a display, else text.
        display: whether there is one for a window.

    Raises:
        ConfigError: it cannot be shown that way.
    """
    if wanted == "human" and not display:
        raise ConfigError(
            "--render-mode=human needs a display; ansi needs none, nor does prism video"
        )
    try:
        mode = wanted or ("human" if display else "ansi")
        found = metadata(env, mode)
    except ConfigError:
        if wanted or not display:
            raise
        mode, found = "ansi", metadata(env, "ansi")
    return mode, float(found.get("render_fps") or 10)


def play(
    agent: Agent,
    spec: RunSpec,
    seed: int,
    mode: str,
    episodes: int = 1,
    purpose: str = FINAL,
    policy: str | None = None,
) -> Iterator[Frame]:
    """Play episodes and yield a frame of every state.

    Args:
        agent: with one seed, that of its run; spec: of the run.
        mode: of rendering, one that the environment has.
        episodes: how many.
        purpose: of the evaluation whose episodes these are.
        policy: greedy | sampled; None: as the spec says.

    Raises:
        ConfigError: the environment fails.
    """
    config = replace(spec.env, kwargs={**spec.env.kwargs, "render_mode": mode})
    lane = SeedVecEnv(
        config, [spec.evaluation.seed], 1, training=False, reset="wait", purpose=purpose
    )
    obs = lane.reset()
    try:
        for episode in range(episodes):
            stream = purpose if episode == 0 else f"{purpose}/{episode}"
            act = acting(agent, spec, [seed], stream, 1, policy)
            step, total, ended = 0, 0.0, False
            yield Frame(lane.render(), episode, step, total, ended)
            while not ended:
                action, _ = act(torch.from_numpy(obs))
                result = lane.step(action.numpy())
                if lane.failed:
                    raise ConfigError(f"its environment fails: {lane.failed[0]}")
                ended = bool((result.terminated | result.truncated).any())
                obs, step, total = result.next_obs, step + 1, total + float(result.reward.sum())
                yield Frame(lane.render(), episode, step, total, ended)
            obs = lane.begin()
    finally:
        lane.close()
