"""Language: one way of placing tone marks, and the course's own words for its terms."""

import functools
import re

from aerodocs.rules.subject import Site, Subject

CODES = {"mixed-tone-marks": "warning", "glossary-term": "warning"}

# The mark of an open syllable in oa, oe, uy: on the first vowel (hóa, the old way) or on the second (hoá, the new way).
_OLD = re.compile(r"(?:[òóỏõọÒÓỎÕỌ][aeAE]|(?<![qQ])[ùúủũụÙÚỦŨỤ][yY])(?!\w)")
_NEW = re.compile(r"(?:[oO][àáảãạèéẻẽẹÀÁẢÃẠÈÉẺẼẸ]|(?<![qQ])[uU][ỳýỷỹỵỲÝỶỸỴ])(?!\w)")
# What a text must hold before it is worth the search.
_HINTS = {
    "old": [marked + second for firsts, seconds in (("òóỏõọ", "ae"), ("ùúủũụ", "y")) for marked in firsts for second in seconds],
    "new": [first + marked for first, seconds in (("o", "àáảãạèéẻẽẹ"), ("u", "ỳýỷỹỵ")) for marked in seconds],
}
_WORD_START = re.compile(r"\w*$")


def page(subject: Subject) -> None:
    """Count both ways of placing tone marks, and look for words that the course avoids."""
    prose = subject.prose
    found: dict[str, tuple[int, int, str]] = {}
    lower = prose.text.lower()
    for style, marks in (("old", _OLD), ("new", _NEW)):
        if any(hint in lower for hint in _HINTS[style]) and (uses := list(marks.finditer(prose.text))):
            first = uses[0]
            word = _WORD_START.search(prose.text[max(0, first.start() - 20) : first.start()]).group() + first.group()
            found[style] = (len(uses), prose.at(first.start()), word)
    if pattern := _pattern(tuple(subject.settings.terms)):
        terms = {" ".join(word.casefold().split()): better for word, better in subject.settings.terms.items()}
        for match in pattern.finditer(prose.text):
            better = terms[" ".join(match.group().casefold().split())]
            subject.warn(prose.at(match.start()), "glossary-term", f"“{match.group()}” không phải cách nói của khóa học", f"dùng “{better}”")
    subject.facts.tones = found


def site(site: Site) -> None:
    """A page that mixes both ways, or goes the other way than most of the course."""
    totals = {style: sum(facts.tones.get(style, (0,))[0] for facts in site.pages.values()) for style in ("old", "new")}
    usual = "old" if totals["old"] >= totals["new"] else "new"
    other = "new" if usual == "old" else "old"
    for path, facts in site.pages.items():
        if other not in facts.tones:
            continue
        count, line, word = facts.tones[other]
        here = facts.tones.get(usual)
        elsewhere = next((f.tones[usual] for f in site.pages.values() if usual in f.tones), None)
        if example := here or elsewhere:
            where = f"cùng trang có “{example[2]}”" if here else f"khóa học viết như “{example[2]}”"
            site.warn(path, line, "mixed-tone-marks", f"“{word}” đặt dấu thanh khác chỗ ({count} lần): {where}", "đặt dấu theo một kiểu")


@functools.lru_cache(maxsize=4)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str] | None:
    """Any of `words`, as whole words, over line ends."""
    if not words:
        return None
    choices = "|".join(r"\s+".join(map(re.escape, word.split())) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{choices})(?!\w)", re.IGNORECASE)
