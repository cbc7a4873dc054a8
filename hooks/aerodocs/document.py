"""One lesson file, parsed: front matter, blocks, generated regions, title."""

import json
import re
import unicodedata
from dataclasses import dataclass, field

import yaml

from aerodocs import inline, regions
from aerodocs.blocks import Block, front_matter, scan
from aerodocs.problems import Problem
from aerodocs.regions import Region
from aerodocs.textfile import BOM, split_lines


@dataclass(slots=True)
class Document:
    """A Markdown page. `path` is relative to the docs folder, `lines` hold the text without a byte order mark, `first` is the number of
    lines that the front matter takes; `problems` make the page doubtful: nothing is written while there are any. `origin` holds the line in
    the file of each line of a notebook, and nothing for other pages; `outputs` the lines of its cells that keep outputs of their own."""

    path: str
    lines: list[str]
    bom: bool = False
    first: int = 0
    meta: dict = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    origin: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()

    @property
    def heading(self) -> str:
        """Source of the first H1 outside fences, comments, containers and generated regions; empty if there is none."""
        for block in self.blocks:
            if block.kind == "heading" and block.level == 1 and not block.depth and not self.generated(block.start):
                return block.text[: inline.LONGEST]
        return ""

    @property
    def empty(self) -> bool:
        """Whether the author has written nothing: blanks and comments alone."""
        lines = self.lines[:]
        for region in self.regions:
            lines[region.start : region.end + 1] = [""] * (region.end + 1 - region.start)
        for block in self.blocks:
            if block.kind == "comment":
                text = "".join(lines[block.start : block.end])
                lines[block.start : block.end] = [_COMMENT.sub("", text), *[""] * (block.end - block.start - 1)]
        return not any(line.strip() for line in lines[self.first :])

    def text(self, key: str) -> str:
        """A line of the front matter; empty if there is none, or a list or table in its place."""
        value = self.meta.get(key)
        return "" if value is None or isinstance(value, (dict, list, set, tuple)) else inline.clean(str(value))

    def generated(self, number: int) -> bool:
        """Whether the line `number` (from 0) belongs to generated navigation; the list of terms is text of its page."""
        return any(region.start <= number <= region.end and region.kind != "Glossary" for region in self.regions)


def page(path: str, text: str) -> Document:
    """The document of a page, Markdown or notebook by the name of its file."""
    return (notebook if path.endswith(".ipynb") else parse)(path, text)


def parse(path: str, text: str) -> Document:
    """The document in `text`; what is wrong with it is in its `problems`, never raised."""
    bom = text.startswith(BOM)
    document = Document(path, split_lines(text.removeprefix(BOM)), bom)
    try:
        document.first, document.meta = front_matter(document.lines)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        document.problems.append(
            Problem(path, mark.line + 2 if mark else 1, "front-matter", f"phần đầu trang (YAML) không đọc được: {reason}", "sửa lại cú pháp YAML")
        )
        return document
    document.blocks = scan(document.lines, document.first, regions.sealed)
    document.regions, document.problems = regions.find(path, document.lines, document.blocks)
    if document.regions and not document.first and document.lines[0].rstrip() == "---":
        start = min(region.start for region in document.regions)
        if not any(line.rstrip() in ("---", "...") for line in document.lines[1:start]):  # a rule of the region would close it
            what = f"dòng --- này mở phần đầu trang (YAML) nhưng không được đóng trước vùng ở dòng {start + 1}"
            document.problems.append(Problem(path, 1, "front-matter", what, "thêm dòng --- đóng, hoặc một dòng trống trước dòng này"))
    for block in document.blocks:
        if not block.closed:
            what, end = _UNCLOSED[block.kind]
            document.problems.append(
                Problem(path, block.start + 1, f"unclosed-{block.kind}", f"{what} mở ở đây không được đóng, nên nuốt hết phần sau của trang", f"thêm {end}")
            )
    return document


def notebook(path: str, text: str) -> Document:
    """The document of a Jupyter notebook: its cells as the Markdown of a lesson, those of code as `python` fences.

    They are cells of the lesson, named by their ids, if the notebook's metadata hold a table `aero`; its keys are those of the front matter. The
    title is the metadata's `title` or the first H1; there are no regions.
    """
    try:
        data = json.loads(text)
        cells = [(cell["cell_type"], str(cell.get("id", "")), "".join(cell["source"]), bool(cell.get("outputs"))) for cell in data["cells"]]
        meta = dict(data.get("metadata", {}))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        problem = Problem(path, getattr(error, "lineno", 1), "notebook", f"không đọc được notebook: {error}", "mở và lưu lại bằng Jupyter")
        return Document(path, [], problems=[problem])
    ours = isinstance(meta.get("aero"), dict)
    starts = [number for number, line in enumerate(text.splitlines(), 1) if line.lstrip().startswith('"source":')]
    lines: list[str] = []
    origin: list[int] = []
    outputs: list[int] = []
    for number, (kind, identifier, source, has_outputs) in enumerate(cells):
        own = split_lines(source)
        if kind == "code" and source.strip():
            ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", source)), default=0))
            own = [f"{ticks}python {{.cell #{identifier}}}\n" if ours else f"{ticks}python\n", *own[:-1], own[-1].rstrip("\n") + "\n", f"{ticks}\n"]
        elif kind == "markdown" and own:
            own[-1] = own[-1].rstrip("\n") + "\n"
        else:
            continue
        start = starts[number] if len(starts) == len(cells) else 1
        step = 1 if len(starts) == len(cells) else 0
        outputs += [len(lines) + 1] if has_outputs else []
        origin += [start + step * (at + (kind == "markdown")) for at in range(len(own))] + [start]
        lines += [*own, "\n"]
    return Document(path, lines, meta=meta | (meta["aero"] if ours else {}), blocks=scan(lines), origin=tuple(origin), outputs=tuple(outputs))


def readable(name: str) -> str:
    """A file or folder name as words: `aero_llm_01_intro` becomes "aero llm 01 intro"; a name without any stays as it is."""
    return " ".join(unicodedata.normalize("NFC", name).replace("_", " ").replace("-", " ").split()) or name


def title_source(document: Document, fallback: str) -> str:
    """The title as inline Markdown: front matter `title`, else the first H1, else `fallback` (plain text).

    A candidate that is blank or holds U+FFFD, the trace of a broken encoding, is passed over.
    """
    for source in (inline.escape(document.text("title")), inline.heading(document.heading), inline.escape(fallback)):
        plain = inline.to_plain(source)
        if plain and "\ufffd" not in plain:
            return source
    return inline.escape(fallback.replace("\ufffd", "")) or "?"


_COMMENT = re.compile("<!--.*?-->", re.DOTALL)
_UNCLOSED = {
    "fence": ("khối mã", "dòng đóng ``` (cùng ký hiệu, ít nhất cùng độ dài)"),
    "comment": ("chú thích HTML", "-->"),
    "html": ("khối HTML", "thẻ đóng"),
}
