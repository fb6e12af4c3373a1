"""The upper face: forehead, brows and eyes, drawn into mirrored windows of the canvas."""

import torch
from torch import Tensor

from fer_core.faces.canvas import Box, Patch, blob, crease, ridge, soft, taper
from fer_core.faces.muscles import Shape

FOREHEAD = Box(top=-0.86, outer=0.64, bottom=-0.14)
BROWS = Box(top=-0.66, outer=0.62, bottom=-0.12)
EYES = Box(top=-0.34, outer=0.62, bottom=0.14)


def _side(value: Tensor) -> Tensor:
    """``(B, 2)`` or ``(B,)`` values ready to meet a paired window's ``(h, w)``."""
    return value[..., None, None] if value.dim() == 2 else value[:, None, None, None]


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
    upper = corners - grow(shape.upper_lid) * arch**0.8 * (1 - 0.10 * t)
    lower = corners + grow(shape.lower_lid) * arch * (1 + 0.14 * t)
    return upper, lower


def draw_forehead(patch: Patch, shape: Shape, age: Tensor) -> None:
    """Brow ridge, forehead furrows (AU1, AU2), the frown between the brows (AU4)."""
    x, y = patch.x, patch.y
    inner_raise, outer_raise, frown = (_side(shape.unit(code)) for code in ("AU1", "AU2", "AU4"))
    wrinkle = _side(shape.unit("AU9"))
    height = 0.045 * blob(x - 0.26, y + 0.30, 0.28, 0.08)
    # Drawn-together brows pile up between them and shade the nose's root.
    height = height + 0.035 * frown * blob(x - 0.10, y + 0.29, 0.09, 0.09)
    height = height + 0.016 * (inner_raise + outer_raise) * blob(x - 0.20, y + 0.46, 0.30, 0.08)
    patch.height = patch.height + (height)

    reach = inner_raise * blob(x, y + 0.56, 0.26, 0.14) + outer_raise * blob(x - 0.36, y + 0.56, 0.24, 0.14)
    reach = 0.9 * reach + 0.30 * _side(age) * blob(x, y + 0.58, 0.50, 0.14)
    # Three furrows, bowed with the brows; where only the inner brows rise they arch towards the middle.
    bow = 0.05 * (x / 0.5) ** 2 * (1 - outer_raise) - 0.03 * (inner_raise - outer_raise).clamp(min=0) * blob(
        x, y * 0, 0.2, 1.0
    )
    line = y - bow
    width = max(0.018, 0.55 * patch.pixel)
    furrows = ridge(line + 0.49, width) + ridge(line + 0.575, width) + 0.8 * ridge(line + 0.66, width)
    glabella = frown * (
        crease(x, y, (0.050, -0.45), (0.062, -0.22), 0.022, bow=0.012)
        + 0.5 * crease(x, y, (0.0, -0.24), (0.10, -0.20), 0.02)
    )
    wrinkles = wrinkle * (0.7 * crease(x, y, (0.040, -0.38), (0.050, -0.22), 0.020))
    patch.fold = patch.fold + (reach * furrows + glabella + wrinkles)


def draw_brows(patch: Patch, shape: Shape, hair: Tensor) -> None:
    """The eyebrows' hair, ``hair`` being its ``(B, 3)`` colour."""
    x, y = patch.x, patch.y
    start, end = _side(shape.brow_x[:, 0]), _side(shape.brow_x[:, 1])
    t = (x - start) / (end - start)
    inside = t.clamp(0.0, 1.0)
    offset = y - brow_line(shape, inside.expand(-1, -1, y.shape[0], -1))
    thickness = _side(shape.brow_thickness) * (1.12 - 0.72 * inside**1.4)
    edge = max(patch.edge, 0.006)
    cover = soft(thickness - offset.abs(), edge) * soft(t, 0.045) * soft(1 - t, 0.035)
    # Single hairs fan out from the inner end; only large pictures show them.
    strands = 0.95 + 0.05 * torch.sin(130.0 * (x + 0.9 * offset * (0.3 + inside)))
    patch.paint(hair, 0.92 * cover * strands)
    patch.mark(("right brow", "left brow"), cover)
    patch.height = patch.height + (0.010 * cover)


def draw_eyes(patch: Patch, shape: Shape, iris_color: Tensor, lash: Tensor, age: Tensor) -> None:
    """Eyeballs, irises, lids and lashes.

    Args:
        patch: Where to draw.
        shape: The faces.
        iris_color: ``(B, 3)``.
        lash: ``(B, 3)`` colour of lashes and lid creases.
        age: ``(B,)``.
    """
    x, y = patch.x, patch.y
    eye_x, eye_y, width = _side(shape.eye_x), _side(shape.eye_y), _side(shape.eye_width)
    t = (x - eye_x) / width
    inside = t.clamp(-1.0, 1.0).expand(-1, -1, y.shape[0], -1)
    upper, lower = lid_lines(shape, inside)
    edge = patch.edge
    within = soft((1 - t * t) * 0.06, edge)
    opening = soft(y - upper, edge) * soft(lower - y, edge) * within

    # --- relief: the socket, the ball under the lids, the lower lid's pouch
    tighten, raise_cheek = _side(shape.unit("AU7")), _side(shape.unit("AU6"))
    squint = _side(shape.unit("AU44"))
    height = -0.075 * blob(x - eye_x + 0.01, y - eye_y + 0.01, 0.21, 0.105)
    height = height + 0.050 * blob(x - eye_x, y - eye_y, 0.135, 0.085)
    pouch = y - lower
    height = height + (0.014 + 0.022 * tighten + 0.012 * raise_cheek) * ridge(pouch - 0.026, 0.024) * soft(
        1.1 - t.abs(), 0.08
    )
    patch.height = patch.height + (height)
    bag = (0.45 * raise_cheek + 0.45 * tighten + 0.28 * _side(age)) * ridge(
        pouch - 0.060, max(0.017, 0.5 * patch.pixel)
    )
    # Squeezing shows beside the outer corner.
    corner = (0.55 * squint + 0.25 * tighten) * (
        crease(x - eye_x, y - eye_y, (0.165, -0.02), (0.27, -0.07), 0.016)
        + crease(x - eye_x, y - eye_y, (0.168, 0.03), (0.27, 0.06), 0.016)
    )
    patch.fold = patch.fold + (bag * taper(0.5 + 0.42 * t) + corner)

    # --- eyeball
    white = x.new_tensor([0.945, 0.930, 0.915]).expand(len(age), 3)
    patch.paint(white, opening)
    dx, dy = x - eye_x - _side(shape.gaze_x), y - eye_y - _side(shape.gaze_y) + 0.006
    radius = (dx * dx + dy * dy + 1e-8).sqrt()
    iris = _side(shape.iris)
    ball = opening * soft(iris - radius, edge)
    patch.paint(iris_color, ball)
    patch.paint(0.35 * iris_color, 0.75 * ball * soft(radius - 0.86 * iris, edge))
    patch.paint(0.1 * iris_color, opening * soft(0.47 * iris - radius, edge))
    dark = torch.zeros_like(iris_color)
    # The upper lid shades the ball; the ball darkens towards its corners.
    patch.paint(dark, opening * (0.34 * ridge(y - upper, 0.030) + 0.16 * t.clamp(-1, 1) ** 4))
    light = opening * blob(dx + 0.020, dy + 0.024, max(0.016, 0.45 * patch.pixel), max(0.016, 0.45 * patch.pixel))
    patch.glow = patch.glow + (0.85 * light)

    # --- lids: lash lines, the crease above, the lid line of a closed eye
    shut = _side(shape.lid_line)
    thick = max(0.012, 0.42 * patch.pixel)
    lashes = ridge(y - upper + 0.3 * thick, thick * (1.0 + 0.35 * (t.clamp(-1, 1) + 1) / 2)) * soft(
        (1.06 - t * t) * 0.06, edge
    )
    patch.paint(lash, 0.90 * lashes)
    patch.paint(lash, (0.30 + 0.45 * shut) * ridge(y - lower, 0.8 * thick) * within)
    droop = _side(shape.unit("AU41")) + _side(shape.unit("AU42"))
    fold = y - upper + 0.044 - 0.020 * _side(shape.unit("AU5")) + 0.016 * droop
    patch.paint(lash, 0.38 * ridge(fold, 0.9 * thick) * soft((1.0 - t * t) * 0.06, edge) * (1 - opening))
    patch.mark(("right eye", "left eye"), opening)
