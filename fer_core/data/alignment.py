"""From a raw photograph to a face in a fixed place: a versioned transform that records can name.

How faces were aligned decides scores as much as a method does, so nothing about it is left open: an
:class:`Alignment` holds every choice, and its digest stands for all of them.

Coordinates are pixels with x to the right and y down; the first pixel covers 0 to 1, so its centre is at 0.5 and the
image's right edge is its width. A transform is a matrix ``(2, 3)`` that takes ``(x, y, 1)`` of the photograph to
``(x, y)`` of the output.

The least-squares similarity is Umeyama's (1991, IEEE TPAMI 13(4), equations 40 to 43). Proportions of the five points
are those of the 112x112 template that ArcFace (Deng et al., 2019, arXiv 1801.07698) made common, made symmetric by us.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from fer_core import config
from fer_core.errors import UserError

#: Part of each digest; raise it with every change that alters an aligned pixel.
VERSION = 1

#: Five points, named by the person's own sides; the right eye is on the viewer's left.
FIVE_POINTS = ("right eye", "left eye", "nose tip", "right mouth corner", "left mouth corner")

# In units of the distance between the eyes, from the point between them.
_NOSE_DOWN, _MOUTH_HALF, _MOUTH_DOWN = 0.573, 0.414, 1.158
_KEPT_AROUND = 4  # output pixels around the crop that the bicubic kernel may touch
_NEAR_SINGULAR = 1e-9

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels


@dataclass(frozen=True)
class Alignment:
    """How a face is brought into its place.

    Args:
        size: Side of the square output in pixels.
        mode: ``"eyes"`` puts the centres of both eyes exactly in their places; ``"points"`` puts eyes, nose tip and
            mouth corners as near to theirs as a similarity can, which a turned head distorts less; ``"box"`` cuts the
            square around the face's box, without rotation.
        right_eye: Place of the person's right eye in the output, x and y in 0..1 of its side; unused in mode "box".
        left_eye: Place of the left eye.
        margin: Mode "box": what is added on every side, as a share of the box's longer side.
        several: Which face of several: the ``"largest"``, or the one nearest to the ``"centre"`` of the photograph.
        none: Without a face: ``"skip"`` leaves the photograph out, ``"error"`` stops, ``"centre"`` takes the centre
            square of the photograph.
        version: Of the code that aligns.
    """

    size: int = 224
    mode: Literal["eyes", "points", "box"] = "eyes"
    right_eye: tuple[float, float] = (0.34, 0.46)
    left_eye: tuple[float, float] = (0.66, 0.46)
    margin: float = 0.2
    several: Literal["largest", "centre"] = "largest"
    none: Literal["skip", "error", "centre"] = "skip"
    version: int = VERSION

    def __post_init__(self) -> None:
        known = {
            "mode": ("eyes", "points", "box"),
            "several": ("largest", "centre"),
            "none": ("skip", "error", "centre"),
        }
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise UserError(f"{name}: expected one of {', '.join(values)}, got {getattr(self, name)!r}; choose one")
        if not 16 <= self.size <= 4096:
            raise UserError(f"size: expected 16 to 4096 pixels, got {self.size}; choose a size in between")
        if not 0 <= self.margin <= 4:
            raise UserError(f"margin: expected 0 to 4 box sides, got {self.margin}; choose a margin in between")
        for x, y in (self.right_eye, self.left_eye):
            if not (0 < x < 1 and 0 < y < 1):
                raise UserError(f"eyes: expected places in 0..1 of the output, got {(x, y)}; mend them")
        if self.left_eye[0] - self.right_eye[0] < 0.05:
            raise UserError(
                f"eyes: expected the right eye on the viewer's left, 0.05 or more apart, got x {self.right_eye[0]} and "
                f"{self.left_eye[0]}; mend them"
            )
        if self.version != VERSION:
            raise UserError(
                f"version: expected {VERSION}, got {self.version}; align anew with this version of fer_core"
            )

    @property
    def digest(self) -> str:
        """16 hex digits that stand for every choice; records name them."""
        return config.digest({"alignment": self})

    @property
    def template(self) -> np.ndarray:
        """``(5, 2)`` pixels of the output where mode "points" puts :data:`FIVE_POINTS`."""
        right, left = np.array(self.right_eye), np.array(self.left_eye)
        across, middle = left - right, (left + right) / 2
        down = np.array([-across[1], across[0]])  # a quarter turn clockwise on the screen: from the eyes to the chin
        half = _MOUTH_HALF * across
        mouth = middle + _MOUTH_DOWN * down
        return self.size * np.stack([right, left, middle + _NOSE_DOWN * down, mouth - half, mouth + half])


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity (rotation, one scale, shift; never a reflection) with the least squared error.

    Args:
        source: ``(N, 2)`` points, two or more.
        target: ``(N, 2)`` where they should go.

    Returns:
        ``(2, 3)`` float64.

    Raises:
        UserError: If the source points fall into one, or are not finite.
    """
    source, target = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 2 or len(source) < 2:
        raise ValueError(f"expected two or more pairs of points, got shapes {source.shape} and {target.shape}")
    mean_source, mean_target = source.mean(axis=0), target.mean(axis=0)
    centred = source - mean_source
    variance = (centred**2).sum() / len(source)
    if not np.isfinite(variance) or variance < _NEAR_SINGULAR:
        raise UserError(
            "face points: expected finite points apart from each other, got ones that fall together; drop them"
        )
    covariance = (target - mean_target).T @ centred / len(source)
    left, singular, right = np.linalg.svd(covariance)
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = left @ np.diag(signs) @ right
    linear = (singular * signs).sum() / variance * rotation
    return np.column_stack([linear, mean_target - linear @ mean_source])


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """:data:`FIVE_POINTS` ``(5, 2)`` of the 68 landmarks ``(68, 2)``: eyes as the mean of their six points."""
    landmarks = np.asarray(landmarks, dtype=np.float64)
    eyes = [landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)]
    return np.stack([*eyes, landmarks[30], landmarks[48], landmarks[54]])


def from_points(alignment: Alignment, points: np.ndarray) -> np.ndarray:
    """The transform of a face with five points, in mode "eyes" or "points".

    Args:
        alignment: The choices.
        points: ``(5, 2)`` pixels of the photograph, as :data:`FIVE_POINTS`.

    Returns:
        ``(2, 3)``.

    Raises:
        UserError: If the points fall together.
    """
    used = 2 if alignment.mode == "eyes" else 5
    return umeyama(np.asarray(points)[:used], alignment.template[:used])


def from_box(alignment: Alignment, box: Box) -> np.ndarray:
    """The transform ``(2, 3)`` that cuts the square around a box, with the margin.

    Raises:
        UserError: If the box is empty.
    """
    left, top, right, bottom = box
    side = max(right - left, bottom - top) * (1 + 2 * alignment.margin)
    if not math.isfinite(side) or right <= left or bottom <= top:
        raise UserError(f"face box: expected left < right and top < bottom, got {tuple(box)}; drop it")
    return _square((left + right) / 2, (top + bottom) / 2, side, alignment.size)


def from_centre(alignment: Alignment, height: int, width: int) -> np.ndarray:
    """The transform ``(2, 3)`` that cuts the centre square of a photograph: what is left where no face is found."""
    return _square(width / 2, height / 2, min(height, width), alignment.size)


def _square(x: float, y: float, side: float, size: int) -> np.ndarray:
    scale = size / side
    return np.array([[scale, 0.0, size / 2 - scale * x], [0.0, scale, size / 2 - scale * y]])


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points ``(..., 2)`` of the photograph in the output."""
    return np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]


def inverse(matrix: np.ndarray) -> np.ndarray:
    """The transform ``(2, 3)`` from the output back to the photograph."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Pixels through a transform: antialiased where the face shrinks, bicubic, black outside of the photograph.

    Pillow does both steps: unlike ``warpAffine`` and ``grid_sample`` its resizing filters before it drops pixels, and
    it is needed for decoding anyway.

    Args:
        image: ``(H, W, 3)`` uint8.
        matrix: ``(2, 3)``.
        size: Side ``S`` of the output.

    Returns:
        ``(S, S, 3)`` uint8.
    """
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    picture, back = Image.fromarray(image), inverse(matrix)
    if scale < 1:
        # Only what the output shows is resized: photographs are large and faces in them small.
        corners = np.array(
            [[x, y] for x in (-_KEPT_AROUND, size + _KEPT_AROUND) for y in (-_KEPT_AROUND, size + _KEPT_AROUND)]
        )
        reach = apply(back, corners)
        left, top = np.maximum(np.floor(reach.min(axis=0)), 0).astype(int)
        right, bottom = np.minimum(np.ceil(reach.max(axis=0)), picture.size).astype(int)
        if left >= right or top >= bottom:
            return np.zeros((size, size, 3), dtype=np.uint8)
        width, height = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
        picture = picture.resize((width, height), Image.Resampling.BICUBIC, box=(left, top, right, bottom))
        shrink = np.array([width / (right - left), height / (bottom - top)])
        back = (back - [[0, 0, left], [0, 0, top]]) * shrink[:, None]
    moved = picture.transform((size, size), Image.Transform.AFFINE, back.ravel().tolist(), Image.Resampling.BICUBIC)
    return np.asarray(moved)
