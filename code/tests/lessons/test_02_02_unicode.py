"""The numbers in the lesson on Unicode, UTF-8 and normal forms, and the text's claims about GPT-2's tokens."""

import re
import unicodedata
from collections import Counter
from itertools import pairwise, permutations, product
from pathlib import Path

import aerogpt
import pytest
from aerogpt.bpe import split_pieces
from aerogpt.corpus import read_documents
from aerogpt.tokenizer import gpt2_encoding
from prose import DOCS, says

UNICODE = "02_words_to_tokens_to_numbers/aero_llm_02_unicode_utf8_tieng_viet.md"
TONES = "\u0300\u0301\u0303\u0309\u0323"
FORMS = ("NFC", "NFD", "NFKC", "NFKD")
VIET = {
    "built": "vi\u1ec7t",
    "apart": "vie\u0323\u0302t",
    "other order": "vie\u0302\u0323t",
    "half": b"vi\xea\xf2t".decode("cp1258"),
}


def normal(form: str, text: str) -> str:
    return unicodedata.normalize(form, text)


def letters() -> list[str]:
    small = [
        normal("NFC", vowel + tone) for vowel in "aăâeêioôơuưy" for tone in ["", *TONES]
    ] + list("bcdđghklmnpqrstvx")
    return small + [letter.upper() for letter in small]


def test_the_page_itself_is_nfc():
    text = (DOCS / UNICODE).read_text(encoding="utf-8")
    assert unicodedata.is_normalized("NFC", text)
    assert not re.search(r"\bho\u00e1\b", text)


def test_room_for_code_points():
    surrogates = 0xDFFF - 0xD800 + 1
    says(
        UNICODE,
        f"tức {0x10FFFF + 1:,} điểm mã",
        f"gồm {surrogates:,} số bị bỏ ra",
        f"`0xE1` là {0xE1}",
    )
    empty = sum(unicodedata.category(chr(point)) == "Cn" for point in range(0x110000))
    assert empty > 0x110000 / 2
    for point in (0xD800, 0xDFFF):
        with pytest.raises(UnicodeEncodeError):
            chr(point).encode("utf-8")


def test_table_of_bit_patterns():
    borders = [0, 0x80, 0x800, 0x10000, 0x110000]
    for size, (low, high) in enumerate(pairwise(borders), 1):
        head = "0xxxxxxx" if size == 1 else ("1" * size + "0").ljust(8, "x")
        pattern = " ".join([head] + ["10xxxxxx"] * (size - 1))
        says(
            UNICODE,
            f"| U+{low:04X} … U+{high - 1:04X} | {size} | `{pattern}` | {pattern.count('x')} |",
        )
        for point in (low, high - 1):
            data = chr(point).encode("utf-8")
            bits = "".join(f"{byte:08b}" for byte in data)
            template = pattern.replace(" ", "")
            assert len(data) == size
            assert all(want in ("x", bit) for want, bit in zip(template, bits))
            assert (
                int("".join(bit for want, bit in zip(template, bits) if want == "x"), 2)
                == point
            )
    longest = max(len(chr(point).encode("utf-8")) for point in (0x7F, 0x10FFFF))
    says(UNICODE, f"từ 1 đến {longest} byte", f"lùi nhiều nhất {longest - 1} byte")
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("utf-8")


def test_encoding_by_hand():
    point = ord("ệ")
    bits = f"{point:016b}"
    groups = bits[:4], bits[4:10], bits[10:]
    data = chr(point).encode("utf-8")
    says(
        UNICODE,
        f"điểm mã U+{point:04X}",
        f"`{' '.join(bits[i : i + 4] for i in range(0, 16, 4))}`",
    )
    says(UNICODE, ", ".join(f"`{group}`" for group in groups))
    assert [f"1110{groups[0]}", f"10{groups[1]}", f"10{groups[2]}"] == [
        f"{byte:08b}" for byte in data
    ]
    says(
        UNICODE,
        f"`{' '.join(f'{byte:08b}' for byte in data)}`",
        f"`{data.hex(' ').upper()}`",
    )
    says(UNICODE, f'"v" chiếm {len(b"v")} byte còn "ệ" chiếm {len(data)}')


def test_bytes_of_the_letters():
    sizes = Counter(len(letter.encode("utf-8")) for letter in letters())
    assert all(len(letter) == 1 for letter in letters()) and len(set(letters())) == len(
        letters()
    )
    says(
        UNICODE,
        f"đếm được {len(letters())} chữ cái",
        f"Chỉ {sizes[1]} chữ vừa 1 byte; {sizes[2]} chữ cần 2 byte; {sizes[3]} chữ",
    )
    assert set(sizes) == {1, 2, 3} and sizes[3] > len(letters()) / 2


def test_four_strings_of_one_word():
    assert len(set(VIET.values())) == 4
    for form in ("NFC", "NFD"):
        assert len({normal(form, text) for text in VIET.values()}) == 1
    assert VIET["half"] == "vi\u00ea\u0323t"
    says(
        UNICODE,
        f"Dấu nặng có lớp {unicodedata.combining(chr(0x323))}, dấu mũ lớp {unicodedata.combining(chr(0x302))}",
    )
    assert unicodedata.combining("\u0301") == unicodedata.combining("\u0302")
    for form in FORMS:
        orders = {
            normal(form, "e" + "".join(marks)) for marks in permutations("\u0301\u0302")
        }
        assert len(orders) == 2 and normal(form, "ế") in orders


def test_two_placements_stay_two():
    for form in FORMS:
        assert normal(form, "h\u00f3a") != normal(form, "ho\u00e1")
    assert (
        len({normal(form, word) for form in FORMS for word in ("h\u00f3a", "ho\u00e1")})
        == 4
    )


def test_what_breaks():
    nfc, nfd = normal("NFC", "việt"), normal("NFD", "việt")
    assert nfd[:3] == "vie" and nfd[::-1].startswith("t\u0302\u0323")
    assert all(ord(letter) > ord("z") for letter in "ăđ")
    assert nfc not in normal("NFD", "tiếng việt")
    assert normal("NFD", "\u0111") == "đ"
    assert nfd.encode()[:5].decode() == normal("NFD", "viẹ")
    assert nfd.encode()[5] & 0xC0 != 0x80
    says(UNICODE, 'cắt ở byte thứ 5 còn lại "viẹ"')


def test_tokens_of_gpt2():
    encoding = gpt2_encoding()
    ids = {name: encoding.encode(text) for name, text in VIET.items()}
    assert len(ids["half"]) == len(ids["built"]) and ids["half"] != ids["built"]
    says(
        UNICODE,
        f"Dạng nửa vời cũng {len(ids['half'])} token",
        f"nhưng là {len(ids['built'])} token **khác**",
    )
    assert len(ids["apart"]) > len(ids["built"])
    old, new = (len(encoding.encode(word)) for word in ("h\u00f3a", "ho\u00e1"))
    says(UNICODE, f'"hóa" kiểu cũ {old} token, kiểu mới {new}')
    assert len(split_pieces(VIET["built"])) == 1
    assert all(
        len(split_pieces(VIET[name])) == 3 for name in ("apart", "other order", "half")
    )


def test_corpus_in_both_forms():
    corpus = Path(aerogpt.__file__).parent / "data" / "vi-tiny-corpus.txt"
    text = normal("NFC", "\n".join(read_documents([corpus])))
    sizes = {
        form: {
            len(normal(form, letter).encode()) for letter in text if letter.isalpha()
        }
        for form in ("NFC", "NFD")
    }
    assert 5 in sizes["NFD"] and max(sizes["NFC"]) == 3
    five = {letter for letter in letters() if len(normal("NFD", letter).encode()) == 5}
    assert all(len(normal("NFD", letter)) == 3 for letter in five) and "ệ" in five
    encoding = gpt2_encoding()
    assert len(encoding.encode(normal("NFD", text))) > 1.05 * len(encoding.encode(text))


def test_normalise_after_joining():
    assert unicodedata.is_normalized("NFC", "vie") and unicodedata.is_normalized(
        "NFC", "\u0323\u0302t"
    )
    assert not unicodedata.is_normalized("NFC", "vie\u0323\u0302t")
    assert normal("NFKC", "x²") == "x2" and normal("NFC", "x²") == "x²"


def test_broken_bytes():
    data = "việt".encode()[:4]
    assert (
        data.decode("utf-8", "replace") == "vi\ufffd"
        and data.decode("utf-8", "ignore") == "vi"
    )
    assert (
        data.decode("utf-8", "surrogateescape").encode("utf-8", "surrogateescape")
        == data
    )
    escaped = bytes(range(0x80, 0x100)).decode("ascii", "surrogateescape")
    says(UNICODE, f"U+{ord(escaped[0]):04X} … U+{ord(escaped[-1]):04X}")
    assert len("ệ".encode().decode("latin-1")) == 3


def test_number_of_equivalents():
    goal = normal("NFD", "ệ")
    parts = [
        chr(point)
        for point in range(0x110000)
        if set(normal("NFD", chr(point))) <= set(goal)
    ]
    found = {
        text
        for n in (1, 2, 3)
        for text in map("".join, product(parts, repeat=n))
        if normal("NFD", text) == goal
    }
    says(UNICODE, f"Có {len(found)} cách")
    assert found == {text[2:-1] for text in VIET.values()} | {"\u1eb9\u0302"}
