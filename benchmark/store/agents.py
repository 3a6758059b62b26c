"""Agents by registered name ("dqn") or class ("module:Class"), checked against the protocol."""

from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from prism.algos.core.agent import GREEDY, Agent

from ..util import registry
from ..util.errors import ConfigError

# Built in; installed packages add theirs in the entry-point group "prism.agents".
_OURS = {
    "dqn": "prism.algos.dqn.dqn:DQN",
    "tabular": "prism.algos.tabular.agent:Tabular",
    "cem": "prism.algos.cem.cem:CEM",
    "cem_params": "prism.algos.cem.params:CEMParams",
    "planning": "prism.algos.planning.planner:Planner",
    "a2c": "prism.algos.policy_gradient.a2c:A2C",
    "a3c": "prism.algos.policy_gradient.a3c:A3C",
    "grpo": "prism.algos.policy_gradient.grpo:GRPO",
    "ppo": "prism.algos.policy_gradient.ppo:PPO",
    "sac": "prism.algos.actor_critic.sac:SAC",
    "sac_discrete": "prism.algos.actor_critic.sac_discrete:SACDiscrete",
    "td3": "prism.algos.actor_critic.td3:TD3",
    "reinforce": "prism.algos.policy_gradient.reinforce:Reinforce",
    "trpo": "prism.algos.policy_gradient.trpo:TRPO",
}
_MEMBERS = (
    *("Config", "COMPONENTS", "max_seeds", "interacts"),
    *("unsupported", "act", "observe", "update", "state", "load"),
)
_SETTINGS = ("agent", "lanes", "reset")  # of every Config


@cache
def registered() -> dict[str, str]:
    """Return the class, as "module:Class", of every registered agent."""
    return registry.registered("prism.agents", _OURS)


def agent_name(agent: str) -> str:
    """Return an agent's registered name, which survives a move of its code; else its class."""
    return next((name for name, path in registered().items() if path == agent), agent)


def agent_path(agent: str) -> str:
    """Return an agent's class as "module:Class".

    Raises:
        ConfigError: there is no agent of that name, or the text is not "module:Class".
    """
    return registry.path_of("algo.agent", agent, registered())


def agent_class(agent: str) -> type[Agent]:
    """Return the class of an agent.

    Args:
        agent: a registered name, or "module:Class".

    Raises:
        ConfigError: the string names nothing that can be imported, or the class lacks a member of
            the protocol.
    """
    cls: type[Agent] = registry.find("algo.agent", str(agent), registered())
    if missing := _missing(cls):
        raise ConfigError(
            f"algo.agent={agent} lacks {', '.join(missing)}; an agent needs all of Agent in"
            " algos/core/agent.py"
        )
    return cls


def policies(agent: type[Agent], config: Any) -> tuple[str, ...]:
    """Return the forms in which an agent's policy can be evaluated, the default first."""
    said = getattr(agent, "policies", None)
    return tuple(said(config)) if said is not None else (GREEDY,)


def valued(agent: type[Agent], config: Any) -> str | None:
    """Return the form of the policy that an agent's values are of, or None for neither."""
    said = getattr(agent, "valued", None)
    return said(config) if said is not None else GREEDY


def _missing(agent: Any) -> list[str]:
    lacks = [member for member in _MEMBERS if not hasattr(agent, member)]
    if "Config" not in lacks:
        settings = (
            {field.name for field in fields(agent.Config)} if is_dataclass(agent.Config) else ()
        )
        lacks += [f"Config.{name}" for name in _SETTINGS if name not in settings]
    return lacks
