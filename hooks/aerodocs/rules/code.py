"""Code: fences that do not declare themselves, do not parse, use names that nobody defined, or embed what is not there."""

import ast
import builtins
import functools
import re
import textwrap
from pathlib import Path

from pymdownx.superfences import RE_NESTED_FENCE_START, RE_OPTIONS

from aerodocs import snippets
from aerodocs.blocks import Block
from aerodocs.cells import Fence
from aerodocs.rules.subject import Site, Subject

CODES = {
    "undeclared-fence": "error",
    "code-does-not-parse": "error",
    "math-delimiter-in-code": "error",
    "undefined-name": "warning",
    "snippet": "error",
    "fence-indent": "error",
    "fence-mark": "error",
    "stray-backtick": "warning",
    "fragment": "error",
    "cell-id": "error",
    "cell-role": "error",
    "cell-option": "error",
    "cell-empty": "error",
    "inline-value": "error",
}

_KNOWN = {*dir(builtins), "display", "get_ipython", "In", "Out", "_", "__", "__name__", "__file__", "__doc__", "exit", "quit", "__class__"}
_MAGIC = re.compile(r"^([ \t]*)(?:[%!?].*|.*\S\?{1,2}[ \t]*)$", re.MULTILINE)
_OPEN_NAMES = re.compile(r"^\s*%(?:pylab|run|load|matplotlib)|^\s*from\s+[\w.]+\s+import\s+\*", re.MULTILINE)
_PROMPT = re.compile(r"[ \t]*(?:>>>|\.\.\.)(?: (.*)|$)")
# Languages in which no line is just `$$`.
_NO_DOLLARS = {"c", "cpp", "c++", "cuda", "java", "javascript", "js", "typescript", "ts", "json", "yaml", "toml", "go", "rust"}
_INCLUDE = re.compile(r"""[ \t]*-{1,2}8<-{1,2}[ \t]+["']([^"']+)["'][ \t]*$""")


def page(subject: Subject) -> None:
    """Every fence of a page; what cells declare is checked where they are parsed."""
    subject.problems += subject.lesson.problems
    subject.facts.cells = [(cell.id, cell.line) for cell in subject.lesson.cells if cell.id]
    python = {fence.line for fence in subject.lesson.fences}
    for block in subject.document.blocks:
        if block.kind == "fence" and not subject.document.generated(block.start):
            _indent(subject, block)
            _marks(subject, block)
            if block.start + 1 not in python:
                _dollars(subject, block)
    _lost(subject)
    defined: set[str] | None = set(_KNOWN)
    for fence in subject.lesson.fences:
        if fence.role == "undeclared" and subject.settings.cells:
            what = "khối mã python không khai báo nó là gì"
            cure = "thêm {.cell #ma-so}, {.snippet} hoặc {.fragment}, hoặc đổi ngôn ngữ thành text"
            if subject.document.origin:
                cure = "thêm bảng “aero” vào siêu dữ liệu của notebook, và mã số (id) cho ô"
            subject.report(fence.line, "undeclared-fence", what, cure)
        if fence.role == "snippet":
            _snippet(subject, fence)
        elif fence.role != "fragment" and (tree := _parse(subject, fence)):
            if defined is not None and _OPEN_NAMES.search(fence.code):
                defined = None  # who knows what these bring
            if defined is not None:
                _names(subject, fence, tree, defined)
    _includes(subject)


def site(site: Site) -> None:
    """Ids of cells are unique on the whole site."""
    seen: dict[str, tuple[str, int]] = {}
    for path, facts in site.pages.items():
        for identifier, line in facts.cells:
            there = seen.setdefault(identifier, (path, line))
            if there[0] != path:
                site.report(path, line, "cell-id", f"mã số #{identifier} đã dùng ở {there[0]}:{there[1]}", "đặt mã số khác")


def _parse(subject: Subject, fence: Fence) -> ast.Module | None:
    tree, error = parse(fence.code)
    if error is None or fence.options.raises == "SyntaxError":
        return tree
    line, reason = error
    dollars = [number for number, text in enumerate(fence.code.splitlines(), 1) if "$$" in text]
    if dollars:  # no Python has this outside a string
        line, reason = dollars[0], "ký tự lạ $"
    line = min(fence.first + line - 1, len(subject.document.lines))
    what = f"khối mã ở dòng {fence.line} không đọc được: {reason}"
    subject.report(line, "code-does-not-parse", what, "sửa cú pháp, hoặc dùng ```text nếu không phải Python")
    for number in dollars:
        what = f"dấu công thức $$ trong khối mã ở dòng {fence.line}"
        subject.report(fence.first + number - 1, "math-delimiter-in-code", what, "xóa $$, hoặc đóng khối mã trước công thức")
    return None


@functools.lru_cache(maxsize=256)
def parse(code: str) -> tuple[ast.Module | None, tuple[int, str] | None]:
    """The syntax tree of the code of a fence, or the line (from 1) and reason of what is wrong. Magics, prompts and indented pieces are understood."""
    if re.search(r"^[ \t]*>>> ", code, re.MULTILINE):
        code = "".join(f"{match[1] or ''}\n" if (match := _PROMPT.match(line)) else "\n" for line in code.splitlines())
    try:
        return ast.parse(code), None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        first = error
    dedented = textwrap.dedent(code)
    for candidate in (dedented, _MAGIC.sub(r"\1pass", dedented)):
        if candidate != code:
            try:
                return ast.parse(candidate), None
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                pass
    lines = code.count("\n") + 1
    return None, (max(1, min(getattr(first, "lineno", None) or 1, lines)), _reason(first))


def _reason(error: Exception) -> str:
    text = getattr(error, "msg", None) or str(error)
    for pattern, vietnamese in _REASONS:
        if match := re.match(pattern, text):
            return match.expand(vietnamese)
    return text


_REASONS = [
    (r"expected an indented block after (.+) on line (\d+)", r"khối lệnh sau \1 (dòng \2 của khối mã) trống"),
    (r"'(.)' was never closed", r"\1 không được đóng"),
    (r"unmatched '(.)'", r"\1 thừa"),
    (r"closing parenthesis '(.)' does not match.*'(.)'.*", r"\1 không khớp \2"),
    (r"unterminated (?:triple-quoted )?f?-?string.*", "chuỗi không được đóng"),
    (r"unexpected indent", "dòng thụt vào không có lý do"),
    (r"unindent does not match.*", "dòng thụt lệch so với các dòng trên"),
    (r"invalid syntax.*", "sai cú pháp Python"),
    (r"invalid (?:non-printable )?character '?(.+?)'? .*", r"ký tự lạ \1"),
    (r"Missing parentheses in call to '(\w+)'.*", r"thiếu ngoặc khi gọi \1 (Python 2?)"),
    (r"expected '(.+)'", r"thiếu “\1”"),
]


def _names(subject: Subject, fence: Fence, tree: ast.Module, defined: set[str]) -> None:
    bound, used = _bound_and_used(tree)
    defined |= bound
    unknown = {name: line for name, line in used.items() if name not in defined}
    if unknown:
        names = ", ".join(sorted(unknown, key=lambda name: (unknown[name], name)))
        what = f"tên chưa được định nghĩa trong khối mã ở dòng {fence.line}: {names}"
        line = min(fence.first + min(unknown.values()) - 1, len(subject.document.lines))
        subject.warn(line, "undefined-name", what, "thêm lệnh import hoặc định nghĩa ở khối này hay khối trước")


@functools.lru_cache(maxsize=256)
def _bound_and_used(tree: ast.Module) -> tuple[set[str], dict[str, int]]:
    """Names that the code binds anywhere, and those that it reads, with their first line."""
    bound: set[str] = set()
    used: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                used.setdefault(node.id, node.lineno)
            else:
                bound.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            bound.add(node.rest)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            bound.update(node.names)
        elif type(node).__name__ in ("TypeVar", "ParamSpec", "TypeVarTuple"):
            bound.add(node.name)
    return bound, used


def _dollars(subject: Subject, block: Block) -> None:
    language = re.match(r"[\w+#-]*", block.text)[0].lower()
    if language in _NO_DOLLARS:
        for number in range(block.start + 1, block.end):
            if subject.document.lines[number].strip(" \t\r\n>") == "$$":
                what = f"dấu công thức $$ trong khối mã ở dòng {block.start + 1}"
                subject.report(number + 1, "math-delimiter-in-code", what, "xóa $$, hoặc đóng khối mã trước công thức")


def _indent(subject: Subject, block: Block) -> None:
    """Python-Markdown keeps a fence in its list item only if it is indented by a multiple of four."""
    if not block.depth:
        return
    prefix = subject.text(block.start + 1).expandtabs(4)[: block.indent]
    if ">" in prefix:
        return
    if prefix.strip():
        what = "khối mã bắt đầu trên cùng dòng với dấu của danh sách"
        subject.report(block.start + 1, "fence-indent", what, "đặt khối mã ở dòng sau, thụt vào 4 dấu cách")
    elif block.indent % 4:
        what = f"khối mã trong danh sách thụt vào {block.indent} dấu cách, nên rời khỏi danh sách trên trang web"
        subject.report(block.start + 1, "fence-indent", what, f"thụt vào {block.indent + 4 - block.indent % 4} dấu cách")


def _opening(text: str) -> re.Match[str] | None:
    """The parts of a line that opens a fence on the site; None if it does not."""
    match = RE_NESTED_FENCE_START.fullmatch(text)
    if not match or match["unrecognized"]:
        return None
    options = {option["key"] for option in RE_OPTIONS.finditer(match["options"] or "")}
    return match if options <= {"title", "hl_lines", "linenums"} else None


def _lost(subject: Subject) -> None:
    """Lines that open a fence on the site alone, and backticks that belong to nothing."""
    document = subject.document
    inside = {number for block in document.blocks if block.kind != "heading" for number in range(block.start, block.end)}
    for number, line in enumerate(document.lines):
        if ("```" in line or "~~~" in line) and number >= document.first and number not in inside and not document.generated(number):
            if not _opening(line.strip(" \t\r\n>")):
                continue
            if number in subject.prose.indented:
                what = "khối mã thụt vào mà không thuộc danh sách hay khung nào: GitHub coi nó là chữ, trang web coi là khối mã"
                subject.report(number + 1, "fence-indent", what, "bỏ thụt, hoặc sửa dòng trên nó đã rời khỏi danh sách hay khung")
            else:
                what = "dòng mở khối mã mà chỉ trang web hiểu: GitHub coi nó là chữ"
                subject.report(number + 1, "fence-mark", what, "viết lại dòng này, và không để dấu ` sau ```")
    for line in sorted(set(subject.prose.stray)):
        subject.warn(line, "stray-backtick", "dấu ` không có dấu đóng trong cùng đoạn", "thêm dấu `, hoặc viết \\` nếu là chữ")


def _marks(subject: Subject, block: Block) -> None:
    """The site knows fewer opening and closing lines than GitHub: an opening line with words after the language is text to it."""
    opening = subject.text(block.start + 1).expandtabs(4)[block.indent :].strip()
    match = _opening(opening)
    if not match:
        what = f"dòng mở khối mã “{opening[:40]}” có chữ mà trang web không hiểu, nên nó không phải là khối mã"
        subject.report(block.start + 1, "fence-mark", what, 'viết ```ngôn_ngữ, thêm {.lớp #id} hoặc title="…" nếu cần')
        return
    mark = match["fence"]
    last = subject.text(block.end).strip(" \t>")
    if block.end == block.start + 1 or not last.startswith(mark) or last.strip(mark[0]):
        if block.closed:  # else the parser says so
            what = "danh sách hay khung quanh khối mã kết thúc trước dòng đóng khối mã"
            subject.report(block.start + 1, "unclosed-fence", what, f"thêm {mark}, hoặc thụt mọi dòng của khối mã vào như nhau")
    elif ">" not in (text := subject.text(block.end).expandtabs(4)) and len(text) - len(text.lstrip(" ")) != block.indent:
        what = f"dòng đóng khối mã không thụt như dòng mở (dòng {block.start + 1}), nên trang web không đóng khối mã"
        subject.report(block.end, "fence-mark", what, f"thụt vào {block.indent} dấu cách")
    elif last != mark:
        what = f"dòng đóng {last} dài hơn dòng mở {mark}, nên trang web không đóng khối mã"
        subject.report(block.end, "fence-mark", what, f"viết {mark}")
    elif block.indent and not block.depth:
        for number in range(block.start + 1, block.end):
            text = subject.document.lines[number].expandtabs(4)
            if text.strip() and len(text) - len(text.lstrip(" ")) < block.indent:
                what = f"dòng này thụt ít hơn dòng mở của khối mã (dòng {block.start + 1}), nên trang web không coi đó là khối mã"
                subject.report(number + 1, "fence-indent", what, "thụt mọi dòng của khối mã vào như nhau")
                break


def _snippet(subject: Subject, fence: Fence) -> None:
    lines = fence.code.splitlines()
    reference = lines[-1] if lines else ""
    try:
        snippets.resolve(reference, subject.root / "code")
    except (snippets.SnippetError, OSError, ValueError) as error:
        subject.report(min(fence.first + max(0, len(lines) - 1), len(subject.document.lines)), "snippet", str(error), "sửa tham chiếu")


def _includes(subject: Subject) -> None:
    """Lines of pymdownx.snippets; the build stops where their file is missing."""
    for number, line in enumerate(subject.document.lines):
        if "8<-" in line and (match := _INCLUDE.match(line.rstrip("\r\n"))):
            name = re.sub(r"(?::[\w-]+|:\d*:\d*|:\d+)$", "", match[1])
            code = (subject.root / "code").resolve()
            file = Path(code, name).resolve()
            if not name.startswith(("http:", "https:")) and not (file.is_relative_to(code) and file.is_file()):
                subject.report(number + 1, "snippet", f"không có tập tin {name} trong code/", "sửa đường dẫn")
