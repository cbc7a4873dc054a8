"""The checker as a command: the faults that occur in real courses, formats, choices, opt-outs, and what mkdocs says."""

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from aerodocs.rules import command
from aerodocs.rules.inspection import inspect
from aerodocs.settings import Settings, find_course

ROOT = Path(__file__).parents[1]
FAULTS = sorted(path for path in (ROOT / "tests" / "faults").iterdir() if path.is_dir())


def course(folder: Path, pages: dict[str, str | bytes]) -> Path:
    """A docs folder with these pages."""
    for path, content in pages.items():
        file = folder / "docs" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / "docs"


def findings(docs: Path, **settings) -> list[tuple[str, int, str]]:
    return [(problem.path, problem.line, problem.code) for problem in inspect(docs, Settings(**settings)).problems]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda path: path.name)
def test_faults(fault):
    """Each expected.txt holds one finding a line: path:line severity code."""
    found = [f"{problem.path}:{problem.line} {problem.severity} {problem.code}" for problem in inspect(fault / "docs", Settings()).problems]
    assert found == (fault / "expected.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    "fault, words",
    [
        ("05_duplicate_lesson_number", ["7", "07_a.md", "07_b.md"]),
        ("07_near_duplicate", ["01_m/01_a.md"]),
        ("11_math_does_not_parse", [r"\_", "thiếu }"]),
        ("17_link_wrong_depth", ["../../02_m/01_b.md"]),
        ("18_link_missing_anchor", ["#2-mục-hai"]),
        ("22_readme_next_to_index", ["01_m"]),
        ("30_dup_module_no_and_nav", ["20", "20_a", "20_b"]),
        ("32_python_block_not_runnable", ["torch", "dòng 3", "dòng 7"]),
    ],
)
def test_messages_name_what_they_are_about(fault, words):
    text = "\n".join(map(str, inspect(ROOT / "tests" / "faults" / fault / "docs", Settings()).problems))
    assert all(word in text for word in words), text


def test_the_course_has_no_finding_but_recordings():
    """What was recorded when is checked where lessons are run; everything else holds for the sources alone."""
    docs, settings = find_course(None, ROOT)
    assert [str(problem) for problem in inspect(docs, settings).problems if not problem.code.endswith("-recording")] == []


def test_exit_codes(tmp_path, capsys, monkeypatch):
    docs = course(tmp_path, {"01_m/01_a.md": "# A\n\n[x](khong_co.md)\n", "01_m/02_b.md": "# B\n\n### C\n"})
    monkeypatch.chdir(tmp_path)
    assert command.main(["--docs", str(docs)]) == 1
    assert command.main(["--docs", str(docs), "--ignore", "broken-link"]) == 0
    assert command.main(["--docs", str(docs), "--select", "heading-jump"]) == 0
    assert command.main([str(docs / "01_m" / "02_b.md"), "--docs", str(docs)]) == 0
    assert command.main([str(docs / "01_m")]) == 1  # no mkdocs.yml here: a course of its own
    capsys.readouterr()
    for wrong in (["--select", "khong-co"], ["--docs", "khong_co"], ["khong_co.md"], []):
        assert command.main(wrong) == 2
        assert capsys.readouterr().err.startswith("check.py: ")


def test_one_page_is_checked_with_the_rest_of_its_course(tmp_path, capsys):
    docs = course(tmp_path, {"a.md": "# A\n\n[b](m/b.md#không-có)\n", "m/b.md": "# B\n\n[x](x.md)\n"})
    assert command.main([str(docs / "a.md"), "--docs", str(docs)]) == 1
    out = capsys.readouterr().out
    assert "a.md:3: lỗi missing-anchor" in out and "broken-link" not in out


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A course whose paths and messages hold what formats have to escape."""
    text = "# A\n\n[100%, hết: rồi](khong%2Cco.md)\n\n[](a,b:c.md)\n"
    monkeypatch.chdir(tmp_path)
    return course(tmp_path, {"01_m/01,a 100%.md": text, "01_m/02.md": "# B\n\n### C\n"})


def test_github_annotations_are_read_back(odd, capsys):
    assert command.main(["--docs", str(odd), "--format", "github"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3

    def plain(text):
        for escape, character in (("%0A", "\n"), ("%0D", "\r"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
            text = text.replace(escape, character)
        return text

    found = []
    for line in lines:
        kind, properties, message = re.fullmatch(r"::(error|warning) ([^:]*)::(.*)", line).groups()
        values = {key: plain(value) for key, value in (part.split("=", 1) for part in properties.split(","))}
        assert Path(values["file"]).is_file() and plain(message)
        found.append((values["file"].removeprefix("docs/"), int(values["line"]), values["title"]))
    assert found == findings(odd)


def test_json_is_read_back(odd, capsys):
    assert command.main(["--docs", str(odd), "--format", "json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert (data["pages"], data["errors"], data["warnings"]) == (2, 2, 1)
    assert [(item["path"], item["line"], item["code"]) for item in data["findings"]] == findings(odd)
    assert all(item["message"] and item["cure"] and Path(item["docs"]).is_dir() for item in data["findings"])


@pytest.mark.parametrize(
    "front, expected",
    [
        ("check: {ignore: {heading-jump: sách gốc viết vậy}}", []),
        ("check:\n  ignore:\n    heading-jump: sách gốc viết vậy", []),
        ("check: {ignore: {heading-jump: }}", [(2, "check-ignore"), (7, "heading-jump")]),
        ("check: {ignore: {heading-jump: ' '}}", [(2, "check-ignore"), (7, "heading-jump")]),
        ("check: {ignore: {broken-link: không có}}", [(2, "check-ignore"), (7, "heading-jump")]),
        ("check: {ignore: {heading-jmp: sai mã}}", [(2, "check-ignore"), (7, "heading-jump")]),
        ("check: {ignore: [heading-jump]}", [(2, "check-ignore"), (7, "heading-jump")]),
        ("check: {bo_qua: {heading-jump: x}}", [(2, "front-matter-value"), (7, "heading-jump")]),
    ],
)
def test_opt_outs(front, expected, tmp_path):
    docs = course(tmp_path, {"a.md": f"---\n{front}\n---\n# A\n\nx\n### C\n"})
    assert [(line, code) for _, line, code in findings(docs)] == expected


def test_opt_outs_count_for_findings_of_the_site(tmp_path):
    text = "---\ncheck: {ignore: {duplicate-title: tên của sách}}\n---\n\n# Bài\n\nMột.\n"
    docs = course(tmp_path, {"01_m/01.md": "# Bài\n\nHai.\n", "01_m/02.md": text})
    assert findings(docs) == []


def test_links_ids_and_cells_of_other_pages(tmp_path):
    docs = course(
        tmp_path,
        {
            "index.md": "# Cổng\n\n[a](01_m/a.md#một) [b](01_m/a.md#một_1) [c](01_m/a.md#tay) [d](01_m/a.md#o-html) [e](01_m/a.md#cell-x) [f](01_m/a.md#một_2)\n",
            "01_m/a.md": '# A\n\n## Một\n\n## Một\n\n## Hai {#tay}\n\n<a id="o-html"></a>\n\n```python {.cell #x}\n1\n```\n',
            "01_m/b.md": "# B\n\n```python {.cell #x}\n1\n```\n",
            "02_m/c.md": "# C\n\n[thư mục](../01_m/) [html](../01_m/a.html) [thiếu đuôi](../01_m/b) [ngoài](../../README.md) [nháp](d.md)\n",
            "02_m/d.md": "---\ndraft: true\n---\n\n# D\n",
            "02_m/e.md": '# E\n\n![ảnh](anh.png) <img src="Anh.PNG">\n\n[chỗ]: khong.md\n',
            "02_m/Anh.png": b"\x89PNG",
        },
    )
    assert findings(docs) == [
        ("01_m/b.md", 3, "cell-id"),
        *[("02_m/c.md", 3, "broken-link")] * 5,
        ("02_m/e.md", 3, "wrong-case"),
        ("02_m/e.md", 3, "wrong-case"),
        ("02_m/e.md", 5, "broken-link"),
        ("index.md", 3, "missing-anchor"),
    ]
    text = "\n".join(map(str, inspect(docs, Settings()).problems))
    for suggestion in ("có phải là ../01_m/a.md?", "có phải là ../01_m/b.md?", "ra ngoài thư mục docs", "bản nháp", "viết Anh.png", "01_m/a.md#một"):
        assert suggestion in text, text


def test_recordings_that_are_missing_stale_or_broken(tmp_path):
    from aerodocs import recordings
    from aerodocs.cells import lesson_of
    from aerodocs.document import parse
    from aerodocs.fingerprints import cell_keys

    text = "# A\n\n```python {.cell #x}\n1\n```\n"
    docs = course(tmp_path, {"01_m/a.md": text})
    assert findings(docs, cells=True) == [("01_m/a.md", 3, "missing-recording")]
    lesson = lesson_of(parse("01_m/a.md", text))
    cells = [recordings.CellRecord("x", cell_keys(lesson.cells)["x"])]
    for device in ("cpu", "cuda"):
        recordings.save(tmp_path, recordings.Recording("01_m/a.md", device, {}, {}, cells), {})
    assert findings(docs, cells=True) == []
    (docs / "01_m/a.md").write_text(text.replace("1\n", "2\n"), encoding="utf-8")
    assert findings(docs, cells=True) == [("01_m/a.md", 3, "stale-recording")] * 2
    file = recordings.file_of(tmp_path, "01_m/a.md", "cpu")
    file.write_bytes(file.read_bytes().replace(b'"x"', b'"y"'))
    assert findings(docs, cells=True) == [("01_m/a.md", 3, "broken-recording"), ("01_m/a.md", 3, "stale-recording")]


def test_files_that_are_no_pages_never_stop_it(tmp_path):
    docs = course(
        tmp_path,
        {
            "a.md": b"\x00\x01\xfe\xff" * 100,
            "b.md": "# B\n\n" + "x" * 3_000_000 + "\n",
            "c.md": "# C\n\n" + "`$" * 30_000 + "[](" * 10_000 + "\n",
            "d.ipynb": "{",
            "e.ipynb": json.dumps({"cells": [{"cell_type": "markdown", "source": ["# E\n", "$$\n"]}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}),
            "f.md": "",
            "g.md": "---\n- a\n---\n# G\n",
            "h.md": "> " * 500 + "# H\n",
            "hình.png": bytes(range(256)),
            "i.md": "\ufeff# I\r\n\r\n$$\r\na_\r\n$$\r\n",
        },
    )
    os.symlink("khong_co.md", docs / "j.md")
    found = findings(docs)
    for wanted in [("a.md", 1, "not-utf8"), ("d.ipynb", 1, "notebook"), ("i.md", 4, "math-parse"), ("j.md", 0, "read"), ("b.md", 1, "page-budget"), ("f.md", 1, "empty-page")]:
        assert wanted in found, found


def test_processes_find_the_same(tmp_path):
    docs = course(tmp_path, {f"m/{fault.name}_{number}.md": page.read_bytes() for fault in FAULTS for number, page in enumerate(sorted(fault.rglob("*.md")))})
    assert inspect(docs, Settings(), processes=1) == inspect(docs, Settings(), processes=2)


def test_the_command_speaks_vietnamese_and_works_anywhere(tmp_path):
    def run(*arguments, **environment):
        command = [sys.executable, str(ROOT / "hooks/check.py"), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", env={**os.environ, **environment})

    result = run("--help")
    assert result.returncode == 0 and "cách dùng: python hooks/check.py" in result.stdout and "tùy chọn" in result.stdout
    result = run(str(ROOT / "tests/faults/13_tex_outside_math/docs"), LC_ALL="C", PYTHONIOENCODING="ascii")
    assert result.returncode == 0 and "01_m/01_a.md:3: cảnh báo tex-outside-math" in result.stdout


def test_mkdocs_warns_of_the_same_findings(tmp_path):
    docs = course(tmp_path, {"index.md": "# A\n\n[b](#khong-co)\n\n### C\n\n$a_$ [d](d.md)\n"})
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\nhooks: ['{ROOT}/hooks/check.py']\n", encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", env={**os.environ, "NO_COLOR": "1"})
    assert result.returncode == 1
    for problem in inspect(docs, Settings()).problems:
        assert str(problem) in result.stderr
    assert len(inspect(docs, Settings()).problems) == 4


def test_other_repositories_can_use_it_before_each_commit():
    hook = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_bytes())[0]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    module, _, function = scripts[hook["entry"]].partition(":")
    assert hook["language"] == "python" and not hook["pass_filenames"]
    assert getattr(importlib.import_module(module), function) is command.main
