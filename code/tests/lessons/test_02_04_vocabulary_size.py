"""The numbers in the lesson on the size of a vocabulary, and the merges of the library ``tokenizers``."""

import json
from collections import Counter
from math import log
from pathlib import Path

import aerogpt
import pytest
import tokenizers
from aerogpt.bpe import learn_merges, split_pieces
from aerogpt.corpus import read_documents, split_documents, synthetic_vietnamese
from aerogpt.tokenizer import BPETokenizer, byte_symbols, gpt2_encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from prose import SMALL, count, gpt, says
from tokenizers import models, pre_tokenizers, trainers

SIZE = "02_words_to_tokens_to_numbers/aero_llm_04_bpe_kich_thuoc_tu_vung.md"
V = 2048


@pytest.fixture(scope="module")
def halves() -> tuple[list[str], list[str]]:
    return split_documents(read_documents([Path(aerogpt.__file__).parent / "data" / "vi-tiny-corpus.txt"]), 0.5)


@pytest.fixture(scope="module")
def trained(halves) -> list[BPETokenizer]:
    return [BPETokenizer.train(half, V) for half in halves]


def learned_by_tokenizers(documents: list[str], vocab_size: int) -> tuple[tokenizers.Tokenizer, list[tuple[int, int]]]:
    """The library's tokenizer without special tokens, and its merges as pairs of its own ids."""
    reference = tokenizers.Tokenizer(models.BPE())
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, show_progress=False, initial_alphabet=alphabet)
    reference.train_from_iterator(documents, trainer)
    model = json.loads(reference.to_str())["model"]
    pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"])
    return reference, [(model["vocab"][left], model["vocab"][right]) for left, right in pairs]


def renumbered(words: dict[bytes, int]) -> dict[bytes, int]:
    """The words with every byte replaced by its number in the order of the printable characters."""
    number = {byte: i for i, byte in enumerate(byte_symbols().values())}
    return {bytes(number[byte] for byte in word): n for word, n in words.items()}


def counted(documents: list[str]) -> dict[bytes, int]:
    return Counter(piece.encode() for document in documents for piece in split_pieces(document))


@pytest.mark.parametrize("other", [False, True])
def test_tokenizers_learns_the_same_merges_once_bytes_are_numbered_alike(halves, other):
    documents = [synthetic_vietnamese(40_000)] if other else halves[0]
    size = 900 if other else V
    _, merges = learned_by_tokenizers(documents, size)
    assert len(merges) == size - 256
    assert merges == learn_merges(renumbered(counted(documents)), size - 256)


def test_with_other_numbers_the_lists_part_at_a_tie_and_the_yield_is_alike(halves):
    documents = halves[0]
    reference, merges = learned_by_tokenizers(documents, V)
    ours = BPETokenizer.train(documents, V, special_tokens=())
    order = list(byte_symbols().values())
    theirs = [bytes([byte]) for byte in order]
    for left, right in merges:
        theirs.append(theirs[left] + theirs[right])
    first = next(i for i in range(256, V) if theirs[i] != ours.tokens[i])
    counts = Counter()
    before = BPETokenizer(ours.merges[: first - 256], ())
    for word, n in counted(documents).items():
        ids = before.encode_bytes(word)
        for left, right in zip(ids, ids[1:]):
            counts[before.tokens[left] + before.tokens[right]] += n
    assert counts[theirs[first]] == counts[ours.tokens[first]] == max(counts.values())

    n_ours = sum(len(ours.encode(document)) for document in documents)
    n_theirs = sum(len(reference.encode(document).ids) for document in documents)
    assert n_ours == pytest.approx(n_theirs, rel=0.002)
    says(SIZE, "rẽ nhau ở một chỗ hai cặp bằng nhau", f"lệch không quá {0.2}%")
    says(SIZE, f"nửa kho ngữ liệu thứ nhất với {V} token", f"code/tests/lessons/{Path(__file__).name}")


def test_a_small_vocabulary_begins_the_large_one(halves, trained):
    for size in (257, 300, 512):
        assert BPETokenizer.train(halves[0], size).merges == trained[0].merges[: size - 257]


def test_three_pieces_yield_six_merges():
    with pytest.raises(ValueError, match=f"vocabulary of {256 + 6} only"):
        BPETokenizer.train("con cò con", 300)
    made = BPETokenizer.train("con cò con", 256 + 6 + 1).tokens[256:-1]
    assert {token.decode() for token in made} == {"on", " c", "con", " con", "ò", " cò"}
    says(SIZE, "sáu phép gộp, cho `on`, `␣c`, `con`, `␣con`, `ò` và `␣cò`, rồi hết")


@settings(max_examples=60, deadline=None)
@given(text=st.text("conáờ gđm", max_size=40), sizes=st.tuples(*[st.integers(257, V)] * 2))
def test_more_merges_never_lengthen_a_text(trained, text, sizes):
    small, large = (BPETokenizer(trained[0].merges[: size - 257]) for size in sorted(sizes))
    assert len(large.encode(text)) <= len(small.encode(text))


@pytest.fixture(scope="module")
def bytes_per_token(halves, trained) -> dict[tuple[bool, int], float]:
    """By (seen, size), both halves together, as the lesson measures it."""
    total = sum(len(document.encode()) for half in halves for document in half)
    result = {}
    for size in (257, 512, 1024, V):
        cut = [BPETokenizer(tokenizer.merges[: size - 257]) for tokenizer in trained]
        for seen in (True, False):
            tokens = sum(len(cut[i].encode(text)) for i in (0, 1) for text in halves[i if seen else 1 - i])
            result[seen, size] = total / tokens
    return result


def test_compression_grows_less_and_less_and_most_on_seen_text(bytes_per_token):
    unseen = [bytes_per_token[False, size] for size in (512, 1024, V)]
    assert 1 < unseen[2] / unseen[1] < unseen[1] / unseen[0]
    assert bytes_per_token[True, V] > bytes_per_token[False, V]
    assert bytes_per_token[True, 257] == bytes_per_token[False, 257] == 1


def test_loss_of_a_token_misleads_and_bits_of_a_byte_do_not(bytes_per_token):
    guess = [log(size) / bytes_per_token[False, size] for size in (257, 512, V)]
    assert guess == sorted(guess, reverse=True)
    a, b = 3.0 / bytes_per_token[False, 512], 3.9 / bytes_per_token[False, V]
    assert b < a
    says(SIZE, "512 token và mất mát 3.0 nat", "2048 token và mất mát 3.9.", "thì B tốt hơn")


def test_share_of_the_table_of_tokens():
    total, table = count(gpt("small")), SMALL.vocab_size * SMALL.n_embd
    rest = total - table
    larger = 100_277 * SMALL.n_embd
    says(SIZE, f"con_lai = {total:_} - {SMALL.vocab_size:_} * d", f"d = {SMALL.n_embd}")
    says(SIZE, f"chiếm {table / total:.1%} tham số của GPT-2 nhỏ; với 100,277 token thì chiếm {larger / (larger + rest):.1%}")
    says(SIZE, f"GPT-2 có {SMALL.vocab_size:,} token", f"với {gpt2_encoding().n_vocab - 1:,} thứ hạng của GPT-2")


def test_weights_of_a_block_are_about_twelve_times_the_square_of_the_width():
    model = gpt("small")
    matrices = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2)
    tables = (SMALL.vocab_size + SMALL.n_ctx) * SMALL.n_embd
    assert matrices - tables == 12 * SMALL.n_layer * SMALL.n_embd**2


def test_cheapest_size_is_inside_for_a_tiny_body_and_larger_for_a_large_one(bytes_per_token):
    def cost(layers: int, width: int, size: int) -> float:
        return (12 * layers * width**2 + size * width) / bytes_per_token[False, size]

    sizes = (257, 512, 1024, V)
    assert min(sizes, key=lambda size: cost(2, 128, size)) not in (257, V)
    assert min(sizes, key=lambda size: cost(12, 768, size)) == V


def test_some_learned_tokens_are_never_used(halves, trained):
    used = {token for document in halves[0] for token in trained[0].encode(document)}
    assert set(range(256, V - 1)) - used
