"""Text files byte for byte: reading without losing anything, writing without tearing anything."""

import contextlib
import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

BOM = "\ufeff"
TEMPORARY = re.compile(r"\..*\.aero-tmp")
_LINES = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")


class NotText(Exception):
    """A file is not valid UTF-8; `line` is where its first bad byte stands (from 1)."""

    def __init__(self, line: int, byte: int):
        super().__init__(f"byte 0x{byte:02x} on line {line} is not UTF-8")
        self.line, self.byte = line, byte


class Changed(Exception):
    """A file is no longer what it was when its change was planned."""


def decode(data: bytes) -> str:
    """Text of `data`, with a byte order mark and every kind of line end kept: `decode(data).encode() == data`.

    Raises NotText with the line of the first byte that is not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        raise NotText(before.count(b"\n") + 1, data[error.start]) from None


def split_lines(text: str) -> list[str]:
    """Lines of `text` with their ends (LF, CRLF or CR, the ones that Markdown knows); joined they are `text` again."""
    return _LINES.findall(text)


def newline_of(text: str) -> str:
    """The line end that `text` uses first; LF where it has none."""
    match = re.search(r"\r\n|\n|\r", text)
    return match.group() if match else "\n"


@dataclass(frozen=True, slots=True)
class Change:
    """One file to write: `old` is what was read (None: the file must not exist), `new` what shall stand in `target`."""

    target: Path
    old: bytes | None
    new: bytes

    def write(self) -> None:
        """Replace the file in one step; its mode is kept, and at any moment it holds either all of `old` or all of `new`.

        Raises Changed if the file is no longer `old` (nor already `new`), and OSError as the system reports it; then nothing has changed.
        """
        current = self.target.read_bytes() if self.target.exists() else None
        if current == self.new:  # another run was faster
            return
        if current != self.old:
            raise Changed(str(self.target))
        if self.old is None:
            mode = 0o666 & ~_umask()
        else:
            mode = self.target.stat().st_mode & 0o7777
        handle, name = tempfile.mkstemp(dir=self.target.parent, prefix=".", suffix=".aero-tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self.new)
            os.chmod(name, mode)
            os.replace(name, self.target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def remove_leftovers(files: list[Path], older_than: float = 60.0) -> None:
    """Delete temporary files that killed runs have left, unless they are so young (seconds) that another run may be at work."""
    for path in files:
        with contextlib.suppress(OSError):  # another run was faster, or it is not ours to delete
            if time.time() - path.stat().st_mtime > older_than:
                path.unlink()
