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
    for path in ("", LESSON, NOTEBOOK, "04_buildgpt/kien_truc_mo_hinh_ngon_ngu_lon/", "search"):
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
