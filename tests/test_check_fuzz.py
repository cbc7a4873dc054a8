"""The checker on any text: it ends, never raises, and names lines that exist. Where it finds nothing wrong, indexer, checker and build see the same."""

import re
from pathlib import Path

import markdown
import pytest
from aerodocs.cells import lesson_of
from aerodocs.course import page_of
from aerodocs.document import parse
from aerodocs.rules import CODES, FAMILIES
from aerodocs.rules.inspection import subject_of
from aerodocs.rules.links import ids_of
from aerodocs.rules.prose import prose_of
from aerodocs.rules.subject import Facts
from aerodocs.settings import Settings, find_course
from aerodocs.textfile import split_lines
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from math_core import LatexToMathML
from mkdocs.config import load_config

ROOT = Path(__file__).parents[1]
DOCS, SETTINGS = find_course(None, ROOT)
LESSONS = sorted(DOCS.rglob("*.md"))
PIECES = [
    *("```", "````", "~~~", "```python", "```python {.cell #a}", "``` a", "$$", "$", "\\(", "\\)", "\\[", "\\]", "`", "``", "**", "*", "_", "<!--", "-->"),
    *("<pre>", "</pre>", "<a href='", "<b", ">", "> ", "- ", "1. ", "   ", "    ", "\t", "!!! note", "# ", "## ", "###", "===", "---", "|", "| a | b |"),
    *("[a](", ")", "](", "]", "[", "![", "[x]: ", "[^1]", "(", "{#id}", "{cell:a.b}", "\\", "\\begin{cases}", "\\end{cases}", "\\frac{", "}", "{", "&"),
    *("<!-- Aero-Footer-Start -->", "<!-- Aero-Footer-End -->", "http://", "mailto:", "#", "chữ", "hóa hoá", "x", " ", "\u0302", "\ufffd", "\u200b", "\x00", "😀"),
]
ENDS = ["\n", "\n\n", "\r\n", "\r", ""]
TEXTS = st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(ENDS)).map("".join), max_size=30).map("".join)
FRONT = st.sampled_from(["", "---\ntitle: a\n---\n", "---\ncheck: {ignore: {x: y}}\n---\n", "---\n", "---\na: [\n---\n", "\ufeff", "---\norder: x\nhide: 3\ncheck: 1\n---\n"])
FUZZ = settings(deadline=None, suppress_health_check=list(HealthCheck))


def inspected(text: str, course: Settings = Settings()):
    """The problems of one page, and what else was read of it."""
    document = parse("a.md", text)
    facts = Facts(page_of(document), Path("a.md"))
    subject = subject_of(document, facts, course, ROOT)
    if not any(problem.code == "front-matter" for problem in document.problems):
        for family in FAMILIES:
            if hasattr(family, "page"):
                family.page(subject)
    return document.problems + subject.problems, subject


def sound(problems, text: str) -> None:
    count = len(split_lines(text.removeprefix("\ufeff")))
    for problem in problems:
        assert problem.code in CODES and problem.severity in ("error", "warning"), problem
        assert 0 <= problem.line <= max(count, 1), (problem, count)
        assert problem.message and problem.cure and "\n" not in problem.message + problem.cure


@FUZZ
@given(FRONT, TEXTS)
def test_any_text(front, text):
    problems, subject = inspected(front + text, Settings(cells=True, terms={"chữ x": "x"}))
    sound(problems, front + text)
    ids_of(subject.facts)


@FUZZ
@given(st.text(max_size=200))
def test_any_characters(text):
    sound(inspected(text)[0], text)


def mutate(text: str, draw) -> str:
    """A lesson with a line lost, doubled or moved, or a piece put somewhere."""
    lines = text.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 4))):
        number = draw(st.integers(0, len(lines) - 1))
        change = draw(st.sampled_from(["lose", "double", "swap", "insert", "cut"]))
        if change == "lose" and len(lines) > 1:
            del lines[number]
        elif change == "double":
            lines.insert(number, lines[number])
        elif change == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[number], lines[other] = lines[other], lines[number]
        elif change == "insert":
            at = draw(st.integers(0, len(lines[number])))
            lines[number] = lines[number][:at] + draw(st.sampled_from(PIECES)) + draw(st.sampled_from(["", "\n"])) + lines[number][at:]
        else:
            lines[number] = lines[number][: draw(st.integers(0, len(lines[number])))]
        if not lines:
            return ""
    return "".join(lines)


@settings(FUZZ, max_examples=60)
@given(st.data())
def test_mutations_of_the_real_lessons(data):
    text = mutate(data.draw(st.sampled_from(LESSONS)).read_text(encoding="utf-8"), data.draw)
    sound(inspected(text, SETTINGS)[0], text)


class Build:
    """Python-Markdown as mkdocs.yml configures it, noting what it makes of fences, formulas and regions."""

    def __init__(self):
        config = load_config(str(ROOT / "mkdocs.yml"))
        self.md = markdown.Markdown(extensions=config.markdown_extensions, extension_configs=config.mdx_configs)
        self.fences: list[tuple[str, str]] = []
        self.formulas: list[str] = []
        for entry in self.md.preprocessors["fenced_code_block"].extension.superfences:
            if entry["name"] == "python":
                entry["formatter"] = self._fence
        self.md.treeprocessors["aero_formulas"].converter = self
        self.md.inlinePatterns.deregister("aero_values")  # asks the recordings

    def _fence(self, src, language, class_name=None, options=None, md=None, **kwargs):
        role = next((name for name in ("cell", "snippet", "fragment") if name in kwargs.get("classes", [])), "undeclared")
        self.fences.append((role, src.strip()))
        return f'<div class="aero-cell" id="cell-{kwargs["id_value"]}"></div>' if role == "cell" else "<pre></pre>"

    def convert_with_local_state(self, tex, displaystyle):
        self.formulas.append(" ".join(tex.split()))
        return "<math></math>"

    def convert(self, text: str) -> str:
        self.fences.clear()
        self.formulas.clear()
        self.md.reset()
        return self.md.convert(text)


@pytest.fixture
def build():
    return Build()


def bare(code: str) -> str:
    """Code without option lines and without what Python-Markdown does to blanks."""
    return re.sub(r"(?m)^#\|.*\n?|[ ]+$", "", code.expandtabs(4)).strip()


def agree(text: str, build: Build) -> None:
    """Everything that the checker saw in a page is what the build makes of it."""
    document = parse("a.md", text.removeprefix("\ufeff"))
    body = "".join(document.lines[document.first :])
    html = build.convert(body)
    lesson, prose = lesson_of(document), prose_of(document)
    here = [(fence.role, bare(fence.code)) for fence in lesson.fences]
    there = [(role, bare(source)) for role, source in build.fences]
    assert sorted(here) == sorted(there)
    assert sorted(" ".join(formula.tex.split()) for formula in prose.formulas) == sorted(build.formulas)
    classes = {"Navigation": "aero-header", "Index": "aero-index", "Footer": "aero-footer"}
    for kind, name in classes.items():
        assert sum(region.kind == kind for region in document.regions) == len(re.findall(rf'class="{name}[" ]', html))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_the_build_sees_what_the_checker_sees(lesson, build):
    agree(lesson.read_text(encoding="utf-8"), build)


@settings(FUZZ, max_examples=40, derandomize=True, phases=[Phase.generate])  # a page takes long to build
@given(st.data())
def test_the_build_sees_what_the_checker_sees_in_changed_lessons(build, data):
    """As long as the checker has no finding: where it has one, the author is told already."""
    text = mutate(data.draw(st.sampled_from(LESSONS)).read_text(encoding="utf-8"), data.draw)
    problems, _ = inspected(text, SETTINGS)
    if not [problem for problem in problems if not problem.code.endswith("-recording") and problem.code not in ("undefined-name", "snippet")]:
        agree(text, build)


def test_ids_are_those_of_the_build(build):
    """Of every lesson, and of headings with all that headings can hold."""
    headings = [
        *("# `a_b` và *c* **d** $x_1$", "## [liên kết](a.md) & <b>đậm</b>", "## Trùng", "## Trùng", "## Trùng_1", "## Tay {#tay}", "## Tay"),
        *("## 1. C++ / C#", "## <https://a.b>", "## $\\sqrt{d}$ ⚡", "## \\*sao\\* &amp; `<b>`", "Hai dòng\n========", "## ⚡", "##  Dư  khoảng ##"),
    ]
    build.md.treeprocessors["aero_formulas"].converter = LatexToMathML(fancy_error=False)  # the text of a formula belongs to the id
    for text in ["\n\n".join(headings), *(lesson.read_text(encoding="utf-8") for lesson in LESSONS)]:
        _, subject = inspected(text)
        html = build.convert("".join(subject.document.lines[subject.document.first :]))
        theirs = set(re.findall(r'<h[1-6][^>]* id="([^"]+)"', html))
        assert theirs <= ids_of(subject.facts), theirs - ids_of(subject.facts)
