"""The block parser against CommonMark (markdown-it-py), and what it adds to it."""

import pytest
import yaml
from aerodocs.blocks import front_matter, scan
from aerodocs.textfile import split_lines
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

COMMONMARK = MarkdownIt("commonmark", {"maxNesting": 200})

# Lines that begin, end or only look like a block. HTML blocks of kinds 6 and 7 are left out on purpose (see aerodocs.blocks).
LINES = """\
text
text two  
# H1
## H2 ##
#
#no
####### seven
 # one blank
    # code
\t# tab
===
---
-
- item
- 
-   wide
*  star
+ - two
1. one
2) two
10. ten
   three
    four
      six
  two
> quote
>
> - item
>     code
> # H1
> ```
> ===
```
````
```python
``` a`b
~~~
~~~~ ` x
  ```
   ~~~
    ```
- ```
  ~~~
<!-- comment -->
<!-- open
close -->
<!-->
<pre>
x </pre>
<script>x</script>
<?php
?>
<?>
<!DOCTYPE
>
<![CDATA[
]]>
* * *
***
___
_ _
- - -
-\ttab
1.\t- tab

  
\t""".split("\n")


def ours(text):
    found = []
    for block in scan(split_lines(text)):
        if block.kind == "heading":
            found.append(("heading", block.start, block.end, block.level))
        elif block.kind == "fence":
            found.append(("fence", block.start, block.text))
        else:
            found.append(("html", block.start))
    return found


def theirs(text):
    found = []
    for token in COMMONMARK.parse(text):
        if token.type == "heading_open":
            found.append(("heading", *token.map, int(token.tag[1])))
        elif token.type == "fence":
            found.append(("fence", token.map[0], token.info.strip()))
        elif token.type == "html_block":
            found.append(("html", token.map[0]))
    return found


@given(st.lists(st.sampled_from(LINES), max_size=10).map("\n".join))
@example("- a\n\n  ```\n  x\n\ny")
@example("-\n\n  # no item any more")
@example("> ```\ntext")
@example("1. a\n2. b\n   ===\n")
def test_fences_headings_and_raw_html_stand_where_commonmark_says(text):
    assert ours(text) == theirs(text)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("> > deep\n    ```\n#no\n", []),  # lazy text goes on; markdown-it-py is wrong in such places
        ("> > ```\n> > # no\n> # yes\n", [("fence", 0, ""), ("heading", 2, 3, 1)]),
        (">>- \t~~~\n", []),  # the tab reaches from column 4 to 8: indented code
        (">" * 200 + " # x\n# y\n", [("heading", 1, 2, 1)]),  # deeper than anybody writes: text
        ("<div>\n```\n# no\n```\n</div>\n", [("fence", 1, "")]),
    ],
)
def test_places_where_the_reference_is_no_help(text, expected):
    assert ours(text) == expected


@pytest.mark.parametrize("start", ["!!! note", '??? note "Gợi ý"', "???+ tip", '=== "Tab"', '===! "Tab"'])
def test_a_block_that_indents_by_four_holds_fences_and_ends_with_its_indent(start):
    fence, heading = scan(split_lines(f"{start}\n\n    ```python\n    # no\n    ```\n\n# yes\n"))
    assert (fence.kind, fence.start, fence.end, fence.depth, fence.indent, fence.text) == ("fence", 2, 5, 1, 4, "python")
    assert (heading.kind, heading.start, heading.depth) == ("heading", 6, 0)


@pytest.mark.parametrize("fence", ["```", "~~~", "`" * 7, "~" * 30])
@pytest.mark.parametrize("indent", ["", "   "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_fence_ends_with_its_own_mark_only(fence, indent, end):
    inside = [fence[:-1], fence + " x", "    " + fence, "``" if fence[0] == "~" else "~~~", "# no"]
    text = end.join([indent + fence + "md", *inside, fence + fence[0], "# yes"])
    assert [(b.kind, b.start, b.end, b.closed) for b in scan(split_lines(text))] == [("fence", 0, 7, True), ("heading", 7, 8, True)]


@pytest.mark.parametrize(
    "text, kind, closed",
    [
        ("# a\n```\nx\n", "fence", False),
        ("# a\n~~~~\nx\n~~~\n", "fence", False),
        ("# a\n<!-- x\n\ny\n", "comment", False),
        ("# a\n<pre>\n\ny\n", "html", False),
        ("# a\n<script>\ny\n", "html", False),
        ("# a\n- ```\n  x\n", "fence", True),  # the list item ends, and the fence with it
        ("# a\n> <!-- x\n", "comment", True),
    ],
)
def test_what_the_end_of_the_file_leaves_open(text, kind, closed):
    last = scan(split_lines(text))[-1]
    assert (last.kind, last.start, last.end, last.closed) == (kind, 1, len(split_lines(text)), closed)


@pytest.mark.parametrize(
    "source, text",
    [
        ("# Một\n", "Một"),
        ("  #   Một hai   ## \n", "Một hai"),
        ("# C#\n", "C#"),
        ("# a \\#\n", "a \\#"),
        ("#\tMột\n", "Một"),
        ("Một <b>hai</b>\nba\n===\n", "Một <b>hai</b> ba"),
    ],
)
def test_text_of_a_heading(source, text):
    (heading,) = scan(split_lines(source))
    assert (heading.kind, heading.level, heading.text) == ("heading", 1, text)


def test_scanning_starts_where_it_is_told():
    assert [block.start for block in scan(["---\n", "```\n", "---\n", "# a\n"], first=3)] == [3]


@pytest.mark.parametrize(
    "text, lines, data",
    [
        ("---\ntitle: Một\n---\n# a\n", 3, {"title": "Một"}),
        ("---\r\ntitle: Một\r\n...  \r\n", 3, {"title": "Một"}),
        ("---\rtitle: Một\r---", 3, {"title": "Một"}),
        ("---\n\n---\n", 3, {}),
        ("---\n\n# Đề mục\n\n---\n", 0, {}),  # two rules around a heading, as mkdocs sees it
        ("---\nchỉ là chữ\n---\n", 0, {}),
        ("---\n- a\n---\n", 0, {}),
        ("---\ntitle: Một\n", 0, {}),
        (" ---\ntitle: Một\n---\n", 0, {}),
        ("\n---\ntitle: Một\n---\n", 0, {}),
        ("", 0, {}),
    ],
)
def test_front_matter(text, lines, data):
    assert front_matter(split_lines(text)) == (lines, data)


@pytest.mark.parametrize(
    "value", ["[", '"', "a: b: c", "2024-99-99", "0x_", "!!int x", '!!int ""', "!!bool x", "!!python/object:os.system x", "*a", "[" * 100_000, "\x01"]
)
def test_front_matter_that_does_not_parse(value):
    with pytest.raises(yaml.YAMLError):
        front_matter(split_lines(f"---\ntitle: {value}\n---\n"))


@pytest.mark.parametrize("piece", [">", "- ", "1. ", "*", "* ", "-", "_ ", "=", "`", "~", "#", "# ", "<!--", "<pre", "<!A", "\t", " ", "a", "!!! a", "> - "])
@pytest.mark.parametrize("tail", ["", "x"])
def test_a_very_long_line_is_no_trap(piece, tail):
    lines = [(piece * 100_000)[:100_000] + tail + "\n", "after\n"]
    assert all(block.end <= 2 for block in scan(lines))
