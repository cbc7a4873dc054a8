"""Attention by the formula against the fused kernel (SDPA), by sequence length: 12 heads of 64, B=1, float32.

python code/benchmarks/attention.py [--out FILE] [--device cuda] [--repeats N] [--threads N]
"""

from collections.abc import Callable

import torch

from aerogpt.attention import attention_manual, sdpa
from aerogpt.benchmark import measure_together, parse_arguments, ratio, report

HEADS, WIDTH = 12, 64
LENGTHS = (64, 128, 256, 512, 1024, 2048)


def attention_pass(attention: Callable, length: int, device: str, backward: bool) -> Callable[[], None]:
    """A function that computes attention once, with its gradients if ``backward``."""
    q, k, v = torch.randn(3, 1, HEADS, length, WIDTH, device=device, requires_grad=backward).unbind()

    def run() -> None:
        out = attention(q, k, v)
        if backward:
            torch.autograd.grad(out.sum(), (q, k, v))

    return run


def main() -> None:
    """Measure both at every length, forward alone and with backward, and report."""
    args = parse_arguments(__doc__.splitlines()[0])
    kinds = {"manual": lambda q, k, v: attention_manual(q, k, v)[0], "sdpa": sdpa}
    functions = {
        (name, length, backward): attention_pass(kind, length, args.device, backward)
        for length in LENGTHS
        for backward in (False, True)
        for name, kind in kinds.items()
    }
    timings = measure_together(functions, repeats=args.repeats, device=args.device, progress=True)
    rows = [
        {"attention": name, "T": length, "backward": backward, **timing.as_dict()}
        for (name, length, backward), timing in timings.items()
    ]
    ratios = [
        ratio(
            f"manual / sdpa, T={length}, {'forward + backward' if backward else 'forward'}",
            timings["manual", length, backward].median / timings["sdpa", length, backward].median,
        )
        for length in LENGTHS
        for backward in (False, True)
    ]
    report("attention", args, rows, ratios)


if __name__ == "__main__":
    main()
