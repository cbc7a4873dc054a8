"""Figures of a lesson as files: once for a light page, once for a dark one, the same bytes for the same drawing.

Runs where a lesson runs: matplotlib is imported by the lesson, never here.
"""

import io
import re
import struct
from contextlib import contextmanager

from aerodocs.recordings import FIGURE

LARGEST = 150_000  # bytes of a figure
_FOREGROUND = "#d7dae0"  # on the theme's dark background
_DARKEST = 0.25  # colours of text and lines below this luminance are foreground
_LIGHTEST = 0.9  # colours of areas above this luminance are background


class FigureError(Exception):
    """A figure that cannot be put on a page; the text says why, in Vietnamese."""


def save(figure, stem: str, caption: str = "") -> tuple[dict, dict[str, bytes]]:
    """The output data of a matplotlib figure (nbformat `data`) and its files by name.

    SVG with text as paths, or PNG at twice the resolution where SVG is too large. Raises FigureError for a glyph that no font of the figure
    has, and for a figure above `LARGEST` bytes.
    """
    _check_glyphs(figure)
    light, suffix = _render(figure, stem)
    with _dark(figure):
        dark, _ = _render(figure, stem, suffix)
    width, height = _size(light, suffix)
    names = {"light": f"{stem}-light.{suffix}", "dark": f"{stem}-dark.{suffix}"}
    alt = caption or _description(figure)
    data = {FIGURE: {**names, "alt": alt, "width": width, "height": height}, "text/plain": [f"<Figure: {alt}>"]}
    return data, {names["light"]: light, names["dark"]: dark}


def _render(figure, stem: str, suffix: str = "") -> tuple[bytes, str]:
    import matplotlib

    if suffix != "png":
        with matplotlib.rc_context({"svg.hashsalt": stem, "svg.fonttype": "path"}):
            file = io.BytesIO()
            figure.savefig(file, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None, "Creator": None})
        data = re.sub(rb"[ \t]+\n", b"\n", file.getvalue())
        if len(data) <= LARGEST or suffix == "svg":
            return data, "svg"
    file = io.BytesIO()
    figure.savefig(file, format="png", transparent=True, bbox_inches="tight", dpi=192, metadata={"Software": None})
    if len(file.getvalue()) > LARGEST:
        raise FigureError(f"hình nặng {len(file.getvalue()):,} byte, quá {LARGEST:,}; vẽ ít điểm hơn hoặc nhỏ hơn")
    return file.getvalue(), "png"


def _size(data: bytes, suffix: str) -> tuple[int, int]:
    """Width and height on the page in CSS pixels: 96 an inch, of which an SVG has 72 points and a PNG 192 pixels."""
    if suffix == "svg":
        width, height = (float(re.search(rb'\b%s="([\d.]+)pt"' % side, data)[1]) * 96 / 72 for side in (b"width", b"height"))
    else:
        width, height = (number / 2 for number in struct.unpack(">II", data[16:24]))  # IHDR, the first chunk
    return round(width), round(height)


@contextmanager
def _dark(figure):
    """Give dark text and lines the foreground colour of a dark page; everything is as before afterwards."""
    from matplotlib.colors import to_rgb
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Text

    def luminance(colour) -> float:
        try:
            red, green, blue = to_rgb(colour)
        except (ValueError, TypeError):  # "none", or several colours
            return 0.5
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def is_dark(colour) -> bool:
        return luminance(colour) < _DARKEST

    undo = []

    def change(setter, old, new: str = _FOREGROUND) -> None:
        undo.append((setter, old))
        setter(new)

    # Text on an image stands on the image's colours, which stay.
    on_image = {text for axes in figure.axes if axes.images or axes.collections for text in axes.texts}
    for artist in figure.findobj(match=lambda a: isinstance(a, Text | Line2D | Patch) and a not in on_image):
        if isinstance(artist, Patch):
            if artist.get_linewidth() and is_dark(artist.get_edgecolor()[:3]):
                change(artist.set_edgecolor, artist.get_edgecolor())
            if luminance(artist.get_facecolor()[:3]) > _LIGHTEST:  # the frame of a legend or of a label
                change(artist.set_facecolor, artist.get_facecolor(), "none")
        elif is_dark(artist.get_color()):
            change(artist.set_color, artist.get_color())
        if isinstance(artist, Line2D):
            for getter, setter in (
                (artist.get_markeredgecolor, artist.set_markeredgecolor),
                (artist.get_markerfacecolor, artist.set_markerfacecolor),
            ):
                if is_dark(getter()):
                    change(setter, getter())
    try:
        yield
    finally:
        for setter, old in reversed(undo):
            setter(old)


def _check_glyphs(figure) -> None:
    from matplotlib.font_manager import findfont, get_font
    from matplotlib.text import Text

    for text in figure.findobj(match=Text):
        plain = re.sub(r"(?<!\\)\$[^$]*(?<!\\)\$", "", text.get_text()) if text.get_visible() else ""
        if plain.strip():
            font = findfont(text.get_fontproperties())
            known = get_font(font).get_charmap()
            missing = sorted({character for character in plain if not character.isspace() and ord(character) not in known})
            if missing:
                name = get_font(font).family_name
                raise FigureError(f"phông {name} không có {' '.join(missing)} trong “{plain.strip()}”; dùng phông DejaVu Sans và văn bản NFC")


def _description(figure) -> str:
    """What the figure says of itself: its titles and axes."""
    parts = [figure.get_suptitle()]
    for axes in figure.axes:
        labels = [label for label in (axes.get_xlabel(), axes.get_ylabel()) if label]
        parts.append(": ".join(part for part in (axes.get_title(), " × ".join(labels)) if part))
    return "; ".join(part for part in parts if part) or "Hình vẽ của ô mã"
