"""Hair on head and chin, glasses and face masks."""

import torch
from torch import Tensor

from fer_core.faces.canvas import Box, Patch, blob, dome, ridge, soft
from fer_core.faces.identity import HAIR_STYLES
from fer_core.faces.lower import mouth_lines
from fer_core.faces.muscles import Shape
from fer_core.faces.upper import _side

FRONT_HAIR = Box(top=-1.12, outer=1.0, bottom=0.50, paired=False)
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


def _grow(value: Tensor) -> Tensor:
    return value[:, None, None]


def strands(x: Tensor, y: Tensor, curl: Tensor, phase: Tensor) -> Tensor:
    """Light and dark strands, ``(B, h, w)`` around 1."""
    wave = 0.6 * torch.sin(7.0 * y + phase) + curl * 2.0 * torch.sin(21.0 * y + 3.0 * phase)
    lines = torch.sin(34.0 * x + wave + phase) + 0.6 * torch.sin(77.0 * x - 1.7 * wave + 2.0 * phase)
    return (
        1.0
        + 0.06 * lines
        + 0.13
        * curl
        * torch.sin(23.0 * x + 2.0 * torch.sin(9.0 * y) + phase)
        * torch.sin(21.0 * y + 2.0 * torch.sin(8.0 * x) + 2.0 * phase)
    )


def draw_front_hair(patch: Patch, style: Tensor, color: Tensor, forehead: Tensor, phase: Tensor) -> None:
    """Hair that grows over the forehead and temples.

    Args:
        patch: Where to draw.
        style: ``(B, 9)`` rows of :func:`style_table`.
        color: ``(B, 3)``.
        forehead: ``(B,)`` trait of form; a high forehead lifts the hairline.
        phase: ``(B,)`` phase of the strands.
    """
    x, y = patch.x, patch.y
    top, temples, parting = _grow(style[:, 0]), _grow(style[:, 1]), _grow(style[:, 2])
    curl, amount = _grow(style[:, 7]), _grow(style[:, 8])
    ends = 0.014 * torch.sin(38.0 * x + _grow(phase)) + 0.020 * curl * torch.sin(19.0 * x + 2 * _grow(phase))
    line = (
        top - 0.05 * _grow(forehead) + temples * (x / 0.66) ** 4 + temples * 0.25 * (x / 0.66) ** 2 + parting * x + ends
    )
    cover = amount * soft(line - y, max(0.016, patch.edge))
    under = torch.exp(-(((y - line) / 0.06).clamp(min=0.0) ** 2)) * amount
    # What the forehead does below the hair stays below it.
    patch.height, patch.fold = patch.height * (1 - cover), patch.fold * (1 - cover)
    patch.fold = patch.fold + (0.30 * under * (1 - cover))
    shade = strands(x, y, curl, _grow(phase)) * (0.90 + 0.28 * ridge(y + 0.80 - 0.25 * x * x, 0.10))
    patch.paint(color[:, :, None, None] * shade[:, None], cover)
    patch.height = patch.height + ((dome(x, y) + 0.035) * cover)
    patch.mark("hair", cover)


def back_hair(x: Tensor, y: Tensor, style: Tensor, face_width: Tensor, phase: Tensor, edge: float) -> Tensor:
    """Coverage ``(B, H, W)`` of the hair behind and beside the head."""
    width, top = _grow(face_width + style[:, 3]), 0.985 + _grow(style[:, 4])
    end, flare, curl = _grow(style[:, 5]), _grow(style[:, 6]), _grow(style[:, 7])
    # Above the ears the hair follows the skull, below it falls.
    falling = (y / 0.9).clamp(min=0.0)
    half = width * (1.0 + flare * falling)
    skull = (x.abs() / half) ** 2.6 + (y.clamp(max=0.0).abs() / top) ** 2.4
    angle = torch.atan2(y, x)
    wobble = 0.05 * curl * torch.sin(15.0 * angle + _grow(phase)) + 0.02 * torch.sin(6.0 * angle + 2 * _grow(phase)) * (
        end > 0.3
    )
    ends = end + 0.03 * torch.sin(24.0 * x + _grow(phase)) + 0.22 * curl * (0.5 - x.abs())
    return _grow(style[:, 8]) * soft(1.0 + wobble - skull, 2.2 * edge) * soft(ends - y, max(0.03, edge))


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
    batch = len(color)
    lines = mouth_lines(shape, x.expand(batch, 2, y.shape[0], -1))
    edge = max(patch.edge, 0.012)
    lips = soft(y - lines.top + 0.004, edge) * soft(lines.bottom + 0.004 - y, edge) * soft(lines.inside * 0.1, 0.01)
    cheek = (
        soft(y - 0.62 + 0.75 * x, 0.05) * soft(y - 0.30, 0.05) * soft(y - _side(shape.mouth_y) + 0.34 * (1.4 - x), 0.05)
    )
    cheek = torch.maximum(cheek, soft(x - 0.585, 0.03) * soft(y - 0.12, 0.06))
    tip = _side(shape.nose_y)
    lip_top = soft(y - tip - 0.085 - 0.10 * x, 0.016) * soft(lines.top - y, 0.012) * soft(0.27 - x, 0.025)
    kind = lambda index: _side((beard == index).to(y.dtype))  # noqa: E731
    full = torch.maximum(cheek, lip_top)
    cover = 0.34 * kind(1) * full + kind(2) * lip_top + 0.92 * kind(3) * full
    cover = cover * (1 - lips) * (0.95 + 0.05 * torch.sin(95.0 * x + 9.0 * torch.sin(18.0 * y + _side(phase))))
    patch.paint(color, cover.clamp(0.0, 1.0))
    patch.height = patch.height + (0.015 * cover)


def draw_glasses(patch: Patch, shape: Shape, glasses: Tensor) -> None:
    """Spectacles: rims, bridge, temples and a faint reflection."""
    x, y = patch.x, patch.y
    worn = _side(glasses)
    dx, dy = x - _side(shape.eye_x), y - _side(shape.eye_y) - 0.015
    ring = ((dx / 0.225).abs() ** 3 + (dy / 0.165).abs() ** 3 + 1e-9) ** (1 / 3)
    width = max(0.012, 0.5 * patch.pixel)
    rim = ridge((ring - 1) * 0.19, 1.25 * width)
    bridge = ridge(dy + 0.045 - 0.05 * (x / 0.08) ** 2, width) * soft(_side(shape.eye_x) - 0.215 - x, 0.006)
    arm = ridge(dy + 0.05, width) * soft(dx - 0.215, 0.006)
    cover = worn * (rim + bridge + arm).clamp(max=1.0)
    glare = worn * soft(0.9 - ring, 0.04) * ridge(dx + 0.55 * dy + 0.03, 0.030)
    patch.paint(torch.full_like(shape.brow_y, 0.09), 0.93 * cover)
    patch.glow = patch.glow + (0.10 * glare)
    patch.mark("glasses", cover)


def draw_mask(patch: Patch, worn: Tensor, color: Tensor) -> None:
    """A surgical mask over nose, mouth and chin; it hides the relief below it."""
    x, y = patch.x, patch.y
    top = 0.06 + 0.17 * (x / 0.6) ** 2
    cover = soft(y - top, 0.014) * soft(1.30 - 0.35 * x - y, 0.02) * _side(worn)
    strap = ridge(y - 0.22 + 0.35 * (x - 0.62), 0.016) * soft(x - 0.60, 0.02) * _side(worn)
    cover = torch.maximum(cover, 0.9 * strap)
    bare = 1 - cover
    patch.height, patch.fold, patch.glow = patch.height * bare, patch.fold * bare, patch.glow * bare
    patch.paint(color, cover)
    patch.height = patch.height + (0.16 * cover * blob(x, y - 0.45, 0.42, 0.40))
    pleats = sum(ridge(y - at - 0.05 * (x / 0.6) ** 2, 0.017) for at in (0.36, 0.52, 0.68)) * soft(0.52 - x, 0.05)
    patch.fold = patch.fold + (0.38 * pleats * cover + 0.3 * cover * ridge(y - top - 0.02, 0.02))
    patch.mark("occlusion", cover)


def draw_hand(x: Tensor, y: Tensor, hand: Tensor, skin: Tensor) -> tuple[Tensor, Tensor]:
    """A hand held before the face: a palm and four fingers.

    Args:
        x: ``(H, W)`` picture coordinates in face units.
        y: ``(H, W)``.
        hand: ``(B, 3)`` x and y of the knuckles, and tilt.
        skin: ``(B, 3)``.

    Returns:
        Colour ``(B, 3, H, W)`` and coverage ``(B, H, W)``.
    """
    cos, sin = torch.cos(hand[:, 2]), torch.sin(hand[:, 2])
    dx, dy = x - _grow(hand[:, 0]), y - _grow(hand[:, 1])
    across, along = _grow(cos) * dx + _grow(sin) * dy, -_grow(sin) * dx + _grow(cos) * dy
    depth = torch.full_like(across, -1.0)
    for offset, length, radius in (
        (-0.21, 0.30, 0.066),
        (-0.07, 0.40, 0.070),
        (0.07, 0.36, 0.070),
        (0.20, 0.25, 0.062),
    ):
        lean = offset * 0.25
        t = (-(along) / length).clamp(0.0, 1.0)
        distance = ((across - offset - lean * t) ** 2 + (along + length * t) ** 2 + 1e-8).sqrt()
        depth = torch.maximum(depth, 1 - distance / radius)
    palm = 1 - ((across / 0.30).abs() ** 3 + ((along - 0.30) / 0.36).abs() ** 3 + 1e-8) ** (1 / 3)
    wrist = 1 - torch.maximum(across.abs() / 0.20, (0.45 - along) / 0.1)
    cover = torch.maximum(soft(depth, 0.10), torch.maximum(soft(palm, 0.03), soft(wrist, 0.05)))
    rounded = torch.maximum(depth.clamp(0, 1), 0.75 * (palm * 3).clamp(0, 1)).sqrt()
    shade = 0.55 + 0.42 * rounded
    return skin[:, :, None, None] * shade[:, None], cover
