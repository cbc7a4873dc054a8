"""The transformer block."""

from torch import Tensor, nn

from aerogpt.attention import KVCache, MultiHeadAttention
from aerogpt.config import GPTConfig
from aerogpt.layers import MLP, LayerNorm


class Block(nn.Module):
    """Tokens exchange (attention), then each thinks for itself (MLP); both add to the residual stream.

    x + Attention(LN(x)), then x + MLP(LN(x)): the norm is inside the branch (pre-LN; Radford et al. 2019, section 2.3),
    so that the stream itself runs from the embedding to the last norm without being touched.
    (B, T, C) -> (B, T, C); ``layer`` is the number of this block, for the cache.
    """

    def __init__(self, config: GPTConfig, layer: int = 0):
        super().__init__()
        self.ln_1 = LayerNorm(config.n_embd, config.bias, config.layer_norm_epsilon)
        self.attn = MultiHeadAttention(config, layer)
        self.ln_2 = LayerNorm(config.n_embd, config.bias, config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        x = x + self.attn(self.ln_1(x), mask, cache)
        return x + self.mlp(self.ln_2(x))
