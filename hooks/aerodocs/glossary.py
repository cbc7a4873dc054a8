"""The glossary of a course: read from its page, and shown where a lesson uses a term for the first time."""

import functools
import re
import xml.etree.ElementTree as etree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown import Markdown
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString

from aerodocs.page import path_of

_HEADER = "| tiếng anh |"  # tables that begin like this hold terms
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_SILENT = {"a", "abbr", "button", "code", "h1", "h2", "h3", "h4", "h5", "h6", "kbd", "math", "pre", "summary"}
_LONG = 3  # Vietnamese terms of fewer syllables are everyday words, too


@dataclass(frozen=True, slots=True)
class Term:
    """One row: the English term, the course's Vietnamese for it, and a sentence."""

    english: str
    vietnamese: str
    meaning: str

    @property
    def title(self) -> str:
        name = self.english if self.english == self.vietnamese else f"{self.english}, {self.vietnamese}"
        return f"{name}: {self.meaning}"


def parse(text: str) -> list[Term]:
    """The terms in the tables of a glossary page."""
    terms, inside = [], False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif line.lower().startswith(_HEADER):
            inside = True
        elif inside and len(cells) == 3 and not set(cells[0]) <= set(":- "):
            terms.append(Term(*cells))
    return terms


class Glossary:
    """Finds terms in prose, by their first word."""

    def __init__(self, terms: list[Term]):
        self._by_first: dict[str, list[tuple[list[str], Term]]] = {}
        for term in terms:
            names = [term.english]
            if len(term.vietnamese.split()) >= _LONG:
                names.append(term.vietnamese)
            for name in names:
                words = _WORD.findall(name.lower())
                self._by_first.setdefault(words[0], []).append((words, term))
        for found in self._by_first.values():
            found.sort(key=lambda pair: -len(pair[0]))

    def find(self, text: str) -> Iterator[tuple[int, int, Term]]:
        """Where terms stand in `text`, the longest possible ones, without overlap."""
        if self._by_first.keys().isdisjoint(_WORD.findall(text.lower())):  # most texts; quick
            return
        words = [(match.group().lower(), match.start(), match.end()) for match in _WORD.finditer(text)]
        at = 0
        while at < len(words):
            for wanted, term in self._by_first.get(words[at][0], ()):
                part = words[at : at + len(wanted)]
                if [word for word, _, _ in part] == wanted and all(text[a[2] : b[1]].isspace() for a, b in zip(part, part[1:])):
                    yield part[0][1], part[-1][2], term
                    at += len(wanted)
                    break
            else:
                at += 1


def load(file: Path) -> Glossary | None:
    """The glossary in a page; None if there is no such page."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return _load(file, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4)
def _load(file: Path, changed: int, size: int) -> Glossary:
    return Glossary(parse(file.read_text(encoding="utf-8")))


class GlossaryTreeprocessor(Treeprocessor):
    """Explains each term where the page first uses it, outside headings, links, code, formulas and generated regions."""

    def __init__(self, md: Markdown, file: Path):
        super().__init__(md)
        self.file = file

    def run(self, root: etree.Element) -> None:
        glossary = load(self.file)
        if glossary and not self.file.as_posix().endswith(f"/{path_of(self.md) or '?'}"):
            self._explain(root, glossary, set())

    def _explain(self, element: etree.Element, glossary: Glossary, seen: set[Term]) -> None:
        children = list(element)
        place = self._split(element, None, element.text, glossary, seen, 0)
        for child in children:
            name = child.get("class") or ""
            if child.tag not in _SILENT and name != "arithmatex" and not name.startswith("aero-"):
                self._explain(child, glossary, seen)
            place = self._split(element, child, child.tail, glossary, seen, place + 1)

    def _split(self, element: etree.Element, before: etree.Element | None, text: str | None, glossary: Glossary, seen: set[Term], place: int) -> int:
        """Put the new terms of `text`, which follows `before` in `element`, into elements from `place` on; returns the next place."""
        if not text or text.isspace() or isinstance(text, AtomicString):
            return place
        end = 0
        for start, stop, term in glossary.find(text):
            if term in seen:
                continue
            seen.add(term)
            _put(element, before, text[end:start])
            before = etree.Element("abbr", {"class": "aero-term", "title": term.title, "tabindex": "0"})
            before.text = text[start:stop]
            element.insert(place, before)
            place += 1
            end = stop
        if end:
            _put(element, before, text[end:])
        return place


def _put(element: etree.Element, before: etree.Element | None, text: str) -> None:
    if before is None:
        element.text = text
    else:
        before.tail = text
