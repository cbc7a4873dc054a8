"""The five models of the course, each a small step on the last; the fifth is ``model.GPT``.

All map token ids (B, T) to logits (B, T, V). Their parts have the names that they have in GPT-2.
"""

import torch
from torch import Tensor, nn

from aerogpt.attention import SingleHead
from aerogpt.block import Block
from aerogpt.config import GPTConfig
from aerogpt.functional import gelu
from aerogpt.layers import Embedding, LayerNorm, Linear
from aerogpt.model import GPT


class Model1(nn.Module):
    """Embedding, GELU, unembedding. No token sees another: the logits after a text depend on its last token alone."""

    def __init__(self, vocab_size: int, n_embd: int):
        super().__init__()
        self.wte = Embedding(vocab_size, n_embd)
        self.lm_head = Linear(n_embd, vocab_size)

    def forward(self, idx: Tensor) -> Tensor:
        return self.lm_head(gelu(self.wte(idx)))                        # (B, T) -> (B, T, C) -> (B, T, V)


class Model2(nn.Module):
    """Model 1, and: a learned vector for each position, a norm, and one matrix for embedding and unembedding.

    Tying asks for small weights: at N(0, 1) the logits are as wide as sqrt(C) and the first loss is far above ln V.
    ``std`` is GPT-2's choice for tokens (its positions start at 0.01). Raises ValueError for more than ``n_ctx`` tokens, as the models after it.
    """

    def __init__(self, vocab_size: int, n_ctx: int, n_embd: int, std: float = 0.02):
        super().__init__()
        self.wte = Embedding(vocab_size, n_embd, std)
        self.wpe = Embedding(n_ctx, n_embd, std)
        self.ln_f = LayerNorm(n_embd)
        self.lm_head = Linear(n_embd, vocab_size, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, idx: Tensor) -> Tensor:
        x = add_positions(self.wte(idx), self.wpe)                      # (B, T) -> (B, T, C)
        return self.lm_head(gelu(self.ln_f(x)))                         # (B, T, C) -> (B, T, V)


class Model3(nn.Module):
    """Model 2 with one attention head in place of the GELU: tokens see the past for the first time."""

    def __init__(self, vocab_size: int, n_ctx: int, n_embd: int):
        super().__init__()
        self.wte = Embedding(vocab_size, n_embd, std=0.02)
        self.wpe = Embedding(n_ctx, n_embd, std=0.02)
        self.ln_1 = LayerNorm(n_embd)
        self.attn = SingleHead(n_embd)
        self.ln_f = LayerNorm(n_embd)
        self.lm_head = Linear(n_embd, vocab_size, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, idx: Tensor, return_attention: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """The logits, and with ``return_attention`` also the attention weights (B, T, T)."""
        x = add_positions(self.wte(idx), self.wpe)                      # (B, T) -> (B, T, C)
        out, weights = self.attn(self.ln_1(x))
        logits = self.lm_head(self.ln_f(x + out))                       # (B, T, C) -> (B, T, V)
        return (logits, weights) if return_attention else logits


class Model4(nn.Module):
    """Model 3 with ``config.n_layer`` whole blocks, attention and MLP, in place of the one head."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.wte = Embedding(config.vocab_size, config.n_embd, std=config.init_std)
        self.wpe = Embedding(config.n_ctx, config.n_embd, std=config.init_std)
        self.h = nn.Sequential(*(Block(config) for _ in range(config.n_layer)))
        self.ln_f = LayerNorm(config.n_embd, config.bias, config.layer_norm_epsilon)
        self.lm_head = Linear(config.n_embd, config.vocab_size, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, idx: Tensor) -> Tensor:
        x = self.h(add_positions(self.wte(idx), self.wpe))              # (B, T) -> (B, T, C)
        return self.lm_head(self.ln_f(x))                               # (B, T, C) -> (B, T, V)


# Model 4, and: dropout, OpenAI's names, a loss without whole logits, a cache for generating, padded batches.
Model5 = GPT


def add_positions(x: Tensor, wpe: Embedding) -> Tensor:
    """Token vectors (B, T, C) plus the vector of each one's position. ValueError for more tokens than positions."""
    n_tokens, n_ctx = x.shape[1], len(wpe.weight)
    if n_tokens > n_ctx:
        raise ValueError(f"{n_tokens} tokens are more than the context of {n_ctx}: crop the input")
    return x + wpe(torch.arange(n_tokens, device=x.device))             # (B, T, C) + (T, C)
