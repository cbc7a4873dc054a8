"""The numbers and the claims in the lesson on counting letters."""

import string
import unicodedata

import numpy as np
import pytest
from aerogpt.tokenizer import gpt2_encoding
from prose import says

LESSON = "02_words_to_tokens_to_numbers/aero_llm_06_strawberry.md"
GPT2 = gpt2_encoding()
TOKENS = [GPT2.decode_single_token_bytes(i) for i in range(50256)]
TONES = ["", "\u0300", "\u0301", "\u0303", "\u0309", "\u0323"]
LETTERS = {unicodedata.normalize("NFC", v + t) for v in "aăâeêioôơuưy" for t in TONES} - set("aeiouy") | {"đ"}


def r_squared(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    return 1 - ((truth - guess) ** 2).sum(0) / ((truth - truth.mean(0)) ** 2).sum(0)


def fit(features: np.ndarray, truth: np.ndarray, seen: np.ndarray, unseen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    design = np.hstack([features, np.ones((len(features), 1))])
    weights = np.linalg.lstsq(design[seen], truth[seen], rcond=None)[0]
    return r_squared(truth[seen], design[seen] @ weights), r_squared(truth[unseen], design[unseen] @ weights)


@pytest.fixture(scope="module")
def words() -> list[str]:
    """One token in ten of those that the lesson takes."""
    bare = [token.removeprefix(b" ") for token in TOKENS]
    return [word.decode().lower() for word in bare if word.isalpha() and len(word) <= 12][::10]


@pytest.fixture(scope="module")
def counts(words) -> np.ndarray:
    return np.array([[word.count(letter) for letter in string.ascii_lowercase] for word in words], dtype=float)


@pytest.fixture(scope="module", params=[1, 2, 3])
def split(request, words) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(request.param).permutation(len(words))
    return np.split(order, [int(0.8 * len(words))])


def test_the_pieces_hold_three_r():
    ids = GPT2.encode("strawberry")
    pieces = [TOKENS[i].decode() for i in ids]
    per_piece = [piece.count("r") for piece in pieces]
    assert "".join(pieces) == "strawberry" and sum(per_piece) == 3
    says(LESSON, "`" + "`, `".join(pieces) + f"` với mã số {ids[0]}, {ids[1]}, {ids[2]}")
    says(LESSON, f"Ba mẩu thật có {per_piece[0]}, {per_piece[1]} và {per_piece[2]} chữ r, tổng là {sum(per_piece)}")
    (whole,) = GPT2.encode(" strawberry")
    says(LESSON, f"token, mã số {whole}", f"`{ids}` có ba chữ r không cho biết gì về `[{whole}]`")


def test_one_hot_is_learnt_by_heart_only(words, counts, split):
    seen, unseen = (part[:300] for part in split)
    rows = np.concatenate([seen, unseen])
    truth = counts[rows]
    r = string.ascii_lowercase.index("r")
    known, unknown = fit(np.eye(600), truth[:, r], np.arange(300), np.arange(300, 600))
    assert known == pytest.approx(1)
    assert unknown <= 1e-12
    constant = truth[:300, r].sum() / 301
    assert unknown == pytest.approx(r_squared(truth[300:, r], constant))


def test_random_vectors_do_not_generalise(words, counts, split):
    vectors = np.random.default_rng(7).standard_normal((len(words), 256))
    _, unknown = fit(vectors, counts, *split)
    assert unknown.max() < 0.01 and unknown[string.ascii_lowercase.index("r")] < 0


def test_letters_and_spelling_generalise(words, counts, split):
    spelled = [GPT2.encode(" ".join(word)) for word in words]
    assert all(len(ids) == len(word) for ids, word in zip(spelled, words))
    column = {token: j for j, token in enumerate(sorted({token for ids in spelled for token in ids}))}
    bags = np.zeros((len(words), len(column)))
    for row, ids in zip(bags, spelled):
        np.add.at(row, [column[token] for token in ids], 1)
    for part in fit(bags, counts, *split):
        assert part[string.ascii_lowercase.index("r")] == pytest.approx(1)


def test_distances_of_one_hot_vectors():
    one_hot = np.eye(5)
    assert np.linalg.norm(one_hot[0] - one_hot[3]) == pytest.approx(np.sqrt(2))
    assert all(len(GPT2.encode(token)) == 1 for token in ("raw", " raw", "ippi"))


def test_renaming_the_tokens_changes_nothing():
    rng = np.random.default_rng(0)
    table, names = rng.standard_normal((50, 8)), rng.permutation(50)
    renamed = np.empty_like(table)
    renamed[names] = table
    ids = rng.integers(50, size=20)
    assert (renamed[names[ids]] == table[ids]).all()


def test_a_table_of_counts_adds_up():
    table = np.array([token.count(b"r") for token in TOKENS])
    for text in ("strawberry", " strawberry", "Three strawberries are rarely rotten."):
        assert table[GPT2.encode(text)].sum() == text.count("r")


def test_vietnamese_letters_are_smaller_pieces():
    word = "đường"
    says(LESSON, f'Từ "{word}" có {len(word)} chữ cái nhưng {len(GPT2.encode(word))} token')
    first = [TOKENS[i].hex() for i in GPT2.encode("ệ")]
    says(LESSON, "`" + "`, `".join(first) + "`")
    shared = sum(GPT2.encode("ệ")[0] in GPT2.encode(letter) for letter in LETTERS)
    says(LESSON, f"token `{first[0]}` có mặt trong {shared} chữ cái thường khác nhau")
    three = [letter.encode() for letter in LETTERS if len(letter.encode()) == 3]
    assert len(three) == shared and not any(letter in token for letter in three for token in TOKENS)
    assert len(unicodedata.normalize("NFD", "ệ")) == 3
    for letter in "ườ":
        assert len(GPT2.encode(" " + letter)) > 1


def test_spelling_out():
    ids = GPT2.encode("s t r a w b e r r y")
    (r,) = GPT2.encode(" r")
    numbers = {3: "ba", 4: "bốn"}
    says(LESSON, f'"s t r a w b e r r y" là {len(ids)} token, trong đó mã số {r} (`␣r`) xuất hiện {numbers[ids.count(r)]} lần')
    forms = [GPT2.encode(form) for form in ("r", " r", "R", " R")]
    assert all(len(form) == 1 for form in forms) and len({form[0] for form in forms}) == 4
    says(LESSON, f"Có {numbers[len(forms)]} mã số đều là chữ r")


def test_number_of_characters_is_a_sum_over_tokens():
    first_bytes = [sum(byte & 0xC0 != 0x80 for byte in token) for token in TOKENS]
    for text in ("Xin chào Việt Nam", "đường nghiêng", "👍🏽 ok", unicodedata.normalize("NFD", "Việt")):
        assert sum(first_bytes[i] for i in GPT2.encode(text)) == len(text)
