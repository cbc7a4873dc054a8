"""What decides an update of the weights: the settings of a run, learning rate, optimiser, mixed precision."""

import dataclasses
import math

import torch
from torch import nn

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run besides the model and the text.

    steps: updates of the weights. batch_size: windows an update, over all processes and micro-steps. accumulation:
    micro-steps an update. learning_rate: the highest. warmup_steps: linear rise to it; then a cosine falls to
    final_share of it at ``steps``. weight_decay: on matrices only. clip: largest norm of the gradient. dtype: of the
    matrix products (weights stay float32). eval_every: steps between evaluations, which also save. patience: stop after
    so many evaluations without a new best validation loss (0: never). seed: of batches and dropout.

    Raises ValueError that names the field.
    """

    steps: int = 400
    batch_size: int = 8
    accumulation: int = 1
    learning_rate: float = 1e-3
    warmup_steps: int = 40
    final_share: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    dtype: str = "float32"
    compile: bool = False
    device: str = "cpu"
    eval_every: int = 20
    patience: int = 0
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "batch_size", "accumulation", "learning_rate", "clip", "eval_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("warmup_steps", "weight_decay", "patience", "final_share"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}")


def learning_rate(step: int, config: TrainConfig) -> float:
    """The learning rate of update ``step`` (from 0): linear warm-up, then half a cosine down to the final share.

    Radford et al. (2018), section 4.1; the cosine is Loshchilov & Hutter (2017), arXiv:1608.03983, equation 5.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    share = config.final_share + (1 - config.final_share) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
    return config.learning_rate * share


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) with weight decay on matrices only: biases and LayerNorm are left alone.

    ``fused`` updates each parameter in one pass over memory instead of about ten.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def precision(device: torch.device, dtype: torch.dtype) -> tuple[torch.autocast, torch.amp.GradScaler]:
    """The one place that decides on mixed precision (Micikevicius et al. 2018): (autocast, gradient scaler).

    bfloat16 has the exponents of float32 and needs no scaler; float16 has not, and its small gradients would vanish.
    Raises ValueError for float16 on a CPU, where it is only emulated.
    """
    if dtype == torch.float16 and device.type != "cuda":
        raise ValueError(f"float16 needs a CUDA device, not {device}: use bfloat16 or float32")
    autocast = torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)
    return autocast, torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
