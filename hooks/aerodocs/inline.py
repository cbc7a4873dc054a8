"""Titles and summaries: the inline Markdown of one line, made safe for a link text, a table cell, or plain text."""

import html
import re
import unicodedata
from collections.abc import Callable

# What has to be taken as a whole, most binding first.
_ATOM = re.compile(
    r"""(?P<code>(?P<ticks>(?<!`)`+(?!`))(?P<inside>[^`]|[^`].*?[^`])(?P=ticks)(?!`))
    | (?P<escape>\\[!-/:-@\[-`{-~])
    | (?P<comment><!--.*?-->)
    | (?P<math>\$(?=[^\s$])(?P<tex>[^$`]*?[^\s$`\\])\$(?!\d))
    | (?P<tag></?[A-Za-z][^<>]*>)
    | (?P<entity>&(?:\#\d{1,7}|\#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});)
    | !?\[(?P<label>[^\[\]]*)\](?:\((?:[^()\s]|\([^()]*\))*(?:[ ]+"[^"]*")?\)|\[[^\[\]]*\])
    """,
    re.VERBOSE,
)
_STRONG = re.compile(r"(\*\*|__|~~)(?=\S)(.+?)(?<=\S)\1")
_EMPHASIS = re.compile(r"(?<!\w)([*_])(?=[^\s*_])(.+?)(?<=[^\s*_])\1(?!\w)")
_ATTRIBUTES = re.compile(r"(?<=\s)\{:?\s*[#.][^{}]*\}$")
# Line and paragraph ends, other controls, the marks that turn the direction of writing, and lone surrogates.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
# TeX that means the same and leaves the table, the link and the page alone.
_TEX = {r"\|": r"\Vert ", "|": r"\vert ", "[": r"\lbrack ", "]": r"\rbrack ", "<": r"\lt ", ">": r"\gt "}
_MARKS = "\\`*_~[]<>&$|"
LONGEST = 1000  # characters of a title or summary; what is longer is cut
# Private characters that stand for an atom while the text around it is worked on.
_FIRST = 0xF0000


def clean(text: str) -> str:
    """One line of `text`: NFC, no control characters, single blanks."""
    return " ".join(_UNPRINTABLE.sub(" ", unicodedata.normalize("NFC", text)).split())


def heading(source: str) -> str:
    """The text of a heading's `source` without the attribute list of Python-Markdown at its end."""
    return _ATTRIBUTES.sub("", clean(source)).rstrip()


def to_plain(source: str) -> str:
    """What a reader sees of the inline Markdown `source`: markup removed, formulas as their TeX."""

    def atom(match: re.Match[str]) -> str:
        if match["code"]:
            return match["inside"].strip() or match["inside"]
        if match["escape"]:
            return match["escape"][1]
        if match["math"]:
            return match["tex"]
        if match["entity"]:
            return html.unescape(match["entity"])
        if match["label"] is not None:
            return to_plain(match["label"])
        return ""

    return clean(_with_atoms(source, atom, _without_emphasis))


def to_link_text(source: str) -> str:
    """`source` as the text of a link in a table cell: looks the same, and nothing in it ends the link, the cell or the line.

    Links become their text, HTML tags go, single marks are escaped; code spans and formulas stay, with `|` and brackets in them written so
    that both GitHub and Python-Markdown keep the cell whole.
    """

    def atom(match: re.Match[str]) -> str:
        if match["code"]:
            if "|" in match["inside"]:
                return f"<code>{_entities(match['inside'].strip(), _MARKS)}</code>"
            return match["code"]
        if match["escape"]:
            # GitHub turns `\|` in a cell to `|` before it reads the rest; the others mean the same everywhere.
            return match["escape"] if match["escape"][1] not in "&<$~|" else _entities(match["escape"][1], "&<$~|")
        if match["math"]:
            tex = re.sub(r"\\.|[|<>\[\]]", lambda part: _TEX.get(part.group(), part.group()), match["tex"])
            return f"${tex}$"
        if match["entity"]:
            return match["entity"]
        if match["label"] is not None:
            return to_link_text(match["label"])
        return ""

    return clean(_with_atoms(source, atom, lambda text: re.sub(r"[\\`\[\]|]", r"\\\g<0>", _entities(text, "&<$"))))


def escape(text: str) -> str:
    """Plain `text` as inline Markdown that shows exactly this text, fit for `to_link_text` and `to_plain`."""
    return re.sub(r"[\\`*_\[\]<&$~|#{]", r"\\\g<0>", clean(text))


def _with_atoms(source: str, atom: Callable[[re.Match[str]], str], rest: Callable[[str], str]) -> str:
    """`source` with its atoms rewritten by `atom` and the text between them, atoms held as one character, by `rest`."""
    kept: list[str] = []

    def hold(match: re.Match[str]) -> str:
        kept.append(atom(match))
        return chr(_FIRST + len(kept) - 1)

    source = re.sub(f"[{chr(_FIRST)}-{chr(0x10FFFF)}]", "", source[:LONGEST])
    text = rest(_ATOM.sub(hold, source))
    return re.sub(f"[{chr(_FIRST)}-{chr(0x10FFFF)}]", lambda match: kept[ord(match.group()) - _FIRST], text)


def _without_emphasis(text: str) -> str:
    for pattern in (_STRONG, _EMPHASIS, _EMPHASIS):
        text = pattern.sub(r"\2", text)
    return text


def _entities(text: str, characters: str) -> str:
    return re.sub(f"[{re.escape(characters)}]", lambda match: f"&#{ord(match.group())};", text)
