"""What is seen beside and below the face: background, clothes, neck, ears and the hair behind the head."""

from collections.abc import Callable

import torch
from torch import Tensor

from fer_core.faces.canvas import EXTENT, PARSING, Products, blob, bundle, power, ridge, sine, soft
from fer_core.faces.hair import back_hair, strands
from fer_core.faces.identity import Identity
from fer_core.faces.muscles import Shape
from fer_core.faces.pose import Pose
from fer_core.faces.scene import CLOTHES, Scene


def palette(table: dict[str, tuple[float, float, float]], index: Tensor) -> Tensor:
    """``(B, 3)`` colours out of a table of named ones."""
    return torch.tensor(list(table.values()), device=index.device)[index]


def draw_behind(
    front: Tensor, across: Tensor, down: Tensor, pose: Pose, scene: Scene, form: Shape, identity: Identity,
    skin: Tensor, hair_color: Tensor, style: Tensor, phase: Tensor, truth: bool, run: Callable[[Callable], Callable],
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Sets the head before everything else.

    Args:
        front: ``(B, 4, S, S)`` the head's picture and its coverage.
        across: ``(S,)`` picture coordinates in face units.
        down: ``(S, 1)``.
        pose: Of the head.
        scene: ``B`` views.
        form: ``B`` faces.
        identity: ``B`` people.
        skin: ``(B, 3)``.
        hair_color: ``(B, 3)``.
        style: ``(B, 9)`` rows of the table of hair styles.
        phase: ``(B,)`` phase of strands and pattern.
        truth: Whether to give parsing labels, too.
        run: Turns a pixel function into what is to be called, see :class:`~fer_core.faces.canvas.Canvas`.

    Returns:
        ``(B, 3, S, S)``; and ``(B, S, S)`` labels of what lies behind the head, or None.
    """
    grow = lambda value: value[:, None, None]  # noqa: E731
    edge = 0.45 * 2 * EXTENT / len(across)
    phase = grow(phase)
    # The head's back lies behind the turning axis and moves the other way.
    (x_row, x_column), (y_row, y_column) = pose.upright(across, down)
    back_x, back_y = grow(0.09 * torch.sin(pose.yaw)), grow(0.08 * torch.sin(pose.pitch))
    _, _, _, _, _, end, flare, curl, amount = (grow(number) for number in style.unbind(1))
    waves = tuple(
        Products.of(*pair)
        for pair in (
            sine(
                grow(scene.pattern[:, 1]) * down + phase, grow(scene.pattern[:, 0]) * across, grow(scene.pattern[:, 2])
            ),
            sine(24.0 * (x_column + back_x) + phase, 24.0 * x_row),
            sine(7.0 * (y_column + back_y) + phase, 7.0 * y_row),
            sine(21.0 * (y_column + back_y) + 3.0 * phase, 21.0 * y_row),
            sine(9.0 * (y_column + back_y), 9.0 * y_row),
            sine(8.0 * (x_column + back_x), 8.0 * x_row),
        )
    )
    beside = across - grow(0.7 * scene.shift[:, 0])
    rows = bundle(x_row, y_row, 0.93 + 0.45 * power((beside / 1.1).abs(), 2.6), 0.45 * beside, (beside / 0.36) ** 2)
    columns = bundle(
        x_column, y_column, down, ((down - 0.90) / 0.22) ** 2, soft(1.06 - down, edge), soft(down - 0.85, 0.02)
    )
    ear = 1 / (0.085 + 0.0153 * grow(identity.trait("ear_size")))
    faces = bundle(
        back_x, back_y, phase,
        grow(form.face_width) + grow(style[:, 3]), 0.985 + grow(style[:, 4]), end, flare, curl, amount,
        0.33 + 0.05 * grow(identity.trait("jaw_width")),
        grow(form.chin + form.drop) + 0.12,
        ear / torch.cos(grow(pose.yaw)), ear * (grow(form.face_width) * 0.995 + 0.005), ear * (0.085 / 0.175),
    )  # fmt: skip
    mix = (down + EXTENT) / (2 * EXTENT)
    background = torch.lerp(scene.background[:, 0, :, None, None], scene.background[:, 1, :, None, None], mix)
    level = ((scene.ambient + 0.50) * scene.gain)[:, None]
    colors = bundle(
        0.62 * hair_color * level,
        palette(CLOTHES, scene.clothes) * level,
        skin * level,
        skin * skin.new_tensor([1.0, 0.90, 0.88]) * level,
    )
    weave = 0.80 + 0.10 * torch.sin(5 * across + 3 * down)
    image, covers = run(_behind_pixels)(front, rows, columns, faces, waves, background, colors, weave, edge, truth)
    if not truth:
        return image, None
    labels = torch.zeros_like(covers[0])
    for name, cover in zip(("hair", "clothes", "neck", "hair", "ear"), covers, strict=True):
        labels = torch.where(cover > 0.5, labels.new_full((), PARSING.index(name)), labels)
    return image, labels


def _behind_pixels(
    front: Tensor, rows: Tensor, columns: Tensor, faces: Tensor, waves: tuple[Products, ...], background: Tensor,
    colors: Tensor, weave: Tensor, edge: float, truth: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
    x_row, y_row, shoulder_line, neck_line, collar_row = rows.unbind()
    x_column, y_column, down, collar_column, above_collar, below_neck = columns.unbind()
    shift_x, shift_y, phase, width, top, end, flare, curl, amount, neck_width, chin, ear_x, ear_at, ear_y = (
        faces.unbind()
    )
    pattern, ends, *turned = (wave.sum() for wave in waves)
    x, y = x_row + x_column, y_row + y_column
    back_x, back_y = x + shift_x, y + shift_y

    hair = back_hair(back_x, back_y, ends, (width, top, end, flare, curl, amount), phase, edge)
    tint = strands(back_x, back_y, curl, phase, tuple(turned))
    shoulder = soft(down - shoulder_line, edge)
    neck = soft(neck_width - (0.55 * x + neck_line).abs(), edge) * soft(y - 0.35, 0.02)
    throat = torch.maximum(neck * above_collar, soft(1 - collar_row - collar_column, 0.05) * below_neck)
    under_chin = 0.58 + 0.30 * soft(y - chin, 0.05) - 0.10 * (x.abs() * (1 / 0.33)).clamp(max=1.0) ** 2
    sides = hair * soft((x.abs() - 0.46) * (end > 0.3), 0.03)
    ring_x, ring_y = back_x.abs() * ear_x - ear_at, (back_y - 0.06) * ear_y
    ring = ring_x * ring_x + ring_y * ring_y
    ear = soft((1 - ring) * 0.08, edge) * (end < 0.2)
    hollow = 0.80 - 0.26 * blob(ring_x - 0.1, ring_y, 0.50, 0.62) + 0.10 * ridge(ring - 0.8, 0.25)

    planes = []
    for channel in range(3):
        hair_color, cloth, skin, ear_skin = colors[:, :, channel, None, None].unbind()
        plane = background[:, channel] * (1 + pattern)
        # Long hair falls before the shoulders, so clothes and neck come first.
        plane = torch.lerp(plane, 0.8 * hair_color * tint, hair)
        plane = torch.lerp(plane, cloth * weave, shoulder)
        plane = torch.lerp(plane, skin * under_chin, throat)
        plane = torch.lerp(plane, hair_color * tint, sides)
        plane = torch.lerp(plane, ear_skin * hollow, ear)
        planes.append(torch.lerp(plane, front[:, channel], front[:, 3]))
    return torch.stack(planes, 1), (hair, shoulder, throat, sides, ear) if truth else ()
