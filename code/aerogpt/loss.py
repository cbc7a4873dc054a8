"""The loss of a language model without all of its logits ever being in memory at once."""

import torch
from torch import Tensor
from torch.nn import functional as F


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, ignore_index: int = -100) -> Tensor:
    """Mean cross-entropy of softmax(hidden @ weight^T) against ``targets``: a scalar in nats.

    ``hidden`` (N, C), ``weight`` (V, C), ``targets`` (N,) in [0, V) or ``ignore_index``, which does not count.
    Equals ``functional.cross_entropy(hidden @ weight.T, targets)`` and has the same gradients. But the N x V logits of
    2,048 tokens and GPT-2's vocabulary take 412 MB, and their gradient as much again. Here a chunk of rows at a time
    goes from logits to its share of both gradients. Under autocast the products are in its dtype, all sums in float32.
    Raises RuntimeError on the CPU for a target that is neither.
    """
    with_gradient = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    device, dtype = hidden.device.type, hidden.dtype
    if device != "meta" and torch.is_autocast_enabled(device):          # "meta" knows no autocast
        dtype = torch.get_autocast_dtype(device)
    counted = targets != ignore_index
    total, _, _ = _sum_and_gradients(hidden.to(dtype), weight, targets, counted, with_gradient)
    return total / counted.sum()


# An operator of its own: torch.compile calls it as it is, which is faster than the code it would generate.
@torch.library.custom_op("aerogpt::sum_and_gradients", mutates_args=())
def _sum_and_gradients(hidden: Tensor, weight: Tensor, targets: Tensor, counted: Tensor,
                       with_gradient: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The sum of the losses of the ``counted`` rows, and its gradients by ``hidden`` and ``weight`` (or empty tensors).

    d loss / d logits = softmax - one_hot(target), so the gradients need nothing that comes after the loss.
    """
    n_rows, n_classes = len(hidden), len(weight)
    chunk = max(512, -(-n_rows // 8))               # large enough for efficient products, and at most 8 of them
    # Rows of logits that start on a cache line are written up to 1.4 times as fast: V is made a multiple of 64.
    padded = weight.new_empty((n_classes + -n_classes % 64, weight.shape[1]), dtype=hidden.dtype)
    padded[:n_classes], padded[n_classes:] = weight, 0
    targets = targets.masked_fill(~counted, 0)
    logits = hidden.new_empty(min(chunk, n_rows), len(padded))      # taken once: fresh memory is slow to touch
    total = hidden.new_zeros((), dtype=torch.float32)
    d_hidden, d_weight = torch.empty_like(hidden), torch.empty_like(padded)

    for start in range(0, n_rows, chunk):
        rows = slice(start, start + chunk)
        x, target, weighting = hidden[rows], targets[rows], counted[rows]
        z = torch.mm(x, padded.T, out=logits[:len(x)])                          # (N, C) @ (C, V) -> (N, V)
        z[:, n_classes:] = -torch.inf
        p = torch.softmax(z, -1, out=z)
        p_target = p[:, :n_classes].gather(1, target[:, None]).squeeze(1)       # (N, V) -> (N, 1) -> (N,)
        log_p = p_target.float().log()
        rare = p_target < torch.finfo(p.dtype).tiny                             # too few bits left, or none
        if rare.any():
            log_p[rare] = -F.cross_entropy(x[rare].float() @ weight.float().T, target[rare], reduction="none")
        total -= (log_p * weighting).sum()
        if with_gradient:
            p[torch.arange(len(x), device=x.device), target] -= 1               # now d loss / d logits
            torch.mm(p, padded, out=d_hidden[rows])                             # (N, V) @ (V, C) -> (N, C)
            d_weight.addmm_(p.T, x * weighting[:, None], beta=min(start, 1))    # (V, N) @ (N, C) -> (V, C)
    return total, d_hidden.mul_(counted[:, None]), d_weight[:n_classes]


@_sum_and_gradients.register_fake
def _(hidden, weight, targets, counted, with_gradient):
    return hidden.new_empty((), dtype=torch.float32), torch.empty_like(hidden), weight.new_empty(
        weight.shape, dtype=hidden.dtype)


def _setup_context(ctx, inputs, output):
    ctx.save_for_backward(*output[1:])


def _backward(ctx, d_total, *_):
    d_hidden, d_weight = ctx.saved_tensors
    # A matrix (1, 1) and not a scalar: bfloat16 times this is float32, in one pass.
    return d_hidden * d_total, d_weight * d_total.reshape(1, 1), None, None, None


_sum_and_gradients.register_autograd(_backward, setup_context=_setup_context)
