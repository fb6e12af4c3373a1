"""The lower face: nose, cheeks, mouth and chin."""

from dataclasses import dataclass

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
)
from fer_core.faces.muscles import Shape

NOSE = Box(top=-0.40, outer=0.30, bottom=0.44)
CHEEKS = Box(top=-0.32, outer=0.80, bottom=0.80)
#: Holds all that the folds between nose and mouth corner can reach on the cheeks.
MOUTH_FOLDS = Box(top=0.02, outer=0.70, bottom=0.80)
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
    tip, wing, flare = by_side(shape.nose_y), by_side(shape.nose_width), by_side(shape.nostril)
    wrinkle = by_side(shape.unit("AU9"))
    along = ((y + 0.22) / (tip + 0.22)).clamp(0.0, 1.0)
    narrow = 1 / (0.052 + 0.055 * along**2)
    profile = 0.045 + 0.020 * by_side(bridge) + 0.105 * power(along, 1.5)
    profile = profile * soft(y + 0.24, 0.05) * soft(tip + 0.020 - y, 0.022)
    relief = Products.of(
        mound(0.055, x, y - tip + 0.010, 0.075, 0.060),
        mound(0.048, x - wing + 0.020, y - tip + 0.012, 0.045, 0.046),
        mound(0.022 * wrinkle, x - 0.10, y + 0.05, 0.06, 0.12),
    )
    nostril = Products.of(mound(0.80, x - 0.48 * wing, y - tip - 0.026, 0.030 * flare, 0.015 * flare.sqrt()))
    under = Products.of((0.25 * ridge(y - tip - 0.045, 0.022), soft(wing - x, 0.03)))
    groove = furrow(x - wing, y - tip, (0.005, -0.055), (0.012, 0.028), 0.018, bow=-0.014)
    wrinkles = (
        0.85 * crease(x, y, (-0.06, -0.19), (0.095, -0.150), 0.020, bow=-0.010)
        + 0.85 * crease(x, y, (-0.06, -0.12), (0.105, -0.080), 0.020, bow=-0.010)
        + 0.65 * crease(x, y, (0.06, -0.02), (0.15, 0.060), 0.022)
    )
    carved = 0.32 + 0.35 * by_side(shape.unit("AU38"))
    outline = 1.15 * (0.35 + 0.65 * along) * wing
    ends = soft(y + 0.14, 0.03) * soft(tip + 0.045 - y, 0.015)
    patch.run(_nose_pixels)(
        patch, bundle(narrow, profile, outline, ends), relief, nostril, under, groove, carved, wrinkle, wrinkles, dark
    )


def _nose_pixels(
    patch: Patch, columns: Tensor, relief: Products, nostril: Products, under: Products, groove: Furrow,
    carved: Tensor, wrinkle: Tensor, wrinkles: Tensor, dark: Tensor,
) -> None:  # fmt: skip
    narrow, profile, outline, ends = columns.unbind()
    patch.height.add_(profile * ridge(patch.x * narrow, 1.0) + relief.sum())
    patch.paint(dark, nostril.sum())
    patch.fold.add_(wrinkle * wrinkles + carved * groove.depth() + under.sum())
    if patch.labels is not None:
        patch.mark("nose", soft(outline - patch.x, 0.02) * ends)


def draw_cheeks(patch: Patch, shape: Shape, cheekbones: Tensor, age: Tensor, blush: Tensor) -> None:
    """Cheekbones, the lifted cheeks of AU6 and AU12, blown cheeks, dimples, crow's feet.

    Args:
        patch: What is drawn on.
        shape: The moved face.
        cheekbones: Trait of form, ``(B,)`` in -1..1; how far they stand out.
        age: ``(B,)`` 0 young to 1 old; older faces are hollow below them.
        blush: Colour of the flush.
    """
    x, y = patch.x, patch.y
    unit = lambda code: by_side(shape.unit(code))  # noqa: E731
    raise_cheek, blow, pit = unit("AU6"), unit("AU33"), by_side(shape.dimple)
    lift = (0.75 * by_side(shape.smile) + 0.60 * raise_cheek + 0.55 * unit("AU13")).clamp(max=1.3)
    mouth, corner = by_side(shape.mouth_width), by_side(shape.mouth_y) + by_side(shape.corner)
    bone = 0.050 + 0.016 * by_side(cheekbones) + 0.062 * lift
    relief = Products.of(
        mound(bone, x - 0.40, y - 0.17 + 0.055 * lift, 0.17, 0.14),
        mound(0.030 * lift, x - 0.36, y - 0.10 + 0.05 * lift, 0.17, 0.06),
        mound(0.150 * blow, x - 0.40, y - 0.46, 0.19, 0.20),
        mound(0.060 * unit("AU31"), x - 0.50, y - 0.42, 0.085, 0.17),
        # Below the cheekbone older and thinner faces are hollow.
        mound(-(0.030 + 0.02 * by_side(age)) * (1 - blow), x - 0.46, y - 0.46, 0.16, 0.16),
        mound(-0.030 * pit, x - mouth - 0.035, y - corner, 0.030, 0.040),
        mound(0.030 * pit, x - mouth - 0.085, y - corner, 0.040, 0.070),
    )
    flush = Products.of(mound(0.20 + 0.10 * lift + 0.12 * blow, x - 0.42, y - 0.19 + 0.06 * lift, 0.15, 0.11))
    feet = (
        crease(x, y, (0.475, -0.115), (0.60, -0.185), 0.017)
        + crease(x, y, (0.480, -0.070), (0.61, -0.085), 0.017)
        + crease(x, y, (0.470, -0.030), (0.59, 0.025), 0.017)
    )
    patch.run(_cheek_pixels)(patch, relief, flush, blush, 0.75 * raise_cheek, feet)


def _cheek_pixels(patch: Patch, relief: Products, flush: Products, blush: Tensor, squint: Tensor, feet: Tensor) -> None:
    patch.height.add_(relief.sum())
    patch.paint(blush, flush.sum())
    patch.fold.add_(squint * feet)


def draw_mouth_folds(patch: Patch, shape: Shape, age: Tensor) -> None:
    """The folds between nose and mouth, and those that dimples (AU14), AU15 and AU20 pull beside its corners."""
    x, y = patch.x, patch.y
    unit = lambda code: by_side(shape.unit(code))  # noqa: E731
    smile, nose, wing = by_side(shape.smile), by_side(shape.nose_y), by_side(shape.nose_width)
    mouth, corner = by_side(shape.mouth_width), by_side(shape.mouth_y) + by_side(shape.corner)
    strength = 0.85 * smile + 0.75 * unit("AU10") + 0.45 * unit("AU9") + 0.22 * unit("AU6") + 0.30 * by_side(age)
    bow = -(0.020 + 0.030 * smile)
    beside, below = x - mouth, y - corner
    folds = (
        furrow(x, y, (wing + 0.035, nose - 0.045), (mouth + 0.062, corner - 0.005), 0.026, bow=bow),
        furrow(x, y, (wing + 0.075, nose + 0.015), (mouth + 0.075, corner - 0.080), 0.026, bow=-0.012),
        furrow(beside, below, (0.035, -0.075), (0.045, 0.055), 0.024, bow=-0.012),
        furrow(beside, below, (0.015, 0.030), (0.055, 0.150), 0.024, bow=-0.010),
        furrow(beside, below, (0.065, -0.080), (0.060, 0.100), 0.024, bow=-0.02),
    )
    depths = bundle(
        strength.clamp(max=1.25),
        0.95 * unit("AU11"),
        0.95 * by_side(shape.dimple),
        0.85 * unit("AU15"),
        0.65 * unit("AU20"),
    )
    patch.run(_mouth_fold_pixels)(patch, depths, folds)


def _mouth_fold_pixels(patch: Patch, depths: Tensor, folds: tuple[Furrow, ...]) -> None:
    for depth, fold in zip(depths.unbind(), folds, strict=True):
        patch.fold.add_(depth * fold.depth())


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
    bend = grow(shape.corner) * power(t.clamp(max=1.12), 1.8) - 0.25 * grow(shape.corner.mean(1))
    seam = grow(shape.mouth_y) + bend + 0.004
    gap, chin_raise = grow(shape.gap), grow(shape.unit("AU17"))
    seam = seam - 0.020 * chin_raise * arch
    curve = power(arch, 0.55)
    middle = torch.exp(-((1.15 * t) ** 2))
    upper = seam - 0.20 * gap * curve - grow(shape.upper_rise) * middle
    lower = seam + 0.80 * gap * curve + grow(shape.lower_fall) * middle * (arch > 0.01)
    lower = torch.maximum(lower, upper)
    bow = 1 - 0.24 * ridge(x, 0.040) + 0.06 * ridge(x - 0.065, 0.035)
    top = upper - grow(shape.upper_lip) * power(arch, 0.65) * bow
    bottom = lower + grow(shape.lower_lip) * curve
    return MouthLines(top, upper, lower, bottom, inside)


def draw_mouth(patch: Patch, shape: Shape, lip_color: Tensor, skin: Tensor) -> None:
    """Lips, teeth, tongue and the mouth's inside; the relief of lips and chin.

    Args:
        patch: Where to draw.
        shape: The faces.
        lip_color: ``(B, 3)``.
        skin: ``(B, 3)``.
    """
    x, y, edge = patch.x, patch.y, patch.edge
    lines = mouth_lines(shape, x.expand(len(skin), -1, -1, -1))
    top, upper, lower, bottom, inside = lines.top, lines.upper, lines.lower, lines.bottom, lines.inside
    unit = lambda code: by_side(shape.unit(code))  # noqa: E731
    gap, tongue = by_side(shape.gap), unit("AU19")
    within = soft(inside * 0.10, edge)
    edges = bundle(top, upper, lower, bottom, within, soft(lower - upper - 0.010, 0.004) * within)

    # --- what the mouth shows when it opens
    gaps = 0.93 + 0.07 * torch.cos(x * 115.0)
    tooth = (0.048 + 0.020 * by_side(shape.smile)) * (1 - 0.35 * unit("AU27"))
    show = (unit("AU20") + unit("AU16") + 0.6 * unit("AU10")).clamp(max=1.0)
    inner = bundle(
        upper + 0.3 * gap,
        lower - 0.05 - 0.05 * (gap / 0.2).clamp(max=1),
        0.75 * soft(0.155 - x, 0.02) * soft(gap - 0.10, 0.02),
        upper + tooth,
        0.95 * soft(inside - 0.16, 0.06) * gaps * (1 - 0.30 * unit("AU26")),
        0.90 * soft(inside - 0.30, 0.06) * gaps * show,
        0.80 * soft((inside + 0.10) * 0.10, edge),
        0.95 * unit("AU32") * soft(0.115 - x, 0.012) * gaps,
    )
    tip = lower + 0.135 * tongue
    out = bundle(
        tongue, tip - 3.0 * x * x, 0.4 * ridge(x, 0.012), tip - 0.05, 0.10 * ridge(x - 0.03, 0.03),
        lower + 0.38 * (bottom - lower), 0.13 * ridge(x - 0.03, 0.07),
    )  # fmt: skip

    # --- folds around the lips and on the chin
    seal = 0.55 * unit("AU24") + 0.45 * unit("AU23") + 0.75 * unit("AU28")
    pucker = 0.55 * (unit("AU18") + 0.4 * unit("AU23")) * (0.5 + 0.5 * torch.cos(x * 95.0))
    mentolabial = (0.12 + 0.65 * unit("AU17") + 0.15 * unit("AU15")) * soft(0.20 - x, 0.05)
    around = bundle(seal * within, pucker * within, bottom + 0.055 + 0.25 * x * x, mentolabial)
    chin_y = by_side(shape.chin) - 0.135 + by_side(shape.drop)
    column, row = mound(0.21 * unit("AU17"), x, y - chin_y + 0.02, 0.14, 0.075)
    chin = Products.of((column, row), (column * torch.cos((y - chin_y) * 62.0), row * torch.cos(x * 70.0)))

    # --- relief of lips and chin
    body = inside.clamp(min=0.0)
    forward = 1 + 0.9 * unit("AU18") + 1.0 * unit("AU22")
    tight = unit("AU24") + 0.6 * unit("AU28") + 0.4 * unit("AU23")
    relief = bundle(
        0.5 * (top + upper),
        0.050 * forward * body,
        0.5 * (lower + bottom),
        (0.060 * forward + 0.02 * unit("AU29")) * body,
        0.022 * tight * body,
        # The philtrum runs from the nose to the upper lip's notch.
        0.005 * ridge(x - 0.045, 0.022) - 0.008 * ridge(x, 0.030),
    )
    boss = 0.060 + 0.045 * unit("AU17") + 0.085 * unit("AU29")
    boss = Products.of(mound(boss, x, y - chin_y + 0.02 * unit("AU17"), 0.15, 0.105))

    patch.run(_mouth_pixels)(patch, edges, inner, out, lip_color, skin)
    patch.run(_mouth_relief_pixels)(patch, edges, around, relief, chin, boss, soft(y - 0.36, 0.03))


def _mouth_pixels(patch: Patch, edges: Tensor, inner: Tensor, out: Tensor, lip_color: Tensor, skin: Tensor) -> None:
    """Colours and glints."""
    x, y, edge = patch.x, patch.y, patch.edge
    top, upper, lower, bottom, within, opened = edges.unbind()
    shadow_end, tongue_line, tongue, upper_teeth_end, upper_teeth, lower_teeth, end, bite = inner.unbind()
    below_upper, below_lower = y - upper, y - lower
    under_upper = soft(below_upper, edge)
    hole = under_upper * soft(-below_lower, edge) * opened
    lips = soft(y - top, edge) * soft(bottom - y, edge) * within * (1 - hole)
    patch.paint(lip_color, 0.88 * lips)
    # The upper lip faces down and is the darker one.
    patch.paint(0.72 * lip_color, 0.55 * lips * soft(shadow_end - y, 0.01))
    patch.paint((0.20, 0.045, 0.05), hole)
    patch.paint((0.66, 0.28, 0.28), hole * tongue * soft(y - tongue_line, 0.012))
    patch.paint((0.95, 0.93, 0.88), hole * upper_teeth * soft(upper_teeth_end - y, edge))
    patch.paint((0.90, 0.87, 0.81), hole * lower_teeth * soft(below_lower + 0.034, edge))
    # Where the lips meet, or the opening's rim.
    thick = max(0.011, 0.42 * patch.pixel)
    rim = torch.maximum(ridge(below_upper, thick), 0.55 * ridge(below_lower, thick)) * end
    patch.paint(0.22 * skin, rim * (1 - 0.5 * hole))
    patch.paint(0.45 * skin, 0.22 * ridge(y - bottom - 0.012, 0.022) * within)
    patch.paint((0.94, 0.92, 0.87), bite * under_upper * soft(0.052 - below_upper, edge))

    shown, tip, groove, gleam_line, gleam, wet_line, wet = out.unbind()
    width = 0.100 * (1 - 0.35 * soft(below_lower - 0.03, 0.03))
    tongue_out = shown * soft(width - x, 0.010) * soft(below_lower + 0.035, edge) * soft(tip - y, edge)
    patch.paint((0.80, 0.38, 0.38), 0.95 * tongue_out)
    patch.paint((0.48, 0.16, 0.18), tongue_out * groove)
    patch.glow.add_(lips * wet * ridge(y - wet_line, 0.014) + tongue_out * gleam * ridge(y - gleam_line, 0.03))
    if patch.labels is not None:
        middle = 0.5 * (upper + lower)
        patch.mark("upper lip", lips * (y < middle))
        patch.mark("lower lip", lips * (y >= middle))
        patch.mark("mouth", torch.maximum(hole, tongue_out))


def _mouth_relief_pixels(
    patch: Patch, edges: Tensor, around: Tensor, relief: Tensor, chin: Products, boss: Products, below_nose: Tensor
) -> None:
    """Lips and chin as relief, and the folds about them."""
    y = patch.y
    top, _, _, bottom, _, _ = edges.unbind()
    seal, pucker, ment, mentolabial = around.unbind()
    above, below = y - top, y - bottom
    folds = seal * (ridge(above + 0.022, 0.020) + ridge(below - 0.022, 0.020))
    folds = folds + pucker * (ridge(above + 0.045, 0.035) + ridge(below - 0.035, 0.030))
    patch.fold.add_(folds + mentolabial * ridge(y - ment, 0.030) + chin.sum())
    upper_lip, upper_height, lower_lip, lower_height, tight, philtrum = relief.unbind()
    height = upper_height * ridge(y - upper_lip, 0.040) + lower_height * ridge(y - lower_lip, 0.046)
    height = height + philtrum * below_nose * soft(-above, 0.02)
    height = height + tight * (ridge(above + 0.055, 0.030) + ridge(below - 0.055, 0.030))
    patch.height.add_(height + boss.sum())
