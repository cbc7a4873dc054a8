"""What a lesson leaves as training text, how documents are read, and how they are split."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerogpt.corpus import main, plain_text, read_documents, split_documents, synthetic_vietnamese

LESSON = """---
title: "Chú ý"
---
<!-- Aero-Navigation-Start -->
[🏠 Home](../index.md) > ĐIỀU HƯỚNG
<!-- Aero-Navigation-End sum=3f2a91c07b -->

# Cơ chế **chú ý**

Đoạn *thứ nhất* với `mã`, [liên kết](a.md "x") và $d_k = 64$.<br>

!!! note "Hiểu lầm thường gặp"
    Thân của hộp, snake_case giữ nguyên.

    ```python {.cell #trong-hop}
    KHONG_DUOC_GIU = 1
    ```

```text
<!-- Aero-Footer-Start -->
KHÔNG ĐƯỢC GIỮ
```

$$
KHONG = \\frac{1}{2}
$$

| Tầng | Tham số |
|---|:-:|
| MLP | 45 % |

- ý một
- ý hai,
  tiếp {#neo}

***Đậm*** và *Ai hơn?* thì *x*: `{cell:o.so:,}` và $|d_{k}|$.

Câu cuối:
2 * 3 = 6 và
a_b.

<!-- Aero-Footer-Start -->
CHÂN TRANG
<!-- Aero-Footer-End -->
"""


def test_a_lesson_leaves_its_prose():
    assert plain_text(LESSON).splitlines() == [
        "Cơ chế chú ý",
        "",
        "Đoạn thứ nhất với mã, liên kết và $d_k = 64$.",
        "",
        "Hiểu lầm thường gặp",
        "",
        "Thân của hộp, snake_case giữ nguyên.",
        "",
        "Tầng, Tham số",
        "MLP, 45 %",
        "",
        "ý một",
        "ý hai, tiếp",
        "",
        "Đậm và Ai hơn? thì x: … và $|d_{k}|$.",
        "",
        "Câu cuối: 2 * 3 = 6 và a_b.",
    ]


def test_line_ends_byte_order_mark_and_decomposed_letters_make_no_difference():
    other = unicodedata.normalize("NFD", "\ufeff" + LESSON.replace("\n", "\r\n"))
    assert plain_text(other) == plain_text(LESSON)


@given(st.text(st.sampled_from("a`~$|-#*_<>![]() \n"), max_size=80))
def test_any_markdown_gives_text_without_trailing_blanks(markdown):
    text = plain_text(markdown)
    assert text.endswith("\n") and "\n\n\n" not in text


def test_documents_come_in_the_order_of_their_names(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.md").write_text("# hai", encoding="utf-8")
    (tmp_path / "1.txt").write_text("một\n\fmột *nữa*\n", encoding="utf-8")
    (tmp_path / "ảnh.png").write_bytes(b"\xff")
    (tmp_path / "rỗng.md").write_text("---\ntitle: x\n---\n", encoding="utf-8")
    cells = [{"cell_type": "markdown", "source": ["# ba\n", "bốn"]}, {"cell_type": "code", "source": ["x = 1"]}]
    (tmp_path / "c.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert read_documents([tmp_path]) == ["một\n", "một *nữa*\n", "hai\n", "ba\n\nbốn\n"]


@pytest.mark.parametrize("name, data", [("a.md", b"\xff"), ("a.ipynb", b"{"), ("a.ipynb", b"[]"), ("a.txt", b" \n")])
def test_files_without_readable_text_are_named(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"{tmp_path}"):
        read_documents([tmp_path / name])


def test_a_missing_path_is_named():
    with pytest.raises(FileNotFoundError, match="/nowhere"):
        read_documents(["/nowhere"])


def test_the_split_keeps_every_paragraph_on_one_side_only():
    documents = ["\n\n".join(f"đoạn {i} của {k}" + " chữ" * 20 for i in range(100)) for k in range(5)]
    training, validation = split_documents([*documents, documents[0]], validation=0.2, block=300)
    paragraphs = [{p for text in side for p in text.split("\n\n") if p} for side in (training, validation)]
    assert not paragraphs[0] & paragraphs[1]
    assert paragraphs[0] | paragraphs[1] == {p for document in documents for p in document.split("\n\n")}


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_the_split_has_the_wanted_size_up_to_one_block(share):
    training, validation = split_documents([f"văn bản {i:04d}" for i in range(1000)], share)
    assert (len(training), len(validation)) == (1000 - 1000 * share, 1000 * share)


def test_the_split_depends_on_the_texts_and_not_on_their_order():
    documents = [f"văn bản số {i}" for i in range(200)]
    expected = [sorted(side) for side in split_documents(documents)]
    assert [sorted(side) for side in split_documents(documents[::-1])] == expected
    held_out = {text for text in split_documents([*documents, "mới"])[1]} ^ set(expected[1])
    assert len(held_out) <= 2  # a grown corpus moves the border and no more


@pytest.mark.parametrize("validation", [0, 1, -0.1, float("nan")])
def test_an_impossible_share_is_refused(validation):
    with pytest.raises(ValueError, match=f"not {validation}"):
        split_documents(["a"], validation)


def test_synthetic_text_is_vietnamese_in_form_and_repeatable():
    text = synthetic_vietnamese(20_000)
    assert 20_000 <= len(text.encode()) < 21_000
    assert text == synthetic_vietnamese(20_000) != synthetic_vietnamese(20_000, seed=1)
    assert unicodedata.is_normalized("NFC", text)
    assert {"ế", "ộ", "đ"} <= set(text)


def test_the_command_freezes_a_folder(tmp_path, capsys):
    for name in "ab":
        (tmp_path / f"{name}.md").write_text(f"# bài {name}", encoding="utf-8")
    out = tmp_path / "corpus.txt"
    assert main([str(tmp_path), "--out", str(out)]) == 0
    assert "2 văn bản" in capsys.readouterr().out
    assert read_documents([out]) == ["bài a\n", "bài b\n"]
    assert main(["/nowhere", "--out", str(out)]) == 1
    assert capsys.readouterr().err == "lỗi: /nowhere: no such file or folder\n"
