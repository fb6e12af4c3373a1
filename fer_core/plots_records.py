"""Figures of runs and benches: learning curves, seeds, ratios; drawn in the style of ``fer_core.plots``."""

from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from fer_core.plots import SERIES, SERIES_MARKERS, figure, say, styled
from fer_core.records import Record


@styled
def learning_curves(panels: Mapping[str, Sequence[Record]], missing: str = "not run") -> Figure:
    """Training loss and validation accuracy by epoch, one line a seed; the selected epoch is marked.

    A seed has one colour and marker in all panels.

    Args:
        panels: By title, records of one experiment; empty where it has not run.
        missing: What an empty panel says.
    """
    runs = {title: [record for record in found if len(record.history) > 1] for title, found in panels.items()}
    all_seeds = sorted({record.seed for trained in runs.values() for record in trained})
    drawn, axes = figure(2, len(panels), height=2.3 if any(panels.values()) else 0.9)
    for column, (title, found) in enumerate(panels.items()):
        axes[0, column].set_title(title)
        if not runs[title]:
            for axis in axes[:, column]:
                say(axis, missing if not found else "nothing to train")
            continue
        for record in runs[title]:
            place = all_seeds.index(record.seed)
            color, marker = SERIES[place % len(SERIES)], SERIES_MARKERS[place % len(SERIES_MARKERS)]
            epochs = [row["epoch"] for row in record.history]
            kept = epochs.index(record.selection["epoch"])
            loss = [row["losses"]["loss"] for row in record.history]
            held = [np.nan if row["validation"] is None else 100 * row["validation"]["war"] for row in record.history]
            for axis, values in zip(axes[:, column], (loss, held), strict=True):
                known = [at for at, value in enumerate(values) if not np.isnan(value)]  # not every epoch is evaluated
                axis.plot(
                    [epochs[at] for at in known],
                    [values[at] for at in known],
                    color=color,
                    linewidth=1.3,
                    label=f"seed {record.seed}",
                )
                axis.plot(epochs[kept], values[kept], color=color, marker=marker, markersize=5)
        axes[1, column].set_xlabel("epoch")
    axes[0, 0].set_ylabel("training loss")
    axes[1, 0].set_ylabel("validation\nWAR in %")
    lines = {line.get_label(): line for axis in axes[0] for line in axis.lines}
    if all_seeds:
        labels = [f"seed {seed}" for seed in all_seeds]
        drawn.legend([lines[label] for label in labels], labels, loc="outside lower center", ncols=6)
    return drawn


@styled
def seeds(panels: Mapping[str, Sequence[Record]], xlabel: str = "WAR in %", missing: str = "not run") -> Figure:
    """The accuracy of every seed, one row an experiment, its mean as a bar.

    Args:
        panels: By name, records of one experiment; empty where it has not run.
        xlabel: What is shown.
        missing: What a row without records says.
    """
    names = list(panels)
    points = [(name, 100 * record.metrics["war"]) for name, found in panels.items() for record in found]
    drawn, axes = figure(height=0.8 + 0.42 * len(names))
    axis = axes[0, 0]
    if not points:
        axis.set_xlim(0, 100)
    else:
        y, x = zip(*points, strict=True)
        sns.stripplot(
            x=list(x),
            y=list(y),
            order=names,
            ax=axis,
            orient="h",
            jitter=False,
            size=6.5,
            color=SERIES[0],
            alpha=0.7,
        )
    for row, found in enumerate(panels.values()):
        if found:
            mean = 100 * np.mean([record.metrics["war"] for record in found])
            axis.plot([mean, mean], [row - 0.28, row + 0.28], color="black", linewidth=2)
        else:
            axis.text(
                0.5, row, missing, ha="center", va="center", color="#444444", transform=axis.get_yaxis_transform()
            )
    axis.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5), xlabel=xlabel, ylabel="")
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    return drawn


@styled
def ratios(groups: Mapping[str, Mapping[str, float]], xlabel: str) -> Figure:
    """How many times as much, one row a name, one mark a group, on a logarithmic axis with a line at 1.

    Args:
        groups: By group, such as "operations" and "time", ratios by name; a name may be missing in a group.
        xlabel: What a ratio says.
    """
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    drawn, axes = figure(height=1.1 + 0.42 * len(names))
    axis = axes[0, 0]
    for place, (label, group) in enumerate(groups.items()):
        rows = [names.index(name) + 0.16 * (place - (len(groups) - 1) / 2) for name in group]
        color, marker = SERIES[place % len(SERIES)], SERIES_MARKERS[place % len(SERIES_MARKERS)]
        axis.hlines(rows, 1, list(group.values()), color=color, linewidth=1.6)
        axis.plot(list(group.values()), rows, marker, color=color, label=label)
    axis.axvline(1, color="black", linewidth=0.9)
    axis.set(xscale="log", yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5), xlabel=xlabel)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.legend(loc="lower right")
    return drawn
