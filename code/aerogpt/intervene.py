"""Interventions: change a part of a trained model, look at what it still can do, and put everything back.

Each is a context manager. It overwrites weights in place, so the model inside is the same object with the same tied
tensors, and on exit, whatever happened meanwhile, the old values return bit for bit. Contexts can be nested.
``layers`` and ``heads`` are a number from 0 or several; None means all. ValueError for one that the model lacks.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from aerogpt.block import Block
from aerogpt.layers import Linear
from aerogpt.model import GPT

Numbers = int | Iterable[int] | None


@contextmanager
def replaced_qkv(
    model: GPT, parts: str, *, layers: Numbers = None, heads: Numbers = None, fill: str = "noise", seed: int = 0
) -> Iterator[None]:
    """Replace the matrix and the bias that make the queries, keys or values; ``parts`` is "q", "k", "v" or several.

    ``fill`` "zeros" removes them; "noise" is Gaussian with the mean and the standard deviation of what it replaces,
    taken for each head, matrix and bias apart. The noise of a weight depends on ``seed`` and on its own place, not
    on what else is replaced. ValueError for an unknown part or fill.
    """
    if not parts or not set(parts) <= set("qkv"):
        raise ValueError(f"parts must be made of the letters q, k and v, got {parts!r}")
    if fill not in ("zeros", "noise"):
        raise ValueError(f"fill must be 'zeros' or 'noise', got {fill!r}")
    blocks = _blocks(model, layers)
    heads = _numbers("head", heads, model.config.n_head)
    with _restored([tensor for block in blocks.values() for tensor in _tensors(block.attn.c_attn)]):
        for layer, block in blocks.items():
            generator = torch.Generator().manual_seed(seed * model.config.n_layer + layer)
            for tensor in _tensors(block.attn.c_attn):
                old = tensor.data.unflatten(0, (3, model.config.n_head, -1))  # (3C, ...) -> (3, H, D, ...), a view
                new = _noise_like(old, generator) if fill == "noise" else torch.zeros_like(old)
                for part in map("qkv".index, parts):
                    old[part, heads] = new[part, heads]
        yield


@contextmanager
def ablated_heads(model: GPT, layer: int, heads: Numbers) -> Iterator[None]:
    """Let some heads of a layer write nothing into the residual stream; the bias of the projection stays.

    Michel, Levy and Neubig (2019), "Are Sixteen Heads Really Better than One?", section 2.3: the mask of a head at 0.
    """
    (block,) = _blocks(model, layer).values()
    heads = _numbers("head", heads, model.config.n_head)
    weight = block.attn.c_proj.weight
    with _restored([weight]):
        weight.data.unflatten(1, (model.config.n_head, -1))[:, heads] = 0  # (C, C) -> (C, H, D), a view
        yield


def ablated_attention(model: GPT, layers: Numbers = None) -> AbstractContextManager[None]:
    """Let the attention of some layers add nothing to the residual stream, not even a bias."""
    return _zeroed([block.attn.c_proj for block in _blocks(model, layers).values()])


def ablated_mlp(model: GPT, layers: Numbers = None) -> AbstractContextManager[None]:
    """Let the MLP of some layers add nothing to the residual stream, not even a bias."""
    return _zeroed([block.mlp.c_proj for block in _blocks(model, layers).values()])


def ablated_blocks(model: GPT, layers: Numbers = None) -> AbstractContextManager[None]:
    """Make some blocks the identity: neither attention nor MLP adds anything to the residual stream."""
    return _zeroed([part.c_proj for block in _blocks(model, layers).values() for part in (block.attn, block.mlp)])


@contextmanager
def _zeroed(linears: list[Linear]) -> Iterator[None]:
    """Layers whose output is 0."""
    tensors = [tensor for linear in linears for tensor in _tensors(linear)]
    with _restored(tensors):
        for tensor in tensors:
            tensor.data.zero_()
        yield


@contextmanager
def _restored(tensors: list[Tensor]) -> Iterator[None]:
    """Remember the values of some parameters and put them back at the end."""
    saved = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        for tensor, old in zip(tensors, saved):
            tensor.data.copy_(old)


def _noise_like(old: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian noise in the shape (3, H, D, ...) with the mean and the standard deviation of each part and head."""
    inside = tuple(range(2, old.ndim))
    noise = torch.randn(old.shape, generator=generator).to(old)
    return old.mean(inside, keepdim=True) + noise * old.std(inside, correction=0, keepdim=True)


def _tensors(linear: Linear) -> list[Tensor]:
    """Matrix and, where there is one, bias."""
    return [linear.weight] if linear.bias is None else [linear.weight, linear.bias]


def _blocks(model: GPT, layers: Numbers) -> dict[int, Block]:
    """The chosen blocks by their number."""
    return {layer: model.transformer.h[layer] for layer in _numbers("layer", layers, model.config.n_layer)}


def _numbers(what: str, chosen: Numbers, count: int) -> list[int]:
    """The chosen numbers as a list, each checked to be in [0, count)."""
    numbers = list(range(count)) if chosen is None else [chosen] if isinstance(chosen, int) else list(chosen)
    for number in numbers:
        if not 0 <= number < count:
            raise ValueError(f"the model has {what}s 0 to {count - 1}, got {number}")
    return numbers
