"""Recordings: what the cells of a lesson showed when they ran has to be of the cells and the code as they are now."""

from aerodocs import recordings
from aerodocs.recordings import RecordingError
from aerodocs.rules.subject import Subject

CODES = {"missing-recording": "warning", "stale-recording": "warning", "broken-recording": "error", "own-outputs": "error"}


def page(subject: Subject) -> None:
    """Every lesson with cells has a current recording on the CPU; one from a GPU may be missing, not stale."""
    lesson, root = subject.lesson, subject.root
    if not lesson.cells or not (subject.settings.cells or (root / "recordings").is_dir()):
        return
    for number in subject.document.outputs:
        what = "ô giữ kết quả trong tập tin, không ai biết của lần chạy nào; trang sẽ hiện nó bên cạnh kết quả đã ghi"
        subject.report(number, "own-outputs", what, "xóa mọi kết quả (trong Jupyter: Clear Outputs of All Cells) rồi lưu")
    line = lesson.cells[0].line
    for device in recordings.devices_of(lesson):
        command = f"chạy python hooks/run.py --device {device} {subject.facts.file.name}"
        try:
            recording = recordings.read(root, lesson.path, device)
            stale = recordings.stale_cells(root, lesson, recording, device)
        except RecordingError as error:
            subject.report(line, "broken-recording", str(error).partition(";")[0], command)
            continue
        if recording is None:
            if device == "cpu":
                subject.warn(line, "missing-recording", "bài chưa được chạy và ghi lại trên cpu", command)
        elif stale:
            names = ", ".join(f"#{name}" for name in stale[:5]) + (" …" if len(stale) > 5 else "")
            at = next((cell.line for cell in lesson.cells if cell.id == stale[0]), line)
            subject.warn(at, "stale-recording", f"bản ghi {device} đã cũ: {len(stale)} ô ({names})", command)
