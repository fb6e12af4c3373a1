"""Figures of faces: contact sheets, overlays of ground truth, courses over time, annotators' votes."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from fer_core.errors import UserError
from fer_core.plots import SERIES, WIDTH, Drawing, figure, look, styled

_WRONG = "#b34700"  # the series' orange is too light for words
#: One colour a parsing class, in the order of ``faces.PARSING``: neighbours on a face differ most.
_PARSING = np.array([
    (0.93, 0.93, 0.93), (0.95, 0.80, 0.65), (0.00, 0.45, 0.70), (0.34, 0.71, 0.91), (0.00, 0.62, 0.45),
    (0.55, 0.80, 0.30), (0.90, 0.62, 0.00), (0.80, 0.20, 0.35), (0.25, 0.02, 0.10), (0.95, 0.45, 0.45),
    (0.35, 0.22, 0.12), (0.94, 0.89, 0.26), (0.80, 0.60, 0.50), (0.50, 0.45, 0.75), (0.10, 0.10, 0.10),
    (1.00, 0.30, 0.90),
])  # fmt: skip


def pixels(image: Tensor) -> np.ndarray:
    """Pictures ``(..., 3, S, S)``, uint8 or float in 0..1, as ``(..., S, S, 3)`` float in 0..1."""
    values = image.detach().cpu()
    values = values.float() / 255 if values.dtype == torch.uint8 else values.float()
    return values.movedim(-3, -1).clamp(0, 1).numpy()


@styled
def sheet(
    image: Tensor,
    columns: int,
    *,
    titles: Sequence[str] = (),
    above: Sequence[str] = (),
    left: Sequence[str] = (),
    width: float = WIDTH,
) -> Figure:
    """A contact sheet.

    Args:
        image: ``(N, 3, S, S)``, row after row.
        columns: Faces a row.
        titles: N captions, one below each face, broken where they are too long; none for a sheet without.
        above: A heading for each column.
        left: A heading for each row.
        width: Inches.

    Raises:
        UserError: If there are not as many captions as faces.
    """
    if titles and len(titles) != len(image):
        raise UserError(f"titles: expected {len(image)}, one a face, got {len(titles)}; leave them out, or pass all")
    shown = pixels(image)
    rows = -(-len(shown) // columns)
    side = width / columns
    # At 8 points some 17 letters fit into an inch.
    titles = ["\n".join(fill(line, int(17 * side)) for line in title.splitlines()) for title in titles]
    lines = max((title.count("\n") + 1 for title in titles), default=0)
    drawn, axes = figure(rows, columns, side + 0.17 * lines, width)
    drawn.get_layout_engine().set(w_pad=0.02, h_pad=0.02, hspace=0, wspace=0)  # pyright: ignore
    for position, axis in enumerate(axes.flat):
        if position >= len(shown):
            axis.set_visible(False)
            continue
        _picture(axis, shown[position])
        if titles:
            axis.set_xlabel(titles[position], fontsize=8, labelpad=1.5)
        row, column = divmod(position, columns)
        if above and row == 0:
            axis.set_title(above[column], fontsize=9, loc="center", pad=3)
        if left and column == 0:
            axis.set_ylabel(left[row], fontsize=9, labelpad=3)
    return drawn


def _picture(axis: Axes, picture: np.ndarray, interpolation: str = "lanczos") -> None:
    axis.imshow(picture, interpolation=interpolation)
    axis.set(xticks=[], yticks=[])
    for side in axis.spines.values():
        side.set_visible(False)


@styled
def overlays(image: Tensor, landmarks: Tensor, parsing: Tensor, names: Sequence[str]) -> Figure:
    """Faces, their landmarks and their parsing maps, in three rows.

    Args:
        image: ``(N, 3, S, S)``.
        landmarks: ``(N, 68, 2)`` x and y in 0..1 of the picture.
        parsing: ``(N, S, S)`` uint8.
        names: Names of the parsing classes.
    """
    shown, points, regions = pixels(image), landmarks.cpu().numpy(), parsing.cpu().numpy()
    size = shown.shape[1]
    drawn, axes = figure(3, len(shown), WIDTH / len(shown) + 0.25)
    for column in range(len(shown)):
        _picture(axes[0, column], shown[column])
        # Paler pictures let the points stand out on any skin.
        _picture(axes[1, column], 0.55 + 0.45 * shown[column])
        x, y = size * points[column].T - 0.5
        axes[1, column].scatter(x, y, s=5, c=SERIES[1], linewidths=0)
        axes[1, column].set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
        _picture(axes[2, column], _PARSING[regions[column]], "nearest")
    for axis, title in zip(axes[:, 0], ("picture", "68 landmarks", "parsing map"), strict=True):
        axis.set_ylabel(title, fontsize=9.5)
    present = np.unique(regions)
    handles = [Patch(facecolor=tuple(_PARSING[each]), edgecolor="#444444", label=names[each]) for each in present]
    drawn.legend(handles=handles, loc="outside lower center", ncols=7, fontsize=8.5)
    return drawn


@styled
def course(frames: Tensor, units: Tensor, codes: Sequence[str], apex: Tensor, least: float = 0.25) -> Figure:
    """A clip's frames above the intensities of its action units over time.

    Args:
        frames: ``(T, 3, S, S)``.
        units: ``(T, A)`` intensities.
        codes: A codes.
        apex: ``(2,)`` begin and end of the apex as shares of the clip.
        least: Units that never reach it are left out.
    """
    shown, values = pixels(frames), units.cpu().numpy()
    count = len(shown)
    drawn = Drawing(figsize=(WIDTH, WIDTH / count + 3.2), layout="constrained")
    grid = drawn.add_gridspec(2, count, height_ratios=[WIDTH / count, 2.7])
    for column in range(count):
        axis = drawn.add_subplot(grid[0, column])
        _picture(axis, shown[column])
        axis.set_xlabel(str(column + 1), fontsize=8.5, labelpad=1.5)
    axis = drawn.add_subplot(grid[1, :])
    time = np.arange(1, count + 1)
    begin, end = (float(share) * count + 0.5 for share in apex)
    axis.axvspan(begin, end, color="#eeeeee", label="apex")
    for place, column in enumerate(np.flatnonzero(values.max(axis=0) >= least).tolist()):
        mark = ("o", "s", "^", "D", "X", "v", "P", "*")[place % 8]
        axis.plot(time, values[:, column], color=SERIES[place % 6], marker=mark, markersize=4.5, label=codes[column])
    axis.set(xlabel="frame", ylabel="intensity", ylim=(-0.03, 1.05), xlim=(0.5, count + 0.5), xticks=time)
    drawn.legend(loc="outside lower center", ncols=8)
    return drawn


@styled
def votes(image: Tensor, counts: Tensor, labels: Tensor, classes: Sequence[str]) -> Figure:
    """Faces with how many annotators voted for what; the intended class is framed.

    Args:
        image: ``(N, 3, S, S)``.
        counts: ``(N, C)`` votes.
        labels: ``(N,)`` intended classes.
        classes: C class names.
    """
    shown, cast = pixels(image), counts.cpu().numpy()
    drawn, axes = figure(2, len(shown), 1.9)
    for column in range(len(shown)):
        _picture(axes[0, column], shown[column])
        axes[0, column].set_title(f"shows {classes[int(labels[column])]}", fontsize=9, loc="center", pad=3)
        bars = axes[1, column].barh(range(len(classes)), cast[column], color=[look(name)[0] for name in classes])
        bars[int(labels[column])].set(edgecolor="black", linewidth=1.8)
        axes[1, column].set(ylim=(len(classes) - 0.5, -0.5), xlim=(0, cast.sum(axis=1).max()), xticks=[0, 5, 10])
        axes[1, column].set(yticks=range(len(classes)), yticklabels=classes if column == 0 else [], xlabel="votes")
    return drawn


@styled
def answers(image: Tensor, truth: Sequence[str], told: Mapping[str, Sequence[str]]) -> Figure:
    """Faces in a row; below them what each shows, and what each of several methods calls it, right or wrong.

    Args:
        image: ``(N, 3, S, S)``.
        truth: N class names.
        told: By method, N class names.

    Raises:
        UserError: If there is not one name a face.
    """
    for method, names in (("truth", truth), *told.items()):
        if len(names) != len(image):
            raise UserError(f"{method}: expected {len(image)} names, one a face, got {len(names)}; pass as many")
    margin, line = 1.3, 0.26  # of the methods' names, and of a line of text, in faces
    height = 1 + (1 + len(told)) * line
    side = WIDTH / (len(image) + margin)
    drawn = Drawing(figsize=(WIDTH, height * side))
    axis = drawn.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    for position, picture in enumerate(pixels(image)):
        axis.imshow(picture, extent=(position + 0.02, position + 0.98, 0.02, 0.98), interpolation="lanczos")
    for row, (method, names) in enumerate((("shows", truth), *told.items())):
        middle = -(row + 0.5) * line
        axis.text(-0.08, middle, method, ha="right", va="center", fontsize=8, weight="bold")
        for position, (name, right) in enumerate(zip(names, truth, strict=True)):
            mark = "" if row == 0 else " ✓" if name == right else " ✗"
            wrong = mark == " ✗"
            axis.text(
                position + 0.5, middle, name + mark, ha="center", va="center", fontsize=8,
                color=_WRONG if wrong else "black", weight="bold" if wrong else "normal",
            )  # fmt: skip
    axis.set(xlim=(-margin, len(image)), ylim=(1 - height, 1), aspect="auto")
    return drawn


@styled
def said(image: Tensor, probabilities: np.ndarray, classes: Sequence[str], titles: Sequence[str]) -> Figure:
    """Pictures with what a method says of each: bars of its probabilities, the likeliest class framed.

    Args:
        image: ``(N, 3, S, S)``.
        probabilities: ``(N, C)``.
        classes: C class names.
        titles: N, one above each picture.

    Raises:
        UserError: If there is nothing to show, or not one title a picture.
    """
    if not len(image) == len(titles) == len(probabilities) > 0:
        raise UserError(
            f"expected pictures with a title and probabilities each, got {len(image)}, {len(titles)} and "
            f"{len(probabilities)}; pass as many"
        )
    columns = min(4, len(image))
    rows = -(-len(image) // columns)
    # A lone picture is not drawn four times as large as one of four.
    drawn, axes = figure(2 * rows, columns, 1.75, width=max(2.6, 2.0 * columns))
    letters = int(13 * drawn.get_figwidth() / columns)
    for position in range(rows * columns):
        row, column = divmod(position, columns)
        above, below = axes[2 * row, column], axes[2 * row + 1, column]
        if position >= len(image):
            above.set_visible(False)
            below.set_visible(False)
            continue
        _picture(above, pixels(image[position]))
        title = titles[position]
        shown = title if len(title) <= letters else f"…{title[1 - letters :]}"
        above.set_title(shown, fontsize=8, loc="center", pad=3, parse_math=False)  # files may have "$" in their names
        colours = [look(name, place)[0] for place, name in enumerate(classes)]
        bars = below.barh(range(len(classes)), probabilities[position], color=colours)
        bars[int(np.argmax(probabilities[position]))].set(edgecolor="black", linewidth=1.8)
        below.set(ylim=(len(classes) - 0.5, -0.5), xlim=(0, 1), xticks=[0, 0.5, 1], yticks=range(len(classes)))
        below.set_yticklabels(classes if column == 0 else [])
        below.tick_params(labelsize=8)
    return drawn
