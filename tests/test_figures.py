"""Figures as files: the same bytes every time, readable on both palettes, no missing letter."""

import io
import re

import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from aerodocs import figures  # noqa: E402
from aerodocs.recordings import FIGURE  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402


def draw(**text):
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots()
    axes.plot([0, 1, 2], [1, 0, 3], label="mất mát")
    axes.set(**{"title": "Đường cong huấn luyện", "xlabel": "bước", "ylabel": "mất mát", **text})
    axes.legend()
    return figure


def test_same_drawing_same_bytes_and_no_date():
    data, files = figures.save(draw(), "cpu-a-1")
    again, files_again = figures.save(draw(), "cpu-a-1")
    assert (data, files) == (again, files_again)
    assert list(files) == ["cpu-a-1-light.svg", "cpu-a-1-dark.svg"]
    assert not any(re.search(rb"<dc:date>|<script|<text|href=\"http", data) for data in files.values())


def test_dark_version_has_light_lines_and_the_figure_is_unchanged():
    figure = draw()
    colours = [artist.get_color() for artist in figure.findobj(matplotlib.text.Text)]
    _, files = figures.save(figure, "cpu-a-1")
    assert b"#d7dae0" in files["cpu-a-1-dark.svg"] and b"#d7dae0" not in files["cpu-a-1-light.svg"]
    assert b"#1f77b4" in files["cpu-a-1-dark.svg"]  # colours of the data stay
    assert b"fill: #ffffff" not in files["cpu-a-1-dark.svg"]  # nor a white frame behind the legend
    assert [artist.get_color() for artist in figure.findobj(matplotlib.text.Text)] == colours
    assert figures.save(figure, "cpu-a-1")[1] == files


def test_size_is_that_of_the_files():
    data, files = figures.save(draw(), "a")
    width, height = (float(re.search(rf'{side}="([\d.]+)pt"'.encode(), files["a-light.svg"])[1]) for side in ("width", "height"))
    assert (data[FIGURE]["width"], data[FIGURE]["height"]) == (round(width * 4 / 3), round(height * 4 / 3))
    assert 300 < data[FIGURE]["width"] < 400  # 4 inches, cut to what is drawn


def test_alternative_text_is_the_caption_or_what_the_axes_say():
    assert figures.save(draw(), "a", "Chú thích")[0][FIGURE]["alt"] == "Chú thích"
    assert figures.save(draw(), "a")[0][FIGURE]["alt"] == "Đường cong huấn luyện: bước × mất mát"
    assert figures.save(Figure(), "a")[0][FIGURE]["alt"]


def test_missing_letter_is_an_error():
    with pytest.raises(figures.FigureError, match="漢"):
        figures.save(draw(title="漢"), "a")
    with pytest.raises(figures.FigureError, match="DejaVu Sans Mono"):
        mono = draw()
        mono.axes[0].set_title("ế", fontfamily="DejaVu Sans Mono")
        figures.save(mono, "a")
    figures.save(draw(title="$\\sigma(x)$ và ế"), "a")


def test_many_points_become_a_picture_and_too_many_bytes_an_error():
    numpy = pytest.importorskip("numpy")
    random = numpy.random.default_rng(0)
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot(numpy.cumsum(random.normal(size=20_000)), linewidth=0.3)
    with matplotlib.rc_context({"path.simplify": False}):
        data, files = figures.save(figure, "a")
    image = matplotlib.image.imread(io.BytesIO(files["a-light.png"]), format="png")
    assert (data[FIGURE]["height"], data[FIGURE]["width"]) == tuple(round(side / 2) for side in image.shape[:2])
    assert set(files) == {"a-light.png", "a-dark.png"} and all(data.startswith(b"\x89PNG") for data in files.values())
    noise = Figure(figsize=(12, 12))
    noise.subplots().imshow(random.random((1200, 1200)))
    with pytest.raises(figures.FigureError, match="150,000"):
        figures.save(noise, "a")
