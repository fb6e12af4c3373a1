"""Figures of the entanglement atlas: maps in one layout, responses to what is varied, and what disentangling costs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from fer_core.entanglement import Map
from fer_core.metrics import Interval
from fer_core.plots import SERIES, SERIES_MARKERS, class_legend, figure, scatter_classes, styled

_COLUMNS = 3


@styled
def gallery(drawn_maps: Mapping[str, Map], labels: np.ndarray, classes: Sequence[str]) -> Figure:
    """Maps of the same samples in a grid, one a method, with its trustworthiness; limits are shared.

    Args:
        drawn_maps: As :func:`fer_core.entanglement.aligned` gives them.
        labels: ``(N,)``.
        classes: Class names.
    """
    labels = np.asarray(labels)
    every = np.concatenate([each.coordinates for each in drawn_maps.values()])
    low, high = every.min(0), every.max(0)
    margin = 0.04 * (high - low)
    drawn, axes = figure(-(-len(drawn_maps) // _COLUMNS), _COLUMNS, height=2.7)
    for axis, (name, each) in zip(axes.flat, drawn_maps.items(), strict=False):
        scatter_classes(axis, each.coordinates, labels, classes, 6)
        least, most = min(each.trust), max(each.trust)
        trust = f"{least:.2f}" if f"{least:.2f}" == f"{most:.2f}" else f"{least:.2f}–{most:.2f}"
        axis.set_title(f"{name}  ({trust})", fontsize=9.5)
        axis.set(xticks=[], yticks=[], xlim=(low[0] - margin[0], high[0] + margin[0]))
        axis.set_ylim(low[1] - margin[1], high[1] + margin[1])
        axis.spines[["top", "right"]].set_visible(True)
    for axis in axes.flat[len(drawn_maps) :]:
        axis.set_visible(False)
    class_legend(drawn, axes[0, 0], classes)
    return drawn


@styled
def responses(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    xlabels: Mapping[str, str],
    ylabel: str,
    reference: float | None = None,
) -> Figure:
    """Lines over what is varied, one panel a thing that is varied, one line a method.

    Args:
        panels: By title, by method: levels and values.
        xlabels: By title, what the levels are.
        ylabel: What the values are.
        reference: A value to compare with, such as chance; drawn as a dashed line.
    """
    columns = 2 if len(panels) in (2, 4) else min(_COLUMNS, len(panels))
    drawn, axes = figure(-(-len(panels) // columns), columns, height=2.5)
    for axis, (title, lines) in zip(axes.flat, panels.items(), strict=False):
        if reference is not None:
            axis.axhline(reference, color="#777777", linestyle="--", linewidth=1)
        for place, (name, (levels, values)) in enumerate(lines.items()):
            color, marker = SERIES[place % len(SERIES)], SERIES_MARKERS[place % len(SERIES_MARKERS)]
            axis.plot(levels, values, color=color, marker=marker, markersize=4, linewidth=1.4, label=name)
        axis.set_title(title, fontsize=9.5)
        axis.set_xlabel(xlabels[title], fontsize=9)
        axis.grid(color="#dddddd", linewidth=0.6)
    for row in axes:
        row[0].set_ylabel(ylabel, fontsize=9)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    handles, names = axes[0, 0].get_legend_handles_labels()
    drawn.legend(handles, names, loc="outside upper left", ncols=min(len(names), 6))
    return drawn


@styled
def cost(points: Mapping[str, tuple[int, Interval]], ylabel: str) -> Figure:
    """A measure against how many numbers each method trains, on a logarithmic axis.

    Args:
        points: By method: trained numbers, at least one, and the measure with its interval.
        ylabel: What the measure is.
    """
    drawn, axes = figure(height=4.2)
    axis = axes[0, 0]
    axis.set_xscale("log")
    axis.set(xlabel="trained numbers", ylabel=ylabel)
    axis.margins(x=0.05)
    colors = []
    for place, (trained, found) in enumerate(points.values()):
        color, marker = (
            SERIES[place % len(SERIES)],
            SERIES_MARKERS[(place + place // len(SERIES)) % len(SERIES_MARKERS)],
        )
        ends = [[max(found.value - found.low, 0)], [max(found.high - found.value, 0)]]
        axis.errorbar([trained], [found.value], yerr=ends, fmt=marker, color=color, capsize=2.5, linewidth=1.2)
        colors.append(color)
    low, high = np.log(axis.get_xlim())
    wanted = (np.log([trained for trained, _ in points.values()]) - low) / (high - low)
    for (name, (trained, found)), at, color in zip(points.items(), _apart(wanted, 0.045), colors, strict=True):
        # Names stand in a row above, as those of methods of one size would lie over one another beside their marks.
        leader = {"arrowstyle": "-", "color": color, "linewidth": 0.5, "alpha": 0.6, "shrinkB": 2, "relpos": (0, 0)}
        axis.annotate(
            name, (trained, found.high), (at, 1.04), textcoords="axes fraction", rotation=40, fontsize=8,
            arrowprops=leader,
        )  # fmt: skip
    axis.grid(color="#e5e5e5", linewidth=0.6)
    axis.set_axisbelow(True)
    return drawn


def _apart(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Places near the wanted ones, in their order and at least ``gap`` apart; places that meet stay centred."""
    order = np.argsort(wanted, kind="stable")
    groups: list[tuple[float, int]] = []  # the mean of what was wanted, and how many share it
    for place in wanted[order]:
        mean, count = float(place), 1
        while groups and mean - groups[-1][0] < gap * (count + groups[-1][1]) / 2:
            before, more = groups.pop()
            mean, count = (mean * count + before * more) / (count + more), count + more
        groups.append((mean, count))
    kept = np.concatenate([mean + gap * (np.arange(count) - (count - 1) / 2) for mean, count in groups])
    placed = np.empty_like(kept)
    placed[order] = kept
    return placed
