"""Notebooks of a course are lessons: read, checked, run, recorded and shown as the Markdown ones."""

import json
import re
import subprocess
import sys

import nbformat
import pytest
from aerodocs.cells import lesson_of
from aerodocs.document import notebook
from aerodocs.rules.inspection import inspect
from aerodocs.settings import Settings
from handmade import ROOT, build, index, project

CELLS = [
    ("dau", "markdown", "# Sổ tay\n\nCăn $\\sqrt{2}$; xem [bài](02_b.md#mục), [đầu](index.md), [web](https://example.org).\n\n## Độ đo\n"),
    ("so", "code", "#| device: cpu\nn = 6 * 7\nprint('''```''')\nn"),
    ("giua", "markdown", "Lời `#| giữa`."),
    ("loi", "code", "#| raises: ZeroDivisionError\nn / 0  # <b>"),
]


def text_of(cells=CELLS, aero=True, indent=1, **metadata) -> str:
    extra = {"execution_count": None, "outputs": []}
    data = [
        {"cell_type": kind, "id": name, "metadata": {}, **(extra if kind == "code" else {}), "source": source.splitlines(keepends=True)}
        for name, kind, source in cells
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}}
    metadata = kernel | metadata | ({"aero": {"summary": "Một câu.", "description": "Hai câu."}} if aero else {})
    return json.dumps({"cells": data, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, ensure_ascii=False, indent=indent) + "\n"


def test_cells_of_a_notebook_are_those_of_a_lesson():
    text = text_of()
    nbformat.validate(nbformat.reads(text, as_version=4))
    lesson = lesson_of(notebook("m/a.ipynb", text))
    assert [(cell.id, cell.options.raises) for cell in lesson.cells] == [("so", ""), ("loi", "ZeroDivisionError")]
    assert lesson.cells[0].code == "n = 6 * 7\nprint('''```''')\nn\n" and not lesson.problems


def test_lines_are_those_of_the_file():
    text = text_of()
    lines = text.splitlines()
    document = notebook("m/a.ipynb", text)
    lesson = lesson_of(document)
    for number, line in enumerate(document.lines, 1):
        if line.strip() and not line.startswith("```"):
            assert json.dumps(line.rstrip("\n"), ensure_ascii=False)[1:-1] in lines[lesson.line_in_file(number) - 1]
    assert set(notebook("m/a.ipynb", text_of(indent=None)).origin) == {1}


def test_a_notebook_that_does_not_ask_for_it_has_no_cells():
    lesson = lesson_of(notebook("a.ipynb", text_of(aero=False)))
    assert not lesson.cells and [fence.role for fence in lesson.fences] == ["undeclared", "undeclared"]


def test_front_matter_of_a_notebook():
    document = notebook("a.ipynb", text_of(summary="cũ", title="Tên"))
    assert (document.text("summary"), document.text("description"), document.text("title")) == ("Một câu.", "Hai câu.", "Tên")


@pytest.mark.parametrize(
    "cells, code, needle",
    [
        ([*CELLS, ("x", "markdown", "Một\n\ndòng $\\frac{1}{$ hỏng.\n")], "math-parse", "hỏng."),
        ([*CELLS, ("x", "markdown", "Xem [nơi khác](khong_co.md).\n")], "broken-link", "khong_co.md"),
        ([*CELLS, ("x", "code", "m = 1\nprint(khong_co)\n")], "undefined-name", "khong_co"),
        ([*CELLS, ("so", "code", "2\n")], "cell-id", '"2'),
        ([*CELLS, ("Ô_x", "code", "3\n")], "cell-id", '"3'),
        ([*CELLS, ("x", "code", "#| reises: ValueError\n1\n")], "cell-option", "reises"),
        ([*CELLS, ("x", "markdown", "Khoa học hoá và hóa chất.\n")], "mixed-tone-marks", "hoá và hóa"),
    ],
)
def test_findings_stand_where_they_are_in_the_file(tmp_path, cells, code, needle):
    project(tmp_path, {"index.md": "# Cổng\n", "m/index.md": "# M\n", "m/02_b.md": "# B\n\n## Mục\n"})
    text = text_of(cells)
    (tmp_path / "docs/m/a.ipynb").write_text(text, encoding="utf-8")
    found = [problem for problem in inspect(tmp_path / "docs", Settings(cells=True)).problems if problem.path == "m/a.ipynb" and problem.code == code]
    assert found, [str(problem) for problem in inspect(tmp_path / "docs", Settings(cells=True)).problems]
    lines = text.splitlines()
    assert any(needle in line for line in lines[found[0].line - 1 : found[0].line + 1]), (found[0].line, lines[found[0].line - 1])


def test_outputs_in_the_file_are_refused(tmp_path):
    project(tmp_path, {"index.md": "# Cổng\n"})
    text = text_of()
    outputs = '"outputs": [{"name": "stdout", "output_type": "stream", "text": ["43"]}]'
    (tmp_path / "docs/a.ipynb").write_text(text.replace('"outputs": []', outputs, 1), encoding="utf-8")
    (found,) = [problem for problem in inspect(tmp_path / "docs", Settings(cells=True)).problems if problem.code == "own-outputs"]
    assert found.severity == "error" and "Clear Outputs" in found.cure
    assert '"source"' in text.splitlines()[found.line - 1]


def test_undeclared_code_of_a_notebook_has_its_own_cure(tmp_path):
    project(tmp_path, {"index.md": "# Cổng\n"})
    (tmp_path / "docs/a.ipynb").write_text(text_of(aero=False), encoding="utf-8")
    found = [problem for problem in inspect(tmp_path / "docs", Settings(cells=True)).problems if problem.code == "undeclared-fence"]
    assert len(found) == 2 and all("aero" in problem.cure for problem in found)
    assert not [problem for problem in inspect(tmp_path / "docs", Settings()).problems if problem.code == "undeclared-fence"]


def command(folder, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, ROOT / "hooks/run.py", *arguments], cwd=folder, capture_output=True, text=True, encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A course with a notebook that has been run and a site built of it."""
    pytest.importorskip("IPython", reason="needs the extra `run`")
    folder = tmp_path_factory.mktemp("course")
    project(folder, {"index.md": "# Cổng\n", "m/index.md": "# M\n", "m/02_b.md": "# B\n\n## Mục\n"})
    (folder / "docs/m/01_a.ipynb").write_text(text_of(), encoding="utf-8")
    done = command(folder)
    assert done.returncode == 0, done.stderr
    index(folder)
    built = build(folder, "--strict")
    assert built.returncode == 0, built.stderr
    return folder


def test_page_shows_what_is_recorded_and_links_to_pages(site):
    page = (site / "site/m/01_a/index.html").read_text(encoding="utf-8")
    assert '<pre class="aero-output__text" tabindex="0">42</pre>' in page and "ZeroDivisionError" in page
    assert "#|</span>" not in page and "#| device" not in page and "#| raises" not in page and "<code>#| giữa</code>" in page
    assert 'href="../02_b/#m%E1%BB%A5c"' in page and 'href="../"' in page and 'href="https://example.org"' in page
    assert 'content="Hai câu."' in page and "<msqrt>" in page and "Đã chạy trên CPU" in page
    ids = set(re.findall(r' id="([^"]+)"', page))
    assert {"cell-so", "sổ-tay", "độ-đo"} <= ids and all(anchor in ids for anchor in re.findall(r'href="#([^"]+)"', page))


def test_download_is_a_valid_notebook_with_outputs(site):
    book = nbformat.read(site / "site/notebooks/m/01_a.ipynb", as_version=4)
    nbformat.validate(book)
    outputs = {cell.id: cell.outputs for cell in book.cells if cell.cell_type == "code"}
    assert outputs["so"][-1].data["text/plain"] == "42" and outputs["loi"][0].ename == "ZeroDivisionError"
    assert "#| device: cpu" in next(cell.source for cell in book.cells if cell.id == "so")


def test_changed_notebook_is_stale_and_stops_a_strict_build(site, tmp_path):
    file = site / "docs/m/01_a.ipynb"
    good = file.read_text(encoding="utf-8")
    try:
        file.write_text(good.replace("6 * 7", "6 * 8"), encoding="utf-8")
        assert command(site, "--list", "--changed").stdout == "docs/m/01_a.ipynb\n"
        built = build(site, "--strict")
        assert built.returncode != 0 and "m/01_a.ipynb: kết quả đã cũ ở ô #so, #loi" in built.stderr
        verified = command(site, "--verify", "docs/m/01_a.ipynb")
        line = next(number for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1) if "device: cpu" in text) - 1
        assert verified.returncode == 1 and f"docs/m/01_a.ipynb:{line}: lỗi: ô #so: kết quả khác bản ghi" in verified.stderr
    finally:
        file.write_text(good, encoding="utf-8")


def test_page_has_the_navigation_of_lessons_and_the_file_has_none(site):
    page = (site / "site/m/01_a/index.html").read_text(encoding="utf-8").partition("<article")[2]
    header, footer = page.index('<nav aria-label="Điều hướng khóa học" class="aero-header"'), page.index('<footer class="aero-footer"')
    assert page.index("</h1>") < header < page.index("Độ đo") < page.index('class="aero-notebook"') < footer
    assert '<a href="../">M</a>' in page[header:] and '<a href="../02_b/">' in page[footer:]
    assert "Aero-" not in (site / "docs/m/01_a.ipynb").read_text(encoding="utf-8")
