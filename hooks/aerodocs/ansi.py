"""Terminal text as HTML: escaped first, then coloured by spans whose colours are readable on light and on dark."""

import html
import re
from dataclasses import dataclass

# Control sequences (CSI), strings (OSC, DCS ...) with their end, and two-character escapes; then every other control character but tab and line feed.
_ESCAPE = re.compile(r"\x1b(?:\[([0-?]*)[ -/]*([@-~])|[\]PX^_].*?(?:\x07|\x1b\\|\Z)|[ -/]*[0-~]?)", re.DOTALL)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]")

_BASE = ("#000000 #cd3131 #0a8043 #949800 #0451a5 #bc05bc #0598bc #555555 #666666 #f14c4c #23d18b #f5f543 #3b8eea #d670d6 #29b8db #a5a5a5").split()
_LEVELS = (0, 95, 135, 175, 215, 255)
# The backgrounds of code in the theme's light and dark schemes, and the contrast that WCAG AA asks of text.
LIGHT, DARK = (0xF5, 0xF5, 0xF5), (0x26, 0x2A, 0x36)
CONTRAST = 4.5

RGB = tuple[int, int, int]


@dataclass(slots=True)
class _Style:
    colour: RGB | None = None
    bold: bool = False

    def wrap(self, text: str) -> str:
        if not text or not (self.colour or self.bold):
            return text
        classes = ["aero-ansi"] if self.colour else []
        classes += ["aero-bold"] if self.bold else []
        style = f' style="--l:{readable(self.colour, LIGHT)};--d:{readable(self.colour, DARK)}"' if self.colour else ""
        return f'<span class="{" ".join(classes)}"{style}>{text}</span>'

    def apply(self, codes: list[int]) -> None:
        """The effect of one `ESC [ … m`; backgrounds and other attributes have none."""
        at = 0
        while at < len(codes):
            code = codes[at]
            if code == 0:
                self.colour, self.bold = None, False
            elif code in (1, 22):
                self.bold = code == 1
            elif code == 39:
                self.colour = None
            elif 30 <= code <= 37 or 90 <= code <= 97:
                self.colour = _indexed(code - 30 if code < 90 else code - 82)
            elif code in (38, 48):
                colour, used = _extended(codes[at + 1 :])
                if code == 38 and colour:
                    self.colour = colour
                at += used
            at += 1


def to_html(text: str) -> str:
    """`text` escaped, its colours and bold as spans, every other control sequence and control character left out."""
    style, parts, at = _Style(), [], 0
    for match in _ESCAPE.finditer(text):
        parts.append(style.wrap(_plain(text[at : match.start()])))
        at = match.end()
        if match[2] == "m" and re.fullmatch(r"[0-9;:]*", match[1]):
            style.apply([min(int(code or 0), 256) for code in re.split("[;:]", match[1])])
    parts.append(style.wrap(_plain(text[at:])))
    return "".join(parts)


def readable(colour: RGB, background: RGB) -> str:
    """`colour`, moved towards black or white until it can be read on `background`, as `#rrggbb`."""
    goal = 255 if _luminance(background) < 0.18 else 0
    for step in range(21):
        mixed = tuple(round(part + (goal - part) * step / 20) for part in colour)
        if contrast(mixed, background) >= CONTRAST:
            break
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def contrast(one: RGB, other: RGB) -> float:
    """The contrast ratio of WCAG 2, from 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: RGB) -> float:
    red, green, blue = (part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _plain(text: str) -> str:
    return html.escape(CONTROL.sub("", text))


def _indexed(number: int) -> RGB | None:
    if 0 <= number < 16:
        return tuple(bytes.fromhex(_BASE[number][1:]))
    if number < 232:
        number -= 16
        return _LEVELS[number // 36], _LEVELS[number // 6 % 6], _LEVELS[number % 6]
    return (8 + (number - 232) * 10,) * 3 if number < 256 else None


def _extended(codes: list[int]) -> tuple[RGB | None, int]:
    """The colour after 38 or 48, and how many codes it takes."""
    if codes[:1] == [5] and len(codes) > 1:
        return _indexed(codes[1]), 2
    if codes[:1] == [2] and len(codes) > 3:
        return tuple(min(part, 255) for part in codes[1:4]), 4
    return None, len(codes)
