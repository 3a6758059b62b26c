"""What updates are compared with: torch's own modules, and advantages in a plain loop."""

from typing import Any

import torch
from torch import Tensor, nn

from tests.helpers import World


def modules(learner: Any, k: int) -> tuple[nn.Module, nn.Module]:
    """Return seed ``k``'s policy and critic as torch's own modules."""
    nets = []
    for row, width in ((2 * k, learner.actor_critic.head.outputs), (2 * k + 1, 1)):
        layers: list[nn.Module] = []
        stacked = [seq[0] for seq in learner.actor_critic.net.net.torso.layers]
        for layer in stacked:
            plain = nn.Linear(layer.n_in, layer.n_out)
            plain.weight.data = layer.weight[row, : layer.n_out, : layer.n_in].detach().clone()
            plain.bias.data = layer.bias[row, 0, : layer.n_out].detach().clone()
            layers += [plain, nn.Tanh()]
        head = learner.actor_critic.net.net.head
        last = nn.Linear(head.n_in, width)
        last.weight.data = head.weight[row, :width, : head.n_in].detach().clone()
        last.bias.data = head.bias[row, 0, :width].detach().clone()
        nets.append(nn.Sequential(*layers, last))
    return nets[0], nets[1]


def filled(learner: Any, world: World) -> Any:
    """Live until the rollout is full; returns its content and leaves it to be learned from."""
    while not learner.experience.due:
        learner.observe(world.step(*learner.act(world.obs)))
    return learner.experience.take()


def rows(x: Tensor, k: int) -> Tensor:
    return x[k].flatten(0, 1)


def gae(c: Any, data: Any, k: int, v: Tensor, v_next: Tensor) -> tuple[Tensor, Tensor]:
    """Return advantages and returns as CleanRL's loop has them, truncations bootstrapped."""
    t, n = data.reward[k].shape
    v, v_next = v.view(t, n), v_next.view(t, n)
    out, last = torch.zeros(t, n), torch.zeros(n)
    for i in reversed(range(t)):
        on = (~data.terminated[k, i]).float()
        inside = on * (~data.truncated[k, i]).float()
        delta = data.reward[k, i] + c.gamma * on * v_next[i] - v[i]
        last = delta + c.gamma * c.gae_lambda * inside * last
        out[i] = last
    return out.flatten(), (out + v).flatten()
