"""Initialisation, forward and forward + backward of GPT-2 small (124M) against ``transformers``, float32, eager.

python code/benchmarks/phases.py [--out FILE] [--device cuda] [--repeats N] [--threads N]

The CPU works on 1 x 512 tokens, a GPU on 8 x 1024.
"""

from collections.abc import Callable

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from aerogpt.benchmark import (
    forward_flops,
    matmul_roofline,
    measure_together,
    parse_arguments,
    ratio,
    report,
    training_flops,
)
from aerogpt.config import GPTConfig
from aerogpt.model import GPT

CONFIG = GPTConfig.preset("gpt2")
PEER_CONFIG = GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False)


def without_gradient(function: Callable[[], object]) -> Callable[[], None]:
    """``function`` under no_grad."""

    def run() -> None:
        with torch.no_grad():
            function()

    return run


def with_gradient(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """Forward and backward of ``loss``; the gradients are dropped."""

    def run() -> None:
        loss().backward()
        model.zero_grad(set_to_none=True)

    return run


def main() -> None:
    """Measure the three phases of both in turn and report."""
    args = parse_arguments(__doc__.splitlines()[0])
    batch, length = (1, 512) if args.device == "cpu" else (8, 1024)
    own, peer = GPT(CONFIG).to(args.device), GPT2LMHeadModel(PEER_CONFIG).to(args.device)
    idx = torch.randint(CONFIG.vocab_size, (batch, length + 1), device=args.device)
    x, y = idx[:, :-1], idx[:, 1:]
    functions = {
        ("initialisation", "aerogpt"): lambda: GPT(CONFIG).to(args.device),
        ("initialisation", "transformers"): lambda: GPT2LMHeadModel(PEER_CONFIG).to(args.device),
        ("forward", "aerogpt"): without_gradient(lambda: own(x)),
        ("forward", "transformers"): without_gradient(lambda: peer(x)),
        ("forward + backward", "aerogpt"): with_gradient(own, lambda: own.loss(x, y)),
        ("forward + backward", "transformers"): with_gradient(peer, lambda: peer(x, labels=x).loss),
    }
    timings = measure_together(functions, repeats=args.repeats, warmup=1, device=args.device, progress=True)
    roofline = matmul_roofline(torch.float32, args.device)
    flops = {
        "forward": forward_flops(CONFIG, batch, length),
        "forward + backward": training_flops(CONFIG, batch, length),
    }
    rows = [
        {"phase": phase, "implementation": name, **timing.as_dict()}
        | {"gflop_per_s": flops[phase] / timing.median / 1e9 if phase in flops else None}
        | {"share_of_roofline": flops[phase] / timing.median / roofline if phase in flops else None}
        for (phase, name), timing in timings.items()
    ]
    median = {key: timing.median for key, timing in timings.items()}
    ratios = [
        ratio(f"{phase}: transformers / aerogpt", median[phase, "transformers"] / median[phase, "aerogpt"])
        for phase in ("initialisation", "forward", "forward + backward")
    ]
    report("phases", args, rows, ratios, ["torch", "transformers"])


if __name__ == "__main__":
    main()
