"""The claims of the lesson on languages: measured on the sample that stands in the lesson's own cell."""

import re
from math import prod
from pathlib import Path
from unicodedata import is_normalized, normalize

import aerogpt
import pytest
import tiktoken
from aerogpt.bpe import GPT2_PATTERN
from aerogpt.corpus import read_documents
from aerogpt.tokenizer import gpt2_encoding, load_tokenizer
from prose import DOCS, says

LANGUAGES = "02_words_to_tokens_to_numbers/aero_llm_07_tieng_viet_va_cac_ngon_ngu.md"


@pytest.fixture(scope="module")
def sample() -> dict[str, list[str]]:
    text = (DOCS / LANGUAGES).read_text(encoding="utf-8")
    namespace = {}
    exec(re.search(r"\{\.cell #ngon-ngu-mau\}\n(.*?)```", text, re.DOTALL)[1], namespace)
    return namespace["mau"]


@pytest.fixture(scope="module")
def own():
    return load_tokenizer("vi-tiny")


def characters(sentences) -> int:
    return sum(map(len, sentences))


def size(sentences) -> int:
    return sum(len(sentence.encode()) for sentence in sentences)


def tokens(tokenizer, sentences) -> int:
    return sum(len(tokenizer.encode(sentence)) for sentence in sentences)


def test_the_sample_is_parallel_and_nfc(sample):
    assert len(sample) == 8 and all(len(sentences) == 3 for sentences in sample.values())
    text = (DOCS / LANGUAGES).read_text(encoding="utf-8")
    assert is_normalized("NFC", text)
    assert "창가에" in sample["Hàn"][2].split()


def test_gpt2_favours_english(sample):
    counts = {name: tokens(gpt2_encoding(), sentences) for name, sentences in sample.items()}
    order = sorted(counts, key=counts.get)
    assert order[:2] == ["Anh", "Đức"] and counts["Anh"] < counts["Đức"]
    assert characters(sample["Việt"]) < characters(sample["Anh"])
    says(LANGUAGES, f"rẻ nhất trong bảy thứ tiếng còn lại là tiếng {order[1]}")


def test_blanks_are_not_words(sample):
    for name in ("Trung", "Nhật"):
        assert all(len(sentence.split()) == 1 for sentence in sample[name])
    for word in ("đường phố", "chúng tôi", "cửa sổ"):
        assert any(word in sentence for sentence in sample["Việt"]) and len(word.split()) == 2


def test_three_factors(sample):
    def factors(sentences):
        n, b, t = characters(sentences), size(sentences), tokens(gpt2_encoding(), sentences)
        return n, b / n, t / b

    english = factors(sample["Anh"])
    relative = {name: [a / b for a, b in zip(factors(text), english)] for name, text in sample.items()}
    for name, parts in relative.items():
        premium = tokens(gpt2_encoding(), sample[name]) / tokens(gpt2_encoding(), sample["Anh"])
        assert prod(parts) == pytest.approx(premium)
    n, b, t = relative["Việt"]
    assert n < 1 < b and n * b == pytest.approx(1, abs=0.1) and t > 2 * n * b
    n, b, _ = relative["Trung"]
    assert n * b == pytest.approx(1, abs=0.25)
    n, b, _ = relative["Nga"]
    assert n > 0.8 and 1.5 < b < 2
    letters = [letter for sentence in sample["Nga"] for letter in sentence if letter.isalpha()]
    assert {len(letter.encode()) for letter in letters} == {2}
    _, b, t = relative["Đức"]
    assert b < 1.05 and t > 1.5


def test_decomposed_vietnamese_costs_more(sample, own):
    apart = [normalize("NFD", sentence) for sentence in sample["Việt"]]
    grows = [tokens(bpe, apart) / tokens(bpe, sample["Việt"]) for bpe in (gpt2_encoding(), own)]
    corpus = Path(aerogpt.__file__).parent / "data" / "vi-tiny-corpus.txt"
    assert all(is_normalized("NFC", document) for document in read_documents([corpus]))
    assert 1 < grows[0] < grows[1] and size(apart) > size(sample["Việt"])


def test_own_tokenizer_turns_the_table(sample, own):
    says(LANGUAGES, f"{own.n_vocab:,} token, học từ chính", f"bộ của khóa học ({own.n_vocab:,} token)")
    says(LANGUAGES, f"GPT-2 ({gpt2_encoding().n_vocab:,} token)")
    for name, sentences in sample.items():
        cheaper = tokens(own, sentences) < tokens(gpt2_encoding(), sentences)
        assert cheaper == (name == "Việt"), name
        assert tokens(own, sentences) <= size(sentences)
    assert tokens(own, sample["Anh"]) > tokens(own, sample["Việt"])
    assert tokens(own, sample["Nga"]) > 0.9 * size(sample["Nga"])


def test_same_size_same_winner(sample, own):
    gpt2 = gpt2_encoding()
    ranks = {gpt2.decode_single_token_bytes(token): token for token in range(256 + len(own.merges))}
    cut = tiktoken.Encoding("cut", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={})
    assert all(len(gpt2.decode_single_token_bytes(token)) == 1 for token in range(256))
    for name in ("Anh", "Việt"):
        assert tokens(gpt2, sample[name]) < tokens(cut, sample[name])
    assert tokens(cut, sample["Anh"]) < tokens(own, sample["Anh"])
    assert tokens(own, sample["Việt"]) < tokens(cut, sample["Việt"])
