import torch

from prism.algos.formulas import td


def test_huber_and_squared_are_the_textbook_pieces() -> None:
    error = torch.linspace(-4, 4, 801, dtype=torch.float64)
    for delta in (0.5, 1.0, 2.5):
        expected = [
            0.5 * e * e if abs(e) <= delta else delta * (abs(e) - 0.5 * delta)
            for e in error.tolist()
        ]
        assert torch.allclose(td.huber(error, delta), torch.tensor(expected).double(), atol=1e-12)
    assert torch.allclose(td.huber(error), torch.nn.functional.huber_loss(
        error, torch.zeros_like(error), reduction="none"))  # fmt: skip
    assert torch.equal(td.squared(error), 0.5 * error**2)


def test_squared_and_huber_have_the_same_gradient_inside_and_a_clipped_one_outside() -> None:
    error = torch.tensor([-3.0, -0.7, 0.0, 0.7, 3.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(td.huber(error).sum(), error)
    assert torch.allclose(slope, error.detach().clamp(-1, 1))
    (slope,) = torch.autograd.grad(td.squared(error).sum(), error)
    assert torch.allclose(slope, error.detach())


def test_bootstrap_stops_behind_a_termination() -> None:
    r, v = torch.tensor([[1.0, 2.0], [10.0, -5.0]]).double()
    d = torch.tensor([0.9, 0.0]).double()
    expected = torch.tensor([1.0 + 0.9 * 10.0, 2.0]).double()
    assert torch.allclose(td.bootstrap(r, d, v), expected)


def test_select_takes_each_rows_action() -> None:
    values = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    a = torch.randint(0, 3, (2, 5), generator=torch.Generator().manual_seed(1))
    out = td.select(values, a)
    for k in range(2):
        for b in range(5):
            assert torch.equal(out[k, b], values[k, b, a[k, b]])
