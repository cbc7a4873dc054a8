"""Run every benchmark program and print the table of ratios against ``transformers``, ``tokenizers`` and ``tiktoken``.

python code/benchmarks/ratios.py [--out FILE] [--device cuda] [--repeats N] [--threads N] [--only NAME …]

Each program runs in a process of its own and compares within it; --out receives all their results in one file.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from aerogpt.benchmark import format_table

FOLDER = Path(__file__).parent
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py") if path != Path(__file__))


def main() -> int:
    """Run the programs one after another; returns the exit code, 1 if one of them failed."""
    parser = argparse.ArgumentParser(description="Chạy mọi chương trình đo và in bảng tỉ số.")
    parser.add_argument("--out", type=Path, help="tệp JSON nhận mọi kết quả")
    parser.add_argument("--only", nargs="+", choices=PROGRAMS, default=PROGRAMS, help="chỉ chạy những chương trình này")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="mặc định: cpu")
    parser.add_argument("--repeats", type=int, default=5, help="số lần đo (mặc định: 5)")
    parser.add_argument("--threads", type=int, default=2, help="số luồng CPU (mặc định: 2)")
    args = parser.parse_args()
    results, failed = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only:
            out = Path(folder, f"{name}.json")
            options = [f"--{option}={getattr(args, option)}" for option in ("device", "repeats", "threads")]
            command = [sys.executable, str(FOLDER / f"{name}.py"), *options, f"--out={out}"]
            if subprocess.run(command).returncode or not out.exists():
                failed.append(name)
            else:
                results.append(json.loads(out.read_text(encoding="utf-8")))
    rows = [{"benchmark": result["benchmark"], **line} for result in results for line in result["ratios"]]
    if rows:
        print("\n" + format_table(rows))
    if args.out:
        args.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if failed:
        print(f"lỗi: {', '.join(failed)} không chạy được", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
