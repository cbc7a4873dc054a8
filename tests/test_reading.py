"""What makes pages pleasant to read, without a browser: font, reading time, terms, notebooks, folded tables, links to sources."""

import io
import json

import markdown
import pytest
from aerodocs import fonts, notebooks, reading
from aerodocs.lessons import Site
from browsing import ROOT
from browsing import offline, online, reading as reading_course  # noqa: F401 (fixtures)
from fontTools.ttLib import TTFont

@pytest.fixture
def render(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "shapes.py").write_text("\n\ndef area(x):\n    return x * x\n", encoding="utf-8")
    options = {"root": str(tmp_path), "site": Site(source="https://example.org/blob/main/")}
    extensions = ["tables", "toc", "attr_list", "pymdownx.superfences", "pymdownx.arithmatex", "aerodocs.markdown"]
    configs = {"pymdownx.arithmatex": {"generic": True}, "aerodocs.markdown": options}
    return lambda text: markdown.markdown(text, extensions=extensions, extension_configs=configs)


def test_font_has_the_characters_shown_their_italics_and_the_math_table():
    shown = fonts.characters("<p>không</p><math><mi>x</mi><mo>&lt;</mo><mi>h</mi><mi>φ</mi></math>")
    assert shown == set("x𝑥<hℎφ𝜑")
    font = TTFont(io.BytesIO(fonts.math_font(frozenset(shown))))
    assert {ord(character) for character in shown | set("√−")} <= set(font.getBestCmap()) and len(font.getGlyphOrder()) < 200
    assert "MATH" in font and font["MATH"].table.MathVariants is not None
    assert "Open Font License" in font["name"].getDebugName(13)
    assert fonts.math_font(frozenset(shown)) == fonts.math_font.__wrapped__(frozenset(shown))


def test_minutes_count_words_code_and_formulas_but_no_navigation():
    words = "chữ " * 440
    around = '<nav class="aero-header">' + words + "</nav>", '<footer class="aero-footer">' + words
    assert reading.minutes(f"<h1>Bài</h1>{around[0]}<p>{words}</p>{around[1]}") == 2
    assert reading.minutes("<pre><code>" + "x = 1\n" * 40 + "</code></pre>") == 2
    assert reading.minutes("<math><mi>x</mi></math>" * 30) == 2
    assert reading.minutes("") == 1


def test_snippet_links_to_its_line_where_the_repository_is_known(render):
    page = render("```python {.snippet}\nshapes.py::area\n```\n")
    assert '<a href="https://example.org/blob/main/code/shapes.py#L3">code/shapes.py · area</a>' in page


@pytest.mark.parametrize("lessons, current, folded", [(10, 3, 0), (11, 3, 1), (14, 13, 3)])
def test_long_table_of_lessons_is_folded_but_for_its_first_rows_and_the_current_one(render, lessons, current, folded):
    rows = "".join(f"| {'📌 **' if n == current else ''}[Bài {n}](b{n}.md){'**' if n == current else ''} | [Xem](b{n}.md) |\n" for n in range(1, lessons + 1))
    page = render(f"<!-- Aero-Footer-Start -->\n\n| Bài học | Liên kết |\n| :--- | :--- |\n{rows}\n<!-- Aero-Footer-End -->\n")
    assert page.count('<tr class="aero-fold">') == folded
    assert ("<summary>" in page) == bool(folded) and (f"Cả {lessons} bài học" in page) == bool(folded)
    assert "aero-fold" not in page.split("📌")[0].rpartition("<tr")[2]


def test_notebook_page_is_cut_down_to_what_the_site_shows():
    page = notebooks.clean(
        '<style>.x{}</style><script src=""></script><div class="jp-Cell jp-CodeCell"><div class="jp-InputPrompt jp-InputArea-prompt">In [1]:</div>'
        '<clipboard-copy for="cell-1"><svg></svg></clipboard-copy><div class="highlight-ipynb hl-python"><pre><span class="mi">1</span>\n</pre></div>'
        '<div class="clipboard-copy-txt" id="cell-1">1</div></div><div class="jp-OutputPrompt">Out[1]:</div>'
        '<div class="jp-RenderedText jp-OutputArea-output" tabindex="0">\n<pre>giá $5 và $6</pre>\n</div>'
        '<div class="jp-RenderedMarkdown"><p>$a&lt;b$ <code>$x$</code> $$\\sqrt{x}$$ <a href="javascript:x()" onclick="y()">l</a></p></div>'
    )
    assert '<div class="aero-cell"><div class="highlight"><pre><code><span class="mi">1</span></code></pre></div>' in page
    assert '<pre class="aero-output__text" tabindex="0">giá $5 và $6</pre>' in page
    assert "<mo>&lt;</mo>" in page and "<msqrt>" in page and "<code>$x$</code>" in page
    for gone in ("style", "script", "In [1]", "Out[1]", "clipboard", "svg", "onclick", "jp-"):
        assert gone not in page.replace("aero-output__text", "")
    with pytest.raises(notebooks.FormulaError, match="frac"):
        notebooks.clean('<div class="jp-RenderedMarkdown">$\\frac{1}{$</div>')


def test_pages_tell_search_engines_and_other_sites_what_they_are(online, reading_course):
    lesson = (online / "90_mau/01_mau/index.html").read_text(encoding="utf-8")
    said = "Bài mẫu của bộ kiểm thử: &quot;công thức&quot;, thẻ, hình &amp; bảng."
    assert f'<meta name="description" content="{said}">' in lesson and f'<meta property="og:description" content="{said}">' in lesson
    assert f'<meta property="og:url" content="{reading_course.url}90_mau/01_mau/">' in lesson
    assert '<meta property="og:title" content="Bài mẫu: chuẩn hóa, công thức, thẻ và hình">' in lesson
    assert 'href="../../assets/favicon.svg"' in lesson
    assert f"<loc>{reading_course.url}90_mau/01_mau/</loc>" in (online / "sitemap.xml").read_text(encoding="utf-8")


def test_links_to_the_repository_are_there_only_where_it_is_known(online, offline):
    lesson = (online / "90_mau/01_mau/index.html").read_text(encoding="utf-8")
    assert '/edit/main/docs/90_mau/01_mau.md" rel="edit">Sửa trang này</a>' in lesson
    assert "/blob/main/code/aerogpt/functional.py#L" in lesson
    lesson = (offline / "90_mau/01_mau.html").read_text(encoding="utf-8")
    assert "Sửa trang này" not in lesson and "blob/main" not in lesson and "code/aerogpt/functional.py · softmax" in lesson


def test_search_index_holds_no_navigation_of_a_folded_table(online):
    index = json.loads((online / "search" / "search_index.json").read_text(encoding="utf-8"))
    text = next(entry["text"] for entry in index["docs"] if entry["location"].startswith("90_mau/05_bai"))
    assert "Lời của bài 5." in text and "Rau xanh" not in text
