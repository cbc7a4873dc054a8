"""The numbers and the claims in the lesson on the attention algorithm."""

import itertools
import math

import pytest
import torch
from aerogpt.attention import KVCache, SingleHead, attention_manual, causal_mask
from aerogpt.config import GPTConfig
from aerogpt.generate import generate
from aerogpt.model import GPT
from prose import SMALL, says
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

ATTENTION = "04_buildgpt/aero_llm_013_the_attention_algorithm_theory_.md"
L, D, V = SMALL.n_layer, SMALL.n_embd, SMALL.vocab_size


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(3)
    model = GPT(GPTConfig(vocab_size=30, n_ctx=20, n_layer=3, n_head=2, n_embd=16)).double().requires_grad_(False)
    for parameter in model.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.3 + (parameter.ndim == 1))
    return model


def products(function, *arguments, **options) -> int:
    with FlopCounterMode(display=False) as counter:
        function(*arguments, **options)
    return counter.get_total_flops() // 2


def test_soft_lookup():
    keys, values = torch.tensor([[3.0, 0.0], [0.0, 3.0], [2.0, 2.0]]), torch.tensor([10.0, 20.0, 60.0])
    scores = keys @ torch.tensor([1.0, 0.0])
    weights = scores.softmax(-1)
    says(ATTENTION, "điểm là {:.0f}, {:.0f}, {:.0f}".format(*scores), r"$e^3, e^0, e^2$")
    terms = " + ".join(rf"{a:.3f} \cdot {v:.0f}" for a, v in zip(weights, values))
    says(ATTENTION, rf"${terms} \approx {weights @ values:.1f}$")
    says(ATTENTION, f"trung bình cộng {values.mean():.0f}", f"lớn cho {values[scores.argmax()]:.0f}, giá trị của khóa khớp nhất")


def test_scores_of_x_with_itself_are_symmetric_and_of_two_projections_are_not():
    torch.manual_seed(0)
    x, w_q, w_k = torch.randn(5, 8), torch.randn(8, 8), torch.randn(8, 8)
    assert torch.allclose(x @ x.T, (x @ x.T).T)
    scores = (x @ w_q) @ (x @ w_k).T
    assert not torch.allclose(scores, scores.T)
    torch.testing.assert_close(scores, x @ w_q @ w_k.T @ x.T)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_variance_of_the_dot_product_exactly(d):
    """All signs, equally likely: independent, mean 0, variance 1. No sampling error."""
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=d)), dtype=torch.float64)
    scores = signs @ signs.T
    assert scores.mean() == 0 and scores.square().mean() == d
    says(ATTENTION, r"\operatorname{Var}(q \cdot k) = \sum_{c=1}^{d} \operatorname{Var}(q_c k_c) = d")


def test_components_at_initialisation_and_aligned_vectors():
    std = SingleHead(8).query.weight.std().item()
    assert std == pytest.approx(0.02, rel=0.3)
    says(ATTENTION, rf"$768 \cdot 0.02^2 \approx {768 * 0.02**2:.3f}$", rf"$\sqrt{{768}} \approx {math.sqrt(768):.1f}$")


def test_minus_1e9_is_beyond_float16():
    says(ATTENTION, "đừng điền $-10^9$, số ấy vượt quá tầm của `float16`")
    assert 1e9 > torch.finfo(torch.float16).max


def test_products_of_one_head():
    for n, d in ((7, 6), (1024, D)):
        with torch.device("meta"):
            assert products(SingleHead(d), torch.empty(1, n, d)) == 4 * n * d**2 + 2 * n**2 * d
    says(ATTENTION, "4 T d^2 + 2 T^2 d", "bằng nhau khi $T = 2d$", f"Với $d = {D}$, hai phần cân bằng ở $T = {2 * D}$")
    says(ATTENTION, f"cửa sổ {SMALL.n_ctx} của GPT-2", f"{SMALL.n_ctx**2 * 4 / 2**20:.0f} MiB ở $T = {SMALL.n_ctx}$ với số 4 byte")
    assert 2 * D > SMALL.n_ctx


@pytest.mark.parametrize("n", [1, 5, 300])
def test_products_of_one_more_token(n):
    with torch.device("meta"):
        gpt2, idx, cache = GPT(SMALL), torch.zeros(1, n, dtype=torch.long), KVCache(SMALL, 1, SMALL.n_ctx)
        cache.length = n - 1
        assert products(gpt2, idx, last_only=True) == L * (12 * n * D**2 + 2 * n**2 * D) + V * D
        assert products(gpt2, idx[:, :1], cache=cache, last_only=True) == L * (12 * D**2 + 2 * n * D) + V * D
    says(ATTENTION, "| không bộ đệm | $12 n d^2$ | $2 n^2 d$ |", "| có bộ đệm | $12 d^2$ | $2 n d$ |")
    says(ATTENTION, "cộng $Vd$ một lần cho giải nhúng", "Hệ số 12 gồm 4 của chú ý và 8 của MLP")


def test_bytes_of_the_cache():
    numbers = 2 * L * D
    with torch.device("meta"):
        for dtype, size in ((torch.float32, 4), (torch.float16, 2)):
            cache = KVCache(SMALL, 1, SMALL.n_ctx, dtype=dtype)
            assert sum(t.nbytes for t in cache.keys + cache.values) == numbers * size * SMALL.n_ctx
    says(ATTENTION, rf"$2 \cdot {L} \cdot {D} = {numbers:,}$ số".replace(",", "{,}"))
    says(ATTENTION, f"{4 * numbers:,} byte với `float32`, {2 * numbers:,} byte với số 16 bit")
    says(ATTENTION, f"Một cửa sổ đầy chiếm {4 * numbers * SMALL.n_ctx / 2**20:.0f} MiB")
    says(ATTENTION, f"$2LTd$ số, {4 * numbers / 1024:.0f} KiB mỗi token với GPT-2 nhỏ ở `float32`")


@pytest.mark.parametrize("pieces", [[7, 1, 1, 1, 1], [1] * 11, [4, 4, 3], [11]])
def test_the_cache_equals_no_cache_at_every_position(model, pieces):
    idx = torch.randint(30, (2, 11))
    cache = KVCache(model.config, 2, 11, dtype=torch.float64)
    parts = []
    for piece in idx.split(pieces, dim=1):
        before = cache.length
        parts.append(model(piece, cache=cache))                          # positions are the cache's
        assert cache.length == before + piece.shape[1]
    torch.testing.assert_close(torch.cat(parts, 1), model(idx))


def test_greedy_tokens_are_the_same(model):
    idx = torch.randint(30, (1, 5))
    assert torch.equal(*(generate(model, idx, 12, temperature=0, use_cache=use) for use in (True, False)))


def test_bug_position_0(model):
    idx = torch.randint(30, (1, 9))
    full, cache = model(idx), KVCache(model.config, 1, 9, dtype=torch.float64)
    torch.testing.assert_close(model(idx[:, :6], cache=cache, position_ids=torch.arange(6)), full[:, :6])
    for t in range(6, 9):
        logits = model(idx[:, t : t + 1], cache=cache, position_ids=torch.arange(1))
        assert not torch.allclose(logits[:, 0], full[:, t], atol=0.1)


def test_bug_square_mask():
    q, k, v = torch.randn(3, 1, 8, 4, dtype=torch.float64)
    whole, _ = attention_manual(q, k, v)
    torch.testing.assert_close(attention_manual(q[:, 5:], k, v, causal_mask(3, 8))[0], whole[:, 5:])
    for i, j in itertools.product(range(3), range(8)):
        assert causal_mask(3, 8)[i, j] == (j <= 8 - 3 + i)                # the rule of the lesson
    with pytest.raises(RuntimeError, match="must match"):
        attention_manual(q[:, 5:], k, v, causal_mask(3))
    torch.testing.assert_close(attention_manual(q[:, 7:], k, v, causal_mask(1))[0], whole[:, 7:])
    silent = F.scaled_dot_product_attention(q[:, 5:], k, v, is_causal=True)
    torch.testing.assert_close(silent[:, 0], v[:, 0])
    assert not torch.allclose(silent, whole[:, 5:])


def test_bug_no_prefill(model):
    prompt = torch.randint(30, (1, 6))
    forgot = model(prompt[:, -1:], cache=KVCache(model.config, 1, 12, dtype=torch.float64))
    torch.testing.assert_close(forgot, model(prompt[:, -1:]))
    assert not torch.allclose(forgot[:, -1], model(prompt)[:, -1])


def test_the_model_is_pre_ln_with_a_last_norm(model):
    idx = torch.randint(30, (1, 6))
    parts = model.transformer
    x = parts.wte(idx) + parts.wpe(torch.arange(6))
    for block in parts.h:
        x = x + block.attn(block.ln_1(x))
        x = x + block.mlp(block.ln_2(x))
    torch.testing.assert_close(model.lm_head(parts.ln_f(x)), model(idx))
    says(ATTENTION, "chuẩn hóa trước (pre-LN): một lần trước mỗi phần, và một lần nữa sau khối cuối")


def test_a_full_window_is_refused_with_a_cache(model):
    with pytest.raises(ValueError, match="exceed the context"):
        generate(model, torch.randint(30, (1, 15)), 6)
    says(ATTENTION, "`generate` từ chối vượt cửa sổ khi dùng bộ đệm")
