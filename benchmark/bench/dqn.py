"""The DQN family: at CleanRL's CartPole settings beside Stable-Baselines3, and on MinAtar."""

import statistics
from typing import Any

from benchmark.bench.measure import Group, Result, measured, train


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


def _report_overhead(results: dict[str, list[Result]]) -> None:
    """Tell what a job pays for its records, and what of it it pays once, whatever its length."""
    more, fixed = (
        [full["cpu"] - bare["cpu"] for full, bare in zip(results[a], results[b], strict=True)]
        for a, b in (("records", "no records"), ("records, start", "no records, start"))
    )
    shares = [x / bare["cpu"] for x, bare in zip(more, results["no records"], strict=True)]
    print(
        f"  records add {statistics.mean(shares):.1%} of CPU time ({min(shares):.1%} to "
        f"{max(shares):.1%}, n = {len(shares)} pairs), {statistics.median(fixed):.2f} CPU seconds "
        "of it once, whatever the length"
    )


# All that a job keeps, at the defaults: rows, W&B offline, evaluations, checkpoints.
_RECORDS: dict[str, Any] = {
    "log_every": None,
    "checkpoint_every": 60,
    "evaluation__every": None,
    "tracking__wandb": "offline",
}
_ONCE = _RECORDS | {"log_every": 1_000, "evaluation__every": 0}
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
    "overhead": Group(
        {
            "records": lambda: train("dqn", "cartpole", 10, 500_000, **_RECORDS),
            "no records": lambda: train("dqn", "cartpole", 10, 500_000),
            "records, start": lambda: train("dqn", "cartpole", 10, 1_000, **_ONCE),
            "no records, start": lambda: train("dqn", "cartpole", 10, 1_000),
        },
        abreast=True,
        report=_report_overhead,
    ),
    "memory": Group(
        {"memory": lambda: train("dqn", "minatar_seaquest", 10, 100_000, **_MEMORY)}, repeats=1
    ),
}
