"""Running lessons for real: a course of its own, whose lessons do what lessons should not do."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("IPython", reason="needs the extra `run`")
ROOT = Path(__file__).parents[1]

PACKAGE = {
    "toy/__init__.py": "",
    "toy/one.py": "def number():\n    return 1\n",
    "toy/two.py": "from toy import one\n\n\ndef number():\n    return one.number() + 1\n",
    "toy/state.py": "seen = []\n",
    "toy/data.txt": "7\n",
    "toy/broken.py": "def fail(x):\n    return 1 / x\n",
}
# One lesson a line: its name, and the code of its only cell; lines that start with #| are options.
LESSONS = {
    "one": "from toy.one import number\ntotal = number()\ntotal",
    "two": "from toy.two import number\nnumber()",
    "data": "from pathlib import Path\nimport toy\nPath(toy.__file__).with_name('data.txt').read_text()",
    "plain": "import random\nrandom.random(), sorted({'b', 'a', 'c'}, key=hash) == sorted({'c', 'a', 'b'}, key=hash)",
    "hidden-value": "5;",
    "raises": "#| raises: ZeroDivisionError\nfrom toy.broken import fail\nfail(0)",
    "raises-not": "#| raises: ValueError\n1",
    "raises-other": "#| raises: ValueError\n1 / 0",
    "fails": "print('trước')\n{}['khóa']",
    "syntax": "x = = 1",
    "endless": "#| timeout: 2\nwhile True: pass",
    "kills-itself": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "exits": "import os\nos._exit(3)",
    "eats-memory": "x = bytearray(40 * 2**30)",
    "prints-much": "for _ in range(100): print('x' * 2**20)",
    "prints-lines": "for i in range(300): print(i)",
    "from-c": "import ctypes, subprocess, sys\nprint('python')\nctypes.CDLL(None).puts(b'from C')\nsubprocess.run(['echo', 'from a subprocess'])\nprint('end')",
    "progress": "import sys\nfor i in range(4):\n    sys.stdout.write(f'\\r{i}/3')\nprint()\nprint('a\\bb')",
    "ansi": "print('\\x1b[31mđỏ\\x1b[0m\\x1b[2K<script>alert(1)</script>\\x1b]0;title\\x07')",
    "warns": "#| stderr: show\nimport warnings\nwarnings.warn('cẩn thận')",
    "quiet": "import sys\nprint('không thấy', file=sys.stderr)\nprint('thấy')",
    "rich": "class Rich:\n    def _repr_html_(self): return '<b>đậm</b>'\ndisplay(Rich())\nprint('giữa')\nRich()",
    "paths": "import os, tempfile, toy\nprint(os.getcwd(), toy.__file__)\nobject()",
    "leaves-state": "import toy.state\ntoy.state.seen.append(1)\nopen('left.txt', 'w').write('x')\nlen(toy.state.seen)",
    "finds-state": "import os, toy.state\ntoy.state.seen, os.listdir()",
    "network": "#| raises: OSError\nimport socket\nsocket.create_connection(('203.0.113.1', 80), timeout=1)",
    "figure": "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.xlabel('bước huấn luyện');",
    "bad-glyph": "import matplotlib.pyplot as plt\nplt.title('漢字');",
    "bad-value": "total = object()",
}
FAILING = {
    "raises-not": "phải gây ra ValueError nhưng không có lỗi nào",
    "raises-other": "phải gây ra ValueError, mà gặp lỗi ZeroDivisionError",
    "fails": "gặp lỗi KeyError",
    "syntax": "gặp lỗi SyntaxError",
    "endless": "chạy quá 2 giây",
    "kills-itself": "bị tín hiệu SIGKILL giết; bộ nhớ đỉnh",
    "exits": "tự thoát với mã 3",
    "eats-memory": "gặp lỗi MemoryError",
    "prints-much": "in ra 104,857,700 byte",
    "prints-lines": "300 dòng",
    "bad-glyph": "không có 字 漢",
    "bad-value": "biến total là object",
}


def page(name: str, code: str) -> str:
    value = f"\nTổng là `{{cell:{name}.total}}`.\n" if "total" in code else ""
    return f"# {name}\n\n```python {{.cell #{name}}}\n{code}\n```\n{value}"


def command(folder: Path, *arguments: str, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, ROOT / "hooks/run.py", *arguments], cwd=folder, capture_output=True, text=True, encoding="utf-8", **kwargs)


def make(folder: Path, lessons: dict[str, str]) -> Path:
    (folder / "docs").mkdir()
    (folder / "mkdocs.yml").write_text("site_name: Thử\n", encoding="utf-8")
    for path, text in PACKAGE.items():
        (folder / "code" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "code" / path).write_text(text, encoding="utf-8")
    for name, code in lessons.items():
        (folder / "docs" / f"{name}.md").write_text(page(name, code), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A folder in which all lessons above have run once, and what the command said."""
    folder = make(tmp_path_factory.mktemp("course"), LESSONS)
    return folder, command(folder, "--jobs", "2")


@pytest.fixture
def good(course, tmp_path):
    """A copy of the course with those lessons alone that run, all recorded."""
    folder = shutil.copytree(course[0], tmp_path / "good")
    for name in FAILING:
        (folder / "docs" / f"{name}.md").unlink()
    return folder


def recorded(folder: Path, name: str) -> dict:
    return json.loads((folder / "recordings" / name / "cpu.json").read_text(encoding="utf-8"))


def text_of(folder: Path, name: str) -> str:
    parts = []
    for output in recorded(folder, name)["cells"][0]["outputs"]:
        parts += output.get("text", []) + output.get("data", {}).get("text/plain", []) + output.get("traceback", [])
    return "".join(parts)


def changed(folder: Path) -> list[str]:
    result = command(folder, "--list", "--changed")
    assert result.returncode == 0 and not result.stderr, result.stderr
    return [line.removeprefix("docs/").removesuffix(".md") for line in result.stdout.splitlines()]


@pytest.mark.parametrize("name", FAILING)
def test_bad_lesson_is_reported_with_its_place_and_not_recorded(course, name):
    folder, result = course
    assert result.returncode == 1
    line = next(line for line in result.stderr.splitlines() if line.startswith(f"docs/{name}.md:"))
    assert line.startswith(f"docs/{name}.md:3: lỗi: ô #{name}: ") and FAILING[name] in line
    assert not (folder / "recordings" / name).exists()


def test_every_other_lesson_is_recorded_with_its_provenance(course):
    folder, result = course
    for name in LESSONS.keys() - FAILING.keys():
        data = recorded(folder, name)
        assert data["cells"][0]["id"] == name and {"date", "cpu", "python", "threads"} <= data["provenance"].keys()
    assert f"{len(LESSONS)} bài đã chạy trên cpu, {len(LESSONS) - len(FAILING)} bản ghi thay đổi, {len(FAILING)} lỗi" in result.stdout


@pytest.mark.parametrize(
    "name, text",
    [
        ("one", "1"),
        ("data", "'7\\n'"),
        ("hidden-value", ""),
        ("from-c", "python\nfrom C\nfrom a subprocess\nend\n"),
        ("progress", "3/3\nb\n"),
        ("ansi", "\x1b[31mđỏ\x1b[0m<script>alert(1)</script>\n"),
        ("warns", "UserWarning: cẩn thận\n"),
        ("quiet", "thấy\n"),
        ("paths", "<work> code/toy/__init__.py\n<object at 0x…>"),
        ("leaves-state", "1"),
        ("finds-state", "([], [])"),
    ],
)
def test_what_is_recorded(course, name, text):
    assert text_of(course[0], name) == text


def test_error_on_purpose_is_cut_to_the_lesson_and_its_code(course):
    output = recorded(course[0], "raises")["cells"][0]["outputs"][-1]
    assert output["ename"] == "ZeroDivisionError"
    assert output["traceback"] == [
        "Traceback (most recent call last):",
        "  Ô #raises: fail(0)",
        '  File "code/toy/broken.py", in fail',
        "ZeroDivisionError: division by zero",
    ]


def test_the_network_is_closed(course):
    assert "không có mạng" in recorded(course[0], "network")["cells"][0]["outputs"][-1]["evalue"]


def test_display_print_and_value_stay_in_order(course):
    outputs = recorded(course[0], "rich")["cells"][0]["outputs"]
    assert [output["output_type"] for output in outputs] == ["display_data", "stream", "execute_result"]
    assert outputs[0]["data"]["text/html"] == ["<b>đậm</b>"]


def test_values_of_the_prose_are_recorded(course):
    assert recorded(course[0], "one")["cells"][0]["values"] == {"total": 1}


def test_figure_is_two_files_without_date_or_scripts(course):
    folder = course[0] / "recordings" / "figure"
    light, dark = (folder / f"cpu-figure-1-{kind}.svg" for kind in ("light", "dark"))
    assert light.read_bytes() != dark.read_bytes()
    for file in (light, dark):
        text = file.read_text(encoding="utf-8")
        assert "<dc:date>" not in text and "<script" not in text and "<text" not in text
    assert recorded(course[0], "figure")["cells"][0]["outputs"][0]["data"]["application/vnd.aero.figure+json"]["alt"] == "bước huấn luyện"


def test_only_what_was_imported_or_opened_counts(course):
    used = {name: set(recorded(course[0], name)["code"]) for name in ("one", "two", "data", "plain")}
    assert used["one"] == {"code/toy/__init__.py", "code/toy/one.py"}
    assert used["two"] == {"code/toy/__init__.py", "code/toy/one.py", "code/toy/two.py"}
    assert used["data"] == {"code/toy/__init__.py", "code/toy/data.txt"}
    assert used["plain"] == set()


@pytest.mark.parametrize(
    "file, text, stale",
    [
        ("code/toy/one.py", "def number():\n    return 1 + 0\n", ["one", "two"]),
        ("code/toy/two.py", "def number():\n    return 2\n", ["two"]),
        ("code/toy/one.py", '"""Module."""\n\n\ndef number():\n    """Docs."""\n    # why\n    return (1)\n', []),
        ("code/toy/data.txt", "8\n", ["data"]),
        ("docs/one.md", page("one", LESSONS["one"] + "\n# lời bình"), []),
        ("docs/one.md", page("one", LESSONS["one"] + " + 1"), ["one"]),
        ("docs/one.md", "---\nsummary: x\n---\n" + page("one", LESSONS["one"]) + "\nLời.\n", []),
    ],
    ids=["function", "other function", "comment", "data", "comment in cell", "cell", "prose"],
)
def test_exactly_the_lessons_that_use_it_become_stale(good, file, text, stale):
    assert changed(good) == []
    (good / file).write_text(text, encoding="utf-8")
    assert changed(good) == stale


def test_running_again_changes_no_file_and_repairs_what_is_stale(good):
    before = {file: file.read_bytes() for file in (good / "recordings").rglob("*") if file.is_file()}
    (good / "code/toy/one.py").write_text("def number():\n    return 10\n", encoding="utf-8")
    verify = command(good, "--verify", "docs/one.md", "docs/plain.md")
    assert verify.returncode == 1 and "docs/one.md:3: lỗi: ô #one: kết quả khác bản ghi" in verify.stderr and "plain" not in verify.stderr
    assert {file: file.read_bytes() for file in before} == before
    assert command(good).returncode == 0
    different = [file.parent.name for file, data in before.items() if file.read_bytes() != data]
    assert sorted(different) == ["one", "two"] and changed(good) == []
    assert text_of(good, "one") == "10" and text_of(good, "two") == "11"
    after = {file: file.read_bytes() for file in before}
    assert command(good, "docs/one.md", "docs/figure.md", "docs/rich.md").returncode == 0
    assert {file: file.read_bytes() for file in before} == after


def test_failure_keeps_the_good_recording(good):
    before = (good / "recordings/one/cpu.json").read_bytes()
    (good / "docs/one.md").write_text(page("one", LESSONS["one"] + "\n1 / 0"), encoding="utf-8")
    assert command(good).returncode == 1
    assert (good / "recordings/one/cpu.json").read_bytes() == before


def test_gc_removes_what_no_cell_has(good):
    (good / "docs/one.md").unlink()
    (good / "recordings/figure/cpu-figure-9-light.svg").write_text("<svg/>", encoding="utf-8")
    assert command(good, "--gc").returncode == 0
    assert not (good / "recordings/one").exists() and not (good / "recordings/figure/cpu-figure-9-light.svg").exists()
    assert (good / "recordings/figure/cpu-figure-1-light.svg").exists()
    assert changed(good) == []


def test_edited_recording_is_reported_and_counts_as_stale(good):
    file = good / "recordings/one/cpu.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"total": 1', '"total": 2'), encoding="utf-8")
    result = command(good, "--list", "--changed")
    assert result.stdout == "docs/one.md\n" and "đã bị sửa bằng tay" in result.stderr


def test_interrupted_run_keeps_finished_recordings_and_leaves_no_process(tmp_path):
    marker = f"aero-sleeper-{os.getpid()}"
    folder = make(tmp_path, {"a-fast": "1", "b-slow": f"import time\nname = '{marker}'\ntime.sleep(600)"})
    process = subprocess.Popen(
        [sys.executable, ROOT / "hooks/run.py", "--jobs", "1"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    fast = folder / "recordings/a-fast/cpu.json"
    end = time.monotonic() + 60
    while not fast.exists():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors.decode()
    assert changed(folder) == ["b-slow"] and not (folder / "recordings/b-slow").exists()
    alive = subprocess.run(["pgrep", "-s", str(process.pid)], capture_output=True, text=True).stdout.split()
    deadline = time.monotonic() + 10
    while alive and time.monotonic() < deadline:
        time.sleep(0.2)
        alive = subprocess.run(["pgrep", "-s", str(process.pid)], capture_output=True, text=True).stdout.split()
    assert not alive


def test_a_lesson_has_a_time_limit_too(tmp_path):
    folder = make(tmp_path, {})
    (folder / "docs/a.md").write_text("# A\n" + "".join(page(f"c-{n}", "import time; time.sleep(2)") for n in range(3)), encoding="utf-8")
    program = f"import sys; sys.path.insert(0, {str(ROOT / 'hooks')!r})\nimport run\nfrom aerodocs import runner\nrunner.LESSON_SECONDS = 3\nsys.exit(run.main([]))"
    result = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, encoding="utf-8")
    assert result.returncode == 1 and "cả bài chạy quá 3 giây" in result.stderr and not (folder / "recordings").exists()


def test_pages_may_lie_deeper_than_the_root(tmp_path):
    folder = make(tmp_path, {"one": LESSONS["one"]})
    (folder / "nguon").mkdir()
    (folder / "docs").rename(folder / "nguon/trang")
    (folder / "mkdocs.yml").write_text("site_name: Thử\ndocs_dir: nguon/trang\n", encoding="utf-8")
    assert command(folder, "--list", "--changed").stdout == "nguon/trang/one.md\n"
    assert command(folder).returncode == 0 and text_of(folder, "one") == "1"


@pytest.mark.parametrize(
    "arguments, said",
    [(["docs/nothing.md"], "không có bài"), (["--shard", "5/4"], "không hợp lệ"), (["--jobs", "0"], "số nguyên dương"), (["--device", "tpu"], "tpu")],
)
def test_usage_errors(course, arguments, said):
    result = command(course[0], *arguments)
    assert result.returncode == 2 and said in result.stderr


def test_without_a_gpu_nothing_is_recorded_as_if_there_were_one(good):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    result = command(good, "--device", "cuda", "docs/plain.md")
    assert result.returncode == 1 and "docs/plain.md:3: lỗi: ô #plain: máy này không có GPU" in result.stderr
    assert not (good / "recordings/plain/cuda.json").exists()


def test_shards_share_the_lessons(course):
    names = [command(course[0], "--list", "--shard", f"{number}/3").stdout for number in (1, 2, 3)]
    assert sorted(re.findall(r"docs/(\S+)\.md", "".join(names))) == sorted(LESSONS)


def test_help_is_vietnamese(course):
    assert "Chạy các ô mã của bài học" in command(course[0], "--help").stdout


def test_listing_needs_neither_torch_nor_ipython(good):
    blocker = good / "blocker"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(
        "import sys\nfor name in ('torch', 'IPython', 'matplotlib', 'tqdm'):\n    sys.modules[name] = None\n", encoding="utf-8"
    )
    result = command(good, "--list", "--changed", env={**os.environ, "PYTHONPATH": str(blocker)})
    assert result.returncode == 0 and result.stdout == "" and result.stderr == ""
    (good / "docs/one.md").write_text(page("one", "1 + 1"), encoding="utf-8")
    result = command(good, env={**os.environ, "PYTHONPATH": str(blocker)})
    assert result.returncode == 2 and "thiếu IPython, tqdm" in result.stderr and "Traceback" not in result.stderr
