"""The flat optimiser against torch.optim, one stock optimiser per seed."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prism.algos.core.optim import KINDS, FlatParams, SeedOptimizer
from tests.helpers import copied, equal

K, STEPS = 3, 200
SHAPES = ((5, 7), (7,), (7, 2), (1,))
LR, EPS, BETAS, ALPHA = 0.01, 1e-5, (0.9, 0.99), 0.95


def values(seed: int, scale: float = 1.0) -> list[Tensor]:
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.normal(0, scale, (K, *s)).astype(np.float32)) for s in SHAPES]


def flat(kind: str, max_norm: float | None = None) -> SeedOptimizer:
    params = FlatParams([nn.Parameter(x) for x in values(0)])
    return SeedOptimizer(params, kind, LR, EPS, max_norm, BETAS, alpha=ALPHA)


def stock(kind: str, k: int) -> tuple[torch.optim.Optimizer, list[nn.Parameter]]:
    params = [nn.Parameter(x[k].clone()) for x in values(0)]
    if kind == "adam":
        return torch.optim.Adam(params, LR, BETAS, EPS), params
    if kind.startswith("rmsprop"):
        centred = kind == "rmsprop"
        return torch.optim.RMSprop(params, LR, alpha=ALPHA, eps=EPS, centered=centred), params
    return torch.optim.SGD(params, LR), params


def loss_of(parameters: Any, target: list[Tensor]) -> Tensor:
    """Return a loss per seed whose gradient differs from step to step."""
    pairs = zip(parameters, target, strict=True)
    return sum((p - t).pow(2).flatten(1).sum(1) for p, t in pairs)  # type: ignore[return-value]


def memory(optimizer: SeedOptimizer, k: int) -> dict[str, Tensor]:
    moments = {name: x[k].clone() for name, x in optimizer.memory.items()}
    return moments | {"steps": optimizer.steps[k].clone()}


@pytest.mark.parametrize("max_norm", [None, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_torch(kind: str, max_norm: float | None) -> None:
    ours = flat(kind, max_norm)
    theirs = [stock(kind, k) for k in range(K)]
    clipped = 0
    for i in range(STEPS):
        target = values(i + 1, scale=0.2 if i % 2 else 3.0)
        ours.backward(loss_of(ours.params.parameters, target))
        norm = ours.step()
        for k, (optimizer, params) in enumerate(theirs):
            optimizer.zero_grad()
            sum((p - t[k]).pow(2).sum() for p, t in zip(params, target, strict=True)).backward()
            bound = max_norm or float("inf")
            stock_norm = nn.utils.clip_grad_norm_(params, bound)
            assert float(norm[k]) == pytest.approx(float(stock_norm), rel=1e-5)
            clipped += bool(stock_norm > bound)
            optimizer.step()
    for k, (_, params) in enumerate(theirs):
        for p, q in zip(ours.params.parameters, params, strict=True):
            # rmsprop divides by the root of a difference, so it amplifies rounding the most
            torch.testing.assert_close(p[k], q, rtol=0, atol=1e-5 if kind == "rmsprop" else 1e-6)
    assert (clipped > STEPS) == (max_norm is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_seed_keeps_everything_and_continues_with_its_own_step_count(kind: str) -> None:
    ours, alone = flat(kind, 2.0), flat(kind, 2.0)
    skipped = 1
    for i in range(30):
        target = values(i + 1)
        masked = i % 3 == 1
        before = ours.params.data.clone(), memory(ours, skipped)
        ours.backward(loss_of(ours.params.parameters, target))
        ours.step(torch.tensor([True, not masked, True]))
        if masked:
            assert torch.equal(ours.params.data[skipped], before[0][skipped])
            equal(memory(ours, skipped), before[1])
        else:  # the same updates, none of them skipped by a mask
            alone.backward(loss_of(alone.params.parameters, target))
            alone.step()
    assert torch.equal(ours.params.data[skipped], alone.params.data[skipped])
    equal(memory(ours, skipped), memory(alone, skipped))
    assert not torch.equal(ours.params.data[0], alone.params.data[0])


def test_a_masked_seed_is_kept_even_from_nan() -> None:
    ours = flat("adam")
    before = ours.params.data[1].clone()
    ours.backward(loss_of(ours.params.parameters, values(1)))
    ours.grad[1] = float("nan")
    ours.step(torch.tensor([True, False, True]))
    assert torch.equal(ours.params.data[1], before) and ours.params.data.isfinite().all()
    assert all(x.isfinite().all() for x in ours.memory.values())


def test_one_seeds_gradient_never_reaches_another() -> None:
    """Neither through the sum of losses, nor through clipping, nor through K itself."""
    ours, louder = flat("adam", 1.0), flat("adam", 1.0)
    target = values(1)
    shifted = [t.clone() for t in target]
    for t in shifted:
        t[2] *= 1000
    for optimizer, aim in ((ours, target), (louder, shifted)):
        optimizer.backward(loss_of(optimizer.params.parameters, aim))
        optimizer.step()
    assert torch.equal(ours.params.data[:2], louder.params.data[:2])
    assert not torch.equal(ours.params.data[2], louder.params.data[2])


def test_parameters_are_views_that_forward_passes_see() -> None:
    ours = flat("sgd")
    before = [p.clone() for p in ours.params.parameters]
    ours.params.data.add_(1.0)
    for p, b in zip(ours.params.parameters, before, strict=True):
        assert torch.equal(p, b + 1)
    for view, x in zip(FlatParams([nn.Parameter(x) for x in values(0)]).parameters, values(0),
                       strict=True):  # fmt: skip
        assert torch.equal(view, x)


@pytest.mark.parametrize("kind", KINDS)
def test_state_and_load_continue_to_the_bit(kind: str) -> None:
    def train(optimizer: SeedOptimizer, steps: range) -> None:
        for i in steps:
            optimizer.backward(loss_of(optimizer.params.parameters, values(i + 1)))
            optimizer.step()

    whole, first, second = flat(kind), flat(kind), flat(kind)
    train(whole, range(20))
    train(first, range(10))
    second.params.data.copy_(first.params.data)
    second.load(copied(first.state()))
    train(second, range(10, 20))
    assert torch.equal(second.params.data, whole.params.data)


def test_centred_rmsprop_survives_a_constant_gradient() -> None:
    """Its variance estimate goes to zero, and by rounding below."""
    params = FlatParams([nn.Parameter(torch.zeros(1, 1000))])
    ours = SeedOptimizer(params, "rmsprop", 1e-4, 0.01, alpha=0.95)
    slope = torch.linspace(0.001, 3, 1000)
    for _ in range(600):
        ours.backward((params.parameters[0] * slope).sum(1))
        ours.step()
    assert params.data.isfinite().all()


def test_networks_of_one_seed_are_clipped_as_one() -> None:
    alone, params = flat("sgd"), FlatParams([nn.Parameter(x[:2]) for x in values(0)], 2)
    pair = SeedOptimizer(params, "sgd", LR, EPS, 1.0, BETAS, jointly=True)
    target = values(1, 3.0)
    pair.backward(loss_of(pair.params.parameters, [t[:2] for t in target]))
    before = pair.params.data.clone()
    norm = pair.step()
    alone.backward(loss_of(alone.params.parameters, target))
    rows = alone.grad[:2]
    assert norm.shape == (1,) and float(norm) == pytest.approx(float(rows.norm()))
    torch.testing.assert_close(pair.params.data, before - LR * rows / (rows.norm() + 1e-6))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_together_are_rows_apart_to_the_bit(kind: str) -> None:
    """As long as no seed sits out, one call updates all; a mask makes one of each row."""
    together, apart = flat(kind, 0.5), flat(kind, 0.5)
    for step in range(20):
        for optimizer in (together, apart):
            optimizer.backward(loss_of(optimizer.params.parameters, values(step + 1)))
        together.step()
        apart.step(torch.ones(K, dtype=torch.bool))
        equal(together.state(), apart.state())
        assert torch.equal(together.params.data, apart.params.data)
    if kind == "adam":  # the only one that counts
        assert together.state()["steps"].tolist() == [[20.0]] * K
