"""The two keys that decide whether a recording is stale: of the cells of a lesson, and of the code and data that they used."""

import ast
import hashlib
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from aerodocs.cells import Fence

_DIGITS = 16
_TICK = 100_000_000  # nanoseconds in which a file may change twice and keep its time
# Options that change what a cell records; the others change only how it is shown or how long it may take.
_RECORDED = ("raises", "tolerance", "volatile", "stderr", "caption")


def cell_keys(cells: list[Fence]) -> dict[str, str]:
    """Key of each cell by its id: changes with its code, with options that change results, and with every earlier cell of the lesson.

    Comments and blanks at line ends do not count as code.
    """
    keys: dict[str, str] = {}
    before = ""
    for cell in cells:
        options = [f"{name}={getattr(cell.options, name)!r}" for name in _RECORDED]
        before = _digest("\x00".join([before, code_text(cell.code), *options]))
        keys[cell.id] = before
    return keys


def code_text(source: str) -> str:
    """Canonical text of Python source: its syntax tree where it has one, else (magics, errors on purpose) its lines."""
    try:
        return "\n".join(_walk(ast.parse(source), docstrings=True))
    except (SyntaxError, ValueError):
        return "\n".join(line.rstrip() for line in source.strip().splitlines())


def file_key(file: Path) -> str:
    """Key of a file that a lesson used: of the syntax tree without docstrings and comments for `.py`, of the bytes for anything else.

    Equal on every version of Python that knows the same syntax: the tree is walked by node class and non-empty fields. Lessons use the same
    files: each is read once, and again when it has changed.
    """
    stat = file.stat()
    if time.time_ns() - stat.st_mtime_ns < _TICK:
        return _file_key.__wrapped__(file, 0, 0)
    return _file_key(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _file_key(file: Path, modified: int, size: int) -> str:
    data = file.read_bytes()
    if file.suffix == ".py":
        try:
            return _digest("\n".join(_walk(ast.parse(data), docstrings=False)))
        except (SyntaxError, ValueError):
            pass
    return hashlib.sha256(data).hexdigest()[:_DIGITS]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def _walk(node: object, docstrings: bool) -> Iterator[str]:
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in sorted(ast.iter_fields(node)):
            if value is None or value == [] or name in ("type_comment", "kind"):
                continue
            if name == "body" and not docstrings and _has_docstring(node):
                value = value[1:]
            yield name
            yield from _walk(value, docstrings)
        yield ")"
    elif isinstance(node, list):
        for child in node:
            yield from _walk(child, docstrings)
    else:
        yield f"{type(node).__name__}:{node!r}"


def _has_docstring(node: ast.AST) -> bool:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
        return False
    first = node.body[0]
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
