"""Names that are known from elsewhere lead to ours."""

import re
from collections.abc import Iterator
from functools import cache

import pytest
from omegaconf import DictConfig

from prism.benchmark.plan import config as cfg
from prism.benchmark.plan.aliases import ALIASES, ours
from prism.benchmark.plan.grid import sweep
from prism.benchmark.util.errors import ConfigError

# one preset of each kind of config
KINDS = ("dqn", "ppo", "a3c", "grpo", "trpo", "reinforce", "td3", "sac", "q_learning", "cem")
LINES = [(name, line) for name, lines in ALIASES.items() for line in lines]


@cache
def names() -> list[set[str]]:
    """Return the keys that each kind of config has."""
    with cfg.session():
        return [set(keys(cfg.composed(f"algo={name}", "env=cartpole"))) for name in KINDS]


def keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for key, value in node.items_ex(resolve=False):
        yield f"{prefix}{key}"
        if isinstance(value, DictConfig):
            yield from keys(value, f"{prefix}{key}.")


@pytest.mark.parametrize(("name", "line"), LINES, ids=[f"{n}, {line}" for n, line in LINES])
def test_each_name_leads_to_keys_that_are_there(name: str, line: str) -> None:
    tried = [(key, there) for there in names() for key in (name, f"algo.{name}")]
    found = [there for key, there in tried if key not in there and ours(key, there) == line.split()]
    assert found  # no line stands behind others that always match
    assert line.startswith("hydra.") or all(set(line.split()) <= there for there in found)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("algo=dqn algo.learning_rate=1e-3", "algo.learning_rate: .* called algo.lr"),
        ("algo=dqn learning_rate=1e-3", "learning_rate: .* called algo.lr"),
        ("algo=sac algo.lr=1e-3", "algo.lr: .* called algo.actor_lr or algo.critic_lr"),
        ("algo=q_learning algo.learning_rate=1", "algo.learning_rate: .* called algo.alpha"),
        ("algo=ppo num_envs=8", "num_envs: .* called algo.lanes"),
        ("algo=ppo algo.n_envs=8", "algo.n_envs: .* called algo.lanes"),
        ("algo=dqn algo.batch=8", "algo.batch: .* called algo.batch_size"),
        ("algo=dqn total_timesteps=8", "total_timesteps: .* called budget"),
        ("agent=dqn", "agent: .* called algo"),
        ("algo=dqn env_id=CartPole-v1", "env_id: .* called env"),
        ("algo=dqn discount=0.9", "discount: .* called algo.gamma"),
        ("algo=dqn seeds=1", "seeds: .* called seed"),
        ("algo=dqn evaluation.seeds=1", "evaluation.seeds: .* called evaluation.seed"),
        ("algo=ppo algo.n_steps=8", "algo.n_steps: .* called algo.rollout"),
        ("algo=dqn algo.n_steps=8", "algo.n_steps: .* called algo.n_step"),
        ("algo=td3 algo.hidden_sizes=[8]", "algo.hidden_sizes: .* called algo.hidden"),
        ("algo=sarsa_lambda algo.gae_lambda=1", "algo.gae_lambda: .* called algo.lambda_"),
        ("algo=dqn algo.adam_eps=1", "algo.adam_eps: .* called algo.optimizer_eps"),
        ("algo=sac algo.ent_coef=1", "algo.ent_coef: .* called algo.temperature or algo.alpha"),
        ("study=quickstart learning_rate=1e-3", "learning_rate: .* called algo.lr"),
        ("algo=dqn algo.gae_lambda=1", "algo.gae_lambda: no such key; nearest: .*"),  # not here
        ("algo=dqn gamma=0.9", "gamma: no such key; nearest: algo.gamma"),
        ("algo=ppo gae_lambda=0.9", "gae_lambda: .* called algo.gae_lambda"),
    ],
)
def test_what_a_command_is_told(words: str, told: str) -> None:
    env = () if "study=" in words or "env" in words.replace("envs", "") else ("env=cartpole",)
    with pytest.raises(ConfigError) as caught:
        sweep((*words.split(), *env))
    assert re.fullmatch(told, str(caught.value)), caught.value


def test_a_key_of_a_group_that_is_not_chosen_yet_may_be_meant() -> None:
    assert ours("learning_rate", ["budget", "algo", "env.id"]) == ["algo.lr"]
    assert ours("learning_rate", ["budget", "algo.gamma"]) == []
    assert ours("learning_rate", ["name", "lr"]) == ["lr"]  # in a file of one's own
    assert ours("Discount", ["algo.gamma"]) == ["algo.gamma"]
    assert ours("gamma", ["algo.gamma"]) == []
