"""Memory: gated recurrent layers (GRU, LSTM) of K seeds, and their state while acting.

Shape letters: M stacked networks, K seed, T time, B batch, H width of the memory, S numbers of its
state (a GRU's H, an LSTM's 2H). The state before an episode's first step is zero.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from .agent import Step
from .nets import InitStream, Linear, per_seed
from .parts import HasParts

MEMORY = "memory"  # key of Step.memo: the state after the step
_LANES = 32  # float32 numbers that a vector loop takes at once, at most


class MemoryShape(NamedTuple):
    """Kind and size of a network's memory; see ``Recurrent``."""

    kind: str
    width: int
    span: int


class MemoryConfig(Protocol):
    """The settings of an agent's memory."""

    memory: str
    memory_size: int
    memory_span: int


def shape_of(config: MemoryConfig) -> MemoryShape | None:
    """Return the memory of a config's networks; None if they have none."""
    if config.memory == "none":
        return None
    return MemoryShape(config.memory, config.memory_size, config.memory_span)


def _seedwise(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply an elementwise function whose result for a seed does not depend on K (``per_seed``)."""
    return function(x) if x[0].numel() % _LANES == 0 else per_seed(function, x)


class _GRU(torch.autograd.Function):
    """States of a GRU, with a backward pass of its own: autograd's takes three times as long.

    ``x [M, T, B, 3H]``, ``state [M, B, H]``, ``keeps [M, T, B, 1]`` (0 where the state is forgotten
    before the step), ``weight [M, 3H, H]``, ``bias [M, 1, 3H]`` -> ``[M, T, B, H]``.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, state: Tensor, keeps: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        two, by, h = 2 * state.shape[-1], weight.transpose(1, 2), state
        steps = []
        for gate, keep in zip(x.unbind(1), keeps.unbind(1), strict=True):
            before = h * keep
            y = torch.baddbmm(bias, before, by)
            both = _seedwise(torch.sigmoid, gate[..., :two] + y[..., :two])
            reset, update = both.chunk(2, -1)
            new = _seedwise(torch.tanh, gate[..., two:] + reset * y[..., two:])
            h = new + update * (before - new)
            steps.append((before, both, new, y[..., two:], h))
        *saved, states = (torch.stack(each, 1) for each in zip(*steps, strict=True))
        ctx.save_for_backward(keeps, weight, *saved)
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        keeps, weight, before, both, new, y = ctx.saved_tensors
        reset, update = both.chunk(2, -1)
        # what a step's gradient is multiplied by, for all steps at once
        rest = 1 - update
        by_new, by_update = rest * (1 - new * new), (before - new) * update * rest
        by_reset = y * reset * (1 - reset)
        h, by_x, by_y = torch.zeros_like(grad[:, 0]), [], []
        for t in reversed(range(grad.shape[1])):
            h = h + grad[:, t]
            candidate = h * by_new[:, t]
            gates = torch.cat([candidate * by_reset[:, t], h * by_update[:, t]], -1)
            by_x.append(torch.cat([gates, candidate], -1))
            by_y.append(torch.cat([gates, candidate * reset[:, t]], -1))
            h = (h * update[:, t] + torch.bmm(by_y[-1], weight)) * keeps[:, t]
        return torch.stack(by_x[::-1], 1), h, None, *_parameters(by_y[::-1], before)


class _LSTM(torch.autograd.Function):
    """States of an LSTM ``[M, T, B, 2H]``, output and cell; as ``_GRU``, with 4H gates."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, state: Tensor, keeps: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        by, width = weight.transpose(1, 2), state.shape[-1] // 2
        steps = []
        for gate, keep in zip(x.unbind(1), keeps.unbind(1), strict=True):
            h, c = (state * keep).chunk(2, -1)
            gates = gate + torch.baddbmm(bias, h, by)
            both = _seedwise(torch.sigmoid, gates[..., : 2 * width].contiguous())
            new = _seedwise(torch.tanh, gates[..., 2 * width : 3 * width].contiguous())
            show = _seedwise(torch.sigmoid, gates[..., 3 * width :].contiguous())
            cell = both[..., width:] * c + both[..., :width] * new
            shown = _seedwise(torch.tanh, cell)
            state = torch.cat([show * shown, cell], -1)
            steps.append((h, c, both, new, show, shown, state))
        *saved, states = (torch.stack(each, 1) for each in zip(*steps, strict=True))
        ctx.save_for_backward(keeps, weight, *saved)
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        keeps, weight, before, cell, both, new, show, shown = ctx.saved_tensors
        write, keep = both.chunk(2, -1)
        by_cell, by_show = show * (1 - shown * shown), shown * show * (1 - show)
        by_write, by_keep = new * write * (1 - write), cell * keep * (1 - keep)
        by_new = write * (1 - new * new)
        state, by_x = torch.zeros_like(grad[:, 0]), []
        for t in reversed(range(grad.shape[1])):
            h, c = (state + grad[:, t]).chunk(2, -1)
            c = c + h * by_cell[:, t]
            gates = (c * by_write[:, t], c * by_keep[:, t], c * by_new[:, t], h * by_show[:, t])
            by_x.append(torch.cat(gates, -1))
            h, c = torch.bmm(by_x[-1], weight), c * keep[:, t]
            state = torch.cat([h, c], -1) * keeps[:, t]
        return torch.stack(by_x[::-1], 1), state, None, *_parameters(by_x[::-1], before)


def _parameters(by_y: list[Tensor], before: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of weight and bias, summed over all steps in one product."""
    grad = torch.stack(by_y, 1).flatten(1, 2)
    return torch.bmm(grad.transpose(1, 2), before.flatten(1, 2)), grad.sum(1, keepdim=True)


class Recurrent(nn.Module):
    """M recurrent layers; formulas and the order of the gates are torch's.

    GRU: Cho et al. 2014, with the reset gate applied after the product, as in torch. LSTM:
    Hochreiter and Schmidhuber 1997, with forget gates (Gers et al. 2000).

    Args:
        init: draws the initial parameters. n_in: inputs.
        shape: kind, "gru" or "lstm"; width: H, at least 2.
            span: the gates' biases start so that each unit keeps its content for some 2 to
            ``span`` steps (Tallec and Ollivier 2018, section 2.1); 2: biases are not set.

    Attributes:
        size: S.
    """

    def __init__(self, init: InitStream, n_in: int, shape: MemoryShape) -> None:
        super().__init__()
        kind, width, span = shape
        self.width, self.size = width, width if kind == "gru" else 2 * width
        gates = 3 * width if kind == "gru" else 4 * width
        self.by_input = Linear(init, n_in, gates)
        self.by_state = Linear(init, width, gates)
        self._kind, self._keeps = kind, init((1, width)).add_(1).mul_((span - 2) / 2).add_(1)
        self._reach()
        self._unroll: Callable[..., Tensor] = _GRU.apply if kind == "gru" else _LSTM.apply

    @torch.no_grad()
    def _reach(self) -> None:
        """Add to the biases what makes each unit keep its content for its span."""
        gates, bias = self.by_state.bias, per_seed(torch.log, self._keeps)
        assert gates is not None
        # the second gate of both kinds keeps; an LSTM's first one writes
        gates[..., self.width : 2 * self.width] += bias
        if self._kind == "lstm":
            gates[..., : self.width] -= bias

    @torch.no_grad()
    def orthogonal(self, init: InitStream, gain: float) -> None:
        """Reset to orthogonal weights times ``gain``, and to the biases that the span asks for."""
        for layer in (self.by_input, self.by_state):
            layer.orthogonal(init, gain)
        self._reach()

    def forward(
        self, x: Tensor, state: Tensor, begins: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over sequences.

        Args:
            x: ``[M, T, B, in]``. state: ``[M, B, S]``, before the first step.
            begins: ``[M, T, B]`` bool, where an episode begins; the state is zero there.

        Returns:
            Outputs ``[M, T, B, H]``, and the states after each step ``[M, T, B, S]``.
        """
        grid = x.shape[:3]
        gates = self.by_input(x.flatten(1, 2)).view(*grid, -1)
        keeps = x.new_ones(grid) if begins is None else (~begins).to(x.dtype)
        keeps = keeps.unsqueeze(-1)
        if grid[2] == 1:  # see nets.py: a product of one row has other bits
            gates, keeps = gates.expand(-1, -1, 2, -1), keeps.expand(-1, -1, 2, -1)
            state = state.expand(-1, 2, -1)
        states = self._unroll(gates, state, keeps, self.by_state.weight, self.by_state.bias)
        states = states[:, :, : grid[2]]
        return states[..., : self.width], states


class Memory(HasParts):
    """The states of K seeds' networks while they act, ``[K, members, N, S]``.

    Training and greedy acting each have their own. ``forget`` resets that of greedy acting, which
    is not saved with the agent: its training does not depend on it.

    Args:
        k: seeds. members: networks of a seed. lanes: N in training. size: S. device: where it is.

    Attributes:
        training: the state before the next step.
    """

    PARTS = ("training",)

    def __init__(self, k: int, members: int, lanes: int, size: int, device: torch.device) -> None:
        self.training = torch.zeros(k, members, lanes, size, device=device)
        self.forget()

    def forget(self) -> None:
        """Reset the states of greedy acting."""
        self._greedy: Tensor | None = None

    def recall(self, explore: bool, lanes: int) -> Tensor:
        """Return the states before a step of training, or of greedy acting in ``lanes`` lanes."""
        if explore:
            return self.training
        if self._greedy is None:
            k, members, _, size = self.training.shape
            self._greedy = self.training.new_zeros(k, members, lanes, size)
        return self._greedy

    def acted(self, state: Tensor, explore: bool) -> dict[str, Tensor]:
        """Keep the states after a step of greedy acting; return those of training as a memo.

        The memo is ``[K, N, members, S]``.
        """
        if explore:
            return {MEMORY: state.transpose(1, 2)}
        self._greedy = state
        return {}

    def observe(self, step: Step) -> None:
        """Take over the states after a step of training; zero where an episode ended."""
        ended = (step.terminated | step.truncated)[:, None, :, None]
        self.training = torch.where(ended, 0.0, step.memo[MEMORY].transpose(1, 2))
