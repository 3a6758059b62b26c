"""What is named as an agent is held to the contract before anything runs."""

from dataclasses import dataclass

import pytest

from prism.algos.dqn.dqn import DQN
from prism.benchmark.store.agents import agent_class, agent_name, registered
from prism.benchmark.util.errors import ConfigError


@dataclass
class Settings:
    """A config that lacks two settings of the contract."""

    agent: str = ""


class Halfway:
    """An agent somebody has begun."""

    Config = Settings
    COMPONENTS = ()
    unsupported, act, update, state, load = (
        DQN.unsupported, DQN.act, DQN.update, DQN.state, DQN.load,
    )  # fmt: skip


@pytest.mark.parametrize("name", registered())
def test_every_agent_of_ours_keeps_the_contract(name):
    path = registered()[name]
    assert agent_class(name).__name__ == path.partition(":")[2]
    assert agent_class(name) is agent_class(path)
    assert agent_name(path) == agent_name(name) == agent_class(name).Config().agent == name


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (f"{__name__}:Halfway", "lacks max_seeds, interacts, observe, Config.lanes, Config.reset;"),
        ("prism.algos.dqn.config:DQNConfig", "lacks Config, COMPONENTS, max_seeds, interacts,"),
        ("prism.algos.dqn.dqn", "unknown 'prism.algos.dqn.dqn'"),
        ("dqm", "nearest: dqn"),
        ("dqn:", "give a registered name or module:Class"),
        ("prism.algos.dqn.dqn:DQM", "has no attribute 'DQM'"),
        ("algos.dqm.dqn:DQN", "cannot be imported: No module named 'algos.dqm'"),
    ],
)
def test_what_an_agent_lacks_is_named(path, why):
    with pytest.raises(ConfigError) as told:
        agent_class(path)
    assert why in str(told.value) and str(told.value).count("\n") == 0
