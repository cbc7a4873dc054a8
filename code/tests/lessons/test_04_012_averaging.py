"""The numbers in the lesson on averages of the past, attention by content, and online softmax."""

import math

import pytest
import torch
from aerogpt.attention import (
    attention_manual,
    causal_average,
    causal_mask,
    online_softmax_attention,
)
from aerogpt.functional import masked_softmax, softmax
from prose import says
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

AVERAGING = "04_buildgpt/aero_llm_012_averaging_the_past_while_ignoring_the_future.md"


def decaying(length: int, gamma: float) -> torch.Tensor:
    """(T, T): gamma ** (t - j), each row divided by its sum, without any softmax."""
    powers = torch.tensor([[gamma ** (t - j) if j <= t else 0.0 for j in range(length)] for t in range(length)],
                          dtype=torch.float64)
    return powers / powers.sum(1, keepdim=True)


def test_additions_of_the_loop_and_of_the_running_sum():
    length = 1024
    loop = sum(t - 1 for t in range(1, length + 1))
    shown = f"{loop:,}".replace(",", "{,}")
    says(AVERAGING, rf"$T = {length}$, cách 1 cộng vector $T(T-1)/2 = {shown}$ lần",
         f"cách 2 chỉ $T - 1 = {length - 1}$ lần")


def test_rows_are_one_over_t_only_for_equal_scores():
    x = torch.eye(6, dtype=torch.float64)[None]
    expected = torch.tensor([[1 / (t + 1) if j <= t else 0.0 for j in range(6)] for t in range(6)], dtype=torch.float64)
    torch.testing.assert_close(causal_average(x)[0], expected)
    weights = softmax(torch.tensor([0.0, math.log(3)], dtype=torch.float64)).tolist()
    says(AVERAGING, rf"điểm $[0,\ \ln 3]$ cho trọng số $[{weights[0]:.2f},\ {weights[1]:.2f}]$")


@pytest.mark.parametrize("gamma", [1.0, 0.9, 0.5])
def test_decay_is_a_softmax_of_distances(gamma):
    distance = torch.arange(8.0, dtype=torch.float64)[:, None] - torch.arange(8.0, dtype=torch.float64)
    torch.testing.assert_close(masked_softmax(distance * math.log(gamma), causal_mask(8)), decaying(8, gamma))
    ratios = decaying(8, 0.5)[7, 1:] / decaying(8, 0.5)[7, :-1]
    torch.testing.assert_close(ratios, torch.full_like(ratios, 2.0))
    says(AVERAGING, "lùi về quá khứ một bước thì trọng số giảm một nửa")


def test_variance_of_the_average():
    gamma = 0.9
    seen = 1 / decaying(400, gamma).square().sum(1)
    limit = (1 + gamma) / (1 - gamma)
    assert (seen < limit + 1e-9).all() and seen[-1].item() == pytest.approx(limit)
    says(AVERAGING, rf"không quá {limit:.0f} với $\gamma = {gamma}$", rf"$1/256 \approx {1 / 256:.5f}$")
    uniform = decaying(256, 1.0).square().sum(1)
    torch.testing.assert_close(uniform, 1 / torch.arange(1, 257, dtype=torch.float64))
    torch.manual_seed(1)                                  # no weights of sum 1 do better than equal ones
    others = torch.randn(1000, 9, dtype=torch.float64)
    others = others + (1 - others.sum(1, keepdim=True)) / 9
    assert (others.square().sum(1) >= 1 / 9).all()


def test_scores_of_the_hand_made_vectors():
    length = 1.5
    says(AVERAGING, f"mỗi loại một hướng, dài {length}", f"$1.5^2 = {length**2}$",
         rf"$e^{{2.25}} \approx {math.exp(length**2):.1f}$ lần")


def test_random_scores():
    width = 64
    torch.manual_seed(0)
    a, b = torch.randn(2, 200_000, width)
    says(AVERAGING, f"$8 = \\sqrt{{{width}}}$", "gồm tám số $1/8 = 0.125$",
         f"có kỳ vọng {a.square().sum(1).mean():.0f}", f"với độ lệch chuẩn {(a * b).sum(1).std():.0f}.")


def test_the_trace_of_the_running_softmax():
    s, v = torch.tensor([1.0, 3.0, 2.0, 5.0]), torch.tensor([10.0, 20.0, 30.0, 40.0])
    l_first = (s[:2] - s[:2].max()).exp().sum()
    shrink = math.exp(s[:2].max() - s.max())
    says(AVERAGING, rf"$l = e^{{-2}} + 1 \approx {l_first:.3f}$", rf"$e^{{3-5}} \approx {shrink:.3f}$")
    l, o = shrink * l_first + (s[2:] - 5).exp().sum(), (s - 5).exp() @ v
    assert (o / l).item() == pytest.approx((softmax(s) @ v).item())


@pytest.mark.parametrize("dtype, bound", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("block_size", [1, 7, 16, 50, 64])
def test_online_softmax_equals_the_full_matrix(dtype, bound, block_size):
    torch.manual_seed(3)
    q, k, v = torch.randn(3, 2, 4, 50, 16, dtype=torch.float64).to(dtype)
    difference = online_softmax_attention(q, k, v, block_size) - attention_manual(q, k, v)[0]
    assert difference.abs().max() < bound
    says(AVERAGING, rf"$10^{{{math.log10(bound):.0f}}}$ với số {torch.finfo(dtype).bits} bit")


class LargestScores(TorchDispatchMode):
    """The number of elements of the largest tensor of floats, and of booleans, that any operation returned."""

    def __init__(self):
        super().__init__()
        self.floats = self.booleans = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                if tensor.dtype is torch.bool:
                    self.booleans = max(self.booleans, tensor.numel())
                else:
                    self.floats = max(self.floats, tensor.numel())
        return result


def test_scores_held_at_a_time():
    length, block = 256, 64
    q, k, v = torch.randn(3, length, 16)
    with LargestScores() as online:
        online_softmax_attention(q, k, v, block)
    with LargestScores() as full:
        attention_manual(q, k, v)
    assert online.floats == length * block and full.floats == length * length
    assert online.booleans == length * length
    says(AVERAGING, r"nó vẫn dựng mặt nạ $T \times T$ giá trị boolean",
         r"mỗi lúc chỉ giữ $T \times K$ điểm", "Tỉ số giữa hai số điểm là $T / K$")


def test_linear_attention_needs_its_normaliser():
    torch.manual_seed(2)
    x = torch.randn(30, 8, dtype=torch.float64)
    phi = F.elu(x) + 1
    torch.testing.assert_close(phi, torch.where(x > 0, x + 1, x.exp()))
    assert (phi > 0).all()
    state, normaliser = (phi[:, :, None] * x[:, None]).cumsum(0), phi.cumsum(0)
    numerator = torch.einsum("td,tde->te", phi, state)
    denominator = (phi * normaliser).sum(1, keepdim=True)
    weights = (phi @ phi.T).tril()
    torch.testing.assert_close(numerator / denominator, weights / weights.sum(1, keepdim=True) @ x)
    assert not torch.allclose(numerator, weights / weights.sum(1, keepdim=True) @ x)
    softmax_average = masked_softmax(x @ x.T, causal_mask(30)) @ x
    assert not torch.allclose(numerator / denominator, softmax_average, atol=1e-2)
    says(AVERAGING, "bằng $x + 1$ khi $x > 0$, bằng $e^x$ khi", "phép trung bình **khác**")
