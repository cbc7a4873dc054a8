"""The site for everyone: no violation that axe knows, keyboard, print, weight, small screens, both palettes."""

import gzip
import re
from importlib.resources import files
from urllib.parse import urljoin, urlsplit

import pytest
from browsing import chromium, online, reading, visit  # noqa: F401 (fixtures)

pytestmark = pytest.mark.browser

LESSON = "90_mau/01_mau/"
NOTEBOOK = "90_mau/20_so_tay/"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing(online, reading, visit, width, scheme):
    page = visit(width, scheme).page
    wrong = {}
    script = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    paths = ["", LESSON, NOTEBOOK, "search"]
    if width > 360:  # a long lesson with recorded outputs takes axe several seconds
        paths.append("04_buildgpt/kien_truc_mo_hinh_ngon_ngu_lon/")
    for path in paths:
        page.goto(reading.url + path.removesuffix("search"))
        if path == "search":
            page.keyboard.press("/")
            page.locator("input[name=query]").fill("chuan hoa")
            page.locator("input[name=query]").dispatch_event("keyup")
            page.locator(".md-search-result__item").first.wait_for()
        assert page.evaluate("document.body.dataset.mdColorScheme") == {"light": "default", "dark": "slate"}[scheme]
        page.evaluate(script)
        found = page.evaluate("axe.run().then(result => result.violations)")
        said = [(v["id"], v["impact"], [(node["html"][:150], node["any"][:1] and node["any"][0]["message"]) for node in v["nodes"][:4]]) for v in found]
        if said:
            wrong[path] = said
    assert not wrong, "\n".join(f"{path}: {item}" for path, items in wrong.items() for item in items)


def test_keyboard_leads_from_home_to_a_lesson_and_on_to_the_next(online, reading, visit):
    page = visit().page
    page.goto(reading.url)

    def follow(text: str, limit: int = 120) -> None:
        for _ in range(limit):
            page.keyboard.press("Tab")
            if text in page.evaluate("document.activeElement.closest('article') ? document.activeElement.textContent : ''"):
                break
        else:
            raise AssertionError(text)
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        page.keyboard.press("Enter")
        page.locator("article h1", has_text=text).wait_for()  # the address changes before the page does

    follow("Mục mẫu")
    page.wait_for_url("**/90_mau/")
    follow("Bài mẫu: chuẩn hóa")
    page.wait_for_url("**/90_mau/01_mau/")
    follow("Bài mẫu số 2")
    page.wait_for_url("**/90_mau/02_bai/")


def test_skip_link_is_the_first_stop(online, reading, visit):
    page = visit().page
    page.goto(reading.url + LESSON)
    page.keyboard.press("Tab")
    assert "md-skip" in page.evaluate("document.activeElement.className")


@pytest.mark.parametrize("text, typed", [("for i in range", "1 + 1\nfor i in range(2):\n    print(i)"), ("mkdocs build", "mkdocs build --strict")])
def test_copy_button_copies_what_was_typed(online, reading, visit, text, typed):
    page = visit(permissions=["clipboard-read", "clipboard-write"]).page
    page.goto(reading.url + LESSON)
    block = page.locator("article .highlight", has_text=text)
    block.scroll_into_view_if_needed()
    block.hover()
    block.locator("[data-md-type=copy]").click()
    page.wait_for_function("document.querySelector('.md-dialog').textContent.includes('Đã sao chép')")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "\n".join(line for line in copied.splitlines() if line.strip()) == typed


def test_copy_button_of_a_notebook_copies_without_prompts(online, reading, visit):
    page = visit(permissions=["clipboard-read", "clipboard-write"]).page
    page.goto(reading.url + NOTEBOOK)
    block = page.locator(".aero-cell .highlight").first
    block.hover()
    block.locator("[data-md-type=copy]").click()
    page.wait_for_function("document.querySelector('.md-dialog').textContent.includes('Đã sao chép')")
    assert page.evaluate("navigator.clipboard.readText()").strip() == "1 + 1"


def test_paper_shows_the_lesson_and_nothing_to_click(online, reading, visit):
    page = visit().page
    page.goto(reading.url + LESSON)
    page.emulate_media(media="print")
    chrome = ".md-header, .md-sidebar, .md-footer, .md-top, .aero-header, .aero-footer, .aero-tools, .aero-progress, .md-search, .md-clipboard"
    shown = f"[...document.querySelectorAll('{chrome}')].filter(one => one.getClientRects().length && one.offsetHeight).map(one => one.className)"
    assert page.evaluate(shown) == []
    assert page.locator("h1").is_visible() and page.locator("math").first.is_visible()


@pytest.mark.parametrize("path", [LESSON, NOTEBOOK, "04_buildgpt/kien_truc_mo_hinh_ngon_ngu_lon/"])
def test_page_weighs_less_than_300_kb_without_figures(online, reading, visit, path):
    visitor = visit()
    visitor.page.goto(reading.url + path)
    visitor.page.wait_for_load_state("networkidle")
    weight = 0
    for url in set(visitor.requests):
        file = online / urlsplit(url).path.removeprefix("/khoa-hoc/")
        file = file / "index.html" if file.is_dir() else file
        if not re.search(r"search_index|sitemap|recordings/", url):
            weight += len(gzip.compress(file.read_bytes()))
    assert 50_000 < weight < 300_000
    assert urljoin(reading.url, "assets/fonts/stix-two-math.woff") in visitor.requests


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(online, reading, visit, width):
    page = visit(width).page
    for path in ("", LESSON, NOTEBOOK, "bang_thuat_ngu/", "04_buildgpt/kien_truc_mo_hinh_ngon_ngu_lon/"):
        page.goto(reading.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_page_stands_still_while_it_loads(online, reading, visit):
    page = visit(360).page
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver(list => list.getEntries().forEach(e => window.shift += e.value)).observe({type: 'layout-shift', buffered: true})"
    )
    page.goto(reading.url + LESSON)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.shift") < 0.1


def test_long_table_opens_without_script(online, reading, visit):
    page = visit(java_script_enabled=False).page
    page.goto(f"{reading.url}90_mau/13_bai/")
    rows = page.locator(".aero-footer tbody tr")
    shown = lambda: [row.inner_text() for row in rows.all() if row.is_visible()]  # noqa: E731
    assert rows.count() > 12 and len(shown()) == 11 and "📌" in shown()[-1]
    page.locator(".aero-lessons summary").click()
    assert len(shown()) == rows.count()
