"""Stacked recurrent layers are torch's, seed by seed, and forget where an episode begins."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prism.algos.core.agent import Step
from prism.algos.core.nets import InitStream
from prism.algos.core.recurrent import MEMORY, Memory, MemoryShape, Recurrent
from tests.helpers import CPU, SEEDS

K, T, B, IN, H = len(SEEDS), 6, 4, 3, 5
TORCH: dict[str, Any] = {"gru": nn.GRU, "lstm": nn.LSTM}


def noise(*size: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=size))


def layer(kind: str, seeds: tuple[int, ...] = SEEDS, width: int = H) -> Recurrent:
    return Recurrent(InitStream(seeds), IN, MemoryShape(kind, width, 10))


def by_torch(kind: str, ours: Recurrent, k: int) -> Any:
    """Return seed ``k``'s layer as torch's own."""
    theirs = TORCH[kind](IN, ours.width).double()
    pairs = ("ih_l0", ours.by_input), ("hh_l0", ours.by_state)
    for name, linear in pairs:
        getattr(theirs, f"weight_{name}").data = linear.weight[k].detach().clone()
        getattr(theirs, f"bias_{name}").data = linear.bias[k, 0].detach().clone()
    return theirs


def torchs_state(kind: str, state: Tensor) -> Any:
    """Return ``state [B, S]`` as torch takes it."""
    if kind == "gru":
        return state.unsqueeze(0)
    return tuple(part.unsqueeze(0).contiguous() for part in state.chunk(2, -1))


def ours_of(state: Any) -> Tensor:
    """Return torch's state as ours, ``[B, S]``."""
    return state[0] if isinstance(state, Tensor) else torch.cat([part[0] for part in state], -1)


@pytest.mark.parametrize("kind", TORCH)
@pytest.mark.parametrize("batch", [1, B])
def test_each_seed_is_torchs_layer_forward_and_backward(kind: str, batch: int) -> None:
    ours = layer(kind).double()
    x = noise(K, T, batch, IN).requires_grad_()
    state = noise(K, batch, ours.size, seed=1).requires_grad_()
    weigh = noise(K, T, batch, ours.size, seed=2)
    out, states = ours(x, state)
    assert torch.equal(out, states[..., :H])
    (states * weigh).sum().backward()
    for k in range(K):
        theirs = by_torch(kind, ours, k)
        xk, sk = (leaf[k].detach().clone().requires_grad_() for leaf in (x, state))
        carried, total, seen = torchs_state(kind, sk), torch.zeros((), dtype=torch.double), []
        for t in range(T):
            _, carried = theirs(xk[t : t + 1], carried)
            seen.append(ours_of(carried))
            total = total + (seen[-1] * weigh[k, t]).sum()
        total.backward()
        near = {"rtol": 1e-10, "atol": 1e-12}
        torch.testing.assert_close(states[k], torch.stack(seen), **near)
        torch.testing.assert_close(x.grad[k], xk.grad, **near)
        torch.testing.assert_close(state.grad[k], sk.grad, **near)
        for name, linear in (("ih_l0", ours.by_input), ("hh_l0", ours.by_state)):
            torch.testing.assert_close(
                linear.weight.grad[k], getattr(theirs, f"weight_{name}").grad, **near
            )
            torch.testing.assert_close(
                linear.bias.grad[k, 0], getattr(theirs, f"bias_{name}").grad, **near
            )


@pytest.mark.parametrize("kind", TORCH)
def test_gradients_are_those_of_finite_differences_where_episodes_begin(kind: str) -> None:
    ours = layer(kind).double()
    x = noise(K, T, B, IN).requires_grad_()
    state = noise(K, B, ours.size, seed=1).requires_grad_()
    begins = noise(K, T, B, seed=2) > 0.8
    assert begins[:, 1:].any() and begins[:, 0].any()
    parameters = list(ours.parameters())
    assert torch.autograd.gradcheck(
        lambda x, s, *_: ours(x, s, begins)[1], (x, state, *parameters), fast_mode=True
    )


@pytest.mark.parametrize("kind", TORCH)
def test_nothing_leaks_over_an_episodes_begin(kind: str) -> None:
    """Another past, and another state before it: not a bit changes behind the begin."""
    ours = layer(kind)
    x, begins = noise(K, T, B, IN).float(), torch.zeros(K, T, B, dtype=torch.bool)
    begins[:, 3] = True
    state = noise(K, B, ours.size, seed=1).float()
    other_x, other_state = x.clone().requires_grad_(), (100 * state).requires_grad_()
    other_x.data[:, :3] *= -7
    _, states = ours(x, state, begins)
    _, others = ours(other_x, other_state, begins)
    assert torch.equal(states[:, 3:], others[:, 3:])
    assert not torch.isclose(states[:, :3], others[:, :3]).all()
    assert torch.equal(states[:, 3:], ours(x[:, 3:], torch.zeros_like(state))[1])
    others[:, 3:].sum().backward()
    assert not other_x.grad[:, :3].any() and not other_state.grad.any()
    assert other_x.grad[:, 3:].all()


@pytest.mark.parametrize("kind", TORCH)
@pytest.mark.parametrize(("batch", "width"), [(1, 5), (3, 7), (4, 32), (1, 64)])
def test_a_seed_is_alone_what_it_is_in_company(kind: str, batch: int, width: int) -> None:
    """States and gradients to the bit, at widths that fill vectors of the processor or do not."""
    x = noise(K, T, batch, IN).float()
    results = []
    for ks in ([0, 1, 2], [1]):
        ours = layer(kind, tuple(SEEDS[k] for k in ks), width)
        _, states = ours(x[ks], torch.zeros(len(ks), batch, ours.size))
        states.square().sum().backward()
        one = ks.index(1)
        results.append([states[one], *(p.grad[one] for p in ours.parameters())])
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def step(ended: Tensor, cut: Tensor, memo: dict[str, Tensor]) -> Step:
    nothing = torch.zeros(ended.shape)
    return Step(nothing, nothing, nothing, nothing, ended, cut, torch.ones_like(ended), memo)


def test_training_and_greedy_acting_remember_apart() -> None:
    memory = Memory(2, 1, 3, 4, CPU)
    after = noise(2, 1, 3, 4).float()
    memo = memory.acted(after, explore=True)
    assert not memory.training.any()  # acting alone changes nothing
    ends, cut = (torch.zeros(2, 3, dtype=torch.bool) for _ in range(2))
    ends[0, 1], cut[1, 2] = True, True
    memory.observe(step(ends, cut, memo))
    assert set(memo) == {MEMORY}
    for k in range(2):
        for lane in range(3):
            over = (k, lane) in ((0, 1), (1, 2))
            wanted = torch.zeros(4) if over else after[k, 0, lane]
            assert torch.equal(memory.training[k, 0, lane], wanted)
    before = memory.training.clone()
    assert memory.recall(False, 7).shape == (2, 1, 7, 4)
    assert memory.acted(torch.ones(2, 1, 7, 4), explore=False) == {}
    assert memory.recall(False, 7).all() and torch.equal(memory.training, before)
    memory.forget()
    assert not memory.recall(False, 5).any()
    assert set(memory.state()) == {"training"}
