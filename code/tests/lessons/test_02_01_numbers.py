"""The numbers in the lesson on characters, words and subwords, and what its text concludes from its corpus."""

import itertools
import unicodedata
from collections import Counter
from pathlib import Path

import aerogpt
import pytest
from aerogpt.bpe import split_pieces
from aerogpt.config import PRESETS
from aerogpt.corpus import read_documents, split_documents
from aerogpt.tokenizer import BPETokenizer
from prose import says

NUMBERS = "02_words_to_tokens_to_numbers/aero_llm_01_vi_sao_phai_danh_so.md"
SENTENCE = "Bà ngoại em thường kho cá với nghệ và lá gừng."


@pytest.fixture(scope="module")
def sides() -> tuple[str, str]:
    corpus = Path(aerogpt.__file__).parent / "data" / "vi-tiny-corpus.txt"
    return tuple(
        "".join(blocks) for blocks in split_documents(read_documents([corpus]))
    )


@pytest.fixture(scope="module")
def tokenizers(sides) -> dict[int, BPETokenizer]:
    largest = BPETokenizer.train(sides[0], 2048, special_tokens=())
    return {
        size: BPETokenizer(largest.merges[: size - 256], special_tokens=())
        for size in (256, 512, 1024, 2048)
    }


def test_price_of_gpt2():
    config = PRESETS["gpt2"]
    says(
        NUMBERS,
        f"$V = {config.vocab_size}$ và $d = {config.n_embd}$",
        f"có {config.vocab_size * config.n_embd:,} con số",
    )
    says(NUMBERS, f"nhiều nhất {config.n_ctx} token", f"chọn {config.vocab_size:,} cho")
    says(
        NUMBERS,
        f"dãy dài gấp 2 thì số cặp gấp {len(list(itertools.product(range(6), repeat=2))) // 3**2}",
    )


def test_first_sentence():
    words = ["con", "mèo", "ăn", "con", "cá"]
    says(NUMBERS, f"Câu có {len(words)} token nhưng $V = {len(set(words))}$")


def test_letters_of_vietnamese():
    vowels, consonants, tones = (
        "aăâeêioôơuưy",
        "bcdđghklmnpqrstvx",
        ["", *"\u0300\u0301\u0303\u0309\u0323"],
    )
    small = {
        unicodedata.normalize("NFC", vowel + tone) for vowel in vowels for tone in tones
    } | set(consonants)
    both = small | {letter.upper() for letter in small}
    assert all(len(letter) == 1 for letter in both)
    says(
        NUMBERS,
        f"{len(vowels)} nguyên âm",
        f"({' '.join(vowels)})",
        f"{len(tones)} thanh",
    )
    says(NUMBERS, f"{len(consonants)} phụ âm ({' '.join(consonants)})")
    says(
        NUMBERS,
        rf"${len(vowels)} \cdot {len(tones)} + {len(consonants)} = {len(small)}$ chữ",
        f"thường là {len(both)}",
    )
    says(NUMBERS, f"lấy đủ {len(both)} chữ")


def test_words_have_a_tail_and_characters_have_none(sides):
    learn, held_out = sides
    words, characters = Counter(split_pieces(learn)), set(learn)
    assert "".join(split_pieces(held_out)) == held_out
    assert len(words) > 5 * len(characters)
    assert sum(n == 1 for n in words.values()) > 0.2 * len(words)
    unknown = [word for word in split_pieces(held_out) if word not in words]
    assert len(unknown) > 0
    assert sum(piece not in words for piece in split_pieces(SENTENCE)) > 1
    pieces = split_pieces(learn)
    last_tenth = len(words) - len(set(pieces[: 9 * len(pieces) // 10]))
    last_characters = len(characters) - len(set(learn[: 9 * len(learn) // 10]))
    assert last_tenth / len(words) > 0.02  # the curve of words still climbs
    assert last_characters < last_tenth / 5
    assert {" một", " không"} <= words.keys()


def test_subwords_lie_between(sides, tokenizers):
    _, held_out = sides
    lengths = [len(tokenizer.encode(held_out)) for tokenizer in tokenizers.values()]
    assert lengths[0] == len(held_out.encode()) > len(held_out) > lengths[1]
    gains = [before - after for before, after in itertools.pairwise(lengths)]
    assert gains == sorted(gains, reverse=True) and gains[-1] > 0
    assert lengths[-1] >= len(split_pieces(held_out))
    for tokenizer in tokenizers.values():
        for text in (SENTENCE, "漢字 🐍"):
            assert tokenizer.decode(tokenizer.encode(text)) == text
    assert {b"ng", b"nh"} <= set(tokenizers[2048].tokens)


def test_more_text_means_fewer_unknown_words(sides):
    learn, held_out = sides
    rates = []
    for share in (0.25, 0.5, 1):
        known = set(split_pieces(learn[: int(share * len(learn))]))
        rates.append(sum(piece not in known for piece in split_pieces(held_out)))
    assert rates == sorted(rates, reverse=True) and rates[0] > rates[-1] > 0


def test_later_merges_make_rarer_tokens_on_the_whole(sides, tokenizers):
    tokenizer = tokenizers[2048]
    uses = Counter(tokenizer.encode(sides[0]))
    early, late = (
        sum(uses[i] for i in ids) for ids in (range(256, 1152), range(1152, 2048))
    )
    assert early > 2 * late
