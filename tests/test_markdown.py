"""The Markdown extension by itself, as any builder would run it."""

import markdown
import pytest
from aerodocs.markdown import LessonError

REGIONS = """\
<!-- Aero-Navigation-Start -->
[🏠 Home](../index.md) > [Module](index.md)

---
### 🧭 Điều hướng nhanh

- [🏠 Cổng tài liệu](../index.md)

---
<!-- Aero-Navigation-End -->
# Tiêu đề

Lời.

<!-- Aero-Footer-Start -->

## 📄 Tài liệu cùng chuyên mục

| Bài học | Liên kết |
| :--- | :--- |
| 📌 **[P(A\\|B) \\[x\\]](a.md)** | [Xem bài viết →](a.md) |

*Cập nhật*
<!-- Aero-Footer-End -->
"""


@pytest.fixture
def render(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "shapes.py").write_text('def area(x):\n    """Area."""\n    return x * x\n', encoding="utf-8")
    md = markdown.Markdown(
        extensions=["tables", "toc", "attr_list", "pymdownx.superfences", "pymdownx.arithmatex", "aerodocs.markdown"],
        extension_configs={"pymdownx.arithmatex": {"generic": True}, "aerodocs.markdown": {"root": str(tmp_path)}},
    )

    def run(text):
        md.reset()
        result = md.convert(text)
        run.toc = [token["name"] for token in md.toc_tokens]
        return result

    return run


def test_header_goes_behind_the_title_and_regions_stay_out_of_search_and_contents(render):
    page = render(REGIONS)
    assert page.startswith("<h1")
    assert 0 < page.index('<nav aria-label="Điều hướng khóa học" class="aero-header"') < page.index("Lời.")
    assert page.count('data-search-exclude=""') == 2
    assert render.toc == ["Tiêu đề"]
    assert '<p aria-level="2" class="aero-heading" role="heading">📄 Tài liệu cùng chuyên mục</p>' in page
    assert "Aero-" not in page and "\x02" not in page


def test_footer_row_has_two_cells(render):
    row = render(REGIONS).split("<tbody>")[1].split("</tbody>")[0]
    assert row.count("<td") == 2 and "P(A|B) [x]" in row


def test_header_stays_first_where_no_title_follows(render):
    assert render(REGIONS.replace("# Tiêu đề", "Không có tiêu đề")).startswith("<nav")


@pytest.mark.parametrize(
    "hide",
    ["```html\n{}```\n", "~~~~\n{}~~~~\n", "<pre>\n{}</pre>\n"],
    ids=["fence", "tildes", "pre"],
)
def test_markers_that_are_content_stay_content(render, hide):
    page = render("# A\n\n" + hide.format("<!-- Aero-Navigation-Start -->\nx\n<!-- Aero-Navigation-End -->\n"))
    assert "Aero-Navigation-Start" in page and "aero-header" not in page


def test_unbalanced_markers_leave_the_text_as_it_is(render):
    page = render("# A\n\n<!-- Aero-Footer-Start -->\n\nVẫn còn đây.\n")
    assert "Vẫn còn đây." in page and "aero-footer" not in page


def test_snippet_cell_and_fragment(render):
    page = render("```python {.snippet}\nshapes.py::area\n```\n\n```python {.cell #mot}\n#| device: cpu\nx = 1\n```\n\n```python {.fragment}\ny = 2\n```\n")
    assert "code/shapes.py · area" in page and "Area." not in page
    assert 'id="cell-mot"' in page and "device" not in page
    assert page.count("Chưa ghi lại kết quả") == 1


def test_snippet_inside_a_list_and_an_ordinary_python_fence(render):
    page = render("- mục\n\n    ```python {.snippet}\n    shapes.py::area\n    ```\n\n```python\nplain = 1\n```\n")
    assert "area" in page and "plain" in page and "shapes.py::" not in page


@pytest.mark.parametrize(
    "text, said",
    [
        ("```python {.snippet}\nshapes.py::aera\n```\n", "area"),
        ("```python {.snippet}\n```\n", "tham chiếu"),
        ("$\\frac{1}{$", "công thức"),
        ("$$\n\\begin{cases} 1 \\\\\n$$\n", "công thức"),
    ],
)
def test_what_is_wrong_stops_the_build(render, text, said):
    with pytest.raises(LessonError, match=said):
        render(text)


def test_formulas_are_mathml_inline_and_as_block(render):
    page = render("Với $a<b$:\n\n$$\n\\begin{cases} 1 & x > 0 \\\\ 0 & x \\le 0 \\end{cases}\n$$\n")
    assert page.count("<math") == 2 and 'display="block"' in page
    assert "amp;" not in page and "arithmatex" in page
    assert "<mo>&lt;</mo>" in page


def test_needs_superfences():
    with pytest.raises(ValueError, match="superfences"):
        markdown.Markdown(extensions=["aerodocs.markdown"])
