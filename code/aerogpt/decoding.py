"""The same model, laid out for generating fast."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from aerogpt.layers import Linear
from aerogpt.model import GPT


@contextmanager
def fast_decoding(model: GPT, *, dtype: torch.dtype | None = None, compile: bool = False) -> Iterator[None]:
    """Within this context the model generates faster; afterwards it has its own parameters again.

    One token at a time, a model is as fast as its weights are read from memory. So inside, the parameters are copies:
    in ``dtype`` (bfloat16 halves what is read), and in the order in memory that ``packed`` chooses. ``compile`` makes
    one kernel sequence of the step for a single token (a minute of work at its first call; prompts are not compiled).
    The copies take no gradient. Made once, they pay off over many tokens: enter once for all the texts to generate.
    """
    own = [(module, name, parameter) for module in model.modules() for name, parameter in module._parameters.items()
           if parameter is not None]
    own_forward = model.forward
    try:
        for module, name, parameter in own:
            value = parameter.detach().to(dtype)
            if isinstance(module, Linear) and name == "weight":
                value = packed(value)
            setattr(module, name, nn.Parameter(value, requires_grad=False))
        if compile:
            step = torch.compile(own_forward, dynamic=True, fullgraph=True)
            model.forward = lambda idx, **options: (step if idx.shape[1] == 1 else own_forward)(idx, **options)
        yield
    finally:
        model.__dict__.pop("forward", None)
        for module, name, parameter in own:
            setattr(module, name, parameter)


def packed(weight: Tensor) -> Tensor:
    """The same matrix (out, in), ordered in memory so that the product with one vector reads it fastest.

    Float32 products on the CPU read an (in, out) order, which OpenAI's files have, up to twice as fast where
    out >= in; narrowing matrices, bfloat16 and other devices are no faster for it (measured).
    """
    n_out, n_in = weight.shape
    if weight.dtype == torch.float32 and weight.device.type == "cpu" and n_out >= n_in:
        return weight.t().contiguous().t()  # (out, in) -> (in, out) in memory, seen as (out, in)
    return weight
