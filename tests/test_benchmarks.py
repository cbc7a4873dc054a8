"""`run.py --benchmarks`: programs are run, what they find is recorded as a whole or not at all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aerodocs import benchmarks
from aerodocs.problems import UsageError

RUN = Path(__file__).parents[1] / "hooks" / "run.py"
PROGRAM = """\
import argparse, json, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--device")
parser.add_argument("--out", type=pathlib.Path)
args = parser.parse_args()
ratios = [{{"ratio": "a / b", "value": {value}, "bar": 2.0, "reached": {value} >= 2}}]
args.out.write_text(json.dumps({{"benchmark": "{name}", "device": args.device, "rows": [], "ratios": ratios}}))
"""


@pytest.fixture
def course(tmp_path):
    """A course with two benchmark programs and no lesson."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text("site_name: x\n", encoding="utf-8")
    folder = tmp_path / "code" / "benchmarks"
    folder.mkdir(parents=True)
    for name, value in (("nhanh", 3.5), ("cham", 1.5)):
        (folder / f"{name}.py").write_text(PROGRAM.format(name=name, value=value), encoding="utf-8")
    return tmp_path


def command(course: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(RUN), "--benchmarks", *arguments], cwd=course, capture_output=True, text=True, encoding="utf-8")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_all_programs_are_recorded_by_device(course, device):
    result = command(course, "--device", device)
    assert result.returncode == 0, result.stderr
    data = json.loads((course / "recordings" / "benchmarks" / f"{device}.json").read_text(encoding="utf-8"))
    assert data["schema"] == 1 and data["device"] == device and data["commit"] == ""
    assert [(found["benchmark"], found["device"]) for found in data["benchmarks"]] == [("cham", device), ("nhanh", device)]
    assert "3.5   (mức cần đạt 2: đạt)" in result.stdout and "1.5   (mức cần đạt 2: chưa đạt)" in result.stdout


@pytest.mark.parametrize("fault", ["raise SystemExit(3)", "pass"])
def test_one_that_fails_or_writes_nothing_leaves_the_old_recording(course, fault):
    assert command(course).returncode == 0
    file = course / "recordings" / "benchmarks" / "cpu.json"
    old = file.read_bytes()
    (course / "code" / "benchmarks" / "hong.py").write_text(fault, encoding="utf-8")
    result = command(course)
    assert result.returncode == 1 and "hong không chạy được; không ghi gì" in result.stderr
    assert file.read_bytes() == old


def test_wrong_calls(course):
    result = command(course, "docs/bai.md")
    assert result.returncode == 2 and "không kèm docs/bai.md" in result.stderr
    with pytest.raises(UsageError, match="không có chương trình đo"):
        benchmarks.programs(course / "docs")
