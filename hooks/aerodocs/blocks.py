"""The one block parser: where fences, comments, raw HTML, headings and front matter stand in a Markdown text.

It follows the block structure of CommonMark 0.31 (https://spec.commonmark.org/0.31.2/) as far as needed to know what every line belongs to:
containers (quotes, list items), fenced code, HTML blocks of kinds 1 to 5, headings. The containers of Python-Markdown that indent by four
(`!!! note`, `??? note`, `=== "tab"`) count too. HTML blocks of kinds 6 and 7 are left out: superfences finds a fence inside them as well.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import yaml

Kind = Literal["front-matter", "fence", "comment", "html", "heading"]

_FENCE = re.compile(r"(`{3,})([^`]*)$|(~{3,})(.*)$")
_BULLET = re.compile(r"([-+*])( +|$)")
_ORDERED = re.compile(r"(\d{1,9})[.)]( +|$)")
_RULE = re.compile(r"(?:\*[ \t]*){3,}$|(?:-[ \t]*){3,}$|(?:_[ \t]*){3,}$")
_NAMES = r"[\w-]+(?: +[\w-]+)*"
_INDENTING = re.compile(
    rf'(?:!!! ?{_NAMES}(?: +".*")?|\?\?\?\+? ?(?:(?:{_NAMES})?(?: +".*")|{_NAMES})|===(?:\+!?|!\+?)? +".*") *$'
)
_HTML = [
    (re.compile(opening, re.IGNORECASE), re.compile(closing, re.IGNORECASE))
    for opening, closing in (
        (r"<(?:pre|script|style|textarea)(?=[\s>]|$)", r"</(?:pre|script|style|textarea)>"),
        (r"<\?", r"\?>"),
        (r"<!\[CDATA\[", r"\]\]>"),
        (r"<![A-Za-z]", ">"),
    )
]
_DEEPEST = 100  # containers in each other; more of them are text, so that no line costs more than its length
_YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# A line that starts with anything else, outside every container, is the text of a paragraph.
_SPECIAL = frozenset(" \t`~#<>-+*_=!?0123456789\r\n")


@dataclass(frozen=True, slots=True)
class Block:
    """Lines `start` (from 0) up to, not including, `end`.

    `depth` is the number of containers around the block, `indent` the column where its first line starts, `text` the info string of a fence
    or the source of a heading, `level` that of a heading; `closed` is False when the file ended before the block did.
    """

    kind: Kind
    start: int
    end: int
    depth: int = 0
    indent: int = 0
    level: int = 0
    text: str = ""
    closed: bool = True


@dataclass(slots=True)
class _Container:
    offset: int  # columns that a line must be indented by to belong to it; 0: a quote
    empty: bool = False  # a list item that has no content yet
    lazy: bool = True  # may the text of its paragraphs go on in lines that leave it out? Not in Python-Markdown's own containers


@dataclass(slots=True)
class _Leaf:
    kind: Kind
    start: int
    depth: int
    indent: int
    text: str
    ends: Callable[[str, int], object]  # is there, in this line from this column on, the end of the block?

    def block(self, end: int, closed: bool) -> Block:
        return Block(self.kind, self.start, end, self.depth, self.indent, text=self.text, closed=closed)


def scan(
    lines: list[str], first: int = 0, sealed: Callable[[list[str], int], int] | None = None, indented: set[int] | None = None
) -> list[Block]:
    """Blocks of the Markdown lines from `first` on, in order of their start; what is plain text yields none.

    `sealed(lines, number)` may return the last line of a part that starts with a comment at column 0 and is known to be well-formed (0: there
    is none); it is passed over, and yields just the comments of one line that it starts and ends with. `indented`, if given, receives the
    numbers of the lines of indented code.
    """
    blocks: list[Block] = []
    stack: list[_Container] = []
    leaf: _Leaf | None = None
    paragraph = -1  # line where the open paragraph starts

    resume = first
    for number in range(first, len(lines)):
        if number < resume:
            continue
        line = lines[number]
        if leaf is None and not stack:
            if line[0] not in _SPECIAL:
                if paragraph < 0:
                    paragraph = number
                continue
            if sealed and line.startswith("<!--") and (last := sealed(lines, number)):
                blocks += (Block("comment", number, number + 1), Block("comment", last, last + 1))
                resume, paragraph = last + 1, -1
                continue
        line = line.rstrip("\r\n")
        if "\t" in line:
            line = line.expandtabs(4)
        at, matched = _continue_containers(stack, line)
        if leaf is not None:
            if matched == leaf.depth:
                if leaf.ends(line, at):
                    blocks.append(leaf.block(number + 1, True))
                    leaf = None
                continue
            blocks.append(leaf.block(number, True))  # its container ended, and so did it
            leaf = None
        blank = not line[at:].strip()
        if blank:
            paragraph = -1
            # a quote ends at a blank line; a list item that began with a blank one ends at the second
            quote = next((i for i, c in enumerate(stack) if i >= matched and not c.offset), len(stack))
            del stack[quote:]
            if stack and stack[-1].empty:
                stack.pop()
            continue
        unmatched = matched < len(stack)
        opened = False
        while True:
            rest = line[at:]
            indent = len(rest) - len(rest.lstrip(" "))
            rest = rest[indent:]
            if not rest:
                break
            if indent >= 4 or matched >= _DEEPEST:
                break
            if rest[0] == ">":
                kind, width = "quote", indent + (2 if rest[1:2] == " " else 1)
            else:
                kind, width = _list_item(rest, indent, paragraph >= 0 and not opened and not unmatched)
            if not kind:
                break
            del stack[matched:]
            unmatched, opened, paragraph = False, True, -1
            stack.append(_Container(0 if kind == "quote" else width, kind == "item" and not rest[width - indent :].strip()))
            matched += 1
            at = min(at + width, len(line))
        if not rest:
            continue
        for container in stack:
            container.empty = False
        start = _leaf_start(rest, number, matched, at + indent) if indent < 4 else None
        if start:
            del stack[matched:]
            paragraph = -1
            if isinstance(start, Block):
                blocks.append(start)
            elif start.kind != "fence" and start.ends(rest, 0):
                blocks.append(start.block(number + 1, True))
            else:
                leaf = start
        elif indent < 4 and paragraph >= 0 and not unmatched and not opened and re.fullmatch(r"=+|-+", rest.rstrip()):
            text = " ".join(part.strip(" \t\r\n>" if stack else None) for part in lines[paragraph:number])
            blocks.append(Block("heading", paragraph, number + 1, len(stack), at + indent, 1 if rest[0] == "=" else 2, text))
            paragraph = -1
        elif indent < 4 and _RULE.match(rest):
            del stack[matched:]
            paragraph = -1
        elif indent < 4 and _INDENTING.match(rest):
            del stack[matched:]
            stack.append(_Container(indent + 4, lazy=False))
            paragraph = -1
        elif paragraph >= 0 and not opened:
            strict = next((i for i in range(matched, len(stack)) if not stack[i].lazy), None)
            if strict is not None:
                del stack[strict:]
                paragraph = number
            # else text goes on, lazily if it has left its container
        else:
            del stack[matched:]
            if indent < 4:
                paragraph = number
            elif indented is not None:
                indented.add(number)
    if leaf is not None:
        blocks.append(leaf.block(len(lines), leaf.depth > 0))
    return blocks


def _continue_containers(stack: list[_Container], line: str) -> tuple[int, int]:
    """Column after the prefixes of the open containers that `line` continues, and how many these are."""
    at = 0
    for matched, container in enumerate(stack):
        rest = line[at:]
        indent = len(rest) - len(rest.lstrip(" "))
        if container.offset:
            if indent == len(rest):  # a blank line stays in a list item
                continue
            if indent < container.offset:
                return at, matched
            at += container.offset
        else:
            if indent > 3 or rest[indent : indent + 1] != ">":
                return at, matched
            at += indent + (2 if rest[indent + 1 : indent + 2] == " " else 1)
    return min(at, len(line)), len(stack)


def _list_item(rest: str, indent: int, in_paragraph: bool) -> tuple[str, int]:
    """("item", columns up to its content) if `rest` starts a list item, else ("", 0)."""
    bullet = _BULLET.match(rest)
    match = bullet or _ORDERED.match(rest)
    if not match or (bullet and _RULE.match(rest)):
        return "", 0
    empty = match.end() == len(rest)
    if in_paragraph and (empty or (not bullet and int(match.group(1)) != 1)):
        return "", 0
    spaces = len(match.group(2))
    marker = match.start(2)
    return "item", indent + marker + (spaces if 1 <= spaces <= 4 and not empty else 1)


def _leaf_start(rest: str, number: int, depth: int, indent: int) -> Block | _Leaf | None:
    """The block that `rest` (a line without the prefixes of its containers) starts, if any."""
    first = rest[0]
    if first == "#":
        text = rest.lstrip("#")
        level = len(rest) - len(text)
        if level <= 6 and text[:1] in ("", " "):
            text = text.strip()
            without = text.rstrip("#")
            if not without or without.endswith(" "):
                text = without.rstrip()
            return Block("heading", number, number + 1, depth, indent, level, text)
    elif first in "`~":
        if match := _FENCE.match(rest):
            mark, info = match.group(1, 2) if match.group(1) else match.group(3, 4)
            closing = re.compile(rf" {{0,3}}{first}{{{len(mark)},}} *$")
            return _Leaf("fence", number, depth, indent, info.strip(), closing.match)
    elif first == "<":
        if rest.startswith("<!--"):
            return _Leaf("comment", number, depth, indent, "", re.compile("-->").search)
        for opening, closing in _HTML:
            if opening.match(rest):
                return _Leaf("html", number, depth, indent, "", closing.search)
    return None


def front_matter(lines: list[str]) -> tuple[int, dict]:
    """Number of lines that YAML front matter takes at the start of a file, and its data; (0, {}) where there is none.

    As in mkdocs, lines between two rules are front matter only if they hold a mapping (or nothing yet). Raises yaml.YAMLError, with a place in
    `problem_mark` where YAML knows one, if what looks like front matter does not parse.
    """
    if not lines or lines[0].rstrip() != "---":
        return 0, {}
    for number in range(1, len(lines)):
        if lines[number].rstrip() in ("---", "..."):
            text = "".join(lines[1:number])
            try:
                data = yaml.load(text, _YamlLoader)
            except yaml.YAMLError:
                raise
            except Exception as error:  # whatever its constructors meet: `2024-99-99`, `!!int x`
                raise yaml.YAMLError(str(error)) from None
            return (number + 1, data or {}) if isinstance(data, dict) or not text.strip() else (0, {})
    return 0, {}
