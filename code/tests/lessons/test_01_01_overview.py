"""The lesson that opens module 01: smoothing by hand, and what it concludes about counting and the tiny GPT."""

import json
from fractions import Fraction
from pathlib import Path

import aerogpt
import numpy as np
import pytest
import torch
from aerogpt.config import PRESETS
from aerogpt.corpus import read_documents, split_documents
from aerogpt.data import IGNORED, consecutive_windows, encode_documents
from aerogpt.tokenizer import load_tokenizer
from aerogpt.weights import file_sha256, load_vi_tiny
from prose import count, gpt, says
from torch.nn import functional as F

OVERVIEW = "01_llm_course/aero_llm_01_tong_quan_llm.md"
DATA = Path(aerogpt.__file__).parent / "data"


class Table:
    """Counts of (context of k tokens, next token), as sorted arrays of numbers in base V."""

    def __init__(self, pairs: np.ndarray, V: int):
        self.V = V
        self.pairs, self.counts = np.unique(pairs, return_counts=True)
        self.contexts, inverse, self.kinds = np.unique(self.pairs // V, return_inverse=True, return_counts=True)
        self.totals = np.bincount(inverse, weights=self.counts)

    def look_up(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each pair its count, the total of its context and the number of different tokens after the context."""
        at = np.searchsorted(self.pairs, pairs).clip(max=len(self.pairs) - 1)
        seen = np.where(self.pairs[at] == pairs, self.counts[at], 0)
        at = np.searchsorted(self.contexts, pairs // self.V).clip(max=len(self.contexts) - 1)
        known = self.contexts[at] == pairs // self.V
        return seen, np.where(known, self.totals[at], 0), np.where(known, self.kinds[at], 0)


def pairs(tokens: np.ndarray, k: int, V: int) -> np.ndarray:
    """The k + 1 tokens that end at position k, k + 1, … as one number each."""
    numbers = np.zeros(len(tokens) - k, dtype=np.int64)
    for j in range(k + 1):
        numbers = numbers * V + tokens[j : len(tokens) - k + j]
    return numbers


def witten_bell(train: np.ndarray, text: np.ndarray, V: int, n: int) -> np.ndarray:
    """Probability of text[1:] by the orders 1 … n: (n, N - 1)."""
    p, orders = np.full(len(text), 1 / V), []
    for k in range(n):
        seen, total, kinds = Table(pairs(train, k, V), V).look_up(pairs(text, k, V))
        p = p.copy()
        p[k:] = np.where(total > 0, (seen + kinds * p[k:]) / np.maximum(total + kinds, 1), p[k:])
        orders.append(p[1:])
    return np.array(orders)


def kneser_ney(train: np.ndarray, text: np.ndarray, V: int, n: int) -> np.ndarray:
    """The same by interpolated Kneser-Ney, one discount n1 / (n1 + 2 n2) for each table."""

    def discounted(table: Table, k: int, p: np.ndarray) -> np.ndarray:
        discount = (table.counts == 1).sum() / ((table.counts == 1).sum() + 2 * (table.counts == 2).sum())
        seen, total, kinds = table.look_up(pairs(text, k, V))
        mixed = (np.maximum(seen - discount, 0) + discount * kinds * p[k:]) / np.maximum(total, 1)
        return np.concatenate([p[:k], np.where(total > 0, mixed, p[k:])])

    raw = [Table(pairs(train, k, V), V) for k in range(n)]
    p, orders = np.full(len(text), 1 / V), []
    for k in range(n):
        orders.append(discounted(raw[k], k, p)[1:])
        if k + 1 < n:  # how many different tokens stood before: each kind of a longer n-gram counts once
            p = discounted(Table(raw[k + 1].pairs % V ** (k + 1), V), k, p)
    return np.array(orders)


def perplexity(p: np.ndarray) -> np.ndarray:
    return np.exp(-np.log(p).mean(-1))


@torch.no_grad()
def gpt_losses(model, tokens: torch.Tensor) -> np.ndarray:
    """The loss of tokens[1:], one by one, in windows side by side."""
    inputs, targets = consecutive_windows(tokens, model.config.n_ctx)
    losses = [
        F.cross_entropy(model(x).flatten(0, 1), y.flatten(), ignore_index=IGNORED, reduction="none")
        for x, y in zip(inputs.split(8), targets.split(8))
    ]
    return torch.cat(losses)[: len(tokens) - 1].double().numpy()


@pytest.fixture(scope="module")
def texts() -> tuple[np.ndarray, np.ndarray]:
    parts = split_documents(read_documents([DATA / "vi-tiny-corpus.txt"]))
    return tuple(encode_documents(part, load_tokenizer("vi-tiny")).numpy() for part in parts)


@pytest.fixture(scope="module")
def vi_tiny():
    return load_vi_tiny()


def test_by_hand():
    words = {"con": 0, "mèo": 1, "ăn": 2, "cá": 3}
    text = np.array([words[word] for word in "con mèo ăn con cá".split()])
    kinds, total = len(set(text)), len(text)
    first = (1 + Fraction(kinds, 4)) / (total + kinds)
    second = {"cá": (1 + 2 * first) / 4, "ăn": 2 * first / 4}
    for word, p in second.items():
        assert witten_bell(text, np.array([0, words[word]]), 4, 2)[1, 0] == pytest.approx(float(p))
        says(OVERVIEW, rf"= {p.numerator}/{p.denominator}$")
    says(OVERVIEW, f"= {first.numerator}/{first.denominator}$; $P_1")


@pytest.mark.parametrize("model", [witten_bell, kneser_ney])
def test_smoothed_probabilities_add_up_to_one(model):
    train = np.random.default_rng(0).geometric(0.2, 300).clip(max=19)
    for context in ([1, 1, 2], [3, 2, 1], [0, 19, 7]):
        total = sum(model(train, np.array([*context, token]), 20, 4)[:, -1] for token in range(20))
        np.testing.assert_allclose(total, 1)


def test_sizes_of_gpt2():
    small, largest = count(gpt("small")), count(gpt("XL"))
    says(OVERVIEW, f"từ {small // 10**6} triệu đến hơn {largest // 10**8 / 10} tỉ tham số")
    assert len([name for name in PRESETS if name.startswith("gpt2")]) == 4  # "bốn cỡ"


def test_both_learned_and_were_measured_on_the_same_text(texts, vi_tiny):
    facts = vi_tiny[1]
    assert facts["sha256"]["vi-tiny-corpus.txt"] == file_sha256(DATA / "vi-tiny-corpus.txt")
    assert facts["text"]["validation_share"] == 0.1
    assert facts["tokens"] == {"training": len(texts[0]), "validation": len(texts[1])}
    assert "--tokenizer" not in facts["command"]  # learned from the training part
    best = min(loss for _, loss in json.loads((DATA / "vi-tiny.json").read_text())["history"]["validation"])
    assert facts["best"]["validation_loss"] == best  # chosen by the held-out part, as the lesson admits


def test_counting_lacks_data(texts):
    train, held_out = texts
    unseen = []
    for k in range(4):
        seen, _, _ = Table(pairs(train, k, 2048), 2048).look_up(pairs(held_out, k, 2048))
        unseen.append((seen == 0).mean())
    assert unseen == sorted(unseen) and unseen[1] > 0.1 and unseen[3] > 0.6

    known = perplexity(witten_bell(train, train[: len(held_out)], 2048, 4))
    new = perplexity(witten_bell(train, held_out, 2048, 4))
    assert (np.diff(known) < 0).all() and known[3] < 4
    assert new[2] < 0.99 * new[3] and new[2] < 0.9 * new[1]  # three tokens are best
    assert (np.diff(new / known) > 0).all()

    sizes = [len(train) // 16, len(train) // 8, len(train) // 4, len(train) // 2]
    by_size = [perplexity(witten_bell(train[:size], held_out, 2048, 4)) for size in sizes] + [new]
    best = [int(row.argmin()) + 1 for row in by_size]
    assert best == sorted(best) and (best[0], best[-1]) == (2, 3)
    assert by_size[0][0] / new[0] < 1.5 and by_size[-2][0] / new[0] < 1.05  # n = 1 is nearly level
    assert (by_size[-2][2:] / new[2:] > 1.3).all()  # the others still fall


def test_counting_beside_the_tiny_gpt(texts, vi_tiny):
    train, held_out = texts
    model = vi_tiny[0]
    wb, kn = witten_bell(train, held_out, 2048, 4), kneser_ney(train, held_out, 2048, 4)
    assert (perplexity(kn)[1:] < 0.98 * perplexity(wb)[1:]).all()
    assert perplexity(kn)[3] == perplexity(kn).min()
    tokens = torch.from_numpy(held_out)
    p = np.exp(-gpt_losses(model, tokens))
    assert 0.85 < perplexity(p) / perplexity(wb)[2] < 1.15  # "not far apart"
    assert perplexity(kn)[3] < 0.95 * perplexity(p)

    familiar = np.ones(len(p), dtype=int)  # how many tokens before stood side by side in training
    for k in (2, 3):
        _, total, _ = Table(pairs(train, k, 2048), 2048).look_up(pairs(held_out, k, 2048))
        familiar[k - 1 :][total > 0] = k
    groups = [familiar == k for k in (1, 2, 3)]
    counted, learned = ([perplexity(q[group]) for group in groups] for q in (kn[3], p))
    assert learned[0] < 0.95 * counted[0] and counted[2] < 0.8 * learned[2]
    both = perplexity((kn[3] + p) / 2)
    assert both < 0.92 * min(perplexity(kn[3]), perplexity(p))

    at = torch.arange(15, 615)
    seen = {}
    for k in (1, 3, 15):
        with torch.no_grad():
            logits = model(tokens[at[:, None] + torch.arange(-k, 0)], last_only=True)[:, -1]
        seen[k] = float(F.cross_entropy(logits, tokens[at]).exp())
    assert seen[15] < 0.92 * seen[3] < 0.92 * seen[1]
    assert perplexity(p[at.numpy() - 1]) > 0.95 * seen[15]  # the rest of the window adds almost nothing
