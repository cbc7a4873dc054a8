"""The site in a real browser: search, formulas, offline, print, keyboard, weight."""

import functools
import json
import unicodedata

import pytest
from browsing import chromium, offline, online, reading, visit  # noqa: F401 (fixtures)

pytestmark = pytest.mark.browser


def search(page, query: str) -> list[dict]:
    """Type a query; the results that come: address, title, and the marked words."""
    if not page.evaluate("document.getElementById('__search').checked"):
        page.keyboard.press("/")
    box = page.locator("input[name=query]")
    said = "document.querySelector('.md-search-result__meta').textContent.includes('tài liệu')"
    for text, wait in (("", f"!{said}"), (query, said)):
        box.fill(text)
        box.dispatch_event("keyup")
        page.wait_for_function(wait)
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate(
        """() => [...document.querySelectorAll('.md-search-result__item')].map(item => ({
            href: item.querySelector('a').href,
            title: item.querySelector('h1').textContent,
            html: item.innerHTML,
            marks: [...item.querySelectorAll('mark')].map(mark => mark.textContent),
            links: [...item.querySelectorAll('a')].map(a => a.href)}))"""
    )


@pytest.fixture(scope="module")
def searching(online, reading, visit):
    visitor = visit()
    visitor.page.goto(reading.url)
    yield lambda query: search(visitor.page, query)
    assert visitor.said == []


NFD = functools.partial(unicodedata.normalize, "NFD")


@pytest.mark.parametrize(
    "query, pages, words",
    [
        ("chuan hoa tang", ["01_mau"], {"chuẩn", "hóa", "tầng"}),
        ("muỗng", ["03_bai"], {"muỗng"}),
        (NFD("muỗng"), ["03_bai"], {"muỗng"}),
        ("muống", ["04_bai"], {"muống"}),
        ("muong", ["03_bai", "04_bai"], {"muỗng", "muống", "muong"}),
        ("mường", ["03_bai", "04_bai"], {"muỗng", "muống", "muong"}),
        ("MUỖNG", ["03_bai"], {"muỗng"}),
        ("lõa xõa", ["03_bai", "04_bai"], {"lõa", "xõa", "loã", "xoã"}),
        ("loã xoã", ["03_bai", "04_bai"], {"lõa", "xõa", "loã", "xoã"}),
        ("ngoằn ngoèo", ["04_bai"], {NFD("ngoằn"), NFD("ngoèo")}),
        ("ngoan ngoeo", ["04_bai"], {NFD("ngoằn"), NFD("ngoèo")}),
    ],
)
def test_search_with_and_without_marks(searching, reading, query, pages, words):
    """Exactly typed marks find exactly them; without marks, or with marks that nothing has, every spelling is found."""
    results = [result for result in searching(query) if "/90_mau/" in result["href"]]
    assert sorted(address(result).removeprefix(f"{reading.url}90_mau/").strip("/") for result in results) == pages
    assert {mark.lower() for result in results for mark in result["marks"]} == words


def test_search_marks_whole_words_once(searching):
    """Where one typed letter begins both spellings of a word, the word is still marked once."""
    for result in searching("m"):
        assert "&lt;mark" not in result["html"] and "&lt;/mark" not in result["html"]
        assert all(mark.lower().startswith("m") and len(mark.split()) == 1 for mark in result["marks"])


def test_page_opened_from_search_is_highlighted_as_it_is_written(online, reading, visit):
    visitor = visit()
    visitor.page.goto(reading.url)
    result = next(result for result in search(visitor.page, "muong") if "03_bai" in result["href"])
    visitor.page.goto(result["href"])
    mark = visitor.page.locator("article mark[data-md-highlight]")
    mark.first.wait_for()
    assert {text.lower() for text in mark.all_text_contents()} == {"muỗng", "muong"}


def address(result: dict) -> str:
    return result["href"].split("?")[0].split("#")[0]


def test_formulas_stretch_with_the_font(online, reading, visit):
    """Roots and braces grow with what they hold; in a browser without a font for mathematics they would not."""
    page = visit().page
    page.goto(f"{reading.url}90_mau/01_mau/")
    page.evaluate("document.fonts.ready")
    assert page.evaluate("document.fonts.check('16px \"STIX Two Math\"', '√')")
    small, large, brace, row = page.evaluate(
        """() => {
            const height = element => element.getBoundingClientRect().height
            const roots = [...document.querySelectorAll('msqrt')]
            const brace = [...document.querySelectorAll('mo')].find(mo => mo.textContent == '{')
            return [height(roots[0]), height(roots[1]), height(brace), height(document.querySelector('mtable'))]
        }"""
    )
    assert large > 2 * small and brace >= 0.9 * row


def test_wide_formulas_scroll_in_place(online, reading, visit):
    page = visit(width=360).page
    page.goto(f"{reading.url}90_mau/01_mau/")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("[...document.querySelectorAll('div.arithmatex')].some(div => div.scrollWidth > div.clientWidth)")


def test_every_page_opens_without_complaint_and_asks_nobody_else(online, reading, visit):
    visitor = visit()
    pages = sorted(online.rglob("*.html"))
    assert len(pages) > 25
    for file in pages:
        visitor.page.goto(reading.url + file.relative_to(online).as_posix().removesuffix("index.html"))
        assert visitor.said == [], file
    visitor.page.wait_for_load_state("networkidle")
    assert visitor.said == []
    assert visitor.outside(reading.url) == []


def test_opens_from_a_disk_with_search(offline, visit):
    visitor = visit()
    visitor.page.goto((offline / "index.html").as_uri())
    visitor.page.locator("article a", has_text="Mục mẫu").first.click()
    visitor.page.locator("article a", has_text="Bài mẫu: chuẩn hóa").first.click()
    visitor.page.wait_for_url("**/90_mau/01_mau.html")
    assert visitor.page.evaluate("document.fonts.ready.then(() => document.fonts.check('16px \"STIX Two Math\"', '√'))")
    found = [result for result in search(visitor.page, "muong") if "90_mau" in result["href"]]
    assert {result["href"].split("?")[0] for result in found} == {(offline / f"90_mau/0{number}_bai.html").as_uri() for number in (3, 4)}
    assert visitor.said == [] and visitor.outside("file://") == []


def test_missing_page_offers_a_search_for_what_was_asked(online, reading, visit):
    visitor = visit()
    answer = visitor.page.goto(f"{reading.url}04_buildgpt/aero_llm_04_gelu_vs_relu/")
    assert answer.status == 404 and visitor.page.title().startswith("Không tìm thấy trang")
    visitor.page.get_by_role("button", name="Tìm trong khóa học").click()
    found = visitor.page.locator(".md-search-result__item", has_text="GELU")
    found.first.wait_for()
    assert visitor.page.locator("input[name=query]").input_value() == "aero llm gelu vs relu"
    assert [said for said in visitor.said if "404" not in said] == []


def test_progress_is_kept_only_when_used_and_can_be_taken_along(online, reading, visit, tmp_path):
    visitor = visit()
    page = visitor.page
    stored = "Object.entries(localStorage).filter(([key]) => key.endsWith('aero.read')).map(([, value]) => value)"
    page.goto(f"{reading.url}90_mau/")
    assert page.evaluate(stored) == [] and page.locator(".aero-read, .aero-progress").count() == 0
    page.goto(f"{reading.url}90_mau/01_mau/")
    page.get_by_role("button", name="Đánh dấu đã đọc").click()
    assert page.get_by_role("button", name="Đã đọc").get_attribute("aria-pressed") == "true"
    page.goto(f"{reading.url}90_mau/")
    assert page.locator("li", has_text="Bài mẫu: chuẩn hóa").locator(".aero-read").inner_text().strip() == "✓ đã đọc"
    with page.expect_download() as download:
        page.get_by_role("button", name="Xuất").click()
    file = tmp_path / "progress.json"
    download.value.save_as(file)
    assert list(json.loads(file.read_text(encoding="utf-8"))) == ["90_mau/01_mau/"]
    page.goto(reading.url)
    assert page.locator("li", has_text="Mục mẫu").locator(".aero-read").inner_text().strip().startswith("1/1")
    page.locator(".aero-chip", has_text="Xóa").click()
    assert page.locator(".aero-read, .aero-progress").count() == 0
    assert visitor.said == []


def test_a_term_is_explained_at_the_pointer_and_at_the_keyboard(online, reading, visit):
    page = visit().page
    page.goto(f"{reading.url}90_mau/01_mau/")
    term = page.locator("abbr.aero-term", has_text="Chuẩn hóa tầng")
    term.focus()
    tip = page.locator(".md-tooltip2--active", has_text="layer normalization, chuẩn hóa tầng: Đưa mỗi vector")
    tip.wait_for()


def test_navigation_within_the_site_keeps_everything_alive(online, reading, visit):
    """Pages change without being loaded anew; scripts of the site start again on each."""
    visitor = visit()
    page = visitor.page
    page.goto(f"{reading.url}90_mau/01_mau/")
    page.evaluate("window.same = true")
    page.locator(".md-footer__link--next").click()
    page.wait_for_url("**/90_mau/02_bai/")
    page.get_by_role("button", name="Đánh dấu đã đọc").wait_for()
    assert page.evaluate("window.same") and visitor.said == []
