"""The renderer: action units, a person and a view in, a picture with exact ground truth out.

The face is drawn as relief and albedo into a flat canvas (``canvas.py``, ``upper.py``, ``lower.py``, ``hair.py``),
lit by its normals, turned by a depth map (``pose.py``) and set before a background (``behind.py``). Everything is
vectorised over the batch, runs on CPU and GPU and is differentiable in intensities, traits of form, pose and light.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional
from torch.profiler import record_function

from fer_core.errors import UserError
from fer_core.faces import hair, lower, upper
from fer_core.faces.behind import draw_behind, palette
from fer_core.faces.camera import develop
from fer_core.faces.canvas import (
    EXTENT,
    PARSING,
    Box,
    Canvas,
    Patch,
    Products,
    blocks,
    by_side,
    mound,
    power,
    put,
    soft,
)
from fer_core.faces.identity import EYE_COLORS, HAIR_COLORS, SKIN_TONES, Identity
from fer_core.faces.landmarks import landmarks
from fer_core.faces.muscles import OUTLINE, Shape, half_width, shape
from fer_core.faces.pose import Pose
from fer_core.faces.scene import OCCLUSIONS, Scene
from fer_core.hardware import keep_memory

MINIMUM_SIZE, MAXIMUM_SIZE = 32, 512
_FACE = Box(top=-0.2, outer=0.8, bottom=0.5)
_BLOCK = 16  # faces at once where compiled code draws what only some faces have
# Pixels of the pictures drawn at once. On a CPU few enough that the layers stay in its cache; compiled code makes fewer
# passes over them, so there the cost of its calls counts for more. On a GPU few enough for its memory.
_EAGER_PIXELS, _COMPILED_PIXELS, _GPU_PIXELS = 2**17, 2**20, 2**24


@dataclass
class Face:
    """Pictures with their ground truth.

    Args:
        image: ``(B, 3, S, S)`` float32 in 0..1.
        landmarks: ``(B, 68, 2)`` x and y in 0..1 of the picture, in the order of the 68-point markup; None if
            not asked for.
        parsing: ``(B, S, S)`` uint8, index into ``PARSING``; None if not asked for.
    """

    image: Tensor
    landmarks: Tensor | None = None
    parsing: Tensor | None = None


def render(
    units: Tensor, identity: Identity, scene: Scene, size: int = 64, *, truth: bool = False, compiled: bool = False
) -> Face:
    """Draws faces.

    Args:
        units: ``(B, A)`` intensities in 0..1, without the resting face, which is added here.
        identity: ``B`` people.
        scene: ``B`` views.
        size: Side ``S`` of the picture in pixels, 32 to 512.
        truth: Whether to give landmarks and parsing maps, too.
        compiled: Whether to run the drawing through ``torch.compile``: slow at the first call of each size, several
            times faster after it. Batches are cut and padded to one length, so it is for many faces: at 64 pixels
            multiples of 256. On a CPU the process from then on keeps up to 512 MiB that are freed
            (:func:`~fer_core.hardware.keep_memory`).

    Returns:
        The pictures, on the device of ``units``.

    Raises:
        UserError: For a size out of range, or batches that differ in length.
    """
    if not MINIMUM_SIZE <= size <= MAXIMUM_SIZE:
        raise UserError(
            f"size of a face: expected {MINIMUM_SIZE} to {MAXIMUM_SIZE} pixels, got {size}; choose another size"
        )
    if not len(units) == len(identity) == len(scene):
        raise UserError(
            f"expected as many action-unit rows as people and views, got {len(units)}, {len(identity)} and "
            f"{len(scene)}; pass one of each a face"
        )
    if compiled and units.device.type == "cpu":
        keep_memory()
    total = effective_units(units, identity)
    faces = [
        _draw(total[rows], identity.take(rows), scene.take(rows), size, truth, compiled)
        for rows in _pieces(len(total), size, total.device, compiled)
    ]
    whole = faces[0] if len(faces) == 1 else tuple(torch.cat(parts) for parts in zip(*faces, strict=True))
    image, *rest = (part[: len(total)] for part in whole)
    return Face(develop(image, scene), *rest)


def portrait(units: Tensor, identity: Identity, scene: Scene, size: int = 64) -> Tensor:
    """The picture that :func:`render` draws of faces without hand or mask, by an eye instead of a camera.

    It takes the same steps whatever a face looks like, with no look at values, so that it can be exported as a graph.

    Args:
        units: As of :func:`render`.
        identity: ``B`` people.
        scene: ``B`` views; their occlusion and what the camera does count for nothing.
        size: Side ``S`` of the picture in pixels.

    Returns:
        ``(B, 3, S, S)`` float32 in 0..1.
    """
    (image,) = _draw(effective_units(units, identity), identity, scene, size, False, False, plain=True)
    return image.clamp(0.0, 1.0)


def effective_units(units: Tensor, identity: Identity) -> Tensor:
    """``(B, A)`` intensities of the expression on top of the resting face; each saturates at 1."""
    return 1 - (1 - units.clamp(0, 1)) * (1 - identity.resting.to(units.device).clamp(0, 1))


def _pieces(count: int, size: int, device: torch.device, compiled: bool) -> list[Tensor]:
    """Positions of the faces that are drawn at once; compiled code gets the last one again until a piece is full."""
    if device.type == "cpu":
        step = max(1, (_COMPILED_PIXELS if compiled else _EAGER_PIXELS) // size**2)
    else:
        step = min(count, _GPU_PIXELS // size**2)
    end = -(-count // step) * step if compiled else count
    return list(torch.arange(end, device=device).clamp(max=count - 1).split(step))


@cache
def _compile(how: Callable) -> Callable:
    """A pixel function through torch.compile: parts compile in seconds and stay small, the whole would not."""
    return torch.compile(how, dynamic=False)


def skin_color(tone: Tensor) -> Tensor:
    """``(B, 3)`` skin colour of tones in 0..1, linear between the steps of ``SKIN_TONES``."""
    steps = torch.tensor(SKIN_TONES, device=tone.device)
    place = tone.clamp(0, 1) * (len(steps) - 1)
    low = place.floor().clamp(max=len(steps) - 2).long()
    return torch.lerp(steps[low], steps[low + 1], (place - low)[:, None])


def _draw(
    units: Tensor, identity: Identity, scene: Scene, size: int, truth: bool, compiled: bool, plain: bool = False
) -> tuple[Tensor, ...]:
    """The picture before the camera; with ``truth`` landmarks and the parsing map, too; ``plain`` as in portrait."""
    run = _compile if compiled else lambda how: how
    block = _BLOCK if compiled else None
    form, pose = shape(units, identity), Pose(scene, units)
    skin = skin_color(identity.tone)
    hair_color = palette(HAIR_COLORS, identity.hair_color)
    style = hair.style_table(units.device)[identity.hair_style]
    phase = (identity.texture % 628).to(torch.float32) / 100.0

    canvas = Canvas(skin, 2 * round(0.62 * size), truth, run, block)
    _draw_head(canvas, form, identity, scene, skin, hair_color, style, phase, plain)
    with record_function("faces: shade"):
        head = _shade(canvas, form, pose, scene)

    across = (torch.arange(size, device=units.device, dtype=torch.float32) + 0.5) * (2 * EXTENT / size) - EXTENT
    down = across[:, None]
    with record_function("faces: turn"):
        (x_row, x_column), (y_row, y_column) = pose.upright(across, down)
        grid = run(_sampling_grid)(pose, x_row + x_column, y_row + y_column)
        front = functional.grid_sample(head, grid, mode="bilinear", padding_mode="border", align_corners=False)
    with record_function("faces: draw_behind"):
        image, labels = draw_behind(
            front, across, down, pose, scene, form, identity, skin, hair_color, style, phase, truth, run
        )
    if labels is not None:
        assert canvas.labels is not None
        on_face = functional.grid_sample(
            canvas.labels[:, None], grid, mode="nearest", padding_mode="border", align_corners=False
        )[:, 0]
        labels = torch.where(front[:, 3] > 0.5, on_face, labels)

    if plain:
        return (image,)
    hands = (scene.occlusion == OCCLUSIONS.index("hand")).nonzero()[:, 0]
    lit = 0.94 * skin * ((scene.ambient + 0.55) * scene.gain)[:, None]
    with record_function("faces: draw_hand"):
        for rows, padded in blocks(hands, block):
            held, cover = hair.draw_hand(image[padded], across, down, scene.hand[padded], lit[padded], run)
            image = put(image, rows, held[: len(rows)])
            if labels is not None:
                hidden = labels[rows].masked_fill(cover[: len(rows)] > 0.5, PARSING.index("occlusion"))
                labels = put(labels, rows, hidden)
    if labels is None:
        return (image,)
    return image, landmarks(form, pose), labels.to(torch.uint8)


def _draw_head(
    canvas: Canvas,
    form: Shape,
    identity: Identity,
    scene: Scene,
    skin: Tensor,
    hair_color: Tensor,
    style: Tensor,
    phase: Tensor,
    plain: bool,
) -> None:
    """Draws the whole head flat; ``plain``: what only some faces have on all, which changes none that lack it."""
    flush = skin * skin.new_tensor([1.02, 0.74, 0.70])
    brow_color = torch.minimum(0.62 * hair_color, 0.40 * skin)
    lip_color = skin * skin.new_tensor([0.88, 0.56, 0.54])
    lip_color = torch.lerp(lip_color, skin.new_tensor([0.66, 0.10, 0.17]), identity.lipstick[:, None])
    iris = palette(EYE_COLORS, identity.eye_color)
    trait, age = identity.trait, identity.age
    having = lambda value: None if plain else value.nonzero()[:, 0]  # noqa: E731

    canvas.draw(_FACE, _draw_freckles, identity.freckles, 0.66 * skin, phase, rows=having(identity.freckles))
    canvas.draw(upper.FOREHEAD, upper.draw_forehead, form, age)
    canvas.draw(lower.CHEEKS, lower.draw_cheeks, form, trait("cheekbones"), age, flush)
    canvas.draw(lower.MOUTH_FOLDS, lower.draw_mouth_folds, form, age)
    canvas.draw(lower.NOSE, lower.draw_nose, form, trait("nose_bridge"), 0.16 * skin)
    beard = (form, identity.beard, 0.80 * hair_color, phase)
    canvas.draw(hair.BEARD, hair.draw_beard, *beard, rows=having(identity.beard))
    canvas.draw(lower.MOUTH, lower.draw_mouth, form, lip_color, skin)
    canvas.draw(upper.EYES, upper.draw_eyes, form, iris, 0.16 * skin, age)
    canvas.draw(upper.BROWS, upper.draw_brows, form, brow_color)
    canvas.draw(hair.FRONT_HAIR, hair.draw_front_hair, style, hair_color, trait("forehead"), phase)
    glasses = (form.eye_x, form.eye_y, identity.glasses)
    canvas.draw(hair.GLASSES, hair.draw_glasses, *glasses, rows=having(identity.glasses))
    if not plain:
        canvas.draw(
            hair.MASK, hair.draw_mask, scene.mask_color, rows=having(scene.occlusion == OCCLUSIONS.index("mask"))
        )


def _draw_freckles(patch: Patch, freckles: Tensor, color: Tensor, phase: Tensor) -> None:
    phase = by_side(phase)
    dapple = Products.of((0.5 * torch.sin(37.0 * patch.y + 2.1 * phase), torch.sin(41.0 * patch.across + phase)))
    spread = Products.of(mound(0.55 * by_side(freckles), patch.x, patch.y - 0.12, 0.55, 0.22))
    patch.run(_freckle_pixels)(patch, dapple, spread, color)


def _freckle_pixels(patch: Patch, dapple: Products, spread: Products, color: Tensor) -> None:
    patch.paint(color, soft(dapple.sum() - 0.30, 0.03) * spread.sum())


def _shade(canvas: Canvas, form: Shape, pose: Pose, scene: Scene) -> Tensor:
    """``(B, 4, R, R)``: the head in warm direct light and cooler light from everywhere; and its coverage."""
    # A fold is as deep whatever the resolution, so a coarse picture does not lose it.
    relief = torch.sub(canvas.height, canvas.fold, alpha=0.026)
    relief = functional.pad(relief[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    light = pose.light(scene)
    # Skin gleams where the half-way vector between light and viewer meets the normal.
    half = functional.normalize(light + light.new_tensor([0.0, 0.0, 1.0]), dim=1)
    warmth = scene.warmth[:, None]
    sun = 1 + warmth * warmth.new_tensor([0.07, 0.01, -0.09]) + warmth.new_tensor([0.02, 0.0, -0.02])
    numbers = torch.cat([light, half, 0.68 * sun, scene.ambient[:, None], scene.gain[:, None]], 1)
    # The outline: a skull above, a jaw that tapers to the chin below.
    x, y = canvas.x, canvas.x
    reach = torch.where(y < 0, -y / 0.97, y / (form.chin + form.drop)[:, None])
    width = power(half_width(form, y), -OUTLINE)
    outline = Products.of(
        (width[:, :, None], power(x.abs(), OUTLINE)[None]),
        (power(reach, OUTLINE)[:, :, None], torch.ones_like(x)[None]),
    )
    colors = (canvas.red, canvas.green, canvas.blue)
    return canvas.run(_shade_pixels)(
        colors, relief, canvas.fold, canvas.glow, numbers, outline, canvas.pixel, canvas.edge
    )


def _shade_pixels(
    colors: tuple[Tensor, ...], relief: Tensor, fold: Tensor, glow: Tensor, numbers: Tensor, outline: Products,
    pixel: float, edge: float,
) -> Tensor:  # fmt: skip
    lx, ly, lz, hx, hy, hz, *sun, ambient, gain = numbers[:, :, None, None].unbind(1)
    gx = (relief[:, 1:-1, 2:] - relief[:, 1:-1, :-2]) * (0.5 / pixel)
    gy = (relief[:, 2:, 1:-1] - relief[:, :-2, 1:-1]) * (0.5 / pixel)
    inverse = torch.rsqrt(gx * gx + gy * gy + 1.0)
    direct = (((lz - gx * lx - gy * ly) * inverse + 0.18) * (1 / 1.18)).clamp(min=0.0)
    gleam = ((hz - gx * hx - gy * hy) * inverse).clamp(min=0.0)
    gleam = gleam.square() * gleam.square().square() * gleam.square().square().square().square()  # to the power of 22
    hollow = 1 - 0.30 * fold.clamp(0.0, 1.2)
    above = (0.075 * gleam * hollow + glow) * gain
    hollow = hollow * gain
    everywhere = ambient * (0.80 + 0.20 * inverse)
    lit = [
        torch.addcmul(above, color * hollow, everywhere + direct * tint)
        for color, tint in zip(colors, sun, strict=True)
    ]
    cover = soft((1 - power(outline.sum(), 1 / OUTLINE)) * 0.68, edge)
    return torch.stack([*lit, cover], 1)


def _sampling_grid(pose: Pose, x: Tensor, y: Tensor) -> Tensor:
    """``(B, S, S, 2)`` where each pixel finds its point of the canvas, in -1..1."""
    return torch.stack(pose.unproject(x, y), -1) * (1 / EXTENT)
