"""Lessons with recordings as builders make a site of them: mkdocs, with --strict and under serve, and Zensical."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from handmade import build, cell, figure, index, project, record, result

@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A course with one lesson of each kind; its folder, and what mkdocs said."""
    folder = tmp_path_factory.mktemp("course")
    one, two = cell("@-mot", "n = 7\nn"), cell("@-hai", "n + 1", "caption: Hình")
    pages = {f"{name}.md": f"# Bài {name}\n\n{one}\nSố `{{cell:@-mot.n}}` ở đây.\n\n{two}".replace("@", name) for name in ("cpu", "equal", "tabs", "stale", "edit", "cut", "schema")}
    pages = {"index.md": "# Cổng\n", "m/index.md": "# Mục\n", **{f"m/01_{path}": text for path, text in pages.items()}}
    pages["m/02_trong.md"] = "# Bài chưa ghi\n\n" + cell("chua-ghi")
    project(folder, pages)
    index(folder)
    for path, text in pages.items():
        if path.startswith("m/01_"):
            name = path[5:-3]
            outputs = {f"{name}-mot": [result("bi_mat_so")], f"{name}-hai": [figure(f"cpu-{name}-hai-1")]}
            file = record(folder, path, text, outputs, {f"{name}-mot": {"n": 7}})
            if name in ("equal", "tabs"):
                other = {f"{name}-mot": [result("bi_mat_so" if name == "equal" else "bi_mat_gpu")], f"{name}-hai": [figure(f"cuda-{name}-hai-1")]}
                record(folder, path, text, other, {f"{name}-mot": {"n": 7}}, device="cuda")
            data = file.read_bytes()
            spoilt = {"edit": data.replace(b"bi_mat_so", b"bi_mat_xx"), "cut": data[:99], "schema": data.replace(b'"schema": 1', b'"schema": 0')}
            file.write_bytes(spoilt.get(name, data))
    stale = folder / "docs" / "m" / "01_stale.md"
    stale.write_text(stale.read_text(encoding="utf-8").replace("n + 1", "n + 2"), encoding="utf-8")
    result_of_build = build(folder)
    assert result_of_build.returncode == 0, result_of_build.stderr
    return folder, result_of_build.stderr


def page_of(folder, name):
    return (folder / "site" / "m" / name / "index.html").read_text(encoding="utf-8")


def test_site_shows_each_kind(site):
    folder, _ = site
    assert "chưa ghi trên GPU" in page_of(folder, "01_cpu") and "kết quả như nhau" in page_of(folder, "01_equal")
    assert 'for="__tabbed_cell-tabs-mot_2">GPU (NVIDIA H100)' in page_of(folder, "01_tabs")
    assert page_of(folder, "01_stale").count("aero-cell__badge") == 1
    for name in ("01_edit", "01_cut", "01_schema", "02_trong"):
        assert "Chưa ghi lại kết quả" in page_of(folder, name) and "bi_mat" not in page_of(folder, name)
    assert "Số 7 ở đây" in page_of(folder, "01_cpu")


def test_site_has_the_figures_and_notebooks_that_its_pages_name(site):
    folder, _ = site
    names = re.findall(r'(?:src|href)="([^"]*(?:recordings|notebooks)/[^"#]*)', page_of(folder, "01_tabs"))
    assert len(names) == 2 + 1
    for name in names:
        assert (folder / "site" / "m" / "01_tabs" / name).is_file()
    copied = {path.name for path in (folder / "site" / "recordings").rglob("*") if path.is_file()}
    assert "cpu.json" not in copied and "cpu-cpu-hai-1-dark.svg" in copied and "cpu-edit-hai-1-dark.svg" not in copied
    assert "notebooks" not in page_of(folder, "")


def test_one_warning_for_each_lesson_with_its_cure(site):
    _, said = site
    warnings = sorted(line.partition("WARNING -  ")[2] for line in said.splitlines() if "WARNING" in line and "hooks/run.py" in line)
    assert [warning.partition(":")[0] for warning in warnings] == [*(f"m/01_{name}.md" for name in ("cut", "edit", "schema", "stale")), "m/02_trong.md"]
    assert all("chạy python hooks/run.py docs/m/0" in warning for warning in warnings)
    assert "#stale-hai;" in said and "#stale-mot" not in said and "m/02_trong.md: chưa ghi kết quả của ô #chua-ghi" in said
    assert str(site[0]) + "/recordings" not in said


def test_outputs_are_not_searched(site):
    folder, _ = site
    entries = json.loads((folder / "site" / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    text = " ".join(entry["text"] for entry in entries)
    assert "ở đây" in text and "bi_mat" not in text and "Ví dụ X1" not in text and "Tải notebook" not in text


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda text, file: text, ""),
        (lambda text, file: text.replace("n = 7", "n = 8"), "kết quả đã cũ ở ô #a"),
        (lambda text, file: file.write_bytes(file.read_bytes().replace(b'"n": 7', b'"n": 8')) and text, "sửa bằng tay"),
        (lambda text, file: text.replace("a.n}", "a.m}"), "m/01_a.md:18: không có biến m ở ô #a"),
    ],
    ids=["fresh", "stale", "edited", "unknown"],
)
def test_strict(tmp_path, spoil, said):
    text = "# A\n\n" + cell("a", "n = 7") + "\n`{cell:a.n}`\n"
    folder = project(tmp_path, {"index.md": "# Cổng\n", "m/index.md": "# M\n", "m/01_a.md": text})
    index(folder)
    file = record(folder, "m/01_a.md", text, {}, {"a": {"n": 7}})
    page = folder / "docs" / "m" / "01_a.md"
    page.write_text(spoil(page.read_text(encoding="utf-8"), file), encoding="utf-8")
    result = build(folder, "--strict")
    assert result.returncode == (1 if said else 0) and said in result.stderr and "Traceback" not in result.stderr, result.stderr


ZENSICAL = "site_name: A\ntheme:\n  language: vi\nmarkdown_extensions: [attr_list, tables, pymdownx.superfences, aerodocs.markdown]\n"


def test_the_successor_of_mkdocs_shows_the_same(tmp_path):
    """Zensical runs no hooks: recordings are found all the same, and figures are in the page."""
    pytest.importorskip("zensical")
    text = f"---\nsummary: x\n---\n# A\n\n{cell('a', 'n = 7')}\n`{{cell:a.n}}` ở đây.\n"
    (tmp_path / "mkdocs.yml").write_text(ZENSICAL, encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "01_a.md").write_text(text, encoding="utf-8")
    record(tmp_path, "01_a.md", text, {"a": [result("bảy"), figure("cpu-a-1")]}, {"a": {"n": 7}})
    subprocess.run([sys.executable, "-m", "zensical", "build"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    page = (tmp_path / "site" / "01_a" / "index.html").read_text(encoding="utf-8")
    assert "7 ở đây" in page and ">bảy</pre>" in page and page.count('<img src="data:image/svg+xml;base64,') == 2


def test_serve_shows_what_is_recorded_meanwhile(tmp_path):
    text = "# A\n\n" + cell("a", "n = 7")
    folder = project(tmp_path, {"index.md": "# Cổng\n", "m/index.md": "# M\n", "m/01_a.md": text})
    index(folder)
    record(folder, "m/01_a.md", text, {"a": [result("xưa")]})
    new = text.replace("7", "8")
    page = folder / "docs" / "m" / "01_a.md"
    page.write_text(page.read_text(encoding="utf-8").replace("7", "8"), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/m/01_a/"
    command = [sys.executable, "-m", "mkdocs", "serve", "--dev-addr", f"127.0.0.1:{port}"]
    with open(folder / "serve.log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(address, lambda shown: "aero-cell__badge" in shown and "xưa" in shown)
        record(folder, "m/01_a.md", new, {"a": [result("nay")]})
        wait_for(address, lambda shown: "aero-cell__badge" not in shown and "nay</pre>" in shown)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)


def wait_for(address: str, condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                if condition(answer.read().decode()):
                    return
        except OSError:
            pass
        assert time.monotonic() < end
        time.sleep(0.2)
