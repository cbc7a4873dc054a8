"""Four ways to compute attention agree; masks and the cache are right where they are easily wrong."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from aerogpt.attention import (KVCache, MultiHeadAttention, SingleHead, attention_manual, causal_average, causal_mask,
                               merge_heads, online_softmax_attention, padding_mask, sdpa, split_heads)
from aerogpt.config import GPTConfig

CONFIG = GPTConfig(vocab_size=5, n_ctx=12, n_layer=2, n_head=4, n_embd=32)


def qkv(n_query, n_key, n_head=3, head_size=8, dtype=torch.float64):
    shape = (2, n_head, n_key, head_size)
    q, k, v = (torch.randn(shape, dtype=dtype) for _ in range(3))
    return q[:, :, n_key - n_query:], k, v


@given(st.integers(1, 9), st.integers(0, 9))
def test_causal_mask_allows_exactly_the_past(n_query, n_past):
    mask = causal_mask(n_query, n_past + n_query)
    for i in range(n_query):
        for j in range(n_past + n_query):
            assert mask[i, j] == (j <= n_past + i)


def test_causal_mask_refuses_more_queries_than_keys():
    with pytest.raises(ValueError, match="3 queries cannot be the last of 2 keys"):
        causal_mask(3, 2)


def test_causal_average_is_the_running_mean():
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(causal_average(x), x.cumsum(1) / torch.arange(1, 6)[:, None])


# All new; one new; a chunk of new tokens after a past, where `is_causal=True` would be wrong.
@pytest.mark.parametrize("n_query, n_key", [(1, 1), (7, 7), (1, 7), (3, 7), (65, 130)])
def test_manual_fused_and_online_agree_with_gradients(n_query, n_key):
    q, k, v = (tensor.requires_grad_() for tensor in qkv(n_query, n_key))
    manual, weights = attention_manual(q, k, v)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    seed = torch.randn_like(manual)
    expected = torch.autograd.grad(manual, [q, k, v], seed)
    for other in (sdpa(q, k, v), online_softmax_attention(q, k, v, block_size=4)):
        torch.testing.assert_close(other, manual)
        torch.testing.assert_close(torch.autograd.grad(other, [q, k, v], seed), expected)


def test_the_is_causal_trap_is_real():
    """If torch ever aligns is_causal to the last key, ``sdpa`` can lose its explicit mask."""
    q, k, v = qkv(3, 7)
    trapped = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert not torch.allclose(trapped, sdpa(q, k, v))


def test_fused_obeys_a_given_mask():
    q, k, v = qkv(4, 4)
    mask = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1], [1, 1, 0, 0]]).bool()
    torch.testing.assert_close(sdpa(q, k, v, mask), attention_manual(q, k, v, mask)[0])


def test_online_softmax_survives_scores_that_overflow_exp():
    q, k, v = qkv(6, 6, dtype=torch.float32)
    out = online_softmax_attention(100 * q, 100 * k, v, block_size=2)
    torch.testing.assert_close(out, attention_manual(100 * q, 100 * k, v)[0])
    assert out.isfinite().all()


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_padding_mask_allows_real_tokens_of_the_past_and_oneself(real, data):
    n_query = data.draw(st.integers(1, len(real)))
    mask = padding_mask(torch.tensor([real]).long(), n_query)
    assert mask.shape == (1, 1, n_query, len(real))
    for i in range(n_query):
        position = len(real) - n_query + i
        for j in range(len(real)):
            assert mask[0, 0, i, j] == (j == position or (j < position and real[j]))


def test_split_and_merge_are_inverse_views():
    x = torch.arange(2 * 3 * 8).view(2, 3, 8)
    heads = split_heads(x, 4)
    assert heads.shape == (2, 4, 3, 2) and heads.data_ptr() == x.data_ptr()
    assert torch.equal(heads[1, 2, 0], x[1, 0, 4:6])
    assert torch.equal(merge_heads(heads), x)


def test_multi_head_attention_is_torchs():
    ours, theirs = MultiHeadAttention(CONFIG), nn.MultiheadAttention(32, 4, batch_first=True)
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    theirs.load_state_dict({
        "in_proj_weight": ours.c_attn.weight, "in_proj_bias": ours.c_attn.bias,
        "out_proj.weight": ours.c_proj.weight, "out_proj.bias": ours.c_proj.bias,
    })
    x = torch.randn(2, 6, 32)
    expected, _ = theirs(x, x, x, attn_mask=~causal_mask(6))            # True means forbidden there
    torch.testing.assert_close(ours(x), expected, atol=1e-4, rtol=1e-4)


def test_single_head_is_multi_head_attention_with_one_head():
    single = SingleHead(32)
    multi = MultiHeadAttention(GPTConfig(vocab_size=5, n_ctx=12, n_layer=2, n_head=1, n_embd=32))
    for parameter in single.parameters():
        nn.init.normal_(parameter)
    parts = (single.query, single.key, single.value)
    with torch.no_grad():
        multi.c_attn.weight.copy_(torch.cat([part.weight for part in parts]))
        multi.c_attn.bias.copy_(torch.cat([part.bias for part in parts]))
        multi.c_proj.load_state_dict(single.projection.state_dict())
    x = torch.randn(2, 6, 32)
    out, weights = single(x)
    torch.testing.assert_close(out, multi(x), atol=1e-4, rtol=1e-4)
    assert weights.shape == (2, 6, 6) and not weights.triu(1).any()


def test_initial_values():
    attention = MultiHeadAttention(GPTConfig(vocab_size=5, n_ctx=12, n_layer=8, n_head=4, n_embd=128))
    assert attention.c_attn.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert attention.c_proj.weight.std().item() == pytest.approx(0.02 / 16**0.5, rel=0.02)
    assert not attention.c_attn.bias.any() and not attention.c_proj.bias.any()


def test_dropout_is_off_in_evaluation_on_the_fused_path_too():
    config = GPTConfig(vocab_size=5, n_ctx=12, n_layer=2, n_head=4, n_embd=32, dropout=0.5)
    attention, x = MultiHeadAttention(config), torch.randn(2, 6, 32)
    attention.dropout.forward = lambda out: out                         # what is left is the dropout of the weights
    assert not torch.equal(attention(x), attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4).filter(lambda sizes: sum(sizes) <= 12))
def test_attention_through_a_cache_in_any_chunks_is_attention_at_once(sizes):
    attention = MultiHeadAttention(CONFIG, layer=1).double()
    x = torch.randn(2, sum(sizes), 32, dtype=torch.float64)
    cache = KVCache(CONFIG, 2, 12, dtype=torch.float64)
    parts = []
    for chunk in x.split(sizes, dim=1):
        parts.append(attention(chunk, cache=cache))
        cache.advance(chunk.shape[1])
    assert cache.length == sum(sizes)
    torch.testing.assert_close(torch.cat(parts, 1), attention(x))


def test_a_cache_may_keep_fewer_bits_than_the_model():
    attention, x = MultiHeadAttention(CONFIG), torch.randn(2, 6, 32)
    out = attention(x, cache=KVCache(CONFIG, 2, 12, dtype=torch.bfloat16))
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, attention(x), atol=1e-2, rtol=1e-2)


def test_a_cache_knows_its_limits():
    for bad in (0, 13):
        with pytest.raises(ValueError, match=rf"max_length must be in \[1, n_ctx = 12\], got {bad}"):
            KVCache(CONFIG, 1, bad)
    cache = KVCache(CONFIG, 2, 5)
    cache.advance(3)
    cache.require(2, 2)
    with pytest.raises(ValueError, match="3 more tokens do not fit: the cache holds 3 of 5"):
        cache.require(2, 3)
    with pytest.raises(ValueError, match="made for 2 sequences, got 1"):
        cache.require(1, 1)


@pytest.mark.gpu
@pytest.mark.parametrize("n_query, n_key", [(7, 7), (1, 7), (3, 7)])
def test_fused_and_manual_agree_on_a_gpu(n_query, n_key):
    q, k, v = (tensor.cuda() for tensor in qkv(n_query, n_key, dtype=torch.float32))
    torch.testing.assert_close(sdpa(q, k, v), attention_manual(q, k, v)[0], atol=1e-4, rtol=1e-4)
