"""The glossary of a course: its terms, in one YAML file, and where they stand in a text."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_LONG = 3  # Vietnamese terms of fewer syllables are everyday words, too
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class GlossaryError(ValueError):
    """A file of terms that cannot be used: the line, what was seen there, and the cure, in Vietnamese."""

    def __init__(self, line: int, message: str, cure: str):
        super().__init__(f"{line}: {message}; {cure}")
        self.line, self.message, self.cure = line, message, cure


@dataclass(frozen=True, slots=True)
class Term:
    """An English term, the course's Vietnamese for it, the page that teaches it (relative to the docs folder, with `#anchor` if need be), a sentence, and its line in the file."""

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
    """Finds terms in prose, by their first word."""

    def __init__(self, terms: list[Term]):
        self._by_first: dict[str, list[tuple[list[str], Term]]] = {}
        for term in terms:
            names = [term.en]
            if len(term.vi.split()) >= _LONG:
                names.append(term.vi)
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
    """The glossary in a file of terms; None if there is no such file. Raises GlossaryError."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return _load(file, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4)
def _load(file: Path, changed: int, size: int) -> Glossary:
    return Glossary([term for terms in parse(file.read_text(encoding="utf-8")).values() for term in terms])
