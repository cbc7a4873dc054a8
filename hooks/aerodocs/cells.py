"""Cells, snippets, fragments and inline values: what the fences and the prose of a lesson declare."""

import ast
import difflib
import re
from dataclasses import dataclass, field
from typing import Literal

import yaml

from aerodocs.blocks import Block
from aerodocs.document import Document
from aerodocs.problems import Problem

Role = Literal["cell", "snippet", "fragment", "undeclared"]
DEVICES = ("cpu", "cuda")
LANGUAGES = ("python", "py", "python3")

_INFO = re.compile(r"(?P<language>[\w#.+-]+)?\s*(?:\{(?P<attributes>[^{}]*)\})?")
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
VALUE = re.compile(r"\{cell:(?P<cell>[^\s.:{}]+)\.(?P<name>[^\s.:{}]+)(?::(?P<format>[^{}]*))?\}")
CODE_SPAN = re.compile(r"(?<!`)(?P<ticks>`+)(?!`)(?P<inside>.+?)(?<!`)(?P=ticks)(?!`)")


@dataclass(frozen=True, slots=True)
class Options:
    """What the `#|` lines of a cell say. Seconds for `timeout`, a relative difference for `tolerance`."""

    device: tuple[str, ...] = DEVICES
    raises: str = ""
    show: Literal["both", "code", "output"] = "both"
    tolerance: float = 1e-4
    volatile: bool = False
    timeout: float = 60.0
    caption: str = ""
    stderr: Literal["hide", "show"] = "hide"


@dataclass(frozen=True, slots=True)
class Fence:
    """A `python` fence of a lesson. `line` (from 1) is where it opens; `code` is its body without option lines and container prefixes,
    and starts at line `first`; for a snippet `code` is the reference."""

    role: Role
    line: int
    first: int
    code: str
    id: str = ""
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, slots=True)
class Value:
    """An inline value: the variable `name` after cell `cell` has run, in Python's `format`."""

    line: int
    cell: str
    name: str
    format: str = ""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a page declares, in the order of the page; `origin` is that of its document."""

    path: str
    fences: tuple[Fence, ...]
    values: tuple[Value, ...]
    problems: tuple[Problem, ...]
    origin: tuple[int, ...] = ()

    @property
    def cells(self) -> list[Fence]:
        return [fence for fence in self.fences if fence.role == "cell"]

    def names(self, cell: str) -> list[str]:
        """Variables that the prose wants from a cell."""
        return sorted({value.name for value in self.values if value.cell == cell})

    def line_in_file(self, line: int) -> int:
        """The line of the file that holds a line of the lesson: another one in a notebook."""
        return self.origin[line - 1] if self.origin and line else line


def lesson_of(document: Document) -> Lesson:
    """The lesson in a document. What is wrong with its declarations is in `problems`, never raised."""
    problems: list[Problem] = []
    fences = [
        fence
        for block in document.blocks
        if block.kind == "fence" and (fence := _fence(document, block, problems)) and not document.generated(block.start)
    ]
    seen: dict[str, int] = {}
    for fence in fences:
        if fence.id and fence.role == "cell":
            if fence.id in seen:
                what = f"mã số #{fence.id} đã dùng ở dòng {seen[fence.id]}"
                problems.append(Problem(document.path, fence.line, "cell-id", what, "đặt mã số khác"))
            seen.setdefault(fence.id, fence.line)
    values = _values(document)
    for value in values:
        if value.cell not in seen:
            near = difflib.get_close_matches(value.cell, seen, n=1)
            cure = f"có phải là {near[0]}?" if near else "ghi mã số của một ô trong bài này"
            problems.append(Problem(document.path, value.line, "inline-value", f"không có ô #{value.cell} cho giá trị {value.name}", cure))
        elif not value.name.isidentifier():
            problems.append(Problem(document.path, value.line, "inline-value", f"{value.name} không phải là tên biến", "ghi tên một biến của ô"))
    return Lesson(document.path, tuple(fences), tuple(values), tuple(problems), document.origin)


def split_options(source: str) -> tuple[list[str], str]:
    """The `#|` lines at the top of a cell's source, and the code below them."""
    lines = source.splitlines(keepends=True)
    count = next((number for number, line in enumerate(lines) if not line.startswith("#|")), len(lines))
    return [line[2:].strip() for line in lines[:count]], "".join(lines[count:])


def options_of(lines: list[str]) -> Options:
    """Options from the text of `#|` lines. Raises ValueError that says what was seen and what is allowed."""
    data: dict[str, object] = {}
    known = Options.__dataclass_fields__
    for line in lines:
        key, separator, text = (part.strip() for part in line.partition(":"))
        if not separator:
            raise ValueError(f"dòng #| phải có dạng “khóa: giá trị”, không phải {line!r}")
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise ValueError(f"không có tùy chọn {key}" + (f"; có phải là {near[0]}?" if near else f"; có: {', '.join(known)}"))
        value = text.strip("\"'") if key == "caption" else _yaml(text)
        check, wanted = _OPTION_CHECKS[key]
        if not check(value):
            raise ValueError(f"{key}: {text!r} không hợp lệ; cần {wanted}")
        data[key] = value
    if "device" in data:
        data["device"] = tuple(data["device"]) if isinstance(data["device"], list) else (data["device"],)
    return Options(**data)


def _yaml(text: str) -> object:
    """The value that `text` writes in YAML, where 1e-3 is a number as in Python."""
    try:
        return yaml.safe_load(text) if not re.fullmatch(r"[\d.]+[eE][+-]?\d+", text) else float(text)
    except (yaml.YAMLError, ValueError):
        return text


def is_number(value: object) -> bool:
    """A positive number, and not a truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


_OPTION_CHECKS = {
    "device": (lambda v: bool(v) and all(device in DEVICES for device in (v if isinstance(v, list) else [v])), "cpu, cuda hoặc [cpu, cuda]"),
    "raises": (lambda v: isinstance(v, str) and all(part.isidentifier() for part in v.split(".")), "tên một lớp lỗi, ví dụ ValueError"),
    "show": (lambda v: v in ("both", "code", "output"), "both, code hoặc output"),
    "tolerance": (lambda v: is_number(v) or v == 0 and v is not False, "một số không âm"),
    "volatile": (lambda v: isinstance(v, bool), "true hoặc false"),
    "timeout": (is_number, "số giây dương"),
    "caption": (lambda v: isinstance(v, str), "một dòng chữ"),
    "stderr": (lambda v: v in ("hide", "show"), "hide hoặc show"),
}


def _fence(document: Document, block: Block, problems: list[Problem]) -> Fence | None:
    info = _INFO.match(block.text)
    if not info or info["language"] not in LANGUAGES:
        return None
    attributes = (info["attributes"] or "").split()
    roles = [role for role in ("cell", "snippet", "fragment") if f".{role}" in attributes]
    line = block.start + 1

    def report(code: str, message: str, cure: str, at: int = line) -> None:
        problems.append(Problem(document.path, at, code, message, cure))

    source = "".join(_inside(line, block.indent) for line in document.lines[block.start + 1 : block.end - block.closed])
    if len(roles) > 1:
        report("cell-role", f"khối mã vừa là {' vừa là '.join(roles)}", "giữ lại một vai")
    role: Role = roles[0] if roles else "undeclared"
    if role == "snippet":
        return Fence(role, line, line + 1, source.strip())
    lines, code = split_options(source)
    options = Options()
    identifier = next((part[1:] for part in attributes if part.startswith("#")), "")
    if role == "cell":
        if not _ID.fullmatch(identifier):
            report("cell-id", f"ô có mã số {identifier!r}" if identifier else "ô không có mã số", "thêm mã số dạng #abc-1 (chữ thường a-z, số, gạch nối)")
        try:
            options = options_of(lines)
        except ValueError as error:
            report("cell-option", str(error), "sửa dòng #|", line + 1)
        if not code.strip():
            report("cell-empty", "ô không có mã", "viết mã hoặc xóa ô")
    elif lines:
        code = source
    if role in ("cell", "fragment"):
        try:
            tree = ast.parse(code)
            for name, at in _documentation_uses(tree) if role == "cell" else ():
                what = f"ô dùng {name}: chú thích và vị trí trong mã không tính là thay đổi nên kết quả có thể cũ mà không ai biết"
                report("cell-source", what, "nhúng mã bằng khối .snippet", line + len(lines) + at)
        except (SyntaxError, ValueError) as error:
            if role == "cell":  # magics of IPython, and errors on purpose
                return Fence(role, line, line + 1 + len(lines), code, identifier, options)
            at = getattr(error, "lineno", None) or 1
            report("fragment", f"đoạn mã không đọc được: {getattr(error, 'msg', error)}", "sửa cú pháp, hoặc dùng ```text", line + at)
    return Fence(role, line, line + 1 + (len(lines) if role == "cell" else 0), code, identifier, options)


def _documentation_uses(tree: ast.Module) -> list[tuple[str, int]]:
    """Uses of what the key of a module leaves out, docstrings and source text, with their lines."""
    return [
        (name, node.lineno)
        for node in ast.walk(tree)
        if (name := getattr(node, "attr", getattr(node, "id", ""))) in ("__doc__", "getsource", "getsourcelines", "getdoc", "help")
        and isinstance(node, ast.Name | ast.Attribute)
    ]


def _inside(line: str, indent: int) -> str:
    """A line of a fence without the prefix of the containers around it, `indent` columns wide."""
    text = line.rstrip("\r\n")
    if indent and "\t" in text[:indent]:
        text = text.expandtabs(4)
    prefix = len(text[:indent]) - len(text[:indent].lstrip(" >"))
    return text[prefix:] + "\n"


def _values(document: Document) -> list[Value]:
    inside = {n for block in document.blocks if block.kind != "heading" for n in range(block.start, block.end)}
    return [
        Value(number + 1, match["cell"], match["name"], match["format"] or "")
        for number, line in enumerate(document.lines[document.first :], document.first)
        if "{cell:" in line and number not in inside and not document.generated(number)
        for span in CODE_SPAN.finditer(line)
        if (match := VALUE.fullmatch(span["inside"]))
    ]
