"""Greedy generation with GPT-2 small (124M, random weights) against ``transformers``: 128 + 128 tokens, batch 1.

python code/benchmarks/generation.py [--out FILE] [--device cuda] [--repeats N] [--threads N]

Without a cache only 32 tokens are generated: compare tokens per second.
"""

import contextlib
import copy
import tempfile
from collections.abc import Callable

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from aerogpt import weights
from aerogpt.benchmark import measure_together, parse_arguments, ratio, report
from aerogpt.decoding import fast_decoding
from aerogpt.generate import generate
from aerogpt.model import GPT

PROMPT, NEW, NEW_WITHOUT_CACHE = 128, 128, 32


def models(device: str) -> tuple[GPT, GPT2LMHeadModel]:
    """Ours and ``transformers``' with the same random weights."""
    torch.manual_seed(0)
    peer = GPT2LMHeadModel(GPT2Config()).eval()
    peer.generation_config.eos_token_id = None  # never stop early
    peer.generation_config.pad_token_id = 0
    with tempfile.TemporaryDirectory() as folder:
        peer.save_pretrained(folder)
        own = weights.load_gpt2(folder).eval()
    return own.to(device), peer.to(device)


def main() -> None:
    """Measure all modes in turn and report."""
    args = parse_arguments(__doc__.splitlines()[0])
    own, peer = models(args.device)
    idx = torch.randint(own.config.vocab_size, (1, PROMPT), device=args.device)

    def ours(model: GPT, n_new: int = NEW, **options) -> Callable[[], torch.Tensor]:
        return lambda: generate(model, idx, n_new, temperature=0, **options)

    def theirs(model: GPT2LMHeadModel) -> Callable[[], torch.Tensor]:
        everything = torch.ones_like(idx)
        return lambda: model.generate(idx, attention_mask=everything, max_new_tokens=NEW, do_sample=False)

    functions = {
        "transformers float32": theirs(peer),
        "transformers bfloat16": theirs(copy.deepcopy(peer).to(torch.bfloat16)),
        "aerogpt float32, no cache": ours(own, NEW_WITHOUT_CACHE, use_cache=False),
        "aerogpt float32, cache": ours(own),
    }
    with contextlib.ExitStack() as stack:
        for dtype, compiled in ((torch.float32, False), (torch.bfloat16, False), (torch.bfloat16, True)):
            model = copy.deepcopy(own)
            stack.enter_context(fast_decoding(model, dtype=dtype, compile=compiled))
            name = f"aerogpt {dtype}, fast_decoding{', compiled' if compiled else ''}".replace("torch.", "")
            functions[name] = ours(model)
        if not torch.equal(functions["transformers float32"](), functions["aerogpt float32, fast_decoding"]()):
            raise SystemExit("lỗi: aerogpt và transformers sinh ra hai dãy token khác nhau")
        timings = measure_together(functions, repeats=args.repeats, warmup=1, device=args.device, progress=True)

    tokens = {name: NEW_WITHOUT_CACHE if "no cache" in name else NEW for name in timings}
    speed = {name: tokens[name] / timing.median for name, timing in timings.items()}
    rows = [
        {"mode": name, "new_tokens": tokens[name], **timing.as_dict(), "tokens_per_s": speed[name]}
        for name, timing in timings.items()
    ]
    reference = speed["transformers float32"]
    own_speeds = [value for name, value in speed.items() if name.startswith("aerogpt")]
    ratios = [
        ratio("aerogpt float32 / transformers float32", speed["aerogpt float32, fast_decoding"] / reference, 1.25),
        ratio("best mode / transformers float32", max(own_speeds) / reference, 2.4),
        ratio(
            "aerogpt bfloat16 / transformers bfloat16",
            speed["aerogpt bfloat16, fast_decoding"] / speed["transformers bfloat16"],
        ),
        ratio("cache / no cache", speed["aerogpt float32, cache"] / speed["aerogpt float32, no cache"]),
    ]
    report("generation", args, rows, ratios, ["torch", "transformers"])


if __name__ == "__main__":
    main()
