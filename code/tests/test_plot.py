"""What the figures show, their fonts, and that they leave matplotlib as it was."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from aerogpt import plot

EVERY_LETTER = "aăâbcdđeêghiklmnoôơpqrstuưvxy" + "áàảãạắằẳẵặấầẩẫậéèẻẽẹếềểễệíìỉĩịóòỏõọốồổỗộớờởỡợúùủũụứừửữựýỳỷỹỵ"
HISTORY = {"loss": [4.0, 2.0, 3.0], "validation": [[0, 4.5], [3, 2.5]]}


def draw_all() -> list[Figure]:
    title = EVERY_LETTER + EVERY_LETTER.upper() + r" $\frac{QK^\top}{\sqrt{d_k}}$"
    return [
        plot.loss_curve(HISTORY, title=title),
        plot.attention_map(torch.eye(3), ["Xin", " chào\n", "$"], title=title),
        plot.histogram({"ệ": torch.randn(100), "b": [1.0, 2.0]}, title=title, xlabel="ư"),
        plot.function_plot({"sin": torch.sin}, -3, 3, title=title, ylabel="ữ"),
    ]


def test_every_vietnamese_letter_is_drawn_in_dejavu_sans_whatever_the_settings():
    with matplotlib.rc_context({"font.family": "monospace", "mathtext.fontset": "stix", "axes.grid": False}):
        for figure in draw_all():
            assert figure._repr_png_().startswith(b"\x89PNG")  # a missing glyph is a warning, and warnings are errors
            texts = figure.findobj(Text)
            assert len(texts) > 3
            assert {text.get_fontname() for text in texts} == {"DejaVu Sans"}
            assert {text.get_math_fontfamily() for text in texts} == {"dejavusans"}


def test_settings_and_pyplot_are_left_alone():
    code = (
        "import sys, matplotlib, torch; from aerogpt import plot;"
        "keys = sorted(set(matplotlib.rcParams) - {'backend'});"  # to read that one imports pyplot
        "settings = lambda: [matplotlib.rcParams[key] for key in keys];"
        "before = settings(); plot.loss_curve({'loss': [1.0]}); plot.attention_map(torch.eye(2))._repr_png_();"
        "print(settings() == before, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_the_loss_curve_shows_losses_their_corrected_mean_and_validation():
    raw, mean, validation = plot.loss_curve(HISTORY, smoothing=0.5).axes[0].lines
    assert list(raw.get_ydata()) == HISTORY["loss"] and list(raw.get_xdata()) == [1, 2, 3]
    assert mean.get_ydata() == pytest.approx([4, (0.5 * 4 * 0.5 + 2 * 0.5) / 0.75, (0.5 + 0.5 + 1.5) / 0.875])
    assert validation.get_xydata().tolist() == [[0, 4.5], [3, 2.5]]
    assert len(plot.loss_curve({"loss": [1.0]}).axes[0].lines) == 2


def test_the_attention_map_shows_the_weights_and_names():
    weights = torch.tensor([[1.0, 0.0], [0.25, 0.75]], requires_grad=True)
    axes = plot.attention_map(weights, [" a", "b"]).axes[0]
    assert np.array_equal(axes.images[0].get_array(), [[1, 0], [0.25, 0.75]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["␣a", "b"]
    assert plot.attention_map(torch.zeros(2, 5)).axes[0].images[0].get_array().shape == (2, 5)


def test_histograms_are_densities_over_common_bins():
    axes = plot.histogram({"a": torch.linspace(0, 1, 101), "b": torch.tensor([[0.0, 2.0]])}, bins=4).axes[0]
    paths = [patch.get_path().vertices for patch in axes.patches]
    assert {x for path in paths for x in path[:, 0]} == {0.0, 0.5, 1.0, 1.5, 2.0}
    heights = paths[1][:, 1].max()
    assert heights == pytest.approx(1.0)  # half of b in a bin of width 0.5


def test_the_function_plot_shows_the_function():
    line = plot.function_plot({"bình phương": torch.square}, -2, 2).axes[0].lines[0]
    x, y = line.get_data()
    assert (x[0], x[-1], line.get_label()) == (-2, 2, "bình phương")
    assert y == pytest.approx(x**2)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: plot.loss_curve({"loss": []}), "no step"),
        (lambda: plot.loss_curve(HISTORY, smoothing=1.0), "not 1.0"),
        (lambda: plot.attention_map(torch.zeros(1, 2, 2)), r"\(1, 2, 2\)"),
        (lambda: plot.attention_map(torch.zeros(2, 2), ["a"]), "1 tokens"),
        (lambda: plot.histogram({"x": []}), "'x'"),
        (lambda: plot.histogram({"x": [1.0, float("nan")]}), "'x'"),
        (lambda: plot.function_plot({}, 1, 1), "1 and 1"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
