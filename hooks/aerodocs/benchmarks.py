"""The benchmark programs of a course: each measures something on a device; what they found is kept in one file for each device.

A program takes `--device` and `--out FILE`, and writes one JSON object with at least `benchmark`, its name, `rows`, what was
measured, and `ratios`, lines with `ratio`, `value` and, where the course has set itself one, `bar` and whether it is `reached`.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from aerodocs.problems import UsageError
from aerodocs.textfile import Change

SCHEMA = 1


def programs(root: Path) -> list[Path]:
    """The programs of the course at `root`, by name. Raises UsageError if it has none."""
    found = sorted(Path(root, "code", "benchmarks").glob("*.py"))
    if not found:
        raise UsageError("code/benchmarks/: không có chương trình đo nào (*.py)")
    return found


def record(root: Path, device: str, commit: str) -> list[str]:
    """Run all programs, print their ratios, and write the recording; returns the names of those that failed.

    If one fails, nothing is written: the recording never mixes two states of the code.
    """
    results, failed = [], []
    with tempfile.TemporaryDirectory() as folder:
        for program in programs(root):
            out = Path(folder, f"{program.stem}.json")
            print(f"== {program.stem}", flush=True)
            if subprocess.run([sys.executable, str(program), f"--device={device}", f"--out={out}"], cwd=root).returncode or not out.is_file():
                failed.append(program.stem)
            else:
                results.append(json.loads(out.read_text(encoding="utf-8")))
    print(f"\n{summary(results)}")
    if not failed:
        save(root / "recordings" / "benchmarks" / f"{device}.json", device, commit, results)
    return failed


def save(file: Path, device: str, commit: str, results: list[dict]) -> None:
    """Write a recording, as a whole or not at all."""
    data = {"schema": SCHEMA, "device": device, "commit": commit, "benchmarks": results}
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    Change(file, file.read_bytes() if file.is_file() else None, text.encode()).write()


def summary(results: list[dict]) -> str:
    """The ratios of all benchmarks, one a line, with the bars that they had to reach."""
    lines = []
    for result in results:
        for line in result["ratios"]:
            bar = "" if line.get("bar") is None else f"   (mức cần đạt {line['bar']:g}: {'đạt' if line['reached'] else 'chưa đạt'})"
            lines.append(f"{result['benchmark']:15}{line['ratio']:52}{line['value']:8.3g}{bar}")
    return "\n".join(lines)


def commit(root: Path) -> str:
    """The commit that lessons or benchmarks were run at; marked if files that Git knows, recordings aside, were different. Empty outside Git."""

    def git(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)

    commit = git("rev-parse", "--short=12", "HEAD")
    if commit.returncode:
        return ""
    changed = git("diff", "--quiet", "HEAD", "--", ".", ":!recordings").returncode
    return commit.stdout.strip() + ("-dirty" if changed else "")


def read(file: Path) -> dict:
    """A recording of benchmarks. Raises UsageError if the file is none."""
    try:
        data = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: không đọc được: {error}; chỉ đúng một tập tin trong recordings/benchmarks/") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise UsageError(f"{file}: không phải bản ghi đo, schema {SCHEMA}; ghi lại bằng python hooks/run.py --benchmarks")
    return data


def comparison(old: dict, new: dict) -> str:
    """Two recordings in Markdown: where each was made, and a table of the medians of all rows and of all ratios."""
    before, after = _figures(old), _figures(new)
    lines = [f"- Cũ: {_origin(old)}", f"- Mới: {_origin(new)}", "", "| Phép đo | Cũ | Mới | Mới / cũ |", "| :--- | ---: | ---: | ---: |"]
    for name in after | before:
        pair = [figures.get(name) for figures in (before, after)]
        quotient = pair[1] / pair[0] if all(pair) else None
        cells = ["–" if figure is None else format(figure, f".{digits}g") for figure, digits in zip([*pair, quotient], (4, 4, 3))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _figures(recording: dict) -> dict[str, float]:
    """Every median and every ratio, by what was measured: the words, counts and switches of a row say it, its other numbers are measured."""
    figures = {}
    for result in recording["benchmarks"]:
        for row in result["rows"]:
            what = ", ".join(f"{key}={value}" for key, value in row.items() if isinstance(value, (str, int)) and key != "repeats")
            figures[f"{result['benchmark']}: {what} (ms)"] = 1000 * row["median_s"]
        for line in result["ratios"]:
            figures[f"{result['benchmark']}: {line['ratio']}"] = line["value"]
    return {name.replace("|", "\\|"): figure for name, figure in figures.items()}


def _origin(recording: dict) -> str:
    """Commit, machines and versions of packages."""
    if not recording["benchmarks"]:
        return "chưa có bản ghi"
    places = [result["environment"] for result in recording["benchmarks"]]
    machines = {place["gpu" if recording["device"] == "cuda" else "cpu"] for place in places}
    packages = {f"{name} {version}" for place in places for name, version in place["packages"].items()}
    return ", ".join([f"commit {recording['commit']}", *sorted(machines), *sorted(packages)])
