"""Recorded outputs and inline values on the page: what is shown, what is safe, what stops or warns."""

import base64
import html.parser
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from types import SimpleNamespace

import markdown
import pytest
from aerodocs import ansi, recordings, svg
from aerodocs.lessons import Site
from aerodocs.outputs import clean_html
from aerodocs.page import LessonError, path_of, place
from handmade import build, cell, figure, index, project, record, renderer, result, stream


class Page(html.parser.HTMLParser):
    """The elements of a page: tag, attributes; and whether every tag is closed in order."""

    VOID = {"img", "br", "hr", "input", "col", "meta", "link"}

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def show(root, text, outputs, values=None, gpu=None, path="m/a.md", **options):
    """HTML of a page with these outputs on CPU, and on GPU if `gpu` has some."""
    record(root, path, text, outputs, values)
    if gpu is not None:
        record(root, path, text, gpu, values, device="cuda")
    return renderer(root, path, **options)(text)


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


# What is shown.


def test_cpu_only(tmp_path):
    page = show(tmp_path, cell("a", "print(1)", "device: [cpu, cuda]"), {"a": [stream("một & <hai>\n"), result("3")]})
    Page(page)
    assert "device" not in page and '<div class="aero-cell" id="cell-a">' in page
    assert '<pre class="aero-output__text" tabindex="0">một &amp; &lt;hai&gt;</pre>' in page and ">3</pre>" in page
    assert "Đã chạy trên CPU Ví dụ X1 · Python 3.11.7, PyTorch 2.13.0 · 25/11/2026 · chưa ghi trên GPU" in page
    assert page.count("data-search-exclude") == 1 and "tabbed" not in page and "cũ" not in page


def test_a_cell_for_cpu_alone_does_not_speak_of_gpu(tmp_path):
    assert "GPU" not in show(tmp_path, cell("a", "1", "device: cpu"), {"a": [result("1")]})


def test_equal_outputs_once_with_both_names(tmp_path):
    outputs = {"a": [result("1"), figure("cpu-a-1")]}
    page = show(tmp_path, cell("a"), outputs, gpu={"a": [result("1"), figure("cuda-a-1")]})
    assert page.count(">1</pre>") == 1 and "tabbed" not in page and "chưa ghi" not in page
    assert "CPU Ví dụ X1" in page and "GPU NVIDIA H100" in page and "CUDA 12.8" in page and "kết quả như nhau" in page


def test_figures_that_differ_are_different_outputs(tmp_path):
    record(tmp_path, "m/a.md", cell("a"), {"a": [figure("cpu-a-1")]})
    file = record(tmp_path, "m/a.md", cell("a"), {"a": [figure("cuda-a-1")]}, device="cuda")
    (file.parent / "cuda-a-1-dark.svg").write_bytes(b'<svg xmlns="http://www.w3.org/2000/svg"/>')
    assert "tabbed" in renderer(tmp_path)(cell("a"))


def test_different_outputs_as_linked_tabs(tmp_path):
    page = show(tmp_path, cell("a"), {"a": [result("cpu")]}, gpu={"a": [result("cuda:0")]})
    Page(page)
    made = renderer(tmp_path, "b.md")('=== "CPU"\n\n    a\n\n=== "GPU (NVIDIA H100)"\n\n    b\n')
    shape = [re.sub(r"__tabbed_[\w-]+|\d+:2", "", part) for part in re.findall(r'<(?:div|input|label) [^>]*(?:tabbed)[^>]*>', made.replace(" /", ""))]
    ours = [part.replace("checked=checked", 'checked="checked"') for part in re.findall(r'<(?:div|input|label) [^>]*(?:tabbed)[^>]*>', page)]
    assert [re.sub(r"__tabbed_[\w-]+|cell-a:2", "", part) for part in ours] == shape
    assert re.findall(r'<label for="(.*?)">(.*?)</label>', page) == [("__tabbed_cell-a_1", "CPU"), ("__tabbed_cell-a_2", "GPU (NVIDIA H100)")]
    assert page.index("cpu</pre>") < page.index("CPU Ví dụ") < page.index("cuda:0</pre>") < page.index("GPU NVIDIA H100 ·")


def test_nothing_on_one_device(tmp_path):
    assert "Không hiện gì." in show(tmp_path, cell("a"), {"a": [result("1")]}, gpu={"a": []})


def test_cell_without_outputs_has_only_code(tmp_path):
    page = show(tmp_path, cell("a", "x = 1"), {"a": []})
    assert "aero-output" not in page and "Đã chạy" not in page and "chưa" not in page.lower()


@pytest.mark.parametrize("what, code, output", [("both", True, True), ("code", True, False), ("output", False, True)])
def test_show(tmp_path, what, code, output):
    page = show(tmp_path, cell("a", "kho_bau = 1", f"show: {what}"), {"a": [result("ket_qua")]})
    assert ("kho_bau" in page, "ket_qua" in page) == (code, output) and 'id="cell-a"' in page


def test_standard_error_only_where_it_is_wanted(tmp_path):
    outputs = {"a": [stream("nguy\n", "stderr"), stream("ra\n")], "b": [stream("hiểm\n", "stderr")]}
    page = show(tmp_path, cell("a") + "\n" + cell("b", "1", "stderr: show"), outputs)
    assert "nguy" not in page and "ra</pre>" in page and '<pre class="aero-output__stderr" tabindex="0">hiểm</pre>' in page


def test_error(tmp_path):
    error = {"output_type": "error", "ename": "ValueError", "evalue": "<x>", "traceback": ["Traceback:", "  Ô #a", "ValueError: <x>"]}
    page = show(tmp_path, cell("a", "1", "raises: ValueError"), {"a": [error]})
    assert '<pre class="aero-output__error" tabindex="0">Traceback:\n  Ô #a\nValueError: &lt;x&gt;</pre>' in page


def test_never_recorded(tmp_path, caplog):
    caplog.set_level("INFO", "mkdocs")
    page = renderer(tmp_path)(cell("a") + "\n" + cell("b", "1", "device: cuda"))
    assert page.count("Chưa ghi lại kết quả") == 2 and page.count("(chưa ghi trên GPU)") == 1
    assert [(r.levelname, r.message) for r in caplog.records] == [("INFO", "m/a.md: chưa ghi kết quả của ô #a; chạy python hooks/run.py docs/m/a.md")]


def test_stale_on_cpu_is_shown_with_a_badge_and_warned_about(tmp_path, caplog):
    text = cell("a", "x = 1") + "\n" + cell("b", "x") + "\n" + cell("c", "x", "show: code") + "\n`{cell:a.x}` `{cell:b.x}`\n"
    record(tmp_path, "m/a.md", text, {"a": [result("1")], "b": [result("hai")], "c": []}, {"a": {"x": 1}, "b": {"x": 2}})
    page = renderer(tmp_path)(text.replace("\nx\n", "\nx + 0\n", 1))
    assert page.count("aero-cell__badge") == 2 and "hai</pre>" in page
    assert '<p>1 <span class="aero-value" title="đã cũ' in page
    messages = [(r.levelname, r.name, r.message) for r in caplog.records]
    assert messages == [("WARNING", "mkdocs.aerodocs", "m/a.md: kết quả đã cũ ở ô #b, #c; chạy python hooks/run.py docs/m/a.md")]


def test_stale_on_gpu_is_not_shown_and_not_warned_about(tmp_path, caplog):
    new = cell("a", "2")
    record(tmp_path, "m/a.md", cell("a", "1"), {"a": [result("xưa")]}, device="cuda")
    record(tmp_path, "m/a.md", new, {"a": [result("2")]})
    page = renderer(tmp_path)(new)
    assert "xưa" not in page and "chưa ghi trên GPU" in page and "badge" not in page and caplog.records == []


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda data: data.replace(b"ket_qua", b"gian_doi"), "sửa bằng tay"),
        (lambda data: data[:-40], "bị hỏng"),
        (lambda data: data.replace(b'"schema": 1', b'"schema": 9'), "lược đồ 9"),
    ],
    ids=["edited", "cut", "schema"],
)
def test_recording_that_cannot_be_used(tmp_path, caplog, device, spoil, said):
    file = record(tmp_path, "m/a.md", cell("a"), {"a": [result("ket_qua")]}, device=device)
    file.write_bytes(spoil(file.read_bytes()))
    page = renderer(tmp_path)(cell("a"))
    assert "gian_doi" not in page and "ket_qua" not in page
    (message,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert message.startswith(f"m/a.md: recordings/m/a/{device}.json") and said in message and message.endswith("(chạy python hooks/run.py docs/m/a.md)")


# Figures.


def test_figure_in_light_and_dark_with_its_size(tmp_path):
    site = Site({})
    page = show(tmp_path, cell("a", "1", "caption: Hình <1>"), {"a": [figure("cpu-a-1", 'Một "đường"')]}, path="m/n/a.md", site=site)
    images = Page(page).all("img")
    assert [image.pop("src") for image in images] == [f"../../../recordings/m/n/a/cpu-a-1-{scheme}.svg#only-{scheme}" for scheme in ("light", "dark")]
    assert images == [{"alt": 'Một "đường"', "width": "40", "height": "20", "loading": "lazy"}] * 2
    assert "<figcaption>Hình &lt;1&gt;</figcaption>" in page
    assert {name for name in site.files if name.startswith("rec")} == {f"recordings/m/n/a/cpu-a-1-{scheme}.svg" for scheme in ("light", "dark")}


def test_figure_is_embedded_where_nobody_copies_files(tmp_path):
    (light, dark) = Page(show(tmp_path, cell("a"), {"a": [figure("cpu-a-1")]})).all("img")
    assert light["src"].startswith("data:image/svg+xml;base64,") and light["src"].endswith("#only-light") and dark["src"].endswith("#only-dark")
    assert b"black" in base64.b64decode(light["src"].partition(",")[2].partition("#")[0])


@pytest.mark.parametrize("name", ["../../x.svg", "missing.svg"])
def test_figure_that_is_not_there(tmp_path, caplog, name):
    file = record(tmp_path, "m/a.md", cell("a"), {"a": [figure("cpu-a-1")]})
    data = json.loads(file.read_text(encoding="utf-8"))
    data.pop("seal")
    data["cells"][0]["outputs"][0]["data"][recordings.FIGURE]["light"] = name
    data["seal"] = recordings._seal(data)
    file.write_text(json.dumps(data), encoding="utf-8")
    (tmp_path / "x.svg").write_bytes(b"<svg/>")
    assert "<img" not in renderer(tmp_path)(cell("a"))
    assert f"thiếu hình {name}" in caplog.text


SAFE = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"><style>*{{fill:red}}</style>{}</svg>'


@pytest.mark.parametrize(
    "inside",
    [
        "<script>alert(1)</script>",
        '<x:script xmlns:x="http://www.w3.org/2000/svg">alert(1)</x:script>',
        '<rect onload="alert(1)"/>',
        "<foreignObject><body/></foreignObject>",
        '<a xlink:href="https://example.org"/>',
        '<image href="//example.org/a.png"/>',
        '<use href="b.svg#x"/>',
        '<rect style="fill:url(https://example.org/a)"/>',
        '<rect fill="url( &quot;https://example.org&quot;)"/>',
        "<style>@import 'https://example.org'</style>",
        "<style>*{fill:\\75rl(https://example.org)}</style>",
        '<set attributeName="href" to="javascript:alert(1)"/>',
        '<a href="&#x6a;avascript:alert(1)"/>',
        '<image href="data:image/svg+xml;base64,AAAA"/>',
        "<p",
    ],
)
def test_svg_files_that_are_refused(tmp_path, caplog, inside):
    text = SAFE.format(inside)
    assert svg.danger(text.encode())
    file = record(tmp_path, "m/a.md", cell("a"), {"a": [figure("cpu-a-1")]})
    (file.parent / "cpu-a-1-dark.svg").write_text(text, encoding="utf-8")
    site = Site({})
    assert "<img" not in renderer(tmp_path, site=site)(cell("a")) and not any("svg" in name for name in site.files)
    assert "hình không an toàn" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE svg [<!ENTITY a "b">]><svg xmlns="http://www.w3.org/2000/svg">&a;</svg>',
        '<?xml-stylesheet href="a.css"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "<html/>",
        "",
    ],
)
def test_svg_files_of_the_wrong_kind(text):
    assert svg.danger(text.encode())


def test_drawings_are_safe():
    use = '<defs><path id="p" d="M 0 0"/></defs><use xlink:href="#p" clip-path="url(#c)"/><image href="data:image/png;base64,AAAA"/>'
    head = '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">'
    assert svg.danger((head + SAFE.format(use)).encode()) == ""


# Untrusted text and HTML.


@pytest.mark.parametrize(
    "text, expected",
    [
        ("<script>alert(1)</script>a", "a"),
        ("<b onclick=x>a</b>", "<b>a</b>"),
        ('<a href="javascript:x">a</a>', "a"),
        ('<img src="https://example.org/a.png" alt="a">', '<img alt="a">'),
        ('<img src=x onerror="alert(1)">', '<img alt="">'),
        ('<img src="data:text/html;base64,AAAA">', '<img alt="">'),
        ('<img src="data:image/png;base64,AAAA">', '<img alt="" src="data:image/png;base64,AAAA">'),
        ("<style>*{display:none}</style>a", "a"),
        ('<div style="position:fixed" class="md-overlay" id="__search">a</div>', "<div>a</div>"),
        ("<svg><script>x</script></svg>a", "a"),
        ('<form action="https://example.org"><input><button>a</button></form>', "a"),
        ("<iframe src=x></iframe><object data=x></object>a", "a"),
        ("<table border=1 class=dataframe><tr><th scope=col>a<td colspan=2>b</table>", None),
        ("</div></div>a", "a"),
        ("<div><b>a", "<div><b>a</b></div>"),
        ("<!-- a -->b", "b"),
        ("<math><mtext></p><style><img src=x onerror=alert(1)></style></math>a", "a"),
        ("a\x02wzxhzdk:0\x03\x00b", "awzxhzdk:0b"),
        ('<td colspan="99999999">a', "a"),
    ],
)
def test_html_is_cut_down(text, expected):
    cleaned = clean_html(text)
    if expected is None:
        assert cleaned == '<table><tbody><tr><th scope="col">a</th><td colspan="2">b</td></tr></tbody></table>'
    else:
        assert cleaned == expected


HOSTILE = "</pre></div><script>window.hacked=1</script><img src=x onerror=hacked=1>&lt;\x02wzxhzdk:0\x03\x02amp\x03{{ 7*7 }}`{cell:a.x}`[TOC]$x$"


@pytest.mark.parametrize("kind", ["text/plain", "text/markdown", "text/latex", "application/javascript", "image/png", "image/svg+xml"])
def test_hostile_data_is_escaped(tmp_path, kind):
    page = Page(show(tmp_path, cell("a"), {"a": [{"output_type": "display_data", "data": {kind: [HOSTILE]}, "metadata": {}}]}))
    assert not page.all("script") and all(image["src"].startswith("data:image/svg+xml;base64,") for image in page.all("img"))


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_hostile_streams_and_names_are_escaped(tmp_path, name):
    text = cell("a", "1", "stderr: show", f"caption: {HOSTILE[:60]}")
    error = {"output_type": "error", "ename": HOSTILE, "evalue": HOSTILE, "traceback": []}
    record(tmp_path, "m/a.md", text, {"a": [stream(HOSTILE, name), error, figure("cpu-a-1", HOSTILE)]})
    page = renderer(tmp_path)(text)
    assert not Page(page).all("script") and "onerror=hacked" not in re.sub(r'"[^"]*"', "", page.replace("&lt;img src=x onerror=hacked", ""))
    assert "{{ 7*7 }}`{cell:a.x}`[TOC]$x$" in html.unescape(page)


def test_hostile_provenance_is_escaped(tmp_path, monkeypatch):
    monkeypatch.setattr("handmade.GPU", {"gpu": "<script>x</script>", "date": "<b>"})
    page = show(tmp_path, cell("a"), {"a": [result("1")]}, gpu={"a": [result("2")]})
    assert "<script>" not in page and "<b>" not in page and "&lt;script&gt;" in page


# Colours.


@pytest.mark.parametrize(
    "text, expected",
    [
        ("\x1b[1mđậm\x1b[0m thường", '<span class="aero-bold">đậm</span> thường'),
        ("\x1b[<b>m&", "&gt;m&amp;"),
        ("a\x1b]8;;https://example.org\x07b\x1b]8;;\x07c", "abc"),
        ("a\x1b[2J\x1b[10;5Hb\x1b(Bc\x1bMd", "abcd"),
        ("a\x07\x00\x9b31mb\x7f", "a31mb"),
        ("\x1b[48;5;200ma\x1b[7mb", "ab"),
        ("\x1b[38;5;300ma\x1b[38;5ma\x1b[999999999999ma", "aaa"),
        ("a\x1b", "a"),
        ("a\x1b]b", "a"),
    ],
)
def test_escape_sequences(text, expected):
    assert ansi.to_html(text) == expected


def test_colours_and_bold_go_together_and_end():
    page = ansi.to_html("\x1b[1;31mlỗi\x1b[22m nhẹ\x1b[39m hết")
    assert re.sub(r"--[ld]:#\w{6}", "#", page) == '<span class="aero-ansi aero-bold" style="#;#">lỗi</span><span class="aero-ansi" style="#;#"> nhẹ</span> hết'


CODES = [f"\x1b[{code}m" for code in [*range(30, 38), *range(90, 98)]] + [f"\x1b[38;5;{number}m" for number in range(256)] + ["\x1b[38;2;0;0;0m", "\x1b[38:2:255:255:255m"]


def test_every_colour_is_readable_on_both_palettes():
    for code in CODES:
        light, dark = re.search(r"--l:#(\w{6});--d:#(\w{6})", ansi.to_html(f"{code}x")).groups()
        assert ansi.contrast(tuple(bytes.fromhex(light)), ansi.LIGHT) >= 4.5, code
        assert ansi.contrast(tuple(bytes.fromhex(dark)), ansi.DARK) >= 4.5, code


def test_colours_keep_their_hue():
    assert re.search(r"--l:#(\w\w)(\w\w)\w\w", ansi.to_html("\x1b[32mx")).groups() < ("40", "ff")
    red = re.search(r"--d:#(\w\w)(\w\w)(\w\w)", ansi.to_html("\x1b[31mx"))
    assert int(red[1], 16) > int(red[2], 16) + 40 and int(red[1], 16) > int(red[3], 16) + 40


# Inline values.

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


# The whole, built by mkdocs.


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A course with one lesson of each kind; its folder, and what mkdocs said."""
    folder = tmp_path_factory.mktemp("course")
    one, two = cell("@-mot", "n = 7\nn"), cell("@-hai", "n + 1", "caption: Hình")
    pages = {f"{name}.md": f"# Bài {name}\n\n{one}\nSố `{{cell:@-mot.n}}` ở đây.\n\n{two}".replace("@", name) for name in ("cpu", "equal", "tabs", "stale", "edit", "cut", "schema")}
    pages = {"index.md": "# Cổng\n", "m/index.md": "# Mục\n", **{f"m/01_{path}": text for path, text in pages.items()}}
    pages["m/02_trong.md"] = "# Bài chưa ghi\n\n" + cell("chua-ghi")
    project(folder, pages)
    index(folder)
    for path, text in pages.items():
        if path.startswith("m/01_"):
            name = path[5:-3]
            outputs = {f"{name}-mot": [result("bi_mat_so")], f"{name}-hai": [figure(f"cpu-{name}-hai-1")]}
            file = record(folder, path, text, outputs, {f"{name}-mot": {"n": 7}})
            if name in ("equal", "tabs"):
                other = {f"{name}-mot": [result("bi_mat_so" if name == "equal" else "bi_mat_gpu")], f"{name}-hai": [figure(f"cuda-{name}-hai-1")]}
                record(folder, path, text, other, {f"{name}-mot": {"n": 7}}, device="cuda")
            data = file.read_bytes()
            spoilt = {"edit": data.replace(b"bi_mat_so", b"bi_mat_xx"), "cut": data[:99], "schema": data.replace(b'"schema": 1', b'"schema": 0')}
            file.write_bytes(spoilt.get(name, data))
    stale = folder / "docs" / "m" / "01_stale.md"
    stale.write_text(stale.read_text(encoding="utf-8").replace("n + 1", "n + 2"), encoding="utf-8")
    result_of_build = build(folder)
    assert result_of_build.returncode == 0, result_of_build.stderr
    return folder, result_of_build.stderr


def page_of(folder, name):
    return (folder / "site" / "m" / name / "index.html").read_text(encoding="utf-8")


def test_site_shows_each_kind(site):
    folder, _ = site
    assert "chưa ghi trên GPU" in page_of(folder, "01_cpu") and "kết quả như nhau" in page_of(folder, "01_equal")
    assert 'for="__tabbed_cell-tabs-mot_2">GPU (NVIDIA H100)' in page_of(folder, "01_tabs")
    assert page_of(folder, "01_stale").count("aero-cell__badge") == 1
    for name in ("01_edit", "01_cut", "01_schema", "02_trong"):
        assert "Chưa ghi lại kết quả" in page_of(folder, name) and "bi_mat" not in page_of(folder, name)
    assert "Số 7 ở đây" in page_of(folder, "01_cpu")


def test_site_has_the_figures_and_notebooks_that_its_pages_name(site):
    folder, _ = site
    names = re.findall(r'(?:src|href)="([^"]*(?:recordings|notebooks)/[^"#]*)', page_of(folder, "01_tabs"))
    assert len(names) == 2 + 1
    for name in names:
        assert (folder / "site" / "m" / "01_tabs" / name).is_file()
    copied = {path.name for path in (folder / "site" / "recordings").rglob("*") if path.is_file()}
    assert "cpu.json" not in copied and "cpu-cpu-hai-1-dark.svg" in copied and "cpu-edit-hai-1-dark.svg" not in copied
    assert "notebooks" not in page_of(folder, "")


def test_one_warning_for_each_lesson_with_its_cure(site):
    _, said = site
    warnings = sorted(line.partition("WARNING -  ")[2] for line in said.splitlines() if "WARNING" in line)
    assert [warning.partition(":")[0] for warning in warnings] == [f"m/01_{name}.md" for name in ("cut", "edit", "schema", "stale")]
    assert all("chạy python hooks/run.py docs/m/01_" in warning for warning in warnings)
    assert "#stale-hai;" in said and "#stale-mot" not in said and "m/02_trong.md: chưa ghi kết quả của ô #chua-ghi" in said
    assert str(site[0]) + "/recordings" not in said


def test_outputs_are_not_searched(site):
    folder, _ = site
    entries = json.loads((folder / "site" / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    text = " ".join(entry["text"] for entry in entries)
    assert "ở đây" in text and "bi_mat" not in text and "Ví dụ X1" not in text and "Tải notebook" not in text


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda text, file: text, ""),
        (lambda text, file: text.replace("n = 7", "n = 8"), "kết quả đã cũ ở ô #a"),
        (lambda text, file: file.write_bytes(file.read_bytes().replace(b'"n": 7', b'"n": 8')) and text, "sửa bằng tay"),
        (lambda text, file: text.replace("a.n}", "a.m}"), "m/01_a.md:18: không có biến m ở ô #a"),
    ],
    ids=["fresh", "stale", "edited", "unknown"],
)
def test_strict(tmp_path, spoil, said):
    text = "# A\n\n" + cell("a", "n = 7") + "\n`{cell:a.n}`\n"
    folder = project(tmp_path, {"index.md": "# Cổng\n", "m/index.md": "# M\n", "m/01_a.md": text})
    index(folder)
    file = record(folder, "m/01_a.md", text, {}, {"a": {"n": 7}})
    page = folder / "docs" / "m" / "01_a.md"
    page.write_text(spoil(page.read_text(encoding="utf-8"), file), encoding="utf-8")
    result = build(folder, "--strict")
    assert result.returncode == (1 if said else 0) and said in result.stderr and "Traceback" not in result.stderr, result.stderr


ZENSICAL = "site_name: A\ntheme:\n  language: vi\nmarkdown_extensions: [attr_list, tables, pymdownx.superfences, aerodocs.markdown]\n"


def test_the_successor_of_mkdocs_shows_the_same(tmp_path):
    """Zensical runs no hooks: recordings are found all the same, and figures are in the page."""
    pytest.importorskip("zensical")
    text = f"---\nsummary: x\n---\n# A\n\n{cell('a', 'n = 7')}\n`{{cell:a.n}}` ở đây.\n"
    (tmp_path / "mkdocs.yml").write_text(ZENSICAL, encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "01_a.md").write_text(text, encoding="utf-8")
    record(tmp_path, "01_a.md", text, {"a": [result("bảy"), figure("cpu-a-1")]}, {"a": {"n": 7}})
    subprocess.run([sys.executable, "-m", "zensical", "build"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    page = (tmp_path / "site" / "01_a" / "index.html").read_text(encoding="utf-8")
    assert "7 ở đây" in page and ">bảy</pre>" in page and page.count('<img src="data:image/svg+xml;base64,') == 2


def test_places_of_errors_in_the_successor(tmp_path):
    (tmp_path / "a.md").write_text("---\nx: 1\n---\n# A\n\n`{cell:b.n}`\n", encoding="utf-8")
    md = markdown.Markdown()
    context = SimpleNamespace(page=SimpleNamespace(path="a.md"), config={"docs_dir": str(tmp_path)})
    md.preprocessors.register(context, "rendering_context", 0)
    assert (path_of(md), place(md, "{cell:b.n}"), place(md, "khác")) == ("a.md", "a.md:6", "a.md:1")
    assert (path_of(markdown.Markdown()), place(markdown.Markdown(), "x")) == ("", "?")


def test_serve_shows_what_is_recorded_meanwhile(tmp_path):
    text = "# A\n\n" + cell("a", "n = 7")
    folder = project(tmp_path, {"index.md": "# Cổng\n", "m/index.md": "# M\n", "m/01_a.md": text})
    index(folder)
    record(folder, "m/01_a.md", text, {"a": [result("xưa")]})
    new = text.replace("7", "8")
    page = folder / "docs" / "m" / "01_a.md"
    page.write_text(page.read_text(encoding="utf-8").replace("7", "8"), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/m/01_a/"
    command = [sys.executable, "-m", "mkdocs", "serve", "--dev-addr", f"127.0.0.1:{port}"]
    with open(folder / "serve.log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(address, lambda shown: "aero-cell__badge" in shown and "xưa" in shown)
        record(folder, "m/01_a.md", new, {"a": [result("nay")]})
        wait_for(address, lambda shown: "aero-cell__badge" not in shown and "nay</pre>" in shown)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)


def wait_for(address: str, condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                if condition(answer.read().decode()):
                    return
        except OSError:
            pass
        assert time.monotonic() < end
        time.sleep(0.2)
