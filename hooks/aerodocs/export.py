"""A lesson as a Jupyter notebook (nbformat 4.5): its text, its cells as code with what is recorded, the same bytes for the same lesson."""

import base64
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from aerodocs import snippets
from aerodocs.blocks import Block
from aerodocs.cells import CODE_SPAN, VALUE, Fence
from aerodocs.recordings import FIGURE
from aerodocs.results import Results

_ADMONITION = re.compile(r'( *)(?:!!!|\?\?\?\+?)[ \t]+([\w-]*)[^"]*(?:"(.*)")?\s*$')
_TAB = re.compile(r'( *)===[+!]*[ \t]+()"(.*)"\s*$')
_LINK = re.compile(r"(\]\()(?![a-z][a-z0-9+.-]*:|#|/)([^)\s]+)", re.IGNORECASE)
_ATTRIBUTES = re.compile(r"[ \t]*\{:?[ \t]*[#.][^{}$\\]*\}[ \t]*$")
_INFO = re.compile(r"([`~]{3,} *[\w#.+-]+)[ \t]*\{[^{}]*\}[ \t]*$")


def notebook(results: Results, repo_url: str = "", link: Callable[[str], str] = str) -> bytes:
    """The notebook of a lesson. `link` turns the target of a relative link of the lesson into what the notebook shall have.

    Generated regions are left out, snippets are shown with their source, boxes become quotes, inline values their text. Outputs of stale cells are
    left out. Raises SnippetError and ValueProblem as the page does.
    """
    cells = [_install(results.root, repo_url)]
    text: list[str] = []
    number = 0
    for part in [*_Walker(results, link).parts(results.document.first, len(results.document.lines), 0), None]:
        if isinstance(part, str):
            text.append(part)
            continue
        if source := "\n".join(text).strip("\n"):
            number += 1
            cells.append({"cell_type": "markdown", "id": f"text_{number}", "metadata": {}, "source": _lines(source)})
        text = []
        if part:
            cells.append(_code(part, results))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return _bytes({"cells": cells, "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5})


def filled(results: Results, text: str, repo_url: str = "", link: Callable[[str], str] = str) -> bytes:
    """The notebook that is a page, in `text`, with what is recorded of its cells, and links as in `notebook`."""
    data = json.loads(text)
    cells = {cell.id: cell for cell in results.lesson.cells}
    for part in data["cells"]:
        if cell := cells.get(part.get("id")):
            part |= _run(cell, results)
        elif part["cell_type"] == "markdown":
            part["source"] = _lines(_LINK.sub(lambda match: match[1] + link(match[2]), "".join(part["source"])))
    return _bytes(data | {"cells": [_install(results.root, repo_url), *data["cells"]]})


class _Walker:
    """Goes through the lines of a lesson; what comes out are lines of plain Markdown, and cells."""

    def __init__(self, results: Results, link: Callable[[str], str]):
        self.results = results
        self.link = link
        self.lines = [line.rstrip("\r\n").expandtabs(4) for line in results.document.lines]
        self.raw = {block.start: block for block in results.document.blocks if block.kind in ("fence", "comment", "html")}
        self.regions = {region.start: region.end for region in results.document.regions}
        self.fences = {fence.line - 1: fence for fence in results.lesson.fences}

    def parts(self, start: int, end: int, indent: int) -> list[str | Fence]:
        """Lines from `start` up to `end` without the first `indent` columns."""
        out: list[str | Fence] = []
        hang = 0  # the text after a cell in a list stands below that cell, at the margin
        at = start
        while at < end:
            line = self.lines[at]
            if line.strip() and _width(line) < hang:
                hang = 0
            margin = max(indent, hang)
            box = _ADMONITION.match(line) or _TAB.match(line)
            if at in self.regions:
                at = self.regions[at] + 1
            elif block := self.raw.get(at):
                fence = self.fences.get(at)
                if fence and fence.role == "cell":
                    out.append(fence)
                    hang = block.indent
                else:
                    out += self.fenced(block, fence, margin)
                at = block.end
            elif box and len(box[1]) - margin in range(4):
                last = self.body(at + 1, end, len(box[1]) + 4)
                out += _box(self.text(box[3]) if box[3] is not None else box[2].capitalize(), self.parts(at + 1, last, len(box[1]) + 4))
                at = last
            else:
                out.append(self.text(line[min(margin, _width(line)) :]))
                at += 1
        return out

    def body(self, at: int, end: int, indent: int) -> int:
        """Where the lines from `at` on that are indented by `indent` end, without the blank ones behind."""
        last = at
        while at < end and (not self.lines[at].strip() or _width(self.lines[at]) >= indent):
            at += 1
            if self.lines[at - 1].strip():
                last = at
        return last

    def fenced(self, block: Block, fence: Fence | None, margin: int) -> list[str]:
        """A block that stays as it is; of a fence only the language, of a snippet the source that it names."""
        lines = [line[min(margin, _width(line)) :] for line in self.lines[block.start : block.end]]
        if fence:
            lines[0] = _INFO.sub(r"\1", lines[0])
        if fence and fence.role == "snippet":
            *options, reference = fence.code.splitlines() or [""]
            snippet = snippets.resolve(reference, self.results.root / "code", docstring="#| docstring: true" in options)
            prefix = lines[0][: len(lines[0]) - len(lines[0].lstrip(" >"))]
            source = [f"# code/{snippet.path} · {snippet.symbol}", *snippet.source.splitlines()]
            lines = [lines[0], *(f"{prefix}{line}".rstrip() for line in source), lines[-1]]
        return lines

    def text(self, line: str) -> str:
        """A line of prose: inline values as their text, links that lead where they should from elsewhere, headings without attributes."""
        if line.startswith("#"):
            line = _ATTRIBUTES.sub("", line)
        out, at = [], 0
        for span in CODE_SPAN.finditer(line):
            out.append(self.links(line[at : span.start()]))
            match = VALUE.fullmatch(span["inside"])
            out.append((self.results.value(match["cell"], match["name"], match["format"] or "") or "…") if match else span.group())
            at = span.end()
        return "".join([*out, self.links(line[at:])])

    def links(self, text: str) -> str:
        return _LINK.sub(lambda match: match[1] + self.link(match[2]), text)


def _box(title: str, parts: list[str | Fence]) -> list[str | Fence]:
    """A box as a quote, or as plain text below its title if there is a cell in it."""
    while parts and parts[0] == "":
        del parts[0]
    if any(isinstance(part, Fence) for part in parts):
        return [f"**{title}**", "", *parts]
    return [f"> **{title}**", ">", *(f"> {part}".rstrip() for part in parts)]


def _width(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _install(root: Path, repo_url: str) -> dict:
    """The first cell: gets the package from its repository, or says what to install."""
    file = root / "pyproject.toml"
    project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {}) if file.is_file() else {}
    name = project.get("name", "")
    extra = "[run]" if "run" in project.get("optional-dependencies", {}) else ""
    if not name or not repo_url:
        what = f'Để chạy notebook này, hãy cài gói trong thư mục của khóa học: `pip install -e ".{extra}"`' if name else "Notebook này cần các gói mà bài học dùng."
        return {"cell_type": "markdown", "id": "cai_dat", "metadata": {}, "source": [what]}
    source = (
        "# Cài gói của khóa học, nếu chưa có\n"
        "from importlib import metadata\n\n"
        f'try:\n    metadata.distribution("{name}")\nexcept metadata.PackageNotFoundError:\n'
        f'    %pip install -q "{name}{extra} @ git+{repo_url.rstrip("/")}"'
    )
    return {"cell_type": "code", "id": "cai_dat", "execution_count": None, "metadata": {}, "outputs": [], "source": _lines(source)}


def _code(cell: Fence, results: Results) -> dict:
    options = [line.strip().lstrip("> ") for line in results.document.lines[cell.line : cell.first - 1]]
    source = "\n".join([*options, cell.code.rstrip("\n")])
    return {"cell_type": "code", "id": cell.id[:64], "source": _lines(source), **_run(cell, results)}


def _run(cell: Fence, results: Results) -> dict:
    """What a run has left in a cell of a notebook."""
    record = results.record(cell.id, "cpu") or results.record(cell.id, "cuda")
    outputs = [] if record is None or results.is_stale(cell.id) else [_output(output, results.folder) for output in record.outputs]
    return {"execution_count": None, "metadata": {"tags": ["raises-exception"]} if cell.options.raises else {}, "outputs": outputs}


def _output(output: dict, folder: Path) -> dict:
    """A recorded output as a notebook holds it: the figure for light pages in the place of the two files."""
    output = dict(output)
    if output["output_type"] == "execute_result":
        output["execution_count"] = None
    if figure := output.get("data", {}).get(FIGURE):
        file = folder / figure["light"]
        data = {kind: value for kind, value in output["data"].items() if kind != FIGURE}
        if file.suffix == ".svg":
            data["image/svg+xml"] = _lines(file.read_text(encoding="utf-8"))
        else:
            data["image/png"] = base64.b64encode(file.read_bytes()).decode()
        output["data"] = data
    return output


def _bytes(data: dict) -> bytes:
    return (json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode("utf-8", "replace")


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)
