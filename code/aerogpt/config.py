"""The shape of a GPT-2, in the names that OpenAI gave its fields."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class GPTConfig:
    """Every number that decides the shape of a model; nothing else may.

    vocab_size: number of token ids. n_ctx: longest context in tokens. n_layer: blocks. n_head: heads a block.
    n_embd: width of the residual stream. dropout: share of activations dropped in training.
    layer_norm_epsilon: added to the variance. bias: whether Linear and LayerNorm have biases (GPT-2's do).

    Raises TypeError or ValueError that names the field for anything that cannot be a model.
    """

    vocab_size: int
    n_ctx: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float = 0.0
    layer_norm_epsilon: float = 1e-5
    bias: bool = True

    def __post_init__(self):
        for name in ("vocab_size", "n_ctx", "n_layer", "n_head", "n_embd"):
            value = getattr(self, name)
            if type(value) is not int:
                raise TypeError(f"{name} must be an int, got {value!r}")
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd {self.n_embd} must be divisible by n_head {self.n_head}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if not self.layer_norm_epsilon > 0:
            raise ValueError(f"layer_norm_epsilon must be positive, got {self.layer_norm_epsilon}")
        if type(self.bias) is not bool:
            raise TypeError(f"bias must be True or False, got {self.bias!r}")

    @property
    def head_size(self) -> int:
        """Width of one head: n_embd / n_head."""
        return self.n_embd // self.n_head

    @property
    def init_std(self) -> float:
        """Standard deviation of all initial weights and embeddings (Radford et al. 2018, section 4.1)."""
        return 0.02

    @property
    def residual_std(self) -> float:
        """init_std / sqrt(2 n_layer), for the 2 n_layer projections whose outputs add up in the residual stream
        (Radford et al. 2019, section 2.3)."""
        return self.init_std / math.sqrt(2 * self.n_layer)

    @classmethod
    def preset(cls, name: str, **changes) -> "GPTConfig":
        """The configuration called ``name`` in PRESETS, with some fields replaced. ValueError for another name."""
        if name not in PRESETS:
            raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
        return replace(PRESETS[name], **changes)


PRESETS = {
    # OpenAI's four (Radford et al. 2019, table 2).
    "gpt2": GPTConfig(vocab_size=50257, n_ctx=1024, n_layer=12, n_head=12, n_embd=768),
    "gpt2-medium": GPTConfig(vocab_size=50257, n_ctx=1024, n_layer=24, n_head=16, n_embd=1024),
    "gpt2-large": GPTConfig(vocab_size=50257, n_ctx=1024, n_layer=36, n_head=20, n_embd=1280),
    "gpt2-xl": GPTConfig(vocab_size=50257, n_ctx=1024, n_layer=48, n_head=25, n_embd=1600),
    # Sorts the letters A, B, C: the model of the visual walk-through.
    "nano": GPTConfig(vocab_size=3, n_ctx=11, n_layer=3, n_head=3, n_embd=48),
    # The course's own trained model.
    "vi-tiny": GPTConfig(vocab_size=2048, n_ctx=256, n_layer=6, n_head=6, n_embd=216),
}
