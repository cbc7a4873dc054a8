"""Recorded outputs as HTML. What cells have left is untrusted: everything is escaped, but for an allow-list of HTML; SVG stands in an `<img>`."""

import base64
import binascii
import hashlib
import html
import re
from collections.abc import Callable
from pathlib import Path

import nh3

from aerodocs import ansi
from aerodocs.cells import Fence
from aerodocs.recordings import FIGURE, CellRecord, Recording
from aerodocs.results import Results

Address = Callable[[Path], str]  # where the page finds a figure

_CELL = {"colspan", "rowspan"}
_ATTRIBUTES = {"td": _CELL, "th": {*_CELL, "scope"}, "img": {"src", "alt", "width", "height"}, "ol": {"start"}, "details": {"open"}}
_TAGS = set(
    "abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption figure h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q "
    "s samp small span strong sub summary sup table tbody td tfoot th thead tr tt u ul var".split()
)
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]+")
_NO_ALT = re.compile(r"<img\b(?![^>]*\balt=)")
_SIZE = re.compile(r"\d{1,4}")
_IMAGES = ("image/svg+xml", "image/png")


def cell_html(cell: Fence, results: Results, address: Address) -> str:
    """What stands below the code of a cell: a badge if it is stale, its outputs by device, and where they come from."""
    badge = '<p class="aero-cell__badge">Kết quả dưới đây đã cũ: mã đã đổi sau khi chạy.</p>' if results.is_stale(cell.id) else ""
    if cell.options.show == "code":
        return badge
    found = [(device, record) for device in cell.options.device if (record := results.record(cell.id, device))]
    missing = "chưa ghi trên GPU" if "cuda" in cell.options.device and all(device != "cuda" for device, _ in found) else ""
    if not found:
        note = "Chưa ghi lại kết quả chạy của ô này" + (f" ({missing})" if missing and cell.options.device == ("cuda",) else "")
        return f'<p class="aero-cell__note" data-search-exclude="">{note}.</p>'
    # Equal is what looks equal: figures are compared by what is in their files.
    looks = [_body(cell, record, results.folder, _fingerprint) for _, record in found]
    shown = found if len(set(looks)) > 1 else found[:1]
    parts = [_body(cell, record, results.folder, address) for _, record in shown]
    if not any(parts):
        return badge
    sources = [_source(results.recordings[device]) for device, _ in found]
    if len(parts) > 1:
        titles = [_title(device, results.recordings[device]) for device, _ in found]
        parts = [part or '<p class="aero-output__none">Không hiện gì.</p>' for part in parts]
        inside = _tabs(f"cell-{cell.id}", titles, [part + _from([source]) for part, source in zip(parts, sources)])
    else:
        inside = parts[0] + _from(sources, missing)
    # A tag that never comes again inside: the theme's search takes the end of an inner one for the end of what it leaves out.
    return f'{badge}<section class="aero-output" data-search-exclude="">{inside}</section>'


def text_html(text: str, kind: str = "text") -> str:
    """Text of a terminal, safe and coloured; it scrolls sideways, so the keyboard must reach it."""
    return f'<pre class="aero-output__{kind}" tabindex="0">{ansi.to_html(text.rstrip(chr(10)))}</pre>' if text.strip() else ""


def clean_html(text: str) -> str:
    """HTML cut down to tables, text and pictures that it brings with it: no styles, classes, identifiers, links or forms."""
    cleaned = nh3.clean(
        ansi.CONTROL.sub("", text).replace("\x1b", ""),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute,
        clean_content_tags={"script", "style", "template", "noscript", "svg", "math", "iframe", "object", "textarea", "title", "xmp"},
        url_schemes={"data"},
        link_rel=None,
    )
    return _NO_ALT.sub('<img alt=""', cleaned)


def _attribute(tag: str, name: str, value: str) -> str | None:
    if name == "src":
        return value if _PICTURE.fullmatch(value) else None
    if name in ("width", "height", "colspan", "rowspan", "start"):
        return value if _SIZE.fullmatch(value) else None
    return value


def _body(cell: Fence, record: CellRecord, folder: Path, address: Address) -> str:
    parts = []
    for output in record.outputs:
        kind = output.get("output_type")
        if kind == "stream":
            if output.get("name") != "stderr" or cell.options.stderr == "show":
                parts.append(text_html(_joined(output.get("text", "")), "stderr" if output.get("name") == "stderr" else "text"))
        elif kind == "error":
            parts.append(text_html("\n".join(output.get("traceback") or [f"{output.get('ename')}: {output.get('evalue')}"]), "error"))
        elif kind in ("execute_result", "display_data"):
            parts.append(_data(cell, output.get("data", {}), folder, address))
    return "".join(parts)


def _data(cell: Fence, data: dict, folder: Path, address: Address) -> str:
    """The richest form that can be shown. Markdown and LaTeX are shown as their source."""
    if FIGURE in data:
        return _figure(cell, data[FIGURE], folder, address)
    if "text/html" in data:
        return f'<div class="aero-output__html">{clean_html(_joined(data["text/html"]))}</div>'
    for kind in _IMAGES:
        if kind in data and (encoded := _base64(kind, _joined(data[kind]))):
            alt = html.escape(_plain(cell.options.caption or "Hình do ô mã này vẽ"))
            return _captioned(cell, f'<img src="data:{kind};base64,{encoded}" alt="{alt}">')
    for kind in ("text/markdown", "text/latex", "text/plain"):
        if kind in data:
            return text_html(_joined(data[kind]))
    return ""


def _figure(cell: Fence, figure: dict, folder: Path, address: Address) -> str:
    """A figure as two pictures of which the theme shows one; their size is known before they are loaded."""
    alt = html.escape(_plain(str(figure.get("alt", ""))))
    size = "".join(f' {side}="{int(figure[side])}"' for side in ("width", "height"))
    images = [
        f'<img src="{html.escape(address(folder / figure[scheme]))}#only-{scheme}" alt="{alt}"{size} loading="lazy">' for scheme in ("light", "dark")
    ]
    return _captioned(cell, "".join(images))


def _captioned(cell: Fence, image: str) -> str:
    caption = f"<figcaption>{html.escape(_plain(cell.options.caption))}</figcaption>" if cell.options.caption else ""
    return f'<figure class="aero-output__figure">{image}{caption}</figure>'


def _tabs(name: str, titles: list[str], bodies: list[str]) -> str:
    """Tabs as pymdownx.tabbed makes them, so that the theme links those of equal titles."""
    numbers = range(1, len(titles) + 1)
    inputs = "".join(
        f'<input{" checked=checked" if number == 1 else ""} id="__tabbed_{name}_{number}" name="__tabbed_{name}" type="radio">' for number in numbers
    )
    labels = "".join(f'<label for="__tabbed_{name}_{number}">{html.escape(title)}</label>' for number, title in zip(numbers, titles))
    blocks = "".join(f'<div class="tabbed-block">{body}</div>' for body in bodies)
    return (
        f'<div class="tabbed-set tabbed-alternate" data-tabs="{name}:{len(titles)}">{inputs}'
        f'<div class="tabbed-labels">{labels}</div><div class="tabbed-content">{blocks}</div></div>'
    )


def _title(device: str, recording: Recording) -> str:
    model = recording.provenance.get("gpu")
    return "CPU" if device == "cpu" else f"GPU ({_plain(str(model))})" if model else "GPU"


def _from(sources: list[str], missing: str = "") -> str:
    """The line that says which machine, versions and day an output comes from."""
    text = f"Đã chạy trên {' và '.join(sources)}" + (", kết quả như nhau" if len(sources) > 1 else "") + (f" · {missing}" if missing else "")
    return f'<p class="aero-output__from">{html.escape(text)}</p>'


def _source(recording: Recording) -> str:
    facts = {name: _plain(str(value)) for name, value in recording.provenance.items()}
    machine = f"GPU {facts.get('gpu', '')}" if recording.device == "cuda" else f"CPU {facts.get('cpu', '')}"
    versions = [f"{title} {facts[name]}" for name, title in (("python", "Python"), ("torch", "PyTorch"), ("cuda", "CUDA")) if name in facts]
    day = "/".join(reversed(facts.get("date", "").split("-")))
    return " · ".join(part for part in (machine.strip(), ", ".join(versions), day) if part)


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def _plain(text: str) -> str:
    return ansi.CONTROL.sub("", text).replace("\x1b", "")


def _base64(kind: str, text: str) -> str:
    """The picture in `text` for a data address; empty if it is none. A browser runs no script of an SVG in an `<img>` and loads nothing for it."""
    if kind == "image/svg+xml":
        return base64.b64encode(text.encode("utf-8", "replace")).decode()
    try:
        return base64.b64encode(base64.b64decode("".join(text.split()), validate=True)).decode()
    except (binascii.Error, ValueError):
        return ""


def _fingerprint(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
