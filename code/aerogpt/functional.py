"""The mathematics of GPT-2, written out.

Every function is its formula in a few lines of tensor arithmetic, safe for large inputs. The layers of the model call
torch's fused kernels instead, because those read each number once; the tests hold both to be equal.
"""

import math

import torch
from torch import Tensor


def softmax(logits: Tensor, dim: int = -1, temperature: float = 1.0) -> Tensor:
    """Probabilities exp(z_i / T) / sum_j exp(z_j / T) along ``dim``; same shape as ``logits``.

    The maximum is subtracted first: the result is the same and no exponential overflows, however large the logits.
    A row of nothing but -inf has no distribution and gives NaN.

    Raises ValueError unless ``temperature`` is positive and finite (temperature 0 is ``sampling.greedy``).
    """
    weights = _shift_and_scale(logits, dim, temperature).exp()
    return weights / weights.sum(dim, keepdim=True)


def log_softmax(logits: Tensor, dim: int = -1, temperature: float = 1.0) -> Tensor:
    """log(softmax(z)) = z - log(sum_j exp(z_j)) in nats, finite where the probability itself underflows to zero.

    Raises ValueError unless ``temperature`` is positive and finite.
    """
    shifted = _shift_and_scale(logits, dim, temperature)
    return shifted - shifted.exp().sum(dim, keepdim=True).log()


def _shift_and_scale(logits: Tensor, dim: int, temperature: float) -> Tensor:
    """(z - max z) / T. The order matters: dividing first by a tiny T overflows."""
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be a positive, finite number, got {temperature}")
    return (logits - logits.amax(dim, keepdim=True)) / temperature


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis, where ``mask`` (boolean, broadcastable to ``scores``) is True for allowed entries.

    Forbidden scores become -inf, and exp(-inf) is exactly 0. Each row needs at least one allowed entry, else it is NaN.
    """
    return softmax(scores.masked_fill(~mask, -math.inf))


def cross_entropy(logits: Tensor, targets: Tensor, ignore_index: int = -100) -> Tensor:
    """Mean of -log p(target) over all positions whose target is not ``ignore_index``: a scalar in nats.

    ``logits`` (..., V), ``targets`` (...) integers in [0, V). Without any counted target the mean is 0/0 = NaN.
    Raises ValueError if the leading shapes differ.
    """
    if logits.shape[:-1] != targets.shape:
        raise ValueError(f"logits {tuple(logits.shape)} need targets {tuple(logits.shape[:-1])}, "
                         f"got {tuple(targets.shape)}")
    counted = targets != ignore_index
    chosen = targets.masked_fill(~counted, 0).unsqueeze(-1)            # (...) -> (..., 1)
    log_p = log_softmax(logits).gather(-1, chosen).squeeze(-1)         # (..., V) -> (..., 1) -> (...)
    return -log_p.masked_fill(~counted, 0).sum() / counted.sum()


def entropy(probabilities: Tensor, dim: int = -1) -> Tensor:
    """H(p) = -sum_i p_i log p_i in nats, with 0 log 0 = 0 (Shannon 1948, section 6). Drops the axis ``dim``."""
    logarithms = probabilities.masked_fill(probabilities == 0, 1).log()
    return -(probabilities * logarithms).sum(dim)


def relu(x: Tensor) -> Tensor:
    """max(0, x), element by element."""
    return x.clamp(min=0)


def normal_cdf(x: Tensor) -> Tensor:
    """Phi(x) = P(X <= x) for a standard normal X. ``erfc`` keeps the tail that 1 + erf would round to 0."""
    return 0.5 * torch.erfc(-x / math.sqrt(2))


def gelu(x: Tensor) -> Tensor:
    """x * Phi(x), the exact form (Hendrycks and Gimpel 2016, section 2)."""
    return x * normal_cdf(x)


def gelu_derivative(x: Tensor) -> Tensor:
    """d/dx of x * Phi(x) = Phi(x) + x * phi(x), where phi is the standard normal density."""
    density = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return normal_cdf(x) + x * density


def gelu_tanh(x: Tensor) -> Tensor:
    """x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))): what GPT-2 was trained with (same paper, section 2)."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis (Ba, Kiros and Hinton 2016, equation 4).

    ``x`` (..., C), ``weight`` and ``bias`` (C,). The variance is the biased one: it divides by C.
    """
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    normalised = centred / torch.sqrt(variance + eps)
    return normalised * weight if bias is None else normalised * weight + bias
