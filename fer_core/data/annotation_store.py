"""Annotations on disk, found by the content of the image: made once, whoever asks again, from whatever folder.

One small file an annotation, ``<cache>/annotations/<first two digits>/<key>.npz``. The key is a digest of the
annotator's name and version and of the image's pixels, so nothing ever goes stale. Files appear whole or not at all,
so several processes may write, an interrupted run goes on where it stopped, and a damaged file is made anew.
"""

import hashlib
import logging
import zipfile
import zlib
from pathlib import Path

import numpy as np

from fer_core import atomic
from fer_core.data.annotations import Annotation, Annotator
from fer_core.data.faces_in_images import Origin, pixel_key
from fer_core.folders import cache_folder

logger = logging.getLogger(__name__)

_SUFFIX = ".npz"


class AnnotationStore:
    """The store of one folder.

    Args:
        folder: Where it lies; ``annotations`` in the cache folder by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "annotations"
        self._writable = True
        atomic.remove_leftovers(self.folder, "*/")

    def annotate(self, annotator: Annotator, image: np.ndarray, origin: Origin | None = None) -> Annotation | None:
        """What the annotator says of an image, from the store where it has said it before.

        Args:
            annotator: Who is asked; one whose answers do not follow from the pixels is asked every time.
            image: ``(H, W, 3)`` uint8.
            origin: Where the image comes from.

        Returns:
            The annotation; None where the image shows no face, which is kept, too.
        """
        if not annotator.by_pixels:
            return annotator.annotate(image, origin)
        place = self.path(annotator, image)
        size = image.shape[0], image.shape[1]
        found, annotation = _read(place, size)
        if not found:
            annotation = annotator.annotate(image, origin)
            self._write(place, annotation)
        return annotation

    def path(self, annotator: Annotator, image: np.ndarray) -> Path:
        """The file of an annotator's answer to an image."""
        key = hashlib.sha256(f"{annotator.name}\0{annotator.version}\0{pixel_key(image)}".encode()).hexdigest()
        return self.folder / key[:2] / f"{key}{_SUFFIX}"

    def _write(self, place: Path, annotation: Annotation | None) -> None:
        """Not synced to the disk one by one: that would take longer than most annotators do, and damage is noticed."""
        if not self._writable:
            return
        empty = Annotation(np.empty((0, 2), np.float32), np.empty((0, 0), np.uint8))
        chosen = annotation or empty

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:  # to a path, savez would add its own suffix
                np.savez_compressed(file, landmarks=chosen.landmarks, parsing=chosen.parsing)

        self._writable = atomic.keep(place, write, sync=False, clear=False)


def _read(place: Path, size: tuple[int, int]) -> tuple[bool, Annotation | None]:
    """Whether a sound file is there, and what it holds; a damaged one is removed."""
    try:
        # Opened here: np.load leaves a file open that turns out to be no whole zip.
        with place.open("rb") as content, np.load(content, allow_pickle=False) as file:
            landmarks, parsing = file["landmarks"], file["parsing"]
    except OSError:  # not there, or not ours to read: the annotator is asked
        return False, None
    except (ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return False, _damaged(place)
    if landmarks.dtype != np.float32 or parsing.dtype != np.uint8:
        return False, _damaged(place)
    if landmarks.shape == (0, 2) and parsing.shape == (0, 0):
        return True, None
    if landmarks.shape != (68, 2) or parsing.shape != size:
        return False, _damaged(place)
    return True, Annotation(landmarks, parsing)


def _damaged(place: Path) -> None:
    logger.warning("the kept annotation %s is damaged; making it anew", place.name)
    try:
        place.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("it cannot be removed: %s", error.strerror)
