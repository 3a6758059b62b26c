"""How far the values are from the exact ones, where the model is known: a metric, not a teacher."""

import torch
from torch import Tensor

from ..formulas import dynamic_programming as dp
from .mdp import MDP, tensors

_LARGEST = 5000  # states; beyond, the exact solution would cost more than the learning


class Oracle:
    """The optimal values, or the uniform policy's, and the distance to them.

    Args:
        model: None where it is unknown. gamma: discount. predict: whether state values of the
            uniform policy are learned.
    """

    def __init__(self, model: MDP | None, gamma: float, predict: bool) -> None:
        self.v: Tensor | None = None
        if model is None or model.states > _LARGEST:
            return
        branches = tensors(model, gamma)
        try:
            if predict:
                uniform = torch.as_tensor(model.uniform)
                q = dp.expected(dp.evaluate(branches, uniform), uniform)
            else:
                q = dp.optimal(branches).amax(-1)
        except ArithmeticError:
            return  # the values are not finite, so there is no distance
        self.v = q
        self.where = torch.as_tensor(model.reachable())

    def errors(self, v: Tensor) -> dict[str, Tensor]:
        """Return the root mean square error of ``v [K, S]`` over the reachable states, ``[K]``."""
        if self.v is None:
            return {}
        error = (v.cpu() - self.v)[:, self.where]
        return {"error/rms": error.square().mean(-1).sqrt()}
