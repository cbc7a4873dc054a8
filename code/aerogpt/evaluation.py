"""How good a model is on text it has not seen: mean loss, bits per byte."""

import contextlib
import math

import torch
import torch.distributed as dist
from torch import Tensor

from aerogpt.data import IGNORED, consecutive_windows
from aerogpt.model import GPT


def processes() -> tuple[int, int]:
    """(rank of this process, number of processes) of the running group, (0, 1) without one."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


@torch.no_grad()
def evaluate(model: GPT, tokens: Tensor, batch_size: int = 16, autocast: torch.autocast | None = None) -> float:
    """Mean loss in nats a token over all of ``tokens`` (N,), in windows side by side, shared among the processes.

    Early tokens of a window see little context, so this is a little more than a sliding window would give.
    """
    rank, world_size = processes()
    device = next(model.parameters()).device
    inputs, targets = consecutive_windows(tokens, model.config.n_ctx)
    batches = zip(inputs[rank::world_size].split(batch_size), targets[rank::world_size].split(batch_size))
    total = torch.zeros(2, dtype=torch.float64, device=device)  # nats, tokens
    was_training = model.training
    model.eval()
    with autocast or contextlib.nullcontext():
        for x, y in batches:
            counted = int((y != IGNORED).sum())
            total += torch.tensor([float(model.loss(x.to(device), y.to(device))) * counted, counted], device=device)
    model.train(was_training)
    if world_size > 1:
        dist.all_reduce(total)
    return float(total[0] / total[1])


def bits_per_byte(loss: float, tokens: Tensor, sizes: Tensor) -> float:
    """The mean loss over ``tokens[1:]`` in nats a token as bits a byte; ``sizes`` (V,) are the bytes of each token.

    Only this compares models with different tokenizers.
    """
    return loss * (len(tokens) - 1) / math.log(2) / int(sizes[tokens[1:]].sum())
