"""Where and how a face is seen: pose, light, background, clothes, occlusion, camera."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fer_core.faces import draws

#: The mean scale of views as sets draw them, which is cropped to the face. Methods trained on them know no other.
CROP = 1.36
OCCLUSIONS: tuple[str, ...] = ("none", "hand", "mask")
CLOTHES: dict[str, tuple[float, float, float]] = {
    "black": (0.10, 0.10, 0.11),
    "white": (0.90, 0.90, 0.88),
    "grey": (0.48, 0.49, 0.51),
    "red": (0.70, 0.15, 0.16),
    "blue": (0.17, 0.29, 0.60),
    "green": (0.18, 0.45, 0.26),
    "yellow": (0.86, 0.70, 0.22),
}


@dataclass
class Scene:
    """A batch of views.

    Args:
        yaw: ``(B,)`` radians; positive turns the face to the viewer's right.
        pitch: ``(B,)`` radians; positive lowers it.
        roll: ``(B,)`` radians; positive tilts it clockwise.
        shift: ``(B, 2)`` x and y in face units.
        scale: ``(B,)`` 1 fills the picture as the canvas does.
        light: ``(B, 2)`` x and y of the light's direction (towards the light; y down), z being 1.
        ambient: ``(B,)`` share of light from everywhere.
        gain: ``(B,)`` brightness.
        warmth: ``(B,)`` -1 cold to 1 warm light.
        background: ``(B, 2, 3)`` colours at the top and at the bottom.
        pattern: ``(B, 3)`` frequency in x and y, and strength of the background's pattern.
        clothes: ``(B,)`` int64, index into ``CLOTHES``.
        occlusion: ``(B,)`` int64, index into ``OCCLUSIONS``.
        hand: ``(B, 3)`` the hand's x, y and tilt.
        mask_color: ``(B, 3)`` colour of the face mask.
        blur: ``(B,)`` standard deviation in face units.
        noise: ``(B,)`` standard deviation in 0..1.
        grey: ``(B,)`` 1 for a black and white photograph.
        jpeg: ``(B,)`` int64 JPEG quality, 0 for none.
        seed: ``(B,)`` int64, of the noise.
    """

    yaw: Tensor
    pitch: Tensor
    roll: Tensor
    shift: Tensor
    scale: Tensor
    light: Tensor
    ambient: Tensor
    gain: Tensor
    warmth: Tensor
    background: Tensor
    pattern: Tensor
    clothes: Tensor
    occlusion: Tensor
    hand: Tensor
    mask_color: Tensor
    blur: Tensor
    noise: Tensor
    grey: Tensor
    jpeg: Tensor
    seed: Tensor

    def __len__(self) -> int:
        return len(self.yaw)

    def take(self, positions: Tensor) -> "Scene":
        """The views at the given positions, in that order, with repetition."""
        return Scene(**{field.name: getattr(self, field.name)[positions] for field in fields(self)})

    def to(self, device: torch.device | str) -> "Scene":
        """The same views on another device."""
        return Scene(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def studio(count: int = 1) -> Scene:
    """Frontal, evenly lit views before a grey wall, hair and neck included: nothing but the face differs."""
    zero, none = torch.zeros(count), torch.zeros(count, dtype=torch.long)
    wall = torch.tensor([[0.72, 0.73, 0.75], [0.58, 0.59, 0.61]])
    return Scene(
        yaw=zero.clone(), pitch=zero.clone(), roll=zero.clone(), shift=torch.zeros(count, 2), scale=zero + 1.0,
        light=torch.tensor([-0.45, -0.55]).repeat(count, 1), ambient=zero + 0.46, gain=zero + 1.0,
        warmth=zero.clone(), background=wall.repeat(count, 1, 1), pattern=torch.zeros(count, 3), clothes=none + 4,
        occlusion=none.clone(), hand=torch.zeros(count, 3), mask_color=torch.full((count, 3), 0.75),
        blur=zero.clone(), noise=zero.clone(), grey=zero.clone(), jpeg=none.clone(), seed=none.clone(),
    )  # fmt: skip


def sample(count: int, generator: torch.Generator, variety: float = 1.0) -> Scene:
    """Draws views as they come in the wild, cropped to the face as data sets of this field are.

    Args:
        count: How many.
        generator: A CPU generator; the same state gives the same views.
        variety: 0 gives :func:`studio`-like framing, 1 the full range.

    Returns:
        The views, on the CPU.
    """
    uniform = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    around = lambda *shape: variety * (uniform(*shape) + uniform(*shape) - 1.0)  # noqa: E731
    often = lambda share: (uniform(count) < share * variety).float()  # noqa: E731
    top = 0.08 + 0.84 * uniform(count, 1) + 0.18 * (uniform(count, 3) - 0.5)
    bottom = top * (0.65 + 0.5 * uniform(count, 1))
    kinds = torch.tensor([1.0 - 0.08 * variety, 0.05 * variety, 0.03 * variety])
    occlusion = draws.choose(kinds.repeat(count, 1), generator)
    masks = torch.tensor([[0.55, 0.72, 0.82], [0.92, 0.93, 0.93], [0.12, 0.12, 0.13]])
    light = torch.stack([1.3 * around(count), -0.45 + 0.7 * around(count)], 1)
    return Scene(
        yaw=0.45 * around(count),
        pitch=0.24 * around(count),
        roll=0.22 * around(count),
        shift=0.08 * around(count, 2),
        scale=1.0 + (CROP - 1.0) * variety + 0.10 * around(count),
        light=light,
        ambient=0.42 + 0.16 * around(count),
        gain=1.0 + 0.24 * around(count),
        warmth=around(count),
        background=torch.stack([top, bottom], 1).clamp(0.0, 1.0),
        pattern=torch.cat([12 * (uniform(count, 2) - 0.3), often(0.5)[:, None] * 0.22 * uniform(count, 1)], 1),
        clothes=torch.randint(len(CLOTHES), (count,), generator=generator),
        occlusion=occlusion,
        hand=torch.stack([1.1 * (uniform(count) - 0.5), 0.35 + 0.45 * uniform(count), 1.2 * (uniform(count) - 0.5)], 1),
        mask_color=masks[torch.randint(3, (count,), generator=generator)],
        blur=often(0.25) * 0.028 * uniform(count),
        noise=variety * 0.04 * uniform(count) ** 2,
        grey=often(0.15),
        jpeg=(often(0.4) * (30 + 60 * uniform(count))).long(),
        seed=draws.seeds(count, generator),
    )
