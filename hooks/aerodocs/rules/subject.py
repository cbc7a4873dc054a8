"""What the rules look at: one page at a time with all that its file holds, then the whole site by what was kept of each page."""

import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path

from aerodocs.cells import Lesson
from aerodocs.course import Course, Page
from aerodocs.document import Document
from aerodocs.problems import Problem, Severity
from aerodocs.rules.prose import Link, Prose
from aerodocs.settings import Settings


@dataclass(slots=True)
class Facts:
    """What is kept of a page for the rules of the whole site; small, and fit to travel between processes.

    `links` are those inside the site; `headings` hold the source of each heading, `ids` what tags, attribute lists and cells set; `sketch` are
    the smallest hashes of `shingles` word sequences, all of which `digest` stands for; `tones` counts the two ways of placing tone marks, with
    the place and the word of each first use; `optouts` maps a code to its line and reason; `origin` is that of the document.
    """

    page: Page
    file: Path
    links: list[Link] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    heading_line: int = 0
    ids: set[str] = field(default_factory=set)
    cells: list[tuple[str, int]] = field(default_factory=list)
    sketch: tuple[int, ...] = ()
    shingles: int = 0
    digest: int = 0
    tones: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    optouts: dict[str, tuple[int, str]] = field(default_factory=dict)
    empty: bool = False
    origin: tuple[int, ...] = ()


@dataclass(slots=True)
class Subject:
    """One page under inspection."""

    document: Document
    prose: Prose
    lesson: Lesson
    facts: Facts
    settings: Settings
    root: Path
    problems: list[Problem] = field(default_factory=list)

    def report(self, line: int, code: str, message: str, cure: str, severity: Severity = "error") -> None:
        self.problems.append(Problem(self.document.path, line, code, message, cure, severity))

    def warn(self, line: int, code: str, message: str, cure: str) -> None:
        self.report(line, code, message, cure, "warning")

    def text(self, line: int) -> str:
        """A line (from 1) without its end."""
        return self.document.lines[line - 1].rstrip("\r\n")

    def line_of(self, key: str) -> int:
        """The line of a key of the front matter."""
        pattern = re.compile(rf"(?:^|[\s{{,])[\"']?{re.escape(key)}[\"']?\s*:")
        return next((n + 1 for n, line in enumerate(self.document.lines[: self.document.first]) if pattern.search(line)), 1)


@dataclass(slots=True)
class Site:
    """All pages of a course, by path; `files` are all paths below the docs folder, `folders` all their folders."""

    docs: Path
    pages: dict[str, Facts]
    course: Course
    files: set[str]
    settings: Settings
    folders: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        for path in self.files:
            folder = posixpath.dirname(path)
            while folder not in self.folders:
                self.folders.add(folder)
                folder = posixpath.dirname(folder)

    def report(self, path: str, line: int, code: str, message: str, cure: str, severity: Severity = "error") -> None:
        self.problems.append(Problem(path, line, code, message, cure, severity))

    def warn(self, path: str, line: int, code: str, message: str, cure: str) -> None:
        self.report(path, line, code, message, cure, "warning")
