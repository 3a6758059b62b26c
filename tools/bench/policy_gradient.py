"""Policy gradients: PPO on CartPole compared with Stable-Baselines3; other on-policy agents."""

from functools import partial

from tools.bench.measure import Group, Result, measured, train

_STEPS = 51_200  # a whole number of rollouts; a rollout is 4 lanes x 128 steps


def peer(budget: int) -> Result:
    """Train Stable-Baselines3's PPO on CartPole with the settings of our ``ppo`` preset."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=4, seed=0),
        learning_rate=lambda left: 2.5e-4 * left,
        n_steps=128,
        batch_size=128,
        n_epochs=4,
        gamma=0.99,
        gae_lambda=0.95,
        clip_range=0.2,
        clip_range_vf=0.2,
        ent_coef=0.01,
        vf_coef=0.25,  # of the whole squared error; ours is of half
        max_grad_norm=0.5,
        device="cpu",
        seed=0,
    )
    return measured(lambda: model.learn(budget), budget)


GROUPS = {
    "ppo": Group(
        {
            "ppo k=1": lambda: train("ppo", "cartpole", 1, _STEPS),
            "ppo k=10": lambda: train("ppo", "cartpole", 10, _STEPS),
            "sb3 ppo": lambda: peer(_STEPS),
        },
        ratios=(("ppo k=1", "sb3 ppo"), ("ppo k=10", "sb3 ppo")),
    ),
    "on-policy": Group(
        {
            name: partial(train, name, "cartpole", 10, _STEPS)
            for name in ("a2c", "reinforce_baseline", "trpo", "grpo")
        },
    ),
}
