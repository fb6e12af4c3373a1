"""Figures of personalisation: units, windows, passes, people, and how sure predictions are."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from fer_core.plots import SERIES, SERIES_MARKERS, figure, styled


@styled
def dots(series: Mapping[str, Mapping[str, float]], xlabel: str, reference: float = 0.0) -> Figure:
    """One row a name, one mark a series; rows in the order of the last series' values.

    Args:
        series: By title, values by name; all have the same names.
        xlabel: What a value is.
        reference: Where a line is drawn.
    """
    last = list(series.values())[-1]
    names = sorted(last, key=lambda name: last[name])
    drawn, axes = figure(height=0.9 + 0.21 * len(names))
    axis = axes[0, 0]
    for place, (title, values) in enumerate(series.items()):
        axis.plot(
            [values[name] for name in names], range(len(names)), SERIES_MARKERS[place % len(SERIES_MARKERS)],
            color=SERIES[place % len(SERIES)], label=title, markersize=5,
        )  # fmt: skip
    axis.axvline(reference, color="black", linewidth=0.9)
    axis.set(yticks=range(len(names)), ylim=(-0.7, len(names) - 0.3), xlabel=xlabel)
    axis.set_yticklabels(names, fontsize=8)
    axis.grid(color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.legend(loc="lower right")
    return drawn


@styled
def windows(entropies: np.ndarray, size: int, frames: int, apex: np.ndarray, names: Sequence[str]) -> Figure:
    """Entropy of each window along some clips, the chosen one marked, the true apex shaded.

    Args:
        entropies: ``(V, M)``.
        size: Frames of a window.
        frames: Frames of a clip.
        apex: ``(V, 2)`` shares of the clip; zeros where nothing is shown.
        names: Of the V clips.
    """
    columns = min(3, len(entropies))
    rows = -(-len(entropies) // columns)
    drawn, axes = figure(rows, columns, 2.0)
    middle = np.arange(entropies.shape[1]) + size / 2
    for number, (axis, values, name) in enumerate(zip(axes.flat, entropies, names, strict=False)):
        if apex[number, 1] > 0:
            axis.axvspan(*(frames * apex[number]), color="#fde3c8", label="apex")
        axis.plot(middle, values, marker="o", markersize=4, color=SERIES[0], label="windows, at their middle")
        best = int(values.argmin())
        axis.plot(middle[best], values[best], "s", markersize=8, color=SERIES[1], label="chosen")
        axis.set(title=name, xlim=(0, frames))
        axis.title.set_fontsize(9)
    for axis in axes[-1]:
        axis.set_xlabel("frame")
    for axis in axes[:, 0]:
        axis.set_ylabel("entropy, nats")
    for axis in axes.flat[len(entropies) :]:
        axis.set_visible(False)
    drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn


@styled
def courses(
    panels: Mapping[str, Mapping[str, np.ndarray]], xlabel: str, ticks: Sequence[str] | None = None
) -> Figure:  # fmt: skip
    """Lines over passes or other steps, one panel a measure.

    Args:
        panels: By measure, by line, ``(P,)`` values.
        xlabel: What the steps are called.
        ticks: Names of the P steps; they are counted from 0 without.
    """
    drawn, axes = figure(1, len(panels), 2.7)
    for axis, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for place, (name, values) in enumerate(lines.items()):
            mark = SERIES_MARKERS[place % len(SERIES_MARKERS)]
            axis.plot(values, marker=mark, markersize=4, color=SERIES[place % len(SERIES)], label=name)
        axis.set_title(title, fontsize=9.5)
        axis.set(xlabel=xlabel)
        if ticks is not None:
            axis.set_xticks(range(len(ticks)), ticks)
        axis.grid(color="#dddddd", linewidth=0.6)
    # Panels of the same lines share one legend, which covers none of them.
    named = {line.get_label(): line for axis in axes[0] if len(axis.lines) > 1 for line in axis.lines}
    if named:
        drawn.legend(handles=list(named.values()), loc="outside lower center", ncols=6)
    return drawn


@styled
def people(gains: Mapping[str, np.ndarray], ylabel: str) -> Figure:
    """What each person gains or loses, sorted, one panel a data set.

    Args:
        gains: By data set, ``(S,)`` in percentage points.
        ylabel: What a gain is.
    """
    drawn, axes = figure(1, len(gains), 2.6)
    reach = 1.1 * max(1.0, max(float(np.abs(values).max()) for values in gains.values()))
    for axis, (title, values) in zip(axes[0], gains.items(), strict=True):
        ordered = np.sort(values)
        colors = [SERIES[0] if value >= 0 else SERIES[1] for value in ordered]
        axis.bar(range(len(ordered)), ordered, color=colors)
        axis.axhline(0, color="black", linewidth=0.9)
        axis.axhline(ordered.mean(), color="#444444", linewidth=1.1, linestyle="dashed")
        axis.set(title=title, ylim=(-reach, reach), xticks=[], xlabel=f"{len(ordered)} people, sorted")
    axes[0, 0].set_ylabel(ylabel)
    return drawn


@styled
def reliability(panels: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Reliability diagrams: accuracy against confidence, with a mark's size for the number of samples.

    All begin a little below the least confidence of all: with C classes none is below 1 / C.

    Args:
        panels: By title, by series, ``(B, 3)`` as :func:`fer_core.metrics.reliability` gives them.
    """
    drawn, axes = figure(1, len(panels), 3.0)
    least = min(float(rows[:, 0].min()) for lines in panels.values() for rows in lines.values())
    for axis, (title, lines) in zip(axes[0], panels.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="#888888", linewidth=0.9)
        for place, (name, rows) in enumerate(lines.items()):
            color, marker = SERIES[place % len(SERIES)], SERIES_MARKERS[place % len(SERIES_MARKERS)]
            axis.plot(rows[:, 0], rows[:, 1], color=color, linewidth=1.2, label=name)
            size = 10 + 90 * rows[:, 2] / rows[:, 2].sum()
            axis.scatter(rows[:, 0], rows[:, 1], s=size, color=color, marker=marker)
        axis.set(title=title, xlim=(min(0.45, least - 0.05), 1.02), ylim=(0, 1.04), xlabel="confidence")
        axis.legend(loc="lower right")
    axes[0, 0].set_ylabel("accuracy")
    return drawn
