"""Every formula against torch's own implementation, at ordinary and at extreme values."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from aerogpt import functional

logit_rows = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12).map(
    lambda row: torch.tensor(row, dtype=torch.float64))
temperatures = st.floats(1e-3, 1e3)


@given(logit_rows, temperatures)
def test_softmax_is_the_distribution_that_torch_computes(row, temperature):
    p = functional.softmax(row, temperature=temperature)
    torch.testing.assert_close(p, F.softmax(row / temperature, dim=-1))
    assert p.sum().item() == pytest.approx(1)
    torch.testing.assert_close(functional.log_softmax(row, temperature=temperature),
                               F.log_softmax(row / temperature, dim=-1))


@given(logit_rows, temperatures)
def test_a_colder_softmax_has_less_entropy(row, temperature):
    warm = functional.entropy(functional.softmax(row, temperature=temperature))
    cold = functional.entropy(functional.softmax(row, temperature=temperature / 2))
    assert -1e-9 <= cold <= warm + 1e-9 <= math.log(len(row)) + 2e-9


@pytest.mark.parametrize("logits, temperature, expected", [
    ([1, 2, 5], 1, [0.0171, 0.0466, 0.9362]),
    ([2, 3, 8], 2, [0.0440, 0.0725, 0.8835]),
    ([2, 3, 8], 5, [0.1805, 0.2204, 0.5991]),
    ([2, 3, 8], 10, [0.2546, 0.2814, 0.4640]),
    ([2, 1, 0.1], 0.5, [0.8638, 0.1169, 0.0193]),
    ([-1000, 0, 1], 1, [0, 0.2689, 0.7311]),
])
def test_softmax_gives_the_values_printed_in_the_lessons(logits, temperature, expected):
    p = functional.softmax(torch.tensor(logits), temperature=temperature)
    torch.testing.assert_close(p, torch.tensor(expected, dtype=torch.float32), atol=6e-5, rtol=0)


def test_softmax_survives_huge_logits_and_a_tiny_temperature():
    huge = torch.tensor([3e38, 1.0, -3e38])
    assert functional.softmax(huge).tolist() == [1, 0, 0]
    assert functional.softmax(torch.tensor([100.0, 99.0]), temperature=1e-38).tolist() == [1, 0]
    torch.testing.assert_close(functional.log_softmax(torch.tensor([100.0, 101, 102])),
                               torch.tensor([-2.4076, -1.4076, -0.4076]), atol=1e-4, rtol=0)
    assert functional.log_softmax(torch.tensor([0.0, 1000.0]))[0] == -1000


def test_softmax_works_along_any_axis():
    x = torch.randn(3, 4, 5)
    for dim in range(3):
        torch.testing.assert_close(functional.softmax(x, dim), F.softmax(x, dim))
        torch.testing.assert_close(functional.log_softmax(x, dim), F.log_softmax(x, dim))


@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf])
def test_softmax_refuses_an_impossible_temperature(temperature):
    for function in (functional.softmax, functional.log_softmax):
        with pytest.raises(ValueError, match=f"temperature .* got {temperature}"):
            function(torch.zeros(3), temperature=temperature)


def test_masked_softmax_gives_forbidden_entries_exactly_zero():
    scores = torch.randn(2, 4, 4) * 50
    mask = torch.ones(4, 4, dtype=torch.bool).tril()
    p = functional.masked_softmax(scores, mask)
    assert (p[:, ~mask] == 0).all()
    torch.testing.assert_close(p.sum(-1), torch.ones(2, 4))
    torch.testing.assert_close(p[0, 2, :3], F.softmax(scores[0, 2, :3], dim=-1))
    assert functional.masked_softmax(scores, torch.zeros(4, 4, dtype=torch.bool)).isnan().all()


def test_cross_entropy_equals_torch_with_gradients():
    logits = (torch.randn(2, 5, 11, dtype=torch.float64) * 20).requires_grad_()
    targets = torch.randint(11, (2, 5))
    targets[0, 1] = targets[1, 4] = -100
    loss = functional.cross_entropy(logits, targets)
    reference = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    torch.testing.assert_close(loss, reference)
    torch.testing.assert_close(torch.autograd.grad(loss, logits), torch.autograd.grad(reference, logits))


def test_cross_entropy_at_its_edges():
    assert functional.cross_entropy(torch.zeros(3, 7), torch.tensor([0, 3, 6])).item() == pytest.approx(math.log(7))
    assert functional.cross_entropy(torch.tensor([[1000.0, 0.0]]), torch.tensor([1])) == 1000
    assert functional.cross_entropy(torch.zeros(2, 7), torch.tensor([-100, -100])).isnan()
    with pytest.raises(ValueError, match=r"logits \(2, 3, 7\) need targets \(2, 3\), got \(6,\)"):
        functional.cross_entropy(torch.zeros(2, 3, 7), torch.zeros(6, dtype=torch.long))


def test_entropy_of_known_distributions():
    assert functional.entropy(torch.tensor([1.0, 0.0, 0.0])) == 0
    assert functional.entropy(torch.full((8,), 1 / 8)).item() == pytest.approx(math.log(8))
    p = torch.rand(4, 6).softmax(0)
    torch.testing.assert_close(functional.entropy(p, dim=0), torch.special.entr(p).sum(0))


WIDE = torch.linspace(-40, 40, 8001, dtype=torch.float64)


@pytest.mark.parametrize("ours, theirs", [
    (functional.relu, F.relu),
    (functional.gelu_tanh, lambda x: F.gelu(x, approximate="tanh")),
    (functional.normal_cdf, torch.special.ndtr),
    (functional.gelu, lambda x: x * torch.special.ndtr(x)),
])
def test_activations_equal_torch(ours, theirs):
    torch.testing.assert_close(ours(WIDE), theirs(WIDE), atol=1e-14, rtol=1e-10)


def test_gelu_equals_torchs_gelu_and_keeps_its_tail():
    torch.testing.assert_close(functional.gelu(WIDE), F.gelu(WIDE), atol=1e-14, rtol=1e-10)
    assert functional.gelu(torch.tensor(-10.0, dtype=torch.float64)).item() == pytest.approx(-7.6198530242e-23)


def test_gelu_derivative_is_the_derivative():
    x = WIDE.clone().requires_grad_()
    F.gelu(x).sum().backward()
    torch.testing.assert_close(functional.gelu_derivative(WIDE), x.grad, atol=1e-14, rtol=1e-10)


def test_gelu_has_the_extremes_that_the_lessons_state():
    x = torch.linspace(-6, 6, 1_200_001, dtype=torch.float64)
    value, derivative = functional.gelu(x), functional.gelu_derivative(x)
    assert value.min().item() == pytest.approx(-0.170, abs=5e-4)
    assert x[value.argmin()].item() == pytest.approx(-0.752, abs=5e-4)
    assert derivative.min().item() == pytest.approx(-0.129, abs=5e-4)
    assert derivative.max().item() == pytest.approx(1.129, abs=5e-4)
    assert (value - functional.gelu_tanh(x)).abs().max().item() == pytest.approx(4.7e-4, abs=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm_equals_torch_with_gradients(bias):
    x = (torch.randn(2, 3, 30, dtype=torch.float64) * 7 + 100).requires_grad_()
    weight = torch.randn(30, dtype=torch.float64, requires_grad=True)
    shift = torch.randn(30, dtype=torch.float64, requires_grad=True) if bias else None
    ours, theirs = functional.layer_norm(x, weight, shift), F.layer_norm(x, (30,), weight, shift)
    torch.testing.assert_close(ours, theirs)
    inputs = [tensor for tensor in (x, weight, shift) if tensor is not None]
    seed = torch.randn_like(ours)
    torch.testing.assert_close(torch.autograd.grad(ours, inputs, seed), torch.autograd.grad(theirs, inputs, seed))


def test_layer_norm_of_a_constant_row_is_the_bias():
    out = functional.layer_norm(torch.full((1, 8), 5.0), torch.ones(8), torch.arange(8.0))
    assert out.tolist() == [list(range(8))]
