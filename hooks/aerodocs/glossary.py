"""The glossary of a course: its terms, in one YAML file, and where they stand in a text."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_GAP = re.compile(r"\s+|[–’']")  # between the words of a term
_LONG = 3  # Vietnamese terms of fewer syllables are everyday words, too
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class GlossaryError(ValueError):
    """A file of terms that cannot be used: the line, what was seen there, and the cure, in Vietnamese."""

    def __init__(self, line: int, message: str, cure: str):
        super().__init__(f"{line}: {message}; {cure}")
        self.line, self.message, self.cure = line, message, cure


@dataclass(frozen=True, slots=True)
class Term:
    """An English term, the course's Vietnamese for it, the page that teaches it (relative to the docs folder, with `#anchor` if need be), a
    sentence, and its line in the file."""

    en: str
    vi: str
    lesson: str
    meaning: str
    line: int

    @property
    def title(self) -> str:
        name = self.en if self.en == self.vi else f"{self.en}, {self.vi}"
        return f"{name}: {self.meaning}"


_KEYS = [field.name for field in fields(Term)][:-1]


def parse(text: str) -> dict[str, list[Term]]:
    """The terms by section, in the order of the file. Raises GlossaryError for anything else than lists of terms, and for a term that comes twice."""
    try:
        root = yaml.compose(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise GlossaryError(mark.line + 1 if mark else 1, f"YAML không đọc được: {getattr(error, 'problem', error)}", "sửa cú pháp") from None
    sections: dict[str, list[Term]] = {}
    seen: dict[str, int] = {}
    for title, node in _pairs(root, "tập tin thuật ngữ", "viết “Tên phần:” rồi danh sách thuật ngữ"):
        if not isinstance(node, yaml.SequenceNode):
            raise GlossaryError(node.start_mark.line + 1, f"phần {title} không phải là danh sách", "mỗi thuật ngữ bắt đầu bằng “- en:”")
        for item in node.value:
            cure = f"mỗi thuật ngữ có đúng các dòng {', '.join(_KEYS)}"
            line = item.start_mark.line + 1
            row = {key: " ".join(str(value.value).split()) for key, value in _pairs(item, "thuật ngữ", cure) if isinstance(value, yaml.ScalarNode)}
            if sorted(row) != sorted(_KEYS) or not all(row.values()):
                raise GlossaryError(line, f"thuật ngữ có {', '.join(key for key, value in row.items() if value) or 'không dòng nào'}", cure)
            if row["en"].lower() in seen:
                raise GlossaryError(line, f"{row['en']} đã có ở dòng {seen[row['en'].lower()]}", "xóa một trong hai")
            seen[row["en"].lower()] = line
            sections.setdefault(title, []).append(Term(**row, line=line))
    return sections


def _pairs(node: yaml.Node | None, what: str, cure: str) -> list[tuple[str, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise GlossaryError(node.start_mark.line + 1 if node else 1, f"{what} không phải là bảng “khóa: giá trị”", cure)
    return [(str(key.value), value) for key, value in node.value]


class Glossary:
    """Finds terms in the texts of one page after the other."""

    def __init__(self, terms: list[Term]):
        self._by_start: dict[object, list[tuple[list[str], Term]]] = {}
        for term in terms:
            for words in _names(term):
                self._by_start.setdefault(_start(words), []).append((words, term))
        for found in self._by_start.values():
            found.sort(key=lambda pair: -len(pair[0]))
        self.begin_page()

    def begin_page(self) -> None:
        """From now on no term has been found."""
        self._seen: set[Term] = set()
        self._wanted = set(self._by_start)  # how terms begin that have not been found

    def find(self, text: str) -> Iterator[tuple[int, int, Term]]:
        """Where terms stand in `text` that have not been found on this page, the longest possible ones, without overlap."""
        lower = text.lower()
        words = _WORD.findall(lower)
        if self._wanted.isdisjoint(words) and self._wanted.isdisjoint(zip(words, words[1:])):  # most texts; quick
            return
        places = [match.span() for match in _WORD.finditer(text)]
        if len(places) != len(words):  # a letter that lower case makes two of
            return
        at = 0
        while at < len(words):
            for wanted, term in (*self._by_start.get(tuple(words[at : at + 2]), ()), *self._by_start.get(words[at], ())):
                part = places[at : at + len(wanted)]
                if words[at : at + len(wanted)] == wanted and all(_GAP.fullmatch(text, a[1], b[0]) for a, b in zip(part, part[1:])):
                    if term not in self._seen:
                        self._see(term)
                        yield part[0][0], part[-1][1], term
                    at += len(wanted)
                    break
            else:
                at += 1

    def _see(self, term: Term) -> None:
        self._seen.add(term)
        for start in map(_start, _names(term)):
            if all(other in self._seen for _, other in self._by_start[start]):
                self._wanted.discard(start)


def _names(term: Term) -> list[list[str]]:
    """The words of the names by which a term is found."""
    names = {term.en, term.vi} if len(term.vi.split()) >= _LONG else {term.en}
    return [_WORD.findall(name.lower()) for name in sorted(names)]


def _start(words: list[str]) -> object:
    """What is looked up first: two words, of a single one itself. In Vietnamese the first syllable alone stands in nearly every text."""
    return tuple(words[:2]) if len(words) > 1 else words[0]


def load(file: Path) -> Glossary | None:
    """The glossary in a file of terms; None if there is no such file. Raises GlossaryError."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return _load(file, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4)
def _load(file: Path, changed: int, size: int) -> Glossary:
    return Glossary([term for terms in parse(file.read_text(encoding="utf-8")).values() for term in terms])
