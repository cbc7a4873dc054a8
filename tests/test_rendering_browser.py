"""Outputs in a real browser: nothing hostile runs or asks for anything, figures are found everywhere, tabs are linked, colours can be read."""

import functools
import http.server
import threading

import pytest
from aerodocs.ansi import contrast
from browsing import chromium  # noqa: F401 (fixture)
from handmade import build, cell, figure, index, project, record, result, stream

pytestmark = pytest.mark.browser

EVIL = "window.hacked = (window.hacked || 0) + 1; fetch('https://evil.example/')"
HTML = f"""</pre></div></section><script>{EVIL}</script><img src="https://evil.example/a.png" onerror="{EVIL}"><img src=x onerror="{EVIL}">
<svg onload="{EVIL}"><script>{EVIL}</script><image href="https://evil.example/b.png"/></svg><iframe srcdoc="<script>parent.hacked=1</script>"></iframe>
<style>@import 'https://evil.example/c.css'; body {{ display: none }}</style><link rel=stylesheet href="https://evil.example/d.css">
<a id=trap href="javascript:{EVIL}">x</a><form action="https://evil.example"><button autofocus onfocus="{EVIL}">y</button></form>
<details open ontoggle="{EVIL}">z</details><object data="https://evil.example/e"></object><video src="https://evil.example/f" onerror="{EVIL}"></video>
<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror={EVIL}&gt;"></table><base href="https://evil.example/">
<meta http-equiv=refresh content="0;url=https://evil.example/"><div style="background:url(https://evil.example/g)">t</div>"""
SVG = f"""<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="30" height="30" onload="{EVIL.replace("&", "&amp;")}">
<script>window.parent.hacked = 1; fetch('https://evil.example/')</script><image xlink:href="https://evil.example/h.png"/>
<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"><img src="https://evil.example/i.png"/></body></foreignObject><rect width="9" height="9"/></svg>"""
ANSI = f"\x1b[31mđỏ\x1b[0m <script>{EVIL}</script> \x1b]0;</pre><script>{EVIL}</script>\x07 \x1b[<img src=x onerror={EVIL}>m \x1b[33mvàng\x1b[97mtrắng\x1b[30mđen\n"

HOSTILE = "# Bài độc\n\n" + "\n".join(cell(name) for name in ("html", "svg", "ansi", "lai"))
FIGURES = "# Bài hình\n\n" + cell("hinh", "1", "caption: Hình") + "\n" + cell("bang-1") + "\n" + cell("bang-2") + "\n[Bài độc](01_doc.md)\n"


def show_html(text: str, kind: str = "text/html") -> dict:
    return {"output_type": "display_data", "data": {kind: text.splitlines(keepends=True)}, "metadata": {}}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    pages = {"index.md": "# Cổng\n\n[Bài hình](m/n/02_hinh.md)\n", "m/index.md": "# Mục\n", "m/n/index.md": "# Mục con\n", "m/n/01_doc.md": HOSTILE, "m/n/02_hinh.md": FIGURES}
    project(folder, pages)
    index(folder)
    outputs = {
        "html": [show_html(HTML)],
        "svg": [show_html(SVG, "image/svg+xml")],
        "ansi": [stream(ANSI), stream(ANSI, "stderr")],
        "lai": [result(HTML), show_html(HTML, "text/markdown"), {"output_type": "error", "ename": HTML, "evalue": HTML, "traceback": [ANSI]}],
    }
    record(folder, "m/n/01_doc.md", HOSTILE, outputs)
    record(folder, "m/n/02_hinh.md", FIGURES, {"hinh": [figure("cpu-hinh-1")], "bang-1": [result("cpu một")], "bang-2": [result("cpu hai")]})
    record(folder, "m/n/02_hinh.md", FIGURES, {"hinh": [figure("cuda-hinh-1")], "bang-1": [result("gpu một")], "bang-2": [result("gpu hai")]}, device="cuda")
    return folder


@pytest.fixture(scope="module")
def address(course):
    """The site, built and served below a path, as on GitHub Pages."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path):
            return super().translate_path(path.removeprefix("/khoa"))

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(course / "site"))) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}/khoa/"
        done = build(course, SITE_URL=address)  # without an address the theme has no instant navigation
        assert done.returncode == 0, done.stderr
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield address
        server.shutdown()


@pytest.fixture(params=["light", "dark"])
def page(chromium, request):
    """A page that remembers what it asked for beside its own site."""
    context = chromium.new_context(color_scheme=request.param)
    page = context.new_page()
    page.scheme, page.asked, page.failed = request.param, [], []
    page.on("request", lambda asked: page.asked.append(asked.url) if not asked.url.startswith(("http://127.0.0.1:", "data:", "blob:", "file:")) else None)
    page.on("response", lambda answer: page.failed.append(answer.url) if answer.status >= 400 else None)
    yield page
    context.close()


def test_hostile_outputs_do_nothing(page, address):
    page.goto(f"{address}m/n/01_doc/")
    page.wait_for_load_state("networkidle")
    for element in page.locator(".aero-output").all():
        element.scroll_into_view_if_needed()
        element.hover()
    page.wait_for_timeout(300)
    assert page.evaluate("window.hacked") is None and page.asked == []
    inside = page.evaluate("[...new Set([...document.querySelectorAll('.aero-output *')].map(e => e.localName))].sort()")
    assert set(inside) <= {"p", "pre", "span", "div", "details", "img", "b", "table", "tbody", "figure", "tr", "td"}
    handlers = "[...document.querySelectorAll('.aero-output *')].flatMap(e => [...e.attributes].map(a => a.name)).filter(name => name.startsWith('on'))"
    assert page.evaluate(handlers) == []
    assert page.evaluate("document.baseURI") == f"{address}m/n/01_doc/"
    assert page.locator(".aero-cell").count() == 4 and page.locator(".aero-cell .aero-cell").count() == 0


def test_svg_in_a_picture_is_drawn(page, address):
    page.goto(f"{address}m/n/01_doc/")
    assert page.locator("#cell-svg img").evaluate("i => i.decode().then(() => i.naturalWidth)") == 30


def test_text_of_terminals_can_be_read(page, address):
    page.goto(f"{address}m/n/01_doc/")
    colours = page.evaluate(
        """() => { const rgb = text => text.match(/\\d+/g).slice(0, 3).map(Number);
            const pre = document.querySelector('#cell-ansi .aero-output pre');
            let ground = pre; while (getComputedStyle(ground).backgroundColor.endsWith(', 0)')) ground = ground.parentElement;
            return {ground: rgb(getComputedStyle(ground).backgroundColor),
                    text: [pre, ...pre.querySelectorAll('.aero-ansi')].map(e => rgb(getComputedStyle(e).color))}}"""
    )
    assert len(colours["text"]) == 5 and len({tuple(colour) for colour in colours["text"]}) >= 3
    assert (sum(colours["ground"]) < 384) == (page.scheme == "dark")
    for colour in colours["text"]:
        assert contrast(tuple(colour), tuple(colours["ground"])) >= 4.5, colours


def visible_figure(page) -> str:
    """Waits until the one figure for this palette is drawn; its address."""
    images = page.locator("#cell-hinh img:visible")
    assert images.count() == 1
    images.scroll_into_view_if_needed()
    assert images.evaluate("i => i.decode().then(() => [i.naturalWidth, i.width, i.height])") == [40, 40, 20]
    assert images.get_attribute("alt") == "Đường cong"
    return images.get_attribute("src")


@pytest.mark.parametrize("way", ["direct", "instant", "file"])
def test_figure_of_the_palette_is_found(page, address, course, way):
    if way == "instant":
        page.goto(address, wait_until="networkidle")  # the theme reads the map of the site
        page.evaluate("window.kept = true")
        page.get_by_role("link", name="Bài hình").first.click()
        page.wait_for_url("**/m/n/02_hinh/")
        page.locator("#cell-hinh").wait_for()
        assert page.evaluate("window.kept") is True
    else:
        page.goto(f"{address}m/n/02_hinh/" if way == "direct" else (course / "site/m/n/02_hinh/index.html").as_uri())
    assert visible_figure(page).endswith(f"#only-{page.scheme}") and page.failed == []


@pytest.fixture(scope="module")
def flat(course):
    """The site for a disk: without directory addresses a page is a level higher."""
    done = build(course, "--no-directory-urls", "--site-dir", str(course / "flat"))
    assert done.returncode == 0, done.stderr
    return course / "flat"


def test_figures_and_notebook_of_a_site_for_a_disk(flat, page):
    page.goto((flat / "m/n/02_hinh.html").as_uri())
    visible_figure(page)
    notebook = flat / "notebooks/m/n/02_hinh.ipynb"
    assert page.get_by_role("link", name="Tải notebook").evaluate("a => a.href") == notebook.as_uri() and notebook.is_file()


def test_notebook_is_downloaded(page, address):
    page.goto(f"{address}m/n/02_hinh/")
    with page.expect_download() as download:
        page.get_by_role("link", name="Tải notebook").click()
    assert download.value.suggested_filename == "02_hinh.ipynb"


def test_figures_move_nothing_when_they_come(page, address):
    page.add_init_script("new PerformanceObserver(l => window.shift = (window.shift || 0) + l.getEntries().reduce((s, e) => s + e.value, 0))"
                         ".observe({type: 'layout-shift', buffered: true})")
    page.goto(f"{address}m/n/02_hinh/")
    visible_figure(page)
    page.wait_for_timeout(300)
    assert page.evaluate("window.shift || 0") < 0.01


def test_tabs_are_linked(page, address):
    page.goto(f"{address}m/n/02_hinh/")
    assert page.get_by_text("cpu một").is_visible() and not page.get_by_text("gpu một").is_visible()
    page.locator("#cell-bang-1 label", has_text="GPU (NVIDIA H100)").click()
    for name in ("một", "hai"):
        page.get_by_text(f"gpu {name}").wait_for(state="visible")
        assert not page.get_by_text(f"cpu {name}").is_visible()
