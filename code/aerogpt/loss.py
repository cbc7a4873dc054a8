"""The loss of a language model without all of its logits ever being in memory at once."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
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
    dtype = hidden.dtype
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
    return _LinearCrossEntropy.apply(hidden.to(dtype), weight, targets, ignore_index, with_gradient)


class _LinearCrossEntropy(torch.autograd.Function):
    """d loss / d logits = softmax - one_hot(target), so the gradients need nothing that comes after the loss."""

    @staticmethod
    def forward(ctx, hidden, weight, targets, ignore_index, with_gradient):
        n_rows, n_classes = len(hidden), len(weight)
        chunk = max(512, -(-n_rows // 8))           # large enough for efficient products, and at most 8 of them
        # Rows of logits that start on a cache line are written up to 1.4 times as fast: V is made a multiple of 64.
        padded = F.pad(weight.to(hidden.dtype), (0, 0, 0, -n_classes % 64))
        counted = targets != ignore_index
        targets = targets.masked_fill(~counted, 0)
        # Buffers are taken once: fresh memory costs a page fault for every 4 kB.
        logits = hidden.new_empty(min(chunk, n_rows), len(padded))
        probabilities = torch.empty_like(logits)
        d_hidden, d_weight = torch.empty_like(hidden), torch.zeros_like(padded)
        loss = hidden.new_zeros((), dtype=torch.float32)

        for start in range(0, n_rows, chunk):
            rows = slice(start, start + chunk)
            x, target, weighting = hidden[rows], targets[rows], counted[rows]
            z = torch.mm(x, padded.T, out=logits[:len(x)])                      # (N, C) @ (C, V) -> (N, V)
            z[:, n_classes:] = -torch.inf
            p = torch.softmax(z, -1, out=probabilities[:len(x)])
            # log p(target) = z_target - max z + log max p: max p is at least 1/V, while p(target) may underflow to 0.
            z_target = z[:, :n_classes].gather(1, target[:, None]).squeeze(1)   # (N, V) -> (N, 1) -> (N,)
            log_p = z_target.float() - z.amax(-1).float() + p.amax(-1).float().log()
            loss -= (log_p * weighting).sum()
            if with_gradient:
                p[torch.arange(len(x), device=x.device), target] -= 1           # now d loss / d logits
                torch.mm(p, padded, out=d_hidden[rows])                         # (N, V) @ (V, C) -> (N, C)
                d_weight.addmm_(p.T, x * weighting[:, None])                    # (V, N) @ (N, C) -> (V, C)

        n_counted = counted.sum()
        ctx.save_for_backward(d_hidden, d_weight[:n_classes], counted[:, None] / n_counted, 1 / n_counted)
        return loss / n_counted

    @staticmethod
    @once_differentiable
    def backward(ctx, d_loss):
        d_hidden, d_weight, of_row, of_weight = ctx.saved_tensors
        return d_hidden * (d_loss * of_row), d_weight * (d_loss * of_weight).reshape(1, 1), None, None, None
