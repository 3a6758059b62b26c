"""Which distributions simulate an environment: their versions can change what it does."""

import re

EXTRAS = {"box2d": "box2d", "mujoco": "mujoco", "ale-py": "atari"}  # our extra that brings it
_BY_PART = {"MinAtar": "minatar", "Lunar": "box2d", "Bipedal": "box2d", "ALE": "ale-py"}
_MUJOCO = re.compile(
    r"(Cheetah|Hopper|Walker2d|Ant|Humanoid|Swimmer|Reacher|Pusher|Inverted).*-v\d"
)


def simulators(env_id: str) -> list[str]:
    """Return the distributions behind an environment's id, Gymnasium itself left out."""
    found = [distribution for part, distribution in _BY_PART.items() if part in env_id]
    return [*found, "mujoco"] if _MUJOCO.match(env_id) else found
