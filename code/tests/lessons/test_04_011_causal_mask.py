"""The numbers and the claims in the lesson on the causal mask."""

import math
import re
import textwrap

import pytest
import recording
import torch
from aerogpt.attention import causal_mask, padding_mask, sdpa
from aerogpt.functional import masked_softmax, softmax
from prose import says
from torch import nn
from torch.nn import functional as F

MASK = "04_buildgpt/aero_llm_011_temporal_causality_via_linear_algebra_theory_.md"
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def by_hand(scores: list[float], allowed: list[bool]) -> list[float]:
    """Softmax over the allowed scores, 0 elsewhere, in plain Python."""
    powers = [math.exp(s - max(scores)) if ok else 0.0 for s, ok in zip(scores, allowed, strict=True)]
    return [power / sum(powers) for power in powers]


def brief(values, digits: int = 3) -> str:
    return "[" + ", ".join(f"{v:.{digits}f}" for v in values) + "]"


@pytest.fixture(scope="module")
def recorded() -> dict[str, dict]:
    return recording.cells(MASK)


@pytest.fixture(scope="module")
def printed(recorded) -> dict[str, str]:
    """What each cell printed or returned as text."""
    return {name: recording.printed(cell) for name, cell in recorded.items()}


def test_without_the_mask_the_answer_is_copied(printed):
    """The recorded run says what the prose says about it."""
    learning, writing = map(float, re.search(r"không che: +lúc học ([\d.]+), lúc viết ([\d.]+)", printed["mat-na-hai-cach-do"]).groups())
    masked = list(map(float, re.search(r"\nche: +lúc học ([\d.]+), lúc viết ([\d.]+)", "\n" + printed["mat-na-hai-cach-do"]).groups()))
    assert masked[0] == masked[1] and printed["mat-na-hai-cach-do"].strip().endswith("True")
    assert learning < masked[0] / 5 and writing > masked[1] + 1
    says(MASK, "trông giỏi hơn hẳn", "cùng một** mất mát theo cả hai cách")


def test_mask_as_a_matrix():
    """M is not lower triangular, the weights are, their products stay so, and they are no projection."""
    allowed = causal_mask(6)
    M = torch.zeros(6, 6, dtype=torch.float64).masked_fill(~allowed, -math.inf)
    assert not torch.equal(M, M.tril()) and torch.equal(allowed, allowed.tril())
    torch.manual_seed(1)
    A, B = (softmax(torch.randn(6, 6, dtype=torch.float64) + M) for _ in range(2))
    for product in (A, B, B @ A, A @ B @ A):
        assert (product[~allowed] == 0).all()
        torch.testing.assert_close(product.sum(-1), torch.ones(6, dtype=torch.float64))
    assert torch.linalg.det(A) > 0 and (A @ A - A).abs().max() > 0.01
    says(MASK, "$\\det A > 0$ và $A$ khả nghịch", "$A$ không bao giờ là phép chiếu")


def test_cost():
    T = 1024
    says(MASK, f"với $T = {T}$ là {100 * causal_mask(T).sum().item() / T**2:.2f}% số ô", "$2T^2 d$ phép nhân")
    assert causal_mask(T).sum() == T * (T + 1) // 2


def test_zero_is_no_mask(printed):
    allowed = [True, True, False]
    right = by_hand([2, 1, 0], allowed)
    says(MASK, f"tức ${brief(right[:2])[:-1]}, 0]$".replace("$[", "$[", 1))
    lines = printed["mat-na-so-0"]
    for future in (3, 5):
        everything = by_hand([2, 1, future], [True] * 3)
        kept = [p * ok for p, ok in zip(everything, allowed, strict=True)]
        part = lines.split(f"f = {future}\n")[1].split("f =")[0]
        assert f"{brief(kept)} tổng {sum(kept):.3f}" in part
        again = [p / sum(kept) for p in kept]
        assert again == pytest.approx(right) and lines.count(brief(right)) == 4
        assert masked_softmax(torch.tensor([2.0, 1.0, future]), torch.tensor(allowed)).tolist() == pytest.approx(right)
    zeroed = by_hand([2, 1, 0], [True] * 3)
    assert lines.count(brief(zeroed)) == 2 and zeroed[2] > 0
    negative = by_hand([-2, -1, 0], [True] * 3)
    assert max(negative) == negative[2]
    says(MASK, "đổi $f$ từ 3 lên 5", f"ô tương lai nhận {negative[2]:.3f}, nhiều nhất hàng")


def test_renormalising_fails_when_the_past_underflows(printed):
    assert torch.tensor(-198.0).exp() == 0 and torch.tensor(-199.0).exp() == 0
    says(MASK, f"$e^{{{2 - 200}}}$ và $e^{{{1 - 200}}}$")
    assert printed["mat-na-thu-thach-chia-lai"].startswith(f"('[nan, nan, nan]', '{brief(by_hand([2, 1, 0], [True, True, False]))}'")


def test_large_negative_numbers(printed):
    half = torch.finfo(torch.float16)
    says(MASK, f"từ −{-half.min:.0f} đến {half.max:.0f}")
    assert torch.tensor(-1e9).half() == -math.inf
    with pytest.raises(RuntimeError, match="overflow"):
        torch.zeros(2).half().masked_fill(torch.tensor([True, False]), -1e9)
    for dtype in FLOATS:
        lowest = torch.tensor(torch.finfo(dtype).min, dtype=dtype)
        assert (lowest + lowest) == -math.inf
    big = torch.tensor(1e9)
    says(MASK, f"quanh $10^9$ cách nhau {(torch.nextafter(big, 2 * big) - big).item():.0f}")

    scores = torch.tensor([2.0, 1.0, 3.0])
    assert softmax(scores - 1e9).tolist() == pytest.approx([1 / 3] * 3)
    everything = by_hand([2, 1, 3], [True] * 3)
    assert softmax(scores.double() - 1e9).tolist() == pytest.approx(everything, abs=1e-6)
    assert printed["mat-na-am-lon"].count(brief(everything)) == 2
    assert softmax(torch.tensor([2.0, 1.0, -1e10]))[2] == 0
    assert softmax(torch.full((3,), -math.inf)).isnan().all()


def test_boolean_and_float_masks():
    torch.manual_seed(2)
    q, k, v = torch.randn(3, 5, 4)
    allowed = causal_mask(5)
    chosen = F.scaled_dot_product_attention(q, k, v, allowed)
    minus = torch.zeros(5, 5).masked_fill(~allowed, -math.inf)
    torch.testing.assert_close(F.scaled_dot_product_attention(q, k, v, minus), chosen)
    added = softmax(q @ k.T / 2 + allowed.float())
    torch.testing.assert_close(F.scaled_dot_product_attention(q, k, v, allowed.float()), added @ v)
    assert (added > 0).all()


def reference_in_the_documentation():
    """The "efficient implementation equivalent to the following" of the docstring, as a function."""
    block = F.scaled_dot_product_attention.__doc__.split("equivalent to the following:\n")[1].split(".. warning")[0]
    names = {"torch": torch, "math": math}
    exec(textwrap.dedent(block), names)  # noqa: S102
    return names["scaled_dot_product_attention"]


def test_row_without_any_allowed_cell(recorded, printed):
    real = torch.tensor([[0, 0, 1, 1]])
    naive = causal_mask(4) & real.bool()
    q, k, v = torch.randn(3, 4, 2)
    assert masked_softmax(q @ k.T, naive).isnan().any(-1).tolist() == [True, True, False, False]
    assert reference_in_the_documentation()(q, k, v, naive)[:2].isnan().all()
    assert (F.scaled_dot_product_attention(q, k, v, naive)[:2] == 0).all()
    assert "SDPA, hàng 1:      [0.000, 0.000, 0.000, 0.000]" in printed["mat-na-hang-nan"]
    assert "tầng sau, hàng 3:  [nan, nan]" in printed["mat-na-hang-nan"]
    assert not masked_softmax(q @ k.T, padding_mask(real, 4)[0, 0]).isnan().any()
    says(MASK, "đoạn mã \"tương đương\" in trong tài liệu của chính hàm ấy cho `nan`")


def test_meaning_of_true_with_random_weights():
    torch.manual_seed(3)
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    nn.init.normal_(layer.in_proj_bias)
    x, allowed = torch.randn(1, 5, 8), causal_mask(5)

    @torch.no_grad()
    def with_sdpa(mask):
        q, k, v = (p.unflatten(-1, (2, 4)).transpose(1, 2) for p in F.linear(x, layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1))
        return layer.out_proj(F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(-2))

    @torch.no_grad()
    def with_layer(mask, weights=True):
        return layer(x, x, x, attn_mask=mask, need_weights=weights)[0]

    torch.testing.assert_close(with_layer(~allowed), with_sdpa(allowed))
    swapped = with_layer(allowed)
    assert swapped[:, -1].isnan().all() and not swapped[:, :-1].isnan().any()
    torch.testing.assert_close(swapped[:, :-1], with_sdpa(~allowed)[:, :-1])
    assert not torch.allclose(swapped[:, :-1], with_sdpa(allowed)[:, :-1], atol=1e-2)

    # The empty row: 0 in the fused function, NaN in the written-out one and on the fast path of inference.
    assert with_sdpa(~allowed).isfinite().all() and with_layer(allowed, weights=False).isfinite().all()
    layer.eval()
    assert with_layer(allowed, weights=False)[:, -1].isnan().all()
    says(MASK, "`nan` hay số 0 lặng lẽ còn tùy lớp đi đường tính nào bên trong")


def test_fewer_queries_than_keys():
    n = 6
    for m in range(1, n + 1):
        by_formula = torch.tensor([[s <= n - m + i for s in range(1, n + 1)] for i in range(1, m + 1)])
        assert torch.equal(causal_mask(m, n), by_formula)
        assert torch.equal(causal_mask(m, n), causal_mask(n)[-m:])
    assert causal_mask(1, n).all()
    torch.manual_seed(4)
    q, k, v = torch.randn(3, 1, 1, n, 4)
    full = F.scaled_dot_product_attention(q, k, v, causal_mask(n))
    for m in (1, 2, 3):
        last = q[:, :, -m:]
        torch.testing.assert_close(F.scaled_dot_product_attention(last, k, v, causal_mask(m, n)), full[:, :, -m:])
        torch.testing.assert_close(sdpa(last, k, v), full[:, :, -m:])
        wrong = F.scaled_dot_product_attention(last, k, v, is_causal=True)
        assert not torch.allclose(wrong, full[:, :, -m:], atol=1e-2)
        torch.testing.assert_close(wrong[:, :, 0], v[:, :, 0])
    says(MASK, "Một token mới với `is_causal=True` chỉ nhìn thấy token đầu câu")


def test_shifted_diagonals():
    X = torch.randn(6, 2)
    for k, leaks, empty in ((-1, False, True), (0, False, False), (1, True, False)):
        A = masked_softmax(torch.randn(6, 6), torch.ones(6, 6, dtype=torch.bool).tril(k))
        assert (A @ X).isnan().any().item() == empty
        assert (A.nan_to_num().triu(1) > 0).any().item() == leaks
