"""The distributions that simulate an environment; their versions can change its behaviour."""

import re

EXTRAS = {"box2d": "box2d", "mujoco": "mujoco", "ale-py": "atari"}  # -> the extra that installs it
_BY_PART = {"MinAtar": "minatar", "Lunar": "box2d", "Bipedal": "box2d", "ALE": "ale-py"}
_MUJOCO = re.compile(
    r"(Cheetah|Hopper|Walker2d|Ant|Humanoid|Swimmer|Reacher|Pusher|Inverted).*-v\d"
)


def simulators(env_id: str) -> list[str]:
    """Return the distributions that simulate an environment, besides Gymnasium."""
    names = [distribution for part, distribution in _BY_PART.items() if part in env_id]
    return [*names, "mujoco"] if _MUJOCO.match(env_id) else names
