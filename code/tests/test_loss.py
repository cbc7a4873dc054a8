"""The chunked loss against the same thing computed in one piece."""

import pytest
import torch
from torch.nn import functional as F

from aerogpt.loss import linear_cross_entropy


def make(n_rows, n_classes, width=24, dtype=torch.float64):
    hidden = torch.randn(n_rows, width, dtype=dtype).requires_grad_()
    weight = torch.randn(n_classes, width, dtype=dtype).requires_grad_()
    return hidden, weight, torch.randint(n_classes, (n_rows,))


# One row; a last chunk of one row; more than 8 * 512 rows; vocabularies on and beside a multiple of 64.
@pytest.mark.parametrize("n_rows, n_classes", [(1, 3), (511, 64), (513, 65), (1100, 100), (5000, 127)])
def test_loss_and_gradients_are_those_of_the_whole(n_rows, n_classes):
    hidden, weight, targets = make(n_rows, n_classes)
    targets[::3] = -100
    targets[0] = n_classes - 1
    ours = linear_cross_entropy(hidden, weight, targets)
    theirs = F.cross_entropy(hidden @ weight.T, targets)
    torch.testing.assert_close(ours, theirs.float())
    gradients = torch.autograd.grad(3 * ours, [hidden, weight])
    torch.testing.assert_close(gradients, torch.autograd.grad(3 * theirs, [hidden, weight]))
    assert not gradients[0][targets == -100].any()


def test_a_target_whose_probability_underflows_costs_its_full_price():
    hidden, weight = torch.tensor([[1.0]], requires_grad=True), torch.tensor([[0.0], [500.0]], requires_grad=True)
    loss = linear_cross_entropy(hidden, weight, torch.tensor([0]))
    assert loss == 500
    loss.backward()
    assert hidden.grad.item() == 500 and weight.grad.tolist() == [[-1], [1]]


def test_without_a_counted_target_the_loss_is_nan_as_in_torch():
    hidden, weight, targets = make(4, 5)
    assert linear_cross_entropy(hidden, weight, targets.fill_(-100)).isnan()


@pytest.mark.parametrize("bad", [-1, 5])
def test_a_target_outside_the_vocabulary_is_refused(bad):
    hidden, weight, targets = make(4, 5)
    targets[1] = bad
    with pytest.raises(RuntimeError, match=f"index {bad} is out of bounds"):
        linear_cross_entropy(hidden, weight, targets)


def test_no_gradient_is_computed_where_none_is_asked_for():
    hidden, weight, targets = make(600, 33)
    with torch.no_grad():
        loss = linear_cross_entropy(hidden, weight, targets)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, F.cross_entropy(hidden @ weight.T, targets).float())
    hidden = hidden.detach()
    loss = linear_cross_entropy(hidden, weight, targets)
    (gradient,) = torch.autograd.grad(loss, [weight])
    torch.testing.assert_close(gradient, torch.autograd.grad(F.cross_entropy(hidden @ weight.T, targets), [weight])[0])


def test_backward_may_be_asked_twice():
    hidden, weight, targets = make(40, 7)
    loss = linear_cross_entropy(hidden, weight, targets)
    first = torch.autograd.grad(loss, [hidden, weight], retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, [hidden, weight]), first)


def test_under_autocast_the_gradients_are_as_near_as_those_of_the_whole():
    """bfloat16 has 8 bits: the error of either way is measured against float64, ours may be a little larger."""
    hidden, weight, targets = make(4096, 500, width=64)
    exact = torch.autograd.grad(F.cross_entropy(hidden @ weight.T, targets), [hidden, weight])

    hidden, weight = (tensor.detach().float().requires_grad_() for tensor in (hidden, weight))
    with torch.autocast("cpu", torch.bfloat16):
        ours = linear_cross_entropy(hidden, weight, targets)
        whole = F.cross_entropy((hidden @ weight.T).float(), targets)
    torch.testing.assert_close(ours, whole, atol=0, rtol=1e-3)
    ours, whole = torch.autograd.grad(ours, [hidden, weight]), torch.autograd.grad(whole, [hidden, weight])
    for a, b, e in zip(ours, whole, exact, strict=True):
        assert a.dtype == torch.float32
        error, error_of_whole = ((x - e).norm() / e.norm() for x in (a, b))
        assert error < 2 * error_of_whole < 0.02


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_on_a_gpu_it_is_the_same(dtype):
    hidden, weight, targets = make(1100, 1000, width=64, dtype=torch.float32)
    reference = torch.autograd.grad(F.cross_entropy(hidden @ weight.T, targets), [hidden, weight])
    on_gpu = [tensor.detach().cuda().requires_grad_() for tensor in (hidden, weight)]
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        loss = linear_cross_entropy(*on_gpu, targets.cuda())
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    for ours, expected in zip(torch.autograd.grad(loss, on_gpu), reference, strict=True):
        assert (ours.cpu() - expected).norm() < tolerance * expected.norm()


def test_on_the_meta_device_it_has_a_shape():
    hidden, weight = torch.empty(2, 5, 24, device="meta", requires_grad=True).unbind()
    loss = linear_cross_entropy(hidden, weight, torch.zeros(5, dtype=torch.int64, device="meta"))
    assert loss.shape == () and loss.device.type == "meta"


def test_no_row_has_no_mean_and_no_gradient():
    hidden, weight, targets = make(0, 7)
    loss = linear_cross_entropy(hidden, weight, targets)
    loss.backward()
    assert loss.isnan() and hidden.grad.shape == (0, 24)
