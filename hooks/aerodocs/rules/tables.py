"""Tables: rows that lose cells on the site."""

import re

from aerodocs.rules.prose import Chunk
from aerodocs.rules.subject import Subject

CODES = {"table-row": "warning", "pipe-in-table-math": "error"}

_RULE = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")


def page(subject: Subject) -> None:
    """Rows with more cells than their table has columns, and formulas that a `|` cuts in two."""
    rows: list[Chunk] = []
    for chunk in subject.prose.chunks:
        if not chunk.text.startswith("|"):
            continue
        if rows and chunk.line != rows[-1].line + 1:
            _table(subject, rows)
            rows = []
        rows.append(chunk)
    _table(subject, rows)


def _table(subject: Subject, rows: list[Chunk]) -> None:
    if len(rows) < 2 or not _RULE.fullmatch(rows[1].text.strip()):
        return
    columns = len(_pipes(rows[1])) - 1 + (not rows[1].text.rstrip().endswith("|"))
    for row in rows:
        cut = [at for at in _pipes(row) if row.masked[at] == "\x00"]
        if cut:
            what = "dấu | trong công thức ở bảng cắt công thức thành hai ô"
            subject.report(row.line + 1, "pipe-in-table-math", what, "viết \\vert hoặc \\mid thay cho |")
        elif (cells := len(_pipes(row)) - 1 + (not row.text.rstrip().endswith("|"))) > columns:
            what = f"hàng có {cells} ô, bảng chỉ có {columns} cột; các ô thừa mất đi"
            subject.warn(row.line + 1, "table-row", what, "bỏ ô thừa, thêm cột, hoặc viết \\| cho một dấu | trong chữ")


def _pipes(row: Chunk) -> list[int]:
    """Where the cells of a row begin and end: pipes that no code span holds and no backslash escapes."""
    return [at for at, character in enumerate(row.text) if character == "|" and row.masked[at : at + 1] != "\x01" and row.text[at - 1] != "\\"]
