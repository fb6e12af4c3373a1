"""The drawing surface: a grid in face coordinates, windows of it, and soft shapes.

The face is drawn flat (upright and frontal) into a texture that is then shaded and turned. Each feature is computed
in a window of the grid alone, which is what makes the renderer fast and each action unit local.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

EXTENT = 1.12  # the canvas spans -EXTENT..EXTENT in both directions

#: Classes of a parsing map.
PARSING: tuple[str, ...] = (
    "background", "skin", "right brow", "left brow", "right eye", "left eye", "nose", "upper lip", "mouth", "lower lip",
    "hair", "ear", "neck", "clothes", "glasses", "occlusion",
)  # fmt: skip


def soft(distance: Tensor, width: float) -> Tensor:
    """A soft step from 0 to 1 around ``distance`` = 0, about ``4 * width`` wide."""
    return torch.sigmoid(distance / width)


def blob(dx: Tensor, dy: Tensor, sx: float | Tensor, sy: float | Tensor) -> Tensor:
    """A Gaussian bump of height 1."""
    return torch.exp(-((dx / sx) ** 2) - (dy / sy) ** 2)


def ridge(distance: Tensor, width: float | Tensor) -> Tensor:
    """A Gaussian ridge of height 1 along ``distance`` = 0."""
    return torch.exp(-((distance / width) ** 2))


def dome(x: Tensor, y: Tensor) -> Tensor:
    """The head's rounding, before any feature: an ellipsoid that is cut off before it turns away."""
    return 0.62 * (1.03 - 0.96 * ((x / 0.80) ** 2 + ((y + 0.02) / 1.12) ** 2)).clamp(min=0.03).sqrt()


def taper(t: Tensor) -> Tensor:
    """1 in the middle of 0..1, falling smoothly to 0 at its ends and beyond: furrows must not end like drawn bars."""
    clamped = t.clamp(0.0, 1.0)
    return (4.0 * clamped * (1.0 - clamped)) ** 0.75


def crease(x: Tensor, y: Tensor, start: tuple, end: tuple, width: float, bow: float | Tensor = 0.0) -> Tensor:
    """A tapered furrow from ``start`` to ``end``, bowed sideways by ``bow`` in its middle."""
    (x0, y0), (x1, y1) = start, end
    dx, dy = x1 - x0, y1 - y0
    square = dx * dx + dy * dy
    t = ((x - x0) * dx + (y - y0) * dy) / square
    along = t.clamp(0.0, 1.0)
    # Signed distance to the chord; the bow is a parabola over it.
    side = ((x - x0) * dy - (y - y0) * dx) / square**0.5 - bow * 4.0 * along * (1.0 - along)
    return ridge(side, width) * taper(t * 0.92 + 0.04)


@dataclass(frozen=True)
class Box:
    """A window in face coordinates: both mirrored halves from the midline to ``outer``, or all from -``outer`` on."""

    top: float
    outer: float
    bottom: float
    paired: bool = True


class Patch:
    """A window of the canvas while something is drawn into it.

    A paired window covers one half of the face and its tensors carry a *side* axis after the batch: side 0 is the
    face's right (viewer's left), drawn mirrored. What is the same on both sides may keep a side axis of one.

    Args:
        canvas: Where the window lies.
        rows: Rows of the canvas.
        columns: Columns of the canvas (of its right half, if paired).
        paired: Whether values carry a side axis.

    Attributes:
        x: ``(1, w)`` coordinates; distance from the midline if paired.
        y: ``(h, 1)`` coordinates.
        pixel: Size of a pixel in face units.
        edge: Width of a soft edge: one pixel from 8 % to 92 %.
        height, fold, glow: ``(B, h, w)``, or ``(B, 2, h, w)`` if paired; see :class:`Canvas`.
        color: ``(B, 3, h, w)`` or ``(B, 3, 2, h, w)``.
        labels: As ``height``, or None.
    """

    def __init__(self, canvas: "Canvas", rows: slice, columns: slice, paired: bool) -> None:
        self.rows, self.columns, self.paired = rows, columns, paired
        self.x, self.y = canvas.x[:, columns], canvas.y[rows]
        self.pixel, self.edge = canvas.pixel, canvas.edge
        self.height, self.fold, self.glow = (self._read(layer) for layer in (canvas.height, canvas.fold, canvas.glow))
        self.color = self._read(canvas.color)
        self.labels = None if canvas.labels is None else self._read(canvas.labels)

    def _mirror(self, size: int) -> slice:
        return slice(size - self.columns.stop, size - self.columns.start)

    def _read(self, layer: Tensor) -> Tensor:
        right = layer[..., self.rows, self.columns]
        if not self.paired:
            return right.clone()
        return torch.stack([layer[..., self.rows, self._mirror(layer.shape[-1])].flip(-1), right], dim=-3)

    def write(self, layer: Tensor, values: Tensor) -> None:
        """Puts the window's values back into a layer of the canvas."""
        if not self.paired:
            layer[..., self.rows, self.columns] = values
            return
        layer[..., self.rows, self._mirror(layer.shape[-1])] = values[..., 0, :, :].flip(-1)
        layer[..., self.rows, self.columns] = values[..., 1, :, :]

    def paint(self, color: Tensor, alpha: Tensor) -> None:
        """Blends a colour, ``(B, 3)`` or one a pixel, over the albedo by its coverage in 0..1."""
        over = color.view(*color.shape, *[1] * (self.color.dim() - 2)) if color.dim() == 2 else color
        self.color = self.color + (over - self.color) * alpha[:, None]

    def mark(self, names: str | tuple[str, str], cover: Tensor) -> None:
        """Sets the parsing label wherever coverage exceeds a half; two names are those of the two sides."""
        if self.labels is None:
            return
        sides = [float(PARSING.index(name)) for name in ((names,) if isinstance(names, str) else names)]
        label = cover.new_tensor(sides).view(-1, 1, 1) if self.paired else cover.new_tensor(sides[0])
        self.labels = torch.where(cover > 0.5, label, self.labels)


class Canvas:
    """Texture layers of a batch of faces in face coordinates.

    Args:
        batch: Number of faces ``B``.
        size: Side ``R`` of the square grid; even, so that the grid is symmetric about the midline.
        device: Where the layers live.
        truth: Whether to keep parsing labels, too.

    Attributes:
        height: ``(B, R, R)`` relief in face units, towards the viewer.
        fold: ``(B, R, R)`` depth of creases in 0..1: they are carved into the relief and gather shadow.
        glow: ``(B, R, R)`` light that is added after shading (catchlights, wet lips).
        color: ``(B, 3, R, R)`` albedo.
        labels: ``(B, R, R)`` index into ``PARSING`` as floats, or None.
    """

    def __init__(self, batch: int, size: int, device: torch.device, truth: bool = False) -> None:
        if size % 2:
            raise ValueError(f"size: expected an even number, got {size}")
        self.size = size
        self.pixel = 2 * EXTENT / size
        self.edge = 0.42 * self.pixel
        axis = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) * self.pixel - EXTENT
        self.x, self.y = axis[None, :], axis[:, None]
        self.height = torch.zeros(batch, size, size, device=device)
        self.fold = torch.zeros(batch, size, size, device=device)
        self.glow = torch.zeros(batch, size, size, device=device)
        self.color = torch.zeros(batch, 3, size, size, device=device)
        skin = float(PARSING.index("skin"))
        self.labels = torch.full((batch, size, size), skin, device=device) if truth else None

    def _span(self, low: float, high: float) -> slice:
        first = int((low + EXTENT) / self.pixel)
        last = int((high + EXTENT) / self.pixel) + 1
        return slice(max(first, 0), min(last, self.size))

    def draw(self, box: Box, how: Callable, *arguments: Any) -> None:
        """Opens a window, lets ``how(patch, *arguments)`` draw into it, and puts the result back."""
        columns = self._span(-box.outer, box.outer)
        if box.paired:
            columns = slice(self.size // 2, columns.stop)
        patch = Patch(self, self._span(box.top, box.bottom), columns, box.paired)
        how(patch, *arguments)
        for name in ("height", "fold", "glow", "color", "labels"):
            layer = getattr(self, name)
            if layer is not None:
                patch.write(layer, getattr(patch, name))
