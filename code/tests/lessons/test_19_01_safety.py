"""The numbers and claims in the lesson on safety, alignment and a bias probe."""

import ast
import itertools
import math
import re

import numpy as np
import pytest
import recording
import torch
from aerogpt import weights
from aerogpt.corpus import read_documents
from aerogpt.generate import load_model
from prose import DOCS, says

LESSON = "19_ai_safety/aero_llm_01_an_toan_va_can_chinh.md"
SPLITS = list(itertools.combinations(range(12), 6))


@pytest.fixture(scope="module")
def values() -> dict[str, float]:
    """The inline values of all cells as recorded (training anew would take too long here)."""
    return {name: value for cell in recording.cells(LESSON).values() for name, value in cell["values"].items()}


def assigned(name: str) -> object:
    """What a cell of the lesson assigns to ``name``, literally."""
    text = (DOCS / LESSON).read_text(encoding="utf-8")
    found = re.search(rf"^ *{name} = (\[.*?\]|\"[^\"]*\"\.split\(\))$", text, re.MULTILINE | re.DOTALL)[1]
    return found.split('"')[1].split() if found.endswith(".split()") else ast.literal_eval(found)


def bound(n: int, failures: int = 0) -> float:
    """The 95 % upper bound on a rate, by bisection on the binomial distribution (Clopper and Pearson, one side)."""
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        seen = sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(failures + 1))
        low, high = (p, high) if seen > 0.05 else (low, p)
    return low


def test_rule_of_three():
    says(LESSON, rf"$-\ln 0.05 \approx {-math.log(0.05):.3f}$")
    for n in (10, 100, 1000, 10_000):
        assert bound(n) == pytest.approx(1 - 0.05 ** (1 / n), abs=1e-9)
    assert bound(10_000) == pytest.approx(3 / 10_000, rel=0.01)
    assert 2950 < 1e6 * bound(1000) < 3000
    says(LESSON, f"tỉ lệ {bound(1000):.1%}, gần 3000 lần hỏng trong một triệu lượt")
    says(LESSON, f"cận trên gần ${100_000 * bound(100_000, 1):.2f}/n$")


def test_no_association_can_have_been_learnt():
    text = "\n".join(read_documents([weights.DATA / "vi-tiny-corpus.txt"])).lower()

    def count(word):
        return len(re.findall(rf"(?<!\w){word.lower()}(?!\w)", text))

    assert sum(map(count, assigned("con_nguoi"))) <= 10 and len(assigned("con_nguoi")) == 8
    says(LESSON, "Tám từ đầu bảng, về người và nghề")
    assert all(count(name) == 0 for name in assigned("robot"))          # "tên robot không có trong văn bản"
    assert min(count(word) for word in ("nhanh", "chậm", "gpu", "cpu")) >= 10


def test_the_null_distribution():
    says(LESSON, rf"$\binom{{12}}{{6}} = {len(SPLITS)}$ cách", rf"$2/{len(SPLITS)} \approx {2 / len(SPLITS):.4f}$",
         f"$2^8 = {2**8}$ cách đổi dấu")
    # Under random assignment the p-value is honest: at most 5 % of the splits have p < 0.05, whatever the scores.
    scores = np.random.default_rng(0).standard_exponential(12) ** 3
    total = scores.sum()
    deltas = np.abs([2 * scores[list(s)].sum() - total for s in SPLITS])
    p = (deltas[None] >= deltas[:, None] - 1e-9).mean(1)
    assert 0.03 < (p < 0.05).mean() <= 0.05 and p.min() == pytest.approx(2 / len(SPLITS))
    # A preference for one word that all names share leaves delta as it was.
    assert np.allclose(deltas, np.abs([2 * (scores[list(s)] + 7).sum() - (total + 12 * 7) for s in SPLITS]))


def test_the_probe_of_the_untouched_model_again(values):
    """Computed another way: one sentence at a time, no padding."""
    model, tokenizer = load_model("vi-tiny")
    names, templates = assigned("robot"), assigned("mau_cau")
    group = sorted(torch.randperm(12, generator=torch.Generator().manual_seed(0))[:6].tolist())
    scores = torch.zeros(len(templates), 12)
    (fast,), (slow,) = tokenizer.encode(" nhanh"), tokenizer.encode(" chậm")
    with torch.no_grad():
        for (i, template), (j, name) in itertools.product(enumerate(templates), enumerate(names)):
            z = model(torch.tensor([tokenizer.encode(template.format(name))]), last_only=True)[0, -1]
            scores[i, j] = z[fast] - z[slow]                            # the softmax's denominator cancels
    rest = [j for j in range(12) if j not in group]
    by_template = scores[:, group].mean(1) - scores[:, rest].mean(1)
    assert by_template.mean().item() == pytest.approx(values["delta_goc"], abs=1e-4)
    assert int((by_template > 0).sum()) == values["duong"]
    assert 1 <= values["duong"] <= 5                                    # both signs: "các mẫu còn lại cho dấu âm"
    assert len(templates) == 6


def test_the_probe_finds_what_was_planted(values):
    assert values["p_lech"] < 0.02 and values["delta_lech"] > 0.4
    assert values["delta_lech"] > 5 * abs(values["delta_goc"])
    assert values["o_mau_gieo"] > 1.5 * values["o_mau_khac"] > 0.3      # it depends on the wording
    assert values["p_mau_lau"] > 0.1                                    # the synonyms find nothing
    says(LESSON, "trên 24 câu", "hai mẫu đầu", "bốn mẫu khác", "Hỏi bằng \"mau/lâu\"")


def test_choosing_after_looking(values):
    assert 0.03 < values["mot_mau"] <= 0.05
    assert values["mau_dep"] > 2 * values["mot_mau"]


def test_the_repair(values):
    assert values["con_o"] < 0.5 and values["con_khac"] > 1.5 * values["con_o"]
    assert values["mat_goc"] + 0.1 < values["mat_lech"]                 # the price elsewhere
    assert 0 < values["p_sua"] < 0.05
