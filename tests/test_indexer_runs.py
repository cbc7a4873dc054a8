"""The indexer in the world: killed, interrupted, twice at once, on full disks, among links; and the repository around it."""

import errno
import importlib.util
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest
from aerodocs import indexer
from aerodocs.settings import Settings

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, str(ROOT / "hooks" / "index.py")]
CORPUS = ROOT.parent / "shared" / "corpus" / "build.py"
TEMPORARY = ".*.aero-tmp"


def many_pages(docs: Path, modules: int, lessons: int) -> None:
    for module in range(modules):
        folder = docs / f"m{module:03}"
        folder.mkdir(parents=True)
        for lesson in range(lessons):
            (folder / f"{lesson:02}.md").write_text(f"# Bài {lesson} của {module}\n\nLời.\n", encoding="utf-8")
    (docs / "m000" / "index.md").write_text("---\nquick_nav: true\n---\n# Chương đầu\n", encoding="utf-8")


def expected(docs: Path) -> dict[str, bytes]:
    """What the docs folder shall hold after a run."""
    plan = indexer.plan(docs, Settings())
    return {path.relative_to(docs).as_posix(): path.read_bytes() for path in docs.rglob("*.md")} | plan.texts


def stop_midway(docs: Path, waiting_for: Path, how: signal.Signals) -> int:
    before = waiting_for.stat().st_ino
    process = subprocess.Popen([*COMMAND, "--docs", str(docs)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while waiting_for.stat().st_ino == before and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(how)
    return process.wait()


def test_a_first_run_over_10_000_pages_that_is_killed(tmp_path, tree):
    docs = tmp_path / "docs"
    many_pages(docs, 1000, 10)
    old = tree(docs)
    assert len(old) == 10_001
    assert stop_midway(docs, docs / "m300/00.md", signal.SIGKILL) == -signal.SIGKILL
    now = tree(docs)
    leftovers = {path for path in now if Path(path).match(TEMPORARY)}
    assert len(leftovers) <= 1 and set(old) == set(now) - leftovers  # created pages come last

    plan = indexer.plan(docs, Settings())
    written = {path for path in old if now[path] != old[path]}
    assert 3000 < len(written) < 10_001 and written.isdisjoint(plan.changes)  # nobody finds anything to do on a page that was reached
    assert set(plan.changes) == (set(old) - written) | {page.path for page in plan.course.pages.values() if page.created}
    for path in written:
        author = re.sub(rb"<!-- Aero-(\w+)-Start -->.*?<!-- Aero-\1-End sum=\w{10} -->", b"", now[path], flags=re.DOTALL)
        assert author.replace(b"\n", b"") == old[path].replace(b"\n", b"") and now[path].endswith(b" -->\n")
    assert indexer.write(plan) == (len(plan.changes), [])
    after = tree(docs)
    assert all(after[path] == now[path] for path in written) and set(after) - leftovers == set(plan.course.pages)


def test_an_interrupted_run_leaves_whole_pages(tmp_path, tree, run):
    docs = tmp_path / "docs"
    many_pages(docs, 40, 20)
    old, new = tree(docs), expected(docs)
    assert stop_midway(docs, docs / "m005/00.md", signal.SIGINT) == 130
    now = tree(docs)
    leftovers = {path for path in now if Path(path).match(TEMPORARY)}
    assert len(leftovers) <= 1 and set(now) == set(old) | leftovers
    assert all(now[path] in (old[path], new[path]) for path in old)
    assert 0 < sum(now[path] == new[path] for path in old) < len(old)
    for path in leftovers:
        os.utime(docs / path, (time.time() - 3600,) * 2)
    assert run("--docs", docs).code == 0 and tree(docs) == new


def test_leftovers_of_killed_runs_are_removed_when_they_are_old(course, run, tree):
    docs = course({"m/a.md": "# A\n", "m/.x8f3k2_.aero-tmp": "# A", "m/.y8f3k2_.aero-tmp": "# A", ".z.aero-tmp": "", ".khac.tmp": ""})
    for name in ("m/.x8f3k2_.aero-tmp", ".z.aero-tmp", ".khac.tmp"):
        os.utime(docs / name, (time.time() - 3600,) * 2)
    before = tree(docs)
    assert run("--docs", docs, "--check").code == 1 and tree(docs) == before
    assert run("--docs", docs).code == 0
    assert set(tree(docs)) == {"index.md", "m/index.md", "m/a.md", "m/.y8f3k2_.aero-tmp", ".khac.tmp"}  # a young one may be another run's


def test_two_runs_at_once_give_what_one_gives(tmp_path, tree):
    docs = tmp_path / "docs"
    many_pages(docs, 30, 20)
    new = expected(docs)
    both = [subprocess.Popen([*COMMAND, "--docs", str(docs)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    assert [(process.communicate()[1], process.returncode) for process in both] == [(b"", 0), (b"", 0)]
    assert tree(docs) == new


def test_every_file_is_read_once(course, monkeypatch):
    docs = course({f"{module}/{lesson}.md": "# A\n" for module in "ab" for lesson in "123"} | {"a/n.ipynb": '{"cells": []}'})
    indexer.write(indexer.plan(docs, Settings()))
    reads = Counter()
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: reads.update([self.relative_to(docs).as_posix()]) or read(self))
    assert not indexer.plan(docs, Settings()).changes
    assert set(reads.values()) == {1} and len(reads) == 10


def test_a_second_run_touches_nothing(course, run):
    docs = course({"01_m/01_a.md": "# A\n", "01_m/02_b.md": "# B\n"})
    run("--docs", docs)
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in docs.rglob("*")}
    assert run("--docs", docs).code == 0
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in docs.rglob("*")} == before


def test_modes_are_kept_and_new_files_follow_the_umask(course, run):
    docs = course({"a.md": "# A\n", "b.md": "# B\n"})
    (docs / "a.md").chmod(0o640)
    (docs / "b.md").chmod(0o755)
    mask = os.umask(0o027)
    try:
        assert run("--docs", docs).code == 0
    finally:
        os.umask(mask)
    assert [stat.S_IMODE((docs / name).stat().st_mode) for name in ("a.md", "b.md", "index.md")] == [0o640, 0o755, 0o640]


def test_a_read_only_page_stops_everything(course, run, tree):
    docs = course({"a.md": "# A\n", "b.md": "# B\n"})
    (docs / "a.md").chmod(0o444)
    before = tree(docs)
    result = run("--docs", docs)
    assert result.code == 1 and tree(docs) == before
    assert result.err == "a.md: lỗi read-only: tập tin chỉ đọc nên không ghi được; cho phép ghi, ví dụ chmod u+w\n"


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class HalfWriter:
    """A file on a disk that fills up in the middle of a page."""

    def __init__(self, handle, mode):
        self.file = open(handle, mode)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        full()


@pytest.mark.parametrize("where, what", [("replace", full), ("fdopen", HalfWriter), ("chmod", full)])
def test_a_full_disk_leaves_old_or_new_pages_and_no_litter(where, what, course, run, tree, monkeypatch):
    docs = course({f"{name}.md": f"# {name}\n" for name in "abcd"})
    old, new = tree(docs), expected(docs)
    calls, real = [], getattr(os, where)
    monkeypatch.setattr(os, where, lambda *arguments: (calls.append(1), what if len(calls) > 2 else real)[1](*arguments))
    result = run("--docs", docs)
    monkeypatch.undo()
    assert result.code == 1 and len(calls) == 3  # there is no use in going on
    assert re.fullmatch(r"c\.md: lỗi write: không ghi được \(.*\), trang giữ nguyên nội dung cũ; sửa nguyên nhân rồi chạy lại lệnh\n", result.err)
    assert "2 thay đổi" in result.out
    assert tree(docs) == {"a.md": new["a.md"], "b.md": new["b.md"], "c.md": old["c.md"], "d.md": old["d.md"]}
    assert run("--docs", docs).code == 0 and tree(docs) == new


def test_one_page_that_cannot_be_written_does_not_stop_the_others(course, run, tree, monkeypatch):
    docs = course({f"{name}.md": f"# {name}\n" for name in "abc"})
    old, new, real = tree(docs), expected(docs), os.replace

    def replace(source, target):
        if Path(target).name == "b.md":
            raise PermissionError(errno.EACCES, "Permission denied")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    result = run("--docs", docs)
    assert result.code == 1 and result.err.startswith("b.md: lỗi write: ") and result.err.count("\n") == 1
    assert tree(docs) == new | {"b.md": old["b.md"]}


def test_a_real_small_disk(tmp_path, run, tree):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, text=True) if os.name == "posix" else None
    if mounted is None or mounted.returncode:
        pytest.skip(f"no small tmpfs here: {mounted.stderr.strip() if mounted else os.name}")
    try:
        docs = disk / "docs"
        many_pages(docs, 1, 60)
        old, new = tree(docs), expected(docs)
        result = run("--docs", docs)
        now = tree(docs)
        assert result.code == 1 and "lỗi write" in result.err
        assert all(data in (old.get(path), new[path]) for path, data in now.items()) and now != old
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_page_that_changes_between_plan_and_write_is_left_alone(course, tree):
    docs = course({"a.md": "# A\n", "b.md": "# B\n", "c.md": "# C\n"})
    plan = indexer.plan(docs, Settings())
    (docs / "a.md").write_bytes("# A, đã sửa\n".encode())
    (docs / "b.md").unlink()
    (docs / "index.md").write_bytes(b"# Moi\n")
    written, problems = indexer.write(plan)
    assert written == 1
    assert [str(problem).partition(";")[0] for problem in problems] == [
        f"{path}: lỗi changed: trang vừa được sửa trong lúc lệnh chạy nên không bị ghi đè" for path in ("a.md", "b.md", "index.md")
    ]
    assert tree(docs) == {"a.md": "# A, đã sửa\n".encode(), "index.md": b"# Moi\n", "c.md": plan.texts["c.md"]}


def test_links_are_written_where_they_lead_and_never_outside(course, run, tmp_path, tree):
    docs = course({"a.md": "# A\n", "_luu/thu.txt": "# Từ trong\n", "m/1.md": "# Một\n"})
    outside = tmp_path / "ngoai"
    (outside / "thu_muc").mkdir(parents=True)
    (outside / "x.md").write_text("# Ngoài\n", encoding="utf-8")
    (outside / "thu_muc" / "y.md").write_text("# Y\n", encoding="utf-8")
    (docs / "ngoai.md").symlink_to(outside / "x.md")
    (docs / "trong.md").symlink_to("_luu/thu.txt")
    (docs / "m" / "ten_khac.md").symlink_to("1.md")
    (docs / "thu_muc").symlink_to(outside / "thu_muc")
    (docs / "vong").symlink_to(docs)
    links = {path: os.readlink(path) for path in docs.iterdir() if path.is_symlink()}
    before = tree(outside)
    result = run("--docs", docs)
    assert result.code == 0
    assert sorted(line.partition(": cảnh báo ")[::2] for line in (text.rpartition(": ")[0] for text in result.err.splitlines())) == [
        ("ngoai.md", "link-outside"), ("thu_muc", "link-folder"), ("vong", "link-folder"),
    ]  # fmt: skip
    assert tree(outside) == before
    kept = (docs / "_luu/thu.txt").read_text(encoding="utf-8")
    assert "# Từ trong\n" in kept and "📌 **[Từ trong](trong.md)**" in kept
    assert "📌 **[Một](1.md)**" in (docs / "m/1.md").read_text(encoding="utf-8")  # a page keeps its own navigation, whoever links to it
    assert {path: os.readlink(path) for path in docs.iterdir() if path.is_symlink()} == links
    page = (docs / "a.md").read_text(encoding="utf-8")
    assert "[Ngoài](ngoai.md)" in page and "[Từ trong](trong.md)" in page and "thu_muc" not in page and "vong" not in page
    assert run("--docs", docs, "--check").code == 0


@pytest.mark.parametrize("target", ["khong_co.md", "hong.md"])
def test_a_link_to_nothing_stops_everything(target, course, run, tree):
    docs = course({"a.md": "# A\n"})
    (docs / "hong.md").symlink_to(target)
    result = run("--docs", docs)
    assert result.code == 1 and tree(docs) == {"a.md": b"# A\n"}
    assert re.fullmatch(r"hong\.md: lỗi read: không đọc được: .*; kiểm tra tập tin và quyền đọc\n", result.err)


def test_docs_may_be_a_link_itself(course, run, tmp_path, tree):
    docs = course({"a.md": "# A\n"})
    (tmp_path / "lien_ket").symlink_to(docs)
    assert run("--docs", tmp_path / "lien_ket").code == 0
    assert set(tree(docs)) == {"a.md", "index.md"} and run("--docs", docs, "--check").code == 0


@pytest.mark.skipif(sys.platform == "darwin" or os.name == "nt", reason="file names are text there")
def test_names_that_are_not_utf8_stop_everything(course, run, tree):
    docs = course({"a.md": "# A\n"})
    os.mkdir(os.fsencode(docs) + b"/m\xfe")
    for name in (b"/b\xff.md", b"/m\xfe/c.md"):
        with open(os.fsencode(docs) + name, "wb") as file:
            file.write(b"# B\n")
    result = run("--docs", docs)
    assert result.code == 1 and (docs / "a.md").read_bytes() == b"# A\n"
    assert [line.partition(":")[0] for line in result.err.splitlines()] == [r"b\xff.md", r"m\xfe"]


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus (../shared/corpus) is not beside this repository")
def test_the_corpus_of_416_pages(tmp_path, run, tree):
    subprocess.run([sys.executable, str(CORPUS), str(tmp_path / "out")], check=True, capture_output=True)
    docs = tmp_path / "out" / "docs" if (tmp_path / "out" / "docs").is_dir() else tmp_path / "out"
    assert len(list(docs.rglob("*.md"))) >= 416
    assert run("--docs", docs, "--keep-going").code == 0
    once = tree(docs)
    again = run("--docs", docs)
    assert again.code == 0 and " 0 thay đổi" in again.out and tree(docs) == once
    links = 0
    for path, data in once.items():
        for region in re.findall(r"<!-- Aero-\w+-Start -->.*?<!-- Aero-\w+-End sum=\w{10} -->", data.decode(), re.DOTALL) if path.endswith(".md") else []:
            for link in set(re.findall(r"\]\(([^()\s]+)\)", region)):
                assert (docs / path).parent.joinpath(unquote(link)).is_file(), (path, link)
                links += 1
    assert links > 416 * 5


def test_the_source_root_code_is_no_package():
    assert (ROOT / "code").is_dir() and not (ROOT / "code" / "__init__.py").exists()
    script = "import code; code.InteractiveConsole; print(code.__file__)"
    shown = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert Path(shown.strip()).name == "code.py" and ROOT not in Path(shown.strip()).parents


def test_the_debugger_of_pytest_starts(tmp_path):
    (tmp_path / "test_tiny.py").write_text("def test_tiny():\n    assert False\n")
    command = [sys.executable, "-m", "pytest", "--pdb", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, input="p 6 * 7\nq\n", capture_output=True, text=True)
    assert "(Pdb) 42" in ended.stdout and "Traceback" not in ended.stderr, ended.stdout + ended.stderr


def test_tests_are_no_packages_and_their_names_differ():
    files = [*(ROOT / "code/tests").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    assert not [file for file in files if file.name == "__init__.py"]
    names = Counter(file.name for file in files if file.name.startswith("test_"))
    assert len(names) > 10 and set(names.values()) == {1}
    taken = [name for name in names if importlib.util.find_spec(name.removesuffix(".py")) and not Path(importlib.util.find_spec(name.removesuffix(".py")).origin).is_relative_to(ROOT)]
    assert not taken


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_pictures_of_the_readme_and_its_files_are_there(name):
    root = Path(__file__).parents[1]
    targets = re.findall(r"\]\(([^)#:]+)\)", (root / name).read_text(encoding="utf-8"))
    assert targets and [target for target in targets if not (root / target).exists()] == []
