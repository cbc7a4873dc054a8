"""The numbers and the claims in the lesson on torch.multinomial."""

import inspect
import math
from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest
import torch
from aerogpt.functional import softmax
from aerogpt.sampling import sample_categorical
from prose import power_of_ten, says
from torch.utils.data import WeightedRandomSampler

MULTINOMIAL = "04_buildgpt/aero_llm_06_torch_multinomial_academic_analysis.md"
WEIGHTS = [1, 2, 5]
TOTAL = sum(WEIGHTS)
LINEAR = [Fraction(w, TOTAL) for w in WEIGHTS]
w = torch.tensor(WEIGHTS, dtype=torch.float32)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def chi_squared(counts: torch.Tensor, probabilities) -> float:
    expected = counts.sum() * torch.tensor([float(p) for p in probabilities], dtype=torch.float64)
    return ((counts - expected) ** 2 / expected).sum().item()


def test_weights_and_softmax_side_by_side():
    linear = [f"{100 * float(p):g}%" for p in LINEAR]
    soft = softmax(w.double()).tolist()
    percents = [f"{100 * p:.2f}%" for p in soft]
    says(MULTINOMIAL, f"| chia cho tổng | {' | '.join(linear)} | {WEIGHTS[2] // WEIGHTS[0]}:1 |")
    says(MULTINOMIAL, f"| softmax | {' | '.join(percents)} | {soft[2] / soft[0]:.1f}:1 |")
    says(MULTINOMIAL, r"$[" + r",\ ".join(f"{p:.4f}" for p in soft) + "]$", rf"$e^4 \approx {math.exp(4):.1f}$")
    says(MULTINOMIAL, f"với xác suất {linear[2]} thay vì {percents[2]}")
    says(MULTINOMIAL, f"{'/'.join(part.rstrip('%') for part in linear)}% khi làm trọng số")
    says(MULTINOMIAL, f"{'/'.join(part.rstrip('%') for part in percents)}% khi làm logit")
    assert soft[2] / soft[0] == pytest.approx(math.exp(WEIGHTS[2] - WEIGHTS[0]))
    torch.testing.assert_close(softmax(w.log()), w / TOTAL)


def test_circulating_softmax_is_wrong():
    wrong = [0.0236, 0.0643, 0.9121]
    says(MULTINOMIAL, f"softmax của [1, 2, 5] là {wrong}, tỉ số {int(wrong[2] / wrong[0])}:1")
    says(MULTINOMIAL, rf"${wrong[2]}/{wrong[0]} \approx {wrong[2] / wrong[0]:.1f}$")
    assert (softmax(w) - torch.tensor(wrong)).abs().max() > 0.02


def test_positive_logits_are_taken_as_weights(generator):
    counts = torch.bincount(torch.multinomial(w, 50_000, replacement=True, generator=generator), minlength=3)
    assert chi_squared(counts, LINEAR) < 20 < 10_000 < chi_squared(counts, softmax(w.double()).tolist())


def test_multinomial_distribution():
    draws = list(product(range(3), repeat=4))  # the 81 sequences of four draws
    wanted = [draw for draw in draws if [draw.count(i) for i in range(3)] == [0, 1, 3]]
    probability = sum(math.prod(LINEAR[i] for i in draw) for draw in wanted)
    says(MULTINOMIAL, f"có {len(wanted)} thứ tự", rf"(\frac58)^3 \approx {float(probability):.4f}$")
    counts = torch.distributions.Multinomial(4, w).sample()
    assert counts.shape == (3,) and counts.sum() == 4
    assert torch.multinomial(w, 4, replacement=True).shape == (4,)
    assert torch.multinomial(w, 1).dtype == torch.int64


def test_spread_of_frequencies():
    p = float(LINEAR[2])
    says(MULTINOMIAL, rf"$n = 1000$ ta có $\sigma \approx {math.sqrt(p * (1 - p) / 1000):.4f}$")
    says(MULTINOMIAL, f"phân phối chuẩn dự đoán {100 * math.erf(2 / math.sqrt(2)):.1f}%")


def test_chi_squared_with_two_degrees_of_freedom():
    says(MULTINOMIAL, rf"$-2\ln 0.05 \approx {-2 * math.log(0.05):.3f}$")
    x = torch.linspace(0, 20, 50, dtype=torch.float64)
    torch.testing.assert_close(torch.special.gammaincc(torch.ones_like(x), x / 2), torch.exp(-x / 2))


def test_drawing_without_replacement(generator):
    pairs = {(i, j): LINEAR[i] * Fraction(WEIGHTS[j], TOTAL - WEIGHTS[i]) for i, j in permutations(range(3), 2)}
    assert sum(pairs.values()) == 1
    present = [float(sum(p for pair, p in pairs.items() if i in pair)) for i in range(3)]
    says(MULTINOMIAL, "{:.3f}, {:.3f} và {:.3f}, cộng lại bằng 2".format(*present))
    says(MULTINOMIAL, f"$k = 2$ và $p_2 = {float(LINEAR[2])}$, quy tắc ấy cho {2 * float(LINEAR[2])}")

    lost = sum(p * p for p in LINEAR)
    says(MULTINOMIAL, rf"\frac{{{TOTAL**2 * (1 - lost)}}}{{{TOTAL**2}}}$: không còn là một phân phối")
    says(MULTINOMIAL, rf"\frac{{{TOTAL**2 * lost}}}{{{TOTAL**2}}} \approx {float(lost):.3f}$")

    drawn = torch.multinomial(w.expand(100_000, 3), 2, generator=generator)
    counts = torch.tensor([((drawn[:, 0] == i) & (drawn[:, 1] == j)).sum() for i, j in pairs])
    assert counts.sum() == 100_000
    again = [LINEAR[i] * LINEAR[j] / (1 - lost) for i, j in pairs]  # two draws with replacement until they differ
    assert chi_squared(counts, pairs.values()) < 30 < 1_000 < chi_squared(counts, again)


def test_too_few_positive_weights():
    only = torch.tensor([0.0, 1.0, 0.0])
    drawn = torch.multinomial(only.expand(100, 3), 2)
    assert (only[drawn] == 0).any(dim=1).all()  # nothing raised; the lesson says so
    with pytest.raises(ValueError, match="non-zero"):
        np.random.default_rng(0).choice(3, 2, replace=False, p=only.numpy())
    with pytest.raises(ValueError, match="non-zero"):
        np.random.choice(3, 2, replace=False, p=only.numpy())
    says(MULTINOMIAL, "| Thiếu trọng số dương, không hoàn lại | im lặng | `ValueError` |")


@pytest.mark.parametrize(
    "weights, error, message",
    [
        ([1.0, 2.0, 5.0], TypeError, "must be Tensor, not list"),
        (torch.tensor([math.inf, 2.0, 5.0]), RuntimeError, "either `inf`, `nan` or element < 0"),
        (torch.tensor([math.nan, 2.0, 5.0]), RuntimeError, "either `inf`, `nan` or element < 0"),
        (torch.tensor([-1.0, 2.0, 5.0]), RuntimeError, "either `inf`, `nan` or element < 0"),
        (torch.zeros(3), RuntimeError, "sum of probabilities <= 0"),
        (torch.tensor([1, 2, 5]), RuntimeError, "floating-point"),
        (torch.ones(2, 2, 3), RuntimeError, "1 or 2 dim"),
    ],
)
def test_bad_weights(weights, error, message):
    with pytest.raises(error, match=message):
        torch.multinomial(weights, 1)


def test_argmax_of_a_list_and_three_dimensions():
    with pytest.raises(TypeError, match="must be Tensor, not list"):
        torch.argmax([1.0, 2.0, 5.0])
    assert sample_categorical(torch.ones(2, 2, 3)).shape == (2, 2)


def test_limit_of_categories(generator):
    limit = 2**24
    says(MULTINOMIAL, f"$2^{{24}} = {limit:,}$".replace(",", "{,}"), f"chỉ bằng {50_257 / limit:.1%} giới hạn")
    one = torch.ones(1)
    assert torch.multinomial(one.expand(limit), 1, generator=generator).item() < limit
    with pytest.raises(RuntimeError, match=r"cannot exceed 2\^24"):
        torch.multinomial(one.expand(limit + 1), 1)
    assert torch.tensor(limit + 1, dtype=torch.float32).item() == limit
    assert torch.tensor(limit - 1, dtype=torch.float32).item() == limit - 1
    assert "torch.multinomial" in inspect.getsource(WeightedRandomSampler.__iter__)


@pytest.mark.parametrize("choice", [np.random.choice, np.random.default_rng(0).choice])
def test_sum_that_numpy_accepts(choice):
    wide, narrow = (float(np.finfo(kind).eps) ** 0.5 for kind in (np.float32, np.float64))
    says(MULTINOMIAL, rf"${power_of_ten(narrow, 1)}$ với float64", rf"float32 thì nới ra ${power_of_ten(wide, 1)}$")
    says(MULTINOMIAL, rf"tổng bằng 1, lệch không quá ${power_of_ten(narrow, 1)}$ ở float64")
    for kind, tolerance in ((np.float64, narrow), (np.float32, wide)):
        choice(2, p=np.array([0.5, 0.5 + 0.9 * tolerance], dtype=kind))
        with pytest.raises(ValueError, match="do not sum to 1"):
            choice(2, p=np.array([0.5, 0.5 + 1.1 * tolerance], dtype=kind))


def test_differences_from_numpy():
    assert np.random.choice(1, 5).tolist() == [0] * 5  # with replacement unless told otherwise
    with pytest.raises(RuntimeError, match="without replacement"):
        torch.multinomial(torch.ones(1), 5)
    assert np.random.choice(["a"]) == "a"
    with pytest.raises(ValueError):
        np.random.choice(3, p=np.full((2, 3), 1 / 3))
    assert torch.multinomial(torch.ones(2, 3), 1).shape == (2, 1)


def test_race_behind_one_draw_and_draws_without_replacement(generator):
    logits = torch.randn(20, generator=generator)
    rows = logits.softmax(dim=-1).expand(2_000, 20)
    one = torch.multinomial(rows, 1, generator=generator.manual_seed(1))
    four = torch.multinomial(rows, 4, generator=generator.manual_seed(1))
    clock = torch.empty(2_000, 20).exponential_(generator=generator.manual_seed(1))
    order = (logits - clock.log()).argsort(dim=-1, descending=True)
    assert (order[:, :1] == one).float().mean() > 0.999  # rounding may part two that are equal
    assert (order[:, :4] == four).float().mean() > 0.999


def test_inverse_cdf_behind_draws_with_replacement(generator):
    weights = torch.rand(1_000, dtype=torch.float64, generator=generator)
    drawn = torch.multinomial(weights, 20_000, replacement=True, generator=generator.manual_seed(1))
    u = torch.rand(20_000, dtype=torch.float64, generator=generator.manual_seed(1))
    cumulated = weights.cumsum(dim=-1)
    assert (torch.searchsorted(cumulated, u * cumulated[-1], right=True) == drawn).float().mean() > 0.9999
