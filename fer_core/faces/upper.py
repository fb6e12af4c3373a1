"""The upper face: forehead, brows and eyes."""

import torch
from torch import Tensor

from fer_core.faces.canvas import (
    Box,
    Furrow,
    Patch,
    Products,
    bundle,
    by_side,
    crease,
    furrow,
    mound,
    power,
    ridge,
    soft,
    taper,
)
from fer_core.faces.muscles import Shape

FOREHEAD = Box(top=-0.86, outer=0.64, bottom=-0.14)
BROWS = Box(top=-0.66, outer=0.62, bottom=-0.12)
EYES = Box(top=-0.34, outer=0.62, bottom=0.14)


def brow_line(shape: Shape, t: Tensor) -> Tensor:
    """Height of the brow's middle line at ``t``, 0 at its inner and 1 at its outer end; ``t`` is ``(B, ...)``."""
    inner, arch, outer = (value.view(-1, *[1] * (t.dim() - 1)) for value in shape.brow_y.unbind(1))
    # The parabola through the three heights, the arch standing at 0.6.
    return inner * (t - 0.6) * (t - 1) / 0.6 + arch * t * (1 - t) / 0.24 + outer * t * (t - 0.6) / 0.4


def lid_lines(shape: Shape, t: Tensor) -> tuple[Tensor, Tensor]:
    """Heights of the upper and lower lid's edge at ``t`` from the inner (-1) to the outer corner (1).

    Args:
        shape: The faces.
        t: ``(B, 2, ...)``.

    Returns:
        Two tensors shaped as ``t``.
    """
    grow = lambda value: value.view(*value.shape, *[1] * (t.dim() - 2))  # noqa: E731
    arch = (1 - t * t).clamp(min=1e-4)
    corners = grow(shape.eye_y) - grow(shape.eye_tilt) * t
    upper = corners - grow(shape.upper_lid) * power(arch, 0.8) * (1 - 0.10 * t)
    lower = corners + grow(shape.lower_lid) * arch * (1 + 0.14 * t)
    return upper, lower


def draw_forehead(patch: Patch, shape: Shape, age: Tensor) -> None:
    """Brow ridge, forehead furrows (AU1, AU2), the frown between the brows (AU4)."""
    x, y = patch.x, patch.y
    inner_raise, outer_raise, frown, wrinkle = (by_side(shape.unit(code)) for code in ("AU1", "AU2", "AU4", "AU9"))
    relief = Products.of(
        mound(0.045, x - 0.26, y + 0.30, 0.28, 0.08),
        # Drawn-together brows pile up between them and shade the nose's root.
        mound(0.035 * frown, x - 0.10, y + 0.29, 0.09, 0.09),
        mound(0.016 * (inner_raise + outer_raise), x - 0.20, y + 0.46, 0.30, 0.08),
    )
    reach = Products.of(
        mound(0.9 * inner_raise, x, y + 0.56, 0.26, 0.14),
        mound(0.9 * outer_raise, x - 0.36, y + 0.56, 0.24, 0.14),
        mound(0.30 * by_side(age), x, y + 0.58, 0.50, 0.14),
    )
    # Three furrows, bowed with the brows; where only the inner brows rise they arch towards the middle.
    bow = 0.05 * (x / 0.5) ** 2 * (1 - outer_raise)
    bow = bow - 0.03 * (inner_raise - outer_raise).clamp(min=0) * ridge(x, 0.2)
    glabella = crease(x, y, (0.050, -0.45), (0.062, -0.22), 0.022, bow=0.012)
    glabella = glabella + 0.5 * crease(x, y, (0.0, -0.24), (0.10, -0.20), 0.02)
    root = 0.7 * crease(x, y, (0.040, -0.38), (0.050, -0.22), 0.020)
    patch.run(_forehead_pixels)(patch, relief, reach, bow, frown, glabella, wrinkle, root)


def _forehead_pixels(
    patch: Patch, relief: Products, reach: Products, bow: Tensor, frown: Tensor, glabella: Tensor, wrinkle: Tensor,
    root: Tensor,
) -> None:  # fmt: skip
    patch.height.add_(relief.sum())
    line = patch.y - bow
    width = max(0.018, 0.55 * patch.pixel)
    furrows = ridge(line + 0.49, width) + ridge(line + 0.575, width) + 0.8 * ridge(line + 0.66, width)
    patch.fold.add_(reach.sum() * furrows + frown * glabella + wrinkle * root)


def draw_brows(patch: Patch, shape: Shape, hair: Tensor) -> None:
    """The eyebrows' hair, ``hair`` being its ``(B, 3)`` colour."""
    x = patch.x
    start, end = by_side(shape.brow_x[:, 0]), by_side(shape.brow_x[:, 1])
    t = (x - start) / (end - start)
    inside = t.clamp(0.0, 1.0)
    line = brow_line(shape, inside)
    thickness = by_side(shape.brow_thickness) * (1.12 - 0.72 * power(inside, 1.4))
    ends = soft(t, 0.045) * soft(1 - t, 0.035)
    # Single hairs fan out from the inner end; only large pictures show them.
    fan = 117.0 * (0.3 + inside)
    patch.run(_brow_pixels)(patch, bundle(line, thickness, ends, fan), hair)


def _brow_pixels(patch: Patch, rows: Tensor, hair: Tensor) -> None:
    line, thickness, ends, fan = rows.unbind()
    offset = patch.y - line
    cover = soft(thickness - offset.abs(), max(patch.edge, 0.006)) * ends
    strands = 0.95 + 0.05 * torch.sin(130.0 * patch.x + fan * offset)
    patch.paint(hair, 0.92 * cover * strands)
    patch.mark(("right brow", "left brow"), cover)
    patch.height.add_(0.010 * cover)


def draw_eyes(patch: Patch, shape: Shape, iris_color: Tensor, lash: Tensor, age: Tensor) -> None:
    """Eyeballs, irises, lids and lashes.

    Args:
        patch: Where to draw.
        shape: The faces.
        iris_color: ``(B, 3)``.
        lash: ``(B, 3)`` colour of lashes and lid creases.
        age: ``(B,)``.
    """
    x, y, edge, pixel = patch.x, patch.y, patch.edge, patch.pixel
    unit = lambda code: by_side(shape.unit(code))  # noqa: E731
    eye_x, eye_y = by_side(shape.eye_x), by_side(shape.eye_y)
    t = (x - eye_x) / by_side(shape.eye_width)
    inside = t.clamp(-1.0, 1.0)
    upper, lower = lid_lines(shape, inside)
    within = soft((1 - t * t) * 0.06, edge)

    # The socket, the ball under the lids, the lower lid's pouch.
    tighten, raise_cheek = unit("AU7"), unit("AU6")
    relief = Products.of(
        mound(-0.075, x - eye_x + 0.01, y - eye_y + 0.01, 0.21, 0.105),
        mound(0.050, x - eye_x, y - eye_y, 0.135, 0.085),
    )
    pouch = (0.014 + 0.022 * tighten + 0.012 * raise_cheek) * soft(1.1 - t.abs(), 0.08)
    bag = (0.45 * raise_cheek + 0.45 * tighten + 0.28 * by_side(age)) * taper(0.5 + 0.42 * t)
    # Squeezing shows beside the outer corner.
    squeeze = 0.55 * unit("AU44") + 0.25 * tighten
    corners = (
        furrow(x - eye_x, y - eye_y, (0.165, -0.02), (0.27, -0.07), 0.016),
        furrow(x - eye_x, y - eye_y, (0.168, 0.03), (0.27, 0.06), 0.016),
    )
    # The ball darkens towards its corners.
    rim = 0.16 * inside**4
    ball_x = x - eye_x - by_side(shape.gaze_x)
    ball_y = y - eye_y - by_side(shape.gaze_y) + 0.006
    glint = max(0.016, 0.45 * pixel)
    light = Products.of(mound(0.85, ball_x + 0.020, ball_y + 0.024, glint, glint))

    # Lash lines, the lid line of a closed eye, the crease above.
    thick = max(0.012, 0.42 * pixel)
    lashes = 0.90 * soft((1.06 - t * t) * 0.06, edge)
    # Lashes thicken outwards; distances are measured in their thickness.
    finer = 1 / (thick * (1.0 + 0.35 * (inside + 1) / 2))
    lower_lashes = (0.30 + 0.45 * by_side(shape.lid_line)) * within
    droop = unit("AU41") + unit("AU42")
    fold = upper - 0.044 + 0.020 * unit("AU5") - 0.016 * droop
    rows = bundle(upper, lower, within, pouch, bag, squeeze, rim, ball_x, lashes, finer, lower_lashes, fold)
    iris = by_side(shape.iris)
    patch.run(_eye_pixels)(patch, rows, ball_y, iris, relief, light, corners, iris_color, lash, thick)


def _eye_pixels(
    patch: Patch, rows: Tensor, ball_y: Tensor, iris: Tensor, relief: Products, light: Products,
    corners: tuple[Furrow, ...], iris_color: Tensor, lash: Tensor, thick: float,
) -> None:  # fmt: skip
    upper, lower, within, pouch, bag, squeeze, rim, ball_x, lashes, finer, lower_lashes, fold = rows.unbind()
    y, edge = patch.y, patch.edge
    above, below = y - upper, y - lower
    opening = soft(above, edge) * soft(-below, edge) * within
    patch.height.add_(relief.sum() + pouch * ridge(below - 0.026, 0.024))
    bags = bag * ridge(below - 0.060, max(0.017, 0.5 * patch.pixel))
    patch.fold.add_(bags + squeeze * (corners[0].depth() + corners[1].depth()))

    patch.paint((0.945, 0.930, 0.915), opening)
    radius = (ball_x * ball_x + ball_y * ball_y + 1e-8).sqrt()
    ball = opening * soft(iris - radius, edge)
    patch.paint(iris_color, ball)
    patch.paint(0.35 * iris_color, 0.75 * ball * soft(radius - 0.86 * iris, edge))
    patch.paint(0.1 * iris_color, opening * soft(0.47 * iris - radius, edge))
    # The upper lid shades the ball.
    patch.paint((0.0, 0.0, 0.0), opening * (0.34 * ridge(above, 0.030) + rim))
    patch.glow.add_(opening * light.sum())

    patch.paint(lash, lashes * ridge((above + 0.3 * thick) * finer, 1.0))
    patch.paint(lash, lower_lashes * ridge(below, 0.8 * thick))
    patch.paint(lash, 0.38 * ridge(y - fold, 0.9 * thick) * within * (1 - opening))
    patch.mark(("right eye", "left eye"), opening)
