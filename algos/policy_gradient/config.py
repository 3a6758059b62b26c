"""Settings that the policy-gradient agents share."""

from dataclasses import dataclass

from ..core import legality, torso
from ..core.configs import DeepConfig
from ..core.settings import setting


@dataclass
class PolicyGradientConfig(DeepConfig):
    """Network, optimiser and normalisation; steps are environment steps of one seed."""

    lanes: int = 4

    activation: str = setting("tanh", "behind each hidden layer", choices=tuple(torso.ACTIVATIONS))
    orthogonal: bool = setting(
        True, "orthogonal initial weights, with gains sqrt(2), 0.01 (policy), 1 (critic)"
    )
    shared: bool = setting(False, "one torso for policy and critic")
    log_std: float = setting(
        0.0,
        "log of a continuous policy's deviation at the start; it does not depend on the state",
        free=True,
    )

    optimizer_eps: float = 1e-5
    grad_clip: float | None = 0.5
    masks: str = legality.masks_setting()
    anneal: bool = setting(False, "the learning rate falls linearly to 0 at the budget's end")
    entropy: float = setting(
        0.0, "weight of the policy's entropy in the objective (`ent_coef` elsewhere)", ge=0
    )

    normalize_obs: bool = setting(False, "observations by their running mean and deviation")
    normalize_reward: bool = setting(
        False, "rewards by the running deviation of the discounted return"
    )


def check_batches(batch_size: int, rollout: int, lanes: int) -> None:
    """Raise unless minibatches divide the rows of a rollout."""
    rows = rollout * lanes
    if rows % batch_size:
        raise ValueError(
            f"batch_size={batch_size} must divide rollout * lanes = {rollout} * {lanes} = {rows}"
        )
