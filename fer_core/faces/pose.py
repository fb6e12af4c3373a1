"""Turning the head: between the flat face, a shallow relief in space, and the picture."""

import torch
from torch import Tensor

from fer_core.faces.action_units import column
from fer_core.faces.canvas import blob
from fer_core.faces.scene import Scene

_DEPTH = 0.46  # how far the middle of the face stands before its rim, in face units
_STEPS = 7  # fixed-point steps of the inverse; at the largest turns each still shrinks the error by a third


def depth(u: Tensor, v: Tensor) -> Tensor:
    """How far a point of the face stands towards the viewer: a rounded head and a nose."""
    bend = torch.add(u.square(), (v + 0.05).square(), alpha=(0.85 / 1.20) ** 2)
    head = (_DEPTH - (_DEPTH / 0.85**2) * bend).clamp(min=-0.35)
    return torch.add(head, blob(u, v - 0.20, 0.14, 0.20), alpha=0.10)


class Pose:
    """The map between flat face coordinates ``(u, v)`` and picture coordinates ``(x, y)`` of a batch.

    Both are in face units, x to the right and y down; the picture spans -EXTENT..EXTENT.

    Args:
        scene: ``B`` views.
        units: ``(B, A)`` intensities; AU51 to AU54 turn the head.

    Attributes:
        yaw: ``(B,)`` radians, pitch and roll likewise.
        turns: Six times ``(B,)``: cosine and sine of yaw, pitch and roll.
    """

    def __init__(self, scene: Scene, units: Tensor) -> None:
        au = lambda code: units[:, column(code)]  # noqa: E731
        self.yaw = (scene.yaw + 0.48 * (au("AU51") - au("AU52"))).clamp(-0.72, 0.72)
        self.pitch = (scene.pitch + 0.34 * (au("AU54") - au("AU53"))).clamp(-0.50, 0.50)
        self.roll, self.shift, self.scale = scene.roll, scene.shift, scene.scale
        angles = (self.yaw, self.pitch, self.roll)
        self.turns = tuple(part for angle in angles for part in (torch.cos(angle), torch.sin(angle)))
        # What the inverse multiplies with at each step: u = (x - z sin yaw) / cos yaw and
        # v = (y - (z cos yaw - u sin yaw) sin pitch) / cos pitch.
        cos_yaw, sin_yaw, cos_pitch, sin_pitch, *_ = self.turns
        lean = sin_pitch / cos_pitch
        self._inverse = (1 / cos_yaw, 1 / cos_pitch, -sin_yaw / cos_yaw, -cos_yaw * lean, sin_yaw * lean)

    def _turns(self, dimensions: int) -> tuple[Tensor, ...]:
        return tuple(turn.view(-1, *[1] * dimensions) for turn in self.turns)

    def _frame(self, dimensions: int) -> tuple[Tensor, Tensor, Tensor]:
        grow = lambda value: value.view(-1, *[1] * dimensions)  # noqa: E731
        return grow(self.shift[:, 0]), grow(self.shift[:, 1]), grow(self.scale)

    def project(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Picture coordinates of points ``(B, ...)`` of the face."""
        dimensions = u.dim() - 1
        cos_yaw, sin_yaw, cos_pitch, sin_pitch, cos_roll, sin_roll = self._turns(dimensions)
        left, top, scale = self._frame(dimensions)
        z = depth(u, v)
        x = u * cos_yaw + z * sin_yaw
        y = v * cos_pitch + (z * cos_yaw - u * sin_yaw) * sin_pitch
        return scale * (x * cos_roll - y * sin_roll) + left, scale * (x * sin_roll + y * cos_roll) + top

    def upright(self, x: Tensor, y: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Picture coordinates without roll, shift and scale, each a sum of two terms.

        Args:
            x: ``(B, H, W)``, ``(W,)`` for the columns of a grid, or what broadcasts to either.
            y: Likewise; ``(H, 1)`` for the rows of a grid.

        Returns:
            x as the term of ``x`` and that of ``y``; y likewise.
        """
        *_, cos_roll, sin_roll = self._turns(2)
        left, top, scale = self._frame(2)
        dx, dy = (x - left) / scale, (y - top) / scale
        return (dx * cos_roll, dy * sin_roll), (-dx * sin_roll, dy * cos_roll)

    def unproject(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Points of the face seen at upright picture coordinates ``(B, H, W)``: the inverse of :meth:`project`."""
        per_x, per_y, depth_x, depth_y, lean = (value[:, None, None] for value in self._inverse)
        u = start_u = x * per_x
        v = start_v = y * per_y
        for _ in range(_STEPS):
            z = depth(u, v)
            u = torch.addcmul(start_u, z, depth_x)
            v = torch.addcmul(torch.addcmul(start_v, z, depth_y), u, lean)
        return u, v

    def light(self, scene: Scene) -> Tensor:
        """``(B, 3)`` unit vector towards the light, as the turned head sees it."""
        cos_yaw, sin_yaw, cos_pitch, sin_pitch, cos_roll, sin_roll = self.turns
        x, y = scene.light.unbind(1)
        x, y = x * cos_roll + y * sin_roll, y * cos_roll - x * sin_roll
        z = torch.ones_like(x)
        # Undo the pitch, then the yaw.
        y, z = y * cos_pitch - z * sin_pitch, z * cos_pitch + y * sin_pitch
        x, z = x * cos_yaw - z * sin_yaw, z * cos_yaw + x * sin_yaw
        return torch.nn.functional.normalize(torch.stack([x, y, z], 1), dim=1)
