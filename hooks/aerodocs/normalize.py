"""Normalisers: what differs between two runs of the same code, taken out of their text."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Places:
    """Folders whose names do not belong on a page, as absolute paths; `work` is the empty folder that a lesson runs in."""

    root: str
    home: str
    temp: str
    packages: str
    work: str


def unicode_text(data: bytes) -> str:
    """UTF-8, what is not UTF-8 as U+FFFD, in NFC."""
    return unicodedata.normalize("NFC", data.decode("utf-8", errors="replace"))


def line_ends(text: str) -> str:
    """CRLF becomes LF; a carriage return that overwrites a line stays for `progress`."""
    return text.replace("\r\n", "\n")


def progress(text: str) -> str:
    """What a terminal would show after carriage returns and backspaces: of a progress bar, only its last frame."""
    if "\r" not in text and "\b" not in text:
        return text
    return "\n".join(_overwritten(line) for line in text.split("\n"))


def escapes(text: str) -> str:
    """Colours (SGR sequences) stay for the page to show; every other escape and control character goes."""
    text = re.sub(r"\x1b(?:\[[0-9;?]*[ -/]*(?!m)[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Za-z0-9]|(?!\[|\])[@-Z\\^_])", "", text)
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]", "", text)


def paths(text: str, places: Places) -> str:
    """Folders by role: paths below the repository relative to it, others behind `<packages>`, `<work>`, `<temp>` or `~`."""
    named = [(places.work, "<work>"), (places.packages, "<packages>"), (places.root, ""), (places.temp, "<temp>"), (places.home, "~")]
    for folder, name in sorted((pair for pair in named if len(pair[0]) > 1), key=lambda pair: -len(pair[0])):
        text = re.sub(rf"{re.escape(folder)}(?P<rest>/|(?![\w.-]))", lambda match: name + match["rest"] if name else "", text)
    return text


def addresses(text: str) -> str:
    """Addresses of objects in memory."""
    return re.sub(r"\b0x[0-9a-fA-F]{6,16}\b", "0x…", text)


def warnings(text: str) -> str:
    """Warnings as category and message, without the place and the source line that Python prints."""
    return re.sub(r"^\S[^\n]*?:\d+: (?P<what>\w*Warning: [^\n]*)\n(?:  [^\n]*\n?)?", r"\g<what>\n", text, flags=re.MULTILINE)


def frames(text: str) -> str:
    """Line numbers of traceback frames: they move when code above them does."""
    return re.sub(r'(File "[^"\n]*"), line \d+', r"\1", text)


def normalize(data: bytes, places: Places) -> str:
    """All normalisers, in their order."""
    text = unicode_text(data)
    steps: list[Callable[[str], str]] = [line_ends, progress, escapes, lambda t: paths(t, places), addresses, warnings, frames]
    for step in steps:
        text = step(text)
    return text


def _overwritten(line: str) -> str:
    """One line of a terminal: each carriage return starts over, each backspace steps back, and new characters cover old ones."""
    shown: list[str] = []
    at = 0
    for part in re.findall(r"\x1b\[[0-9;]*m|.", line, re.DOTALL):
        if part == "\r":
            at = 0
        elif part == "\b":
            at = max(0, at - 1)
        elif at < len(shown):
            shown[at] = part
            at += 1
        else:
            shown.append(part)
            at += 1
    return "".join(shown).rstrip() if "\r" in line or "\b" in line else line
