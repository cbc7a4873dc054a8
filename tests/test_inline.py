"""Titles and summaries in link texts, table cells and plain text, judged by the two parsers that show them."""

import html
import re
import unicodedata

import markdown
import pytest
from aerodocs.course import page_of
from aerodocs.document import parse
from aerodocs.inline import LONGEST, clean, escape, heading, to_link_text, to_plain
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

GFM = MarkdownIt("commonmark").enable(["table", "strikethrough"])
PYTHON = ["tables", "attr_list", "md_in_html", "pymdownx.superfences"]

# Whole constructs and their halves: what a title is made of when it wants to break out.
PIECES = r"""
    a Đề x_1 *nghiêng* **đậm** * ** _ __ ~~ ~ `mã` `a|b` ` `` `]|[` `\|` `| \ \| \\ | || [ ] ( ) [a](b) [a][b] ![a](b) ! ](x) ]( [x]:
    <b> </b> <b <br/> < > <!-- --> <a href=" "> " ' & &amp; &#124; &# $ $$ $x_1$ $x|y$ $a<b$ $\|x\| $a[1]$ $a`b$ : :// http://a.vn { } {#id} {:.c}
    # = - + 1. ^ [^1] 😀 🧑‍🏫 é e\u0301 / .md
""".replace("\\u0301", "\u0301").split() + ["<!-- c -->", " | ", "{: .c }", "\u200b", "\ufffd", "\ue000", "\U000f0000"]
TITLES = st.lists(st.one_of(st.sampled_from(PIECES), st.just(" "), st.text(max_size=3)), max_size=10).map("".join).map(clean)


def cells(page):
    """Cells of the first body row, and the links (text, address) of the page."""
    row = page.partition("<tbody>")[2].partition("</tr>")[0]
    return len(re.findall("<td", row)), re.findall(r'<a href="([^"]*)"', page)


def show(text):
    return GFM.render(text), markdown.markdown(text, extensions=PYTHON)


@given(TITLES)
@example("P(A|B) và [ngoặc] `a|b` $x_1|x_2$ *nghiêng* 🚀")
@example("`]|[`")
@example("$a`b$ `c`")
@example("a\\|b")
@example("a\\\\|b")
@example('$<a href="$ ">')
@example("`" * 7)
def test_a_title_never_breaks_its_row(title):
    text = to_link_text(title)
    table = f"| Bài học | Liên kết |\n| :--- | :--- |\n| 📌 **[{text}](a.md)** | [Xem](b.md) |\n"
    for page in show(table):
        assert cells(page) == (2, ["a.md", "b.md"])


@given(TITLES, TITLES)
@example("$a`b$", "`c`")
@example("$<!--$", "x-->y")
@example('$<a href="$', 'b ">')
@example("*a", "b*")
@example("<!--", "-->")
def test_titles_never_break_the_breadcrumb(first, second):
    first, second = to_link_text(first), to_link_text(second)
    crumbs = f"[🏠 Home](../index.md) > [{first}](index.md) > [{second}](b.md)\n\n- [🏠 {first}](c.md): {second}\n- [x](d.md)\n"
    for page in show(crumbs):
        assert cells(page)[1] == ["../index.md", "index.md", "b.md", "c.md", "d.md"]


@given(st.text(max_size=30))
@example("# a #")
@example("C# {#id} *x* ~~y~~ [z](u) $a$ <b> & `c` | \\ _d_")
def test_escaped_text_is_shown_as_it_is(text):
    private = re.sub("[\U000f0000-\U0010ffff]", "", clean(text))
    assert to_plain(escape(text)) == clean(private)
    assert heading(escape(text)) == escape(text)
    shown = GFM.renderInline(to_link_text(escape(text)))
    assert html.unescape(shown) == html.unescape(html.escape(clean(private), quote=False))


@given(TITLES)
def test_link_text_is_one_clean_line_and_stable(title):
    text = to_link_text(title)
    assert text == clean(text) == unicodedata.normalize("NFC", " ".join(text.split()))
    assert not re.search("[\x00-\x1f\u2028\u2029\u202e\ud800-\udfff\U000f0000-\U0010ffff]", text)
    assert to_plain(title) == clean(to_plain(title))


@pytest.mark.parametrize(
    "source, link, plain",
    [
        ("Một", "Một", "Một"),
        ("P(A|B)", r"P(A\|B)", "P(A|B)"),
        ("a [ngoặc]", r"a \[ngoặc\]", "a [ngoặc]"),
        ("[nhãn](x.md) và ![ảnh](y.png)", "nhãn và ảnh", "nhãn và ảnh"),
        ("`nn.Linear`", "`nn.Linear`", "nn.Linear"),
        ("`a|b`", "<code>a&#124;b</code>", "a|b"),
        ("`]|[`", "<code>&#93;&#124;&#91;</code>", "]|["),
        ("`` a`b ``", "`` a`b ``", "a`b"),
        ("*nghiêng* **đậm** _x_ __y__ ~~z~~", "*nghiêng* **đậm** _x_ __y__ ~~z~~", "nghiêng đậm x y z"),
        ("snake_case_name", "snake_case_name", "snake_case_name"),
        ("$x_1|x_2$", r"$x_1\vert x_2$", "x_1|x_2"),
        (r"$\|x\|_2$", r"$\Vert x\Vert _2$", r"\|x\|_2"),
        ("$a<b>c$", r"$a\lt b\gt c$", "a<b>c"),
        ("$x[1]$", r"$x\lbrack 1\rbrack $", "x[1]"),
        ("giá $5 và $6", "giá &#36;5 và &#36;6", "giá $5 và $6"),
        ("$a`b$", r"&#36;a\`b&#36;", "$a`b$"),
        (r"\*không\*", r"\*không\*", "*không*"),
        (r"a\|b", "a&#124;b", "a|b"),
        ("x<br>y <!-- z -->", "xy", "xy"),
        ("a < b & c", "a &#60; b &#38; c", "a < b & c"),
        ("&amp; &#124;", "&amp; &#124;", "& |"),
        ("một `lẻ", r"một \`lẻ", "một `lẻ"),
        ("e\u0302\u0301", "ế", "ế"),
        ("a\tb\u2028c\u202ed", "a b c d", "a b c d"),
        ("a\ud800b", "a b", "a b"),
    ],
)
def test_examples(source, link, plain):
    assert (to_link_text(source), to_plain(source)) == (link, plain)


def test_attributes_of_a_heading_are_not_its_text():
    assert [heading(s) for s in ("A {#id}", "A {: .c #d }", "A {b}", r"A \{#id}")] == ["A", "A", "A {b}", r"A \{#id}"]


@pytest.mark.parametrize("piece", ["**a ", "`a``", "[a](", '<a b="', "$a ", "|"])
def test_a_title_of_a_megabyte_is_no_trap(piece):
    long = (piece * 1_000_000)[:1_000_000]
    page = page_of(parse("a.md", f"# {long}\n"))
    summary = page_of(parse("a.md", f"---\nsummary: {long!r}\n---\n# A\n")) if "'" not in long and "\\" not in long else page
    for text in (page.label, to_link_text(escape(long)), to_link_text(summary.summary)):
        assert len(text) <= 10 * LONGEST
