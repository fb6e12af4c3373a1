"""Landmarks and parsing maps of pictures that carry none, behind one interface.

``mediapipe`` finds the landmarks, ``files`` takes those that another tool found; both draw parsing maps from the
landmarks (:mod:`fer_core.data.polygons`). Rendered faces need neither: they carry exact ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

import numpy as np

from fer_core import config
from fer_core.data import alignment, polygons
from fer_core.data.face_files import FaceFiles
from fer_core.data.face_mesh import DOWNLOAD, FaceMesh
from fer_core.data.faces_in_images import FaceFinder, Origin, choose
from fer_core.errors import UserError, unknown

NAMES = ("mediapipe", "files")


@dataclass(frozen=True)
class Annotation:
    """What is known of one face.

    Args:
        landmarks: ``(68, 2)`` float32, x and y in 0..1 of the image.
        parsing: ``(H, W)`` uint8, index into ``faces.PARSING``.
    """

    landmarks: np.ndarray
    parsing: np.ndarray


class Annotator(Protocol):
    """Anything that annotates images.

    Attributes:
        name: What pages and records call it.
        version: Changes when its answers may; with the name it is part of digests and of the store's keys.
        by_pixels: Whether answers follow from the pixels alone. If so they are worth keeping; if not, the image's
            origin must be told.
    """

    name: str
    version: str
    by_pixels: bool

    def annotate(self, image: np.ndarray, origin: Origin | None = None) -> Annotation | None:
        """The annotation of ``image`` ``(H, W, 3)`` uint8; None where it shows no face."""
        ...


class FinderAnnotator:
    """Landmarks of a finder's face, and a parsing map drawn from them.

    Args:
        finder: Where faces come from; they need their 68 landmarks.
        several: Which face of several: the ``"largest"``, or the one nearest to the ``"centre"``.
    """

    def __init__(self, finder: FaceFinder, several: Literal["largest", "centre"] = "largest") -> None:
        if several not in ("largest", "centre"):
            raise unknown("choice of a face", several, ("largest", "centre"))
        self.finder, self.several = finder, several
        self.name, self.by_pixels = finder.name, finder.by_pixels
        self.version = config.digest({"finder": finder.version, "several": several, "polygons": polygons.VERSION})

    def annotate(self, image: np.ndarray, origin: Origin | None = None) -> Annotation | None:
        """See :class:`Annotator`.

        Raises:
            UserError: If the finder tells no landmarks.
        """
        height, width = image.shape[:2]
        face = choose(self.finder.find(image, origin), self.several, height, width)
        if face is None:
            return None
        if face.landmarks is None:
            raise UserError(
                f"annotator {self.name}: expected 68 landmarks, got a box or five points alone; use files that hold "
                "landmarks"
            )
        return drawn(face.landmarks / [width, height], height, width)


@dataclass(frozen=True)
class AnnotatorOptions:
    """Who annotates, as experiments and commands name it.

    Args:
        name: ``"mediapipe"`` or ``"files"``.
        model: mediapipe: the model file, or ``"download"``.
        folder: files: the folder that mirrors the data's.
        several: Which face of several: ``"largest"`` or ``"centre"``.
    """

    name: Literal["mediapipe", "files"] = "mediapipe"
    model: str = DOWNLOAD
    folder: str | None = None
    several: Literal["largest", "centre"] = "largest"


def finder(name: str, model: str = DOWNLOAD, folder: str | None = None) -> FaceFinder:
    """The finder of that name.

    Args:
        name: ``"mediapipe"`` or ``"files"``.
        model: mediapipe: the model file, or ``"download"``.
        folder: files: the folder that mirrors the data's.

    Raises:
        UserError: For an unknown name, or if what the finder needs is missing.
    """
    if name == "mediapipe":
        return FaceMesh(model)
    if name == "files":
        if folder is None:
            raise UserError("face files: expected their folder, got none; name it, or use mediapipe")
        return FaceFiles(folder)
    raise unknown("face finder", name, NAMES)


def annotator(options: AnnotatorOptions) -> Annotator:
    """The annotator that the options name; raises as :func:`finder`."""
    return FinderAnnotator(finder(options.name, options.model, options.folder), options.several)


def drawn(landmarks: np.ndarray, height: int, width: int) -> Annotation:
    """An annotation whose parsing map is drawn from its landmarks ``(68, 2)`` in 0..1 of the image."""
    points = np.asarray(landmarks, dtype=np.float32)
    return Annotation(points, polygons.parsing_map(points, height, width))


@cache
def average_landmarks() -> tuple[tuple[float, float], ...]:
    """Where an aligned face has its 68 points on average: the renderer's average face in the default alignment.

    Returns:
        68 pairs of x and y in 0..1.
    """
    import torch

    from fer_core.faces import CODES, identity, render, scene

    face = render(torch.zeros(1, len(CODES)), identity.average(1), scene.studio(1), 32, truth=True)
    assert face.landmarks is not None
    points = face.landmarks[0].double().numpy()
    place = alignment.Alignment(mode="points")
    matrix = alignment.from_points(place, alignment.five_points(points))
    return tuple((float(x), float(y)) for x, y in alignment.apply(matrix, points) / place.size)


def nearest_filled(found: Sequence[Annotation | None], height: int, width: int) -> list[Annotation]:
    """The frames of a clip, those without a face taking the annotation of the nearest frame that has one.

    Args:
        found: One a frame; a photograph is a clip of one.
        height: Of the frames.
        width: Of the frames.

    Returns:
        As many; the average face in each where no frame has any. Of two neighbours equally near the earlier counts.
    """
    places = [place for place, annotation in enumerate(found) if annotation is not None]
    if not places:
        return [drawn(np.array(average_landmarks()), height, width)] * len(found)
    filled = (found[min(places, key=lambda other: abs(other - place))] for place in range(len(found)))
    return [annotation for annotation in filled if annotation is not None]
