"""Figures of what goes on inside a method: where it looks, which parts it uses, how soon it learns."""

from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from fer_core.plots import SERIES, SERIES_MARKERS, figure, say, styled
from fer_core.plots_faces import pixels
from fer_core.records import Record


@styled
def attention(image: Tensor, weights: Mapping[str, Tensor], names: Sequence[str]) -> Figure:
    """Faces above, and below them where each of several readers looks: pale is little, dark much.

    Args:
        image: ``(N, 3, S, S)``.
        weights: By reader, ``(N, H, W)`` weights of the patches; each face's own are scaled to its largest.
        names: Of the N faces.
    """
    shown = pixels(image)
    count, size = len(shown), shown.shape[1]
    drawn, axes = figure(1 + len(weights), count, 8.0 / count + 0.12)
    for column in range(count):
        axes[0, column].imshow(shown[column], interpolation="lanczos")
        axes[0, column].set_title(names[column], fontsize=8.5, loc="center", pad=3)
        for row, values in enumerate(weights.values(), start=1):
            grid = values[column].detach().float()
            large = F.interpolate((grid / grid.max())[None, None], size=(size, size), mode="bicubic")[0, 0]
            axes[row, column].imshow(0.35 + 0.65 * shown[column].mean(-1), cmap="gray", vmin=0, vmax=1)
            axes[row, column].imshow(large.clamp(0, 1).numpy(), cmap="Oranges", alpha=0.65, vmin=0, vmax=1)
    for axis, title in zip(axes[:, 0], ("picture", *weights), strict=True):
        axis.set_ylabel(title, fontsize=9)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return drawn


@styled
def heat(
    panels: Mapping[str, np.ndarray], rows: Sequence[str], columns: Sequence[Sequence[str]], label: str,
    middle: float | None = None, digits: int = 2,
) -> Figure:  # fmt: skip
    """Tables of numbers as colours, with the numbers in them where there are few.

    Args:
        panels: By title, ``(R, K)``; a cell that is NaN stays empty but for a dash.
        rows: Names of the R rows, the same in all panels.
        columns: For each panel, the names of its K columns.
        label: What a colour says.
        middle: The value that is white, with two colours around it; None for one colour from the least value on.
        digits: After the point, in the cells.
    """
    known = np.concatenate([each[~np.isnan(each)] for each in panels.values()])
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    if middle is not None:
        reach = max(high - middle, middle - low)
        low, high = middle - reach, middle + reach
    height = 0.9 + 0.27 * len(rows)
    drawn, axes = figure(1, len(panels), height)
    for place, (axis, (title, values)) in enumerate(zip(axes.flat, panels.items(), strict=True)):
        few = values.shape[1] * len(panels) <= 16
        sns.heatmap(
            values, ax=axis, vmin=low, vmax=high, cmap="Blues" if middle is None else "PuOr_r", annot=few,
            fmt=f".{digits}f", annot_kws={"size": 8}, linewidths=0.5, xticklabels=list(columns[place]),
            yticklabels=list(rows) if place == 0 else False, cbar=place == len(panels) - 1,
            cbar_kws={"label": label},
        )  # fmt: skip
        for row, column in np.argwhere(np.isnan(values)):
            axis.text(column + 0.5, row + 0.5, "–", ha="center", va="center", color="#444444", size=8)
        axis.set_title(title)
        axis.tick_params(axis="x", rotation=45 if max(map(len, columns[place]), default=0) > 3 else 0, length=0)
        axis.tick_params(axis="y", rotation=0, length=0)
    return drawn


@styled
def convergence(methods: Mapping[str, Sequence[Record]], missing: str = "not run") -> Figure:
    """Validation accuracy by epoch and by seconds of training, one line a method: the median of its seeds.

    Where seeds ended at different epochs, each epoch's median is over those that came so far.

    Args:
        methods: By name, records of one experiment; records without training, and methods without others, are left out.
        missing: What the figure says if there are none.
    """
    trained = {name: [record for record in found if len(record.history) > 1] for name, found in methods.items()}
    shown = {name: found for name, found in trained.items() if found}
    drawn, axes = figure(1, 2, 3.0 if shown else 0.9)
    for axis, along in zip(axes[0], ("epochs", "seconds of training"), strict=True):
        if not shown:
            say(axis, missing)
            continue
        for place, (name, found) in enumerate(shown.items()):
            points = _middle([_course(record) for record in found])
            across, war = points[:, 0 if along == "epochs" else 1], 100 * points[:, 2]
            color, marker = SERIES[place % len(SERIES)], SERIES_MARKERS[place % len(SERIES_MARKERS)]
            every = max(1, len(war) // 6)
            axis.plot(across, war, color=color, marker=marker, markevery=every, markersize=4.5, label=name)
        axis.set(xscale="log", xlabel=along)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.grid(color="#dddddd", linewidth=0.6)
    if shown:
        axes[0, 0].set_ylabel("validation WAR in %")
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return drawn


def _course(record: Record) -> np.ndarray:
    """``(E, 3)`` of the epochs that were evaluated: epoch, seconds of training so far, validation WAR."""
    seconds = np.cumsum([row["seconds"] for row in record.history])
    rows = zip(record.history, seconds, strict=True)
    told = [(row["epoch"], at, row["validation"]["war"]) for row, at in rows if row["validation"] is not None]
    return np.array(told, dtype=np.float64).reshape(-1, 3)


def _middle(courses: Sequence[np.ndarray]) -> np.ndarray:
    """Medians of each epoch, ``(E, 3)``: a run may have shared its machine, or ended before others."""
    rows = np.concatenate(courses)
    epochs = [rows[rows[:, 0] == epoch] for epoch in np.unique(rows[:, 0])]
    return np.array([np.median(own, axis=0) for own in epochs]).reshape(-1, 3)


def reached(records: Sequence[Record], war: float) -> tuple[float, float] | None:
    """Epochs and seconds of training until a validation WAR is reached, medians over seeds; None if a seed never does.

    Args:
        records: Of one experiment, some seeds.
        war: As a fraction.
    """
    found = []
    for record in records:
        course = _course(record)
        there = course[course[:, 2] >= war]
        if not len(there):
            return None
        found.append(there[0, :2])
    if not found:
        return None
    epochs, seconds = np.median(found, axis=0)
    return float(epochs), float(seconds)
