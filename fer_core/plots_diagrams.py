"""Diagrams of methods: boxes and arrows, what is frozen and what is trained told by form and not by colour alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from fer_core.plots import figure, styled

Kind = Literal["data", "frozen", "trained", "loss"]

# Fill, edge, style of the edge: trained parts have a thick edge, frozen ones a dashed one.
_LOOKS: dict[str, tuple[str, str, str, float]] = {
    "data": ("#f4f4f4", "#666666", "solid", 0.8),
    "frozen": ("#dbe9f6", "#30608f", "dashed", 1.2),
    "trained": ("#fde3c8", "#a34d00", "solid", 2.2),
    "loss": ("#ffffff", "#444444", "dotted", 1.4),
}


@dataclass(frozen=True)
class Box:
    """One box of a diagram.

    Args:
        x: Of its middle, in columns.
        y: Of its middle, in rows from the top.
        text: What stands in it.
        kind: What it is.
        width: In columns.
        height: In rows.
    """

    x: float
    y: float
    text: str
    kind: Kind = "data"
    width: float = 0.86
    height: float = 0.62


@styled
def diagram(boxes: Mapping[str, Box], arrows: Sequence[tuple[str, str]], height: float = 3.2) -> Figure:
    """Boxes joined by arrows.

    Args:
        boxes: By name.
        arrows: From and to, by name; an arrow leaves and enters on the sides that face one another.
        height: In inches; the width is the page's.
    """
    drawn, axes = figure(height=height)
    axis = axes[0, 0]
    axis.set_axis_off()
    right = max(box.x + box.width / 2 for box in boxes.values())
    bottom = max(box.y + box.height / 2 for box in boxes.values())
    left = min(box.x - box.width / 2 for box in boxes.values())
    top = min(box.y - box.height / 2 for box in boxes.values())
    axis.set(xlim=(left - 0.05, right + 0.05), ylim=(bottom + 0.42, top - 0.05))
    for box in boxes.values():
        fill, edge, style, thick = _LOOKS[box.kind]
        corner = (box.x - box.width / 2, box.y - box.height / 2)
        axis.add_patch(
            FancyBboxPatch(
                corner,
                box.width,
                box.height,
                boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=fill,
                edgecolor=edge,
                linestyle=style,
                linewidth=thick,
            )
        )
        axis.text(box.x, box.y, box.text, ha="center", va="center", fontsize=8.5, color="black")
    for source, target in arrows:
        start, end = _ends(boxes[source], boxes[target])
        axis.add_patch(
            FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color="#333333", linewidth=1.0)
        )  # fmt: skip
    used = [kind for kind in _LOOKS if any(box.kind == kind for box in boxes.values())]
    for place, kind in enumerate(used):
        fill, edge, style, thick = _LOOKS[kind]
        x = left + 0.05 + place * 0.85
        axis.add_patch(
            FancyBboxPatch(
                (x, bottom + 0.18),
                0.16,
                0.14,
                boxstyle="round,pad=0,rounding_size=0.03",
                facecolor=fill,
                edgecolor=edge,
                linestyle=style,
                linewidth=thick,
            )
        )
        axis.text(x + 0.22, bottom + 0.25, kind, va="center", fontsize=8.5, color="black")
    return drawn


def _ends(source: Box, target: Box) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where an arrow leaves one box and enters another: on facing sides, sideways where they lie apart sideways."""
    across = abs(target.x - source.x) - (source.width + target.width) / 2
    if across > 0:
        sign = 1 if target.x > source.x else -1
        return (source.x + sign * source.width / 2, source.y), (target.x - sign * target.width / 2, target.y)
    sign = 1 if target.y > source.y else -1
    return (source.x, source.y + sign * source.height / 2), (target.x, target.y - sign * target.height / 2)
