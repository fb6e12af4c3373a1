"""Which faces a photograph shows, which of them is meant, and where an alignment puts it.

A :class:`FaceFinder` tells boxes and points; :class:`FacePlacer` chooses one face by the alignment's rules and counts
what it met: photographs with one face, with several, with none, and frames of clips that borrow their neighbour's
place. Coordinates are pixels as in :mod:`fer_core.data.alignment`.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fer_core import config
from fer_core.data import alignment as geometry
from fer_core.data.alignment import Alignment, Box
from fer_core.errors import UserError


@dataclass(frozen=True)
class Origin:
    """Where an image comes from, for finders that look results up.

    Args:
        path: Path of the photograph or clip below the data's folder, with slashes.
        frame: Number of the clip's frame from 0; None for a photograph.
        view: The part of the file that the image at hand shows, resized: left, top, right, bottom in the file's
            pixels. None for the whole file in its own size.
        matrix: The transform ``(2, 3)`` from the file's pixels to those of the image at hand, where an alignment made
            it; ``view`` is then not looked at.
    """

    path: str
    frame: int | None = None
    view: Box | None = None
    matrix: np.ndarray | None = field(default=None, compare=False)


@dataclass(frozen=True)
class FoundFace:
    """One face.

    Args:
        box: Left, top, right, bottom.
        points: ``(5, 2)`` as ``alignment.FIVE_POINTS``; None where only the box is known. Follows from ``landmarks``.
        landmarks: ``(68, 2)`` in the order of the 68-point markup; None where they are not known.
        score: How sure the finder is, in 0..1; None where it does not say.
    """

    box: Box
    points: np.ndarray | None = None
    landmarks: np.ndarray | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        if self.points is None and self.landmarks is not None:
            object.__setattr__(self, "points", geometry.five_points(self.landmarks))

    @classmethod
    def of(cls, landmarks: np.ndarray, score: float | None = None) -> "FoundFace":
        """The face of 68 landmarks, its box being theirs."""
        (left, top), (right, bottom) = landmarks.min(axis=0).tolist(), landmarks.max(axis=0).tolist()
        return cls((left, top, right, bottom), landmarks=landmarks, score=score)

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        left, top, right, bottom = self.box
        return max(0.0, right - left) * max(0.0, bottom - top)

    @property
    def centre(self) -> np.ndarray:
        """Of the box, ``(2,)``, in pixels."""
        left, top, right, bottom = self.box
        return np.array([(left + right) / 2, (top + bottom) / 2])


class FaceFinder(Protocol):
    """Anything that finds faces.

    Attributes:
        name: What pages and records call it.
        version: Changes when its answers may; with the name it is part of digests.
        by_pixels: Whether answers follow from the pixels alone; if not, the image's origin must be told.
    """

    name: str
    version: str
    by_pixels: bool

    def find(self, image: np.ndarray, origin: Origin | None = None) -> list[FoundFace]:
        """The faces of ``image`` ``(H, W, 3)`` uint8, in no order; an empty list where there are none."""
        ...


def pixel_key(image: np.ndarray) -> str:
    """SHA-256 of an image's shape and pixels ``(H, W, 3)`` uint8: equal pictures have equal keys everywhere."""
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def choose(
    faces: Sequence[FoundFace], several: str, height: int, width: int, previous: FoundFace | None = None
) -> FoundFace | None:
    """The face that is meant.

    Args:
        faces: Those found.
        several: ``"largest"`` box, or box nearest to the ``"centre"`` of the image.
        height: Of the image.
        width: Of the image.
        previous: The face of the frame before; the one nearest to it is then taken, so that a clip stays with one
            person.

    Returns:
        One of ``faces``, the first of equal ones; None where there is none.
    """
    if not faces:
        return None
    if previous is not None:
        return min(faces, key=lambda face: float(np.linalg.norm(face.centre - previous.centre)))
    if several == "largest":
        return max(faces, key=lambda face: face.area)
    middle = np.array([width / 2, height / 2])
    return min(faces, key=lambda face: float(np.linalg.norm(face.centre - middle)))


class FacePlacer:
    """Finds the transform of each photograph or clip.

    Args:
        alignment: Every choice.
        finder: Where faces come from.

    Attributes:
        counts: What was met so far: ``photographs`` with ``one face``, ``several faces`` and ``no face``, of the latter
            those ``skipped`` and ``centred``; the same for ``frames``, and ``frames held`` that took their neighbour's
            place.
    """

    def __init__(self, alignment: Alignment, finder: FaceFinder) -> None:
        self.alignment, self.finder = alignment, finder
        self.counts: Counter[str] = Counter()

    @property
    def digest(self) -> str:
        """16 hex digits that stand for the alignment and for who found the faces; records name them."""
        finder = {"name": self.finder.name, "version": self.finder.version}
        return config.digest({"alignment": self.alignment, "finder": finder})

    def photograph(self, image: np.ndarray, origin: Origin | None = None) -> np.ndarray | None:
        """The transform of one photograph.

        Args:
            image: ``(H, W, 3)`` uint8.
            origin: Where it comes from; finders that look results up need it.

        Returns:
            ``(2, 3)``; None where it shows no face and the rule is to skip it.

        Raises:
            UserError: If it shows no face and the rule is to stop, or the finder tells no points and the mode needs
                them.
        """
        face = self._find(image, origin, "photographs")
        if face is not None:
            return self._matrix(face)
        return self._without_face(image, origin, "photographs")

    def clip(
        self, numbers: Sequence[int], read: Callable[[int], np.ndarray], path: str | None = None
    ) -> list[np.ndarray] | None:
        """The transform of each frame of one clip, or of some of its frames.

        The rule for several faces decides in the first frame that has any; from then on the nearest face is taken. A
        frame without a face takes the place of the last frame before it that has one, or else of the first after it:
        dropping it would change the clip's time.

        Args:
            numbers: Of the frames in the whole clip, from 0, in their order.
            read: Gives a frame ``(H, W, 3)`` uint8 by its number; called once for each, in order.
            path: The clip's path below the data's folder.

        Returns:
            As many matrices ``(2, 3)``; None where no frame shows a face and the rule is to skip.

        Raises:
            UserError: As :meth:`photograph`.
        """
        found: list[np.ndarray | None] = []
        face: FoundFace | None = None
        first: np.ndarray | None = None
        for number in numbers:
            image = read(number)
            first = image if first is None else first
            origin = None if path is None else Origin(path, number)
            seen = self._find(image, origin, "frames", face)
            found.append(None if seen is None else self._matrix(seen))
            face = face if seen is None else seen
        self.counts["clips"] += 1
        placed = [matrix for matrix in found if matrix is not None]
        if not placed:
            if first is None:
                return None
            matrix = self._without_face(first, None if path is None else Origin(path), "clips")
            return None if matrix is None else [matrix] * len(numbers)
        self.counts["frames held"] += len(numbers) - len(placed)
        held, filled = placed[0], []
        for matrix in found:
            held = held if matrix is None else matrix
            filled.append(held)
        return filled

    def _find(
        self, image: np.ndarray, origin: Origin | None, kind: str, previous: FoundFace | None = None
    ) -> FoundFace | None:
        faces = self.finder.find(image, origin)
        number = "no face" if not faces else "one face" if len(faces) == 1 else "several faces"
        self.counts[kind] += 1
        self.counts[f"{kind} with {number}"] += 1
        height, width = image.shape[:2]
        return choose(faces, self.alignment.several, height, width, previous)

    def _matrix(self, face: FoundFace) -> np.ndarray:
        if self.alignment.mode == "box":
            return geometry.from_box(self.alignment, face.box)
        if face.points is None:
            raise UserError(
                f"mode {self.alignment.mode!r}: expected faces with five points or 68 landmarks, got boxes alone from "
                f"{self.finder.name}; choose mode 'box'"
            )
        return geometry.from_points(self.alignment, face.points)

    def _without_face(self, image: np.ndarray, origin: Origin | None, kind: str) -> np.ndarray | None:
        if self.alignment.none == "error":
            where = "the image" if origin is None else origin.path
            raise UserError(f"{where}: expected a face, {self.finder.name} found none; choose none 'skip' or 'centre'")
        if self.alignment.none == "skip":
            self.counts[f"{kind} skipped"] += 1
            return None
        self.counts[f"{kind} centred"] += 1
        return geometry.from_centre(self.alignment, *image.shape[:2])
