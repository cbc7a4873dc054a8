"""The lesson on evaluation: its units, and what it concludes about tokenizers, leakage and spread."""

import lzma
import math
import unicodedata

import numpy as np
import pytest
import torch
from aerogpt.corpus import read_documents, split_documents
from aerogpt.data import encode_documents, token_bytes
from aerogpt.evaluation import bits_per_byte, evaluate
from aerogpt.tokenizer import BPETokenizer, load_tokenizer
from aerogpt.weights import load_vi_tiny
from prose import says
from test_01_01_overview import DATA, gpt_losses, witten_bell
from torch.nn import functional as F

EVALUATION = "01_llm_course/aero_llm_04_danh_gia.md"


@pytest.fixture(scope="module")
def parts() -> tuple[list[str], list[str]]:
    return split_documents(read_documents([DATA / "vi-tiny-corpus.txt"]))


@pytest.fixture(scope="module")
def tokens(parts) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(encode_documents(part, load_tokenizer("vi-tiny")) for part in parts)


@pytest.fixture(scope="module")
def losses(tokens) -> np.ndarray:
    """vi-tiny's on the held-out text."""
    return gpt_losses(load_vi_tiny()[0], tokens[1])


@pytest.fixture(scope="module")
def by_count(parts) -> dict[tuple[str, int], tuple[np.ndarray, float]]:
    """(losses, bits per byte) of n-grams by tokenizer and order."""
    merges, found = load_tokenizer("vi-tiny").merges, {}
    for name, n_merges, orders in (("byte", 0, (2, 3, 5)), ("BPE 512", 255, (2, 3)), ("BPE 2048", 1791, (2, 3))):
        tokenizer = BPETokenizer(merges[:n_merges])
        train, held_out = (encode_documents(part, tokenizer) for part in parts)
        p = witten_bell(train.numpy(), held_out.numpy(), tokenizer.n_vocab, max(orders))
        for n in orders:
            nats = -np.log(p[n - 1])
            found[name, n] = nats, bits_per_byte(nats.mean(), held_out, token_bytes(tokenizer))
    return found


def test_units():
    says(EVALUATION, rf"1 nat bằng $1/\ln 2 \approx {1 / math.log(2):.3f}$ bit")
    bits = [-math.log2(p) for p in (1 / 2, 1 / 4, 1 / 8)]
    mean = sum(bits) / 3
    says(EVALUATION, f"số bit là {bits[0]:g}, {bits[1]:g} và {bits[2]:g}, trung bình {mean:g} bit")
    says(EVALUATION, f"perplexity $2^{mean:g} = {2**mean:g}$")
    says(EVALUATION, 'như giữa 2, 4 và 8 khả năng; 4 là **trung bình nhân**')
    assert math.prod([2, 4, 8]) ** (1 / 3) == pytest.approx(2**mean)


def test_decomposed_text_takes_more_bytes(parts):
    text = "".join(parts[1])
    composed, decomposed = (len(unicodedata.normalize(form, text).encode()) for form in ("NFC", "NFD"))
    assert len(text.encode()) == composed < 0.95 * decomposed


def test_the_vocabulary_of_2048_is_vi_tinys():
    assert len(load_tokenizer("vi-tiny").merges) == 1791 == 2048 - 256 - 1
    assert 255 == 512 - 256 - 1


def test_perplexity_misleads_between_tokenizers(by_count, losses, tokens):
    perplexities = {key: math.exp(nats.mean()) for key, (nats, _) in by_count.items()}
    says(EVALUATION, '"Perplexity của tôi dưới 5, của bạn trên 50."')
    assert perplexities["byte", 5] < 5 and perplexities["BPE 2048", 3] > 50
    assert by_count["BPE 2048", 3][1] < by_count["byte", 5][1] - 0.1
    bytes_only = [value for (name, _), value in perplexities.items() if name == "byte"]
    others = [value for (name, _), value in perplexities.items() if name != "byte"] + [math.exp(losses.mean())]
    assert max(bytes_only) < min(others)


def test_the_losses_are_those_of_evaluate(losses, tokens):
    n = 1025
    assert losses[: n - 1].mean() == pytest.approx(evaluate(load_vi_tiny()[0], tokens[1][:n]), abs=1e-4)


def test_leakage(parts, tokens):
    half_a, half_b = (encode_documents(parts[1][i::2], load_tokenizer("vi-tiny")).numpy() for i in (0, 1))
    found = []
    for share in (0, 0.1, 1):
        train = np.concatenate([tokens[0].numpy(), half_a[: int(share * len(half_a))]])
        found.append([math.exp(-np.log(witten_bell(train, half, 2048, 3)[2]).mean()) for half in (half_a, half_b)])
    (a, b), (a_little, _), (a_all, b_all) = found
    assert a_little < 0.85 * a and a_all < 0.2 * a and 0.9 * b < b_all <= b


def test_what_stands_in_the_training_text_is_easy(losses, tokens):
    train, held_out = (part.tolist() for part in tokens)
    known = {tuple(train[i : i + 8]) for i in range(len(train) - 7)}
    repeated = np.zeros(len(held_out), dtype=bool)
    for i in range(len(held_out) - 7):
        repeated[i : i + 8] |= tuple(held_out[i : i + 8]) in known
    repeated = repeated[1:]
    assert 0.02 < repeated.mean() < 0.4
    assert losses[repeated].mean() < losses[~repeated].mean() - 0.7


def test_spread(parts, tokens, losses, by_count):
    tokenizer = load_tokenizer("vi-tiny")
    owner = np.repeat(np.arange(len(parts[1])), [len(encode_documents([part], tokenizer)) for part in parts[1]])[1:]
    sizes = token_bytes(tokenizer)[tokens[1][1:]].numpy()
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, len(parts[1]), (2000, len(parts[1])))
    sums = [np.bincount(owner, weights=w)[drawn].sum(1) for w in (sizes, losses, by_count["BPE 2048", 3][0])]
    gpt, trigram = sums[1] / sums[0] / math.log(2), sums[2] / sums[0] / math.log(2)
    alone = losses.std() * len(losses) ** 0.5 / sizes.sum() / math.log(2)
    assert gpt.std() > 3 * alone
    assert (gpt - trigram).std() < 0.6 * np.hypot(gpt.std(), trigram.std())
    (low, high), (low_3, high_3) = (np.quantile(values, [0.025, 0.975]) for values in (gpt, trigram))
    assert max(low, low_3) < min(high, high_3)  # the two heaps overlap


def test_a_compressor_needs_more_bits(parts, losses, tokens, by_count):
    train, held_out = ("".join(part).encode() for part in parts)
    bits = 8 * (len(lzma.compress(train + held_out)) - len(lzma.compress(train))) / len(held_out)
    assert bits > 0.1 + by_count["BPE 2048", 3][1]
    assert bits > 0.1 + bits_per_byte(losses.mean(), tokens[1], token_bytes(load_tokenizer("vi-tiny")))


def test_the_window_changes_the_number(losses, tokens):
    model = load_vi_tiny()[0]
    found = {}
    for length in (4, 16, 64):
        x, y = tokens[1][:2048].view(-1, length), tokens[1][1:2049].view(-1, length)
        with torch.no_grad():
            found[length] = float(F.cross_entropy(model(x).flatten(0, 1), y.flatten()))
    assert found[4] > found[16] + 0.1 > found[64] + 0.1
    assert losses[:2048].mean() == pytest.approx(found[64], abs=0.06)
