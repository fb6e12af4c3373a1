"""Turning the head: between the flat face, a shallow relief in space, and the picture."""

import torch
from torch import Tensor

from fer_core.faces.action_units import column
from fer_core.faces.canvas import blob
from fer_core.faces.scene import Scene

_DEPTH = 0.46  # how far the middle of the face stands before its rim, in face units
_STEPS = 7  # fixed-point steps of the inverse; at the largest turns each still shrinks the error by a third


def depth(u: Tensor, v: Tensor) -> Tensor:
    """How far a point of the face stands towards the viewer."""
    round_head = _DEPTH * (1 - (u / 0.85) ** 2 - ((v + 0.05) / 1.20) ** 2)
    return round_head.clamp(min=-0.35) + 0.10 * blob(u, v - 0.20, 0.14, 0.20)


class Pose:
    """The map between flat face coordinates ``(u, v)`` and picture coordinates ``(x, y)`` of a batch.

    Both are in face units, x to the right and y down; the picture spans -EXTENT..EXTENT.

    Args:
        scene: ``B`` views.
        units: ``(B, A)`` intensities; AU51 to AU54 turn the head.
    """

    def __init__(self, scene: Scene, units: Tensor) -> None:
        au = lambda code: units[:, column(code)]  # noqa: E731
        self.yaw = (scene.yaw + 0.48 * (au("AU51") - au("AU52"))).clamp(-0.72, 0.72)
        self.pitch = (scene.pitch + 0.34 * (au("AU54") - au("AU53"))).clamp(-0.50, 0.50)
        self.roll, self.shift, self.scale = scene.roll, scene.shift, scene.scale

    def _angles(self, dimensions: int) -> tuple[Tensor, ...]:
        grow = lambda value: value.view(-1, *[1] * dimensions)  # noqa: E731
        angles = (self.yaw, self.pitch, self.roll)
        return tuple(grow(part) for angle in angles for part in (torch.cos(angle), torch.sin(angle)))

    def _frame(self, dimensions: int) -> tuple[Tensor, Tensor, Tensor]:
        grow = lambda value: value.view(-1, *[1] * dimensions)  # noqa: E731
        return grow(self.shift[:, 0]), grow(self.shift[:, 1]), grow(self.scale)

    def project(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Picture coordinates of points ``(B, ...)`` of the face."""
        dimensions = u.dim() - 1
        cos_yaw, sin_yaw, cos_pitch, sin_pitch, cos_roll, sin_roll = self._angles(dimensions)
        left, top, scale = self._frame(dimensions)
        z = depth(u, v)
        x = u * cos_yaw + z * sin_yaw
        y = v * cos_pitch + (z * cos_yaw - u * sin_yaw) * sin_pitch
        return scale * (x * cos_roll - y * sin_roll) + left, scale * (x * sin_roll + y * cos_roll) + top

    def upright(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Picture coordinates without roll, shift and scale, ``(B, H, W)``."""
        *_, cos_roll, sin_roll = self._angles(2)
        left, top, scale = self._frame(2)
        dx, dy = (x - left) / scale, (y - top) / scale
        return dx * cos_roll + dy * sin_roll, dy * cos_roll - dx * sin_roll

    def unproject(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Points of the face seen at upright picture coordinates: the inverse of :meth:`project`."""
        cos_yaw, sin_yaw, cos_pitch, sin_pitch, *_ = self._angles(2)
        u, v = x / cos_yaw, y / cos_pitch
        for _ in range(_STEPS):
            z = depth(u, v)
            u = (x - z * sin_yaw) / cos_yaw
            v = (y - (z * cos_yaw - u * sin_yaw) * sin_pitch) / cos_pitch
        return u, v

    def light(self, scene: Scene) -> Tensor:
        """``(B, 3)`` unit vector towards the light, as the turned head sees it."""
        cos_yaw, sin_yaw, cos_pitch, sin_pitch, cos_roll, sin_roll = (value for value in self._angles(0))
        x, y = scene.light.unbind(1)
        x, y = x * cos_roll + y * sin_roll, y * cos_roll - x * sin_roll
        z = torch.ones_like(x)
        # Undo the pitch, then the yaw.
        y, z = y * cos_pitch - z * sin_pitch, z * cos_pitch + y * sin_pitch
        x, z = x * cos_yaw - z * sin_yaw, z * cos_yaw + x * sin_yaw
        return torch.nn.functional.normalize(torch.stack([x, y, z], 1), dim=1)
