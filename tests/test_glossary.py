"""The terms of a course: one file of them, a page that lists them, and their explanations in lessons."""

import markdown
import pytest
from aerodocs import glossary
from aerodocs.glossary import GlossaryError, parse
from aerodocs.page import LessonError
from handmade import ROOT, build, index, project

TERMS = """\
Một:
  - en: head
    vi: đầu
    lesson: m/01_a.md
    meaning: Một phép chú ý.
  - {en: language model, vi: mô hình ngôn ngữ, lesson: "m/01_a.md#hai", meaning: 'Gán "xác suất" | *a*.'}
Hai:
  - en: causal language model
    vi: mô hình ngôn ngữ nhân quả
    lesson: m/01_a.md
    meaning: >-
      Nhìn
      về trước.
"""


@pytest.fixture
def render(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "terms.yml").write_text(TERMS, encoding="utf-8")
    extensions = ["tables", "toc", "attr_list", "pymdownx.superfences", "pymdownx.arithmatex", "aerodocs.markdown"]
    configs = {"pymdownx.arithmatex": {"generic": True}, "aerodocs.markdown": {"root": str(tmp_path), "glossary": "terms.yml"}}
    return lambda text: markdown.markdown(text, extensions=extensions, extension_configs=configs)


def test_terms_by_section_with_their_lines():
    terms = parse(TERMS)
    assert {title: [(term.en, term.line) for term in found] for title, found in terms.items()} == {
        "Một": [("head", 2), ("language model", 6)],
        "Hai": [("causal language model", 8)],
    }
    assert terms["Hai"][0].meaning == "Nhìn về trước."


@pytest.mark.parametrize(
    "text, line, seen",
    [
        ("", 1, "không phải là bảng"),
        ("- a\n", 1, "không phải là bảng"),
        ("A:\n  b: c\n", 2, "phần A không phải là danh sách"),
        ("A:\n  - chữ\n", 2, "thuật ngữ không phải là bảng"),
        ("A:\n  - en: x\n    vi: y\n", 2, "thuật ngữ có en, vi"),
        ("A:\n  - {en: x, vi: y, lesson: z, meaning: ''}\n", 2, "thuật ngữ có en, vi, lesson"),
        ("A:\n  - {en: x, vi: y, lesson: z, meaning: [m]}\n", 2, "thuật ngữ có en, vi, lesson"),
        ("A:\n  - {en: x, vi: y, lesson: z, meaning: m}\nB:\n  - {en: X, vi: y, lesson: z, meaning: m}\n", 4, "X đã có ở dòng 2"),
        ("A: [\n", 2, "YAML không đọc được"),
    ],
)
def test_what_is_no_list_of_terms_is_told_with_its_line(text, line, seen):
    with pytest.raises(GlossaryError, match=seen) as caught:
        parse(text)
    assert caught.value.line == line and caught.value.cure


def test_a_term_is_explained_where_it_is_used_first(render):
    page = render("# Head\n\n`head` và [head](a.md) rồi head, **Language\nmodel** và head.\n\nMô hình ngôn ngữ nhân quả; bắt đầu.\n")
    assert page.count("<abbr") == 3
    assert 'rồi <abbr class="aero-term" tabindex="0" title="head, đầu: Một phép chú ý.">head</abbr>, <strong>' in page
    assert 'title="language model, mô hình ngôn ngữ: Gán &quot;xác suất&quot; | *a*."' in page
    assert ">Mô hình ngôn ngữ nhân quả</abbr>; bắt đầu." in page


@pytest.mark.parametrize("name, text", [("Zipf's law", "Theo Zipf’s\nlaw thì"), ("Kullback–Leibler divergence", "là Kullback–Leibler divergence.")])
def test_a_dash_or_an_apostrophe_in_a_name(name, text):
    (term,) = parse(f'A: [{{en: "{name}", vi: luật, lesson: a.md, meaning: x.}}]')["A"]
    ((start, stop, found),) = glossary.Glossary([term]).find(text)
    assert found == term and text[start:stop].split()[0] in text


def test_terms_in_formulas_and_generated_navigation_are_left_alone(render):
    assert "<abbr" not in render("$head$\n\n<!-- Aero-Footer-Start -->\n\nhead\n\n<!-- Aero-Footer-End -->\n\ntoken\n")


def test_a_broken_file_stops_the_page(render, tmp_path):
    (tmp_path / "terms.yml").write_text("A: [", encoding="utf-8")
    with pytest.raises(LessonError, match=r"terms\.yml:\d: YAML không đọc được"):
        render("head")


@pytest.fixture
def course(tmp_path):
    pages = {"index.md": "# Cổng\n", "m/index.md": "# Mục\n", "m/01_a.md": "# Bài *một*: phần sau\n\nMột head.\n\n## Hai\n", "bang_thuat_ngu.md": "# Bảng\n\nLời đầu.\n"}
    project(tmp_path, pages)
    (tmp_path / "docs/bang_thuat_ngu.yml").write_text(TERMS, encoding="utf-8")
    return tmp_path


def test_the_page_lists_every_term_and_links_to_its_lesson(course):
    index(course)
    page = (course / "docs/bang_thuat_ngu.md").read_text(encoding="utf-8")
    assert "## Một\n\n| Tiếng Anh | Tiếng Việt | Nghĩa | Học ở |" in page and "Lời đầu." in page
    assert "| head | đầu | Một phép chú ý. | [Bài *một*](m/01_a.md) |\n" in page
    assert "[Bài *một*](m/01_a.md#hai) |\n" in page
    assert r'Gán "xác suất" &#124; \*a\*.' in page and "Aero-Glossary" not in (course / "docs/m/01_a.md").read_text(encoding="utf-8")
    built = build(course, "--strict")
    assert built.returncode == 0, built.stderr
    site = (course / "site/bang_thuat_ngu/index.html").read_text(encoding="utf-8")
    assert 'href="../m/01_a/"' in site and 'id="hai"' in site and "<abbr" not in site.partition("<article")[2]
    assert "<abbr" in (course / "site/m/01_a/index.html").read_text(encoding="utf-8")


def test_the_page_follows_the_file(course, run, monkeypatch):
    monkeypatch.chdir(course)
    assert run().code == 0 and run("--check").code == 0
    file = course / "docs/bang_thuat_ngu.yml"
    file.write_text(TERMS.replace("Một phép chú ý.", "Nghĩa mới."), encoding="utf-8")
    assert run("--check").code == 1 and run().code == 0
    assert "Nghĩa mới." in (course / "docs/bang_thuat_ngu.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("lesson: m/01_a.md\n    meaning: Một", "lesson: m/02.md\n    meaning: Một", "bang_thuat_ngu.yml:2: lỗi glossary: không có trang m/02.md cho thuật ngữ head"),
        ("Hai:", "Hai", "bang_thuat_ngu.yml:"),
    ],
)
def test_a_wrong_file_is_an_error_of_the_index(course, run, monkeypatch, old, new, said):
    monkeypatch.chdir(course)
    file = course / "docs/bang_thuat_ngu.yml"
    file.write_text(TERMS.replace(old, new), encoding="utf-8")
    result = run()
    assert result.code == 1 and said in result.err, result.err
    assert "Aero-" not in (course / "docs/bang_thuat_ngu.md").read_text(encoding="utf-8")


def test_every_term_of_the_course_is_a_sentence_and_is_taught_on_a_page_that_says_it():
    terms = [term for section in parse((ROOT / "docs/bang_thuat_ngu.yml").read_text(encoding="utf-8")).values() for term in section]
    assert len(terms) > 120 and all(term.meaning.endswith(".") for term in terms)
    for term in terms:
        found = glossary.Glossary([term])
        text = " ".join((ROOT / "docs" / term.lesson.partition("#")[0]).read_text(encoding="utf-8").lower().split())
        assert next(found.find(text), None) or term.vi.lower() in text, term
