"""A data set whose batches carry landmarks and parsing maps of an annotator's making.

The transform then changes them with the pixels, as it does those of rendered faces. A photograph without a face gets
the average face, a frame without one its nearest neighbour's annotation; both are counted and told.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from fer_core.batch import Batch
from fer_core.config import digest
from fer_core.data import frames, images
from fer_core.data.alignment import Box
from fer_core.data.annotation_store import AnnotationStore
from fer_core.data.annotations import Annotation, Annotator, nearest_filled
from fer_core.data.dataset import FaceDataset, Positions
from fer_core.data.faces_in_images import Origin
from fer_core.data.files import ClipFiles, ImageFiles, inside, segment
from fer_core.data.images import FaceBox
from fer_core.data.selections import Subset, Wrapped
from fer_core.errors import UserError

logger = logging.getLogger(__name__)

_CHUNK = 64


def annotated(
    dataset: FaceDataset,
    annotator: Annotator,
    missing: Literal["average", "error"] = "average",
    store: AnnotationStore | None = None,
) -> "AnnotatedDataset":
    """The data set, its batches carrying landmarks and parsing maps.

    Args:
        dataset: Photographs or clips. Annotators that look results up by path need one of files.
        annotator: Who annotates; asked when a sample is first taken, or by :meth:`AnnotatedDataset.annotate_all`.
        missing: What becomes of a photograph or clip without a face: the ``"average"`` face, or an ``"error"``.
        store: Where answers are kept; the cache folder by default.

    Raises:
        UserError: If ``missing`` is neither, or the annotator needs paths and the data set has none.
    """
    return AnnotatedDataset(dataset, annotator, missing, store)


class AnnotatedDataset(Wrapped):
    """See :func:`annotated`.

    Attributes:
        dataset: Where the samples come from.
        without_face: ``(position, frame)`` of the images met so far, in this process, in which no face was found.
    """

    def __init__(
        self, dataset: FaceDataset, annotator: Annotator, missing: str, store: AnnotationStore | None = None
    ) -> None:
        if missing not in ("average", "error"):
            raise UserError(f"missing: expected 'average' or 'error', got {missing!r}; choose one of them")
        if not annotator.by_pixels and not isinstance(_whole(dataset), ImageFiles | ClipFiles):
            raise UserError(
                f"annotator {annotator.name}: expected a data set that lies as image or video files, {dataset.name} "
                "does not; use mediapipe"
            )
        super().__init__(dataset)
        self.annotator, self.missing = annotator, missing
        self.store = store or AnnotationStore()
        self.without_face: set[tuple[int, int]] = set()

    @cached_property
    def fingerprint(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See :class:`FaceDataset`; names the annotator, too."""
        return digest({"of": self.dataset.fingerprint, "annotations": self._annotations()})

    def _annotations(self) -> dict[str, str]:
        return {"annotator": self.annotator.name, "version": self.annotator.version, "missing": self.missing}

    def facts(self) -> dict[str, Any]:
        """See :meth:`FaceDataset.facts`; adds who annotated, and what became of images without a face."""
        return {**self.dataset.facts(), "fingerprint": self.fingerprint, "annotations": self._annotations()}

    def take(self, positions: Positions) -> Batch:
        """See :meth:`FaceDataset.take`."""
        return self._with(self.dataset.take(positions), positions, None)

    def draw(self, positions: Positions, seed: int, epoch: int) -> Batch:
        """See :meth:`FaceDataset.draw`."""
        return self._with(self.dataset.draw(positions, seed, epoch), positions, (seed, epoch))

    def annotate_all(self, progress: Callable[[int, int], None] | None = None) -> dict[str, int]:
        """Annotates every sample as evaluation sees it, so that later epochs only read.

        An interrupted call goes on where it stopped.

        Args:
            progress: Called with the number of samples done and of all samples.

        Returns:
            ``images`` seen, and those ``without a face``.
        """
        self.without_face.clear()
        images = 0
        for start in range(0, len(self), _CHUNK):
            batch = self.take(range(start, min(start + _CHUNK, len(self))))
            images += int(np.prod(batch.image.shape[:-3]))
            if progress is not None:
                progress(min(start + _CHUNK, len(self)), len(self))
        return {"images": images, "without a face": len(self.without_face)}

    def _with(self, batch: Batch, positions: Positions, drawn: tuple[int, int] | None) -> Batch:
        chosen = [int(position) for position in positions]
        is_clip = batch.image.ndim == 5
        clips = batch.image if is_clip else batch.image[:, None]
        landmarks, parsing = [], []
        for position, clip in zip(chosen, clips, strict=True):
            pictures = clip.permute(0, 2, 3, 1).contiguous().numpy()
            origins: Sequence[Origin | None] = [None] * len(pictures)
            if not self.annotator.by_pixels:
                origins = _origins(self.dataset, position, drawn)
            annotations = self._clip(position, pictures, origins)
            landmarks.append(np.stack([annotation.landmarks for annotation in annotations]))
            parsing.append(np.stack([annotation.parsing for annotation in annotations]))
        points, maps = torch.from_numpy(np.stack(landmarks)), torch.from_numpy(np.stack(parsing))
        return replace(batch, landmarks=points if is_clip else points[:, 0], parsing=maps if is_clip else maps[:, 0])

    def _clip(self, position: int, pictures: np.ndarray, origins: Sequence[Origin | None]) -> list[Annotation]:
        found = [
            self.store.annotate(self.annotator, picture, origin)
            for picture, origin in zip(pictures, origins, strict=True)
        ]
        lost = [frame for frame, annotation in enumerate(found) if annotation is None]
        if self.missing == "error" and len(lost) == len(found):
            raise UserError(
                f"{self.name}/{self.split}: expected a face in sample {position}, {self.annotator.name} found none; "
                "leave the sample out, or choose missing 'average'"
            )
        if lost and not self.without_face:
            logger.warning(
                "%s/%s: %s finds no face in sample %d; such photographs get the average face, such frames their "
                "neighbour's annotation, annotate_all() counts them",
                self.name, self.split, self.annotator.name, position,
            )  # fmt: skip
        self.without_face.update((position, frame) for frame in lost)
        return nearest_filled(found, *pictures.shape[1:3])


def _whole(dataset: FaceDataset) -> FaceDataset:
    return _whole(dataset.dataset) if isinstance(dataset, Subset) else dataset


def _origins(dataset: FaceDataset, position: int, drawn: tuple[int, int] | None) -> list[Origin]:
    """Where the images of one sample come from: one a frame.

    Args:
        dataset: Of files, or a subset of one.
        position: Of the sample.
        drawn: Seed and epoch; None for the frames that :meth:`FaceDataset.take` gives.
    """
    if isinstance(dataset, Subset):
        return _origins(dataset.dataset, int(dataset.positions[position]), drawn)
    if isinstance(dataset, ClipFiles):
        entry = dataset.listing.entries[position]
        path, numbers = inside(dataset.listing.folder, entry.path), dataset.frame_numbers(position, drawn)
        if not path.is_dir():
            view = _video_view(path)
            return [Origin(entry.path, int(number), view) for number in (entry.first or 0) + numbers]
        # Frames of a folder may differ in size, and those of a segment lie where their names say.
        source = frames.FolderFrames(path)
        places = segment(entry, source)[numbers].tolist()
        return [Origin(entry.path, place, _still_view(path / source.names[place])) for place in places]
    assert isinstance(dataset, ImageFiles)
    entry = dataset.listing.entries[position]
    return [Origin(entry.path, None, _still_view(inside(dataset.listing.folder, entry.path), entry.box))]


@cache
def _video_view(path: Path) -> Box:
    """The part of a video's frames that loaders keep: the centre square."""
    height, width = frames.open(path).read([0]).shape[-2:]
    return _centre(0, 0, width, height)


def _still_view(path: Path, box: FaceBox | None = None) -> Box:
    """The part of a photograph or frame that loaders keep: the centre square, of a face box where there is one."""
    with Image.open(path) as image:  # reads the header alone
        width, height = image.size
        if images.turned(image) in images.SIDEWAYS:
            width, height = height, width
    if box is None:
        return _centre(0, 0, width, height)
    left, top = max(0, round(box[0])), max(0, round(box[1]))
    right, bottom = round(box[0] + box[2]), round(box[1] + box[3])
    return _centre(left, top, min(width, right), min(height, bottom))


def _centre(left: float, top: float, right: float, bottom: float) -> Box:
    side = min(right - left, bottom - top)
    x, y = (left + right - side) / 2, (top + bottom - side) / 2
    return x, y, x + side, y + side
