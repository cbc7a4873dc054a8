"""Sampling against naive references in plain Python, against transformers' logits processors, and by frequencies."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.generation import logits_process

from aerogpt.sampling import apply_temperature, greedy, min_p, sample, sample_categorical, top_k, top_p

# Whole weights: their probabilities are exact fractions, and small ranges make ties frequent.
weights = st.lists(st.integers(1, 6), min_size=1, max_size=12)


def logits_of(counts):
    """Logits whose softmax is proportional to the whole numbers `counts`; equal counts give equal logits."""
    return torch.tensor(counts, dtype=torch.float32).log()


def kept(logits):
    """The ids that a cut left in a row of logits."""
    return [i for i, value in enumerate(logits.tolist()) if value > -math.inf]


def by_rank(counts):
    """Ids from the most to the least probable, the lower id first among equals."""
    return sorted(range(len(counts)), key=lambda i: (-counts[i], i))


@given(weights)
def test_greedy_is_the_first_maximum(counts):
    assert greedy(logits_of(counts)).item() == counts.index(max(counts))


@given(weights, st.floats(0.05, 20))
def test_temperature_raises_probabilities_to_the_power_1_over_t(counts, temperature):
    powers = [(c / max(counts)) ** (1 / temperature) for c in counts]
    expected = torch.tensor([p / sum(powers) for p in powers])
    torch.testing.assert_close(apply_temperature(logits_of(counts), temperature).softmax(-1), expected)


@given(weights, st.integers(1, 15))
def test_top_k_keeps_exactly_the_k_first_by_rank(counts, k):
    logits = logits_of(counts)
    cut = top_k(logits, k)
    assert kept(cut) == sorted(by_rank(counts)[:k])
    assert torch.equal(cut[kept(cut)], logits[kept(cut)])


def test_top_k_under_ties_and_beyond_the_vocabulary():
    assert kept(top_k(torch.zeros(1000), 7)) == list(range(7))
    assert kept(top_k(torch.tensor([1.0, 3.0, 2.0, 3.0, 2.0]), 3)) == [1, 2, 3]
    logits = torch.randn(5)
    assert torch.equal(top_k(logits, 10**6), logits)


@given(weights, st.data())
def test_top_p_keeps_the_token_that_crosses_p(counts, data):
    order = by_rank(counts)
    n = data.draw(st.integers(1, len(counts)))
    reached = Fraction(sum(counts[i] for i in order[:n]), sum(counts))
    p = reached - Fraction(counts[order[n - 1]], 2 * sum(counts))  # half way through token n
    cut = top_p(logits_of(counts), float(p))
    assert kept(cut) == sorted(order[:n])
    expected = [counts[i] / sum(counts[j] for j in order[:n]) if i in order[:n] else 0.0 for i in range(len(counts))]
    torch.testing.assert_close(cut.softmax(-1), torch.tensor(expected))  # renormalised


def test_top_p_limits():
    logits = torch.cat([torch.randn(50_000) * 4, torch.tensor([-100.0])])  # the last is lost in any rounded sum
    assert len(kept(top_p(logits, 1))) == len(logits)
    assert kept(top_p(logits, 1e-12)) == [greedy(logits).item()]
    assert kept(top_p(torch.tensor([0.34, 0.285, 0.2, 0.1, 0.05, 0.025]).log(), 0.9)) == [0, 1, 2, 3]


@given(weights, st.integers(0, 7))
def test_min_p_keeps_what_reaches_the_share_of_the_maximum(counts, sevenths):
    p = max(sevenths / 7 - 0.01, 0)  # apart from every ratio of two counts: no rounding decides
    assert kept(min_p(logits_of(counts), p)) == [i for i, c in enumerate(counts) if c >= p * max(counts)]


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (lambda x: apply_temperature(x, 0.7), logits_process.TemperatureLogitsWarper(0.7)),
        (lambda x: top_k(x, 50), logits_process.TopKLogitsWarper(50)),
        (lambda x: top_p(x, 0.9), logits_process.TopPLogitsWarper(0.9)),
        (lambda x: min_p(x, 0.05), logits_process.MinPLogitsWarper(0.05)),
    ],
)
def test_the_same_as_transformers(ours, theirs):
    logits = torch.randn(4, 2000, generator=torch.Generator().manual_seed(1)) * 3
    assert torch.equal(ours(logits), theirs(None, logits))


def test_cuts_work_on_any_leading_shape_and_on_any_float():
    logits = torch.randn(2, 3, 11)
    for cut in (lambda x: top_k(x, 4), lambda x: top_p(x, 0.6), lambda x: min_p(x, 0.2)):
        assert torch.equal(cut(logits)[1, 2], cut(logits[1, 2]))
        assert cut(logits.bfloat16()).dtype == torch.bfloat16
    assert sample(logits).shape == (2, 3)
    assert sample(logits[0, 0]).shape == ()
    assert sample_categorical(logits.softmax(-1)).shape == (2, 3)


@pytest.mark.parametrize(
    "function, bad",
    [(apply_temperature, b) for b in (0, 0.0, -1, math.nan, math.inf)]
    + [(top_k, b) for b in (0, -3, 2.5, math.nan, math.inf)]
    + [(top_p, b) for b in (0, -0.1, 1.01, math.nan)]
    + [(min_p, b) for b in (-0.1, 1.01, math.nan)],
)
def test_bad_arguments_are_named(function, bad):
    with pytest.raises(ValueError, match=f"{function.__name__.removeprefix('apply_')} must .* got {bad!r}"):
        function(torch.randn(5), bad)


@pytest.mark.parametrize("option", [{"top_k": 0}, {"top_p": 0}, {"min_p": 2}, {"temperature": -1}])
@pytest.mark.parametrize("temperature", [0, 1])
def test_sample_checks_its_options_at_any_temperature(option, temperature):
    with pytest.raises(ValueError, match=next(iter(option))):
        sample(torch.randn(5), **{"temperature": temperature, **option})


def test_whole_numbers_are_refused():
    with pytest.raises(TypeError, match=r"int64; convert them with \.float\(\)"):
        top_k(torch.tensor([1, 2, 5]), 2)


@pytest.mark.parametrize("row", [[math.nan, 1.0], [math.inf, 1.0], [-math.inf, -math.inf]])
@pytest.mark.parametrize("temperature", [0, 1])
def test_rows_without_a_distribution_are_refused(row, temperature):
    with pytest.raises(ValueError, match="a row of logits holds NaN"):
        sample(torch.tensor([[0.0, 0.0], row]), temperature=temperature)


@given(weights, st.integers(1, 12), st.floats(0.01, 1), st.floats(0, 1))
def test_temperature_0_is_greedy_whatever_the_cuts(counts, k, p, m):
    assert sample(logits_of(counts), temperature=0, top_k=k, top_p=p, min_p=m) == greedy(logits_of(counts))


def test_a_temperature_too_small_to_divide_by_is_refused():
    with pytest.raises(ValueError, match="temperature 1e-40"):
        sample(torch.tensor([1.0, 2.0]), temperature=1e-40)


def test_temperature_0_does_not_divide_and_draws_nothing():
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    assert sample(torch.tensor([1e38, 3e38, -3e38]), temperature=0, generator=generator) == 1
    assert torch.equal(generator.get_state(), before)


@given(weights, st.integers(1, 12), st.integers(0, 2**31))
def test_only_what_is_kept_is_drawn(counts, k, seed):
    generator = torch.Generator().manual_seed(seed)
    assert sample(logits_of(counts), top_k=k, generator=generator).item() in by_rank(counts)[:k]


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, [0.01714783, 0.04661262, 0.93623955]),  # softmax([1, 2, 5])
        ({"temperature": 2.0}, [0.09962365, 0.16425163, 0.73612472]),
        ({"temperature": 2.0, "top_k": 2}, [0.0, 0.18242552, 0.81757448]),
        ({"temperature": 2.0, "min_p": 0.2}, [0.0, 0.18242552, 0.81757448]),
        ({"temperature": 2.0, "top_p": 0.7}, [0.0, 0.0, 1.0]),
    ],
)
def test_frequencies(options, expected):
    n = 20_000
    logits = torch.tensor([1.0, 2.0, 5.0]).expand(n, 3)
    ids = sample(logits, **options, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(ids, minlength=3).tolist()
    assert all(c == 0 for c, p in zip(counts, expected) if p == 0)
    chi_square = sum((c - n * p) ** 2 / (n * p) for c, p in zip(counts, expected) if p > 0)
    assert chi_square < 13.8  # 0.1 % quantile at two degrees of freedom; the seed is fixed


def test_the_generator_decides():
    logits = torch.randn(64, 100)
    draws = [sample(logits, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.gpu
def test_cuts_are_the_same_on_cuda():
    logits = torch.randn(4, 2000).round(decimals=1)  # with ties
    for cut in (lambda x: top_k(x, 50), lambda x: top_p(x, 0.9), lambda x: min_p(x, 0.05)):
        assert torch.equal(cut(logits.cuda()).cpu(), cut(logits))
    assert torch.equal(sample(logits.cuda(), temperature=0).cpu(), greedy(logits))
