"""The parser of lessons: cells, snippets, fragments, options, inline values; and that the site sees the same cells."""

import html.parser
import textwrap

import markdown
import pytest
from aerodocs.cells import Options, options_of, split_options
from aerodocs.page import LessonError
from handmade import cell, lesson, renderer
from hypothesis import given, settings
from hypothesis import strategies as st


def problems(text: str) -> list[tuple[int, str]]:
    return [(problem.line, problem.code) for problem in lesson(text).problems]


def test_roles_and_places():
    found = lesson("# A\n\n" + cell("mot", "x = 1\ny = 2", "device: cpu") + "\n```python {.snippet}\na.py::b\n```\n\n```py {.fragment}\nz\n```\n\n```python\nw\n```\n")
    assert [(f.role, f.line, f.first, f.id, f.code) for f in found.fences] == [
        ("cell", 3, 5, "mot", "x = 1\ny = 2\n"),
        ("snippet", 9, 10, "", "a.py::b"),
        ("fragment", 13, 14, "", "z\n"),
        ("undeclared", 17, 18, "", "w\n"),
    ]
    assert found.problems == ()


def test_other_languages_are_no_cells():
    assert lesson("```text {.cell #a}\nx\n```\n\n```\nx\n```\n").fences == ()


@pytest.mark.parametrize(
    "text",
    [
        "- mục\n\n    ```python {.cell #a}\n    if x:\n        y\n    ```\n",
        "> ```python {.cell #a}\n> if x:\n>     y\n> ```\n",
        '!!! note "N"\n\n    ```python {.cell #a}\n    if x:\n        y\n    ```\n',
        "1.  a\n\n    - b\n\n        ```python {.cell #a}\n        if x:\n            y\n        ```\n",
        "\t\n- mục\n\n\t```python {.cell #a}\n\tif x:\n\t    y\n\t```\n",
    ],
    ids=["list", "quote", "admonition", "nested", "tab"],
)
def test_code_without_the_prefix_of_its_containers(text):
    assert [f.code for f in lesson(text).cells] == ["if x:\n    y\n"]


@pytest.mark.parametrize("hidden", ["<!--\n{}-->\n", "<pre>\n{}</pre>\n", "````text\n{}````\n", "---\na: |\n  b\n---\n"], ids=["comment", "pre", "fence", "front"])
def test_fences_that_are_text_are_no_cells(hidden):
    assert lesson(hidden.format(cell("a"))).cells == []


def test_generated_regions_declare_nothing():
    assert lesson("<!-- Aero-Footer-Start -->\n" + cell("a") + "`{cell:a.x}`\n<!-- Aero-Footer-End -->\n").fences == ()


@pytest.mark.parametrize(
    "text, expected",
    [
        ("```python {.cell}\nx\n```\n", [(1, "cell-id")]),
        ("```python {.cell #Ab_c}\nx\n```\n", [(1, "cell-id")]),
        (cell("a") + "\n" + cell("a"), [(5, "cell-id")]),
        (cell("a", ""), [(1, "cell-empty")]),
        ("```python {.cell .snippet #a}\nx\n```\n", [(1, "cell-role")]),
        ("```python {.fragment}\nx\ny = (\n```\n", [(3, "fragment")]),
        (cell("a", "x", "devise: cpu"), [(2, "cell-option")]),
        (cell("a", "x = 1") + "\n`{cell:b.x}`\n", [(5, "inline-value")]),
        (cell("a", "x = 1") + "\n`{cell:a.1x}`\n", [(5, "inline-value")]),
    ],
)
def test_what_is_wrong_has_its_line(text, expected):
    assert problems(text) == expected


def test_options():
    assert options_of([]) == Options()
    assert options_of(["device: [cuda]", "raises: ValueError", "show: code", "tolerance: 1e-3", "volatile: true", "timeout: 9"]) == Options(
        ("cuda",), "ValueError", "code", 1e-3, True, 9
    )
    assert options_of(["caption: \"a: b\"", "stderr: show"]) == Options(caption="a: b", stderr="show")


@pytest.mark.parametrize(
    "line, said",
    [
        ("device", "khóa: giá trị"),
        ("device: gpu", "cpu, cuda"),
        ("device: []", "cpu, cuda"),
        ("device: [[cpu]]", "cpu, cuda"),
        ("raises: Value Error", "ValueError"),
        ("show: all", "both, code hoặc output"),
        ("tolerance: -1", "không âm"),
        ("tolerance: true", "không âm"),
        ("volatile: 1", "true hoặc false"),
        ("timeout: 0", "số giây dương"),
        ("stderr: yes", "hide hoặc show"),
        ("raise: X", "có phải là raises?"),
        ("volatile: [", "true hoặc false"),
    ],
)
def test_options_that_make_no_sense(line, said):
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        options_of([line])


def test_option_lines_are_only_those_at_the_top():
    assert split_options("#| a: 1\n#|b: 2\nx\n#| c: 3\n") == (["a: 1", "b: 2"], "x\n#| c: 3\n")


def test_values_with_their_places_and_formats():
    text = "# Tổng `{cell:a.n}`\n\n" + cell("a", "n = 1; t = 'x'") + "\n| `{cell:a.n:,.2f}` | [`{cell:a.t}`](b.md) |\n\n`` `{cell:a.no}` `` và {cell:a.no}\n"
    found = lesson(text)
    assert [(v.line, v.cell, v.name, v.format) for v in found.values] == [(1, "a", "n", ""), (7, "a", "n", ",.2f"), (7, "a", "t", "")]
    assert found.names("a") == ["n", "t"] and found.names("b") == []


# The same cells as superfences.


class Shown(html.parser.HTMLParser):
    """The cells of a page, as a browser finds them."""

    def __init__(self, page: str):
        super().__init__()
        self.cells: list[list[str]] = []
        self.inside = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag == "x-cell":
            self.cells.append([dict(attrs)["name"], ""])
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "x-cell"

    def handle_data(self, data):
        if self.inside:
            self.cells[-1][1] += data


def seen_by_superfences(text: str) -> list[list[str]]:
    """Cells by superfences alone, without this project's extension."""

    def show(source, language, css_class, options, md, classes, id_value, attrs, **kwargs):
        body = source.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return f'<x-cell name="{id_value}">{body}</x-cell>' if "cell" in classes else "<pre>-</pre>"

    extensions = ["admonition", "attr_list", "footnotes", "md_in_html", "tables", "toc", "pymdownx.details", "pymdownx.superfences", "pymdownx.tabbed"]
    fence = {"name": "python", "class": "x", "format": show}
    configs = {"pymdownx.superfences": {"custom_fences": [fence]}, "pymdownx.tabbed": {"alternate_style": True}}
    return Shown(markdown.markdown(text, extensions=extensions, extension_configs=configs)).cells


LINES = ["x = 1", "if x:\n    y = 2", "", "#| device: cpu", "``", "# `{cell:a.b}`", "print('<b>&')", "'''\n- a\n'''", "> 3", "~~", "<!-- a", "<pre>", "| a | b |", "!!! note"]
WORDS = ["Lời.", "Hai *chữ* và `mã`.", "a < b", "$x$", "`` ` ``", "**đậm**"]


@st.composite
def fences(draw):
    mark = draw(st.sampled_from(["```", "~~~", "````", "~~~~~"]))
    body = "\n".join(draw(st.lists(st.sampled_from(LINES), max_size=4)))
    head = draw(st.sampled_from(["python {.cell #@}"] * 4 + ["python {.fragment}", "text", "", "python {.snippet}"]))
    return f"{mark}{' ' if draw(st.booleans()) and head else ''}{head}\n{body}\n{mark}"


def containers(inside):
    def contained(parts: list[str]) -> str:
        return "\n\n".join(parts)

    def quoted(text: str) -> str:
        return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))

    def below(head: str, text: str) -> str:
        return f"{head}\n\n" + textwrap.indent(text, "    ")

    text = st.lists(inside, min_size=1, max_size=3).map(contained)
    heads = st.sampled_from(["- mục", "1. mục", "*   mục", '!!! note "N"', "??? tip", '=== "T"', "!!! warning"])
    return st.one_of(st.builds(below, heads, text), text.map(quoted))


hidden = fences().map(lambda fence: f"<!--\n{fence}\n-->")
leaves = st.one_of(fences(), fences(), st.sampled_from(WORDS), st.sampled_from(["## Mục", "---"]), hidden)
blocks = st.recursive(leaves, containers, max_leaves=8)


@settings(max_examples=300, deadline=None)
@given(st.lists(blocks, min_size=1, max_size=4))
def test_site_and_runner_see_the_same_cells(parts):
    """Random lessons: fences of every length in lists, quotes, boxes, tabs, and in comments, where they do not count."""
    text, number = "\n\n".join(["# Bài", *parts]) + "\n", 0
    while "#@" in text:
        number += 1
        text = text.replace("#@", f"#o-{number}", 1)
    found = lesson(text)
    runner = [[cell.id, cell.code.strip()] for cell in found.cells]
    assert [[name, split_options(source + "\n")[1].strip()] for name, source in seen_by_superfences(text)] == runner


def test_page_shows_every_cell_or_the_build_stops(tmp_path):
    with pytest.raises(LessonError, match=r"m/a\.md:3: ô #a không hiện trên trang"):
        renderer(tmp_path)("Lời.\n\n  ```python {.cell #a}\nx\n  ```\n")


def test_cell_that_never_runs_is_not_shown_as_one(tmp_path):
    page = renderer(tmp_path)("<pre>\n\n" + cell("a", "x") + "\n</pre>\n")
    assert "aero-cell" not in page
