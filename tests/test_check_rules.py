"""Kinds of faults, each in several shapes, and what looks like one and is none. Line ends, a byte order mark and NFD move no line."""

import unicodedata
from pathlib import Path

import pytest
from aerodocs.rules.inspection import inspect
from aerodocs.settings import Settings


def findings(tmp_path: Path, text: str, **settings) -> list[tuple[int, str]]:
    docs = tmp_path / "docs"
    docs.mkdir(exist_ok=True)
    (docs / "a.md").write_bytes(text.encode())
    (docs / "b.md").write_text("# B\n\n## Mục `a_b` và *c*\n\n## Trùng\n\n## Trùng\n", encoding="utf-8")
    (docs / "m").mkdir(exist_ok=True)
    (docs / "m" / "index.md").write_text("# M\n", encoding="utf-8")
    (docs / "hình 1.png").write_bytes(b"")
    return [(problem.line, problem.code) for problem in inspect(docs, Settings(**settings)).problems if problem.path == "a.md"]


WRONG = {
    # formulas
    "inline math does not parse": ("Với $x^2^3$ thì sai.", [(3, "math-parse")]),
    "math over two lines": ("Với $x +\n\\khongco$ thì sai.", [(4, "math-parse")]),
    "math in a quote": ("> $$\n> a_\n> $$", [(4, "math-parse")]),
    "math in a list": ("- ý\n\n    $$\n    a_\n    $$", [(6, "math-parse")]),
    "math in an admonition": ("!!! note\n    $a_$", [(4, "math-parse")]),
    "math in a table": ("| a | b |\n| - | - |\n| $a_$ | x |", [(5, "math-parse")]),
    "math in a heading": ("## Mục $a_$", [(3, "math-parse")]),
    "math in round brackets": ("Với \\(a_\\).", [(3, "math-parse")]),
    "math in square brackets": ("\\[\na_\n\\]", [(4, "math-parse")]),
    "environment without delimiters": ("\\begin{align}\na & b^2^3\n\\end{align}", [(4, "math-parse")]),
    "two faults in one formula": ("$$\n\\text{a_b} + \\text{c_d}\n$$", [(4, "math-parse"), (4, "math-parse")]),
    "missing end": ("$$\n\\begin{cases} a & b\n$$", [(4, "math-parse")]),
    "empty with blanks": ("$$ $$", [(3, "empty-math")]),
    "never closed": ("$$\na = b", [(3, "unclosed-math")]),
    "closed after a blank line": ("$$\na\n\n= b\n$$", [(3, "unclosed-math")]),
    "in the middle of a paragraph": ("Ta có\n$$\na\n$$\nnên.", [(4, "math-not-alone")]),
    "in the middle of a line": ("Ta có $$a$$ nên.", [(3, "math-not-alone")]),
    "indented a little": ("Ta có\n\n $$\na\n $$", [(5, "math-not-alone")]),
    "star after a group": ("$\\mathbf{W}*{ij} x$", [(3, "star-for-underscore")]),
    "star after an operator": ("$\\max*i x_i$", [(3, "star-for-underscore")]),
    "equals runs": ("$$\na ==== b\n$$", [(4, "equals-run")]),
    "a line of equals": ("$$\na\n=\nb\n$$", [(5, "equals-run")]),
    "row breaks of one backslash": ("$$\n\\begin{cases} a & b \\\nc & d \\end{cases}\n$$", [(4, "lost-row-break")]),
    "row breaks in one line": ("$\\begin{pmatrix} a & b \\ c & d \\end{pmatrix}$", [(3, "lost-row-break")]),
    "rows without breaks": ("$$\n\\begin{pmatrix}\na & b\nc & d\n\\end{pmatrix}\n$$", [(5, "lost-row-break")]),
    "TeX in the text": ("Độ dài \\sqrt{n} và \\alpha.", [(3, "tex-outside-math")]),
    "TeX in two brackets": ("Với (\\alpha) và [\\beta_1 + \\gamma].", [(3, "tex-outside-math")] * 2),
    # tables
    "pipe in a formula": ("| a |\n| - |\n| $\\lvert x | y|$ |", [(5, "pipe-in-table-math")]),
    "too many cells": ("| a | b |\n|---|:-:|\n| 1 | 2 | 3 |", [(5, "table-row")]),
    # links
    "no target": ("[a]( ) ![b]() [c](<>)", [(3, "empty-link-target")] * 3),
    "no target in HTML": ('<a href="">a</a>', [(3, "empty-link-target")]),
    "missing image": ("![a](khong.png)", [(3, "broken-link")]),
    "missing image in HTML": ('<img alt="a" src="khong.png">', [(3, "broken-link")]),
    "missing in a definition": ("[a][x]\n\n[x]: khong.md", [(5, "broken-link")]),
    "missing in a table": ("| a |\n| - |\n| [x](khong.md) |", [(5, "broken-link")]),
    "missing on the second line": ("Dài\n[a](khong.md) và [b](b.md)", [(4, "broken-link")]),
    "folder": ("[m](m/)", [(3, "broken-link")]),
    "outside": ("[m](../x.md)", [(3, "broken-link")]),
    "case of the folder": ("[m](M/index.md)", [(3, "wrong-case")]),
    "absolute": ("[b](/b.md)", [(3, "absolute-link")]),
    "anchor elsewhere": ("[b](b.md#khong)", [(3, "missing-anchor")]),
    "anchor with marks taken off": ("[b](b.md#muc-a_b-va-c)", [(3, "missing-anchor")]),
    "script": ("[b](javascript:alert(1)) ![c](data:image/png;base64,AAAA)", [(3, "forbidden-scheme")] * 2),
    "local file": ("[b](file:///etc/passwd)", [(3, "forbidden-scheme")]),
    "Windows path": ("[b](C:\\b.md) [c](m\\index.md)", [(3, "bad-address")] * 2),
    "web address without scheme": ("[b](www.example.org/a) [c](https//example.org)", [(3, "bad-address")] * 2),
    "web address without host": ("<https://> [c](http:///a)", [(3, "bad-address")] * 2),
    "web address with a wrong port": ("[c](https://example.org:port/)", [(3, "bad-address")]),
    "mail without host": ("[c](mailto:ai) <mailto:ai@>", [(3, "bad-address")] * 2),
    "blank in a path": ("![a](hình 1.png)", [(3, "bad-address")]),
    "note without text": ("a[^1] b[^2]\n\n[^1]: x", [(3, "missing-footnote")]),
    # code
    "Python that does not parse": ("```python\nprint 'a'\n```", [(4, "code-does-not-parse")]),
    "in a list": ("1. ý\n\n    ```py\n    def f(:\n    ```", [(6, "code-does-not-parse")]),
    "fence that its list leaves open": ("- ý\n\n    ```text\n    x\ny\n```\nz\n```", [(5, "unclosed-fence")]),
    "fence that its frame leaves open": ("!!! note\n\n    ```text\n    x\n\nHết.", [(5, "unclosed-fence")]),
    "fence that is indented for nothing": ("Đoạn.\n\n    ```text\n    x\n    ```", [(5, "fence-indent"), (7, "fence-indent")]),
    "frame that ended before its fence": ("!!! note\n    một\nhai\n\n    ```text\n    x\n    ```", [(7, "fence-indent"), (9, "fence-indent")]),
    "words after the language": ("```text a b\nx\n```", [(3, "fence-mark")]),
    "closing line indented otherwise": ("```text\nx\n  ```", [(5, "fence-mark")]),
    "longer closing line": ("```text\nx\n`````", [(5, "fence-mark")]),
    "backtick in the opening line": ("```text {.a}`\nx", [(3, "stray-backtick")]),
    "code span left open": ("Hàm `gelu và relu.", [(3, "stray-backtick")]),
    "in a quote": ("> ```python\n> x = (\n> ```", [(4, "code-does-not-parse")]),
    "name from a later block": ("```python\nf(1)\n```\n\n```python\ndef f(x): return x\n```", [(4, "undefined-name")]),
    "dollars in JSON": ("```json\n{\n$$\n}\n```", [(5, "math-delimiter-in-code")]),
    "fence with three blanks in a list": ("1. ý\n\n   ```text\n   x\n   ```", [(5, "fence-indent")]),
    "fence beside the marker": ("- ```text\n  x\n  ```", [(3, "fence-indent")]),
    "snippet that is not there": ("```python {.snippet}\na/b.py::c\n```", [(4, "snippet")]),
    "included file that is not there": ('--8<-- "khong/co.py"', [(3, "snippet")]),
    "cells with one id": ("```python {.cell #a}\n1\n```\n\n```python {.cell #a}\n2\n```", [(7, "cell-id")]),
    # text
    "chat preamble": ("Chắc chắn rồi! Dưới đây là bài.", [(3, "generator-residue")]),
    "chat preamble in English": ("Here is the revised version of the lesson.", [(3, "generator-residue")]),
    "chat closing": ("Nội dung.\n\nBạn có muốn tôi viết thêm ví dụ không?", [(5, "generator-residue")]),
    "citation marks": ("Ý thứ nhất 【12†source】.\nÝ hai [cite: 3, 4].", [(3, "generator-residue"), (4, "generator-residue")]),
    "tracking": ("[a](https://example.org/?utm_source=chatgpt.com)", [(3, "generator-residue")]),
    "tone marks": ("Hòa và hoà, thủy.", [(3, "mixed-tone-marks")]),
    "zero-width": ("a\u200bb", [(3, "hidden-character")]),
    "replacement in a code span": ("`a\ufffd`", [(3, "replacement-character")]),
}

RIGHT = {
    "amounts in two cells": "| a | b |\n| - | - |\n| từ $OUT trở đi | chỗ khác ($OUT/a) |",
    "pipes in code in a table": "| a |\n| - |\n| `a|b` \\| c |\n| một",
    "prices": "Giá 5$ và 10$, hay $5 và $10, hay 5\\$ rồi.",
    "dollars in code": "Viết `$$` hay ``$`` hoặc ```` ``` ````.",
    "shell": "```bash\necho $$ $HOME\n```",
    "TeX shown as code": "Lệnh `\\alpha` và:\n\n```latex\n$$ \\frac{1}{ $$\n```",
    "TeX in indented code": "Ví dụ:\n\n    $$ \\frac{1}{ \\alpha [x](y.md)\n\nHết.",
    "paths that look like TeX": "Tập tin C:\\text\\alpha và a\\beta.",
    "starred commands": "$\\operatorname*{argmax}_x f(x) * 2$ và $a * b$, $2*x$",
    "products": "$\\mathbf{W}*x$",
    "cases with line breaks": "$$\n\\begin{cases} a & b \\\\\nc & d \\end{cases}\n$$",
    "one-row matrix": "$\\begin{pmatrix} a & b \\end{pmatrix}$",
    "comparison": "$a == b$ và $x = y$",
    "Vietnamese in a formula": "$\\text{số đầu} = 12$",
    "display in a list and a quote": "- $$x$$\n\n> $$\n> a\n> $$\n\n1. ý\n\n    $$\n    b\n    $$",
    "display after a heading": "## Mục\n$$\na\n$$",
    "formula lines that look like blocks": "$$\na\n- b\n+ c\n> d\n$$",
    "comment": "<!-- [x](khong.md) $$ -->\n\n<!--\n[x](khong.md)\n$$\n-->",
    "links in code": "`[x](khong.md)`\n\n```markdown\n[x](khong.md)\n```",
    "brackets in prose": "f[i](không phải liên kết vì có dấu) \\[x](khong.md)".replace("f[i](không phải liên kết vì có dấu) ", ""),
    "all kinds of right links": (
        '[a](b.md "Tên") [b](<hình 1.png>) [c](h%C3%ACnh%201.png) [d](b.md#mục-a_b-và-c) [e](b.md#trùng_1) [f](#a) [g](m/index.md?x=1)\n'
        "<https://example.org/a_(b)> [h](https://vi.wikipedia.org/wiki/GPT_(mô_hình)) [i](mailto:a@example.org?subject=x) <ten@example.org> [k](tel:+84123)"
    ),
    "note": "a[^1]\n\n[^1]: x",
    "prompts": "```python\n>>> x = 1\n>>> for i in range(3):\n...     x += i\n3\n```",
    "magics": "```python\n%timeit 1 + 1\n!pip install x\ny = 2\n```",
    "pieces of a class": "```python\n    def forward(self, x):\n        return x\n```",
    "names from an earlier block": "```python\nimport math as m\n```\n\n```python\nm.pi\n```",
    "names from a star": "```python\nfrom math import *\npi\n```",
    "comprehensions and lambdas": "```python\n[a for a in range(3) if (lambda b: b)(a)]\ntry:\n    pass\nexcept OSError as e:\n    e\n```",
    "other languages": "```text\ndef (\n```\n\n```\nprint 'a'\n```",
    "text about assistants": "Mô hình GPT-2 không phải trợ lý.\n\nDưới đây là bốn bước của softmax.",
    "tone marks of closed syllables": "Hoàn toàn, khoảng, quý, quà, thuyền, hóa, thúy.",
    "GPT-2 special tokens": "Token `<|endoftext|>` và <|im_start|>.",
    "html": '<div id="x" markdown>\n\n[a](#x)\n\n</div>',
}


@pytest.mark.parametrize("text, expected", WRONG.values(), ids=WRONG)
def test_wrong(text, expected, tmp_path):
    assert findings(tmp_path, f"# A\n\n{text}\n") == expected


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT)
def test_right(text, tmp_path):
    assert findings(tmp_path, f"# A\n\n{text}\n") == []


@pytest.mark.parametrize("change", [lambda t: t.replace("\n", "\r\n"), lambda t: t.replace("\n", "\r"), lambda t: "\ufeff" + t, lambda t: t.rstrip("\n")])
def test_lines_are_exact_whatever_the_line_ends(change, tmp_path):
    for text, expected in WRONG.values():
        assert findings(tmp_path, change(f"# A\n\n{text}\n")) == expected, text


def test_lines_are_exact_in_nfd(tmp_path):
    for text, expected in WRONG.values():
        found = findings(tmp_path, unicodedata.normalize("NFD", f"# Đề\n\n{text}\n"))
        assert [finding for finding in found if finding[1] not in ("not-nfc", "wrong-case", "missing-anchor", "broken-link", "bad-address")] == [
            finding for finding in expected if finding[1] not in ("wrong-case", "missing-anchor", "broken-link", "bad-address")
        ], text


def test_terms(tmp_path):
    text = "# A\n\nCơ chế\ntập trung và `cơ chế tập trung`.\n"
    assert findings(tmp_path, text, terms={"cơ chế tập trung": "cơ chế chú ý"}) == [(3, "glossary-term")]


def test_near_duplicates_of_large_pages(tmp_path):
    """The sketch agrees with the true similarity on both sides of the bound."""
    words = [f"chữ{number}" for number in range(1500)]
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "01.md").write_text("# Một\n\n" + " ".join(words) + "\n", encoding="utf-8")
    for changed, expected in ((20, True), (300, False)):
        other = [f"khác{word}" if number < changed else word for number, word in enumerate(words)]
        (docs / "02.md").write_text("# Hai\n\n" + " ".join(other) + "\n", encoding="utf-8")
        assert [problem.code for problem in inspect(docs, Settings()).problems] == ["near-duplicate"] * expected
