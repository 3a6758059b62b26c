"""SAC on Pendulum compared with Stable-Baselines3, at the paper's network size and a small one."""

import statistics
from itertools import pairwise

from tools.bench.measure import Group, Result, measured, train


def peer(hidden: int, batch: int, budget: int) -> Result:
    """Train Stable-Baselines3's SAC on Pendulum with the settings of our ``sac`` preset."""
    import torch
    from stable_baselines3 import SAC

    torch.set_num_threads(1)
    model = SAC(
        "MlpPolicy",
        "Pendulum-v1",
        learning_rate=3e-4,
        buffer_size=budget,
        learning_starts=1_000,
        batch_size=batch,
        tau=0.005,
        gamma=0.99,
        train_freq=1,
        gradient_steps=1,
        ent_coef="auto",
        policy_kwargs={"net_arch": [hidden, hidden]},
        device="cpu",
        seed=0,
    )
    return measured(lambda: model.learn(budget), budget)


def ours(seeds: int, hidden: int, batch: int, budget: int) -> Result:
    """Train our SAC with two hidden layers of ``hidden`` units and the given batch size."""
    size = {"algo__hidden": [hidden, hidden], "algo__batch_size": batch}
    return train("sac", "pendulum", seeds, budget, **size)


def products(hidden: int, batch: int, updates: int) -> Result:
    """Compute only the matrix products of one seed's updates on Pendulum."""
    import torch

    torch.set_num_threads(1)
    actor, critics = (1, [3, hidden, hidden, 2]), (2, [4, hidden, hidden, 2])  # a width of 1 is 2
    # networks, widths, (outputs, gradients of the weights, gradients of the inputs) per update
    passes = ((*actor, (2, 1, 1)), (*critics, (3, 1, 2)))
    work = []
    for networks, widths, (outputs, weights, inputs) in passes:
        for n_in, n_out in pairwise(widths):
            x, g = (torch.zeros(networks, batch, n) for n in (n_in, n_out))
            w = torch.zeros(networks, n_out, n_in)
            work += [(x, w.mT)] * outputs + [(g.mT, x)] * weights + [(g, w)] * inputs

    def compute() -> None:
        for _ in range(updates):
            for a, b in work:
                torch.bmm(a, b)

    return measured(compute, updates)


def _report_products(results: dict[str, list[Result]]) -> None:
    cpu = {case: statistics.median(run["cpu"] for run in runs) for case, runs in results.items()}
    share = cpu["its products"] / cpu["sac k=1"]
    print(f"  matrix products: {share:.0%} of the CPU time of sac k=1")


_STEPS = 4_000
_UPDATES = _STEPS - 1_000 + 1  # the first at step 1,000

GROUPS = {
    "sac": Group(
        {
            "sac k=1": lambda: ours(1, 256, 256, _STEPS),
            "sb3 sac": lambda: peer(256, 256, _STEPS),
            "its products": lambda: products(256, 256, _UPDATES),
        },
        ratios=(("sac k=1", "sb3 sac"),),
        report=_report_products,
    ),
    "sac_small": Group(
        {
            "sac 64 k=1": lambda: ours(1, 64, 64, _STEPS),
            "sac 64 k=10": lambda: ours(10, 64, 64, _STEPS),
            "sb3 sac 64": lambda: peer(64, 64, _STEPS),
        },
        ratios=(("sac 64 k=1", "sb3 sac 64"), ("sac 64 k=10", "sb3 sac 64")),
    ),
}
