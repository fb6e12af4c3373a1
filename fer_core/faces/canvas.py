"""The drawing surface: a grid in face coordinates, windows of it, and soft shapes.

The face is drawn flat (upright and frontal) into a texture that is then shaded and turned. Each feature is computed
in a window of the grid alone, which makes the renderer fast and each action unit local.

What makes it faster still: a shape is split into what depends on one coordinate and what needs both. A Gaussian bump
is the product of a row and a column, so it costs a multiplication a pixel, not an exponential; the line of a lid is
computed once a column of pixels. A part therefore has two steps: ``draw_*`` prepares rows and columns, small tensors;
``_*_pixels`` combines them at each pixel and is what ``torch.compile`` gets, so that nothing is computed a pixel that
need not be.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.profiler import record_function

EXTENT = 1.12  # the canvas spans -EXTENT..EXTENT in both directions

#: Classes of a parsing map.
PARSING: tuple[str, ...] = (
    "background", "skin", "right brow", "left brow", "right eye", "left eye", "nose", "upper lip", "mouth", "lower lip",
    "hair", "ear", "neck", "clothes", "glasses", "occlusion",
)  # fmt: skip


def by_side(value: Tensor) -> Tensor:
    """``(B, 2)`` or ``(B,)`` values ready to meet a window's ``(B, 2, h, w)``."""
    return value[..., None, None] if value.dim() == 2 else value[:, None, None, None]


# Far from a shape its value ends here and not at 0: products of several would fall among the denormal numbers, on which
# processors take a hundred times as long. Nothing so small changes a picture.
_LEAST_STEP, _LEAST_BUMP = -16.0, -24.0


def soft(distance: Tensor, width: float | Tensor) -> Tensor:
    """A soft step from 0 to 1 around ``distance`` = 0, about ``4 * width`` wide."""
    return torch.sigmoid((distance * (1 / width)).clamp(min=_LEAST_STEP))


def ridge(distance: Tensor, width: float | Tensor) -> Tensor:
    """A Gaussian ridge of height 1 along ``distance`` = 0."""
    return torch.exp((distance.square() * (-1 / width**2)).clamp(min=_LEAST_BUMP))


def blob(dx: Tensor, dy: Tensor, sx: float, sy: float) -> Tensor:
    """A Gaussian bump of height 1, for coordinates that do not separate; see :func:`mound` for those that do."""
    stretched = torch.add(dx.square(), dy.square(), alpha=sx**2 / sy**2)
    return torch.exp((stretched * (-1 / sx**2)).clamp(min=_LEAST_BUMP))


def power(base: Tensor, exponent: float) -> Tensor:
    """``base ** exponent`` for a base that is not negative: several times faster than ``pow``, finite gradient at 0."""
    return torch.exp(exponent * torch.log(base.clamp(min=1e-12)))


def dome(x: Tensor, y: Tensor) -> Tensor:
    """The head's rounding, before any feature: an ellipsoid that is cut off before it turns away."""
    return 0.62 * (1.03 - 0.96 * ((x / 0.80) ** 2 + ((y + 0.02) / 1.12) ** 2)).clamp(min=0.03).sqrt()


def taper(t: Tensor) -> Tensor:
    """1 in the middle of 0..1, falling smoothly to 0 at its ends and beyond: furrows must not end like drawn bars."""
    clamped = t.clamp(0.0, 1.0)
    # To the power of 3/4; the bound keeps the root's gradient finite.
    root = (4.0 * clamped * (1.0 - clamped)).clamp(min=1e-9).sqrt()
    return root * root.sqrt()


Factors = tuple[Tensor, Tensor]  # a column ``(..., h, 1)`` and a row ``(..., 1, w)`` that multiply


def mound(amount: float | Tensor, dx: Tensor, dy: Tensor, sx: float | Tensor, sy: float | Tensor) -> Factors:
    """A Gaussian bump, as the column and the row whose product it is.

    Args:
        amount: Its height.
        dx: Distance from its middle along a row.
        dy: Distance from its middle along a column.
        sx: Distance along a row at which it has fallen to 1/e.
        sy: The same along a column.
    """
    return amount * ridge(dy, sy), ridge(dx, sx)


def sine(column: Tensor, row: Tensor, amount: float | Tensor = 1.0) -> tuple[Factors, Factors]:
    """``amount * sin(column + row)`` as two products."""
    return (amount * torch.cos(column), torch.sin(row)), (amount * torch.sin(column), torch.cos(row))


@dataclass
class Products:
    """A sum of ``K`` products of columns and rows.

    Args:
        columns: ``(..., h, K)``.
        rows: ``(..., K, w)``.
    """

    columns: Tensor
    rows: Tensor

    @classmethod
    def of(cls, *factors: Factors) -> "Products":
        """Gathers columns and rows, broadcasting them over faces and sides."""
        lead = torch.broadcast_shapes(*(part.shape[:-2] for pair in factors for part in pair))
        columns = [column.expand(*lead, -1, -1) for column, _ in factors]
        return cls(torch.cat(columns, -1), torch.cat([row.expand(*lead, -1, -1) for _, row in factors], -2))

    def sum(self) -> Tensor:
        """``(..., h, w)``. No matrix product: its precision can be lowered, and pictures must not change with that."""
        total = self.columns[..., :1] * self.rows[..., :1, :]
        for k in range(1, self.columns.shape[-1]):
            total = torch.addcmul(total, self.columns[..., k : k + 1], self.rows[..., k : k + 1, :])
        return total


@dataclass
class Furrow:
    """A tapered furrow whose coordinates along and across it are sums of a column and a row.

    Args:
        along: Column and row; 0 at its start, 1 at its end.
        side: Column and row; signed distance to the chord.
        bow: Four times how far its middle lies beside the chord.
        width: Of the ridge.
    """

    along: Factors
    side: Factors
    bow: float | Tensor
    width: float

    def depth(self) -> Tensor:
        """The furrow, 1 at its deepest."""
        t = self.along[0] + self.along[1]
        inside = t.clamp(0.0, 1.0)
        # The bow is a parabola over the chord.
        side = self.side[0] + self.side[1] - self.bow * (inside * (1.0 - inside))
        return ridge(side, self.width) * taper(t * 0.92 + 0.04)


def furrow(x: Tensor, y: Tensor, start: tuple, end: tuple, width: float, bow: float | Tensor = 0.0) -> Furrow:
    """A furrow from ``start`` to ``end``, bowed sideways by ``bow`` in its middle.

    Args:
        x: Row of coordinates.
        y: Column of coordinates.
        start: x and y, each a number or ``(B, 1 or 2, 1, 1)``.
        end: Likewise.
        width: Of the ridge, in face units.
        bow: A number or ``(B, 1 or 2, 1, 1)``, in face units.
    """
    (x0, y0), (x1, y1) = start, end
    dx, dy = x1 - x0, y1 - y0
    square = dx * dx + dy * dy
    length = square**0.5
    along = ((y - y0) * (dy / square), (x - x0) * (dx / square))
    return Furrow(along, ((y - y0) * (-dx / length), (x - x0) * (dy / length)), 4.0 * bow, width)


def crease(x: Tensor, y: Tensor, start: tuple, end: tuple, width: float, bow: float = 0.0) -> Tensor:
    """The depth of a :func:`furrow` that is the same for all faces."""
    return furrow(x, y, start, end, width, bow).depth()


def bundle(*values: Tensor) -> Tensor:
    """Values side by side along a new first axis, broadcast to one shape; ``unbind`` gives them back."""
    return torch.stack(torch.broadcast_tensors(*values))


@dataclass(frozen=True)
class Box:
    """A window in face coordinates, symmetric about the midline."""

    top: float
    outer: float
    bottom: float


@dataclass
class Patch:
    """A window of the canvas while something is drawn into it.

    Its layers carry a *side* axis after the batch: side 0 is the face's right (viewer's left).

    Args:
        x: ``(2, 1, w)`` distance from the midline.
        across: ``(2, 1, w)`` x, negative on side 0.
        y: ``(h, 1)``.
        pixel: Size of a pixel in face units.
        edge: Width of a soft edge: one pixel from 8 % to 92 %.
        run: Turns a pixel function into what is to be called: itself, or its compiled form.
        red: ``(B, 2, h, w)`` albedo.
        green: Likewise.
        blue: Likewise.
        height: ``(B, 2, h, w)``, see :class:`Canvas`.
        fold: Likewise.
        glow: Likewise.
        labels: Likewise, or None.
    """

    x: Tensor
    across: Tensor
    y: Tensor
    pixel: float
    edge: float
    run: Callable[[Callable], Callable]
    red: Tensor
    green: Tensor
    blue: Tensor
    height: Tensor
    fold: Tensor
    glow: Tensor
    labels: Tensor | None = None

    def paint(self, color: Tensor | tuple[float, ...], alpha: Tensor, shade: Tensor | None = None) -> None:
        """Blends a colour over the albedo.

        Args:
            color: ``(B, 3)``, or one for all faces.
            alpha: Coverage in 0..1.
            shade: A factor of the colour at each pixel.
        """
        for channel, plane in enumerate((self.red, self.green, self.blue)):
            over = plane.new_full((), color[channel]) if isinstance(color, tuple) else by_side(color[:, channel])
            plane.lerp_(over if shade is None else over * shade, alpha)

    def mark(self, names: str | tuple[str, str], cover: Tensor) -> None:
        """Sets the parsing label wherever coverage exceeds a half; two names are those of the two sides."""
        if self.labels is None:
            return
        sides = [float(PARSING.index(name)) for name in ((names,) if isinstance(names, str) else names)]
        self.labels.copy_(torch.where(cover > 0.5, cover.new_tensor(sides).view(-1, 1, 1), self.labels))


def blocks(rows: Tensor, length: int | None) -> list[tuple[Tensor, Tensor]]:
    """Cuts rows into blocks.

    Args:
        rows: ``(n,)``.
        length: Of each block; None for a single one as long as it needs to be.

    Returns:
        Each block's rows; and the same, the last one again and again until they fill the block.
    """
    if not len(rows):
        return []
    cut = rows.split(length or len(rows))
    return [(block, torch.cat([block, block[-1:].expand((length or len(block)) - len(block))])) for block in cut]


def put(layer: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """A layer with some faces' rows replaced: a new one where gradients are asked for, else the same memory."""
    return layer.index_copy(0, rows, values) if torch.is_grad_enabled() else layer.index_copy_(0, rows, values)


def _take(argument: Any, rows: Tensor) -> Any:
    return argument[rows] if isinstance(argument, Tensor) else argument.take(rows)


_LAYERS = ("red", "green", "blue", "height", "fold", "glow", "labels")


class Canvas:
    """Texture layers of a batch of faces in face coordinates.

    Args:
        color: ``(B, 3)`` albedo to start from.
        size: Side ``R`` of the square grid; even, so that the grid is symmetric about the midline.
        truth: Whether to keep parsing labels, too.
        run: Turns a pixel function into what is to be called: itself, or its compiled form.
        block: Number of rows that parts which only some faces have are drawn in, padded: compiled code wants few
            shapes. None draws as many as there are.

    Attributes:
        x: ``(R,)`` coordinates, y likewise.
        red: ``(B, R, R)`` albedo; green and blue likewise.
        height: ``(B, R, R)`` relief in face units, towards the viewer.
        fold: ``(B, R, R)`` depth of creases in 0..1: they are carved into the relief and gather shadow.
        glow: ``(B, R, R)`` light that is added after shading (catchlights, wet lips).
        labels: ``(B, R, R)`` index into ``PARSING`` as floats, or None.
    """

    def __init__(
        self,
        color: Tensor,
        size: int,
        truth: bool = False,
        run: Callable[[Callable], Callable] = lambda how: how,
        block: int | None = None,
    ) -> None:
        if size % 2:
            raise ValueError(f"size: expected an even number, got {size}")
        self.size, self.run, self.block = size, run, block
        self.pixel = 2 * EXTENT / size
        self.edge = 0.42 * self.pixel
        self.x = (torch.arange(size, device=color.device, dtype=torch.float32) + 0.5) * self.pixel - EXTENT
        plane = lambda value: value.expand(len(color), size, size).clone()  # noqa: E731
        self.red, self.green, self.blue = (plane(channel[:, None, None]) for channel in color.unbind(1))
        self.height = plane(dome(self.x, self.x[:, None]))
        self.fold, self.glow = (color.new_zeros(len(color), size, size) for _ in range(2))
        skin = float(PARSING.index("skin"))
        self.labels = color.new_full((len(color), size, size), skin) if truth else None

    def _span(self, low: float, high: float) -> slice:
        first = int((low + EXTENT) / self.pixel)
        last = int((high + EXTENT) / self.pixel) + 1
        return slice(max(first, 0), min(last, self.size))

    def draw(self, box: Box, how: Callable, *arguments: Any, rows: Tensor | None = None) -> None:
        """Opens a window and lets ``how(patch, *arguments)`` draw into it.

        Args:
            box: Where.
            how: Changes the patch's layers in place.
            *arguments: Passed on; where ``rows`` are given, tensors by face or what has ``take``.
            rows: Draw these faces alone, where the others lack the part.
        """
        down = self._span(box.top, box.bottom)
        half = self._span(0, box.outer).stop - self.size // 2
        middle = slice(self.size // 2 - half, self.size // 2 + half)
        across = self.x[middle].view(2, 1, half)
        windows = {
            name: getattr(self, name)[:, down, middle].unflatten(-1, (2, half)).movedim(2, 1)
            for name in _LAYERS
            if getattr(self, name) is not None
        }
        patch = partial(Patch, across.abs(), across, self.x[down, None], self.pixel, self.edge, self.run)
        with record_function(f"faces: {how.__name__}"):
            if rows is not None:
                for block, padded in blocks(rows, self.block):
                    layers = {name: window[padded] for name, window in windows.items()}
                    how(patch(**layers), *(_take(argument, padded) for argument in arguments))
                    for name, window in windows.items():
                        window.index_copy_(0, block, layers[name][: len(block)])
            elif torch.is_grad_enabled():  # each change of a view of the canvas would cost a whole canvas of gradients
                layers = {name: window.clone() for name, window in windows.items()}
                how(patch(**layers), *arguments)
                for name, window in windows.items():
                    window.copy_(layers[name])
            else:
                how(patch(**windows), *arguments)
