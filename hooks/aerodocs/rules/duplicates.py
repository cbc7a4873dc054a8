"""Duplicates: pages that say nearly the same, and pages with the same title.

Two pages are near duplicates if more than 0.8 of their sequences of five words are common (Jaccard). Each page is compared through a sketch
(its smallest hashes) with pages that share parts of it, so that the work grows with the number of pages and not with that of pairs.
"""

import zlib
from collections import Counter, defaultdict

from aerodocs.inline import to_plain
from aerodocs.rules.subject import Facts, Site, Subject

CODES = {"near-duplicate": "warning", "duplicate-title": "warning"}

_SHINGLE, _SKETCH, _LEAST_WORDS, _ALIKE = 5, 64, 30, 0.8
_COMMON = 20  # a hash of more pages than this is boilerplate, and leads to none of them


def page(subject: Subject) -> None:
    """Take the sketch of a page."""
    facts = subject.facts
    shingles, words = shingles_of(subject)
    if words >= _LEAST_WORDS:
        facts.sketch = tuple(sorted(shingles)[:_SKETCH])
        facts.shingles = len(shingles)
        facts.digest = hash(frozenset(shingles))


def site(site: Site) -> None:
    """Near duplicates, each named once with the first page that it repeats; then titles."""
    repeated = set()
    posted: dict[int, list[str]] = defaultdict(list)
    exact: dict[tuple[int, int], str] = {}
    for path, facts in site.pages.items():
        if not facts.sketch:
            continue
        twin, alike = exact.get((facts.digest, facts.shingles), ""), 1.0
        if not twin:
            twin, alike = _closest(facts, posted, site)
        if twin:
            repeated.add(path)
            what = f"{alike:.0%} giống {twin} (theo từng chuỗi {_SHINGLE} chữ)"
            site.warn(path, 1, "near-duplicate", what, "gộp hai trang, hoặc viết lại phần chung thành liên kết")
            continue
        exact[facts.digest, facts.shingles] = path
        for value in facts.sketch:
            if len(posted[value]) <= _COMMON:
                posted[value].append(path)
    _titles(site)


def shingles_of(subject: Subject) -> tuple[set[int], int]:
    """Hashes of the sequences of five words of a page's prose (the same in every process), and how many words it has."""
    words = subject.prose.text.lower().split()
    codes = {word: zlib.crc32(word.encode()) for word in set(words)}
    numbers = [codes[word] for word in words]
    return set(map(hash, zip(*(numbers[start:] for start in range(_SHINGLE))))), len(words)


def _closest(facts: Facts, posted: dict[int, list[str]], site: Site) -> tuple[str, float]:
    """The page most like `facts` among those posted, and how alike they are by their sketches; ("", 0) if none is alike enough."""
    shared = Counter(path for value in facts.sketch if len(posted.get(value, ())) <= _COMMON for path in posted.get(value, ()))
    best, alike = "", 0.0
    for path, count in shared.most_common(5):
        if count < _SKETCH // 4 and count < len(facts.sketch) // 2:
            break
        estimate = _alike(facts, site.pages[path])
        if estimate > max(alike, _ALIKE):
            best, alike = path, estimate
    return best, alike


def _alike(one: Facts, other: Facts) -> float:
    """Estimated Jaccard similarity: the share of common hashes among the smallest of both together; exact for small pages."""
    smallest = sorted(set(one.sketch) | set(other.sketch))
    if one.shingles > _SKETCH or other.shingles > _SKETCH:
        smallest = smallest[:_SKETCH]
    common = set(one.sketch) & set(other.sketch)
    return sum(value in common for value in smallest) / len(smallest)


def _titles(site: Site) -> None:
    pages: dict[str, list[str]] = defaultdict(list)
    for path, facts in site.pages.items():
        if facts.page.listed and facts.heading_line:
            pages[to_plain(facts.page.title).casefold()].append(path)
    for paths in pages.values():
        for path in paths[1:]:
            what = f"tiêu đề trùng với {paths[0]}"
            site.warn(path, site.pages[path].heading_line, "duplicate-title", what, "đặt tiêu đề nói rõ bài này khác gì")
