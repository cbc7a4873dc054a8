"""The Aero-Indexer: reads a whole course, plans the regions of every page, and writes what differs."""

import difflib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aerodocs import files, glossary, regions, textfile
from aerodocs.course import Course, Order, Page, page_of
from aerodocs.document import Document, parse
from aerodocs.glossary import GlossaryError, Term
from aerodocs.inline import to_link_text
from aerodocs.navigation import Navigation
from aerodocs.problems import Problem
from aerodocs.regions import Kind, Region
from aerodocs.settings import Settings
from aerodocs.textfile import BOM, Change, Changed, NotText


@dataclass(slots=True)
class Source:
    """What is kept of a page file after reading: its bytes, and where its regions stand in them (first and last byte, by kind).

    `target` is the file that may be written; None where the page is a link to another page, or out of the docs folder. A page that is not
    `sound` stays as it is.
    """

    page: Page
    data: bytes
    target: Path | None
    spans: dict[Kind, tuple[int, int]]
    sound: bool = True


@dataclass(slots=True)
class Plan:
    """What there is to do for a course.

    `texts` holds the new bytes of every page that differs from its file, `changes` those of them that can be written, `notebooks` the regions of
    pages into which nothing is written, `problems` everything that was noticed, `leftovers` the temporary files of killed runs.
    """

    course: Course
    texts: dict[str, bytes] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    notebooks: dict[str, dict[Kind, str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)

    @property
    def doubtful(self) -> set[str]:
        """Pages with an error: nothing is written to them."""
        return {problem.path for problem in self.problems if problem.severity == "error"}

    def diff(self) -> Iterator[str]:
        """The changes of sound pages as unified diffs, one string a file."""
        doubtful = self.doubtful
        for path, change in self.changes.items():
            if path not in doubtful:
                yield unified_diff(path, (change.old or b"").decode(), change.new.decode(), created=change.old is None)


def plan(docs: Path, settings: Settings, order: Order = "natural", force: bool = False) -> Plan:
    """Read every page below `docs` once and plan its regions; nothing is written.

    `force` accepts regions that were edited by hand, which are errors otherwise.
    """
    docs = docs.resolve()
    tree = files.walk(docs, settings.exclude)
    problems = tree.problems
    taken = set(tree.pages.values())
    sources = {path: _source(docs, file, path, problems, taken) for path, file in tree.pages.items()}
    result = Plan(Course((source.page for source in sources.values()), order), problems=problems, leftovers=tree.leftovers)
    navigation = Navigation(result.course, settings, _terms(docs, settings.glossary, result))
    for page in result.course.pages.values():
        if page.created:
            data = _created(page, navigation)
            result.texts[page.path] = data
            result.changes[page.path] = Change(docs / page.path, None, data)
        elif page.path.endswith(".ipynb"):
            result.notebooks[page.path] = navigation.bodies(page)
        elif (source := sources[page.path]).sound:
            _plan_page(result, source, navigation, force)
    problems.sort()
    return result


def write(result: Plan) -> tuple[int, list[Problem]]:
    """Write the changes of a plan, page by page; returns how many were written and what could not be.

    A full disk stops it. Temporary files that a killed run has left are removed first.
    """
    textfile.remove_leftovers(result.leftovers)
    doubtful, problems, written = result.doubtful, [], 0
    for path, change in result.changes.items():
        if path in doubtful:
            continue
        try:
            change.write()
            written += 1
        except Changed:
            problems.append(Problem(path, 0, "changed", "trang vừa được sửa trong lúc lệnh chạy nên không bị ghi đè", "chạy lại lệnh"))
        except OSError as error:
            what = f"không ghi được ({error.strerror or error}), trang giữ nguyên nội dung cũ"
            problems.append(Problem(path, 0, "write", what, "sửa nguyên nhân rồi chạy lại lệnh"))
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                break
    return written, problems


def unified_diff(path: str, old: str, new: str, created: bool = False) -> str:
    """The change of one page as `diff -u` prints it; line ends other than LF are shown as escapes, so that no difference is invisible."""
    before, after = ([_visible(line) for line in textfile.split_lines(text)] for text in (old, new))
    lines = difflib.unified_diff(before, after, "/dev/null" if created else f"a/{path}", f"b/{path}", lineterm="")
    return "\n".join(lines) + "\n"


def _visible(line: str) -> str:
    text = line.rstrip("\r\n")
    end = line[len(text) :]
    return text + end.removesuffix("\n").replace("\r", "\\r") if end else f"{text}\n\\ No newline at end of file"


def _source(docs: Path, file: Path, path: str, problems: list[Problem], taken: set[Path]) -> Source:
    """Read a page; `taken` are the files that are written already, to which the target of a link is added."""
    target: Path | None = file
    if file.is_symlink():
        real = Path(os.path.realpath(file))
        target = real if real.is_relative_to(docs) and real not in taken else None
        taken.add(real)
    data, document, found = files.read(file, path, docs)
    problems += found
    parsed = document or Document(path, ["?"])
    page = page_of(parsed)
    written = page.listed or page.draft or bool(parsed.regions)  # an empty page stays as it is
    spans = {region.kind: _span(parsed, region) for region in parsed.regions}
    sound = document is not None and written and not parsed.problems
    return Source(page, data, target, spans, sound)


def _terms(docs: Path, path: str, result: Plan) -> dict[str, list[Term]]:
    """The terms of the course; what is wrong with them goes into the plan's problems."""
    if not path or not (docs / path).is_file():
        return {}
    try:
        terms = glossary.parse(textfile.decode((docs / path).read_bytes()))
    except GlossaryError as error:
        result.problems.append(Problem(path, error.line, "glossary", error.message, error.cure))
        return {}
    except NotText as error:
        result.problems.append(Problem(path, error.line, "glossary", f"byte 0x{error.byte:02x} không phải UTF-8", "lưu lại với mã hóa UTF-8"))
        return {}
    for term in (term for section in terms.values() for term in section):
        if term.lesson.partition("#")[0] not in result.course.pages:
            result.problems.append(Problem(path, term.line, "glossary", f"không có trang {term.lesson} cho thuật ngữ {term.en}", "sửa dòng lesson"))
    return terms


def _span(document: Document, region: Region) -> tuple[int, int]:
    """First and last byte of a region, without the line end of its last marker."""
    start = len("".join(document.lines[: region.start]).encode()) + len(BOM.encode()) * document.bom
    return start, start + len("".join(document.lines[region.start : region.end + 1]).rstrip().encode())


def _created(page: Page, navigation: Navigation) -> bytes:
    bodies = navigation.bodies(page)
    header, listing, footer = (regions.render(kind, bodies[kind]) for kind in ("Navigation", "Index", "Footer"))
    return f"{header}\n# {to_link_text(page.title)}\n\n{listing}\n\n{footer}\n".encode()


def _plan_page(result: Plan, source: Source, navigation: Navigation, force: bool) -> None:
    page, data = source.page, source.data
    bodies = navigation.bodies(page)
    newline = textfile.newline_of(data[:10_000].decode(errors="replace"))
    if source.spans.keys() == bodies.keys() and all(
        data[slice(*source.spans[kind])] == regions.render(kind, body, newline).encode() for kind, body in bodies.items()
    ):
        return
    document = parse(page.path, data.decode())
    doubts = [] if force else _hand_edits(document, bodies)
    for region in document.regions:
        if region.kind not in bodies:
            where = {"Index": "index.md hoặc README.md", "Glossary": "trang thuật ngữ mà mkdocs.yml nêu"}[region.kind]
            what = f"vùng Aero-{region.kind} chỉ có ở {where}"
            doubts.append(Problem(page.path, region.start + 1, "marker", what, "xóa vùng này (kể cả hai dòng dấu)"))
    text = regions.splice(document.lines, document.first, document.regions, bodies)
    new = (BOM * document.bom + text).encode()
    if new != data:
        result.texts[page.path] = new
        if source.target is not None:
            result.changes[page.path] = Change(source.target, data, new)
            if not source.target.stat().st_mode & 0o222:
                doubts.append(Problem(page.path, 0, "read-only", "tập tin chỉ đọc nên không ghi được", "cho phép ghi, ví dụ chmod u+w"))
    result.problems += doubts


def _hand_edits(document: Document, bodies: dict[Kind, str]) -> list[Problem]:
    """An error for each region that was changed since it was written and does not say what it shall say."""
    problems = []
    for region in document.regions:
        there = regions.body_of(region, document.lines).replace("\r\n", "\n").replace("\r", "\n")
        wanted = bodies.get(region.kind, "")
        if there != wanted and regions.edited(region, document.lines):
            what = f"vùng {region.kind} đã bị sửa bằng tay; các dòng có dấu trừ (-) dưới đây sẽ mất"
            cure = "chuyển phần cần giữ ra ngoài vùng, hoặc chạy với --force để ghi đè"
            diff = unified_diff(document.path, there, wanted)
            problems.append(Problem(document.path, region.start + 1, "region-edited", what, cure, detail=diff))
    return problems
