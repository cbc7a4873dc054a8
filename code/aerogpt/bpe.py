"""Byte-pair encoding itself: cutting text into pieces, learning merges, encoding one piece by definition.

Sources: Gage (1994) for byte-pair encoding; Sennrich, Haddow & Birch (2016), arXiv:1508.07909, algorithm 1, for
learning merges from word counts; Radford et al. (2019), section 2.2, for bytes instead of characters and the pattern.
"""

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

import regex
from tqdm import tqdm

# No merge crosses the border of a piece: an English contraction, a word with its blank, digits, signs, blanks.
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def split_pieces(text: str) -> list[str]:
    """Cut ``text`` into the pieces inside which BPE may merge; joined, they are the text again."""
    return regex.findall(GPT2_PATTERN, text)


def merge_pair(ids: Sequence[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """Replace every occurrence of ``pair`` in ``ids`` by ``new_id``, from left to right."""
    merged, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def encode_piece(piece: bytes, ranks: dict[bytes, int]) -> list[int]:
    """Encode one piece: while neighbours join to a token, join those of the lowest rank, the leftmost first.

    This is the definition, quadratic in the length of the piece; ``BPETokenizer.encode`` does the same by tiktoken.
    """
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while len(parts) > 1:
        rank, i = min((ranks.get(left + right, len(ranks)), i) for i, (left, right) in enumerate(zip(parts, parts[1:])))
        if rank == len(ranks):
            break
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return [ranks[part] for part in parts]


def learn_merges(words: dict[bytes, int], n_merges: int, progress: bool = False) -> list[tuple[int, int]]:
    """Learn ``n_merges`` pairs of ids from ``words`` (piece -> how often it occurs); merge k makes token 256 + k.

    Each step takes the pair of neighbours that occurs most often; among equals the one with the smallest left id, then
    the smallest right id. In "aaa" the pair (a, a) counts twice. No token is made twice: no merge has ever crossed the
    outer borders of two neighbours, so equal bytes have the same history and are joined by the same merge.

    Only words that hold the merged pair are counted again. Outdated counts stay in the heap and are skipped when they
    surface.
    Raises ValueError if the text runs out of pairs.
    """
    sequences = [list(word) for word in words]
    word_counts = list(words.values())
    pair_counts, words_with = Counter(), defaultdict(set)
    for index, sequence in enumerate(sequences):
        for pair in itertools.pairwise(sequence):
            pair_counts[pair] += word_counts[index]
            words_with[pair].add(index)
    heap = [(-count, pair) for pair, count in pair_counts.items()]
    heapq.heapify(heap)

    merges = []
    bar = tqdm(total=n_merges, desc="BPE", unit=" phép gộp", disable=not progress)
    while len(merges) < n_merges:
        if not heap:
            raise ValueError(
                f"the text holds pairs for a vocabulary of {256 + len(merges)} only, not {256 + n_merges} "
                "(special tokens not counted): give more text or a smaller vocab_size"
            )
        count, pair = heapq.heappop(heap)
        if pair_counts[pair] != -count:
            continue
        merges.append(pair)
        bar.update()
        changes = Counter()
        for index in words_with.pop(pair):
            before = sequences[index]
            after = sequences[index] = merge_pair(before, pair, 255 + len(merges))
            for old in itertools.pairwise(before):
                changes[old] -= word_counts[index]
            for new in itertools.pairwise(after):
                changes[new] += word_counts[index]
                words_with[new].add(index)
        for changed, change in changes.items():
            pair_counts[changed] += change
            if change and pair_counts[changed]:
                heapq.heappush(heap, (-pair_counts[changed], changed))
    bar.close()
    return merges
