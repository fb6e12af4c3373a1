"""From raw uint8 faces to what a Clip takes, with or without random augmentation.

Pixels and annotations change alike. A sample's randomness depends on ``(seed, epoch, index)`` alone: neither
the number of workers nor the place in a batch changes it, and torch's global generator is left as it was.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from fer_core.batch import Batch
from fer_core.data import mirror
from fer_core.data.dataset import unstack
from fer_core.errors import UserError

_BICUBIC = v2.InterpolationMode.BICUBIC
_NEAREST = v2.InterpolationMode.NEAREST_EXACT

Box = tuple[int, int, int, int]  # top, left, height, width, in pixels


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training face; by default there are none.

    Args:
        crop_scale: Smallest and largest share of the area that a random crop keeps; ``(1, 1)`` crops nothing.
        crop_ratio: Smallest and largest ratio of a crop's width to its height.
        flip: Probability of a left-right flip.
        brightness: Largest relative change; 0.4 draws a factor from 0.6 to 1.4.
        contrast: As ``brightness``.
        saturation: As ``brightness``.
        hue: Largest shift of the colour circle, 0 to 0.5.
        erasing: Probability that a rectangle is set to the mean colour.
        erasing_scale: Smallest and largest share of the area of that rectangle.
    """

    crop_scale: tuple[float, float] = (1.0, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    erasing: float = 0.0
    erasing_scale: tuple[float, float] = (0.02, 0.33)

    def __post_init__(self) -> None:
        for name, limit in (("crop_scale", 1.0), ("erasing_scale", 1.0), ("crop_ratio", math.inf)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= limit:
                raise UserError(f"{name}: expected 0 < smallest <= largest <= {limit:g}, got {(low, high)}; mend it")
        for name in ("flip", "brightness", "contrast", "saturation", "hue", "erasing"):
            value, limit = getattr(self, name), 0.5 if name == "hue" else 1
            if not 0 <= value <= limit:
                raise UserError(f"{name}: expected 0 to {limit}, got {value}; choose a value in between")

    @property
    def off(self) -> bool:
        """Whether nothing is changed."""
        chances = (self.flip, self.erasing, self.brightness, self.contrast, self.saturation, self.hue)
        return self.crop_scale == (1.0, 1.0) and not any(chances)


@contextmanager
def _own_randomness() -> Iterator[Callable[[Sequence[int]], None]]:
    """Gives a function that seeds torch's CPU generator, whose state comes back at the end."""
    state = torch.get_rng_state()

    def seed(entropy: Sequence[int]) -> None:
        torch.default_generator.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))

    try:
        yield seed
    finally:
        torch.set_rng_state(state)


class Tower(Protocol):
    """What a transform asks of a Clip.

    Attributes:
        image_size: As of :class:`Transform`.
        mean: As of :class:`Transform`.
        std: As of :class:`Transform`.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Transform:
    """Resizes as CLIP does (bicubic with antialiasing to the shorter side, centre crop), augments and normalises.

    Args:
        image_size: Side of the square that the Clip takes, in pixels.
        mean: Mean of each colour channel in 0..1, as the Clip states it.
        std: Standard deviation of each colour channel.
        train: Whether to augment.
        augmentation: What to change at random where ``train`` is true.
    """

    def __init__(
        self,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        train: bool = False,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.image_size, self.train = image_size, train
        self.mean = torch.tensor(mean, dtype=torch.float32).view(3, 1, 1) * 255
        self.std = torch.tensor(std, dtype=torch.float32).view(3, 1, 1) * 255
        self.augmentation = (augmentation or Augmentation()) if train else Augmentation()
        chosen = self.augmentation
        jitters = (chosen.brightness, chosen.contrast, chosen.saturation, chosen.hue)
        self._jitter = v2.ColorJitter(*jitters) if any(jitters) else None

    @classmethod
    def of(cls, tower: Tower, train: bool = False, augmentation: Augmentation | None = None) -> Self:
        """The transform to what a Clip takes; further arguments as of the class."""
        return cls(tower.image_size, tower.mean, tower.std, train, augmentation)

    def __call__(self, batch: Batch, seed: int = 0, epoch: int = 0) -> Batch:
        """Transforms a batch of raw samples, or one sample without the batch axis.

        Args:
            batch: ``image`` uint8 ``(B, 3, H, W)`` or ``(B, T, 3, H, W)``, ``parsing`` of the same height and width.
                All frames of a clip are changed alike.
            seed: The run's seed, 0 or more.
            epoch: The epoch, 0 or more.

        Returns:
            The batch with ``image`` float32, normalised, ``(..., 3, S, S)``; ``parsing`` in that size; ``landmarks`` in
            0..1 of the new image, outside of it where the crop left them out.

        Raises:
            ValueError: If the image is not uint8, or the parsing map has another size.
        """
        if batch.label.ndim == 0:
            return unstack(self(Batch.stack([batch]), seed, epoch))
        image, parsing = batch.image, batch.parsing
        if image.dtype != torch.uint8:
            raise ValueError(f"expected raw uint8 images, got {image.dtype}")
        if parsing is not None and parsing.shape[-2:] != image.shape[-2:]:
            raise ValueError(f"expected parsing maps of size {image.shape[-2:]}, got {parsing.shape[-2:]}")
        # Grey faces come as one channel seen three times; resizing it once is enough.
        if image.stride(-3) == 0:
            batch = replace(batch, image=image[..., :1, :, :])
        return self._plain(batch) if self.augmentation.off else self._augmented(batch, seed, epoch)

    def _normalised(self, image: Tensor) -> Tensor:
        return (image.to(torch.float32) - self.mean) / self.std

    def _plain(self, batch: Batch) -> Batch:
        """The whole batch at once, without randomness."""
        height, width = batch.image.shape[-2:]
        size = [self.image_size, self.image_size]
        image = F.center_crop(F.resize(batch.image, [self.image_size], _BICUBIC, antialias=True), size)
        parsing, landmarks = batch.parsing, batch.landmarks
        if parsing is not None:
            resized = F.resize(parsing.unsqueeze(-3), [self.image_size], _NEAREST)
            parsing = F.center_crop(resized, size).squeeze(-3)
        if landmarks is not None:
            side = min(height, width)
            landmarks = _cropped(landmarks, (height, width), ((height - side) / 2, (width - side) / 2, side, side))
        return replace(batch, image=self._normalised(image), parsing=parsing, landmarks=landmarks)

    def _augmented(self, batch: Batch, seed: int, epoch: int) -> Batch:
        """Sample by sample, each under its own seed."""
        size = [self.image_size, self.image_size]
        images, changed, erased = [], [], []
        with _own_randomness() as reseed:
            for place, index in enumerate(batch.index.tolist()):
                reseed((seed, epoch, index))
                image = batch.image[place]
                box = self._draw_box(image)
                flip = bool(torch.rand(()) < self.augmentation.flip)
                image = F.resized_crop(image, *box, size, _BICUBIC, antialias=True)
                image = F.horizontal_flip(image) if flip else image
                if self._jitter is not None:
                    image = self._jitter(image.expand(*image.shape[:-3], 3, -1, -1))
                if torch.rand(()) < self.augmentation.erasing:
                    rectangle = v2.RandomErasing.get_params(image, self.augmentation.erasing_scale, (0.3, 3.3), [0.0])
                    if rectangle[2:4] != tuple(image.shape[-2:]):  # the whole image: none fitted, nothing is erased
                        erased.append((place, *rectangle[:4]))
                images.append(image)
                changed.append(self._annotations(batch, place, box, flip))
        image = self._normalised(torch.stack(images))
        for place, top, left, height, width in erased:
            image[place, ..., top : top + height, left : left + width] = 0  # the mean colour, once normalised
        captions = batch.caption and [annotations.pop("caption") for annotations in changed]
        stacked = {name: torch.stack([annotations[name] for annotations in changed]) for name in changed[0]}
        return replace(batch, image=image, caption=captions, **stacked)

    def _draw_box(self, image: Tensor) -> Box:
        """What is kept of an image ``(..., C, H, W)``: the drawn crop, or the centre square."""
        chosen = self.augmentation
        if chosen.crop_scale == (1.0, 1.0):
            height, width = image.shape[-2:]
            side = min(height, width)
            return (height - side) // 2, (width - side) // 2, side, side
        return v2.RandomResizedCrop.get_params(image, list(chosen.crop_scale), list(chosen.crop_ratio))

    def _annotations(self, batch: Batch, place: int, box: Box, flip: bool) -> dict[str, Any]:
        """One sample's annotations, changed as its pixels were."""
        annotations: dict[str, Any] = {}
        if batch.landmarks is not None:
            points = _cropped(batch.landmarks[place], batch.image.shape[-2:], box)
            annotations["landmarks"] = mirror.landmarks(points) if flip else points
        if batch.parsing is not None:
            size = [self.image_size, self.image_size]
            classes = F.resized_crop(batch.parsing[place].unsqueeze(-3), *box, size, _NEAREST).squeeze(-3)
            annotations["parsing"] = mirror.parsing(classes) if flip else classes
        if batch.action_units is not None:
            units = batch.action_units[place]
            annotations["action_units"] = mirror.action_units(units) if flip else units
        if batch.caption is not None:
            annotations["caption"] = mirror.swap_sides(batch.caption[place]) if flip else batch.caption[place]
        return annotations


def _cropped(landmarks: Tensor, size: Sequence[int], box: tuple[float, float, float, float]) -> Tensor:
    """Landmarks ``(..., 2)`` in 0..1 of an image of ``size`` (height, width), in 0..1 of its box."""
    top, left, height, width = box
    scale = landmarks.new_tensor([size[1] / width, size[0] / height])
    return landmarks * scale - landmarks.new_tensor([left / width, top / height])
