"""Hair on head and chin, glasses, face masks, a hand before the face."""

from collections.abc import Callable

import torch
from torch import Tensor

from fer_core.faces.canvas import Box, Patch, Products, blob, bundle, by_side, dome, power, ridge, sine, soft
from fer_core.faces.identity import HAIR_STYLES
from fer_core.faces.lower import mouth_lines
from fer_core.faces.muscles import Shape

FRONT_HAIR = Box(top=-1.12, outer=1.0, bottom=0.50)
BEARD = Box(top=0.10, outer=0.78, bottom=1.12)
GLASSES = Box(top=-0.32, outer=0.84, bottom=0.18)
MASK = Box(top=0.0, outer=0.90, bottom=1.12)

# One row a style: hairline's height at the middle, how far it falls towards the temples, slant of a parting, volume
# beyond the skull at the sides and on top, lower end at the sides, width at the lower end, curls, coverage.
_STYLE_TABLE: dict[str, tuple[float, ...]] = {
    "shaved": (-0.68, 0.50, 0.00, 0.015, 0.015, -0.05, 0.00, 0.0, 0.62),
    "short": (-0.70, 0.52, 0.05, 0.020, 0.055, 0.02, 0.00, 0.0, 1.0),
    "parted": (-0.66, 0.50, 0.17, 0.060, 0.085, 0.10, 0.00, 0.0, 1.0),
    "curly": (-0.63, 0.40, 0.00, 0.190, 0.120, 0.24, 0.05, 1.0, 1.0),
    "bob": (-0.60, 0.62, 0.06, 0.130, 0.075, 0.66, 0.07, 0.0, 1.0),
    "long": (-0.66, 0.66, -0.08, 0.120, 0.070, 1.60, 0.12, 0.2, 1.0),
    "fringe": (-0.44, 0.10, 0.03, 0.125, 0.080, 0.86, 0.07, 0.0, 1.0),
    "bald": (-1.60, 0.00, 0.00, 0.000, 0.000, -0.60, 0.00, 0.0, 0.0),
}


def style_table(device: torch.device) -> Tensor:
    """``(styles, 9)`` numbers of the hair styles, rows as ``HAIR_STYLES``."""
    return torch.tensor([_STYLE_TABLE[name] for name in HAIR_STYLES], device=device)


def draw_front_hair(patch: Patch, style: Tensor, color: Tensor, forehead: Tensor, phase: Tensor) -> None:
    """Hair that grows over the forehead and temples.

    Args:
        patch: Where to draw.
        style: ``(B, 9)`` rows of :func:`style_table`.
        color: ``(B, 3)``.
        forehead: ``(B,)`` trait of form; a high forehead lifts the hairline.
        phase: ``(B,)`` phase of the strands.
    """
    x, y, phase = patch.across, patch.y, by_side(phase)
    top, temples, parting, curl, amount = (by_side(style[:, column]) for column in (0, 1, 2, 7, 8))
    ends = 0.014 * torch.sin(38.0 * x + phase) + 0.020 * curl * torch.sin(19.0 * x + 2 * phase)
    fall = temples * ((x / 0.66) ** 4 + 0.25 * (x / 0.66) ** 2)
    line = top - 0.05 * by_side(forehead) + fall + parting * x + ends
    # Strands as in :func:`strands`; in upright coordinates all their waves separate.
    wave = 0.6 * torch.sin(7.0 * y + phase) + curl * 2.0 * torch.sin(21.0 * y + 3.0 * phase)
    lines = Products.of(*sine(wave + phase, 34.0 * x, 0.06), *sine(2.0 * phase - 1.7 * wave, 77.0 * x, 0.036))
    locks = Products.of(*sine(2.0 * torch.sin(9.0 * y) + phase, 23.0 * x, 0.13 * curl))
    kinks = Products.of(*sine(21.0 * y, 2.0 * torch.sin(8.0 * x) + 2.0 * phase))
    shine = 0.90 + 0.28 * ridge(y + 0.80 - 0.25 * x * x, 0.10)
    patch.run(_front_hair_pixels)(patch, bundle(line, amount), lines, locks, kinks, shine, dome(x, y) + 0.035, color)


def _front_hair_pixels(
    patch: Patch, rows: Tensor, lines: Products, locks: Products, kinks: Products, shine: Tensor, raised: Tensor,
    color: Tensor,
) -> None:  # fmt: skip
    line, amount = rows.unbind()
    above = line - patch.y
    cover = amount * soft(above, max(0.016, patch.edge))
    under = amount * ridge(above.clamp(max=0.0), 0.06)
    # What the forehead does below the hair stays below it.
    bare = 1 - cover
    patch.height.mul_(bare).add_(raised * cover)
    patch.fold.mul_(bare).add_(0.30 * under * bare)
    patch.paint(color, cover, (1.0 + lines.sum() + locks.sum() * kinks.sum()) * shine)
    patch.mark("hair", cover)


def strands(x: Tensor, y: Tensor, curl: Tensor, phase: Tensor, waves: tuple[Tensor, ...]) -> Tensor:
    """Light and dark strands around 1, in coordinates that are turned.

    Args:
        x: ``(B, H, W)``.
        y: ``(B, H, W)``.
        curl: ``(B, 1, 1)``.
        phase: ``(B, 1, 1)``.
        waves: Sines of ``7 y + phase``, ``21 y + 3 phase``, ``9 y`` and ``8 x``, which separate however turned.

    Returns:
        ``(B, H, W)``.
    """
    slow, fast, along, across = waves
    wave = 0.6 * slow + curl * 2.0 * fast
    lines = torch.sin(34.0 * x + wave + phase) + 0.6 * torch.sin(77.0 * x - 1.7 * wave + 2.0 * phase)
    locks = torch.sin(23.0 * x + 2.0 * along + phase) * torch.sin(21.0 * y + 2.0 * across + 2.0 * phase)
    return 1.0 + 0.06 * lines + 0.13 * curl * locks


def back_hair(x: Tensor, y: Tensor, ends: Tensor, style: tuple[Tensor, ...], phase: Tensor, edge: float) -> Tensor:
    """Coverage ``(B, H, W)`` of the hair behind and beside the head.

    Args:
        x: ``(B, H, W)`` coordinates of the back of the head.
        y: ``(B, H, W)``.
        ends: ``(B, H, W)`` sine of ``24 x + phase``.
        style: Half width, top, lower end, flare, curl and amount of the hair, each ``(B, 1, 1)``.
        phase: ``(B, 1, 1)``.
        edge: Width of a soft edge.
    """
    width, top, end, flare, curl, amount = style
    # Above the ears the hair follows the skull, below it falls.
    falling = (y * (1 / 0.9)).clamp(min=0.0)
    skull = power(x.abs() / (width * (1.0 + flare * falling)), 2.6) + power((-y).clamp(min=0.0) / top, 2.4)
    angle = torch.atan2(y, x)
    wobble = 0.05 * curl * torch.sin(15.0 * angle + phase) + 0.02 * torch.sin(6.0 * angle + 2 * phase) * (end > 0.3)
    lower = end + 0.03 * ends + 0.22 * curl * (0.5 - x.abs())
    return amount * soft(1.0 + wobble - skull, 2.2 * edge) * soft(lower - y, max(0.03, edge))


def draw_beard(patch: Patch, shape: Shape, beard: Tensor, color: Tensor, phase: Tensor) -> None:
    """Stubble, moustache or full beard.

    Args:
        patch: Where to draw.
        shape: The faces; the beard leaves the lips free, wherever they are.
        beard: ``(B,)`` index into ``BEARDS``.
        color: ``(B, 3)``.
        phase: ``(B,)``.
    """
    x, y = patch.x, patch.y
    lines = mouth_lines(shape, x.expand(len(color), -1, -1, -1))
    kind = lambda index: by_side((beard == index).to(y.dtype))  # noqa: E731
    rows = bundle(
        lines.top,
        lines.bottom,
        soft(lines.inside * 0.1, 0.01),
        by_side(shape.mouth_y) - 0.34 * (1.4 - x),
        by_side(shape.nose_y) + 0.085 + 0.10 * x,
        soft(0.27 - x, 0.025),
    )
    jaw = soft(y - 0.62 + 0.75 * x, 0.05) * soft(y - 0.30, 0.05)
    whiskers = soft(x - 0.585, 0.03) * soft(y - 0.12, 0.06)
    hairs = Products.of(*sine(9.0 * torch.sin(18.0 * y + by_side(phase)), 95.0 * x, 0.05))
    kinds = bundle(0.34 * kind(1) + 0.92 * kind(3), kind(2))
    patch.run(_beard_pixels)(patch, rows, jaw, whiskers, hairs, kinds, color)


def _beard_pixels(
    patch: Patch, rows: Tensor, jaw: Tensor, whiskers: Tensor, hairs: Products, kinds: Tensor, color: Tensor
) -> None:
    top, bottom, within, mouth, nose, middle = rows.unbind()
    y, edge = patch.y, max(patch.edge, 0.012)
    lips = soft(y - top + 0.004, edge) * soft(bottom + 0.004 - y, edge) * within
    cheek = torch.maximum(jaw * soft(y - mouth, 0.05), whiskers)
    lip_top = soft(y - nose, 0.016) * soft(top - y, 0.012) * middle
    full, moustache = kinds.unbind()
    cover = full * torch.maximum(cheek, lip_top) + moustache * lip_top
    cover = cover * (1 - lips) * (0.95 + hairs.sum())
    patch.paint(color, cover.clamp(0.0, 1.0))
    patch.height.add_(0.015 * cover)


def draw_glasses(patch: Patch, eye_x: Tensor, eye_y: Tensor, worn: Tensor) -> None:
    """Spectacles: rims, bridge, temples and a faint reflection.

    Args:
        patch: Where to draw.
        eye_x: ``(B, 2)`` the eyes' places.
        eye_y: ``(B, 2)``.
        worn: ``(B,)`` 1 where there are any.
    """
    x, y = patch.x, patch.y
    dx, dy = x - by_side(eye_x), y - by_side(eye_y) - 0.015
    width = max(0.012, 0.5 * patch.pixel)
    rows = bundle(
        (dx / 0.225).abs() ** 3,
        dx + 0.03,
        0.045 - 0.05 * (x / 0.08) ** 2,
        soft(by_side(eye_x) - 0.215 - x, 0.006),
        by_side(worn),
    )
    columns = bundle(dy, (dy / 0.165).abs() ** 3 + 1e-9)
    arm = Products.of((ridge(dy + 0.05, width), soft(dx - 0.215, 0.006)))
    patch.run(_glasses_pixels)(patch, rows, columns, arm, width)


def _glasses_pixels(patch: Patch, rows: Tensor, columns: Tensor, arm: Products, width: float) -> None:
    round_x, gleam, bow, between, worn = rows.unbind()
    dy, round_y = columns.unbind()
    ring = power(round_x + round_y, 1 / 3)
    rim = ridge((ring - 1) * 0.19, 1.25 * width)
    cover = worn * (rim + ridge(dy + bow, width) * between + arm.sum()).clamp(max=1.0)
    patch.paint((0.09, 0.09, 0.09), 0.93 * cover)
    patch.glow.add_(0.10 * worn * soft(0.9 - ring, 0.04) * ridge(gleam + 0.55 * dy, 0.030))
    patch.mark("glasses", cover)


def draw_mask(patch: Patch, color: Tensor) -> None:
    """A surgical mask of a ``(B, 3)`` colour over nose, mouth and chin; it hides the relief below it."""
    x, y = patch.x, patch.y
    top = 0.06 + 0.17 * (x / 0.6) ** 2
    cover = soft(y - top, 0.014) * soft(1.30 - 0.35 * x - y, 0.02)
    strap = ridge(y - 0.22 + 0.35 * (x - 0.62), 0.016) * soft(x - 0.60, 0.02)
    cover = torch.maximum(cover, 0.9 * strap)
    pleats = sum(ridge(y - at - 0.05 * (x / 0.6) ** 2, 0.017) for at in (0.36, 0.52, 0.68)) * soft(0.52 - x, 0.05)
    # The mask sits alike on every face, so nothing here grows with their number.
    bare = 1 - cover
    patch.height.mul_(bare).add_(0.16 * cover * blob(x, y - 0.45, 0.42, 0.40))
    patch.fold.mul_(bare).add_(0.38 * pleats * cover + 0.3 * cover * ridge(y - top - 0.02, 0.02))
    patch.glow.mul_(bare)
    patch.paint(color, cover)
    patch.mark("occlusion", cover)


def draw_hand(
    image: Tensor, x: Tensor, y: Tensor, hand: Tensor, skin: Tensor, run: Callable[[Callable], Callable]
) -> tuple[Tensor, Tensor]:
    """A hand held before the face: a palm and four fingers.

    Args:
        image: ``(B, 3, H, W)`` what it is held before.
        x: ``(W,)`` picture coordinates in face units.
        y: ``(H, 1)``.
        hand: ``(B, 3)`` x and y of the knuckles, and tilt.
        skin: ``(B, 3)`` colour in the light.
        run: Turns a pixel function into what is to be called, see :class:`~fer_core.faces.canvas.Canvas`.

    Returns:
        The picture ``(B, 3, H, W)`` with the hand, and the hand's coverage ``(B, H, W)``.
    """
    left, top, tilt = (hand[:, column, None, None] for column in range(3))
    cos, sin = torch.cos(tilt), torch.sin(tilt)
    across = (cos * (x - left), sin * (y - top))
    along = (-sin * (x - left), cos * (y - top))
    return run(_hand_pixels)(image, across, along, skin)


def _hand_pixels(
    image: Tensor, across: tuple[Tensor, Tensor], along: tuple[Tensor, Tensor], skin: Tensor
) -> tuple[Tensor, Tensor]:
    u, v = across[0] + across[1], along[0] + along[1]
    depth = torch.full_like(u, -1.0)
    for offset, length, radius in (
        (-0.21, 0.30, 0.066),
        (-0.07, 0.40, 0.070),
        (0.07, 0.36, 0.070),
        (0.20, 0.25, 0.062),
    ):
        t = (v * (-1 / length)).clamp(0.0, 1.0)
        distance = ((u - offset - 0.25 * offset * t) ** 2 + (v + length * t) ** 2 + 1e-8).sqrt()
        depth = torch.maximum(depth, 1 - distance / radius)
    palm = 1 - power((u / 0.30).abs() ** 3 + ((v - 0.30) / 0.36).abs() ** 3 + 1e-8, 1 / 3)
    wrist = 1 - torch.maximum(u.abs() / 0.20, (0.45 - v) / 0.1)
    cover = torch.maximum(soft(depth, 0.10), torch.maximum(soft(palm, 0.03), soft(wrist, 0.05)))
    rounded = torch.maximum(depth.clamp(0, 1), 0.75 * (palm * 3).clamp(0, 1)).sqrt()
    shade = 0.55 + 0.42 * rounded
    planes = [torch.lerp(image[:, c], skin[:, c, None, None] * shade, cover) for c in range(3)]
    return torch.stack(planes, 1), cover
