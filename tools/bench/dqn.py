"""The DQN family: CleanRL's CartPole settings compared with Stable-Baselines3, and MinAtar."""

from typing import Any

from tools.bench.measure import Group, Result, measured, train


def peer(budget: int) -> Result:
    """Train Stable-Baselines3's DQN on CartPole with the settings of our ``dqn`` preset."""
    import torch
    from stable_baselines3 import DQN

    torch.set_num_threads(1)
    model = DQN(
        "MlpPolicy",
        "CartPole-v1",
        learning_rate=2.5e-4,
        buffer_size=10_000,
        learning_starts=10_000,
        batch_size=128,
        gamma=0.99,
        train_freq=10,
        gradient_steps=1,
        target_update_interval=500,
        exploration_fraction=0.5,
        exploration_final_eps=0.05,
        policy_kwargs={"net_arch": [120, 84]},
        device="cpu",
        seed=0,
    )
    return measured(lambda: model.learn(budget), budget)


_MINATAR: dict[str, Any] = {
    "algo__hidden": [128],
    "algo__batch_size": 32,
    "algo__train_every": 1,
    "algo__learning_starts": 5_000,
    "algo__buffer_size": 100_000,
}
_MEMORY = _MINATAR | {"algo__train_every": 100, "checkpoint_every": 20}

GROUPS = {
    "dqn": Group(
        {
            "dqn k=1": lambda: train("dqn", "cartpole", 1, 50_000),
            "dqn k=10": lambda: train("dqn", "cartpole", 10, 50_000),
            "sb3 dqn": lambda: peer(50_000),
        },
        ratios=(("dqn k=1", "sb3 dqn"), ("dqn k=10", "sb3 dqn")),
    ),
    "rainbow": Group(
        {
            "rainbow k=1": lambda: train("rainbow", "cartpole", 1, 20_000),
            "rainbow k=10": lambda: train("rainbow", "cartpole", 10, 20_000),
        },
        ratios=(("rainbow k=10", "rainbow k=1"),),
    ),
    "minatar": Group(
        {
            "dqn minatar k=1": lambda: train("dqn", "minatar_breakout", 1, 20_000, **_MINATAR),
            "dqn minatar k=10": lambda: train("dqn", "minatar_breakout", 10, 20_000, **_MINATAR),
        },
        ratios=(("dqn minatar k=10", "dqn minatar k=1"),),
    ),
    "memory": Group(
        {"memory": lambda: train("dqn", "minatar_seaquest", 10, 100_000, **_MEMORY)}, repeats=1
    ),
}
