"""Figures of numbers: matrices, maps, intervals, relations. Functions take data and return a Figure.

All are drawn on opaque white, so that they read the same on a light and on a dark page, and in colours that stay apart
for readers with any of the common colour deficiencies; a marker of its own doubles each class's colour.
``fer_core.plots_faces`` has the figures of faces, ``plots_records`` those of runs, ``describe`` says in words what a
figure shows.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_core.entanglement import Map
from fer_core.errors import UserError
from fer_core.metrics import Interval

Settings = ParamSpec("Settings")

#: Colour and marker of each class. The colours were searched for the largest least distance (CIE Lab) under normal
#: sight and simulated protanopia, deuteranopia and tritanopia (Machado et al., 2009), at a contrast to white of 3:1.
LOOKS: dict[str, tuple[str, str]] = {
    "neutral": ("#c3775c", "o"),
    "happiness": ("#6fa024", "s"),
    "sadness": ("#0095fb", "v"),
    "surprise": ("#f3619b", "P"),
    "fear": ("#4700d6", "X"),
    "disgust": ("#003e54", "D"),
    "anger": ("#ff4d17", "^"),
    "contempt": ("#05003e", "*"),
    "anxiety": ("#6457ff", "<"),
    "helplessness": ("#6d241d", ">"),
    "disappointment": ("#6f1d9b", "p"),
}

#: Colours of series that are no classes, those of Okabe and Ito (2008) that have contrast enough on white.
SERIES: tuple[str, ...] = ("#0072b2", "#d55e00", "#009e73", "#a0527f", "#000000", "#8a6d00")
SERIES_MARKERS = ("o", "s", "^", "D", "X", "v")

WIDTH = 8.0  # inches, a page's text at the figure's own size

_STYLE = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.transparent": False,
    "text.color": "black",
    "axes.labelcolor": "black",
    "axes.edgecolor": "#444444",
    "xtick.color": "black",
    "ytick.color": "black",
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
}


@contextmanager
def style() -> Iterator[None]:
    """The figures' style, whatever the reader's own settings are; every function here draws within it."""
    settings: dict[Any, Any] = {**mpl.rcParamsDefault, "backend": mpl.rcParams["backend"], **_STYLE}
    with mpl.rc_context(settings):
        yield


def styled(draw: Callable[Settings, Figure]) -> Callable[Settings, Figure]:
    """Decorator: draws within :func:`style`."""

    @wraps(draw)
    def drawing(*args: Settings.args, **kwargs: Settings.kwargs) -> Figure:
        with style():
            drawn = draw(*args, **kwargs)
            drawn.draw_without_rendering()  # ticks take their style when they are first drawn, which may be much later
        return drawn

    return drawing


def look(name: str, position: int = 0) -> tuple[str, str]:
    """Colour and marker of a class; of one without its own, by its position."""
    return LOOKS.get(name, (SERIES[position % len(SERIES)], SERIES_MARKERS[position % len(SERIES_MARKERS)]))


class Drawing(Figure):
    """A figure that shows itself at the end of a notebook's cell, whatever backend is chosen, and nowhere else.

    pyplot does not know of it: nothing is shown twice, and nothing has to be closed.
    """

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", metadata={"Software": None})  # no version: equal figures are equal bytes
        return buffer.getvalue()


def figure(rows: int = 1, columns: int = 1, height: float = 3.2, width: float = WIDTH) -> tuple[Figure, np.ndarray]:
    """An empty figure of the page's width; ``height`` inches a row. Gives axes ``(rows, columns)``."""
    drawn = Drawing(figsize=(width, rows * height), layout="constrained")
    return drawn, drawn.subplots(rows, columns, squeeze=False)


@styled
def confusions(panels: Mapping[str, np.ndarray | None], classes: Sequence[str], missing: str = "not run") -> Figure:
    """Confusion matrices in percent of each true class.

    Args:
        panels: By title, ``(C, C)`` counts or shares, rows true classes; None where there is none yet.
        classes: C class names.
        missing: What a panel without a matrix says.

    Raises:
        UserError: If there is no panel, or a matrix has another size.
    """
    if not panels:
        raise UserError("panels: expected at least one title, got none; pass None for a matrix that is not there yet")
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    empty = all(matrix is None for matrix in panels.values())
    drawn, axes = figure(rows, columns, height=0.9) if empty else _panels(rows, columns)
    for axis, (title, matrix) in zip(axes.flat, panels.items(), strict=False):
        axis.set_title(title)
        if matrix is None:
            say(axis, missing)
            continue
        counts = _square(matrix, classes)
        total = counts.sum(axis=1, keepdims=True)
        shares = 100 * np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
        _matrix(axis, shares, classes, 0, 100, "{:.0f}", "Blues")
        axis.set(xlabel="predicted", ylabel="true")
    _hide(axes, len(panels))
    return drawn


@styled
def similarities(
    panels: Mapping[str, np.ndarray], classes: Sequence[str], low: float | None = None, high: float | None = None
) -> Figure:
    """Symmetric matrices of classes, such as cosines or distances, two decimals a cell.

    Args:
        panels: By title, ``(C, C)``.
        classes: C class names.
        low: Value of the palest colour; the least value of all panels by default.
        high: Value of the darkest colour; the largest by default.
    """
    low = min(float(np.min(matrix)) for matrix in panels.values()) if low is None else low
    high = max(float(np.max(matrix)) for matrix in panels.values()) if high is None else high
    drawn, axes = _panels(1, len(panels))
    for axis, (title, matrix) in zip(axes.flat, panels.items(), strict=True):
        axis.set_title(title)
        _matrix(axis, _square(matrix, classes), classes, low, high, "{:.2f}", "Purples")
    return drawn


def _panels(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    """Square panels across the page; one alone is not blown up to its width."""
    return figure(rows, columns, height=3.9) if columns > 1 else figure(rows, 1, height=5.4, width=6.0)


def _square(matrix: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    values = np.asarray(matrix, dtype=np.float64)
    if values.shape != (len(classes), len(classes)):
        raise UserError(f"expected a matrix {(len(classes), len(classes))}, got {values.shape}; one row a class")
    return values


def _matrix(
    axis: Axes, values: np.ndarray, classes: Sequence[str], low: float, high: float, form: str, colors: str
) -> None:
    texts = [[form.format(value) for value in row] for row in values]
    small = 8.5 if values.shape[0] <= 8 else 7
    sns.heatmap(
        values, ax=axis, vmin=low, vmax=high, cmap=colors, annot=np.array(texts), fmt="", cbar=False, square=True,
        xticklabels=list(classes), yticklabels=list(classes), annot_kws={"size": small}, linewidths=0.5,
    )  # fmt: skip
    axis.tick_params(axis="x", rotation=45, length=0)
    axis.tick_params(axis="y", rotation=0, length=0)
    for label in axis.get_xticklabels():
        label.set(horizontalalignment="right", rotation_mode="anchor")


def say(axis: Axes, text: str) -> None:
    """A panel without data says why."""
    axis.set(xticks=[], yticks=[])
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", wrap=True, color="#444444")


def _hide(axes: np.ndarray, used: int) -> None:
    for axis in axes.flat[used:]:
        axis.set_visible(False)


@styled
def maps(
    drawn_maps: Sequence[Map], labels: np.ndarray, classes: Sequence[str], names: Sequence[str] = (), anchors: int = 0
) -> Figure:
    """Maps of features side by side, with their trustworthiness; each class has its colour and marker.

    Args:
        drawn_maps: Such as :func:`fer_core.entanglement.maps` gives them.
        labels: ``(N,)``.
        classes: Class names.
        names: What each map shows, before its kind.
        anchors: So many of the last points are drawn large and with an edge, such as the classes' prototypes.
    """
    labels = np.asarray(labels)
    small = len(labels) - anchors
    titles = {"umap": "UMAP", "pca": "PCA"}
    drawn, axes = figure(1, len(drawn_maps), height=4.6)
    names = [f"{name}, " for name in names] or [""] * len(drawn_maps)
    for axis, each, name_of in zip(axes.flat, drawn_maps, names, strict=True):
        scatter_classes(axis, each.coordinates[:small], labels[:small], classes, 13)
        for at in range(small, len(labels)):
            position = int(labels[at])
            color, marker = look(classes[position], position)
            place = each.coordinates[at]
            axis.scatter(*place, s=110, c=color, marker=marker, edgecolors="black", linewidths=1.4, zorder=3)
        axis.set(title=f"{name_of}{titles[each.method]}, trustworthiness {_spread(each.trust)}", xticks=[], yticks=[])
        axis.spines[["top", "right"]].set_visible(True)
    class_legend(drawn, axes[0, 0], classes)
    return drawn


def scatter_classes(
    axis: Axes, coordinates: np.ndarray, labels: np.ndarray, classes: Sequence[str], size: float
) -> None:  # fmt: skip
    """Draws points, each class in its colour and with its marker, so that none covers all others.

    Args:
        axis: To draw on.
        coordinates: ``(N, 2)``.
        labels: ``(N,)``.
        classes: Class names.
        size: Of a marker, in square points.
    """
    # Drawn class after class, the last would cover all others: short runs in turn let each show.
    for turn in np.array_split(np.random.default_rng(0).permutation(len(labels)), 12):
        for position, name in enumerate(classes):
            color, marker = look(name, position)
            chosen = coordinates[turn[labels[turn] == position]]
            axis.scatter(chosen[:, 0], chosen[:, 1], s=size, c=color, marker=marker, linewidths=0, alpha=0.75)


def class_legend(drawn: Figure, axis: Axes, classes: Sequence[str]) -> None:
    """Puts the classes' colours and markers under a figure; ``axis`` is any of its own."""
    handles = []
    for position, name in enumerate(classes):
        color, marker = look(name, position)
        handles.append(axis.scatter([], [], s=40, c=color, marker=marker, label=name, linewidths=0))
    drawn.legend(
        handles=handles, loc="outside lower center", ncols=min(len(classes), 8), columnspacing=0.9, handletextpad=0.1
    )


def _spread(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{values[0]:.3f}" if len(values) == 1 else f"{low:.3f}–{high:.3f}"


@styled
def intervals(
    groups: Mapping[str, Mapping[str, Interval]], xlabel: str, reference: float | None = None, percent: bool = False
) -> Figure:
    """Estimates with their intervals, one row a name, one colour and marker a series.

    A hollow mark, which the legend explains, is one of an endless interval, such as that of a single seed.

    Args:
        groups: By series, by name. Names keep the order in which they come first.
        xlabel: What is measured.
        reference: A value to compare with, such as chance; drawn as a dashed line.
        percent: Whether to show fractions in percent.
    """
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    scale = 100 if percent else 1
    drawn, axes = figure(height=0.9 + 0.32 * max(len(names), 3) + 0.06 * len(names) * (len(groups) - 1))
    axis = axes[0, 0]
    if reference is not None:
        axis.axvline(scale * reference, color="#777777", linestyle="--", linewidth=1)
    step, endless = 0.22, False
    for place, (series, group) in enumerate(groups.items()):
        rows = np.array([names.index(name) + step * (place - (len(groups) - 1) / 2) for name in group])
        value, low, high = (
            scale * np.array([getattr(each, end) for each in group.values()]) for end in ("value", "low", "high")
        )
        color, marker = SERIES[place % len(SERIES)], SERIES_MARKERS[place % len(SERIES_MARKERS)]
        known = np.isfinite(low) & np.isfinite(high)
        reach = [np.maximum(value - low, 0)[known], np.maximum(high - value, 0)[known]]
        axis.errorbar(
            value[known], rows[known], xerr=reach, fmt=marker, color=color, capsize=2.5, markersize=5.5, linewidth=1.4,
            label=series,
        )  # fmt: skip
        if not known.all():
            axis.plot(value[~known], rows[~known], marker, color=color, markerfacecolor="white", markersize=5.5)
            endless = True
    axis.set(yticks=range(len(names)), yticklabels=names, xlabel=xlabel, ylim=(len(names) - 0.5, -0.5))
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    handles, labels = axis.get_legend_handles_labels()
    if endless:
        handles += axis.plot([], [], "o", color="#444444", markerfacecolor="white")
        labels += ["hollow: one draw alone, no interval"]
    if len(groups) > 1 or endless:
        drawn.legend(handles, labels, loc="outside upper left", ncols=len(labels))
    return drawn


@styled
def relation(
    x: np.ndarray, y: np.ndarray, names: Sequence[str], marked: Sequence[bool], xlabel: str, ylabel: str
) -> Figure:
    """Two numbers of each pair of classes against one another; marked pairs are named and stand out.

    Args:
        x: ``(P,)``.
        y: ``(P,)``.
        names: P names.
        marked: P flags, such as whether a pair looks alike.
        xlabel: What ``x`` is.
        ylabel: What ``y`` is.
    """
    x, y, stands_out = np.asarray(x), np.asarray(y), np.asarray(marked)
    drawn, axes = figure(height=4.0)
    axis = axes[0, 0]
    for chosen, color, marker, label in (
        (~stands_out, SERIES[0], "o", "other pairs"), (stands_out, SERIES[1], "s", "look-alikes"),
    ):  # fmt: skip
        axis.scatter(x[chosen], y[chosen], c=color, marker=marker, s=38, label=label, linewidths=0)
    for position in np.flatnonzero(stands_out).tolist():
        axis.annotate(
            names[position], (x[position], y[position]), xytext=(7, 4), textcoords="offset points", fontsize=9
        )
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.grid(color="#e5e5e5", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.legend(loc="upper right")
    return drawn
