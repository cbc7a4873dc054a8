"""Recordings: what the cells of a lesson printed, showed and computed when they last ran on a device.

`recordings/<lesson without suffix>/<device>.json`, with the figures beside it. Nobody edits them by hand: the seal notices.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from aerodocs.cells import DEVICES, Lesson
from aerodocs.fingerprints import cell_keys, file_key
from aerodocs.textfile import Change

SCHEMA = 1
FIGURE = "application/vnd.aero.figure+json"  # output data of a figure: its files, alternative text and size


class RecordingError(Exception):
    """A recording that cannot be used; the text says which, why, and what to do, in Vietnamese."""


@dataclass(slots=True)
class CellRecord:
    """What one cell left. `outputs` follow nbformat's output schema, a line of text an entry; `values` are the variables that the prose shows."""

    id: str
    key: str
    outputs: list[dict] = field(default_factory=list)
    values: dict[str, int | float | str | bool] = field(default_factory=dict)


@dataclass(slots=True)
class Recording:
    """One lesson on one device. `code` maps each file of the repository that the run used to its key, relative to the course's root."""

    lesson: str
    device: str
    provenance: dict[str, object]
    code: dict[str, str]
    cells: list[CellRecord]

    def cell(self, identifier: str) -> CellRecord | None:
        return next((cell for cell in self.cells if cell.id == identifier), None)


def folder_of(root: Path, lesson: str) -> Path:
    """Where the recordings of a lesson (path relative to the docs folder) are."""
    return root / "recordings" / lesson.rpartition(".")[0]


def file_of(root: Path, lesson: str, device: str) -> Path:
    return folder_of(root, lesson) / f"{device}.json"


def dump(recording: Recording) -> bytes:
    """The file of a recording: sorted keys, LF, final newline, sealed by a checksum of everything else in it."""
    data = {
        "schema": SCHEMA,
        "lesson": recording.lesson,
        "device": recording.device,
        "provenance": recording.provenance,
        "code": recording.code,
        "cells": [{"id": cell.id, "key": cell.key, "outputs": cell.outputs, "values": cell.values} for cell in recording.cells],
    }
    data["seal"] = _seal(data)
    return (json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def load(file: Path) -> Recording:
    """The recording in `file`. Raises RecordingError for one that is cut short, of another schema, or edited by hand."""
    again = "chạy python hooks/run.py để ghi lại"
    try:
        data = json.loads(file.read_bytes().decode("utf-8"))
        schema = data["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordingError(f"{file}:{getattr(error, 'lineno', 1)}: bản ghi bị hỏng ({error}); {again}") from None
    if schema != SCHEMA:
        raise RecordingError(f"{file}: bản ghi theo lược đồ {schema!r}, ở đây cần {SCHEMA}; {again}")
    if data.pop("seal", None) != _seal(data):
        raise RecordingError(f"{file}: bản ghi đã bị sửa bằng tay; khôi phục bằng git hoặc {again}")
    try:
        cells = [CellRecord(**cell) for cell in data["cells"]]
        return Recording(data["lesson"], data["device"], data["provenance"], data["code"], cells)
    except (KeyError, TypeError) as error:
        raise RecordingError(f"{file}: bản ghi thiếu hoặc thừa mục ({error}); {again}") from None


def read(root: Path, lesson: str, device: str) -> Recording | None:
    """The recording of a lesson on a device; None if there is none. Raises RecordingError."""
    file = file_of(root, lesson, device)
    return load(file) if file.is_file() else None


def save(root: Path, recording: Recording, figures: dict[str, bytes]) -> None:
    """Write a recording with its figures, and remove the figures that it does not show any more."""
    file = file_of(root, recording.lesson, recording.device)
    file.parent.mkdir(parents=True, exist_ok=True)
    for path, data in [*((file.parent / name, data) for name, data in figures.items()), (file, dump(recording))]:
        Change(path, path.read_bytes() if path.is_file() else None, data).write()
    for path in file.parent.glob(f"{recording.device}-*"):
        if path.name not in figures:
            path.unlink()


def figure_names(recording: Recording) -> set[str]:
    """Files beside the recording that its outputs show."""
    outputs = [output["data"][FIGURE] for cell in recording.cells for output in cell.outputs if FIGURE in output.get("data", {})]
    return {figure[kind] for figure in outputs for kind in ("light", "dark")}


def stale_cells(root: Path, lesson: Lesson, recording: Recording | None, device: str) -> list[str]:
    """Ids of the cells of `lesson` for `device` that `recording` does not show as they are now; all if code or data that they used has changed."""
    cells = [cell for cell in lesson.cells if device in cell.options.device]
    if recording is None or code_changes(root, recording):
        return [cell.id for cell in cells]
    keys = cell_keys(lesson.cells)
    records = {record.id: record for record in recording.cells}
    return [
        cell.id
        for cell in cells
        if cell.id not in records or records[cell.id].key != keys[cell.id] or set(lesson.names(cell.id)) - records[cell.id].values.keys()
    ]


def code_changes(root: Path, recording: Recording) -> list[str]:
    """Files that a recording used and that are now different or gone."""
    return [path for path, key in recording.code.items() if not (root / path).is_file() or file_key(root / path) != key]


def devices_of(lesson: Lesson) -> list[str]:
    """Devices for which the lesson has cells."""
    return [device for device in DEVICES if any(device in cell.options.device for cell in lesson.cells)]


def _seal(data: dict) -> str:
    return hashlib.sha256(json.dumps(data, ensure_ascii=False, sort_keys=True).encode()).hexdigest()[:16]
