"""Inline values: where they stand, how they are written, what stops the build."""

import html
import re
from types import SimpleNamespace

import markdown
import pytest
from aerodocs.page import LessonError, path_of, place
from handmade import cell, record, renderer

VALUES = {"a": {"n": 124439808, "x": 0.123456, "t": "a*b*_<&`", "yes": True}}
NAMES = cell("a", "n = x = t = yes = 0\nkhac = 1")


def shown(tmp_path, text):
    text = NAMES + "\n" + text
    record(tmp_path, "m/a.md", text, {"a": []}, VALUES)
    render = renderer(tmp_path)
    page = render(text)
    shown.toc = render.toc
    return page


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Có `{cell:a.n:,}` tham số.", "<p>Có 124,439,808 tham số.</p>"),
        ("`{cell:a.n}`, `{cell:a.x:.2%}`, `{cell:a.yes}`", "<p>124439808, 12.35%, True</p>"),
        ("**`{cell:a.x:.3f}`**", "<strong>0.123</strong>"),
        ("`{cell:a.t}`", "<p>a*b*_&lt;&amp;`</p>"),
        ("| a |\n| - |\n| `{cell:a.n:,}` |", "<td>124,439,808</td>"),
        ("[`{cell:a.n:,}` số](b.md)", '<a href="b.md">124,439,808 số</a>'),
        ("- `{cell:a.n}`\n\n    `{cell:a.n}`", "<p>124439808</p>"),
        ('!!! note "Có `{cell:a.n:,}`"\n\n    Lời.', '<p class="admonition-title">Có 124,439,808</p>'),
        ("`{cell:a.n}` và `mã` `{cell:a.n}`", "<p>124439808 và <code>mã</code> 124439808</p>"),
    ],
)
def test_values_in_text(tmp_path, text, expected):
    assert expected in shown(tmp_path, text)


def test_values_in_headings_and_contents(tmp_path):
    page = shown(tmp_path, "## Cả `{cell:a.n:,}` tham số\n")
    assert '">Cả 124,439,808 tham số</h2>' in page and shown.toc == ["Cả 124,439,808 tham số"]


@pytest.mark.parametrize(
    "text",
    ["```\n`{cell:a.n}`\n```", "    `{cell:a.n}`", "`` `{cell:a.n}` ``", "`x {cell:a.n}`", "{cell:a.n}", "\\`{cell:a.n}\\`"],
    ids=["fence", "indented", "in code", "part", "bare", "escaped"],
)
def test_what_is_no_value(tmp_path, text):
    page = shown(tmp_path, text)
    assert "{cell:a.n}" in html.unescape(re.sub("<[^>]*>", "", page)) and "124439808" not in page


@pytest.mark.parametrize(
    "text, said",
    [
        ("`{cell:b.n}`", r"m/a\.md:6: không có ô #b trong bài này"),
        ("Lời.\n\n`{cell:a.nn}`", r"m/a\.md:8: không có biến nn ở ô #a hay ô nào trước nó; có phải là n\?"),
        ("`{cell:a.t:,}`", r"m/a\.md:6: không viết được 'a\*b\*_<&`' theo dạng “,”"),
        ("`{cell:a.n:zz}`", "theo dạng “zz”"),
    ],
)
def test_values_that_cannot_be(tmp_path, text, said):
    with pytest.raises(LessonError, match=said):
        shown(tmp_path, text)


def test_value_that_waits_to_be_recorded(tmp_path, caplog):
    page = shown(tmp_path, "Là `{cell:a.khac}`.")
    assert 'title="chưa ghi lại">…</span>' in page and "#a" in caplog.text


def test_values_come_from_cpu_where_devices_differ(tmp_path):
    text = cell("a", "x = 1") + "\n" + cell("b", "y = 1", "device: cuda") + "\n`{cell:a.x}` `{cell:b.y}`\n"
    record(tmp_path, "m/a.md", text, {}, {"a": {"x": 1}})
    record(tmp_path, "m/a.md", text, {}, {"a": {"x": 2}, "b": {"y": 3}}, device="cuda")
    assert "<p>1 3</p>" in renderer(tmp_path)(text)


def test_places_of_errors_in_the_successor(tmp_path):
    (tmp_path / "a.md").write_text("---\nx: 1\n---\n# A\n\n`{cell:b.n}`\n", encoding="utf-8")
    md = markdown.Markdown()
    context = SimpleNamespace(page=SimpleNamespace(path="a.md"), config={"docs_dir": str(tmp_path)})
    md.preprocessors.register(context, "rendering_context", 0)
    assert (path_of(md), place(md, "{cell:b.n}"), place(md, "khác")) == ("a.md", "a.md:6", "a.md:1")
    assert (path_of(markdown.Markdown()), place(markdown.Markdown(), "x")) == ("", "?")
