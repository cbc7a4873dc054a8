"""Cells and inline values in Python-Markdown, and the notebook at the end of a lesson."""

import base64
import html
import logging
import posixpath
import xml.etree.ElementTree as etree
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin

from markdown import Markdown
from markdown.inlinepatterns import InlineProcessor
from markdown.postprocessors import Postprocessor
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString

from aerodocs import cells, export, outputs, results
from aerodocs.ansi import CONTROL
from aerodocs.cells import VALUE
from aerodocs.page import LessonError, address_from, file_of, path_of, place, site_address
from aerodocs.results import Results, ValueProblem

if TYPE_CHECKING:
    from mkdocs.structure.files import File  # Zensical comes without

log = logging.getLogger("mkdocs.aerodocs")  # below `mkdocs`, whose warnings count for --strict


@dataclass(slots=True)
class Site:
    """What a builder tells that copies files: it puts `files` (path in the site -> file or content) into the site after all pages are rendered.

    Without one, `files` is None: figures are embedded in the page, and there are no notebooks. `branch` is where the repository keeps the site;
    `source` is the address below which it shows its files, empty if it has none.
    """

    files: dict[str, Path | bytes] | None = None
    address: str = ""
    repo_url: str = ""
    branch: str = "gh-pages"
    source: str = ""

    def figure(self, root: Path, file: Path) -> str:
        """Takes a figure, a file of the course in `root`, into the site; returns its path there."""
        target = file.relative_to(root).as_posix()
        self.files[target] = file
        return target

    def notebook(self, path: str, data: bytes, address: Callable[[str], str]) -> str:
        """Takes the notebook of the page `path` into the site; returns the line that links to it. `address` leads from the page to a path in the site."""
        target = f"notebooks/{path.rpartition('.')[0]}.ipynb"
        self.files[target] = data
        links = f'<a href="{html.escape(address(target))}" download>Tải notebook</a>'
        _, github, repository = self.repo_url.rstrip("/").removesuffix(".git").partition("github.com/")
        if github:
            colab = f"https://colab.research.google.com/github/{repository}/blob/{self.branch}/{quote(target)}"
            links += f' · <a href="{html.escape(colab)}">Mở trong Colab</a>'
        return f"<p>{links}</p>"

    def link(self, file: "File", target: str) -> str:
        """A link of the page of `file` from where its notebook is: to the site, if its address is known."""
        path, mark, anchor = target.partition("#")
        if not self.address:
            return target
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(file.src_uri), path))
        return urljoin(self.address.rstrip("/") + "/", site_address(inside, file.use_directory_urls)) + mark + anchor


class Lessons:
    """What the parts of the extension share about the page in work."""

    def __init__(self, md: Markdown, root: Path, site: Site, error: type[LessonError]):
        self.md = md
        self.root = root
        self.site = site
        self.error = error
        self.results: Results = results.read(root, "", "")
        self.tree_done = False
        md.preprocessors.register(_Reader(self), "aero_cells", 100)  # sees the text as its author wrote it
        md.inlinePatterns.register(_Values(self), "aero_values", 191)  # before code spans
        md.treeprocessors.register(_NotebookLink(self), "aero_notebook", 7)  # after regions have been gathered
        md.treeprocessors.register(_TreeDone(self), "aero_tree_done", -100)  # last
        md.postprocessors.register(_AllShown(self), "aero_all_shown", 5)  # after raw HTML has come back

    def cell_html(self, identifier: str, source: str, highlight: Callable[[str], str]) -> str | None:
        """HTML of the cell `identifier`; None if the parser of lessons sees no such cell on this page: then it is never run."""
        cell = next((cell for cell in self.results.lesson.cells if cell.id == identifier), None)
        if cell is None or not identifier:
            return None
        code = highlight(cells.split_options(source)[1]) if cell.options.show != "output" else ""
        below = outputs.cell_html(cell, self.results, self.figure_address)
        return f'<div class="aero-cell" id="cell-{identifier}">{code}{below}</div>'

    def figure_address(self, file: Path) -> str:
        if self.site.files is None:
            kind = "svg+xml" if file.suffix == ".svg" else "png"
            return f"data:image/{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
        return address_from(file_of(self.md), self.site.figure(self.root, file))


class _Reader(Preprocessor):
    """Reads the lesson and its recordings before anything is rendered, and tells the author what is out of date."""

    def __init__(self, lessons: Lessons):
        super().__init__(lessons.md)
        self.lessons = lessons

    def run(self, lines: list[str]) -> list[str]:
        text = "\n".join(lines)
        self.lessons.tree_done = False
        self.lessons.results = results.read(self.lessons.root, path_of(self.md), text if ".cell" in text or "{cell:" in text else "")
        for note in self.lessons.results.notes:
            log.warning("%s", note)
        return lines


class _Values(InlineProcessor):
    """`{cell:name.variable:format}` in backticks. Every code span is looked at, so that one inside another is left alone."""

    def __init__(self, lessons: Lessons):
        super().__init__(rf"(?<!\\){cells.CODE_SPAN.pattern}", lessons.md)
        self.lessons = lessons

    def handleMatch(self, match, data):
        found = VALUE.fullmatch(match["inside"])
        if not found:
            return None, match.start(), match.end()
        try:
            text = self.lessons.results.value(found["cell"], found["name"], found["format"] or "")
        except ValueProblem as error:
            raise self.lessons.error(f"{place(self.md, match['inside'])}: {error}") from None
        if text is not None and not self.lessons.results.is_stale(found["cell"]):
            return AtomicString(CONTROL.sub("", text)), match.start(), match.end()
        element = etree.Element("span", {"class": "aero-value", "title": "chưa ghi lại" if text is None else "đã cũ: mã đã đổi sau khi chạy"})
        element.text = AtomicString("…" if text is None else CONTROL.sub("", text))
        return element, match.start(), match.end()


class _NotebookLink(Treeprocessor):
    """Puts the notebook of a lesson with cells into the site, and links to it at the end of the author's text."""

    def __init__(self, lessons: Lessons):
        super().__init__(lessons.md)
        self.lessons = lessons

    def run(self, root: etree.Element) -> None:
        site, found = self.lessons.site, self.lessons.results
        path = found.lesson.path
        if site.files is None or not found.lesson.cells or not path:
            return
        file = file_of(self.md)
        line = site.notebook(path, export.notebook(found, site.repo_url, partial(site.link, file)), partial(address_from, file))
        element = etree.Element("div", {"class": "aero-notebook", "data-search-exclude": ""})
        element.text = self.md.htmlStash.store(line)
        children = list(root)
        footer = next((child for child in children if child.get("class") == "aero-footer"), None)
        root.insert(children.index(footer) if footer is not None else len(children), element)


class _TreeDone(Treeprocessor):
    """Notes that what postprocessors see from now on is the page; before, the table of contents has sent its parts through them."""

    def __init__(self, lessons: Lessons):
        super().__init__(lessons.md)
        self.lessons = lessons

    def run(self, root: etree.Element) -> None:
        self.lessons.tree_done = True


class _AllShown(Postprocessor):
    """The parser of lessons and superfences must see the same cells: one that runs but is not shown stops the build."""

    def __init__(self, lessons: Lessons):
        super().__init__(lessons.md)
        self.lessons = lessons

    def run(self, text: str) -> str:
        for cell in self.lessons.results.lesson.cells if self.lessons.tree_done else ():
            if cell.id and f'<div class="aero-cell" id="cell-{cell.id}">' not in text:
                where = place(self.md, f"#{cell.id}")
                raise self.lessons.error(f"{where}: ô #{cell.id} không hiện trên trang; trong danh sách phải thụt khối mã vào 4 dấu cách")
        return text
