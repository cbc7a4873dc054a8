"""The numbers in the lesson on the algorithm of BPE, and its own functions against the package."""

import re
from collections import Counter
from itertools import pairwise
from unicodedata import normalize

import pytest
import regex
from aerogpt.bpe import GPT2_PATTERN, encode_piece, learn_merges, merge_pair, split_pieces
from aerogpt.tokenizer import BPETokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from prose import DOCS, says

BPE = "02_words_to_tokens_to_numbers/aero_llm_03_thuat_toan_bpe.md"

words = st.dictionaries(st.text("abá", min_size=1, max_size=9), st.integers(1, 3), min_size=1)


def run_cells(*names: str) -> dict:
    """What the cells of the lesson define, run from the page itself."""
    page = (DOCS / BPE).read_text(encoding="utf-8")
    space = {}
    for name in names:
        source = re.search(rf"^```python {{\.cell #{name}}}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        exec(source[1], space)
    return space


@pytest.fixture(scope="module")
def lesson() -> dict:
    return run_cells("bpe-manh", "bpe-hoc", "bpe-tung-buoc", "bpe-phan-xu")


def naive(lesson: dict, counts: dict[str, int]):
    """Every step of the lesson's trainer until no pair is left."""
    steps = lesson["hoc_bpe"](counts, 10_000)
    while True:
        try:
            yield next(steps)
        except (ValueError, RuntimeError):  # min() of nothing
            return


@settings(max_examples=60, deadline=None)
@given(words)
def test_trainer_of_the_page_equals_the_package(lesson, counts):
    expected = [pair for pair, _, _ in naive(lesson, counts)]
    assert learn_merges({word.encode(): n for word, n in counts.items()}, len(expected)) == expected


@settings(max_examples=60, deadline=None)
@given(words)
def test_savings_never_grow_and_are_at_most_the_count(lesson, counts):
    tokens = sum(n * len(word.encode()) for word, n in counts.items())
    before = None
    for pair, table, sequences in naive(lesson, counts):
        after = sum(counts[word] * len(ids) for word, ids in sequences.items())
        assert tokens - after <= table[pair] and (before is None or table[pair] <= before)
        before, tokens = table[pair], after


@settings(max_examples=60, deadline=None)
@given(words)
def test_encoding_by_rank_is_applying_the_merges_one_after_the_other(lesson, counts):
    steps = list(naive(lesson, counts))
    tokenizer = BPETokenizer([pair for pair, _, _ in steps])
    for word in counts:
        assert encode_piece(word.encode(), tokenizer.ranks) == (steps[-1][2][word] if steps else [*word.encode()])


@given(st.lists(st.integers(0, 2), max_size=12), st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_gop_equals_merge_pair(lesson, ids, pair):
    assert lesson["gop"](ids, pair, 256) == merge_pair(ids, pair, 256)


def test_overlapping_pairs_count_twice_and_merge_once(lesson):
    assert lesson["dem_cap"]({"aaa": [97] * 3}, {"aaa": 1}) == {(97, 97): 2}
    assert lesson["gop"]([97] * 3, (97, 97), 256) == [256, 97]
    says(BPE, 'trong "aaa", cặp (a, a) được đếm hai lần')


def test_bytes_of_the_sentence(lesson):
    c, *o = "cò".encode()
    says(BPE, f'{c} là "c", còn {o[0]} và {o[1]} (viết theo hệ 16 là `{o[0]:x}` và `{o[1]:x}`)')
    assert bytes(o).decode() == "ò"
    assert Counter(split_pieces(lesson["cau"]))[" con"] == 7
    says(BPE, "Một mảnh xuất hiện bảy lần")


def test_first_merges_of_the_sentence(lesson):
    counts, left = lesson["dem_dau"], lesson["token_sau"]
    n_bytes = len(lesson["cau"].encode())
    says(BPE, f'Cặp "dấu cách, c" gặp {counts[0]} lần, nhiều nhất câu. Gộp nó bớt đúng {n_bytes - left[0]} token: ')
    says(BPE, f"từ {n_bytes} byte còn {left[0]}.", f'Rồi đến "on" ({counts[1]} lần)')
    assert lesson["token"][256:] == [b" c", b"on", b" con", b" c\xc3", " cá".encode(), " cò".encode()]
    assert all(letter.encode()[0] == 0xC3 for letter in "òáù")
    assert lesson["hoa"] == [1, 1, 1, 1, 2, 1]
    says(BPE, f"Ở bước năm có hai cặp cùng gặp {counts[4]} lần")
    says(BPE, f'Byte thứ hai của "á" là {"á".encode()[1]}, nhỏ hơn {"ò".encode()[1]} của "ò"')


def test_tie_rules_give_other_lists_of_equal_yield(lesson):
    results = lesson["ket_qua"]
    assert results["mã số nhỏ nhất"] != results["mã số lớn nhất"] == results["gặp trước tiên"]
    assert results["mã số nhỏ nhất"][-1] == "␣cá" and results["gặp trước tiên"][-1] == "␣cò"
    counts, cost = lesson["so_lan"], set()
    for rule in lesson["quy_tac"].values():
        *_, (_, _, sequences) = lesson["hoc_bpe"](counts, 5, rule)
        cost.add(lesson["dem_token"](sequences, counts))
    assert len(cost) == 1


def longest_first(piece: bytes, tokens: dict[bytes, int]) -> list[bytes]:
    parts = []
    while piece:
        parts.append(max((token for token in tokens if piece.startswith(token)), key=len))
        piece = piece[len(parts[-1]):]
    return parts


def test_rank_order_is_not_longest_match():
    for merges, text, kind in (
        ([(98, 99), (97, 98)], b"abc", ("được `{}`.", "từ trái thì được `{}`")),
        ([(98, 99), (97, 98), (99, 100)], b"abcd", ("thành `{}` theo thứ hạng", "nhưng `{}` theo độ dài")),
    ):
        bpe = BPETokenizer(merges)
        by_rank = "|".join(bpe.decode([token]) for token in encode_piece(text, bpe.ranks))
        by_length = b"|".join(longest_first(text, bpe.ranks)).decode()
        assert by_rank != by_length
        says(BPE, kind[0].format(by_rank), kind[1].format(by_length))


def test_nothing_is_unknown_and_half_a_letter_is_no_text(lesson):
    small = BPETokenizer.train(lesson["cau"], 256 + 6 + 1)
    cat, swan = len(small.encode("猫")), len(small.encode("🦢"))
    assert (cat, swan) == (len("猫".encode()), len("🦢".encode()))
    says(BPE, f"chữ Hán ở trên tốn {cat}, con thiên nga tốn {swan}, mỗi byte một token")
    assert small.decode([259]) == " c\ufffd"


def test_branches_of_the_pattern():
    branches = GPT2_PATTERN.split("|")
    assert len([b for b in branches if b.startswith("'")]) == 7 and len(branches) == 7 + 5
    says(BPE, "có bảy nhánh nhận đuôi rút gọn tiếng Anh và năm nhánh chung")
    assert split_pieces("a,  bay") == ["a", ",", " ", " bay"]
    assert regex.match(branches[-2], "  bay")[0] == " "


def test_decomposed_letters_break_the_syllable():
    pieces = split_pieces(normalize("NFD", "Việt"))
    assert len(split_pieces(normalize("NFC", "Việt"))) == 1 and len(pieces) == 3
    says(BPE, "Một âm tiết vỡ thành ba mảnh")
    assert regex.fullmatch(r"\p{M}+", pieces[1])


def test_most_frequent_pair_of_the_page_is_the_first_of_all(lesson):
    counts = Counter()
    for piece in split_pieces(lesson["cau"]):
        counts.update(pairwise(piece.encode()))
    assert counts.most_common(1) == [((32, 99), lesson["dem_dau"][0])]
