"""Measure the generator's commands: `python hooks/benchmark.py index`. Prints a table; asserts nothing."""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

INDEX = Path(__file__).with_name("index.py")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    if not any(options.docs.rglob("*.md")):
        print(f"benchmark.py: {options.docs}: không có trang Markdown nào; chỉ đúng một thư mục docs", file=sys.stderr)
        return 2
    print(f"{date.today()} · {platform.platform()} · {os.cpu_count()} lõi · Python {platform.python_version()}\n")
    print("| trang | việc | giây: trung vị | nhỏ nhất | lớn nhất | trang/giây | bộ nhớ đỉnh, MB |")
    print("| ---: | :--- | ---: | ---: | ---: | ---: | ---: |")
    for pages in options.pages:
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder, "docs")
            cold = []
            for _ in range(options.repeats):
                shutil.rmtree(tree, ignore_errors=True)
                copy_tree(options.docs, tree, pages)
                cold.append(measure([sys.executable, str(INDEX), "--docs", str(tree)]))
            _row(pages, "lần đầu (ghi mọi trang)", cold)
            _row(pages, "không có gì đổi", [measure([sys.executable, str(INDEX), "--docs", str(tree)]) for _ in range(options.repeats)])
    return 0


def copy_tree(docs: Path, target: Path, pages: int) -> None:
    """Write exactly `pages` Markdown pages: those of `docs`, over and over in numbered top folders."""
    sources = sorted(docs.rglob("*.md"))
    for number in range(pages):
        copy, place = divmod(number, len(sources))
        file = target / (f"{copy:04d}_ban_sao" if copy else "") / sources[place].relative_to(docs)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(sources[place].read_bytes())


def measure(command: list[str]) -> tuple[float, float]:
    """Wall time in seconds and peak memory in MB of a command as a whole process. Raises RuntimeError if it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if code := os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{' '.join(command)}: exit code {code}")
    return seconds, usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)


def _row(pages: int, what: str, runs: list[tuple[float, float]]) -> None:
    seconds = [run[0] for run in runs]
    middle = statistics.median(seconds)
    memory = max(run[1] for run in runs)
    print(f"| {pages:,} | {what} | {middle:.2f} | {min(seconds):.2f} | {max(seconds):.2f} | {pages / middle:,.0f} | {memory:.0f} |", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python hooks/benchmark.py", description="Đo thời gian và bộ nhớ của các lệnh, mỗi lần trong một tiến trình mới.", add_help=False
    )
    parser.add_argument("what", choices=["index"], help="lệnh cần đo")
    add = parser.add_argument_group("tùy chọn").add_argument
    add("-h", "--help", action="help", help="in phần trợ giúp này")
    add("--docs", type=Path, default=Path("docs"), metavar="THƯ_MỤC", help="khóa học được nhân bản cho đủ số trang (mặc định: docs)")
    add("--pages", type=int, nargs="+", default=[416, 2000, 10000], metavar="N", help="các cỡ khóa học (mặc định: 416 2000 10000)")
    add("--repeats", type=int, default=5, metavar="N", help="số lần đo mỗi việc (mặc định: 5)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
