"""The same model, laid out for generating fast.

One token at a time, a model is as fast as its weights are read from memory: everything here serves that.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from aerogpt.layers import Linear
from aerogpt.model import GPT


@contextmanager
def fast_decoding(model: GPT, *, dtype: torch.dtype | None = None, compile: bool = False) -> Iterator[None]:
    """Within this context the model generates faster; afterwards it has its own parameters again.

    Inside, the parameters are copies without gradients: in ``dtype`` (bfloat16 halves what is read), and ordered in
    memory as ``packed`` says. ``compile`` makes one sequence of kernels of the step for a single token, which takes
    about a minute at the first token; prompts are not compiled. The copies are made once: enter once for all texts.
    """
    own = [(module, name, parameter) for module in model.modules() for name, parameter in module._parameters.items()
           if parameter is not None]
    linears = [module for module in model.modules() if type(module) is Linear]
    try:
        for module, name, parameter in own:
            value = parameter.detach().to(dtype)
            if module in linears and name == "weight" and not compile:
                value = packed(value)
            setattr(module, name, nn.Parameter(value, requires_grad=False))
        if compile:
            for linear in linears:
                linear.__class__ = _VectorLinear
            prompt = model.forward
            step = torch.compile(prompt, dynamic=True, fullgraph=True)
            model.forward = lambda idx, **options: (step if idx.shape[1] == 1 else prompt)(idx, **options)
        yield
    finally:
        vars(model).pop("forward", None)
        for linear in linears:
            linear.__class__ = Linear
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


class _VectorLinear(Linear):
    """A Linear that in a compiled step on the CPU multiplies one vector by plain sums of products.

    The compiler's code for them reads bfloat16 weights more than twice as fast as the library's matrix product.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() or x.numel() > x.shape[-1] or x.device.type != "cpu":
            return super().forward(x)
        # as_strided makes the compiler finish x first: else it computes a GELU or norm again for every output.
        vector = x.contiguous().as_strided(x.shape[-1:], (1,))  # (1, 1, in) -> (in,)
        y = (vector.float() * self.weight).sum(-1)  # (in,) * (out, in) -> (out, in) -> (out,)
        y = y if self.bias is None else y + self.bias
        return y.to(x.dtype).expand(*x.shape[:-1], -1)  # (out,) -> (1, 1, out)
