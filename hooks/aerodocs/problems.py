"""What is wrong with a course, and where: one class for the indexer, the checker and the build."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One finding.

    `path` is relative to the docs folder (POSIX separators), `line` counts from 1 (0: the file as a whole), `message` says in Vietnamese
    what was seen, `cure` what to do about it, `detail` holds further lines such as a diff.
    """

    path: str
    line: int
    code: str
    message: str
    cure: str
    severity: Severity = "error"
    detail: str = ""

    def __str__(self) -> str:
        """`file:line: lỗi code: message, cure`, with the details below."""
        place = f"{self.path}:{self.line}" if self.line else self.path
        label = "lỗi" if self.severity == "error" else "cảnh báo"
        text = f"{place}: {label} {self.code}: {self.message}; {self.cure}"
        return f"{text}\n{self.detail.rstrip()}" if self.detail else text


class UsageError(Exception):
    """The command was called wrongly, or its configuration does not make sense; the text is for the user."""
