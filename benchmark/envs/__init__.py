"""Environments: construction, wrappers, vector environments of K seeds x N lanes, Prism's own ids.

Importing this package registers the ids below. Their modules are imported on first use.
"""

import gymnasium

MINATAR_GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
PROBES = (
    "ConstantTruncated",
    "ConstantTerminated",
    "Chain",
    "Identity",
    "Follow",
    "Roulette",
    "Raises",
    "NaN",
)
# from Sutton and Barto (2018); see textbook.py
TEXTBOOK = ("RandomWalk", "WindyGridworld", "DynaMaze", "MaximisationBias", "Bandit")

for _game in MINATAR_GAMES:
    gymnasium.register(
        f"Prism/MinAtar{_game.title().replace('_', '')}-v0",
        entry_point="prism.benchmark.envs.minatar:MinAtar",
        kwargs={"game": _game},
    )
gymnasium.register("Prism/Atari-v0", entry_point="prism.benchmark.envs.atari:atari")
for _model in TEXTBOOK:
    gymnasium.register(
        f"Prism/{_model}-v0",
        entry_point="prism.benchmark.envs.textbook:make",
        kwargs={"model": _model},
    )
for _probe in PROBES:
    gymnasium.register(f"Prism/{_probe}-v0", entry_point=f"prism.benchmark.envs.probes:{_probe}")
gymnasium.register("Prism/TMaze-v0", entry_point="prism.benchmark.envs.memory:TMaze")
gymnasium.register(
    "Prism/CartPolePositions-v0",
    entry_point="prism.benchmark.envs.memory:CartPolePositions",
    max_episode_steps=500,  # as CartPole-v1
)
