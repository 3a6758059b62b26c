"""Train Stable-Baselines3's SAC on Hopper at the settings of ``algo=sac env=hopper``.

``python tools/peers/sb3_sac.py --seeds 0 1 --out sb3_sac_hopper.csv`` appends a row per seed and
evaluation: seed, environment steps, mean return of ten deterministic episodes. It needs
stable-baselines3 2.9 and MuJoCo. The settings are what ``prism --cfg job algo=sac env=hopper``
prints, with two hidden layers of 64.
"""

import argparse
import csv
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import set_random_seed

ENV, BUDGET, EVERY, EPISODES, WARMUP = "Hopper-v5", 100_000, 10_000, 10, 10_000
EVALUATION_SEED = 12_345  # of the first episode


class Peer(SAC):
    """SAC whose random steps outlast the first update, as Prism's ``warmup`` does."""

    def _sample_action(self, learning_starts, action_noise=None, n_envs=1):  # type: ignore[no-untyped-def]
        return super()._sample_action(WARMUP, action_noise, n_envs)


class Evaluation(BaseCallback):
    """Writes a row at every ``EVERY`` steps."""

    def __init__(self, seed: int, out: Path) -> None:
        super().__init__()
        self.seed, self.out, self.env = seed, out, gym.make(ENV)

    def _on_step(self) -> bool:
        # before the update of this step
        if self.num_timesteps % EVERY == 0:
            append(self.out, [self.seed, self.num_timesteps, f"{self._score():.2f}"])
        return True

    def _score(self) -> float:
        returns = []
        for episode in range(EPISODES):
            obs, _ = self.env.reset(seed=EVALUATION_SEED + episode)
            total, ended = 0.0, False
            while not ended:
                action, _ = self.model.predict(obs, deterministic=True)
                obs, reward, terminated, truncated, _ = self.env.step(action)
                total, ended = total + float(reward), terminated or truncated
            returns.append(total)
        return float(np.mean(returns))


def append(out: Path, row: list[object]) -> None:
    """Add a row to a CSV, and the header before the first."""
    fresh = not out.exists()
    with out.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(["seed", "step", "mean_return"])
        writer.writerow(row)


def train(seed: int, out: Path) -> None:
    """Train one seed."""
    set_random_seed(seed)
    model = Peer(
        "MlpPolicy",
        gym.make(ENV),
        learning_rate=3e-4,
        buffer_size=BUDGET,  # nothing is ever forgotten, as with Prism's million
        learning_starts=1_000,
        batch_size=256,
        tau=0.005,
        gamma=0.99,
        train_freq=1,
        gradient_steps=1,
        ent_coef="auto_1.0",
        target_entropy="auto",
        policy_kwargs={"net_arch": [64, 64], "n_critics": 2},
        seed=seed,
        device="cpu",
    )
    model.learn(BUDGET, callback=Evaluation(seed, out))


def main() -> None:
    """Train the seeds of the command line, one after another."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed in options.seeds:
        train(seed, options.out)


if __name__ == "__main__":
    main()
