"""Execute the cells of lessons, record what they leave, verify what is recorded: `python hooks/run.py`."""

import argparse
import importlib.util
import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from aerodocs import benchmarks, files, recordings
from aerodocs.arguments import Parser, leave
from aerodocs.cells import DEVICES, Lesson, lesson_of
from aerodocs.fingerprints import cell_keys, file_key
from aerodocs.problems import UsageError
from aerodocs.recordings import CellRecord, Recording, RecordingError
from aerodocs.settings import find_course

_CELL_LINES, _CELL_BYTES, _LESSON_BYTES = 200, 16_000, 1_000_000


@dataclass(frozen=True, slots=True)
class _Course:
    """The folder that holds mkdocs.yml, `code/` and `recordings/`, and the one with the pages."""

    root: Path
    docs: Path

    def shown(self, lesson: Lesson) -> str:
        """Path of a lesson as an author types it."""
        return Path(os.path.relpath(self.docs / lesson.path, self.root)).as_posix()


HELP = """\
Chạy các ô mã của bài học, ghi lại kết quả vào recordings/, hoặc kiểm tra kết quả đã ghi.
Không nêu bài nào thì xét mọi bài và chỉ chạy bài đã cũ: ô mã, mã nguồn hoặc dữ liệu của nó đã đổi, hoặc chưa ghi. Bài được nêu đích danh luôn được chạy.
Một ô gặp lỗi thì kết quả tốt đã ghi trước đó của bài được giữ nguyên.
"""
EPILOG = "Mã thoát: 0 mọi thứ đúng · 1 có bài lỗi hoặc (với --verify) kết quả khác · 2 gọi lệnh sai · 130 bị ngắt."


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        docs, settings = find_course(None, Path.cwd())
        course = _Course(Path.cwd().resolve(), docs.resolve())
        if options.benchmarks:
            return _measure(course.root, options)
        lessons = _select(course.docs, settings.exclude, options.lessons)
    except UsageError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    if options.shard:
        number, count = options.shard
        lessons = lessons[number - 1 :: count]
    if options.gc:
        return _collect(course.root, _select(course.docs, settings.exclude, []))
    problems = [
        replace(problem, line=lesson.line_in_file(problem.line)) for lesson in lessons for problem in lesson.problems if problem.severity == "error"
    ]
    for problem in problems:
        print(problem, file=sys.stderr)
    lessons = [lesson for lesson in lessons if options.device in recordings.devices_of(lesson)]
    stale = {lesson.path: _stale(course.root, lesson, options.device) for lesson in lessons}
    if options.list:
        return _list(course, lessons, stale, options)
    named = {Path(name).resolve() for name in options.lessons if Path(name).is_file()}
    broken = {problem.path for problem in problems}
    wanted = [
        lesson
        for lesson in lessons
        if lesson.path not in broken and (options.verify or stale[lesson.path] or (course.docs / lesson.path in named and not options.changed))
    ]
    missing = [name for name in ("IPython", "tqdm") if wanted and not importlib.util.find_spec(name)]
    if missing:
        print(f'run.py: thiếu {", ".join(missing)}; cài bằng pip install -c constraints.txt -e ".[run]"', file=sys.stderr)
        return 2
    return _run(course, wanted, options) or int(bool(problems))


def _measure(root: Path, options: argparse.Namespace) -> int:
    """Run the benchmark programs and record what they measure."""
    if options.lessons:
        raise UsageError(f"--benchmarks chạy mọi chương trình trong code/benchmarks/, không kèm {options.lessons[0]}")
    failed = benchmarks.record(root, options.device, benchmarks.commit(root))
    if failed:
        print(f"lỗi: {', '.join(failed)} không chạy được; không ghi gì", file=sys.stderr)
    return int(bool(failed))


def _select(docs: Path, exclude: str, names: list[str]) -> list[Lesson]:
    """The lessons below `docs` that have cells, in the order of their paths; only those named, by file or folder, if any are."""
    wanted = [Path(name).resolve() for name in names]
    for name, path in zip(names, wanted):
        if not path.exists() or not path.is_relative_to(docs):
            raise UsageError(f"{name}: không có bài hay thư mục này trong {docs.name}/")
    lessons = []
    for path, file in sorted(files.walk(docs, exclude).pages.items()):
        mark = b'"aero"' if path.endswith(".ipynb") else b".cell"
        if (wanted and not any(file.is_relative_to(place) for place in wanted)) or mark not in file.read_bytes():
            continue
        _, document, problems = files.read(file, path, docs)
        if document is None:
            raise UsageError(str(problems[-1]))
        if (lesson := lesson_of(document)).cells:
            lessons.append(lesson)
    return lessons


def _stale(root: Path, lesson: Lesson, device: str) -> list[str]:
    try:
        recording = recordings.read(root, lesson.path, device)
    except RecordingError as error:
        print(error, file=sys.stderr)
        recording = None
    return recordings.stale_cells(root, lesson, recording, device)


def _list(course: _Course, lessons: list[Lesson], stale: dict[str, list[str]], options: argparse.Namespace) -> int:
    for lesson in lessons:
        cells = stale[lesson.path]
        if options.changed and cells:
            print(f"{course.shown(lesson)}")
        elif not options.changed:
            state = f"cũ: {', '.join(f'#{cell}' for cell in cells)}" if cells else "đúng"
            print(f"{course.shown(lesson)}\t{options.device}\t{len(lesson.cells)} ô\t{state}")
    return 0


def _run(course: _Course, lessons: list[Lesson], options: argparse.Namespace) -> int:
    start = time.perf_counter()
    changed = failed = 0
    if lessons:
        from aerodocs import runner  # the libraries of the extra `run` are needed only now
        from aerodocs.execute import Job
        from tqdm import tqdm

        jobs = [
            Job(str(course.root), lesson.path, options.device, cells, cell_keys(lesson.cells), {cell.id: lesson.names(cell.id) for cell in cells})
            for lesson in lessons
            if (cells := tuple(cell for cell in lesson.cells if options.device in cell.options.device))
        ]
        workers = 1 if options.device == "cuda" else options.jobs
        by_path = {lesson.path: lesson for lesson in lessons}
        commit = benchmarks.commit(course.root)
        with tqdm(total=sum(len(job.cells) for job in jobs), unit="ô", disable=None) as bar:

            def tell(job, cell: str) -> None:
                bar.set_description(f"{job.lesson.rpartition('/')[2][:40]} #{cell}")

            outcomes = runner.run(jobs, workers, tell)
            try:
                for outcome in outcomes:
                    bar.update(len(outcome.results))
                    lesson = by_path[outcome.job.lesson]
                    problem = (outcome.line, outcome.failure) if outcome.failure else _over_budget(outcome)
                    if problem:
                        failed += 1
                        tqdm.write(f"{course.shown(lesson)}:{lesson.line_in_file(problem[0])}: lỗi: {problem[1]}", file=sys.stderr)
                    elif options.verify:
                        found = _differences(course, lesson, outcome)
                        failed += bool(found)
                        for line in found:
                            tqdm.write(line, file=sys.stderr)
                    else:
                        changed += _save(course, lesson, outcome, commit)
            finally:
                outcomes.close()
    what = "đã kiểm tra" if options.verify else "đã chạy"
    outcome = "" if options.verify else f", {changed} bản ghi thay đổi"
    print(f"{len(lessons)} bài {what} trên {options.device}{outcome}, {failed} lỗi, {time.perf_counter() - start:.2f} giây")
    return int(failed > 0)


def _recording(root: Path, outcome, commit: str) -> Recording:
    code = {path: file_key(root / path) for path in outcome.code}
    cells = [result.record for result in outcome.results]
    return Recording(outcome.job.lesson, outcome.job.device, {**outcome.provenance, "commit": commit}, code, cells)


def _save(course: _Course, lesson: Lesson, outcome, commit: str) -> bool:
    """Write what a run left, unless it is what is recorded already."""
    recording = _recording(course.root, outcome, commit)
    old = None
    try:
        old = recordings.read(course.root, lesson.path, outcome.job.device)
    except RecordingError:
        pass  # it has been reported, and is written anew
    if old and old.code == recording.code and [c.key for c in old.cells] == [c.key for c in recording.cells] and not _differences(course, lesson, outcome):
        return False
    recordings.save(course.root, recording, {name: data for result in outcome.results for name, data in result.files.items()})
    return True


def _differences(course: _Course, lesson: Lesson, outcome) -> list[str]:
    """What a run shows otherwise than its recording, one text a cell."""
    from aerodocs.verify import difference

    try:
        recording = recordings.read(course.root, lesson.path, outcome.job.device)
    except RecordingError as error:
        return [str(error)]
    found = []
    for cell, result in zip(outcome.job.cells, outcome.results):
        old = recording.cell(cell.id) if recording else None
        text = difference(cell, old, result.record, recordings.folder_of(course.root, lesson.path), result.files) if old else "chưa ghi"
        if text:
            found.append(f"{course.shown(lesson)}:{lesson.line_in_file(cell.line)}: lỗi: ô #{cell.id}: kết quả khác bản ghi; {text}")
    return found


def _over_budget(outcome) -> tuple[int, str] | None:
    """Line and text of the first budget that a run has not kept."""
    total = 0
    for cell, result in zip(outcome.job.cells, outcome.results):
        record: CellRecord = result.record
        lines = [line for output in record.outputs for line in [*output.get("text", []), *output.get("data", {}).get("text/plain", [])]]
        size = sum(len(line.encode()) for line in lines)
        if len(lines) > _CELL_LINES or size > _CELL_BYTES:
            shown = f"{''.join(lines[:5])}…\n{''.join(lines[-5:])}"
            much = f"{len(lines)} dòng, {size:,} byte chữ, quá {_CELL_LINES} dòng hoặc {_CELL_BYTES:,} byte"
            return cell.line, f"ô #{cell.id}: {much}; in ít hơn\n{shown}"
        total += sum(map(len, result.files.values())) + sum(len(str(output)) for output in record.outputs)
    return (1, f"cả bài nặng {total:,} byte, quá {_LESSON_BYTES:,}; in và vẽ ít hơn") if total > _LESSON_BYTES else None


def _collect(root: Path, lessons: list[Lesson]) -> int:
    """Remove recordings and figures that no cell has any more."""
    wanted = {recordings.folder_of(root, lesson.path) / name for lesson in lessons for name in _files_of(root, lesson)}
    base = root / "recordings"
    gone = [file for file in sorted(base.rglob("*")) if file.is_file() and file not in wanted and file.relative_to(base).parts[0] != "benchmarks"]
    for file in gone:
        file.unlink()
        print(f"đã xóa {file.relative_to(root).as_posix()}")
    for folder in sorted((path for path in base.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    print(f"{len(gone)} tập tin đã xóa")
    return 0


def _files_of(root: Path, lesson: Lesson) -> set[str]:
    ids = {cell.id for cell in lesson.cells}
    names = set()
    for device in recordings.devices_of(lesson):
        try:
            recording = recordings.read(root, lesson.path, device)
        except RecordingError:
            continue
        if recording and ids & {cell.id for cell in recording.cells}:
            names.add(f"{device}.json")
            names |= recordings.figure_names(recording)
    return names


def _shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} không hợp lệ; viết như 1/4")
    return int(number), int(count)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} không phải số nguyên dương")
    return int(text)


def _parser() -> Parser:
    parser = Parser(prog="python hooks/run.py", description=HELP, epilog=EPILOG)
    parser.add_argument("lessons", nargs="*", metavar="BÀI", help="tập tin bài học hoặc thư mục trong docs/")
    add = parser.options.add_argument
    add("--device", choices=DEVICES, default="cpu", help="thiết bị (mặc định: cpu)")
    add("--verify", action="store_true", help="chạy lại và so với bản ghi, không ghi gì")
    add("--changed", action="store_true", help="chỉ bài đã cũ, kể cả khi bài được nêu đích danh")
    add("--list", action="store_true", help="không chạy; in các bài và tình trạng (với --changed: chỉ đường dẫn các bài đã cũ)")
    add("--jobs", type=_count, default=os.cpu_count() or 1, metavar="N", help="số bài chạy cùng lúc trên CPU (mặc định: số lõi)")
    add("--shard", type=_shard, metavar="I/N", help="chỉ phần thứ I trong N phần của các bài")
    add("--benchmarks", action="store_true", help="không chạy bài nào; chạy code/benchmarks/*.py và ghi vào recordings/benchmarks/")
    add("--gc", action="store_true", help="xóa bản ghi của bài hay ô không còn nữa")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    leave(main)
