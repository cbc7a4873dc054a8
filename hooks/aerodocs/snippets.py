"""Snippets: the source of one symbol of the tested package, found by its name."""

import ast
import difflib
import functools
import textwrap
from dataclasses import dataclass
from pathlib import Path

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class SnippetError(Exception):
    """A reference that does not lead to exactly one symbol; the text says what was seen and the cure, in Vietnamese."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """The source of a symbol. `path` is relative to the code folder, `line` is where it starts in the file (from 1)."""

    path: str
    symbol: str
    line: int
    source: str


def resolve(reference: str, code: Path, docstring: bool = False) -> Snippet:
    """The snippet that `reference`, such as `aerogpt/attention.py::MultiHeadAttention.forward`, names below the folder `code`.

    The source is dedented, decorators included, and without the symbol's own docstring unless `docstring` asks for it. Raises SnippetError if the
    file or the symbol is missing (with the closest names) or the symbol is defined more than once.
    """
    path, separator, symbol = (part.strip() for part in reference.partition("::"))
    file = (code / path).resolve()
    if not separator or not symbol or not path.endswith(".py"):
        raise SnippetError(f"“{reference}” không phải là tham chiếu; viết như aerogpt/attention.py::causal_mask")
    if not file.is_relative_to(code.resolve()) or not file.is_file():
        near = _closest(path, [p.relative_to(code).as_posix() for p in code.rglob("*.py")])
        raise SnippetError(f"không có tập tin {path} trong {code.name}/{near}")
    stat = file.stat()
    lines, symbols = _symbols(file, stat.st_mtime_ns, stat.st_size)
    found = [node for name, node in symbols if name == symbol]
    if not found:
        raise SnippetError(f"{path} không có {symbol}{_closest(symbol, sorted({name for name, _ in symbols}))}")
    if len(found) > 1:
        where = ", ".join(str(node.lineno) for node in found)
        raise SnippetError(f"{symbol} có {len(found)} lần trong {path} (dòng {where}); đặt tên riêng cho đoạn cần nhúng")
    node = found[0]
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    body = lines[first - 1 : node.end_lineno]
    if not docstring and isinstance(node, _Definition) and ast.get_docstring(node, clean=False) is not None and len(node.body) > 1:
        text = node.body[0]
        start, end = text.lineno - first, text.end_lineno - first + 1
        while end < len(body) and not body[end].strip():
            end += 1
        body = body[:start] + body[end:]
    return Snippet(path, symbol, first, textwrap.dedent("".join(body)).rstrip("\n") + "\n")


@functools.lru_cache(maxsize=64)
def _symbols(file: Path, modified: int, size: int) -> tuple[list[str], list[tuple[str, ast.stmt]]]:
    """Lines of a Python file and every name that it defines, dotted; `modified` and `size` renew the cache when the file changes."""
    text = file.read_text(encoding="utf-8")
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise SnippetError(f"{file.name}:{error.lineno}: mã Python không đọc được: {error.msg}") from None
    return text.splitlines(keepends=True), list(_walk(tree.body, ""))


def _walk(body: list[ast.stmt], prefix: str):
    for node in body:
        if isinstance(node, _Definition):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from _walk(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign):
            yield from ((prefix + target.id, node) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield prefix + node.target.id, node
        else:  # definitions below `if`, `try`, `with`
            for name in ("body", "orelse", "finalbody"):
                yield from _walk(getattr(node, name, []), prefix)


def _closest(wanted: str, names: list[str]) -> str:
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    return f"; có phải là {' hay '.join(near)}?" if near else ""
