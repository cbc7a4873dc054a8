"""The command of the checker: which courses, which codes, which format."""

import json
import os
import sys
import time
from pathlib import Path

from aerodocs.arguments import Parser, utf8_output
from aerodocs.problems import Problem, UsageError
from aerodocs.rules import CODES
from aerodocs.rules.inspection import inspect
from aerodocs.settings import Settings, find_course

HELP = """\
Kiểm tra mọi bài học: công thức, liên kết, khối mã, tiêu đề, phần đầu trang, bản ghi kết quả, trang trùng nhau, cách viết …
Không sửa gì. Mỗi dòng in ra là một chỗ cần xem: tập tin:dòng: lỗi hoặc cảnh báo, mã, điều thấy; cách chữa.
"""
EPILOG = """\
Một trang có thể bỏ qua một mã, kèm lý do, ở phần đầu trang:
  check: {ignore: {near-duplicate: hai bài cố ý lặp lại phần ôn tập}}

Các mã, với ví dụ sai và đúng: CODES.md.
Mã thoát: 0 không có lỗi (có thể có cảnh báo) · 1 có lỗi · 2 gọi lệnh sai.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    if arguments is None:  # the script `aero-check`
        utf8_output()
    options = _parser().parse_args(arguments)
    start = time.perf_counter()
    try:
        select, ignore = _codes(options.select), _codes(options.ignore)
        courses = _courses(options.docs, options.paths)
    except UsageError as error:
        print(f"check.py: {error}", file=sys.stderr)
        return 2
    found: list[tuple[Path, Problem]] = []
    pages = 0
    for docs, settings, wanted in courses:
        inspection = inspect(docs, settings)
        pages += inspection.pages
        found += [
            (docs, problem)
            for problem in inspection.problems
            if (not select or problem.code in select) and problem.code not in ignore and (not wanted or _is_below(problem.path, wanted))
        ]
    errors = sum(problem.severity == "error" for _, problem in found)
    _FORMATS[options.format](found, pages)
    outcome = f"{errors} lỗi, {len(found) - errors} cảnh báo" if found else "không thấy gì sai"
    print(f"{pages} trang, {outcome}, {time.perf_counter() - start:.2f} giây", file=sys.stderr)
    return int(errors > 0)


def _courses(docs: Path | None, paths: list[Path]) -> list[tuple[Path, Settings, set[str]]]:
    """The courses to inspect, and which of their paths are asked for (none: all). A folder outside the course is a course of its own."""
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: không có tập tin hay thư mục này")
    outside: list[Path] = []
    wanted: set[str] = set()
    courses: list[tuple[Path, Settings, set[str]]] = []
    whole = not paths
    if docs is not None or not paths or Path("mkdocs.yml").is_file():
        root, settings = find_course(docs, Path.cwd())
        for path in paths:
            place = Path(os.path.realpath(path))
            if place.is_relative_to(root.resolve()):
                whole = whole or place == root.resolve()
                wanted.add(place.relative_to(root.resolve()).as_posix())
            else:
                outside.append(path)
        if whole or wanted:
            courses.append((root, settings, set() if whole else wanted))
    else:
        outside = paths
    for path in outside:
        folder = path if path.is_dir() else path.parent
        courses.append((*find_course(folder, Path.cwd()), set() if path.is_dir() else {path.name}))
    return courses


def _is_below(path: str, wanted: set[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in wanted)


def _codes(text: str) -> set[str]:
    codes = {code.strip() for code in text.split(",")} - {""}
    if unknown := codes - CODES.keys():
        raise UsageError(f"không có mã {', '.join(sorted(unknown))}; các mã: {', '.join(CODES)}")
    return codes


def _print_text(found: list[tuple[Path, Problem]], pages: int) -> None:
    for _, problem in found:
        print(problem)


def _print_github(found: list[tuple[Path, Problem]], pages: int) -> None:
    """Annotations of GitHub Actions; paths are relative to the working folder."""

    def data(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    for docs, problem in found:
        file = data(os.path.relpath(docs / problem.path)).replace(":", "%3A").replace(",", "%2C")
        text = "\n".join(filter(None, [f"{problem.message}; {problem.cure}", problem.detail.rstrip()]))
        print(f"::{problem.severity} file={file},line={max(problem.line, 1)},title={problem.code}::{data(text)}")


def _print_json(found: list[tuple[Path, Problem]], pages: int) -> None:
    keys = ("path", "line", "severity", "code", "message", "cure", "detail")
    findings = [{"docs": docs.as_posix(), **{key: getattr(problem, key) for key in keys}} for docs, problem in found]
    errors = sum(problem.severity == "error" for _, problem in found)
    data = {"pages": pages, "errors": errors, "warnings": len(found) - errors, "findings": findings}
    print(json.dumps(data, ensure_ascii=False, indent=1))


_FORMATS = {"text": _print_text, "github": _print_github, "json": _print_json}


def _parser() -> Parser:
    parser = Parser(prog="python hooks/check.py", description=HELP, epilog=EPILOG)
    where = parser.add_argument_group("chỗ cần kiểm tra")
    where.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="ĐƯỜNG_DẪN",
        help="chỉ in điều thấy ở các trang, thư mục này; thư mục ngoài khóa học được coi là một khóa học riêng (mặc định: cả khóa học)",
    )
    add = parser.options.add_argument
    add("--docs", type=Path, metavar="THƯ_MỤC", help="thư mục chứa các trang (mặc định: docs_dir của mkdocs.yml ở thư mục hiện tại)")
    add("--format", choices=tuple(_FORMATS), default="text", help="text cho người đọc (mặc định), github cho GitHub Actions, json cho chương trình")
    add("--select", default="", metavar="MÃ,…", help="chỉ những mã này")
    add("--ignore", default="", metavar="MÃ,…", help="trừ những mã này")
    return parser
