"""BPE against ``tokenizers`` and ``tiktoken``: training to 1,024 tokens and encoding, on 300 kB of Vietnamese.

python code/benchmarks/bpe.py [--out FILE] [--repeats N] [--threads N]

The text is synthetic: possible syllables with Zipf frequencies, without meaning. All implementations work on the same
text; the encoders use the same vocabulary.
"""

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # all on one core, like the others

import tiktoken
import tokenizers
from tiktoken_ext.openai_public import r50k_pat_str
from tokenizers import decoders, models, pre_tokenizers, trainers

from aerogpt.benchmark import measure_together, parse_arguments, ratio, report
from aerogpt.bpe import encode_piece, split_pieces
from aerogpt.corpus import synthetic_vietnamese
from aerogpt.tokenizer import BPETokenizer, byte_symbols

VOCAB_SIZE = 1024


def train_peer(text: str) -> tokenizers.Tokenizer:
    """Train ``tokenizers``' byte-level BPE to the same size."""
    peer = tokenizers.Tokenizer(models.BPE())
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, show_progress=False, initial_alphabet=alphabet)
    peer.train_from_iterator([text], trainer)
    return peer


def peer_with(tokenizer: BPETokenizer) -> tokenizers.Tokenizer:
    """``tokenizers``' encoder with our vocabulary, written in its alphabet of printable bytes."""
    symbol = {byte: character for character, byte in byte_symbols().items()}
    shown = ["".join(symbol[byte] for byte in token) for token in tokenizer.tokens[: len(tokenizer.ranks)]]
    merges = [(shown[left], shown[right]) for left, right in tokenizer.merges]
    peer = tokenizers.Tokenizer(models.BPE({token: i for i, token in enumerate(shown)}, merges))
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    peer.decoder = decoders.ByteLevel()
    return peer


def main() -> None:
    """Measure training and encoding and report."""
    args = parse_arguments(__doc__.splitlines()[0])
    args.device = "cpu"  # nothing here runs on a GPU, and the report must not say so
    text = synthetic_vietnamese(300_000)
    tokenizer = BPETokenizer.train(text, VOCAB_SIZE)
    direct = tiktoken.Encoding("direct", pat_str=r50k_pat_str, mergeable_ranks=tokenizer.ranks, special_tokens={})
    peer = peer_with(tokenizer)
    ids = tokenizer.encode(text)
    assert direct.encode(text) == peer.encode(text).ids == ids

    functions = {
        "train: aerogpt": lambda: BPETokenizer.train(text, VOCAB_SIZE),
        "train: tokenizers": lambda: train_peer(text),
        "encode: aerogpt": lambda: tokenizer.encode(text),
        "encode: tiktoken": lambda: direct.encode(text),
        "encode: tokenizers": lambda: peer.encode(text),
        "encode: by definition": lambda: [encode_piece(p.encode(), tokenizer.ranks) for p in split_pieces(text)],
        "decode: aerogpt": lambda: tokenizer.decode(ids),
        "decode: tiktoken": lambda: direct.decode(ids),
    }
    timings = measure_together(functions, repeats=args.repeats, warmup=1, progress=True)
    size = len(text.encode())
    rows = [
        {"task": name, **timing.as_dict(), "mb_per_s": size / 1e6 / timing.median} for name, timing in timings.items()
    ]
    median = {name: timing.median for name, timing in timings.items()}
    ratios = [
        ratio("train, seconds", median["train: aerogpt"], 3.0, higher_is_better=False),
        ratio("train: tokenizers / aerogpt", median["train: tokenizers"] / median["train: aerogpt"]),
        ratio("encode: tokenizers / aerogpt", median["encode: tokenizers"] / median["encode: aerogpt"]),
        ratio("encode: tiktoken / aerogpt", median["encode: tiktoken"] / median["encode: aerogpt"]),
    ]
    report("bpe", args, rows, ratios, ["tokenizers", "tiktoken"])


if __name__ == "__main__":
    main()
