"""LoRA: fine-tune a frozen model through low-rank corrections of its matrices.

Hu et al. (2021), "LoRA: Low-Rank Adaptation of Large Language Models". A frozen matrix W (out, in) gets a correction
of rank r, W + (alpha / r) B A with B (out, r) and A (r, in): r (out + in) trained numbers in place of out * in.
"""

import math
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from aerogpt.layers import Linear


class LoRALinear(nn.Module):
    """A frozen Linear and its trainable correction: h = W x + b + (alpha / r) B A x (Hu et al. 2021, equation 3).

    A starts as Gaussian noise of variance 1/in and B as zeros (section 4.1), so at first nothing changes.
    (..., in) -> (..., out). ValueError unless 1 <= rank <= min(in, out) and alpha > 0.
    """

    def __init__(self, base: Linear, rank: int, alpha: float, *, generator: torch.Generator | None = None):
        super().__init__()
        n_out, n_in = base.weight.shape
        if not 1 <= rank <= min(n_in, n_out):
            raise ValueError(f"rank must be from 1 to {min(n_in, n_out)} for a {n_out} x {n_in} matrix, got {rank}")
        if not 0 < alpha < math.inf:
            raise ValueError(f"alpha must be positive and finite, got {alpha}")
        self.base = base.requires_grad_(False)
        self.rank, self.alpha = rank, alpha
        self.scale = alpha / rank
        noise = torch.randn(rank, n_in, generator=generator) / math.sqrt(n_in)
        self.lora_a = nn.Parameter(noise.to(base.weight))
        self.lora_b = nn.Parameter(base.weight.new_zeros(n_out, rank))
        self.register_buffer("unmerged_weight", None, persistent=False)

    @property
    def merged(self) -> bool:
        """Whether the base weight holds the correction."""
        return self.unmerged_weight is not None

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            return self.base(x)
        low = F.linear(x, self.lora_a)  # (..., in) -> (..., r)
        return self.base(x) + self.scale * F.linear(low, self.lora_b)  # (..., r) -> (..., out)

    @torch.no_grad()
    def merge(self) -> None:
        """Add the correction to the base weight: the same outputs at the cost of a plain Linear (section 4.1)."""
        if not self.merged:
            self.unmerged_weight = self.base.weight.clone()
            self.base.weight += self.scale * self.lora_b @ self.lora_a  # (out, r) @ (r, in) -> (out, in)

    @torch.no_grad()
    def unmerge(self) -> None:
        """Put the base weight back, bit for bit: subtracting the correction would leave rounding errors."""
        if self.merged:
            self.base.weight.copy_(self.unmerged_weight)
            self.unmerged_weight = None


def add_lora(
    model: nn.Module,
    targets: Iterable[str] = ("attn.c_attn",),
    *,
    rank: int = 8,
    alpha: float = 16,
    generator: torch.Generator | None = None,
) -> list[str]:
    """Freeze the model and give every Linear whose dotted name ends with a target an adapter; return their names.

    "c_attn" means all of them, "h.0.attn.c_attn" the one of block 0. ValueError without targets or for one that names
    no Linear, for a matrix that is tied to another module, and for a model that has adapters already.
    """
    if _adapters(model):
        raise ValueError("the model has adapters already; remove_lora takes them off")
    targets = tuple(targets)
    if not targets:
        raise ValueError("targets must name at least one Linear")
    linears = [name for name, module in model.named_modules() if isinstance(module, Linear)]
    names = [name for name in linears if any(_ends_with(name, target) for target in targets)]
    for target in targets:
        if not any(_ends_with(name, target) for name in names):
            raise ValueError(f"no Linear is called {target!r}; there are {', '.join(linears)}")
    owners = [id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False)]
    for name in names:
        if owners.count(id(model.get_submodule(name).weight)) > 1:
            raise ValueError(f"{name} shares its matrix with another module, which merging would change too")
    model.requires_grad_(False)
    try:
        for name in names:
            _replace(model, name, LoRALinear(model.get_submodule(name), rank, alpha, generator=generator))
    except ValueError:
        remove_lora(model)
        raise
    return names


def merge_lora(model: nn.Module) -> None:
    """Merge every adapter of the model into its matrix."""
    for adapter in _adapters(model).values():
        adapter.merge()


def unmerge_lora(model: nn.Module) -> None:
    """Undo ``merge_lora`` exactly."""
    for adapter in _adapters(model).values():
        adapter.unmerge()


def remove_lora(model: nn.Module) -> None:
    """Put the plain Linear layers back and make all parameters trainable again.

    Merged adapters leave their corrections in the weights; without merging, this is the model from before ``add_lora``.
    """
    for name, adapter in _adapters(model).items():
        _replace(model, name, adapter.base)
    model.requires_grad_(True)


def count_trainable(model: nn.Module) -> tuple[int, int]:
    """Number of trainable parameters and of all parameters, tied ones counted once."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


def save_lora(model: nn.Module, path: str | Path) -> None:
    """Write the adapters alone, with their rank and alpha, as safetensors. ValueError if there are none."""
    adapters = _adapters(model)
    if not adapters:
        raise ValueError("the model has no adapters to save; add_lora gives it some")
    tensors = {f"{name}.{part}": getattr(a, part).detach() for name, a in adapters.items() for part in _PARTS}
    first = next(iter(adapters.values()))  # add_lora gives all the same rank and alpha
    save_file(tensors, path, metadata={"rank": str(first.rank), "alpha": str(first.alpha)})


def load_lora(model: nn.Module, path: str | Path) -> list[str]:
    """Give a plain model the adapters of a file that ``save_lora`` wrote; return the names of the adapted layers.

    ValueError for a file of another kind, for adapters that do not fit the model, and where ``add_lora`` raises it.
    """
    try:
        with safe_open(path, "pt") as file:
            rank, alpha = int(file.metadata()["rank"]), float(file.metadata()["alpha"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a file of LoRA adapters: {error}") from error
    names = add_lora(model, {name.rpartition(".")[0] for name in tensors}, rank=rank, alpha=alpha)
    try:
        for name, adapter in _adapters(model).items():
            for part in _PARTS:
                mine, read = getattr(adapter, part), tensors.get(f"{name}.{part}", torch.empty(0))
                if read.shape != mine.shape:
                    raise ValueError(f"{path}: {name}.{part} must have shape {tuple(mine.shape)} for this model, "
                                     f"got {tuple(read.shape)}")
                mine.data.copy_(read)
    except ValueError:
        remove_lora(model)
        raise
    return names


# The trained tensors of an adapter.
_PARTS = ("lora_a", "lora_b")


def _adapters(model: nn.Module) -> dict[str, LoRALinear]:
    """The adapters of a model by dotted name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}


def _ends_with(name: str, target: str) -> bool:
    """Whether the dotted name is the target or ends with it as whole words."""
    return f".{name}".endswith(f".{target}")


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place that a dotted name says."""
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, module)
