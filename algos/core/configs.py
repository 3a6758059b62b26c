"""Settings that agents of several families share."""

from collections.abc import Sequence
from dataclasses import dataclass

from . import optim, schedules
from .settings import check, defaults, open_groups, setting


@dataclass
class AgentConfig:
    """What the config of every agent holds; subclasses add their own, and their checks."""

    agent: str = setting("", "registered name of the agent, or module:Class")
    name: str = setting("", "name of the preset, algo=<name>")
    label: str = setting("", "what tables and figures call it")
    lanes: int = setting(1, "parallel environments per seed (`num_envs` elsewhere)", ge=1)
    reset: str = setting("each", "an episode begins where one ended", choices=("each",))
    gamma: float = setting(0.99, "discount per step", ge=0, le=1)

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        open_groups(self)
        check(self)


@dataclass
class DeepConfig(AgentConfig):
    """An agent of networks and their optimiser."""

    hidden: list[int] = setting([64, 64], "widths of the hidden layers", ge=1)
    conv: list[list[int]] = setting(
        [[16, 3, 1]],
        "layers before them where observations are images: [channels, kernel, stride] of each",
        ge=1,
    )
    optimizer: str = setting(
        "adam", "how a step follows from gradients; rmsprop is centred", choices=optim.KINDS
    )
    lr: float = setting(2.5e-4, "learning rate", ge=0)
    optimizer_eps: float = setting(  # at 0, a parameter without gradients becomes NaN
        1e-8, "added to the root of the second moment, Adam's and RMSprop's epsilon", gt=0
    )
    betas: list[float] = setting(
        [0.9, 0.999], "Adam's decay rates of the first and the second moment", ge=0, lt=1
    )
    rmsprop_alpha: float = setting(
        0.999, "RMSprop's decay rate of the mean square (`alpha` in torch)", ge=0, lt=1
    )
    grad_clip: float | None = setting(
        None, "bound on each seed's gradient norm (`max_grad_norm` elsewhere); null: none", gt=0
    )

    def __post_init__(self) -> None:
        """Check every value, and that those of the optimiser and of a convolution fit together.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        if len(self.betas) != 2:
            raise ValueError(f"betas must be two numbers, got {list(self.betas)}")
        if (
            self.optimizer.startswith("rmsprop")
            and list(self.betas) != defaults(type(self))["betas"]
        ):
            raise ValueError(f"betas are Adam's; optimizer={self.optimizer} has rmsprop_alpha")
        check_conv(self.conv)


def check_conv(conv: Sequence[Sequence[int]]) -> None:
    """Raise unless every convolution is three numbers."""
    for layer in conv:
        if len(layer) != 3:
            says = "conv must be [channels, kernel, stride] of each layer"
            raise ValueError(f"{says}, got {list(layer)}")


@dataclass
class MemoryConfig:
    """What carries over the steps of an episode; see ``core/recurrent.py``."""

    memory: str = setting(
        "none",
        "recurrent layer behind the hidden ones; it carries over an episode's steps",
        choices=("none", "gru", "lstm"),
    )
    memory_size: int = setting(64, "its width (memory=gru, lstm)", ge=2)
    memory_span: int = setting(
        32,
        "steps over which it reaches at the start (Tallec and Ollivier 2018); 2: as its weights do",
        ge=2,
    )


@dataclass
class LevelConfig:
    """A behaviour policy and its level, which falls during training; see ``core/schedules.py``."""

    kind: str = setting("epsilon_greedy", "the policy")
    start: float = setting(
        1.0, "level at the start: epsilon, or a temperature in units of value", ge=0
    )
    end: float = setting(0.05, "level at the end", ge=0)
    fraction: float = setting(
        0.5,
        "share of the budget after which `end` is reached; harmonic: `start` is halved",
        ge=0,
        le=1,
    )
    schedule: str = setting("linear", "how the level falls", choices=schedules.KINDS)
