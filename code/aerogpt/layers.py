"""The layers of GPT-2: parameters, their initial values, and one forward each.

Weights are (out, in) as in ``torch.nn.Linear``. The defaults of ``std`` are torch's own initialisations, so that each
layer can be compared with its namesake in ``torch.nn``; the models pass GPT-2's 0.02.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aerogpt.config import GPTConfig


class Embedding(nn.Module):
    """A table of ``n_rows`` vectors: row i is the vector of id i. Ids (...) -> vectors (..., n_columns).

    Looking row i up equals multiplying a one-hot vector by the table, without the multiplications by zero.
    Initial values N(0, std).
    """

    def __init__(self, n_rows: int, n_columns: int, std: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_rows, n_columns).normal_(0, std))

    def forward(self, ids: Tensor) -> Tensor:
        """Raises IndexError on the CPU for an id outside [0, n_rows)."""
        return F.embedding(ids, self.weight)

    def extra_repr(self) -> str:
        return "{}, {}".format(*self.weight.shape)


class Linear(nn.Module):
    """y = x W^T + b with W (n_out, n_in): (..., n_in) -> (..., n_out).

    Initial weights N(0, std) with zero biases as in GPT-2, or, without ``std``, torch's default: weights and biases
    uniform in +-1/sqrt(n_in), which is Kaiming's bound sqrt(6 / ((1 + a^2) n_in)) at a = sqrt(5).
    """

    def __init__(self, n_in: int, n_out: int, bias: bool = True, std: float | None = None):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_out, n_in))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None
        if std is not None:
            nn.init.normal_(self.weight, 0, std)
        else:
            bound = 1 / math.sqrt(n_in)
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        n_out, n_in = self.weight.shape
        return f"{n_in}, {n_out}, bias={self.bias is not None}"


class LayerNorm(nn.Module):
    """Brings each vector to mean 0 and variance 1, then scales by ``weight`` and shifts by ``bias``.

    (..., C) -> (..., C). The formula is ``functional.layer_norm``; the kernel used here does it in one pass.
    Starts as weight 1, bias 0.
    """

    def __init__(self, n_features: int, bias: bool = True, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_features))
        self.bias = nn.Parameter(torch.zeros(n_features)) if bias else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, bias={self.bias is not None}, eps={self.eps}"


class MLP(nn.Module):
    """Widen to 4C, bend, narrow back, each token by itself: (B, T, C) -> (B, T, C) (Vaswani et al. 2017, section 3.3).

    GPT-2 uses GELU in its tanh form (``functional.gelu_tanh``): its trained weights need that one.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.c_fc = Linear(config.n_embd, 4 * config.n_embd, bias=config.bias, std=config.init_std)
        self.c_proj = Linear(4 * config.n_embd, config.n_embd, bias=config.bias, std=config.residual_std)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        widened = self.c_fc(x)                                          # (B, T, C) -> (B, T, 4C)
        bent = F.gelu(widened, approximate="tanh")
        return self.dropout(self.c_proj(bent))                          # (B, T, 4C) -> (B, T, C)
