"""Comparing runs: what may differ, and what may not."""

import pytest
from aerodocs.cells import Fence, Options
from aerodocs.recordings import FIGURE, CellRecord
from aerodocs.verify import difference, same_text


@pytest.mark.parametrize(
    "old, new, equal",
    [
        ("loss 0.12345", "loss 0.12346", True),
        ("loss 0.12345", "loss 0.12445", False),
        ("1e-05", "1.00001e-05", True),
        ("1e-05", "1.1e-05", False),
        ("step 10", "step 11", False),
        ("-1.5", "1.5", False),
        ("0.0", "1e-12", True),
        ("a 1.0", "b 1.0", False),
        ("[1.0, 2.0]", "[1.0]", False),
        ("v1.2.3", "v1.2.4", False),
        ("nan", "nan", True),
    ],
)
def test_floats_within_the_tolerance_all_else_exactly(old, new, equal):
    assert same_text(old, new, 1e-4) is equal


def record(text="1.0", kind="execute_result", **values) -> CellRecord:
    return CellRecord("a", "key", [{"output_type": kind, "data": {"text/plain": [text]}, "metadata": {}}], values)


def fence(**options) -> Fence:
    return Fence("cell", 1, 2, "x", "a", Options(**options))


def test_kinds_values_and_text_are_compared(tmp_path):
    assert not difference(fence(), record(), record(), tmp_path, {})
    assert difference(fence(), record(), record("1.1"), tmp_path, {})
    assert not difference(fence(tolerance=0.2), record(), record("1.1"), tmp_path, {})
    assert difference(fence(), record(), record(kind="display_data"), tmp_path, {})
    assert difference(fence(), record(x=1), record(x=2), tmp_path, {})
    assert difference(fence(), record(x=1), record(x=1.0), tmp_path, {})
    assert difference(fence(), record(x=1), record(), tmp_path, {})
    assert not difference(fence(), record(x=1.0), record(x=1.00001), tmp_path, {})


def test_volatile_is_compared_by_kind(tmp_path):
    assert not difference(fence(volatile=True), record("1 ms", t=1), record("9 ms", t=2), tmp_path, {})
    assert difference(fence(volatile=True), record(t=1), record(), tmp_path, {})
    assert difference(fence(volatile=True), record(), record(kind="display_data"), tmp_path, {})


def figure(suffix: str) -> CellRecord:
    data = {FIGURE: {"light": f"l.{suffix}", "dark": f"d.{suffix}", "alt": "x", "width": 1, "height": 1}}
    return CellRecord("a", "key", [{"output_type": "display_data", "data": data, "metadata": {}}])


def test_svg_by_its_numbers(tmp_path):
    for name in ("l.svg", "d.svg"):
        (tmp_path / name).write_bytes(b'<svg><path d="M 1.0 2.0"/></svg>')
    near, far, other = (b'<svg><path d="M 1.2 2.0"/></svg>', b'<svg><path d="M 9.0 2.0"/></svg>', b'<svg><line d="M 1.0 2.0"/></svg>')
    assert not difference(fence(), figure("svg"), figure("svg"), tmp_path, {"l.svg": near, "d.svg": near})
    assert difference(fence(), figure("svg"), figure("svg"), tmp_path, {"l.svg": near, "d.svg": far})
    assert difference(fence(), figure("svg"), figure("svg"), tmp_path, {"l.svg": other, "d.svg": near})
    (tmp_path / "d.svg").unlink()
    assert "thiếu" in difference(fence(), figure("svg"), figure("svg"), tmp_path, {"l.svg": near, "d.svg": near})


def test_png_by_its_pixels(tmp_path):
    numpy = pytest.importorskip("numpy")
    image = pytest.importorskip("matplotlib.image")
    picture = numpy.zeros((40, 40, 4))
    for name in ("l.png", "d.png"):
        image.imsave(tmp_path / name, picture)
    old = (tmp_path / "l.png").read_bytes()
    picture[0, :8] = 1
    image.imsave(tmp_path / "few.png", picture)
    picture[:20] = 1
    image.imsave(tmp_path / "many.png", picture)
    few, many = ((tmp_path / name).read_bytes() for name in ("few.png", "many.png"))
    assert not difference(fence(), figure("png"), figure("png"), tmp_path, {"l.png": few, "d.png": old})
    assert difference(fence(), figure("png"), figure("png"), tmp_path, {"l.png": old, "d.png": many})
