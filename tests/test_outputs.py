"""Recorded outputs on the page: what is shown, what is safe, what warns."""

import base64
import html.parser
import json
import re

import pytest
from aerodocs import ansi, recordings, svg
from aerodocs.lessons import Site
from aerodocs.outputs import clean_html
from handmade import cell, figure, record, renderer, result, stream


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
    assert [(r.levelname, r.message) for r in caplog.records] == [("WARNING", "m/a.md: chưa ghi kết quả của ô #a; chạy python hooks/run.py docs/m/a.md")]


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
    record(tmp_path, "m/a.md", cell("a"), {"a": [result("dung")]})
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
