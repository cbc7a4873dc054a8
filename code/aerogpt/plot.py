"""The figures of the course in one style: loss curve, attention map, histogram, function plot.

Each function returns a new ``matplotlib.figure.Figure``. It imports no pyplot and leaves matplotlib's settings alone.
"""

import functools
import io
from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure

# DejaVu Sans has every Vietnamese letter; the STIX and monospace families that come with matplotlib do not.
STYLE = {
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    # Okabe & Ito (2008): told apart by colour-blind readers, visible on light and dark ground.
    "axes.prop_cycle": matplotlib.cycler(color=["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]),
}


class CourseFigure(Figure):
    """A figure that notebooks show although pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=144)
        return buffer.getvalue()


def _styled(function: Callable[..., Figure]) -> Callable[..., Figure]:
    """Run ``function`` under STYLE, over whatever the user has set, and restore that afterwards."""

    @functools.wraps(function)
    def drawing(*args, **options):
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            return function(*args, **options)

    return drawing


def _array(values: object) -> np.ndarray:
    """Any tensor or sequence as an array in float64."""
    return torch.as_tensor(values).detach().to("cpu", torch.float64).numpy()


def _axes(title: str | None, xlabel: str | None, ylabel: str | None, size: tuple[float, float] = (6.4, 3.6)):
    """A figure of ``size`` inches and its only axes, with title and labels."""
    figure = CourseFigure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set(title=title or "", xlabel=xlabel or "", ylabel=ylabel or "")
    return figure, axes


@_styled
def loss_curve(history: Mapping[str, Sequence], *, smoothing: float = 0.95, title: str | None = None) -> Figure:
    """The history that ``train`` returns: loss of every step (faint), its running mean, and the validation losses.

    smoothing: share of the old value in the running mean; the mean is corrected for its start (Kingma & Ba 2015,
    section 3, as in Adam). ValueError if the history holds no step or smoothing is not in [0, 1).
    """
    losses = _array(history["loss"])
    if losses.size == 0:
        raise ValueError("the history holds no step")
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must be in [0, 1), not {smoothing}")
    steps = np.arange(1, len(losses) + 1)
    mean = np.empty_like(losses)
    running = 0.0
    for i, loss in enumerate(losses):
        running = smoothing * running + (1 - smoothing) * loss
        mean[i] = running / (1 - smoothing ** (i + 1))
    figure, axes = _axes(title, "Bước", "Mất mát (nat mỗi token)")
    axes.plot(steps, losses, color="C0", alpha=0.25, linewidth=0.8)
    axes.plot(steps, mean, color="C0", label="huấn luyện")
    if history.get("validation"):
        at, loss = _array(history["validation"]).T  # (E, 2) -> (2, E)
        axes.plot(at, loss, "o-", color="C1", markersize=4, label="kiểm định")
    axes.legend()
    return figure


@_styled
def attention_map(weights: object, tokens: Sequence[str] | None = None, *, title: str | None = None) -> Figure:
    """Attention weights (T_query, T_key) as shades, one row a query; ``tokens`` names rows and columns if square.

    ValueError for another number of dimensions, or a number of names that does not fit.
    """
    weights = _array(weights)
    if weights.ndim != 2:
        raise ValueError(f"weights must be (queries, keys), not of shape {weights.shape}: choose one batch and head")
    if tokens is not None and weights.shape != (len(tokens), len(tokens)):
        raise ValueError(f"{len(tokens)} tokens do not name the rows and columns of weights of shape {weights.shape}")
    figure, axes = _axes(title, "Khóa (key)", "Truy vấn (query)", (5.0, 4.4))
    axes.grid(False)
    image = axes.imshow(weights, cmap="viridis", vmin=0, vmax=max(weights.max(), 1e-12))
    if tokens is not None:
        names = [token.replace(" ", "␣").replace("\n", "↵").replace("$", r"\$") for token in tokens]
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    figure.colorbar(image, label="trọng số chú ý")
    return figure


@_styled
def histogram(
    samples: Mapping[str, object], *, bins: int = 60, title: str | None = None, xlabel: str | None = None
) -> Figure:
    """Densities of one or several samples of numbers, {label: tensor}, over the same bins.

    ValueError for a sample that is empty or holds NaN or infinity.
    """
    arrays = {label: _array(values).ravel() for label, values in samples.items()}
    for label, array in arrays.items():
        if array.size == 0 or not np.isfinite(array).all():
            raise ValueError(f"the sample {label!r} is empty or holds NaN or infinity")
    edges = np.histogram_bin_edges(np.concatenate(list(arrays.values())), bins)
    figure, axes = _axes(title, xlabel, "Mật độ")
    for label, array in arrays.items():
        axes.hist(array, edges, density=True, histtype="stepfilled", alpha=0.45, label=label)
    axes.legend()
    return figure


@_styled
def function_plot(
    functions: Mapping[str, Callable[[torch.Tensor], torch.Tensor]],
    low: float,
    high: float,
    *,
    title: str | None = None,
    xlabel: str | None = "x",
    ylabel: str | None = None,
) -> Figure:
    """Functions of one number, {label: function on tensors}, over [low, high]. ValueError unless low < high."""
    if not low < high:
        raise ValueError(f"low must be below high, not {low} and {high}")
    x = torch.linspace(low, high, 801, dtype=torch.float64)
    figure, axes = _axes(title, xlabel, ylabel)
    for label, function in functions.items():
        axes.plot(x.numpy(), _array(function(x)), label=label)
    axes.axhline(0, color="gray", linewidth=0.8)
    axes.legend()
    return figure
