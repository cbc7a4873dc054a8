"""One training step (forward, backward, AdamW) against ``transformers``: 6 layers, 6 heads, 384 wide, T=256, B=8.

python code/benchmarks/training_step.py [--out FILE] [--device cuda] [--repeats N] [--threads N]
"""

from collections.abc import Callable

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from aerogpt.benchmark import matmul_roofline, measure_together, parse_arguments, ratio, report, training_flops
from aerogpt.config import GPTConfig
from aerogpt.model import GPT
from aerogpt.optimization import TrainConfig, make_optimizer, precision

BATCH, LENGTH = 8, 256
GPT2_VOCABULARY = GPTConfig(vocab_size=50257, n_ctx=LENGTH, n_layer=6, n_head=6, n_embd=384)
SMALL_VOCABULARY = GPTConfig(vocab_size=256, n_ctx=LENGTH, n_layer=6, n_head=6, n_embd=384)

MODES = [("float32", False), ("bfloat16", False), ("bfloat16", True)]  # dtype, compiled


class PeerLoss(nn.Module):
    """``transformers``' GPT-2 with its own loss, which shifts the labels itself."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        shape = {"vocab_size": config.vocab_size, "n_positions": config.n_ctx, "n_embd": config.n_embd}
        depth = {"n_layer": config.n_layer, "n_head": config.n_head}
        no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        self.model = GPT2LMHeadModel(GPT2Config(**shape, **depth, **no_dropout, use_cache=False))

    def forward(self, idx: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self.model(idx, labels=idx).loss


class OwnLoss(nn.Module):
    """aerogpt's GPT-2 with its loss as the forward."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.model = GPT(config)

    def forward(self, idx: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self.model.loss(idx, targets)


def training_step(
    kind: type[nn.Module], config: GPTConfig, dtype: str, compiled: bool, device: str
) -> Callable[[], None]:
    """A function that makes one step of a fresh model on one fixed random batch."""
    torch.manual_seed(0)
    module = kind(config).to(device).train()
    optimizer = make_optimizer(module, TrainConfig())
    loss_of = torch.compile(module) if compiled else module
    autocast, _ = precision(torch.device(device), getattr(torch, dtype))
    idx = torch.randint(config.vocab_size, (BATCH, LENGTH + 1), device=device)

    def step() -> None:
        with autocast:
            loss = loss_of(idx[:, :-1], idx[:, 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def main() -> None:
    """Measure all modes of both in turn and report."""
    args = parse_arguments(__doc__.splitlines()[0])
    steps = {}
    for dtype, compiled in MODES:
        for name, kind in (("aerogpt", OwnLoss), ("transformers", PeerLoss)):
            steps[name, dtype, compiled] = training_step(kind, GPT2_VOCABULARY, dtype, compiled, args.device)
    small = training_step(OwnLoss, SMALL_VOCABULARY, "float32", False, args.device)
    steps["aerogpt V=256", "float32", False] = small
    timings = measure_together(steps, repeats=args.repeats, warmup=3, device=args.device, progress=True)

    roofline = {dtype: matmul_roofline(getattr(torch, dtype), args.device) for dtype in ("float32", "bfloat16")}
    rows = []
    for (name, dtype, compiled), timing in timings.items():
        config = SMALL_VOCABULARY if "256" in name else GPT2_VOCABULARY
        speed = training_flops(config, BATCH, LENGTH) / timing.median
        rows.append(
            {"implementation": name, "dtype": dtype, "compiled": compiled, **timing.as_dict()}
            | {"tokens_per_s": BATCH * LENGTH / timing.median, "gflop_per_s": speed / 1e9}
            | {"share_of_roofline": speed / roofline[dtype]}
        )

    peer = {mode: timings["transformers", *mode].median for mode in MODES}
    own = {mode: timings["aerogpt", *mode].median for mode in MODES}
    float32, bfloat16, compiled = MODES
    ratios = [
        ratio("float32 / transformers float32", peer[float32] / own[float32], 1.4),
        ratio("bfloat16 / transformers float32", peer[float32] / own[bfloat16], 2.0),
        ratio("bfloat16 compiled / transformers float32", peer[float32] / own[compiled], 2.8),
        ratio("bfloat16 compiled / transformers bfloat16 compiled", peer[compiled] / own[compiled], 1.2),
        ratio("V=256 float32 / matmul roofline", rows[-1]["share_of_roofline"], 0.8),
    ]
    report("training_step", args, rows, ratios, ["torch", "transformers"])


if __name__ == "__main__":
    main()
