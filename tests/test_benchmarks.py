"""`run.py --benchmarks`: programs are run, what they find is recorded as a whole or not at all, and two recordings are compared."""

import json
import subprocess
import sys
from pathlib import Path

import benchmark
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


PLACE = {"cpu": "Ví dụ X1", "gpu": "NVIDIA H100", "packages": {"torch": "2.13.0"}}


def recording(commit: str, median: float, **ratios: float) -> dict:
    """A recording as `record` writes it, of one row measured with a switch, a count, and a speed that was not to be had."""
    row = {"kind": "a|b", "T": 512, "compiled": False, "gflop_per_s": None, "min_s": 0.001, "repeats": 5, "median_s": median}
    lines = [{"ratio": name, "value": value} for name, value in ratios.items()]
    result = {"benchmark": "nhanh", "environment": PLACE, "rows": [row], "ratios": lines}
    return {"schema": 1, "device": "cuda", "commit": commit, "benchmarks": [result]}


def test_comparison_of_recordings(tmp_path, capsys):
    old, new, none = tmp_path / "old.json", tmp_path / "new.json", tmp_path / "none.json"
    old.write_text(json.dumps(recording("aaa", 0.002, still=2.0, gone=3.0)), encoding="utf-8")
    new.write_text(json.dumps(recording("bbb", 0.001, still=2.5, come=1.0)), encoding="utf-8")
    none.write_text('{"schema": 1, "benchmarks": []}', encoding="utf-8")
    assert benchmark.main(["compare", str(old), str(new)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "- Cũ: commit aaa, NVIDIA H100, torch 2.13.0",
        "- Mới: commit bbb, NVIDIA H100, torch 2.13.0",
        "",
        "| Phép đo | Cũ | Mới | Mới / cũ |",
        "| :--- | ---: | ---: | ---: |",
        r"| nhanh: kind=a\|b, T=512, compiled=False (ms) | 2 | 1 | 0.5 |",
        "| nhanh: still | 2 | 2.5 | 1.25 |",
        "| nhanh: come | – | 1 | – |",
        "| nhanh: gone | 3 | – | – |",
    ]
    assert benchmark.main(["compare", str(none), str(new)]) == 0
    assert "- Cũ: chưa có bản ghi\n" in capsys.readouterr().out


@pytest.mark.parametrize("text, said", [(None, "không đọc được"), ("{", "không đọc được"), ("[]", "không phải bản ghi đo"), ('{"schema": 2}', "không phải bản ghi đo")])
def test_what_is_no_recording_is_not_compared(tmp_path, capsys, text, said):
    file = tmp_path / "x.json"
    if text:
        file.write_text(text, encoding="utf-8")
    assert benchmark.main(["compare", str(file), str(file)]) == 2
    assert f"benchmark.py: {file}: {said}" in capsys.readouterr().err
