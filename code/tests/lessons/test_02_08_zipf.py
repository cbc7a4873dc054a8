"""The lesson on Zipf's law: its formulas, the estimators, and what it concludes about the package's text."""

import math
import random
import re
from collections import Counter
from pathlib import Path

import aerogpt
import numpy as np
import pytest
import torch
from aerogpt.corpus import read_documents, synthetic_vietnamese
from aerogpt.tokenizer import gpt2_encoding, load_tokenizer
from prose import says
from torch.nn import functional as F

ZIPF = "02_words_to_tokens_to_numbers/aero_llm_08_luat_zipf.md"
CORPUS = Path(aerogpt.__file__).parent / "data" / "vi-tiny-corpus.txt"


def ranked(units) -> np.ndarray:
    return np.array(sorted(Counter(units).values(), reverse=True), dtype=float)


def exponent(counts: np.ndarray, first: int, last: int, shift: float = 0.0) -> float:
    """Maximum likelihood by Newton's method; the lesson halves an interval instead."""
    x = np.log(np.arange(first, last + 1) + shift)
    weights = counts[first - 1 : last]
    s = 0.0
    for _ in range(100):
        p = np.exp(-s * x - (-s * x).max())
        p /= p.sum()
        step = (p @ x - weights @ x / weights.sum()) / (p @ x**2 - (p @ x) ** 2)
        s += np.clip(step, -0.5, 0.5)
    assert abs(step) < 1e-9
    return float(s)


def line(counts: np.ndarray, first: int, last: int) -> float:
    """Least squares on logarithms by its closed form."""
    x, y = np.log(np.arange(first, last + 1)), np.log(counts[first - 1 : last])
    return float(-((x - x.mean()) @ (y - y.mean())) / ((x - x.mean()) ** 2).sum())


def divergence(counts: np.ndarray, last: int, shift: float) -> float:
    s = exponent(counts, 1, last, shift)
    p, q = counts[:last] / counts[:last].sum(), (np.arange(1, last + 1) + shift) ** -s
    return float((p * np.log2(p / (q / q.sum()))).sum())


@pytest.fixture(scope="module")
def paragraphs() -> list[str]:
    return [part for document in read_documents([CORPUS]) for part in document.split("\n\n") if part.strip()]


@pytest.fixture(scope="module")
def units(paragraphs) -> dict[str, list]:
    ways = {
        "characters": list,
        "syllables": lambda part: re.findall(r"[^\W\d_]+", part.lower()),
        "gpt2": gpt2_encoding().encode,
        "vi-tiny": load_tokenizer("vi-tiny").encode,
    }
    return {name: [unit for part in paragraphs for unit in way(part)] for name, way in ways.items()}


@pytest.fixture(scope="module")
def counts(units) -> dict[str, np.ndarray]:
    return {name: ranked(found) for name, found in units.items()}


def test_shares_under_zipfs_law():
    def harmonic(n: int) -> float:
        return math.fsum(1 / k for k in range(1, n + 1))

    whole = harmonic(10_000)
    says(ZIPF, rf"$V = 10{{,}}000$, 100 mẩu đầu chiếm {harmonic(100) / whole:.0%}")
    doubling = (harmonic(200) - harmonic(100)) / whole
    says(ZIPF, f"mỗi lần gấp đôi $k$ chỉ thêm khoảng {doubling:.1%}")
    assert doubling == pytest.approx(math.log(2) / whole, abs=1e-3)


def test_random_typing_has_millers_exponent():
    keys, blank = 5, 1 / 6
    s = 1 + math.log(1 / (1 - blank)) / math.log(keys)
    says(ZIPF, rf"Với $K = {keys}$ và $q = 1/{round(1 / blank)}$: $s \approx {s:.3f}$")
    # All words of up to seven letters with their exact probabilities: the ends of the steps follow Mandelbrot's law.
    sizes = keys ** np.arange(1, 8)
    probabilities = np.repeat([((1 - blank) / keys) ** length for length in range(1, 8)], sizes)
    assert (np.diff(probabilities) <= 0).all()
    ends = np.cumsum(sizes)
    slopes = np.diff(np.log(probabilities[ends - 1])) / np.diff(np.log(ends + keys / (keys - 1)))
    np.testing.assert_allclose(slopes, -s)


def test_the_line_through_all_ranks_is_wrong_and_stable():
    true = 1 / np.arange(1, 10_001)
    true /= true.sum()
    rng = np.random.default_rng(1)
    found = {}
    for draws in (10_000, 100_000):
        runs = []
        for _ in range(40):
            n = np.sort(rng.multinomial(draws, true))[::-1].astype(float)
            n = n[n > 0]
            spans = (1, len(n)), (1, 100), (100, 300)
            runs.append([estimate(n, *span) for estimate in (line, exponent) for span in spans])
        found[draws] = np.mean(runs, 0), np.std(runs, 0)
    (few, spread), (many, _) = found[10_000], found[100_000]
    assert few[0] < 0.85 and many[0] > 1.03  # the error changes its sign
    assert spread[0] < 0.02 < 1 - few[0]
    assert abs(few[1] - 1) < 0.03 and abs(few[4] - 1) < 0.03 and spread[4] < spread[1]  # ranks 1-100
    assert few[3] < 0.97 and few[5] < 0.97  # likelihood is biased, too, where counts are small
    says(ZIPF, f"mỗi mẩu chỉ còn chừng {10_000 * true[99]:.0f} đến {10_000 * true[299]:.0f} lần gặp")


def test_sorting_alone_makes_a_falling_curve():
    rng = np.random.default_rng(3)
    first, second = rng.multinomial(5000, np.full(1000, 1e-3), size=2)
    order = np.argsort(-first, kind="stable")
    says(ZIPF, "Lấy 1,000 mẩu đồng khả năng và hai lượt đếm độc lập, mỗi lượt 5,000 lần rút")
    assert first[order[:100]].mean() > 3 * first[order[-100:]].mean()
    assert second[order[:100]].mean() == pytest.approx(second[order[-100:]].mean(), rel=0.2)


def test_no_unit_has_one_exponent(paragraphs, units, counts):
    near = {name: exponent(n, 10, 100) for name, n in counts.items() if name != "characters"}
    far = {name: exponent(n, 100, 300) for name, n in counts.items() if name != "characters"}
    assert all(near[name] < far[name] for name in near)
    assert exponent(counts["characters"], 10, 30) < exponent(counts["characters"], 30, 100)
    assert abs(near["gpt2"] - 1) < abs(near["syllables"] - 1)
    common = [token for token, _ in Counter(units["gpt2"]).most_common(100)][9:]
    texts = [gpt2_encoding().decode_single_token_bytes(token).decode("utf-8", "replace") for token in common]
    assert sum("\ufffd" in text for text in texts) > 15  # "many" of ranks 10-100 are broken letters
    assert counts["syllables"][9] / counts["syllables"][0] > 0.2  # far from the 0.10 of s = 1
    assert (counts["syllables"] == 1).mean() > 0.2

    rng = np.random.default_rng(1)
    ways = {"syllables": lambda part: re.findall(r"[^\W\d_]+", part.lower()), "gpt2": gpt2_encoding().encode}
    widths = []
    for name, way in ways.items():
        index = {unit: i for i, unit in enumerate(dict.fromkeys(units[name]))}
        ids = np.array([index[unit] for unit in units[name]])
        owner = np.repeat(np.arange(len(paragraphs)), [len(way(part)) for part in paragraphs])
        by_paragraph, by_unit = [], []
        for _ in range(100):
            drawn = rng.multinomial(len(paragraphs), np.full(len(paragraphs), 1 / len(paragraphs)))
            n = np.sort(np.bincount(ids, weights=drawn[owner]))[::-1]
            by_paragraph.append([exponent(n, 10, 100), exponent(n, 100, 300)])
            n = np.sort(rng.multinomial(len(ids), counts[name] / len(ids)))[::-1].astype(float)
            by_unit.append([exponent(n, 10, 100), exponent(n, 100, 300)])
        low, high = np.quantile(by_paragraph, [0.025, 0.975], axis=0)
        assert high[0] < low[1], f"the intervals of {name} touch"
        widths += list((high - low) / np.ptp(np.quantile(by_unit, [0.025, 0.975], axis=0), axis=0))
    assert np.mean(widths) > 1


def test_head_and_tail(units, counts):
    n = counts["syllables"]
    shifts = np.geomspace(0.1, 100, 31)
    fitted = [exponent(n, 1, 300, shift) for shift in shifts]
    assert fitted == sorted(fitted)  # the larger the shift, the larger the exponent
    best = min(shifts, key=lambda shift: divergence(n, 300, shift))
    assert divergence(n, 300, best) < 0.8 * divergence(n, 300, 0.0)
    s = exponent(n, 1, 300, best)
    curve = (np.arange(1, len(n) + 1) + best) ** -s
    assert curve[300:].sum() / curve[:300].sum() > 1.5 * n[300:].sum() / n[:300].sum()

    letters = counts["characters"]
    local = [exponent(letters, first, 3 * first) for first in (3, 10, 30, int((letters >= 10).sum()) // 3)]
    assert local == sorted(local) and local[-1] > 1.5 * local[0]
    assert divergence(letters, 100, 0.0) < 0.05
    assert 1.7 < math.log10(len(letters)) < 2.6  # about two decades
    growth = {k: len(set(units[k])) / len(set(units[k][: len(units[k]) // 2])) for k in ("characters", "syllables")}
    assert growth["characters"] < 1.2 < growth["syllables"]


def test_texts_without_meaning(units, counts):
    letters = list(" ".join(units["syllables"]))
    random.Random(1).shuffle(letters)
    shuffled = ranked("".join(letters).split())
    artificial = ranked(re.findall(r"[^\W\d_]+", synthetic_vietnamese(200_000, seed=1).lower()))
    real = abs(exponent(counts["syllables"], 1, 100) - 1)
    assert abs(exponent(shuffled, 1, 100) - 1) < real
    assert abs(exponent(artificial, 1, 100) - 1) < 0.03 < real
    assert (shuffled == 1).mean() > 2 * (counts["syllables"] == 1).mean()


def test_vocabulary(units, counts):
    cover = np.cumsum(counts["syllables"]) / counts["syllables"].sum()
    half, most = (int(np.searchsorted(cover, share)) + 1 for share in (0.5, 0.95))
    assert half < 0.15 * len(cover) and most > 4 * half
    gpt2 = gpt2_encoding()
    says(ZIPF, f"trong {gpt2.n_vocab:,} token")
    assert len(counts["gpt2"]) < 0.1 * gpt2.n_vocab  # nearly all of it lies idle
    assert (counts["vi-tiny"] == 1).mean() < 0.5 * (counts["syllables"] == 1).mean()

    tokenizer, seen = load_tokenizer("vi-tiny"), Counter(units["vi-tiny"])
    once = [syllable for syllable, n in Counter(units["syllables"]).items() if n == 1]
    pieces = [tokenizer.encode(" " + syllable) for syllable in once]
    assert np.median([min(seen[i] for i in ids) for ids in pieces]) > 1
    assert np.mean([len(ids) for ids in pieces]) > 1.5


def test_rows_that_training_touches(units):
    tokenizer = load_tokenizer("vi-tiny")
    ids = units["vi-tiny"]
    says(ZIPF, "thành các lô 1,024 token")
    batches = [set(ids[i : i + 1024]) for i in range(0, len(ids) - 1023, 1024)]
    touched = np.array([sum(row in batch for batch in batches) for row in range(tokenizer.n_vocab)])
    assert (touched == len(batches)).sum() > 0 and np.median(touched) < 0.25 * len(batches)
    absent = np.flatnonzero(touched == 0)
    assert (absent < 256).any()  # bytes that the text does not hold
    parts = {i for pair in tokenizer.merges for i in pair}
    assert any(i >= 256 and i in parts for i in absent)  # pieces that later merges used up


def test_gradient_reaches_rare_rows_only_from_the_output():
    torch.manual_seed(0)
    ids, targets = torch.tensor([4, 1, 4]), torch.tensor([1, 4, 2])
    table = torch.randn(8, 3, requires_grad=True)
    F.embedding(ids, table).pow(2).sum().backward()
    assert table.grad.any(dim=1).nonzero().flatten().tolist() == sorted(set(ids.tolist()))

    table = torch.randn(8, 3, requires_grad=True)
    logits = F.embedding(ids, table) @ table.T  # (3, 8)
    logits.retain_grad()
    F.cross_entropy(logits, targets).backward()
    assert table.grad.any(dim=1).all()
    absent = [i for i in range(8) if i not in targets]
    assert (logits.grad[:, absent] > 0).all()  # descent lowers the logit of every token that is not the target
