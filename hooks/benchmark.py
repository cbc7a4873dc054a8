"""Measure the generator's commands: `python hooks/benchmark.py index`; compare recordings. Prints a table; asserts nothing."""

import argparse
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from aerodocs import benchmarks
from aerodocs.arguments import Parser, leave
from aerodocs.problems import UsageError

HOOKS = Path(__file__).parent


class Run(NamedTuple):
    """What one process took. On a machine with other work the processor time says more than the clock."""

    seconds: float
    memory: float
    processor: float


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    if options.measure is not compare:
        print(f"{date.today()} · {platform.platform()} · {os.cpu_count()} lõi · Python {platform.python_version()}\n")
    try:
        options.measure(options)
    except UsageError as error:
        print(f"benchmark.py: {error}", file=sys.stderr)
        return 2
    return 0


def compare(options: argparse.Namespace) -> None:
    """Two recordings that `run.py --benchmarks` has made, in Markdown."""
    print(benchmarks.comparison(benchmarks.read(options.old), benchmarks.read(options.new)))


def measure_index(options: argparse.Namespace) -> None:
    """The indexer on courses of several sizes: first run, and with nothing to do."""
    _sizes_head(options)
    for pages in options.pages:
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder, "docs")
            command = [sys.executable, str(HOOKS / "index.py"), "--docs", str(tree)]
            cold = []
            for _ in range(options.repeats):
                shutil.rmtree(tree, ignore_errors=True)
                copy_tree(options.docs, tree, pages)
                cold.append(measure(command))
            _sizes_row(pages, "lần đầu (ghi mọi trang)", cold)
            _sizes_row(pages, "không có gì đổi", [measure(command) for _ in range(options.repeats)])


def measure_check(options: argparse.Namespace) -> None:
    """The checker on courses of several sizes. The memory is that of its largest process."""
    _sizes_head(options)
    for pages in options.pages:
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder, "docs")
            copy_tree(options.docs, tree, pages)
            command = [sys.executable, str(HOOKS / "check.py"), "--docs", str(tree), "--format", "json"]
            _sizes_row(pages, "mọi luật", [measure(command, accept=(0, 1)) for _ in range(options.repeats)])


def measure_build(options: argparse.Namespace) -> None:
    """`mkdocs build` in turn with the same theme, plugins and Markdown extensions alone; then from an edit to the new page under `serve`."""
    if not any(options.docs.rglob("*.md")):
        raise UsageError(f"{options.docs}: không có trang Markdown nào; chỉ đúng một thư mục docs")
    print("| trang | dựng bằng | giây: trung vị | nhỏ nhất | lớn nhất | giây CPU | so với theme | MB đầu ra | bộ nhớ đỉnh, MB |")
    print("| ---: | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    rows = []
    for pages in options.pages:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            _project(root, options.docs, pages)
            runs: dict[str, list[Run]] = {"theme.yml": [], "mkdocs.yml": []}
            for _ in range(options.repeats):
                for config, measured in runs.items():
                    command = [sys.executable, "-m", "mkdocs", "build", "-q", "-f", config, "-d", f"{folder}/{config}.site"]
                    measured.append(measure(command, cwd=root))
            plain = statistics.median(run.seconds for run in runs["theme.yml"])
            for config, measured in runs.items():
                row = {"pages": pages, "builder": "mkdocs-material" if config == "theme.yml" else "Aero"}
                row |= _spread([run.seconds for run in measured])
                row["processor_s"] = statistics.median(run.processor for run in measured)
                row["ratio"] = row["median_s"] / plain
                row["output_mb"] = sum(file.stat().st_size for file in (root / f"{config}.site").rglob("*") if file.is_file()) / 1e6
                row["peak_memory_mb"] = max(run.memory for run in measured)
                rows.append(row)
                times = f"{row['median_s']:.1f} | {row['min_s']:.1f} | {row['max_s']:.1f} | {row['processor_s']:.1f} | {row['ratio']:.2f}"
                print(f"| {pages:,} | {row['builder']} | {times} | {row['output_mb']:.1f} | {row['peak_memory_mb']:.0f} |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        reload = _spread(_reloads(Path(folder), options.docs, options.repeats))
    span = f"{reload['min_s']:.1f} đến {reload['max_s']:.1f}"
    print(f"\nTừ lúc sửa đến trang mới (`mkdocs serve`, 60 bài): {reload['median_s']:.1f} giây ({span})")
    if options.out:
        found = {"benchmark": "build", "device": "site", "environment": _environment(), "rows": rows, "reload": reload, "ratios": []}
        benchmarks.save(options.out, "site", benchmarks.commit(HOOKS.parent), [found])


def _spread(seconds: list[float]) -> dict[str, float | int]:
    return {"median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds), "repeats": len(seconds)}


def _environment() -> dict:
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")] if Path("/proc/cpuinfo").exists() else []
    return {
        "date": date.today().isoformat(),
        "cpu": cpu[0].partition(":")[2].strip() if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in ("mkdocs", "mkdocs-material", "Markdown")},
    }


def _project(root: Path, docs: Path, pages: int) -> None:
    """A course of that many pages with current navigation, and two configurations: this project's, and what it rests on."""
    home = HOOKS.parent
    copy_tree(docs, root / "docs", pages)
    shutil.copytree(home / "docs" / "assets", root / "docs" / "assets")
    shutil.copy(home / "docs" / "bang_thuat_ngu.md", root / "docs")
    terms = (home / "docs" / "bang_thuat_ngu.yml").read_text(encoding="utf-8")
    (root / "docs" / "bang_thuat_ngu.yml").write_text(re.sub(r"lesson: .*", "lesson: bang_thuat_ngu.md", terms), encoding="utf-8")
    for page in (root / "docs").rglob("*.md"):  # the theme alone takes an emoji for the name of a file
        page.write_bytes(re.sub(rb"(?m)^icon:.*\n", b"", page.read_bytes()))
    (root / "code").symlink_to(home / "code")
    config = (home / "mkdocs.yml").read_text(encoding="utf-8")
    config = config.replace("custom_dir: overrides", f"custom_dir: {home}/overrides").replace("- hooks/", f"- {HOOKS}/")
    (root / "mkdocs.yml").write_text(config, encoding="utf-8")
    extensions = config[config.index("\nmarkdown_extensions:") : config.index("\n  - aerodocs.markdown")]
    (root / "plain").mkdir()
    theme = f"INHERIT: mkdocs.yml\nhooks: []\ntheme: {{custom_dir: plain, language: vi}}\n{extensions}\n"
    (root / "theme.yml").write_text(theme, encoding="utf-8")
    measure([sys.executable, str(HOOKS / "index.py"), "--docs", str(root / "docs")])


def _reloads(root: Path, docs: Path, repeats: int) -> list[float]:
    """Seconds from writing a lesson until the server answers with the new page."""
    _project(root, docs, 60)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    lesson = max((root / "docs").rglob("*.md"), key=lambda file: file.stat().st_size)
    url = f"http://{address}/{lesson.relative_to(root / 'docs').as_posix().removesuffix('.md')}/"
    command = [sys.executable, "-m", "mkdocs", "serve", "-q", "--dev-addr", address]
    server = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def shows(word: str) -> bool:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return word in answer.read().decode()
        except OSError:
            return False

    def wait(word: str) -> float:
        start = time.perf_counter()
        while not shows(word):
            if server.poll() is not None or time.perf_counter() - start > 120:
                raise RuntimeError(f"{' '.join(command)}: không trả lời ở {url}")
            time.sleep(0.05)
        return time.perf_counter() - start

    text, seconds = lesson.read_text(encoding="utf-8"), []
    try:
        wait("<html")
        for number in range(repeats):
            time.sleep(2)
            lesson.write_text(f"{text}\nlan-sua-{number}\n", encoding="utf-8")
            seconds.append(wait(f"lan-sua-{number}"))
    finally:
        server.terminate()  # SIGINT is ignored by what a shell has started in the background
        server.wait(timeout=30)
    return seconds


def measure_run(options: argparse.Namespace) -> None:
    """Small lessons by `run.py`, as plain scripts one after another, and as notebooks; the overhead of a lesson; a course with nothing stale."""
    code = "import torch\nimport matplotlib.pyplot as plt\nfrom IPython.display import display\nx = torch.linspace(-3, 3, 200)\nplt.plot(x, x.tanh())\nprint(x.sum())"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        scripts, notebooks = _lessons(root / "small", options.lessons, code)
        _lessons(root / "empty", 2 * options.lessons, "None")
        _lessons(root / "one", 1, "None")
        run = [sys.executable, str(HOOKS / "run.py")]
        nbclient = [sys.executable, "-m", "jupyter", "execute"]

        def fresh(name: str, jobs: int) -> float:
            shutil.rmtree(root / name / "recordings", ignore_errors=True)
            return measure([*run, "--jobs", str(jobs)], cwd=root / name)[0]

        rows = {
            f"run.py, {options.lessons} bài nhỏ": lambda: fresh("small", os.cpu_count() or 1),
            "cùng các ô, từng tập lệnh Python": lambda: sum(measure([sys.executable, str(script)])[0] for script in scripts),
            "cùng các ô, từng notebook (jupyter execute)": lambda: sum(measure([*nbclient, str(notebook)])[0] for notebook in notebooks),
            f"run.py, {2 * options.lessons} bài rỗng, lần lượt": lambda: fresh("empty", 1),
            "run.py, 1 bài rỗng": lambda: fresh("one", 1),
            f"run.py, {2 * options.lessons} bài, không bài nào cũ": lambda: measure(run, cwd=root / "empty")[0],
        }
        print("| việc | giây: trung vị | nhỏ nhất | lớn nhất |\n| :--- | ---: | ---: | ---: |")
        middles = []
        for what, once in rows.items():
            seconds = [once() for _ in range(options.repeats)]
            middles.append(statistics.median(seconds))
            print(f"| {what} | {middles[-1]:.2f} | {min(seconds):.2f} | {max(seconds):.2f} |", flush=True)
        print(f"\nNhanh hơn tập lệnh {middles[1] / middles[0]:.1f} lần, hơn notebook {middles[2] / middles[0]:.1f} lần.")
        print(f"Mỗi bài rỗng tốn thêm {(middles[3] - middles[4]) / (2 * options.lessons - 1):.3f} giây.")


def _lessons(root: Path, count: int, code: str) -> tuple[list[Path], list[Path]]:
    """A course of `count` lessons with one cell each; returns the same cells as scripts and as notebooks."""
    (root / "docs").mkdir(parents=True)
    (root / "mkdocs.yml").write_text("site_name: x\n", encoding="utf-8")
    scripts, notebooks = [], []
    for number in range(count):
        (root / "docs" / f"{number}.md").write_text(f"# {number}\n\n```python {{.cell #c-{number}}}\n{code}\n```\n", encoding="utf-8")
        scripts.append(root / f"{number}.py")
        scripts[-1].write_text(code, encoding="utf-8")
        cell = {"cell_type": "code", "id": "c", "metadata": {}, "source": code, "outputs": [], "execution_count": None}
        notebook = {"cells": [cell], "metadata": {"kernelspec": {"name": "python3", "display_name": "x"}}, "nbformat": 4, "nbformat_minor": 5}
        notebooks.append(root / f"{number}.ipynb")
        notebooks[-1].write_text(json.dumps(notebook), encoding="utf-8")
    return scripts, notebooks


def _sizes_head(options: argparse.Namespace) -> None:
    if not any(options.docs.rglob("*.md")):
        raise UsageError(f"{options.docs}: không có trang Markdown nào; chỉ đúng một thư mục docs")
    print("| trang | việc | giây: trung vị | nhỏ nhất | lớn nhất | trang/giây | bộ nhớ đỉnh, MB |")
    print("| ---: | :--- | ---: | ---: | ---: | ---: | ---: |")


def _sizes_row(pages: int, what: str, runs: list[Run]) -> None:
    seconds = [run[0] for run in runs]
    middle, memory = statistics.median(seconds), max(run[1] for run in runs)
    figures = f"{middle:.2f} | {min(seconds):.2f} | {max(seconds):.2f} | {pages / middle:,.0f} | {memory:.0f}"
    print(f"| {pages:,} | {what} | {figures} |", flush=True)


def copy_tree(docs: Path, target: Path, pages: int) -> None:
    """Write exactly `pages` Markdown pages: those of `docs`, over and over in numbered top folders."""
    sources = sorted(docs.rglob("*.md"))
    for number in range(pages):
        copy, place = divmod(number, len(sources))
        file = target / (f"{copy:04d}_ban_sao" if copy else "") / sources[place].relative_to(docs)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(sources[place].read_bytes())


def measure(command: list[str], cwd: Path | None = None, accept: tuple[int, ...] = (0,)) -> Run:
    """Wall time in seconds, peak memory in MB and processor time in seconds of a command as a whole process. Raises RuntimeError if its exit code is not one of `accept`."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if (code := os.waitstatus_to_exitcode(status)) not in accept:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command)}: exit code {code}\n{errors.read().decode(errors='replace')[-2000:]}")
    memory = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)
    return Run(seconds, memory, usage.ru_utime + usage.ru_stime)


def _parser() -> Parser:
    description = "Đo thời gian và bộ nhớ của các lệnh, mỗi lần trong một tiến trình mới."
    parser = Parser(prog="python hooks/benchmark.py", description=description)
    what = parser.add_subparsers(title="cần đo", required=True, metavar="VIỆC")

    def add(name: str, measure, text: str) -> Parser:
        sub = what.add_parser(name, help=text, description=text)
        sub.options.add_argument("--repeats", type=int, default=5, metavar="N", help="số lần đo mỗi việc (mặc định: 5)")
        sub.set_defaults(measure=measure)
        return sub

    for name, measure, text, pages in (
        ("index", measure_index, "bộ lập mục lục trên khóa học nhiều cỡ", [416, 2000, 10000]),
        ("check", measure_check, "bộ kiểm tra trên khóa học nhiều cỡ", [416, 2000, 10000]),
        ("build", measure_build, "mkdocs build, so với chính theme ấy, và mkdocs serve", [100, 416, 2000]),
    ):
        options = add(name, measure, text).options.add_argument
        options("--docs", type=Path, default=Path("docs"), metavar="THƯ_MỤC", help="khóa học được nhân bản cho đủ số trang (mặc định: docs)")
        if name == "build":
            options("--out", type=Path, metavar="TỆP", help="tệp JSON nhận kết quả")
        sizes = " ".join(map(str, pages))
        options("--pages", type=int, nargs="+", default=pages, metavar="N", help=f"các cỡ khóa học (mặc định: {sizes})")
    run = add("run", measure_run, "chạy ô mã, so với tập lệnh và notebook")
    run.options.add_argument("--lessons", type=int, default=30, metavar="N", help="số bài nhỏ (mặc định: 30)")
    text = "không đo; in bảng so hai bản ghi trong recordings/benchmarks/, bằng Markdown"
    recordings = what.add_parser("compare", help=text, description=text)
    recordings.set_defaults(measure=compare)
    recordings.add_argument("old", type=Path, metavar="CŨ.json", help="bản ghi cũ")
    recordings.add_argument("new", type=Path, metavar="MỚI.json", help="bản ghi mới")
    return parser


if __name__ == "__main__":
    leave(main)
