"""Attention: from the written-out formula to the fused kernel with many heads and a cache.

Shapes: B batch, T queries, S keys (T of them new, S - T before), H heads, D = C / H width of a head, C width of the
residual stream. A mask is boolean and True where a query may look, as in torch's ``scaled_dot_product_attention``
(``nn.MultiheadAttention`` has it the other way round). Without a mask, attention here is causal.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aerogpt.config import GPTConfig
from aerogpt.functional import masked_softmax
from aerogpt.layers import Linear


def causal_mask(n_query: int, n_key: int | None = None, device: torch.device | str | None = None) -> Tensor:
    """(n_query, n_key), True where a token may look: at itself and at what came before.

    The queries are the last ``n_query`` of ``n_key`` tokens (default: all of them).
    Raises ValueError for more queries than keys.
    """
    n_key = n_query if n_key is None else n_key
    if n_query > n_key:
        raise ValueError(f"{n_query} queries cannot be the last of {n_key} keys")
    everything = torch.ones(n_query, n_key, dtype=torch.bool, device=device)
    return everything.tril(diagonal=n_key - n_query)


def causal_average(x: Tensor) -> Tensor:
    """The mean of each vector and all before it, as attention with equal scores: (B, T, C) -> (B, T, C)."""
    mask = causal_mask(x.shape[1], device=x.device)
    weights = masked_softmax(torch.zeros_like(mask, dtype=x.dtype), mask)   # rows 1; 1/2, 1/2; 1/3, 1/3, 1/3; ...
    return weights @ x


def attention_manual(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """softmax(Q K^T / sqrt(D) + mask) V (Vaswani et al. 2017, equation 1): returns the output and the weights.

    ``q`` (..., T, D), ``k`` and ``v`` (..., S, D), ``mask`` (..., T, S) -> output (..., T, D), weights (..., T, S).
    """
    if mask is None:
        mask = causal_mask(q.shape[-2], k.shape[-2], q.device)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])           # (..., T, D) @ (..., D, S) -> (..., T, S)
    weights = masked_softmax(scores, mask)
    return weights @ v, weights                                         # (..., T, S) @ (..., S, D) -> (..., T, D)


def sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """``attention_manual`` in one fused kernel that never stores the T x S weights; (B, H, T, D) -> (B, H, T, D).

    ``is_causal=True`` aligns the first query with the first key, so it is right only for T = S. One new query may look
    at every key and needs no mask; a chunk of new queries after a past needs the explicit one.
    ``dropout`` acts on the weights whenever it is not 0: pass 0 in evaluation.
    """
    n_query, n_key = q.shape[-2], k.shape[-2]
    if mask is None and 1 < n_query < n_key:
        mask = causal_mask(n_query, n_key, q.device)
    return F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=mask is None and 1 < n_query == n_key)


def online_softmax_attention(q: Tensor, k: Tensor, v: Tensor, block_size: int = 64) -> Tensor:
    """Causal attention that sees the keys one block at a time: what the fused kernels do, in readable form.

    Keeps, for each query, the largest score m so far, the sum l of exp(score - m) and the sum o of exp(score - m) v;
    a new maximum rescales l and o by exp(m_old - m_new) (Milakov and Gimelshein 2018, algorithm 3; Dao et al. 2022,
    algorithm 1). Needs T x block_size scores at a time instead of T x S. Shapes as ``attention_manual``.
    """
    mask = causal_mask(q.shape[-2], k.shape[-2], q.device)
    m = torch.full_like(q[..., :1], -math.inf)                          # (..., T, 1)
    l, o = torch.zeros_like(m), torch.zeros_like(q[..., :1] * v[..., :1, :])    # (..., T, 1), (..., T, D)
    for start in range(0, k.shape[-2], block_size):
        block = slice(start, start + block_size)
        scores = q @ k[..., block, :].transpose(-2, -1) / math.sqrt(q.shape[-1])    # (..., T, block)
        scores = scores.masked_fill(~mask[:, block], -math.inf)
        m_new = torch.maximum(m, scores.amax(-1, keepdim=True))
        p, rescale = (scores - m_new).exp(), (m - m_new).exp()
        l = l * rescale + p.sum(-1, keepdim=True)
        o = o * rescale + p @ v[..., block, :]                          # (..., T, block) @ (..., block, D)
        m = m_new
    return o / l


def padding_mask(attention_mask: Tensor, n_query: int) -> Tensor:
    """The causal mask of a padded batch: ``attention_mask`` (B, S), nonzero for real tokens -> (B, 1, n_query, S).

    A token looks at real tokens up to itself. Padding looks at itself alone: a query that may look nowhere is NaN.
    """
    n_key = attention_mask.shape[1]
    key = torch.arange(n_key, device=attention_mask.device)             # (S,)
    query = key[n_key - n_query:, None]                                 # (T, 1)
    real = attention_mask.bool()[:, None, None, :]                      # (B, S) -> (B, 1, 1, S)
    return (key == query) | ((key < query) & real)


def split_heads(x: Tensor, n_head: int) -> Tensor:
    """(B, T, C) -> (B, H, T, D): each head gets its own D of the C columns. A view, nothing is copied."""
    return x.unflatten(-1, (n_head, -1)).transpose(1, 2)                # (B, T, C) -> (B, T, H, D) -> (B, H, T, D)


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, T, D) -> (B, T, C): the inverse of ``split_heads``."""
    return x.transpose(1, 2).flatten(-2)                                # (B, H, T, D) -> (B, T, H, D) -> (B, T, C)


class SingleHead(nn.Module):
    """One head of causal self-attention, every step visible: (B, T, C) -> output (B, T, C) and weights (B, T, T).

    Initial weights N(0, 0.02), biases 0 (GPT-2 has biases here too).
    """

    def __init__(self, n_embd: int):
        super().__init__()
        self.query = Linear(n_embd, n_embd, std=0.02)
        self.key = Linear(n_embd, n_embd, std=0.02)
        self.value = Linear(n_embd, n_embd, std=0.02)
        self.projection = Linear(n_embd, n_embd, std=0.02)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        out, weights = attention_manual(self.query(x), self.key(x), self.value(x))
        return self.projection(out), weights


class KVCache:
    """Keys and values of all tokens so far, so that a new token computes only its own.

    Room for ``max_length`` tokens is taken at once, 2 * n_layer * batch_size * max_length * n_embd numbers. ``length``
    is the number of tokens held, which is the position of the next one: nobody else counts positions.
    Raises ValueError if ``max_length`` is not in [1, n_ctx].
    """

    def __init__(self, config: GPTConfig, batch_size: int, max_length: int, *,
                 dtype: torch.dtype = torch.float32, device: torch.device | str | None = None):
        if not 1 <= max_length <= config.n_ctx:
            raise ValueError(f"max_length must be in [1, n_ctx = {config.n_ctx}], got {max_length}")
        shape = (batch_size, config.n_head, max_length, config.head_size)   # (B, H, S, D)
        # A tensor for each layer: torch.compile would copy all of one big tensor at each write into a part of it.
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.n_layer)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.n_layer)]
        self.length = 0

    def require(self, batch_size: int, n_new: int) -> None:
        """Raises ValueError unless ``n_new`` more tokens of ``batch_size`` sequences fit."""
        rows, _, max_length, _ = self.keys[0].shape
        if batch_size != rows:
            raise ValueError(f"the cache was made for {rows} sequences, got {batch_size}")
        if self.length + n_new > max_length:
            raise ValueError(f"{n_new} more tokens do not fit: the cache holds {self.length} of {max_length}")

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new ``k`` and ``v`` (B, H, T, D) behind those of ``layer``; return all of them, (B, H, S, D).

        ``length`` stays, since every layer writes at the same place: ``advance`` moves it once all have.
        """
        end = self.length + k.shape[2]
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, self.length:end] = k
        values[:, :, self.length:end] = v
        return keys[:, :, :end], values[:, :, :end]

    def advance(self, n_new: int) -> None:
        """The next token comes ``n_new`` positions later."""
        self.length += n_new


class MultiHeadAttention(nn.Module):
    """H heads side by side, each with its own D = C / H columns of Q, K and V: (B, T, C) -> (B, T, C).

    Vaswani et al. 2017, section 3.2.2. Q, K and V come from one matrix product (``c_attn``) and the concatenated heads
    go through ``c_proj``, W^O in the paper. ``layer`` says which part of a cache is this module's.
    """

    def __init__(self, config: GPTConfig, layer: int = 0):
        super().__init__()
        self.n_head, self.layer = config.n_head, layer
        self.c_attn = Linear(config.n_embd, 3 * config.n_embd, bias=config.bias, std=config.init_std)
        self.c_proj = Linear(config.n_embd, config.n_embd, bias=config.bias, std=config.residual_std)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        q, k, v = self.c_attn(x).chunk(3, dim=-1)                       # (B, T, 3C) -> 3 times (B, T, C)
        q, k, v = (split_heads(part, self.n_head) for part in (q, k, v))    # (B, T, C) -> (B, H, T, D)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)                       # (B, H, T, D) -> (B, H, S, D)
        dropout = self.dropout.p if self.training else 0.0
        heads = sdpa(q.to(k.dtype), k, v, mask, dropout).to(q.dtype)    # the cache may keep another precision
        return self.dropout(self.c_proj(merge_heads(heads)))            # (B, H, T, D) -> (B, T, C)
