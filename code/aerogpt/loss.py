"""The loss of a language model without its logits ever being in memory all at once."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 256


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, ignore_index: int = -100) -> Tensor:
    """Mean cross-entropy of softmax(hidden @ weight^T) against ``targets``: a scalar in nats.

    ``hidden`` (N, C), ``weight`` (V, C), ``targets`` (N,) in [0, V) or ``ignore_index``, which does not count. Equals
    ``functional.cross_entropy(hidden @ weight.T, targets)``, but N x V logits take 412 MB for 2,048 tokens of GPT-2's
    vocabulary, and their gradient as much again. Here ``CHUNK`` rows of logits exist at a time, and each chunk is
    turned into its part of the gradients at once, while it is still in the processor's cache.
    """
    with_gradient = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    return _LinearCrossEntropy.apply(hidden, weight, targets, ignore_index, with_gradient)


class _LinearCrossEntropy(torch.autograd.Function):

    @staticmethod
    def forward(ctx, hidden, weight, targets, ignore_index, with_gradient):
        counted = targets != ignore_index
        n_counted = counted.sum()
        targets = targets.masked_fill(~counted, 0)
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        if with_gradient:
            d_hidden = torch.empty_like(hidden)
            d_weight = torch.zeros_like(weight)
        for start in range(0, len(targets), CHUNK):
            rows = slice(start, start + CHUNK)
            chosen = targets[rows, None]
            scale = counted[rows, None] / n_counted
            logits = (hidden[rows] @ weight.T).float()
            log_p = logits.log_softmax(-1)
            loss -= (log_p.gather(1, chosen) * scale).sum()
            if with_gradient:
                d_logits = log_p.exp_().scatter_add_(1, chosen, torch.full_like(log_p[:, :1], -1)).mul_(scale)
                d_logits = d_logits.to(weight.dtype)
                d_hidden[rows] = d_logits @ weight
                d_weight.addmm_(d_logits.T, hidden[rows])
        if with_gradient:
            ctx.save_for_backward(d_hidden, d_weight)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, d_loss):
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden * d_loss, d_weight * d_loss, None, None, None
