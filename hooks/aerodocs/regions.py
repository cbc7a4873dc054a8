"""The generated regions of a page: finding them between their markers, and replacing them without touching anything else."""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from aerodocs.blocks import Block, front_matter, scan
from aerodocs.problems import Problem
from aerodocs.textfile import newline_of, split_lines

Kind = Literal["Navigation", "Index", "Glossary", "Footer"]

_MARKER = re.compile(r"<!-- Aero-(Navigation|Index|Glossary|Footer)-(Start|End)(?: sum=([0-9a-f]{10}))? -->")
_ALMOST = re.compile(r"<!--[ \t]*Aero-\w+-(?:Start|End)\b.*-->", re.IGNORECASE)
_RESTORE = "xóa vùng này (kể cả hai dòng dấu) rồi chạy lại python hooks/index.py để tạo vùng mới"


@dataclass(frozen=True, slots=True)
class Region:
    """Lines `start` to `end` (from 0, both markers included) of a page; `checksum` is None where an older generator wrote none."""

    kind: Kind
    start: int
    end: int
    checksum: str | None


def find(path: str, lines: list[str], blocks: list[Block]) -> tuple[list[Region], list[Problem]]:
    """The regions of a page, and what makes it doubtful: markers that are unbalanced, doubled, nested, inverted or misspelt.

    A marker counts only as a whole line at column 0 that is no part of a fence, a longer comment, raw HTML or front matter.
    """
    regions: list[Region] = []
    problems: list[Problem] = []
    opened: tuple[Kind, int] | None = None

    def doubt(number: int, message: str, cure: str) -> None:
        problems.append(Problem(path, number + 1, "marker", message, cure))

    for block in blocks:
        number = block.start
        line = lines[number].rstrip()
        if block.kind != "comment" or block.depth or block.end != number + 1 or not _ALMOST.match(line):
            continue
        match = _MARKER.fullmatch(line)
        if not match or (match[3] and match[2] == "Start"):
            doubt(number, f"dấu viết sai: {line}", "sửa lại đúng dạng <!-- Aero-Footer-Start --> hoặc xóa dòng này")
            continue
        kind, edge, checksum = match.groups()
        if edge == "Start":
            if opened:
                doubt(number, f"dấu mở {kind} nằm trong vùng {opened[0]} chưa đóng (dòng {opened[1] + 1})", _RESTORE)
            elif any(region.kind == kind for region in regions):
                doubt(number, f"vùng {kind} có hai lần", "giữ lại một vùng, xóa vùng kia (kể cả hai dòng dấu)")
            opened = (kind, number)
        elif not opened:
            doubt(number, f"dấu đóng {kind} không có dấu mở trước nó", "thêm dấu mở hoặc xóa dòng này")
        elif opened[0] != kind:
            doubt(number, f"dấu đóng {kind} không khớp dấu mở {opened[0]} (dòng {opened[1] + 1})", _RESTORE)
        else:
            regions.append(Region(kind, opened[1], number, checksum))
            opened = None
    if opened:
        doubt(opened[1], f"vùng {opened[0]} không có dấu đóng", "thêm dấu đóng hoặc xóa dấu mở này")
    return regions, problems


def sealed(lines: list[str], start: int) -> int:
    """Last line of the navigation that starts at line `start`, if it is exactly as the generator wrote it; else 0."""
    opening = _MARKER.match(lines[start])
    if opening and opening[2] == "Start" and opening[1] != "Glossary":  # its headings are the page's
        for number in range(start + 1, len(lines)):
            if lines[number].startswith("<!-- Aero-"):
                closing = _MARKER.fullmatch(lines[number].rstrip())
                body = "".join(lines[start + 1 : number])
                return number if closing and closing[1] == opening[1] and closing[3] == checksum(body) else 0
    return 0


def checksum(body: str) -> str:
    """Ten hexadecimal digits of the SHA-256 of a region's body; the same for every kind of line end."""
    text = body.replace("\r\n", "\n").replace("\r", "\n")
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def body_of(region: Region, lines: list[str]) -> str:
    """What stands between the two markers."""
    return "".join(lines[region.start + 1 : region.end])


def edited(region: Region, lines: list[str]) -> bool:
    """Whether somebody changed the region after the generator wrote it."""
    return region.checksum is not None and region.checksum != checksum(body_of(region, lines))


def splice(lines: list[str], first: int, regions: list[Region], bodies: dict[Kind, str]) -> str:
    """The page with each of `bodies` (LF, final newline) between its markers.

    A region that the page has is replaced in place. One that it lacks goes where it belongs: the header before line `first` (the first
    after the front matter), a listing before the footer, the footer at the end. Line ends added around a new region belong to it.
    Raises AssertionError if anything outside the regions would change, or if a region would not be found again.
    """
    newline = newline_of("".join(lines))
    present = {region.kind: region for region in regions}
    foot = present["Footer"].start if "Footer" in present else len(lines)
    where = {"Navigation": first, "Index": foot, "Glossary": foot, "Footer": len(lines)}
    edits: list[tuple[int, int, str]] = []  # a text for the lines from, to (not included)
    for kind in ("Navigation", "Index", "Glossary", "Footer"):
        if kind in bodies:
            text = render(kind, bodies[kind], newline)
            if kind in present:
                last = lines[present[kind].end]
                edits.append((present[kind].start, present[kind].end + 1, text + last[len(last.rstrip("\r\n")) :]))
            else:
                edits.append((where[kind], where[kind], text + newline))
    edits.sort(key=lambda edit: edit[:2])  # stable: a listing comes before a footer that is added at the same place

    new, kept, at = "", "", 0
    for start, end, text in edits:
        before = "".join(lines[at:start])
        new, kept, at = new + before, kept + before, end
        if start == end:
            new += _gap(new, newline, blank_line=start > first or start == len(lines))
            text += newline if first < start < len(lines) else ""
        new += text
    rest = "".join(lines[at:])
    _verify(new + rest, kept + rest, lines, regions, bodies)
    return new + rest


def render(kind: Kind, body: str, newline: str = "\n") -> str:
    """A region with its markers, without a final line end."""
    text = f"<!-- Aero-{kind}-Start -->\n{body}<!-- Aero-{kind}-End sum={checksum(body)} -->"
    return text.replace("\n", newline)


def _gap(before: str, newline: str, blank_line: bool) -> str:
    """Line ends to add after `before`, so that a line (after a blank one, if `blank_line`) can start."""
    if not before:
        return ""
    if not before.endswith(("\n", "\r")):
        return newline * (1 + blank_line)
    ends = before[-4:].replace("\r\n", "\n").replace("\r", "\n")
    return newline if blank_line and not ends.endswith("\n\n") else ""


def _verify(new: str, kept: str, lines: list[str], regions: list[Region], bodies: dict[Kind, str]) -> None:
    generated = {number for region in regions if region.kind in bodies for number in range(region.start, region.end + 1)}
    outside = "".join(line for number, line in enumerate(lines) if number not in generated)
    if kept != outside:
        raise AssertionError("text outside the regions would change")
    again = split_lines(new)
    found, problems = find("", again, scan(again, front_matter(again)[0]))
    if problems or any(checksum(body_of(region, again)) != region.checksum for region in found if region.kind in bodies):
        raise AssertionError("the regions would not be found again")
    if not set(bodies) <= {region.kind for region in found}:
        raise AssertionError("a region would be hidden by the text before it")
