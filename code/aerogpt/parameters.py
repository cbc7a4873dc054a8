"""Where the parameters of a model are: counted, grouped, summarised.

    python -m aerogpt.parameters gpt2-xl
"""

import argparse
import re
import sys
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aerogpt.config import PRESETS, GPTConfig
from aerogpt.model import GPT

# The first pattern found in a parameter's name decides its group.
GROUPS = {
    "token embedding": r"\bwte\.",
    "position embedding": r"\bwpe\.",
    "attention": r"\battn\.",
    "MLP": r"\bmlp\.",
    "LayerNorm": r"\bln_",
    "unembedding": r"\blm_head\.",
    "other": "",
}
VIETNAMESE = {
    "token embedding": "nhúng token", "position embedding": "nhúng vị trí", "attention": "chú ý (attention)",
    "unembedding": "giải nhúng", "other": "khác",
}


def count_parameters(model: nn.Module, unique: bool = True) -> int:
    """Number of parameters; a shared (tied) tensor counts once, or, with ``unique=False``, at each of its places."""
    return sum(parameter.numel() for _, parameter in model.named_parameters(remove_duplicate=unique))


def group_parameters(model: nn.Module) -> dict[str, int]:
    """Number of parameters of each group in GROUPS that has any, in that order.

    Tied tensors count where they are first. The groups add up to ``count_parameters(model)``.
    """
    counts = dict.fromkeys(GROUPS, 0)
    for name, parameter in model.named_parameters():
        group = next(group for group, pattern in GROUPS.items() if re.search(pattern, name))
        counts[group] += parameter.numel()
    return {group: count for group, count in counts.items() if count}


def count_biases(model: nn.Module) -> int:
    """Number of parameters in tensors called ``bias``, those of LayerNorm included."""
    return sum(parameter.numel() for name, parameter in model.named_parameters() if name.split(".")[-1] == "bias")


def preset_model(name: str) -> GPT:
    """The preset's model without memory for its values (on the device "meta"): enough to count."""
    with torch.device("meta"):
        return GPT(GPTConfig.preset(name))


def weight_stats(weight: Tensor) -> dict[str, float]:
    """Mean, standard deviation (dividing by n) and excess kurtosis E[((w - mean) / std)^4] - 3, 0 for a normal law.

    Raises ValueError for a tensor without any spread.
    """
    weight = weight.detach().double()
    centred = weight - weight.mean()
    variance = centred.square().mean()
    if not variance > 0:
        raise ValueError(f"kurtosis needs values that differ, got {weight.numel()} equal ones")
    kurtosis = (centred**4).mean() / variance**2 - 3
    return {"mean": weight.mean().item(), "std": variance.sqrt().item(), "kurtosis": kurtosis.item()}


def attention_stats(model: GPT) -> list[dict[str, dict[str, float]]]:
    """``weight_stats`` of the Q, K and V parts of ``c_attn`` (rows 0 to C, C to 2C, 2C to 3C) of every block."""
    return [{part: weight_stats(weight) for part, weight in zip("QKV", block.attn.c_attn.weight.chunk(3), strict=True)}
            for block in model.transformer.h]


def parameter_table(names: Sequence[str]) -> str:
    """A Markdown table: each preset's count in all, then count and share of every group and of the biases.

    Raises ValueError for a name that is no preset.
    """
    lines = ["| mô hình | nhóm | số tham số | tỉ lệ |", "|:--|:--|--:|--:|"]
    for name in names:
        model = preset_model(name)
        total = count_parameters(model)
        rows = {"tất cả": total} | group_parameters(model) | {"trong đó bias": count_biases(model)}
        lines += [f"| {name} | {VIETNAMESE.get(group, group)} | {count:,} | {count / total:.3%} |"
                  for group, count in rows.items()]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m aerogpt.parameters`. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m aerogpt.parameters",
        description="Đếm tham số của mô hình theo nhóm (trọng số dùng chung đếm một lần).")
    parser.add_argument("names", nargs="*", metavar="TÊN", default=list(PRESETS),
                        help=f"cấu hình có sẵn: {', '.join(PRESETS)} (mặc định: tất cả)")
    names = parser.parse_args(arguments).names
    if unknown := [name for name in names if name not in PRESETS]:
        parser.error(f"không có cấu hình {', '.join(unknown)}; có: {', '.join(PRESETS)}")
    print(parameter_table(names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
