"""Text to train on: documents read from files and folders, lessons reduced to their prose, a repeatable split.

Also a command: ``python -m aerogpt.corpus docs --out corpus.txt`` freezes the text of a folder into one file.
"""

import argparse
import hashlib
import itertools
import json
import os
import random
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

SUFFIXES = (".md", ".txt", ".ipynb")

SEPARATOR = "\f"  # a form feed between the documents of one .txt file

# What `plain_text` takes away or rewrites, in this order. Each pattern sees the whole page, lines in MULTILINE mode.
_MARKDOWN = [
    (r"\A---\n.*?\n---\n", ""),  # front matter
    (r"^([ \t]*)(`{3,}|~{3,})[^\n]*\n.*?^[ \t]*\2[`~]*[ \t]*$", ""),  # fences: code is another language
    (r"^<!-- (Aero-\w+)-Start\b.*?^<!-- \1-End\b.*?-->", ""),  # navigation that the indexer wrote
    (r"<!--.*?-->", ""),
    (r"^[ \t]*\$\$.*?\$\$[ \t]*$", ""),  # display formulas
    (r"^[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(\|[ \t]*:?-*:?[ \t]*)*$\n?", ""),  # rules, and the line under a table's head
    (r"!?\[([^\]\n]*)\]\([^)\n]*\)", r"\1"),  # links and images: their text
    (r"^[ \t]*(?:!!!|\?\?\?\+?)[ \t]+\w+(?:[ \t]+\"([^\"\n]*)\")?[^\n]*$", r"\1\n"),  # an admonition: its title
    (r"^[ \t]*#{1,6}[ \t]+([^\n]*)$", r"\1\n"),  # headings
    (r"(?<=[^\s|])[ \t]*\n[ \t]*(?!\d+\.[ \t])(?=[\w$`(\[]|\*\*)", " "),  # lines of one paragraph
    (r"</?[a-zA-Z][^>\n]*>", ""),
    (r"\{[:#.][^}\n]*\}", ""),  # attributes
    (r"^[ \t]*(?:>|[-*+]|\d+\.)[ \t]+", ""),  # quotes and list items
    (r"`\{cell:[^`\n]*\}`", "…"),  # a number that a run fills in
    (r"(?<![\w*])\*+(?=\S)|(?<=\S)\*+(?![\w*])|`", ""),  # emphasis and code
    (r"^[ \t]*\|([^\n]*)\|[ \t]*$", lambda row: ", ".join(cell.strip() for cell in row[1].split("|"))),  # a table's row
    (r"^[ \t]+|[ \t]+$", ""),
    (r"\n{3,}", "\n\n"),
]


def plain_text(markdown: str) -> str:
    """The prose of a Markdown lesson, in NFC: no front matter, generated regions, code, display formulas or markup.

    A paragraph becomes one line; inline formulas stay as they are written. It is a filter, not a Markdown parser.
    """
    text = unicodedata.normalize("NFC", markdown.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"))
    for pattern, replacement in _MARKDOWN:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE | re.DOTALL)
    return text.strip() + "\n"


def read_documents(paths: Sequence[str | os.PathLike]) -> list[str]:
    """The documents in ``paths``: files as given, folders searched for .md, .txt and .ipynb in the order of names.

    .md and the Markdown cells of .ipynb become plain text; .txt is taken as it is, form feeds part its documents.
    Raises FileNotFoundError for a missing path and ValueError for one without text or not in UTF-8.
    """
    documents = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES) if path.is_dir() else [path]
        for file in files:
            try:
                text = file.read_text(encoding="utf-8")
                if file.suffix == ".ipynb":
                    cells = json.loads(text)["cells"]
                    text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
            except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
                raise ValueError(f"{file}: not a readable {file.suffix or 'text'} file: {error!r}") from error
            documents += text.split(SEPARATOR) if file.suffix == ".txt" else [plain_text(text)]
    documents = [document for document in documents if document.strip()]
    if not documents:
        raise ValueError(f"no text in {', '.join(map(str, paths))} (looked for {', '.join(SUFFIXES)})")
    return documents


def split_documents(
    documents: Iterable[str], validation: float = 0.1, block: int = 500
) -> tuple[list[str], list[str]]:
    """Part documents into training and validation text: (training, validation).

    Documents are cut between paragraphs into blocks of at least ``block`` characters (the last may be shorter). The
    blocks whose text has the smallest hash are held out, until they are ``validation`` of all: the choice is
    repeatable, hardly changes when the corpus grows, and a repeated block is never on both sides. Neighbours on one
    side stay together.
    Raises ValueError unless 0 < validation < 1.
    """
    if not 0 < validation < 1:
        raise ValueError(f"validation must lie between 0 and 1, not {validation}")
    cut = []
    for document in documents:
        blocks = [""]
        for paragraph in document.strip().split("\n\n"):
            if len(blocks[-1]) >= block:
                blocks.append("")
            blocks[-1] += paragraph.strip("\n") + "\n\n"
        cut.append(blocks)
    counts = Counter(text for blocks in cut for text in blocks)
    wanted = validation * sum(len(text) * count for text, count in counts.items())
    held_out = set()
    for text in sorted(counts, key=lambda text: hashlib.sha256(text.encode()).digest()):
        if wanted <= 0:
            break
        held_out.add(text)
        wanted -= len(text) * counts[text]
    sides = [], []
    for blocks in cut:
        for is_held_out, run in itertools.groupby(blocks, key=held_out.__contains__):
            sides[is_held_out].append("".join(run))
    return sides


def synthetic_vietnamese(n_bytes: int, seed: int = 0) -> str:
    """At least ``n_bytes`` of text without meaning, built of possible Vietnamese syllables, for measurements.

    Syllables are any onset with any rhyme and tone; in a shuffled list the k-th has a weight of 1/k (Zipf's law).
    """
    # A dot stands behind the vowel that carries the tone.
    onsets = "b c ch d đ g gh gi h kh l m n nh ng ph qu r s t th tr v x".split()
    rhymes = "a. a.n a.ng a.nh a.i a.o ă.n ă.ng â.n â.u ê. ê.n i. iê.n iê.u o. o.ng ô. ô.n ô.i ơ.i u. uô.ng ươ.ng"
    tones = ["", "\u0300", "\u0301", "\u0303", "\u0309", "\u0323"]
    syllables = [
        unicodedata.normalize("NFC", onset + rhyme.replace(".", tone))
        for onset, rhyme, tone in itertools.product(onsets, rhymes.split(), tones)
    ]
    rng = random.Random(seed)
    rng.shuffle(syllables)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(syllables) + 1)))
    sentences, size = [], 0
    while size < n_bytes:
        words = rng.choices(syllables, cum_weights=weights, k=rng.randint(6, 20))
        sentences.append(" ".join(words).capitalize() + rng.choice([". ", ". ", ".\n"]))
        size += len(sentences[-1].encode())
    return "".join(sentences)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``python -m aerogpt.corpus``. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m aerogpt.corpus", description="Gom phần văn bản của các bài học vào một tệp .txt."
    )
    parser.add_argument("corpus", nargs="+", type=Path, help="tệp hoặc thư mục (.md, .txt, .ipynb)")
    parser.add_argument("--out", type=Path, required=True, help="tệp kết quả")
    args = parser.parse_args(arguments)
    try:
        documents = read_documents(args.corpus)
        args.out.write_text(SEPARATOR.join(documents), encoding="utf-8", newline="\n")
    except (OSError, ValueError) as error:
        print(f"lỗi: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: {len(documents)} văn bản, {args.out.stat().st_size:,} byte")
    return 0


if __name__ == "__main__":
    sys.exit(main())
