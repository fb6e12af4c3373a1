"""The 68 points of the iBUG markup, read off the same geometry that is drawn."""

import torch
from torch import Tensor

from fer_core.faces.canvas import EXTENT
from fer_core.faces.lower import mouth_lines
from fer_core.faces.muscles import OUTLINE, Shape, half_width
from fer_core.faces.pose import Pose
from fer_core.faces.upper import brow_line, lid_lines

#: Position of each point's mirror image, which is what a horizontal flip makes of the order.
MIRROR: tuple[int, ...] = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip


def jaw_line(shape: Shape, t: Tensor) -> tuple[Tensor, Tensor]:
    """Points of the face's outline, from the right ear (-1) over the chin (0) to the left ear (1).

    Args:
        shape: The faces.
        t: ``(B, K)``.

    Returns:
        ``u`` and ``v``, each ``(B, K)``.
    """
    angle = (1 - t.abs()) * (torch.pi / 2)
    bottom = (shape.chin + shape.drop)[:, None]
    v = bottom * torch.sin(angle).clamp(min=0.0) ** (2 / OUTLINE)
    u = half_width(shape, v) * torch.cos(angle).clamp(min=0.0) ** (2 / OUTLINE)
    return u * torch.sign(t), v


def landmarks(shape: Shape, pose: Pose) -> Tensor:
    """The 68 points in the picture.

    Args:
        shape: ``B`` faces.
        pose: How they are turned and framed.

    Returns:
        ``(B, 68, 2)`` x and y in 0..1 of the picture; points turned away or occluded are given all the same.
    """
    u, v = flat_landmarks(shape)
    x, y = pose.project(u, v)
    return (torch.stack([x, y], -1) + EXTENT) / (2 * EXTENT)


def flat_landmarks(shape: Shape) -> tuple[Tensor, Tensor]:
    """The 68 points of the upright, frontal face: ``u`` and ``v``, each ``(B, 68)``."""
    batch, like = len(shape.drop), shape.drop
    row = lambda *values: like.new_tensor(values).expand(batch, len(values))  # noqa: E731
    jaw_u, jaw_v = jaw_line(shape, like.new_tensor([i / 8 - 1 for i in range(17)]).expand(batch, 17))

    t = row(1.0, 0.75, 0.5, 0.25, 0.02)
    brow_u = shape.brow_x[:, :1] + t * (shape.brow_x[:, 1:] - shape.brow_x[:, :1])
    brow_v = brow_line(shape, t)
    brows_u = torch.cat([-brow_u, brow_u.flip(1)], 1)
    brows_v = torch.cat([brow_v, brow_v.flip(1)], 1)

    tip, wing = shape.nose_y[:, None], shape.nose_width[:, None]
    bridge_v = -0.14 + (tip - 0.03 + 0.14) * row(0.0, 1 / 3, 2 / 3, 1.0)
    base_u = wing * row(-0.85, -0.42, 0.0, 0.42, 0.85)
    base_v = tip + row(0.020, 0.040, 0.052, 0.040, 0.020)

    # Outer corner, two on the upper lid, inner corner, two on the lower lid; t grows outwards on both sides.
    t = row(1.0, 0.4, -0.4, -1.0, -0.4, 0.4)[:, None].expand(-1, 2, -1)
    upper, lower = lid_lines(shape, t)
    lid_v = torch.cat([upper[..., :4], lower[..., 4:]], -1)
    lid_u = shape.eye_x[..., None] + t * shape.eye_width[..., None]
    order = [3, 2, 1, 0, 5, 4]  # the left eye starts at its inner corner
    eyes_u = torch.cat([-lid_u[:, 0], lid_u[:, 1, order]], 1)
    eyes_v = torch.cat([lid_v[:, 0], lid_v[:, 1, order]], 1)

    at = row(0.999, 0.62, 0.26, 0.0)[:, None] * shape.mouth_width[..., None]
    lines = mouth_lines(shape, at)
    right, left = (-at[:, 0], at[:, 1])
    corner = 0.5 * (lines.upper + lines.lower)
    top_u = torch.cat([right, left.flip(1)[:, 1:]], 1)
    top_v = torch.cat([corner[:, 0, :1], lines.top[:, 0, 1:], lines.top[:, 1].flip(1)[:, 1:3], corner[:, 1, :1]], 1)
    bottom_u = torch.cat([left[:, 1:3], left[:, 3:], right.flip(1)[:, 1:3]], 1)
    bottom_v = torch.cat([lines.bottom[:, 1, 1:], lines.bottom[:, 0].flip(1)[:, 1:3]], 1)
    at = row(0.86, 0.40, 0.0)[:, None] * shape.mouth_width[..., None]
    lines = mouth_lines(shape, at)
    right, left = (-at[:, 0], at[:, 1])
    edge = 0.5 * (lines.upper + lines.lower)
    inner_u = torch.cat([right[:, :2], left[:, 2:], left.flip(1)[:, 1:], left[:, 1:], right[:, 1:2]], 1)
    inner_v = torch.cat(
        [edge[:, 0, :1], lines.upper[:, 0, 1:], lines.upper[:, 1, 1:2], edge[:, 1, :1], lines.lower[:, 1, 1:],
         lines.lower[:, 0, 1:2]], 1
    )  # fmt: skip
    return (
        torch.cat([jaw_u, brows_u, row(0.0, 0.0, 0.0, 0.0), base_u, eyes_u, top_u, bottom_u, inner_u], 1),
        torch.cat([jaw_v, brows_v, bridge_v, base_v, eyes_v, top_v, bottom_v, inner_v], 1),
    )
