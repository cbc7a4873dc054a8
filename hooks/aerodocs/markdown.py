"""The Python-Markdown extension that turns lessons into HTML: navigation regions, snippets, cells and formulas.

It serves every builder that runs Python-Markdown extensions; what only mkdocs can do is in the hooks.
"""

import html
import re
import xml.etree.ElementTree as etree
from pathlib import Path

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor
from math_core import LatexError, LatexToMathML
from pymdownx.superfences import highlight_validator

from aerodocs import regions, snippets
from aerodocs.blocks import scan
from aerodocs.cells import LANGUAGES
from aerodocs.lessons import Lessons, Site
from aerodocs.page import LessonError, drop_emoji_icon, place
from aerodocs.regions import Kind
from aerodocs.tooltips import TooltipTreeprocessor

# A paragraph that stands for a marker until the tree is built; Python-Markdown takes these control characters out of every text before.
_TOKEN = "\x02aero-{}-{}\x03"
_NAMED = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)[A-Za-z][A-Za-z0-9]*;")  # entities of HTML that XML does not know
_ROWS = 10  # a table of more lessons is folded
_ELEMENTS: dict[Kind, str] = {"Navigation": "nav", "Index": "section", "Footer": "footer"}
_CLASSES: dict[Kind, str] = {"Navigation": "aero-header", "Index": "aero-index", "Footer": "aero-footer"}


class AeroExtension(Extension):
    """`aerodocs.markdown`. Option `root`: the folder of the course, the one that holds `code/` and `recordings/`; `error`: the LessonError to
    raise; `site`: what a builder that copies files tells; `glossary`: the file of terms, relative to `root` (none: no tooltips)."""

    def __init__(self, **kwargs: object):
        self.config = {
            "root": [".", "folder of the course"],
            "error": [LessonError, "class of errors"],
            "site": [Site(), "where files are copied to"],
            "glossary": ["", "file of terms"],
        }
        super().__init__(**kwargs)

    def extendMarkdown(self, md: Markdown) -> None:
        md.preprocessors.register(_MarkerPreprocessor(md), "aero_markers", 28)  # after blanks are normalised, before fences are stashed
        md.treeprocessors.register(_RegionTreeprocessor(md), "aero_regions", 8)  # after inline markup, before the table of contents
        md.treeprocessors.register(_FormulaTreeprocessor(md, self.getConfig("error")), "aero_formulas", 9)
        if "fenced_code_block" not in md.preprocessors:
            raise ValueError("aerodocs.markdown needs pymdownx.superfences before it in markdown_extensions")
        fences = md.preprocessors["fenced_code_block"].extension
        root = Path(self.getConfig("root")).resolve()
        if glossary := self.getConfig("glossary"):
            md.treeprocessors.register(TooltipTreeprocessor(md, root / glossary, self.getConfig("error")), "aero_glossary", 6)  # after all that makes elements
        lessons = Lessons(md, root, self.getConfig("site"), self.getConfig("error"))
        fence = _PythonFence(root / "code", self.getConfig("error"), lessons)
        for language in LANGUAGES:
            fences.extend_super_fences(language, fence, _validate, None)


def makeExtension(**kwargs: object) -> AeroExtension:
    """Entry point of Python-Markdown."""
    return AeroExtension(**kwargs)


def _validate(language: str, inputs: dict, options: dict, attrs: dict, md: Markdown) -> bool:
    md.preprocessors["fenced_code_block"].get_hl_settings()
    return highlight_validator(language, inputs, options, attrs, md)


class _PythonFence:
    """Formatter of ```` ```python ```` fences: `.snippet` shows a symbol of the package, `.cell` its code without option lines."""

    def __init__(self, code: Path, error: type[LessonError], lessons: Lessons):
        self.code = code
        self.error = error
        self.lessons = lessons

    def __call__(self, src: str, language: str, options: dict, md: Markdown, classes: list[str], id_value: str, attrs: dict) -> str:
        highlight = md.preprocessors["fenced_code_block"].highlight
        if "snippet" in classes:
            lines = src.strip().splitlines()
            reference = lines[-1] if lines else ""
            try:
                snippet = snippets.resolve(reference, self.code, docstring="#| docstring: true" in lines[:-1])
            except snippets.SnippetError as error:
                raise self.error(f"{place(md, reference)}: {error}") from None
            title = f"{self.code.name}/{snippet.path} · {snippet.symbol}"
            shown = highlight(snippet.source, language, {**options, "title": title}, md, classes=classes, id_value=id_value, attrs=attrs)
            source = self.lessons.site.source
            link = f'<a href="{html.escape(source)}{self.code.name}/{snippet.path}#L{snippet.line}">{title}</a>'
            return shown.replace(f">{title}</span>", f">{link}</span>", 1) if source else shown
        if "cell" in classes:
            shown = self.lessons.cell_html(
                id_value, src, lambda code: highlight(code, language, options, md, classes=classes, id_value="", attrs=attrs)
            )
            if shown:
                return shown
        return highlight(src, language, options, md, classes=classes, id_value=id_value, attrs=attrs)


class _MarkerPreprocessor(Preprocessor):
    """Puts a paragraph of its own in the place of each marker line that the indexer would recognise."""

    def run(self, lines: list[str]) -> list[str]:
        drop_emoji_icon(self.md)
        text = [f"{line}\n" for line in lines]
        found, problems = regions.find("", text, scan(text, sealed=regions.sealed))
        if problems:  # the indexer reports them; the page shows the text as it is
            return lines
        lines = list(lines)
        for region in found:
            if region.kind not in _CLASSES:
                continue  # part of the text
            lines[region.start] = f"\n{_TOKEN.format(region.kind, 'start')}\n"
            lines[region.end] = f"\n{_TOKEN.format(region.kind, 'end')}\n"
        return "\n".join(lines).split("\n")


class _RegionTreeprocessor(Treeprocessor):
    """Gathers each region in one element that search leaves out, and moves the header behind the H1 that follows it.

    mkdocs takes an H1 for the title of the page only if it comes first.
    """

    def run(self, root: etree.Element) -> None:
        for kind, name in _CLASSES.items():
            children = list(root)
            texts = [(child.text or "") if child.tag == "p" else "" for child in children]
            start, end = _TOKEN.format(kind, "start"), _TOKEN.format(kind, "end")
            if start not in texts or end not in texts:
                continue
            first, last = texts.index(start), texts.index(end)
            # Elements that hold none of their kind: the theme's search index ends an exclusion at the first closing tag of the same name.
            region = etree.Element(_ELEMENTS[kind], {"class": name, "data-search-exclude": ""})
            if kind == "Navigation":
                region.set("aria-label", "Điều hướng khóa học")
            for child in children[first : last + 1]:
                root.remove(child)
            for child in children[first + 1 : last]:
                region.append(_folded(_without_heading(child)))
            after = first + 1 if kind == "Navigation" and first < len(root) and root[first].tag == "h1" else first
            root.insert(after, region)


def _without_heading(element: etree.Element) -> etree.Element:
    """Generated headings do not belong into the page's table of contents."""
    if element.tag in ("h2", "h3"):
        element.attrib.update({"role": "heading", "aria-level": "2", "class": "aero-heading"})
        element.attrib.pop("id", None)
        element.tag = "p"
    return element


def _folded(element: etree.Element) -> etree.Element:
    """A long table of lessons opens on demand: its first rows and the current one are always there. It needs styles, no script."""
    rows = element.findall("tbody/tr") if element.tag == "table" else []
    hidden = [row for row in rows[_ROWS:] if not (row[0].text or "").startswith("📌")]
    if not hidden:
        return element
    for row in hidden:
        row.set("class", "aero-fold")
    folded = etree.Element("div", {"class": "aero-lessons"})
    more = etree.SubElement(folded, "details")
    etree.SubElement(more, "summary").text = f"Cả {len(rows)} bài học"
    folded.append(element)
    return folded


class _FormulaTreeprocessor(Treeprocessor):
    """Turns what arithmatex has found into MathML."""

    def __init__(self, md: Markdown, error: type[LessonError]):
        super().__init__(md)
        self.error = error
        self.converter = LatexToMathML(fancy_error=False)

    def run(self, root: etree.Element) -> None:
        for element in root.iter():
            if element.get("class") == "arithmatex" and element.text:
                # arithmatex wraps a formula in \( \) or \[ \], and escapes for HTML what it has found as a block
                display = element.tag == "div"
                tex = (html.unescape(element.text) if display else element.text).strip()[2:-2].strip()
                try:
                    mathml = self.converter.convert_with_local_state(tex, displaystyle=display)
                except LatexError as error:
                    at, _, reason = str(error).partition(": ")
                    raise self.error(f"{place(self.md, tex)}: công thức không đọc được ở ký tự {int(at) + 1}: {reason}") from None
                element.text = None
                element.append(etree.fromstring(_NAMED.sub(lambda match: html.unescape(match.group()), mathml)))
