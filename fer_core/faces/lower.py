"""The lower face: nose, cheeks, mouth and chin, drawn into mirrored windows of the canvas."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fer_core.faces.canvas import Box, Patch, blob, crease, ridge, soft
from fer_core.faces.muscles import Shape
from fer_core.faces.upper import _side

NOSE = Box(top=-0.40, outer=0.30, bottom=0.44)
CHEEKS = Box(top=-0.32, outer=0.80, bottom=0.80)
MOUTH = Box(top=0.20, outer=0.62, bottom=1.12)


def draw_nose(patch: Patch, shape: Shape, bridge: Tensor, dark: Tensor) -> None:
    """Bridge, tip, wings and nostrils, and the wrinkles of AU9.

    Args:
        patch: Where to draw.
        shape: The faces.
        bridge: ``(B,)`` trait of form.
        dark: ``(B, 3)`` colour of the nostrils.
    """
    x, y = patch.x, patch.y
    tip, wing = _side(shape.nose_y), _side(shape.nose_width)
    along = ((y + 0.22) / (tip + 0.22)).clamp(0.0, 1.0)
    spread = 0.052 + 0.055 * along**2
    profile = (0.045 + 0.020 * _side(bridge) + 0.105 * along**1.5) * soft(y + 0.24, 0.05) * soft(tip + 0.020 - y, 0.022)
    height = profile * torch.exp(-((x / spread) ** 2))
    height = height + 0.055 * blob(x, y - tip + 0.010, 0.075, 0.060)
    height = height + 0.048 * blob(x - wing + 0.020, y - tip + 0.012, 0.045, 0.046)
    wrinkle = _side(shape.unit("AU9"))
    height = height + 0.022 * wrinkle * blob(x - 0.10, y + 0.05, 0.06, 0.12)
    patch.height = patch.height + (height)
    nostril = blob(x - 0.48 * wing, y - tip - 0.026, 0.030 * _side(shape.nostril), 0.015 * _side(shape.nostril).sqrt())
    patch.paint(dark, 0.80 * nostril)
    under = ridge(y - tip - 0.045, 0.022) * soft(wing - x, 0.03)
    groove = crease(x - wing, y - tip, (0.005, -0.055), (0.012, 0.028), 0.018, bow=-0.014)
    wrinkles = wrinkle * (
        0.85 * crease(x, y, (-0.06, -0.19), (0.095, -0.150), 0.020, bow=-0.010)
        + 0.85 * crease(x, y, (-0.06, -0.12), (0.105, -0.080), 0.020, bow=-0.010)
        + 0.65 * crease(x, y, (0.06, -0.02), (0.15, 0.060), 0.022)
    )
    patch.fold = patch.fold + (wrinkles + (0.32 + 0.35 * _side(shape.unit("AU38"))) * groove + 0.25 * under)
    outline = soft(1.15 * (0.35 + 0.65 * along) * wing - x, 0.02)
    patch.mark("nose", outline * soft(y + 0.14, 0.03) * soft(tip + 0.045 - y, 0.015))


def draw_cheeks(patch: Patch, shape: Shape, cheekbones: Tensor, age: Tensor, blush: Tensor) -> None:
    """Cheekbones, the lifted cheeks of AU6 and AU12, blown cheeks, folds beside nose and mouth, crow's feet."""
    x, y = patch.x, patch.y
    smile, raise_cheek = _side(shape.smile), _side(shape.unit("AU6"))
    blow, puff = _side(shape.unit("AU33")), _side(shape.unit("AU13"))
    sneer, wrinkle = _side(shape.unit("AU10")), _side(shape.unit("AU9"))
    deepen, clench = _side(shape.unit("AU11")), _side(shape.unit("AU31"))
    lift = (0.75 * smile + 0.60 * raise_cheek + 0.55 * puff).clamp(max=1.3)
    height = (0.050 + 0.016 * _side(cheekbones) + 0.062 * lift) * blob(x - 0.40, y - 0.17 + 0.055 * lift, 0.17, 0.14)
    height = height + 0.030 * lift * blob(x - 0.36, y - 0.10 + 0.05 * lift, 0.17, 0.06)
    height = height + 0.150 * blow * blob(x - 0.40, y - 0.46, 0.19, 0.20)
    height = height + 0.060 * clench * blob(x - 0.50, y - 0.42, 0.085, 0.17)
    # Below the cheekbone older and thinner faces are hollow.
    height = height - (0.030 + 0.02 * _side(age)) * (1 - blow) * blob(x - 0.46, y - 0.46, 0.16, 0.16)
    patch.height = patch.height + (height)
    patch.paint(blush, (0.20 + 0.10 * lift + 0.12 * blow) * blob(x - 0.42, y - 0.19 + 0.06 * lift, 0.15, 0.11))

    mouth, corner = _side(shape.mouth_width), _side(shape.mouth_y) + _side(shape.corner)
    nose, wing = _side(shape.nose_y), _side(shape.nose_width)
    strength = (0.85 * smile + 0.75 * sneer + 0.45 * wrinkle + 0.55 * raise_cheek * 0.4 + 0.30 * _side(age)).clamp(
        max=1.25
    )
    bow = 0.020 + 0.030 * smile
    nasolabial = crease(x, y, (wing + 0.035, nose - 0.045), (mouth + 0.062, corner - 0.005), 0.026, bow=-bow)
    middle = crease(x, y, (wing + 0.075, nose + 0.015), (mouth + 0.075, corner - 0.080), 0.026, bow=-0.012)
    feet = raise_cheek * (
        crease(x, y, (0.475, -0.115), (0.60, -0.185), 0.017)
        + crease(x, y, (0.480, -0.070), (0.61, -0.085), 0.017)
        + crease(x, y, (0.470, -0.030), (0.59, 0.025), 0.017)
    )
    pit = _side(shape.dimple)
    pull = 0.95 * pit * crease(x - mouth, y - corner, (0.035, -0.075), (0.045, 0.055), 0.024, bow=-0.012)
    sag = (
        0.85
        * _side(shape.unit("AU15"))
        * crease(x - mouth, y - corner, (0.015, 0.030), (0.055, 0.150), 0.024, bow=-0.010)
    )
    stretch = 0.65 * _side(shape.unit("AU20"))
    bracket = stretch * crease(x - mouth, y - corner, (0.065, -0.080), (0.060, 0.100), 0.024, bow=-0.02)
    patch.fold = patch.fold + (strength * nasolabial + 0.95 * deepen * middle + 0.75 * feet + pull + sag + bracket)
    patch.height = patch.height + (-0.030 * pit * blob(x - mouth - 0.035, y - corner, 0.030, 0.040))
    patch.height = patch.height + (0.030 * pit * blob(x - mouth - 0.085, y - corner, 0.040, 0.070))


@dataclass
class MouthLines:
    """Heights of the lips' four edges at given distances from the midline, and where the mouth ends.

    Args:
        top: Upper edge of the upper lip.
        upper: Lower edge of the upper lip.
        lower: Upper edge of the lower lip.
        bottom: Lower edge of the lower lip.
        inside: 1 - t^2, positive between the corners.
    """

    top: Tensor
    upper: Tensor
    lower: Tensor
    bottom: Tensor
    inside: Tensor


def mouth_lines(shape: Shape, x: Tensor) -> MouthLines:
    """The lips' edges.

    Args:
        shape: The faces.
        x: ``(B, 2, ...)`` distance from the midline, by side.

    Returns:
        Lines shaped as ``x``.
    """
    grow = lambda value: (  # noqa: E731
        value.view(*value.shape, *[1] * (x.dim() - 2)) if value.dim() == 2 else value.view(-1, *[1] * (x.dim() - 1))
    )
    t = x / grow(shape.mouth_width)
    inside = 1 - t * t
    arch = inside.clamp(min=1e-4)
    # Corners move most; the middle gives way a little, by the mean of both sides so that the halves join.
    bend = grow(shape.corner) * t.clamp(max=1.12) ** 1.8 - 0.25 * grow(shape.corner.mean(1))
    seam = grow(shape.mouth_y) + bend + 0.004
    gap, chin_raise = grow(shape.gap), grow(shape.unit("AU17"))
    seam = seam - 0.020 * chin_raise * arch
    curve = arch**0.55
    middle = torch.exp(-((1.15 * t) ** 2))
    upper = seam - 0.20 * gap * curve - grow(shape.upper_rise) * middle
    lower = seam + 0.80 * gap * curve + grow(shape.lower_fall) * middle * (arch > 0.01)
    lower = torch.maximum(lower, upper)
    bow = 1 - 0.24 * torch.exp(-((x / 0.040) ** 2)) + 0.06 * torch.exp(-(((x - 0.065) / 0.035) ** 2))
    top = upper - grow(shape.upper_lip) * arch**0.65 * bow
    bottom = lower + grow(shape.lower_lip) * arch**0.55
    return MouthLines(top, upper, lower, bottom, inside)


def draw_mouth(patch: Patch, shape: Shape, lip_color: Tensor, skin: Tensor) -> None:
    """Lips, teeth, tongue and the mouth's inside; the relief of lips and chin.

    Args:
        patch: Where to draw.
        shape: The faces.
        lip_color: ``(B, 3)``.
        skin: ``(B, 3)``.
    """
    x, y = patch.x, patch.y
    batch = len(skin)
    lines = mouth_lines(shape, x.expand(batch, 2, y.shape[0], -1))
    edge = patch.edge
    within = soft(lines.inside * 0.10, edge)
    drop, gap = _side(shape.drop), _side(shape.gap)
    unit = lambda code: _side(shape.unit(code))  # noqa: E731
    opened = soft(lines.lower - lines.upper - 0.010, 0.004) * within
    inner = soft(y - lines.upper, edge) * soft(lines.lower - y, edge) * opened
    lips = soft(y - lines.top, edge) * soft(lines.bottom - y, edge) * within * (1 - inner)

    _mouth_relief(patch, shape, lines)
    color = lambda *values: skin.new_tensor(values).expand(batch, 3)  # noqa: E731
    patch.paint(lip_color, 0.88 * lips)
    # The upper lip faces down and is the darker one.
    patch.paint(0.72 * lip_color, 0.55 * lips * soft(lines.upper + 0.3 * gap - y, 0.01))
    patch.paint(color(0.20, 0.045, 0.05), inner)
    tongue = (
        soft(y - lines.lower + 0.05 + 0.05 * (gap / 0.2).clamp(max=1), 0.012)
        * soft(0.155 - x, 0.02)
        * soft(gap - 0.10, 0.02)
    )
    patch.paint(color(0.66, 0.28, 0.28), 0.75 * inner * tongue)
    tooth = 0.048 + 0.020 * _side(shape.smile)
    gaps = 0.93 + 0.07 * torch.cos(x * 115.0)
    upper_teeth = soft(lines.upper + tooth * (1 - 0.35 * unit("AU27")) - y, edge) * soft(lines.inside - 0.16, 0.06)
    patch.paint(color(0.95, 0.93, 0.88), 0.95 * inner * upper_teeth * gaps * (1 - 0.30 * unit("AU26")))
    show = (unit("AU20") + unit("AU16") + 0.6 * unit("AU10")).clamp(max=1.0)
    lower_teeth = soft(y - lines.lower + 0.034, edge) * soft(lines.inside - 0.3, 0.06) * show
    patch.paint(color(0.90, 0.87, 0.81), 0.9 * inner * lower_teeth * gaps)
    # Where the lips meet, or the opening's rim.
    thick = max(0.011, 0.42 * patch.pixel)
    end = soft((lines.inside + 0.10) * 0.10, edge)
    rim = torch.maximum(ridge(y - lines.upper, thick), 0.55 * ridge(y - lines.lower, thick)) * end
    patch.paint(0.22 * skin, 0.80 * rim * (1 - 0.5 * inner))
    shadow = ridge(y - lines.bottom - 0.012, 0.022) * within
    patch.paint(0.45 * skin, 0.22 * shadow)

    bite = unit("AU32") * soft(0.115 - x, 0.012) * soft(y - lines.upper, edge) * soft(lines.upper + 0.052 - y, edge)
    patch.paint(color(0.94, 0.92, 0.87), 0.95 * bite * gaps)
    out = unit("AU19")
    tip = lines.lower + 0.135 * out
    width = 0.100 * (1 - 0.35 * soft(y - lines.lower - 0.03, 0.03))
    tongue_out = out * soft(width - x, 0.010) * soft(y - lines.lower + 0.035, edge) * soft(tip - 3.0 * x * x - y, edge)
    patch.paint(color(0.80, 0.38, 0.38), 0.95 * tongue_out)
    patch.paint(color(0.48, 0.16, 0.18), 0.4 * tongue_out * ridge(x, 0.012))
    wet = lips * ridge(y - lines.lower - 0.38 * (lines.bottom - lines.lower), 0.014) * blob(x - 0.03, 0 * y, 0.07, 1.0)
    patch.glow = patch.glow + (0.13 * wet + 0.10 * tongue_out * blob(x - 0.03, y - tip + 0.05, 0.03, 0.03))

    seal = 0.55 * unit("AU24") + 0.45 * unit("AU23") + 0.75 * unit("AU28")
    around = ridge(y - lines.top + 0.022, 0.020) + ridge(y - lines.bottom - 0.022, 0.020)
    pucker = (unit("AU18") + 0.4 * unit("AU23")) * (
        ridge(y - lines.top + 0.045, 0.035) + ridge(y - lines.bottom - 0.035, 0.030)
    )
    radial = 0.5 + 0.5 * torch.cos(x * 95.0)
    patch.fold = patch.fold + ((seal * around + 0.55 * pucker * radial) * within)
    ment = lines.bottom + 0.055
    mentolabial = ridge(y - ment - 0.25 * x * x, 0.030) * soft(0.20 - x, 0.05)
    patch.fold = patch.fold + ((0.12 + 0.65 * unit("AU17") + 0.15 * unit("AU15")) * mentolabial)
    chin_y = _side(shape.chin) - 0.135 + drop
    dimples = 0.5 + 0.5 * torch.cos(x * 70.0) * torch.cos((y - chin_y) * 62.0)
    patch.fold = patch.fold + (0.42 * unit("AU17") * dimples * blob(x, y - chin_y + 0.02, 0.14, 0.075))
    middle = 0.5 * (lines.upper + lines.lower)
    patch.mark("upper lip", lips * (y < middle))
    patch.mark("lower lip", lips * (y >= middle))
    patch.mark("mouth", torch.maximum(inner, tongue_out))


def _mouth_relief(patch: Patch, shape: Shape, lines: MouthLines) -> None:
    """Lips and chin as relief."""
    x, y = patch.x, patch.y
    unit = lambda code: _side(shape.unit(code))  # noqa: E731
    body = lines.inside.clamp(min=0.0)
    forward = 1 + 0.9 * unit("AU18") + 1.0 * unit("AU22")
    height = 0.050 * forward * ridge(y - 0.5 * (lines.top + lines.upper), 0.040) * body
    height = (
        height + (0.060 * forward + 0.02 * unit("AU29")) * ridge(y - 0.5 * (lines.lower + lines.bottom), 0.046) * body
    )
    # The philtrum runs from the nose to the upper lip's notch.
    height = height - 0.008 * ridge(x, 0.030) * soft(y - 0.36, 0.03) * soft(lines.top - y, 0.02)
    height = height + 0.005 * ridge(x - 0.045, 0.022) * soft(y - 0.36, 0.03) * soft(lines.top - y, 0.02)
    tight = unit("AU24") + 0.6 * unit("AU28") + 0.4 * unit("AU23")
    height = (
        height + 0.022 * tight * (ridge(y - lines.top + 0.055, 0.030) + ridge(y - lines.bottom - 0.055, 0.030)) * body
    )
    chin_y = _side(shape.chin) - 0.135 + _side(shape.drop)
    boss = 0.060 + 0.045 * unit("AU17") + 0.085 * unit("AU29")
    height = height + boss * blob(x, y - chin_y + 0.02 * unit("AU17"), 0.15, 0.105)
    patch.height = patch.height + (height)
