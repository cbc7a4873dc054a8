"""The whole way of a GPU's outputs onto a page, on a machine that has none: the same commands, with a CPU that says it is one.

Nothing in the project knows of the pretence: it comes into each Python process by `sitecustomize`, and `nvidia-smi` by the path.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from handmade import build, cell, index, project

pytest.importorskip("torch")

HOOKS = Path(__file__).parents[1] / "hooks"
PRETENCE = """\
import sys
if "run.py" in sys.argv[0] or any("forkserver" in argument for argument in sys.orig_argv):
    import torch
    torch.cuda.is_available = lambda: True
    torch.cuda.get_device_name = lambda *_: "NVIDIA Giả"
    torch.version.cuda = "12.9"
"""
WHERE = "import os\nnoi = os.environ['AERO_DEVICE']\nnoi"
PAGES = {
    "index.md": "# Cổng\n",
    "m/index.md": "# Mục\n",
    "m/01_khac.md": f"# Khác\n\n{cell('khac-noi', WHERE)}\n{cell('khac-hai', '1 + 1')}\n{cell('khac-cpu', '3 * 3', 'device: [cpu]')}\n{cell('khac-gpu', '4 * 4', 'device: [cuda]')}",
    "m/02_bang.md": f"# Bằng\n\n{cell('bang-tong', '20 + 1')}",
    "m/03_thieu.md": f"# Thiếu\n\n{cell('thieu-tong', '30 + 1')}",
}
MEASURED = """\
import json, os
with open({root!r} + "/recordings/benchmarks/" + os.environ["AERO_DEVICE"] + ".json") as file:
    so = json.load(file)["benchmarks"][0]["rows"][0]["median_s"]
so"""
PROGRAM = """\
import argparse, json, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--device")
parser.add_argument("--out", type=pathlib.Path)
args = parser.parse_args()
seconds = {"cpu": 8.5, "cuda": 0.25}[args.device]
args.out.write_text(json.dumps({"benchmark": "x", "rows": [{"median_s": seconds}], "ratios": []}))
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course whose lessons and benchmark were run on both devices, one lesson on the CPU alone."""
    folder = tmp_path_factory.mktemp("two")
    pages = {**PAGES, "m/04_do.md": f"# Đo\n\n{cell('do-so', MEASURED.format(root=str(folder)))}"}
    project(folder, pages)
    index(folder)
    (folder / "code" / "benchmarks").mkdir(parents=True, exist_ok=True)
    (folder / "code" / "benchmarks" / "x.py").write_text(PROGRAM, encoding="utf-8")
    pretence = folder / ".pretence"
    pretence.mkdir()
    (pretence / "sitecustomize.py").write_text(PRETENCE, encoding="utf-8")
    (pretence / "nvidia-smi").write_text("#!/bin/sh\necho 570.1\n", encoding="utf-8")
    (pretence / "nvidia-smi").chmod(0o755)
    gpu = {**os.environ, "PYTHONPATH": str(pretence), "PATH": f"{pretence}{os.pathsep}{os.environ['PATH']}"}
    for environment, device, lessons in ((None, "cpu", []), (gpu, "cuda", ["docs/m/01_khac.md", "docs/m/02_bang.md", "docs/m/04_do.md"])):
        command(folder, "--benchmarks", "--device", device, env=environment)
        command(folder, "--device", device, *lessons, env=environment)
    assert build(folder).returncode == 0
    return folder, gpu


def command(folder, *arguments, env=None):
    result = subprocess.run([sys.executable, str(HOOKS / "run.py"), *arguments], cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    return result.stdout


def page_of(folder, name):
    return (folder / "site" / "m" / name / "index.html").read_text(encoding="utf-8")


def test_recordings_say_which_machine(course):
    folder, _ = course
    for device in ("cpu", "cuda"):
        data = json.loads((folder / f"recordings/m/01_khac/{device}.json").read_text(encoding="utf-8"))
        assert data["device"] == device and [found["id"] for found in data["cells"]] == ["khac-noi", "khac-hai", f"khac-{'cpu' if device == 'cpu' else 'gpu'}"]
        assert [data["provenance"].get(name) for name in ("gpu", "cuda", "driver")] == ([None] * 3 if device == "cpu" else ["NVIDIA Giả", "12.9", "570.1"])


def test_different_outputs_are_tabs_and_equal_ones_are_shown_once(course):
    folder, _ = course
    page = page_of(folder, "01_khac")
    assert 'for="__tabbed_cell-khac-noi_2">GPU (NVIDIA Giả)' in page and "__tabbed_cell-khac-hai" not in page
    assert page.count("GPU NVIDIA Giả") == 3  # under its tab, with the equal output, and under the cell for the GPU alone
    assert "kết quả như nhau" in page_of(folder, "02_bang")
    assert "chưa ghi trên GPU" not in page + page_of(folder, "02_bang")


def test_a_device_that_is_missing_is_named(course):
    assert "chưa ghi trên GPU" in page_of(course[0], "03_thieu")


def test_each_device_shows_its_own_benchmark(course):
    folder, _ = course
    page = page_of(folder, "04_do")
    assert "8.5" in page and "0.25" in page and "__tabbed_cell-do-so_2" in page


def test_lessons_that_show_a_benchmark_are_stale_when_it_is_measured_again(course):
    folder, gpu = course
    file = folder / "recordings" / "benchmarks" / "cuda.json"
    old = file.read_bytes()
    file.write_bytes(old.replace(b"0.25", b"0.75"))
    try:
        assert command(folder, "--list", "--changed", "--device", "cuda", env=gpu).splitlines() == ["docs/m/03_thieu.md", "docs/m/04_do.md"]
        assert command(folder, "--list", "--changed") == ""
    finally:
        file.write_bytes(old)


def test_verify_holds_on_both(course):
    folder, gpu = course
    lessons = ["docs/m/01_khac.md", "docs/m/04_do.md"]
    assert "2 bài đã kiểm tra trên cuda, 0 lỗi" in command(folder, "--verify", "--device", "cuda", *lessons, env=gpu)
    assert "2 bài đã kiểm tra trên cpu, 0 lỗi" in command(folder, "--verify", *lessons)
