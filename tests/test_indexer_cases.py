"""Every point of the indexer's contract and every fault that concerns it, as trees before and after.

`cases/<name>/before/docs` is indexed and must equal `cases/<name>/after/docs`. `cases/<name>/expected.txt`, where it is there, holds the
arguments (`$ --force`), the exit code (`exit 1`) and the beginning of every line on standard error; without it the command has none of the
first and last, and exits 0. A second run of a sound case must change nothing. Cases without an `after` leave the tree as it was.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import markdown
import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
CASES = Path(__file__).parent / "cases"
NAMES = sorted(folder.name for folder in CASES.iterdir() if folder.is_dir())


def expectation(case):
    file = case / "expected.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else ["$", "exit 0"]
    return shlex.split(lines[0].removeprefix("$")), int(lines[1].removeprefix("exit ")), lines[2:]


@pytest.mark.parametrize("name", NAMES)
def test_case(name, tmp_path, run, tree):
    case = CASES / name
    arguments, code, problems = expectation(case)
    shutil.copytree(case / "before", tmp_path / "case", symlinks=True)
    docs = tmp_path / "case" / "docs"
    after = tree(case / ("after" if (case / "after").exists() else "before") / "docs")

    result = run("--docs", docs, *arguments)
    told = [line for line in result.err.splitlines() if re.match(r"\S.*: (lỗi|cảnh báo) ", line)]
    assert result.code == code, result.err
    assert len(told) == len(problems) and all(line.startswith(start) for line, start in zip(told, problems)), result.err
    assert tree(docs) == after

    if code == 0 and "--check" not in arguments and "--diff" not in arguments:
        again = run("--docs", docs, *arguments)
        assert again.code == 0 and " 0 thay đổi" in again.out
        assert run("--docs", docs, "--check", *arguments).code == 0
        assert tree(docs) == after


def test_the_command_itself(tmp_path, tree):
    case = CASES / "look"
    shutil.copytree(case / "before", tmp_path, dirs_exist_ok=True)
    command = [sys.executable, str(ROOT / "hooks" / "index.py")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}  # a terminal that knows no Vietnamese is no reason to fail
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert (result.returncode, result.stderr) == (0, b"")
    assert re.fullmatch(r"10 trang, 10 thay đổi, \d+\.\d\d giây\n", result.stdout.decode().replace(os.linesep, "\n"))
    assert tree(tmp_path / "docs") == tree(case / "after" / "docs")


MODEL = (CASES / "old_navigation.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (?:📌 \*\*)?\[(.+)\]\((\S+)\)(?:\*\*)? \| \[Xem bài viết →\]\(\2\) \|$", MODEL, re.MULTILINE)


def test_lexical_order_gives_the_rows_of_the_old_generator(course, run):
    here = "kien_truc_mo_hinh_ngon_ngu_lon.md"
    assert len(ROWS) == 35
    docs = course({f"04_buildgpt/{path}": f"# {title}\n" for title, path in reversed(ROWS)})
    assert run("--docs", docs, "--order", "lexical").code == 0
    page = (docs / "04_buildgpt" / here).read_text(encoding="utf-8")
    old_rows = [line for line in MODEL.splitlines() if line.startswith("|")]
    assert [line for line in page.splitlines() if line.startswith("|")] == old_rows
    natural = run("--docs", docs, "--order", "natural")
    assert " 36 thay đổi" in natural.out  # the lessons and the listing; the portal names the module only
    rows = re.findall(r"\| \[Xem bài viết →\]\((\S+)\)", (docs / "04_buildgpt" / here).read_text(encoding="utf-8"))
    numbers = [int(re.search(r"\d+", path)[0]) for path in rows if path != here]
    assert numbers == sorted(numbers) and rows[-1] == here


def test_the_look_is_that_of_the_model():
    """What the old header and footer said is still said, in the same order; line by line, blank lines aside."""
    page = (CASES / "look/after/docs/04_buildgpt/kien_truc.md").read_text(encoding="utf-8").splitlines()
    quick = [line for line in MODEL.splitlines() if line.startswith("- [") or line == "### 🧭 Điều hướng nhanh"]
    contact = MODEL[MODEL.index("## 🤝") : MODEL.index("<!-- Aero-Footer-End")].split("\n")
    table = ["## 📄 Tài liệu cùng chuyên mục", "| Bài học | Liên kết |", "| :--- | :--- |"]
    at = 0
    for line in ["<!-- Aero-Navigation-Start -->", *quick, "---", *table, "---", *filter(None, contact)]:
        assert line in page[at:], line
        at = page.index(line, at) + 1
    assert "[🏠 Home](../index.md) > [Module 04: Build GPT](index.md)" in page
    assert "| 📌 **[Kiến trúc](kien_truc.md)** | [Xem bài viết →](kien_truc.md) |" in page


HARD = [
    "P(A|B) và [ngoặc] `a|b` $x_1|x_2$ *nghiêng* 🚀", "`]|[` và \\| và `code`", "Dài " + "rất " * 60 + "dài", "<b>a</b> & <!-- x --> b", "$\\|x\\|_2$ giá $5",
    "`một", "**hai", "[ba](http://x.vn) ![ảnh](a.png)", "\\", "a\\\\|b",
]  # fmt: skip


@pytest.mark.parametrize("title", HARD)
def test_rows_have_two_cells_in_both_parsers(title, course, run):
    docs = course({"01_m/01_a.md": f"# {title}\n", "01_m/02_b.md": "# B\n"})
    assert run("--docs", docs).code == 0
    page = (docs / "01_m/02_b.md").read_text(encoding="utf-8")
    for shown in (MarkdownIt("commonmark").enable("table").render(page), markdown.markdown(page, extensions=["tables", "attr_list"])):
        row = shown[shown.index("<tbody>") :].partition("</tr>")[0]
        assert row.count("<td") == 2
        assert re.findall('href="([^"]*)"', row) == ["01_a.md", "01_a.md"]


ODD = ["a b.md", "a#b.md", "a%20b.md", "a'b\".md", "a(b).md", "a&b.md", "a?b.md", "a[b].md", "a`b.md", "a|b.md", "a<b>.md", "a\\b.md", "1:b.md", "ế.md", "a$b$.md"]


@pytest.mark.parametrize("name", [*ODD, unicodedata.normalize("NFD", "tiếng_Việt.md"), "ế" * 80 + ".md"])
def test_odd_file_names_are_linked_right(name, course, run, tree):
    from urllib.parse import unquote

    docs = course({f"m {name}/{name}": "# A\n", f"m {name}/z.md": "# Z\n"})
    assert run("--docs", docs).code == 0
    assert set(tree(docs)) == {"index.md", f"m {name}/index.md", f"m {name}/{name}", f"m {name}/z.md"}
    for path, data in tree(docs).items():
        for parser in (MarkdownIt("commonmark").enable("table").render, lambda text: markdown.markdown(text, extensions=["tables"])):
            links = re.findall('href="([^"]*)"', parser(data.decode()))
            assert len(links) >= 4
            for link in links:
                assert (docs / path).parent.joinpath(unquote(link)).is_file(), link
    assert run("--docs", docs, "--check").code == 0


OLD = "<!-- Aero-Footer-Start -->\ncũ\n<!-- Aero-Footer-End -->\n"


@pytest.mark.parametrize(
    "text",
    ["# A\n\nLời.\n", "# A\n\nLời.", "# A\n\nLời.  \n\n\n\n", "Lời.", "---\ntitle: A\n---\nLời.\n", "---\ntitle: A\n---\n\n\nLời.\t\n", "\n\n# A\n",
     f"# A\n\n{OLD}", f"# A\n{OLD}sau vùng, không xuống dòng", f"{OLD}# A\n", "# e\u0302\u0301 NFD e\u0301\n", "---\n# A\n---\nLời.\n"],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_bytes_outside_the_regions_stay(text, end, bom, course, run):
    data = (bom + text.replace("\n", end)).encode()
    docs = course({"01_m/01_a.md": data})
    assert run("--docs", docs).code == 0
    new = (docs / "01_m/01_a.md").read_bytes()
    eol = end.encode() if end.encode() in data else b"\n"  # a file without any line end gets LF
    # what the file held is still there, around two regions with their line ends
    region = rb"(?:%b)*<!-- Aero-(Navigation|Footer)-Start -->.*?<!-- Aero-\1-End sum=[0-9a-f]{10} -->(?:%b)*" % (eol, eol)
    old = re.sub(rb"(?:%b)*<!-- Aero-Footer-Start -->.*?<!-- Aero-Footer-End -->(?:%b)*" % (eol, eol), b"|", data, flags=re.DOTALL)
    assert re.sub(region, b"|", new, flags=re.DOTALL).strip(b"|").replace(b"|", b"").replace(eol, b"") == old.replace(b"|", b"").replace(eol, b"")
    assert new.startswith(bom.encode()) and new.count(b"\xef\xbb\xbf") == (1 if bom else 0)
    assert set(re.findall(rb"\r\n|\n|\r", new)) == {eol}
    assert run("--docs", docs, "--check").code == 0


def test_mixed_line_ends_stay_and_regions_take_the_first(course, run):
    data = b"# A\r\nm\xe1\xbb\x99t\nhai\rba\r\n\xc2\xa0 \t\ncu\xe1\xbb\x91i"
    docs = course({"01_m/01_a.md": data})
    assert run("--docs", docs).code == 0
    head, footer = (docs / "01_m/01_a.md").read_bytes().split(data)
    assert head.endswith(b" -->\r\n") and footer.startswith(b"\r\n\r\n<!-- Aero-Footer-Start -->\r\n") and footer.endswith(b" -->\r\n")
    assert head.count(b"\n") == head.count(b"\r\n") and footer.count(b"\n") == footer.count(b"\r\n")


@pytest.mark.parametrize(
    "data, line, byte",
    [(b"# Ti\xea\xbfng\n", 1, 0xEA), (b"# A\n\nx\xff\n", 3, 0xFF), (b"# A\r\n\r\r\x80", 4, 0x80), (b"\xff\xfe#\x00", 1, 0xFF), (b"# A\n\xed\xa0\x80\n", 2, 0xED), (b"a\xc3", 1, 0xC3)],
)
def test_not_utf8_stops_everything(data, line, byte, course, run, tree):
    docs = course({"01_m/01_a.md": data, "01_m/02_b.md": "# B\n"})
    before = tree(docs)
    result = run("--docs", docs)
    assert result.code == 1 and tree(docs) == before
    assert result.err == f"01_m/01_a.md:{line}: lỗi not-utf8: byte 0x{byte:02x} không phải UTF-8; lưu lại tập tin với mã hóa UTF-8\n"
    kept = run("--docs", docs, "--keep-going")
    after = tree(docs)
    assert kept.code == 1 and after["01_m/01_a.md"] == data
    assert b"[01 a](01_a.md)" in after["01_m/02_b.md"] and set(after) == {*before, "index.md", "01_m/index.md"}


def test_the_replacement_character_is_never_copied(course, run, tree):
    docs = course({"01_m/01_a.md": "# \ufffd Tiêu đề\n", "01_m/02_b.md": "---\nsummary: a\ufffd\nicon: \ufffd\n---\n# a&#0;b\n", "02_\ufffd/01_a.md": "x"})
    assert run("--docs", docs).code == 0
    for path, data in tree(docs).items():
        assert data.decode().count("\ufffd") == {"01_m/01_a.md": 1, "01_m/02_b.md": 2}.get(path, 0), path


@pytest.mark.parametrize("option", ["--check", "--diff"])
def test_previews_write_nothing_and_print_a_patch(option, course, run, tree, tmp_path):
    docs = course({"01_m/01_a.md": "# A\n\nkhông xuống dòng", "01_m/02_b.md": "# B\n"})
    before = tree(docs)
    result = run("--docs", docs, option)
    assert result.code == (1 if option == "--check" else 0)
    assert tree(docs) == before
    assert re.fullmatch(r"4 trang, 4 cần cập nhật, \d+\.\d\d giây\n", result.err)
    patch = subprocess.run(["git", "apply", "-p1", "--unsafe-paths", f"--directory={docs}", "-"], input=result.out.encode(), cwd="/", capture_output=True)
    assert patch.returncode == 0, patch.stderr
    patched = tree(docs)
    assert set(patched) == {"index.md", "01_m/index.md", "01_m/01_a.md", "01_m/02_b.md"}
    run("--docs", docs)
    assert tree(docs) == patched
    clean = run("--docs", docs, option)
    assert (clean.code, clean.out) == (0, "") and " 0 cần cập nhật" in clean.err


def test_a_diff_shows_every_kind_of_line_end(course, run):
    docs = course({"a.md": "# A\r\n", "b.md": "# B\rx\r"})
    lines = run("--docs", docs, "--diff").out.split("\n")
    assert " # A\\r" in lines and " # B\\r" in lines and " x\\r" in lines
    assert not any("\r" in line for line in lines) and "\\ No newline at end of file" not in lines


def test_hand_edits_are_shown_and_overwritten_only_by_force(course, run, tree):
    docs = course({"01_m/01_a.md": "# A\n", "01_m/02_b.md": "# B\n"})
    run("--docs", docs)
    sound = tree(docs)
    file = docs / "01_m/01_a.md"
    file.write_bytes(file.read_bytes().replace("➡️".encode(), "Lời của tôi.\n➡️".encode()))
    edited = tree(docs)
    result = run("--docs", docs)
    line = edited["01_m/01_a.md"].split(b"\n").index(b"<!-- Aero-Footer-Start -->") + 1
    assert result.code == 1 and tree(docs) == edited
    assert result.err.startswith(f"01_m/01_a.md:{line}: lỗi region-edited: ") and "--force" in result.err.splitlines()[0]
    assert "\n-Lời của tôi.\n" in result.err
    assert run("--docs", docs, "--check").code == 1
    assert tree(docs) == edited
    assert run("--docs", docs, "--force").code == 0
    assert tree(docs) == sound


def test_help_is_vietnamese_and_names_every_option(run, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--help")
    out = capsys.readouterr().out
    assert stopped.value.code == 0 and out.startswith("cách dùng: python hooks/index.py")
    for option in ("--docs", "--check", "--diff", "--force", "--keep-going", "--order", "natural", "lexical", "Mã thoát: 0", "· 1", "· 2"):
        assert option in out
    assert not re.search(r"\b(usage|options|optional|show this)\b", out)


@pytest.mark.parametrize("arguments", [["--nope"], ["--order", "random"], ["extra"], ["--docs"]])
def test_wrong_arguments_exit_2(arguments, run):
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    "configuration, said",
    [("a: [", "mkdocs.yml: không đọc được"), ("- a", "mkdocs.yml: phải là"), ("extra: {aero: {year: true}}", "extra.aero.year"), ("docs_dir: x", "không phải là thư mục")],
)
def test_wrong_configuration_exits_2_and_writes_nothing(configuration, said, course, run, tree, monkeypatch):
    docs = course({"a.md": "# A\n"}, configuration)
    monkeypatch.chdir(docs.parent)
    result = run()
    assert (result.code, result.out) == (2, "") and result.err.startswith("index.py: ") and said in result.err
    assert tree(docs) == {"a.md": b"# A\n"}


def test_no_such_docs_exits_2(tmp_path, run):
    result = run("--docs", tmp_path / "nope")
    assert result.code == 2 and "nope" in result.err and "--docs" in result.err


def test_a_doubtful_page_anywhere_stops_even_the_unlisted(course, run, tree):
    docs = course({"a/index.md": "# A\n", "a/README.md": b"\xff", "b.md": "# B\n"})
    before = tree(docs)
    assert run("--docs", docs).code == 1 and tree(docs) == before
