"""What the tests of the lessons' prose share: every number that a lesson states is computed and must stand there so."""

from pathlib import Path

import torch
from aerogpt.config import PRESETS
from aerogpt.model import GPT
from torch import nn

DOCS = Path(__file__).parents[3] / "docs"
SMALL = PRESETS["gpt2"]
SIZES = {"small": "gpt2", "medium": "gpt2-medium", "large": "gpt2-large", "XL": "gpt2-xl"}


def says(lesson: str, *claims: str) -> None:
    """Each claim stands in the lesson, line breaks aside."""
    text = " ".join((DOCS / lesson).read_text(encoding="utf-8").split())
    for claim in claims:
        assert claim in text, f"{lesson} does not say {claim!r}"


def power_of_ten(value: float, digits: int) -> str:
    """The value as the lessons write it in LaTeX."""
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return rf"{mantissa} \times 10^{{{int(exponent)}}}"


def signed(value: float) -> str:
    """Three decimals with the minus sign of running text."""
    return f"{value:.3f}".replace("-", "−")


def gpt(size: str) -> GPT:
    with torch.device("meta"):
        return GPT(PRESETS[SIZES[size]])


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
