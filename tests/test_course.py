"""Order, titles, folders, neighbours: the course as a tree, and the documents it is made from."""

import json
import random
import re
from itertools import pairwise

import pytest
from aerodocs.course import Course, Page, is_index, natural_key, page_of
from aerodocs.document import notebook, parse, readable, title_source
from hypothesis import given
from hypothesis import strategies as st


def paths(course):
    return [page.path for page in course.sequence]


def build(*names, **options):
    return Course([page_of(parse(name, f"# {name}\n")) for name in names], **options)


def test_natural_order_is_by_numbers_then_name():
    names = ["bai_010_x.md", "bai_1_y.md", "bai_01_x.md", "bai_02.md", "bai_09.md", "bai_02_2.md", "bai_02_10.md", "khong_so.md", "bai_029.md"]
    random.Random(1).shuffle(names)
    assert paths(build(*names))[1:] == [
        "bai_01_x.md", "bai_1_y.md", "bai_02.md", "bai_02_2.md", "bai_02_10.md", "bai_09.md", "bai_010_x.md", "bai_029.md", "khong_so.md",
    ]  # fmt: skip


def test_lexical_order_is_by_characters_and_ignores_front_matter():
    pages = [page_of(parse(f"{name}.md", text)) for name, text in (("b_02", "x"), ("b_010", "x"), ("b_01_x", "x"), ("z", "---\norder: 0\n---\nx"))]
    assert paths(Course(pages, "lexical"))[1:] == ["b_010.md", "b_01_x.md", "b_02.md", "z.md"]
    assert paths(Course(pages))[1:] == ["z.md", "b_01_x.md", "b_02.md", "b_010.md"]


@pytest.mark.parametrize(
    "order, place",
    [("0", 0), ("1.5", 1), ("-3", 0), (".inf", 3), ("2", 2), (".nan", 2), ("true", 2), ('"0"', 2), ("[0]", 2), ("1" + "0" * 400, 3)],
)
def test_order_in_front_matter(order, place):
    pages = [page_of(parse(f"{name}.md", "x")) for name in ("01", "02", "03")]
    extra = page_of(parse("02_z.md", f"---\norder: {order}\n---\nx"))
    assert paths(Course([*pages, extra])).index("02_z.md") - 1 == place


@given(st.lists(st.text("ab_ 0189.", min_size=1, max_size=8), unique=True, max_size=8), st.randoms())
def test_order_depends_on_names_alone(names, rng):
    shuffled = names[:]
    rng.shuffle(shuffled)
    assert sorted(names, key=natural_key) == sorted(shuffled, key=natural_key)


def test_folders_are_modules_with_an_index_each():
    course = build("02_b/01.md", "01_a/sau/sau_hon/01.md", "01_a/index.md", "x.md")
    assert paths(course) == [
        "index.md", "01_a/index.md", "01_a/sau/index.md", "01_a/sau/sau_hon/index.md", "01_a/sau/sau_hon/01.md",
        "02_b/index.md", "02_b/01.md", "x.md",
    ]  # fmt: skip
    assert [page.path for page in course.pages.values() if page.created] == [
        "index.md", "01_a/sau/index.md", "01_a/sau/sau_hon/index.md", "02_b/index.md",
    ]  # fmt: skip
    assert [page.title for page in course.sequence][:4] == ["Cổng tài liệu", "01_a/index.md", "sau", "sau hon"]


def test_neighbours_go_through_the_whole_course():
    course = build("01_a/01.md", "01_a/02.md", "02_b/01.md")
    sequence = course.sequence
    assert course.neighbours(sequence[0]) == (None, sequence[1])
    assert course.neighbours(sequence[-1]) == (sequence[-2], None)
    for before, after in pairwise(sequence):
        assert course.neighbours(before)[1] is after and course.neighbours(after)[0] is before


def test_readme_is_the_index_of_its_folder_unless_there_is_one():
    course = build("a/README.md", "a/1.md", "b/README.md", "b/index.md", "b/1.md")
    assert course.folders["a"].index.path == "a/README.md"
    assert course.folders["b"].index.path == "b/index.md" and course.left_out == ["b/README.md"]
    assert "b/README.md" not in course.pages and "b/README.md" not in paths(course)


@pytest.mark.parametrize("path, expected", [("index.md", True), ("a/README.md", True), ("a/index.markdown", True), ("a/readme.md", False), ("a/index.ipynb", False), ("index/a.md", False)])
def test_is_index(path, expected):
    assert is_index(path) is expected


@pytest.mark.parametrize(
    "text, listed",
    [
        ("", False),
        ("  \n\t\n", False),
        ("\ufeff\n", False),
        ("---\ntitle: A\n---\n", False),
        ("<!-- nháp -->\n\n<!-- hai\ndòng -->\n", False),
        ("<!-- Aero-Footer-Start -->\nx\n<!-- Aero-Footer-End -->\n", False),
        ("<!-- a --> chữ\n", True),
        ("<!-- a\nb --> chữ <!-- c -->\n", True),
        ("# A\n", True),
        ("---\ndraft: true\n---\n# A\n", False),
        ("---\ndraft: false\n---\n# A\n", True),
        ('---\ndraft: "true"\n---\n# A\n', True),
        ("```\n```\n", True),
    ],
)
def test_empty_pages_and_drafts_are_not_listed(text, listed):
    page = page_of(parse("01_a.md", text))
    course = Course([page, page_of(parse("02_b.md", "# B\n"))])
    assert page.listed is listed and ("01_a.md" in paths(course)) is listed
    if not listed:
        assert course.neighbours(page) == (None, None)


def test_a_folder_of_drafts_has_no_index_and_a_draft_index_hides_its_folder():
    draft = "---\ndraft: true\n---\n# A\n"
    course = Course([page_of(parse("a/1.md", draft)), page_of(parse("b/index.md", draft)), page_of(parse("b/1.md", "x"))])
    assert paths(course) == ["index.md"] and set(course.folders) == {"", "b"}


def test_quick_navigation_is_the_portal_and_who_asks_or_else_every_module():
    pages = [page_of(parse(f"{name}/index.md", f"# {name}\n")) for name in ("10_a", "9_b")]
    assert [page.path for page in Course(pages).quick_nav()] == ["index.md", "9_b/index.md", "10_a/index.md"]
    pages.append(page_of(parse("10_a/sau/index.md", "---\nquick_nav: true\n---\n# C\n")))
    pages.append(page_of(parse("10_a/bai.md", "---\nquick_nav: true\n---\n# D\n")))
    assert [page.path for page in Course(pages).quick_nav()] == ["index.md", "10_a/sau/index.md"]


@pytest.mark.parametrize(
    "text, title",
    [
        ("# Một\n\n# Hai\n", "Một"),
        ("---\ntitle: Đề mục\n---\n# Một\n", "Đề mục"),
        ("---\ntitle: 2026\n---\n", "2026"),
        ("---\ntitle: '  '\n---\n# Một\n", "Một"),
        ("---\ntitle: [a, b]\n---\n# Một\n", "Một"),
        ("---\ntitle:\n---\n# Một\n", "Một"),
        ("---\ntitle: a|b*\n---\n", r"a\|b\*"),
        ("```\n# không\n```\n# Một\n", "Một"),
        ("<!--\n# không\n-->\n# Một\n", "Một"),
        ("<pre>\n# không\n</pre>\n# Một\n", "Một"),
        ("> # không\n\n# Một\n", "Một"),
        ("- # không\n\n# Một\n", "Một"),
        ("    # không\n\n# Một\n", "Một"),
        ("## Chỉ có mục con\n\nMột câu.\n", "01 a"),
        ("#\n\n# Một\n", "01 a"),
        ("#Một\n", "01 a"),
        ("Một\n===\n", "Một"),
        ("# Một {#id}\n", "Một"),
        ("# <!-- chỉ chú thích -->\n", "01 a"),
        ("# \ufffd Tiêu đề\n", "01 a"),
        ("# a&#0;b\n", "01 a"),
        ("# a&#xD800;b\n", "01 a"),
        ("---\ntitle: \ufffd\n---\n# Một\n", "Một"),
        ("# e\u0302\u0301\n", "ế"),
        ("<!-- Aero-Navigation-Start -->\n# không\n<!-- Aero-Navigation-End -->\n# Một\n", "Một"),
        ("", "01 a"),
    ],
)
def test_title(text, title):
    assert title_source(parse("01_a.md", text), "01 a") == title
    assert page_of(parse("01_a.md", text)).title == title


@pytest.mark.parametrize(
    "path, title",
    [
        ("a/01_bai-hai.md", "01 bai hai"), ("a/---.md", "---"), ("a/_.md", r"\_"), ("a/\ufffd.md", "?"), ("a/\x01.md", "?"),
        ("a_b/index.md", "a b"), ("-/index.md", "-"), ("index.md", "Cổng tài liệu"), ("README.md", "Cổng tài liệu"), ("a/x.y.md", "x.y"),
        ("C#/index.md", r"C\#"), ("a/e\u0302\u0301.md", "ế"),
    ],
)  # fmt: skip
def test_title_from_the_name(path, title):
    assert page_of(parse(path, "")).title == title


def test_readable():
    assert [readable(name) for name in ("aero_llm_01_intro", "a--b__c", "__", "", "e\u0302\u0301")] == ["aero llm 01 intro", "a b c", "__", "", "ế"]


@pytest.mark.parametrize(
    "name", ["C#", "a #", "x {#a}", "x {: .b}", "*a*", "`a`", "[x](y)", "a|b", "$x$", "<b>", "&amp;", "~~a~~", "\\", "---", "_", "\x01", "\ufffd", "1. a", "> a", "!!! a"]
)
def test_a_created_index_is_read_back_with_the_title_it_was_given(run, course, name, tree):
    docs = course({f"m {name}/01_a.md": "# A\n", f"{name}/01_a.md": "# A\n"})
    assert run("--docs", docs).code == 0
    before = tree(docs)
    assert len(before) == 5
    again = run("--docs", docs)
    assert (again.code, tree(docs)) == (0, before)
    assert " 0 thay đổi" in again.out


@pytest.mark.parametrize(
    "front, summary, icon",
    [
        ("summary: Một câu.", "Một câu.", ""),
        ("summary: |\n  hai\n  dòng", "hai dòng", ""),
        ("summary: [a]", "", ""),
        ("summary: a\ufffdb", "", ""),
        ("icon: 📚", "", "📚"),
        ("icon: material/home", "", ""),
        ("icon: '📚|'", "", r"📚\|"),
        ("icon: \ufffd", "", ""),
        ("icon: [📚]", "", ""),
        ("x: 1", "", ""),
    ],
)
def test_summary_and_icon(front, summary, icon):
    page = page_of(parse("a.md", f"---\n{front}\n---\n# A\n"))
    assert (page.summary, page.icon, page.label) == (summary, icon, f"{icon} A".strip())


def ipynb(*cells, **metadata):
    return json.dumps({"cells": [{"cell_type": kind, "source": source} for kind, source in cells], "metadata": metadata})


@pytest.mark.parametrize(
    "text, title, listed",
    [
        (ipynb(("markdown", ["# Sổ ", "tay\n"]), ("code", "x = 1")), "Sổ tay", True),
        (ipynb(("code", "# không phải tiêu đề")), "a", True),
        (ipynb(("markdown", "# A"), title="Từ siêu dữ liệu"), "Từ siêu dữ liệu", True),
        (ipynb(("markdown", ""), ("code", "  ")), "a", False),
        (ipynb(), "a", False),
        (ipynb(("markdown", "# a\ud800")), "a", True),
    ],
)
def test_notebook(text, title, listed):
    document = notebook("a.ipynb", text)
    page = page_of(document)
    assert (document.problems, page.title, page.listed) == ([], title, listed)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"cells": 5}', '{"cells": [5]}', '{"cells": [{}]}', "[" * 100_000, '{"cells": [], "metadata": null}', '{"cells": [], "metadata": [1]}'])
def test_broken_notebook_is_a_problem_never_a_crash(text):
    (problem,) = notebook("a.ipynb", text).problems
    assert re.match(r"a\.ipynb:\d+: lỗi notebook: không đọc được notebook: .*; mở và lưu lại bằng Jupyter$", str(problem))


def test_a_page_made_by_hand_needs_nothing_else():
    assert Page("a/b.md", "B").folder == "a" and Page("b.md", "B").name == "b.md"
