"""The text of a page as an author sees it: what is left without code, comments and generated regions, and the formulas, links and tags in it."""

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, field

from aerodocs.blocks import scan
from aerodocs.document import Document

# A paragraph longer than this is data, not prose: its inline markup is not looked at.
LONGEST = 50_000

_PREFIX = re.compile(r"[ \t]*(?:>[ \t]?)*[ \t]*")
_BLANKS = re.compile(r"[ \t]*")
_ITEM = re.compile(r"(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)+(?:\[[ xX]\][ \t]+)?")
_OPENER = re.compile(r'(?:!!!|\?\?\?\+?|===[+!]*)[ \t]+[\w"]')
_DEFINITION = re.compile(r"\[(?!\^)[^\[\]]+\]:[ \t]*(?:<([^<>\n]*)>|(\S+))")
_WHOLE = re.compile(r"\\\[(?P<square>.*)\\\]|(?P<begin>\\begin\{(?P<env>[a-z]+\*?)\}.*\\end\{(?P=env)\})", re.DOTALL)
# The order is Python-Markdown's: code spans first, then formulas, then escapes, then tags.
_ATOM = re.compile(
    r"""(?P<code>(?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))
    | (?P<display>\$\$(?P<displayed>(?:\\.|[^\\$])*)\$\$)
    | (?P<math>\$(?![\s$])(?P<tex>(?:\\.|[^\\$])+?)(?<!\s)\$)
    | (?P<round>\\\((?P<rounded>(?:\\[^)]|[^\\])+?)\\\))
    | (?P<escape>\\[!-/:-@\[-`{-~])
    | (?P<comment><!--.*?-->)
    | (?P<auto><(?P<target>[A-Za-z][A-Za-z0-9+.-]{1,31}:[^<>\s]*)>)
    | (?P<tag></?[A-Za-z][^<>]*>)
    """,
    re.VERBOSE | re.DOTALL,
)
_ID = re.compile(r"\{:?[^{}\n]*#([\w:.-]+)[^{}\n]*\}")
_COMMAND = re.compile(r"\\(?:text|mathrm|operatorname)\{[^{}]*\}|\\[A-Za-z]+")
_WORDS = re.compile(r"[^\W\d_]{2,}[ ,]+[^\W\d_]{2,}")
_SPECIAL = re.compile(r"[`$\\<]")
_ATTRIBUTE = re.compile(r"""\b(href|src|id|name)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>]+))""", re.IGNORECASE)


@dataclass(slots=True)
class Chunk:
    """A paragraph, heading, table row or the first lines of a list item. `line` counts from 0; `masked` has the length of `text`, with
    code, formulas, escapes, tags and comments blanked out; `heading` is a level or 0."""

    line: int
    text: str
    masked: str = ""
    heading: int = 0

    def at(self, position: int) -> int:
        """The line (from 1) of a position in the text."""
        return self.line + 1 + self.text.count("\n", 0, position)


@dataclass(frozen=True, slots=True)
class Formula:
    """TeX between delimiters. `line` (from 1) is where the TeX starts, `opening` where its delimiter stands; `alone`: a display formula that is a
    paragraph of its own, as the site needs it."""

    line: int
    opening: int
    tex: str
    display: bool
    alone: bool = True

    def at(self, position: int) -> int:
        return self.line + self.tex.count("\n", 0, position)


@dataclass(frozen=True, slots=True)
class Link:
    """A target that the page points to: of a link, an image, a definition, an HTML tag or an address in angle brackets. `label` is its source."""

    line: int
    target: str
    label: str = ""
    image: bool = False
    spaced: bool = False  # blanks inside the target, which GitHub does not take for a link


@dataclass(slots=True)
class Prose:
    """What a page says, apart from its code. `unclosed` are lines (from 1) with a `$$` that has no partner,
    `stray` those with backticks that begin no code span; `math_lines` (from 0) belong to
    display formulas; `ids` are those that HTML tags and attribute lists set, without those of headings."""

    chunks: list[Chunk] = field(default_factory=list)
    formulas: list[Formula] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    unclosed: list[int] = field(default_factory=list)
    stray: list[int] = field(default_factory=list)
    math_lines: set[int] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    text: str = ""  # all chunks masked, NFC, a blank line between two
    starts: list[int] = field(default_factory=list)  # where each chunk starts in `text`
    indented: set[int] = field(default_factory=set)  # lines (from 0) of indented code

    def at(self, position: int) -> int:
        """The line (from 1) of a position in `text`."""
        number = bisect_right(self.starts, position) - 1
        return self.chunks[number].line + 1 + self.text.count("\n", self.starts[number], position)


def prose_of(document: Document) -> Prose:
    """The prose of a document, in one pass over its lines."""
    prose = Prose()
    _cut(document, prose)
    for chunk in prose.chunks:
        chunk.masked = chunk.text
        if len(chunk.text) > LONGEST:
            chunk.masked = ""
            continue
        if _SPECIAL.search(chunk.text):
            _mask(chunk, prose)
        if "](" in chunk.masked:
            _find_links(chunk, prose)
        if "]:" in chunk.masked and (match := _DEFINITION.match(chunk.text)):
            prose.links.append(Link(chunk.line + 1, match[1] if match[1] is not None else match[2]))
        if not chunk.heading and "{" in chunk.masked:
            prose.ids.update(_ID.findall(chunk.masked))
    parts = [unicodedata.normalize("NFC", chunk.masked) for chunk in prose.chunks]
    prose.text = "\n\n".join(parts)
    at = 0
    for part in parts:
        prose.starts.append(at)
        at += len(part) + 2
    return prose


def _cut(document: Document, prose: Prose) -> None:
    """Cut the lines into chunks, and take display formulas out of them."""
    lines, first = document.lines, document.first
    closed = bytearray(len(lines) + 1)  # 1: no prose, 2: code, which the site does not part from the paragraph beside it
    headings = {}
    for block in document.blocks:
        if block.kind == "heading":
            headings[block.start] = block
        else:
            closed[block.start : block.end] = (b"\2" if block.kind == "fence" else b"\1") * (block.end - block.start)
    for region in (region for region in document.regions if region.kind != "Glossary"):
        closed[region.start : region.end + 1] = b"\1" * (region.end + 1 - region.start)
    prose.indented = _indented(document, closed)
    for number in prose.indented:
        closed[number] = 1

    start, parts = first, []
    apart = first - 1  # the last line that parts what follows it from what is before it

    def flush() -> None:
        nonlocal parts
        if parts:
            text = "\n".join(parts)
            if (whole := _WHOLE.fullmatch(text.strip())) and len(text) <= LONGEST:
                tex = whole["square"] if whole["square"] is not None else whole["begin"]
                prose.formulas.append(Formula(start + 1, start + 1, tex, True))
                prose.math_lines.update(range(start, start + len(parts)))
            else:
                prose.chunks.append(Chunk(start, text))
            parts = []

    number = first
    while number < len(lines):
        if closed[number]:
            flush()
            apart = number if closed[number] == 1 else apart
            number += 1
            continue
        line = lines[number].rstrip("\r\n")
        if not line.strip(" \t>"):
            flush()
            apart = number
            number += 1
            continue
        begin = _PREFIX.match(line).end() if line[0] in " \t>" else 0
        body = line[begin:]
        item = _ITEM.match(body) if body[:1] in "-+*0123456789" else None
        inside = body[item.end() :] if item else body
        if inside.startswith("$$") and (end := _display(lines, number, inside, closed)) >= 0:
            prefix = line[:begin].expandtabs(4)
            alone = bool(item) or (apart == number - 1 and (">" in prefix or len(prefix) % 4 == 0))
            flush()
            alone = alone and (end + 1 >= len(lines) or closed[end + 1] == 1 or not lines[end + 1].strip(" \t\r\n>"))
            _add_display(prose, lines, number, end, inside, alone)
            number = end + 1
            continue
        if number in headings:
            flush()
            block = headings[number]
            text = block.text if block.end == number + 1 else "\n".join(part.rstrip("\r\n") for part in lines[number : block.end - 1])
            prose.chunks.append(Chunk(number, text, heading=block.level))
            number = block.end
            apart = number - 1
            continue
        if item or body.startswith(("|", "[")) or _OPENER.match(body):
            flush()
        if not parts:
            start = number
        parts.append(inside)
        if _OPENER.match(body):
            flush()
            apart = number
        elif body.startswith("|"):
            flush()
        number += 1
    flush()


def _indented(document: Document, closed: bytearray) -> set[int]:
    """Lines of indented code; most pages have no line that could be one."""
    indented: set[int] = set()
    for number in range(document.first, len(document.lines)):
        if not closed[number] and document.lines[number].startswith(("    ", "\t")):
            scan(document.lines, document.first, indented=indented)
            break
    return indented


def _display(lines: list[str], number: int, inside: str, closed: bytearray) -> int:
    """Last line of the display formula that starts in line `number`, whose text without prefix is `inside`; -1 if it does not end."""
    rest = inside[2:].rstrip()
    if "$$" in rest:
        return number if rest.endswith("$$") and rest.count("$$") == 1 else -1
    for last in range(number + 1, len(lines)):
        text = lines[last].strip(" \t\r\n>")
        if not text or closed[last] or _OPENER.match(text):
            return -1
        if "$$" in text:
            return last if text.endswith("$$") and text.count("$$") == 1 else -1
    return -1


def _add_display(prose: Prose, lines: list[str], number: int, end: int, inside: str, alone: bool) -> None:
    if end == number:
        tex = inside.rstrip()[2:-2]
    else:
        prefix = _PREFIX if ">" in _PREFIX.match(lines[number]).group() else _BLANKS
        parts = [lines[n].rstrip("\r\n")[prefix.match(lines[n]).end() :] for n in range(number + 1, end + 1)]
        parts[-1] = parts[-1].rstrip()[:-2]
        tex = "\n".join([inside[2:], *parts])
    prose.formulas.append(Formula(number + 1, number + 1, tex, True, alone))
    prose.math_lines.update(range(number, end + 1))


def _mask(chunk: Chunk, prose: Prose) -> None:
    """Blank out the atoms of a chunk, and keep those that matter."""
    row = chunk.text.startswith("|")

    def blank(match: re.Match[str]) -> str:
        kind = match.lastgroup
        if match["math"] and row and "|" in match["tex"] and _WORDS.search(_COMMAND.sub("", match["tex"])):
            return match.group()  # two amounts in two cells, no formula
        if match["math"] or match["round"]:
            name = "tex" if match["math"] else "rounded"
            line = chunk.at(match.start(name))
            prose.formulas.append(Formula(line, line, match[name], False))
            if "`" in match[name]:  # it may belong to another one outside
                prose.stray.append(line)
        elif match["display"]:
            opening = chunk.at(match.start())
            prose.formulas.append(Formula(chunk.at(match.start("displayed")), opening, match["displayed"], True, False))
        elif match["auto"]:
            prose.links.append(Link(chunk.at(match.start()), match["target"]))
        elif match["tag"]:
            _read_tag(match["tag"], chunk.at(match.start()), prose)
        # a code span leaves a letter, so that what holds nothing else is not empty
        fill = "\x01" if kind in ("code", "ticks") or match["code"] else "\x00"
        text = match.group()
        return fill * len(text) if "\n" not in text else "".join(c if c == "\n" else fill for c in text)

    chunk.masked = _ATOM.sub(blank, chunk.text)
    prose.unclosed += [chunk.at(match.start()) for match in re.finditer(r"\$\$", chunk.masked)]
    prose.stray += [chunk.at(match.start()) for match in re.finditer("`+", chunk.masked)]


def _read_tag(tag: str, line: int, prose: Prose) -> None:
    if tag.startswith("</"):
        return
    name = re.match(r"<([A-Za-z][\w-]*)", tag)[1].lower()
    for match in _ATTRIBUTE.finditer(tag):
        key, value = match[1].lower(), next(text for text in match.group(2, 3, 4) if text is not None)
        if key == "id" or (key == "name" and name == "a"):
            prose.ids.add(value)
        elif (key == "href" and name == "a") or (key == "src" and name in ("img", "video", "audio", "source", "iframe")):
            prose.links.append(Link(line, value.strip(), image=key == "src"))


def _find_links(chunk: Chunk, prose: Prose) -> None:
    masked, text = chunk.masked, chunk.text
    at = masked.find("](")
    while at >= 0:
        opening = _opening(masked, at)
        if opening >= 0:
            link = _destination(text, at + 2)
            if link is not None:
                target, spaced = link
                image = masked[opening - 1 : opening] == "!"
                prose.links.append(Link(chunk.at(at), target, text[opening + 1 : at], image, spaced))
        at = masked.find("](", at + 2)


def _opening(masked: str, closing: int) -> int:
    """Where the bracket stands that the one at `closing` closes; -1 if it is not there."""
    depth = 0
    for position in range(closing - 1, max(-1, closing - 5000), -1):
        character = masked[position]
        if character == "]":
            depth += 1
        elif character == "[":
            if not depth:
                return position
            depth -= 1
    return -1


def _destination(text: str, at: int) -> tuple[str, bool] | None:
    """The target of a link whose parenthesis opens before `at`, and whether it has blanks inside; None if the parenthesis does not close."""
    depth, position = 0, at
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
        elif character == "<" and not text[at:position].strip() and (end := text.find(">", position)) > 0:
            position = end
        elif character in "\"'" and text[position - 1].isspace() and (end := text.find(character, position + 1)) > 0:
            position = end
        elif character == "(":
            depth += 1
        elif character == ")":
            if not depth:
                break
            depth -= 1
        position += 1
    else:
        return None
    inner = " ".join(text[at:position].split())
    if inner.startswith("<"):
        return inner[1:].partition(">")[0], False
    if title := re.fullmatch(r"""(.*?)\s*(?:^|\s)("[^"]*"|'[^']*'|\([^()]*\))""", inner):
        inner = title[1]
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", inner), " " in inner
