"""What a page knows of the runs of its cells: the recordings, which of them still hold, and the values that its prose shows."""

import difflib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from aerodocs import document, recordings, svg
from aerodocs.cells import Lesson, lesson_of
from aerodocs.document import Document
from aerodocs.recordings import CellRecord, Recording, RecordingError


class ValueProblem(Exception):
    """An inline value that can never be shown; the text says why, and the cure, in Vietnamese."""


@dataclass(slots=True)
class Results:
    """A lesson with its recordings by device; `stale` holds the ids of cells whose recording does not hold any more, by device.

    `notes` are warnings for the author, a line each.
    """

    root: Path
    document: Document
    lesson: Lesson
    recordings: dict[str, Recording] = field(default_factory=dict)
    stale: dict[str, set[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where the figures are."""
        return recordings.folder_of(self.root, self.lesson.path)

    def record(self, cell: str, device: str) -> CellRecord | None:
        """What may be shown of a cell: on CPU also what is stale (the page says so), on GPU only what holds."""
        recording = self.recordings.get(device)
        if recording is None or (device != "cpu" and cell in self.stale[device]):
            return None
        return recording.cell(cell)

    def is_stale(self, cell: str) -> bool:
        """Whether the CPU recording of a cell does not hold any more."""
        return "cpu" in self.recordings and cell in self.stale["cpu"]

    def value(self, cell: str, name: str, format_spec: str) -> str | None:
        """The variable `name` after `cell` has run, formatted; None if it is not recorded yet. Raises ValueProblem."""
        ids = [fence.id for fence in self.lesson.cells]
        if cell not in ids:
            raise ValueProblem(f"không có ô #{cell} trong bài này{_closest(cell, ids)}")
        words = {word for fence in self.lesson.cells[: ids.index(cell) + 1] for word in re.findall(r"\w+", fence.code)}
        if name not in words:
            raise ValueProblem(f"không có biến {name} ở ô #{cell} hay ô nào trước nó{_closest(name, words)}")
        record = self.record(cell, "cpu") or self.record(cell, "cuda")
        if record is None or name not in record.values:
            return None
        try:
            return format(record.values[name], format_spec)
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueProblem(f"không viết được {record.values[name]!r} theo dạng “{format_spec}”: {error}") from None


def read(root: Path, path: str, text: str) -> Results:
    """The results of the lesson in `text` (its path relative to the docs folder; empty if unknown: then nothing is recorded)."""
    parsed = document.page(path, text)
    results = Results(root, parsed, lesson_of(parsed))
    for device in recordings.devices_of(results.lesson) if path else ():
        _read_device(results, device)
    return results


def _read_device(results: Results, device: str) -> None:
    path, cure = results.lesson.path, f"chạy python hooks/run.py docs/{results.lesson.path}"
    file = recordings.file_of(results.root, path, device)
    try:
        recording = _load(file, file.stat().st_mtime_ns, file.stat().st_size) if file.is_file() else None
        if recording:
            _check_figures(file, recording)
    except RecordingError as error:
        results.notes.append(f"{path}: {str(error).replace(f'{results.root.as_posix()}/', '')} ({cure})")
        return
    stale = recordings.stale_cells(results.root, results.lesson, recording, device)
    if recording:
        results.recordings[device], results.stale[device] = recording, set(stale)
    if stale and device == "cpu":
        cells = ", ".join(f"#{cell}" for cell in stale)
        what = "kết quả đã cũ ở" if recording else "chưa ghi kết quả của"
        results.notes.append(f"{path}: {what} ô {cells}; {cure}")


@lru_cache(maxsize=256)
def _load(file: Path, modified: int, size: int) -> Recording:
    """The recording in `file`; `modified` and `size` renew the cache when it changes under `serve`."""
    return recordings.load(file)


def _check_figures(file: Path, recording: Recording) -> None:
    for name in sorted(recordings.figure_names(recording)):
        figure = file.parent / name
        if Path(name).name != name or not figure.is_file():
            raise RecordingError(f"{file}: thiếu hình {name}")
        if figure.suffix == ".svg" and (reason := svg.danger(figure.read_bytes())):
            raise RecordingError(f"{figure}: hình không an toàn: {reason}")


def _closest(wanted: str, names) -> str:
    near = difflib.get_close_matches(wanted, names, n=1)
    return f"; có phải là {near[0]}?" if near else ""
