"""Comparing two runs of a lesson: is what the page shows still what its code does?"""

import re
from pathlib import Path

from aerodocs.cells import Fence
from aerodocs.recordings import FIGURE, CellRecord

# A number with a point or an exponent is measured; a whole number is counted, so it is compared like a word.
_FLOAT = re.compile(r"(?<![\w.])[-+]?(?:\d+\.\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)(?![\w])")
_SVG_TOLERANCE = 0.5  # points
_PIXELS = 0.01  # share of the pixels that may differ


def difference(cell: Fence, old: CellRecord, new: CellRecord, old_files: Path, new_files: dict[str, bytes]) -> str:
    """What differs between two records of a cell, in Vietnamese; empty if nothing does.

    Text has to be equal, its floats within the cell's relative tolerance; SVG figures within half a point, PNG by pixels. Of a volatile cell only
    the kinds of its outputs and the names of its values count.
    """
    if [_shape(output) for output in old.outputs] != [_shape(output) for output in new.outputs]:
        return f"trước: {_summary(old)}; nay: {_summary(new)}"
    if old.values.keys() != new.values.keys():
        return f"giá trị trước: {sorted(old.values)}; nay: {sorted(new.values)}"
    if cell.options.volatile:
        return ""
    for name, before in old.values.items():
        if not _same_value(before, new.values[name], cell.options.tolerance):
            return f"{name} trước: {before!r}; nay: {new.values[name]!r}"
    for before, now in zip(old.outputs, new.outputs):
        for text_before, text_now in zip(_texts(before), _texts(now)):
            if not same_text(text_before, text_now, cell.options.tolerance):
                return f"trước:\n{text_before.rstrip()}\nnay:\n{text_now.rstrip()}"
        figure = now.get("data", {}).get(FIGURE)
        if figure:
            for kind in ("light", "dark"):
                file = old_files / before["data"][FIGURE][kind]
                if not file.is_file():
                    return f"thiếu tập tin {file.name}"
                if not _same_figure(file.read_bytes(), new_files[figure[kind]], figure[kind]):
                    return f"hình {figure[kind]} khác"
    return ""


def same_text(old: str, new: str, tolerance: float) -> bool:
    """Whether two texts are equal but for floats that differ relatively by at most `tolerance`."""
    if old == new:
        return True
    if _FLOAT.sub("#", old) != _FLOAT.sub("#", new):
        return False
    return all(_close(float(a), float(b), tolerance) for a, b in zip(_FLOAT.findall(old), _FLOAT.findall(new)))


def _close(old: float, new: float, tolerance: float) -> bool:
    return abs(old - new) <= tolerance * max(abs(old), abs(new), 1e-6)


def _same_value(old: object, new: object, tolerance: float) -> bool:
    if isinstance(old, float) and isinstance(new, float):
        return _close(old, new, tolerance)
    return type(old) is type(new) and old == new


def _shape(output: dict) -> tuple:
    """What kind of output it is; alternative text and size of a figure belong to its kind."""
    figure = output.get("data", {}).get(FIGURE)
    names = tuple(sorted(output.get("data", {})))
    return output["output_type"], output.get("name"), output.get("ename"), names, tuple(sorted(figure.items())) if figure else ()


def _texts(output: dict) -> list[str]:
    parts = [output.get("text", []), output.get("traceback", [])]
    parts += [lines for name, lines in sorted(output.get("data", {}).items()) if name != FIGURE]
    return ["".join(part) for part in parts]


def _summary(record: CellRecord) -> str:
    return ", ".join(str(output.get("name") or output.get("ename") or "/".join(output.get("data", {}))) for output in record.outputs) or "không có gì"


def _same_figure(old: bytes, new: bytes, name: str) -> bool:
    if old == new:
        return True
    if name.endswith(".svg"):
        number = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
        if number.sub(b"#", old) != number.sub(b"#", new):
            return False
        return all(abs(float(a) - float(b)) <= _SVG_TOLERANCE for a, b in zip(number.findall(old), number.findall(new)))
    import io

    import numpy
    from matplotlib.image import imread

    before, now = (imread(io.BytesIO(data), format="png") for data in (old, new))
    return before.shape == now.shape and float((numpy.abs(before - now).max(axis=-1) > 0.1).mean()) <= _PIXELS
