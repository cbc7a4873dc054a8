"""Choosing the next token from logits: greedy, temperature, top-k, top-p, min-p and the categorical draw.

Every cut takes logits (..., V) and returns logits of the same shape in which a token that may not be chosen is
``-inf``: the softmax that follows gives it probability exactly 0 and renormalises the rest. So cuts can be chained.
"""

import math

import torch
from torch import Tensor


def greedy(logits: Tensor) -> Tensor:
    """The most probable token, the one with the lowest id among equals: (..., V) -> ids (...)."""
    return logits.argmax(dim=-1)


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide logits (..., V) by a temperature T > 0: below 1 the distribution sharpens, above 1 it flattens.

    p_i = exp(z_i / T) / sum_j exp(z_j / T), the Boltzmann distribution; Ackley, Hinton and Sejnowski (1985), section 2.
    T -> 0 is ``greedy``, but 0 itself cannot divide: ValueError, as for a negative or non-finite temperature.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive and finite, got {temperature!r}; for temperature 0 use greedy")
    return logits / temperature


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep exactly the k largest logits of (..., V), of equal ones those with the lowest ids; k > V keeps all.

    Fan, Lewis and Dauphin (2018), "Hierarchical Neural Story Generation", section 5.1. ValueError unless k >= 1.
    """
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"top_k must be a whole number of at least 1, got {k!r}")
    k = min(k, logits.shape[-1])
    smallest = logits.topk(k).values[..., -1:]  # (..., 1), the k-th largest
    larger = logits > smallest
    equal = logits == smallest
    room = k - larger.sum(dim=-1, keepdim=True)  # (..., 1), how many of the equal ones fit
    return _keep(logits, larger | (equal & (equal.cumsum(dim=-1) <= room)))


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the nucleus of (..., V): the fewest most probable tokens whose probabilities reach the sum p.

    The token that crosses p is kept, hence at least one; p = 1 keeps all.
    Holtzman et al. (2020), "The Curious Case of Neural Text Degeneration", equation 2. ValueError unless 0 < p <= 1.
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {p!r}")
    if p == 1:  # a rounded sum can reach 1 before the last token
        return logits
    ordered, ids = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.softmax(dim=-1, dtype=torch.float32)
    before = probabilities.cumsum(dim=-1).roll(1, dims=-1)  # the sum of all more probable tokens
    before[..., 0] = 0
    kept = torch.empty_like(ids, dtype=torch.bool).scatter(-1, ids, before < p)  # back to the order of ids
    return _keep(logits, kept)


def min_p(logits: Tensor, p: float) -> Tensor:
    """Keep the tokens of (..., V) that are at least p times as probable as the most probable one.

    Nguyen et al. (2024), "Turning Up the Heat: Min-p Sampling", section 3. ValueError unless 0 <= p <= 1.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"min_p must be between 0 and 1, got {p!r}")
    probabilities = logits.softmax(dim=-1, dtype=torch.float32)
    return _keep(logits, probabilities >= p * probabilities.amax(dim=-1, keepdim=True))


def _keep(logits: Tensor, kept: Tensor) -> Tensor:
    """Logits with -inf where ``kept`` (same shape) is False. TypeError for whole numbers, which have no infinity."""
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating point, got {logits.dtype}; convert them with .float()")
    return logits.masked_fill(~kept, -math.inf)


def sample_categorical(probabilities: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Draw one id from each row of probabilities, or of weights that need not sum to 1: (..., V) -> ids (...).

    ``torch.multinomial`` draws from at most 2**24 categories and raises RuntimeError for a negative, infinite or
    NaN weight and for a row of zeros.
    """
    *batch, size = probabilities.shape
    rows = probabilities.reshape(-1, size)  # (..., V) -> (N, V)
    return torch.multinomial(rows, num_samples=1, generator=generator).reshape(batch)  # (N, 1) -> (...)


# The cuts of ``sample``, in the order in which they apply.
_CUTS = (top_k, top_p, min_p)


def sample(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Choose a token from each row of logits (..., V) -> ids (...): temperature, then the cuts, then the draw.

    Temperature 0 chooses the most probable token and draws nothing. A cut that is None does not apply.
    ValueError for a bad option, and for a row that (divided by a tiny temperature) holds NaN or +inf or only -inf.
    """
    if temperature != 0:
        logits = apply_temperature(logits.float(), temperature)
    if not logits.amax(dim=-1).isfinite().all():
        raise ValueError(f"at temperature {temperature} a row of logits holds NaN or +inf, or nothing but -inf")
    for cut, argument in zip(_CUTS, (top_k, top_p, min_p)):
        if argument is not None:
            logits = cut(logits, argument)
    return greedy(logits) if temperature == 0 else sample_categorical(logits.softmax(dim=-1), generator=generator)
