"""A whole course inspected: every page by every rule, then the site, then the opt-outs of the pages."""

import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from aerodocs import files
from aerodocs.cells import lesson_of
from aerodocs.course import Course, page_of
from aerodocs.document import Document
from aerodocs.problems import Problem
from aerodocs.rules import CODES, FAMILIES
from aerodocs.rules.prose import Prose, prose_of
from aerodocs.rules.subject import Facts, Site, Subject
from aerodocs.settings import Settings

_MANY = 800  # pages from which on a second process pays for itself


@dataclass(slots=True)
class Inspection:
    """What was found, in the order of files and lines, and how many pages were read."""

    problems: list[Problem]
    pages: int


def inspect(docs: Path, settings: Settings, processes: int | None = None) -> Inspection:
    """Every finding of the course in `docs`; nothing is written.

    `processes` is the number of processes for the pages; by default one for a small course, else one a core.
    """
    docs = docs.resolve()
    tree = files.walk(docs, settings.exclude)
    problems = list(tree.problems)
    pages = list(tree.pages.items())
    count = processes or (1 if len(pages) < _MANY else min(os.cpu_count() or 1, 8))
    kept: dict[str, Facts] = {}
    for found, facts in _read(docs, pages, settings, count):
        problems += found
        if facts is not None:
            kept[facts.page.path] = facts
    everything = set(tree.pages) | set(tree.others)
    site = Site(docs, kept, Course(facts.page for facts in kept.values()), everything, settings)
    for family in FAMILIES:
        if hasattr(family, "site"):
            family.site(site)
    problems = _in_files(_without_optouts(problems + site.problems, kept), kept)
    return Inspection(sorted(problems, key=lambda problem: (problem.path, problem.line, problem.code, problem.message)), len(pages))


def inspect_page(docs: Path, path: str, file: Path, settings: Settings) -> tuple[list[Problem], Facts | None]:
    """What is wrong with one page by itself, and what the site needs to know of it (None: it is no text)."""
    _, document, problems = files.read(file, path, docs)
    if document is None:
        return problems, None
    facts = Facts(page_of(document), file, empty=document.empty, origin=document.origin)
    facts.heading_line = next((block.start + 1 for block in document.blocks if block.kind == "heading" and block.level == 1), 0)
    if any(problem.code in ("front-matter", "notebook") for problem in document.problems):
        return problems, facts  # nothing else of it could be read
    subject = subject_of(document, facts, settings, docs.parent)
    for family in FAMILIES:
        if hasattr(family, "page"):
            family.page(subject)
    return problems + subject.problems, facts


def subject_of(document: Document, facts: Facts, settings: Settings, root: Path) -> Subject:
    """A page ready for the rules; one that ends inside a fence or comment is not read as prose, since nobody knows where its prose ends."""
    broken = any(problem.code.startswith("unclosed-") for problem in document.problems)
    prose = Prose() if broken else prose_of(document)
    return Subject(document, prose, lesson_of(document), facts, settings, root)


def _read(docs: Path, pages: list[tuple[str, Path]], settings: Settings, processes: int) -> Iterable[tuple[list[Problem], Facts | None]]:
    if processes == 1:
        return (inspect_page(docs, path, file, settings) for path, file in pages)
    size = max(1, min(200, len(pages) // processes))
    parts = [(docs, pages[start : start + size], settings) for start in range(0, len(pages), size)]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:  # mkdocs has threads, which a fork does not survive
        return [result for results in pool.map(_inspect_part, parts) for result in results]


def _inspect_part(part: tuple[Path, list[tuple[str, Path]], Settings]) -> list[tuple[list[Problem], Facts | None]]:
    docs, pages, settings = part
    return [inspect_page(docs, path, file, settings) for path, file in pages]


def _in_files(problems: list[Problem], kept: dict[str, Facts]) -> list[Problem]:
    """The findings with the lines of files; in a notebook they are not those of the lesson that it holds."""
    origins = {path: facts.origin for path, facts in kept.items() if facts.origin}
    return [replace(problem, line=origins[problem.path][problem.line - 1]) if problem.line and problem.path in origins else problem for problem in problems]


def _without_optouts(problems: list[Problem], kept: dict[str, Facts]) -> list[Problem]:
    """The findings that pages do not opt out of, and those about opt-outs themselves."""
    used: set[tuple[str, str]] = set()
    left = []
    for problem in problems:
        facts = kept.get(problem.path)
        if facts and problem.code in facts.optouts and problem.code not in ("check-ignore", "front-matter"):
            used.add((problem.path, problem.code))
            if facts.optouts[problem.code][1]:
                continue
        left.append(problem)
    for path, facts in kept.items():
        for code, (line, _) in facts.optouts.items():
            if code not in CODES:
                left.append(Problem(path, line, "check-ignore", f"không có mã lỗi {code}", "sửa tên mã, hoặc xóa dòng này"))
            elif (path, code) not in used:
                left.append(Problem(path, line, "check-ignore", f"trang không có lỗi {code} nào để bỏ qua", "xóa dòng này"))
    return left
