"""Tabular Q-learning on FrozenLake: seed-batched table look-ups compared with a plain loop."""

from tools.bench.measure import Group, Result, measured, train


def plain(steps: int) -> Result:
    """Run textbook Q-learning: ``gymnasium.make``, a numpy table, one step at a time."""
    import gymnasium
    import numpy as np

    env = gymnasium.make("FrozenLake-v1")
    rng, q = np.random.default_rng(0), np.zeros((16, 4))
    alpha, gamma, epsilon = 0.1, 0.99, 0.1

    def learn() -> None:
        s, _ = env.reset(seed=0)
        for _ in range(steps):
            a = int(rng.integers(4)) if rng.random() < epsilon else int(np.argmax(q[s]))
            s_next, r, terminated, truncated, _ = env.step(a)
            target = r + gamma * (1 - terminated) * np.max(q[s_next])
            q[s, a] += alpha * (target - q[s, a])
            s = env.reset()[0] if terminated or truncated else s_next

    return measured(learn, steps)


_STEPS = 50_000  # of each seed: the environment's own budget

GROUPS = {
    "tabular": Group(
        {
            "q-learning k=1": lambda: train("q_learning", "frozenlake", 1, _STEPS),
            "q-learning k=100": lambda: train("q_learning", "frozenlake", 100, _STEPS),
            "q-learning k=1000": lambda: train("q_learning", "frozenlake", 1000, _STEPS),
            "plain loop": lambda: plain(100_000),
        },
        ratios=(("q-learning k=100", "plain loop"), ("q-learning k=1000", "plain loop")),
    )
}
