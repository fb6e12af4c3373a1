"""A finder and an annotator whose answers are known beforehand, looked up by the pixels."""

from collections.abc import Iterable, Sequence

import numpy as np

from fer_core import config
from fer_core.data import FaceDataset
from fer_core.data.annotations import Annotation
from fer_core.data.faces_in_images import FoundFace, Origin, pixel_key


class KnownFaces:
    """Finds the faces of pairs of an image ``(H, W, 3)`` uint8 and its faces; an unknown image has none."""

    name, by_pixels = "known", True

    def __init__(self, known: Iterable[tuple[np.ndarray, Sequence[FoundFace]]]) -> None:
        self._faces = {pixel_key(image): list(faces) for image, faces in known}
        self.version = config.digest({key: [str(face) for face in faces] for key, faces in self._faces.items()})

    def find(self, image: np.ndarray, origin: Origin | None = None) -> list[FoundFace]:
        return self._faces.get(pixel_key(image), [])


class KnownAnnotations:
    """Gives back the annotations of a data set that carries them; an unknown image has none."""

    name, by_pixels = "known", True

    def __init__(self, dataset: FaceDataset) -> None:
        self.version = dataset.fingerprint
        batch = dataset.take(range(len(dataset)))
        assert batch.landmarks is not None
        assert batch.parsing is not None
        images = batch.image.flatten(0, -4).permute(0, 2, 3, 1).numpy()
        points, maps = batch.landmarks.flatten(0, -3).numpy(), batch.parsing.flatten(0, -3).numpy()
        self._known = {
            pixel_key(image): Annotation(landmarks, parsing)
            for image, landmarks, parsing in zip(images, points, maps, strict=True)
        }

    def annotate(self, image: np.ndarray, origin: Origin | None = None) -> Annotation | None:
        return self._known.get(pixel_key(image))
