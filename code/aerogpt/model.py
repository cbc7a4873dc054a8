"""GPT-2."""

import torch
from torch import Tensor, nn

from aerogpt.attention import KVCache, padding_mask
from aerogpt.block import Block
from aerogpt.config import GPTConfig
from aerogpt.layers import Embedding, LayerNorm, Linear
from aerogpt.loss import linear_cross_entropy


class GPT(nn.Module):
    """GPT-2 (Radford et al. 2019): embeddings, blocks, a last norm, and the embedding again to score each token.

    Parameters have OpenAI's names, ``transformer.h.0.attn.c_attn.weight`` and so on, with matrices (out, in).
    ``lm_head.weight`` is ``transformer.wte.weight``, the same tensor.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict({
            "wte": Embedding(config.vocab_size, config.n_embd, std=config.init_std),
            "wpe": Embedding(config.n_ctx, config.n_embd, std=config.init_std),
            "drop": nn.Dropout(config.dropout),
            "h": nn.ModuleList(Block(config, layer) for layer in range(config.n_layer)),
            "ln_f": LayerNorm(config.n_embd, config.bias, config.layer_norm_epsilon),
        })
        with torch.device("meta"):                                      # its weight is replaced by the next line
            self.lm_head = Linear(config.n_embd, config.vocab_size, bias=False)
        self.tie_weights()

    def tie_weights(self) -> None:
        """Make output and input embedding one tensor (Press and Wolf 2017). Needed again only after a conversion that
        replaces parameters: from or to the device "meta", or ``load_state_dict(..., assign=True)``."""
        self.lm_head.weight = self.transformer.wte.weight

    def hidden(self, idx: Tensor, *, cache: KVCache | None = None, position_ids: Tensor | None = None,
               attention_mask: Tensor | None = None) -> Tensor:
        """The residual stream after the last norm: token ids (B, T) -> (B, T, C).

        ``cache`` holds the S - T tokens before these, and these afterwards. ``attention_mask`` (B, S), nonzero for
        real tokens, is for batches padded on the left; each row then counts its positions from its first real token,
        unless ``position_ids`` (B, T) says otherwise.
        Raises ValueError if a shape does not fit or S exceeds n_ctx or the room in the cache.
        """
        if idx.ndim != 2 or idx.shape[1] == 0:
            raise ValueError(f"token ids must have shape (batch, at least one token), got {tuple(idx.shape)}")
        n_batch, n_new = idx.shape
        n_past = 0
        if cache is not None:
            cache.require(n_batch, n_new)
            n_past = cache.length
        n_total = n_past + n_new
        if n_total > self.config.n_ctx:
            raise ValueError(f"{n_total} tokens are more than the context of {self.config.n_ctx}: crop the input")
        mask = None
        if attention_mask is not None:
            if attention_mask.shape != (n_batch, n_total):
                raise ValueError(f"attention_mask must cover all {n_total} tokens so far, shape {(n_batch, n_total)}, "
                                 f"got {tuple(attention_mask.shape)}")
            mask = padding_mask(attention_mask, n_new)
            if position_ids is None:
                position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, n_past:]
        if position_ids is None:
            position_ids = torch.arange(n_past, n_total, device=idx.device)

        x = self.transformer.wte(idx) + self.transformer.wpe(position_ids)      # (B, T, C)
        x = self.transformer.drop(x)
        for block in self.transformer.h:
            x = block(x, mask, cache)
        if cache is not None:
            cache.advance(n_new)
        return self.transformer.ln_f(x)

    def forward(self, idx: Tensor, *, cache: KVCache | None = None, position_ids: Tensor | None = None,
                attention_mask: Tensor | None = None, last_only: bool = False) -> Tensor:
        """Token ids (B, T) -> logits (B, T, V) of the token after each, or (B, 1, V) after the last with ``last_only``.

        The other arguments and the errors are those of ``hidden``.
        """
        x = self.hidden(idx, cache=cache, position_ids=position_ids, attention_mask=attention_mask)
        if last_only:
            x = x[:, -1:]                                               # (B, T, C) -> (B, 1, C)
        return self.lm_head(x)

    def loss(self, idx: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats a token of ``targets`` (B, T), where -100 is not counted, after ``idx`` (B, T)."""
        if idx.shape != targets.shape:
            raise ValueError(f"targets {tuple(targets.shape)} must have the shape of the ids {tuple(idx.shape)}")
        x = self.hidden(idx).flatten(0, 1)                              # (B, T, C) -> (B * T, C)
        return linear_cross_entropy(x, self.lm_head.weight, targets.flatten())
