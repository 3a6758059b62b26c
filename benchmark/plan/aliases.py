"""Names of our keys in other libraries, so that errors can suggest the right key."""

from collections.abc import Collection

_SEVERAL = {  # our keys -> names in Stable-Baselines3, CleanRL, Spinning Up, Dopamine, ...
    "algo": "agent algorithm alg policy_class",
    "env": "env_id env_name gym_id environment",
    "seed": "seeds random_seed",
    "budget": (
        "total_timesteps timesteps num_timesteps n_timesteps total_steps max_steps train_steps "
        "total_frames num_frames"
    ),
    "name": "exp_name experiment experiment_name study_name run_name",
    "results": "log_dir logdir output_dir save_dir results_dir",
    "device": "cuda gpu",
    "log_every": "log_interval log_freq log_frequency",
    "evaluation.every": "eval_freq eval_every eval_interval eval_frequency",
    "evaluation.episodes": "n_eval_episodes eval_episodes num_eval_episodes",
    "env.horizon": "max_episode_steps time_limit max_ep_len",
    "tracking": "track use_wandb",
    "tracking.project": "wandb_project wandb_project_name",
    "tracking.entity": "wandb_entity",
    "tracking.video": "capture_video record_video",
    "algo.lanes": "num_envs n_envs num_env n_env num_environments",
    "algo.gamma": "discount discount_factor",
    "algo.hidden": "hidden_sizes hidden_size hidden_dim hidden_dims hidden_layers net_arch",
    "algo.activation": "activation_fn",
    "algo.orthogonal": "ortho_init",
    "algo.grad_clip": "max_grad_norm clip_grad gradient_clip clip_grad_norm",
    "algo.optimizer_eps": "adam_eps adam_epsilon rms_prop_eps",
    "algo.batch_size": "batch minibatch_size mini_batch_size",
    "algo.buffer_size": (
        "buffer buffer_capacity replay_size replay_buffer_size replay_capacity memory_size"
    ),
    "algo.learning_starts": "learning_start update_after min_replay_history",
    "algo.train_every": "train_freq train_frequency update_every update_period",
    "algo.target_every": (
        "target_update target_update_interval target_update_freq target_update_period "
        "target_network_frequency target_network_update_freq"
    ),
    "algo.atoms": "n_atoms num_atoms",
    "algo.quantiles": "n_quantiles num_quantiles",
    "algo.policy_every": "policy_delay policy_frequency policy_freq",
    "algo.target_noise": "policy_noise target_policy_noise",
    "algo.target_noise_clip": "noise_clip",
    "algo.noise_std": "exploration_noise action_noise act_noise expl_noise",
    "algo.actor_lr": "pi_lr policy_lr",
    "algo.critic_lr": "q_lr",
    "algo.epochs": "n_epochs num_epochs update_epochs ppo_epochs",
    "algo.clip": "clip_range clip_coef clip_ratio clip_eps clip_param",
    "algo.value_clip": "clip_range_vf",
    "algo.clip_value": "clip_vloss",
    "algo.value_coef": "vf_coef value_loss_coef",
    "algo.normalize_advantage": "norm_adv",
    "algo.anneal": "anneal_lr",
    "algo.gsde": "use_sde",
    "algo.gsde_every": "sde_sample_freq",
}
# name elsewhere -> alternatives; the first one whose keys all exist in the config applies
ALIASES: dict[str, tuple[str, ...]] = {
    name: (key,) for key, names in _SEVERAL.items() for name in names.split()
} | {
    **dict.fromkeys(
        ("learning_rate", "lr"),
        ("algo.lr", "algo.actor_lr algo.critic_lr", "algo.alpha"),
    ),
    **dict.fromkeys(("n_steps", "num_steps", "nsteps"), ("algo.rollout", "algo.n_step")),
    **dict.fromkeys(("gae_lambda", "lambda", "lam"), ("algo.gae_lambda", "algo.lambda_")),
    **dict.fromkeys(
        ("ent_coef", "entropy_coef", "entropy_coeff"),
        ("algo.temperature algo.alpha", "algo.entropy"),
    ),
    **dict.fromkeys(("start_steps", "random_steps"), ("algo.warmup", "algo.learning_starts")),
    **dict.fromkeys(
        ("epsilon", "epsilon_start", "eps_start", "start_e", "exploration_initial_eps"),
        ("algo.exploration.start", "algo.behaviour.start"),
    ),
    **dict.fromkeys(
        ("epsilon_end", "eps_end", "end_e", "exploration_final_eps"),
        ("algo.exploration.end", "algo.behaviour.end"),
    ),
    "exploration_fraction": ("algo.exploration.fraction", "algo.behaviour.fraction"),
    "eps": ("algo.optimizer_eps algo.exploration.start", "algo.optimizer_eps"),
    "num_workers": ("algo.workers", "hydra.launcher.n_jobs"),
    "n_jobs": ("hydra.launcher.n_jobs",),
}


def ours(key: str, names: Collection[str]) -> list[str]:
    """Return the keys here that mean what ``key`` means elsewhere.

    Args:
        key: dotted or bare; its last word is looked up.
        names: the keys of a config. If it has none of a group (``algo`` before an algorithm is
            chosen), any key of that group may be meant.
    """
    prefix, _, word = key.lower().rpartition(".")
    groups = {name.partition(".")[0] for name in names if "." in name}
    for line in ALIASES.get(word, ()):
        keys = line.split()
        beside = [f"{prefix}.{k.rpartition('.')[2]}".lstrip(".") for k in keys]
        if all(k in names for k in beside):  # evaluation.seeds is evaluation.seed
            return beside
        if all(k in names or ("." in k and k.partition(".")[0] not in groups) for k in keys):
            return keys
    return []
