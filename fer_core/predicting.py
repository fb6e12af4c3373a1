"""Predictions for photographs and clips that no data set lists, by any trained method or by CLIP itself.

A file that cannot be read, or shows no face, is left out and told; the others go on.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fer_core import clip, data, models
from fer_core.batch import Batch
from fer_core.data import frames as clips
from fer_core.data import images, sampling
from fer_core.data.alignment import Alignment, apply, from_centre, inverse, warp
from fer_core.data.annotations import Annotator, nearest_filled
from fer_core.data.faces_in_images import FacePlacer, Origin
from fer_core.errors import UserError
from fer_core.experiments import names, trained
from fer_core.faces import sets

ZERO_SHOT = "zero-shot"
CROP = 224  # pixels; what data sets of files are read at, too
_BATCH = 32
_FRAMES = 16
_MOST = 4096  # frames of a clip at once, from one to the next, samples of a batch: what memory may hold
_CENTRE = Alignment(size=CROP)
_CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])

Outline = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Model:
    """A method, and what else of its training matters to new faces.

    Args:
        method: In evaluation mode.
        frames: How many frames of a clip it was trained with.
        told: What pages and files say of it.
    """

    method: models.Method
    frames: int
    told: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """A photograph or clip that is meant.

    Args:
        place: Where it lies.
        below: Its path below the folder that was named, with slashes; its own name where it was named itself. Face
            files are looked for under it.
    """

    place: Path
    below: str


@dataclass(frozen=True)
class Prediction:
    """What a method says of a photograph, or of some frames of a clip.

    Args:
        path: As it was named, with what lies below a folder.
        frames: Numbers of the frames from 0; None for a photograph.
        label: The likeliest class.
        probabilities: Of each class, summing to 1.
        outline: Of a photograph, the four corners of what ``image`` shows of it, as ``(x, y)`` in pixels of the upright
            photograph, from the upper left one clockwise; they may lie outside of it. None for a clip.
        image: ``(T, 3, S, S)`` uint8, what the method was shown; a photograph has one frame.
    """

    path: str
    frames: tuple[int, ...] | None
    label: str
    probabilities: dict[str, float]
    outline: Outline | None
    image: Tensor = field(repr=False, compare=False)


@dataclass(frozen=True)
class LeftOut:
    """A file without a prediction.

    Args:
        path: As of :class:`Prediction`.
        why: What was expected, and what came.
    """

    path: str
    why: str


@dataclass(frozen=True)
class _Shown:
    """One sample as crops ``(T, S, S, 3)``, and where each comes from."""

    path: str
    frames: tuple[int, ...] | None
    crops: np.ndarray
    origins: Sequence[Origin]
    outline: Outline | None = None


def open_model(
    name: str = ZERO_SHOT,
    *,
    backbone: str = "embedded",
    classes: Sequence[str] = (),
    device: str | torch.device = "cpu",
    folder: Path | str | None = None,
) -> Model:
    """A model by its name.

    Args:
        name: ``zero-shot``; a file that ``fer-core run --keep-model`` wrote; or an experiment whose run with profile
            ``full`` and seed 0 has been kept.
        backbone: The CLIP of ``zero-shot``, as :func:`fer_core.clip.load` takes it.
        classes: Whom to ask for, where they are others than the model's own.
        device: Where it runs.
        folder: Where kept methods lie; ``book/models`` by default.

    Raises:
        UserError: If there is no such model, or it cannot be asked of those classes.
    """
    if name == ZERO_SHOT:
        tower = clip.load(backbone, device=device)
        method = models.build(ZERO_SHOT, tower, tuple(classes or data.CLASSES), {}).eval()
        return Model(method, _FRAMES, {"model": ZERO_SHOT, "backbone": tower.name, "weights": tower.weights})
    path = Path(name)
    if path.suffix != ".safetensors" and name not in names():
        raise UserError(
            f"model: expected zero-shot, a .safetensors file of a run, or an experiment, got {name!r}; `fer-core "
            "experiments` lists them"
        )
    if path.suffix != ".safetensors":
        path = trained.kept(name, folder=folder)
    told, method = trained.read(path), trained.open_file(path, device)
    if classes:
        method = method.for_classes(classes)
    own = sets.SETS[told["dataset"]].frames if told["dataset"] in sets.SETS else _FRAMES
    seen = told["config"]["data"].get("frames") or own or _FRAMES
    keys = ("experiment", "profile", "seed", "method", "dataset", "backbone", "weights")
    return Model(method, min(seen, method.max_frames or seen), {"model": name, **{key: told[key] for key in keys}})


def find(sources: Iterable[str | os.PathLike[str]], clip_folders: bool = False) -> dict[str, Found]:
    """The photographs and clips that are meant, in order.

    Args:
        sources: Photographs, videos, and folders, of which everything below counts.
        clip_folders: Whether a folder that holds images is a clip, the named one too, and not one of photographs.

    Returns:
        For each the name that predictions carry, and where it lies.

    Raises:
        UserError: If a source is not there, is a file of another kind, or holds neither images nor videos.
    """
    found: dict[str, Found] = {}
    for source in sources:
        place = Path(source).expanduser()
        if place.is_file():
            if place.suffix.lower() not in (*images.SUFFIXES, *clips.VIDEOS):
                kinds = ", ".join((*images.SUFFIXES, *clips.VIDEOS))
                raise UserError(f"{source}: expected an image or a video ({kinds}), got another file; leave it out")
            found[str(source)] = Found(place, place.name)
            continue
        if not place.is_dir():
            raise UserError(f"{source}: expected an image, a video or a folder, found nothing; mend the path")
        below = {str(Path(source) / path): Found(place / path, path) for path in clips.media_below(place, clip_folders)}
        if clip_folders and (own := clips.frame_names(place)):
            below = {name: each for name, each in below.items() if each.below not in own}
            # Not resolve(): a link has a name of its own.
            below = {str(source): Found(place, Path(os.path.abspath(place)).name), **below}
        if not below:
            raise UserError(f"{source}: expected images or videos below it, found none; mend the path")
        found |= below
    return found


class Predictor:
    """Says of each photograph and clip which expression it shows.

    Args:
        model: What says it.
        placer: Finds and aligns faces; None takes the centre square of each picture, for faces that are cropped
            already.
        annotator: Who tells landmarks and parsing maps of the crops, for methods that look at them; the face that is
            meant is in their middle.
        frames: How many frames of a clip are looked at at once; as in training by default.
        step: None spreads the frames over the whole clip, for one prediction. A number asks of every run of as many
            neighbouring frames, whose starts lie so far apart.
        batch: Samples at a time.

    Raises:
        UserError: If a number is out of range, or the method looks at maps and nobody tells them.
    """

    def __init__(
        self,
        model: Model,
        *,
        placer: FacePlacer | None = None,
        annotator: Annotator | None = None,
        frames: int | None = None,
        step: int | None = None,
        batch: int = _BATCH,
    ) -> None:
        self.model, self.placer, self.annotator = model, placer, annotator
        self.frames = model.frames if frames is None else frames
        for name, value in (("frames", self.frames), ("step", 1 if step is None else step), ("batch", batch)):
            if not 1 <= value <= _MOST:
                raise UserError(f"{name}: expected 1 to {_MOST}, got {value}; choose such a number")
        if model.method.needs_maps and annotator is None:
            raise UserError(
                f"{model.method.name} looks at {' and '.join(model.method.maps)}: expected somebody who tells them, "
                "got nobody; choose --faces mediapipe or --faces files"
            )
        self.step, self.batch = step, batch
        self.size = placer.alignment.size if placer else CROP
        tower = model.method.clip
        self._transform = data.Transform.of(tower)

    def __call__(self, found: dict[str, Found]) -> Iterator[Prediction | LeftOut]:
        """Predictions in the order of the files, batch by batch.

        Args:
            found: As :func:`find` gives it.

        Raises:
            UserError: If the method needs what the pictures lack, or the placer raises one.
        """
        return self._in_batches(shown for name, each in found.items() for shown in self._shown(name, each))

    def of_pictures(self, pictures: Sequence[np.ndarray], name: str = "picture") -> list[Prediction | LeftOut]:
        """Predictions of pictures ``(H, W, 3)`` uint8 that are in memory, such as a camera's."""
        named = ((f"{name} {number}", picture) for number, picture in enumerate(pictures))
        return list(self._in_batches(self._one(each, picture, Origin(each)) for each, picture in named))

    def _one(self, name: str, picture: np.ndarray, origin: Origin) -> _Shown | LeftOut:
        try:
            crop, matrix = self._crop(picture, origin)
        except _LeftOutError as error:
            return LeftOut(name, str(error))
        corners = apply(inverse(matrix), self.size * _CORNERS).tolist()
        return _Shown(name, None, crop[None], [replace(origin, matrix=matrix)], tuple((x, y) for x, y in corners))

    # --- pictures

    def _shown(self, name: str, found: Found) -> Iterator[_Shown | LeftOut]:
        try:
            if _is_still(found.place):
                picture = _read(lambda: images.decode(found.place))
                yield self._one(name, np.ascontiguousarray(picture.transpose(1, 2, 0)), Origin(found.below))
            else:
                yield from self._clip(name, found)
        except _LeftOutError as error:
            yield LeftOut(name, str(error).removeprefix(f"{found.place}: "))

    def _crop(self, picture: np.ndarray, origin: Origin) -> tuple[np.ndarray, np.ndarray]:
        """The crop ``(S, S, 3)``, and the transform ``(2, 3)`` that takes the picture's places to it."""
        if self.placer is None:
            matrix = from_centre(_CENTRE, *picture.shape[:2])
            return np.asarray(images.resized(Image.fromarray(picture), CROP)), matrix
        matrix = self.placer.photograph(picture, origin)
        if matrix is None:
            raise _LeftOutError("expected a face, found none")
        return warp(picture, matrix, self.size), matrix

    def _clip(self, name: str, found: Found) -> Iterator[_Shown | LeftOut]:
        # Who looks results up needs places of the file, so that its frames are cut here, and not as they are read.
        whole = self.placer is not None or (self.annotator is not None and not self.annotator.by_pixels)
        source = _read(lambda: clips.open(found.place, None if whole else CROP))
        if self.step is None:
            runs = [sampling.positions(sampling.Sampling(frames=self.frames), len(source))]
        else:
            runs = list(sampling.windows(len(source), self.frames, self.step))
        read = source.read_runs(runs)
        for run in runs:
            numbers = [int(at) for at in run]
            pictures = np.ascontiguousarray(_read(lambda: next(read)).permute(0, 2, 3, 1).numpy())
            matrices = self._placed(numbers, pictures, found.below)
            if matrices is None:
                yield LeftOut(name, f"expected a face in the frames {min(numbers)} to {max(numbers)}, found none")
                continue
            if whole:
                crops = [warp(picture, matrix, self.size) for picture, matrix in zip(pictures, matrices, strict=True)]
                pictures = np.stack(crops)
            origins = [Origin(found.below, at, matrix=matrix) for at, matrix in zip(numbers, matrices, strict=True)]
            yield _Shown(name, tuple(numbers), pictures, origins)

    def _placed(self, numbers: Sequence[int], pictures: np.ndarray, below: str) -> list[np.ndarray] | None:
        """The transform of each frame; None where none of them shows a face."""
        if self.placer is None:
            return [from_centre(_CENTRE, *pictures.shape[1:3])] * len(numbers)
        return self.placer.clip(numbers, dict(zip(numbers, pictures, strict=True)).__getitem__, below)

    # --- predictions

    def _in_batches(self, made: Iterable[_Shown | LeftOut]) -> Iterator[Prediction | LeftOut]:
        """Predictions in order, as many at a time as a batch holds."""
        waiting: list[_Shown] = []
        for shown in made:
            if isinstance(shown, _Shown):
                waiting.append(shown)
            if len(waiting) == self.batch or isinstance(shown, LeftOut):
                yield from self._said(waiting)
                waiting = []
            if isinstance(shown, LeftOut):
                yield shown
        yield from self._said(waiting)

    def _said(self, waiting: Sequence[_Shown]) -> Iterator[Prediction]:
        for still, group in groupby(waiting, key=lambda shown: shown.frames is None):
            yield from self._predictions(list(group), still)

    @torch.no_grad()
    def _predictions(self, shown: list[_Shown], still: bool) -> Iterator[Prediction]:
        method = self.model.method
        crops = torch.from_numpy(np.stack([each.crops for each in shown])).movedim(-1, -3)  # (B, T, 3, S, S)
        batch = self._batch(crops[:, 0] if still else crops, shown)
        logits = method(self._transform(batch).to(method.clip.device)).logits
        for each, image, row in zip(shown, crops, logits.float().softmax(1).cpu(), strict=True):
            told = dict(zip(method.classes, row.tolist(), strict=True))
            label = max(told, key=lambda name: told[name])
            yield Prediction(each.path, each.frames, label, told, each.outline, image)

    def _batch(self, image: Tensor, shown: Sequence[_Shown]) -> Batch:
        batch = Batch(image=image, label=torch.zeros(len(shown), dtype=torch.int64), index=torch.arange(len(shown)))
        if self.annotator is not None:
            known = []
            for each in shown:
                seen = zip(each.crops, each.origins, strict=True)
                found = [self.annotator.annotate(crop, origin) for crop, origin in seen]
                known.append(nearest_filled(found, self.size, self.size))
            points = torch.from_numpy(np.stack([[one.landmarks for one in row] for row in known]))
            maps = torch.from_numpy(np.stack([[one.parsing for one in row] for row in known]))
            still = image.ndim == 4
            batch.landmarks, batch.parsing = (points[:, 0], maps[:, 0]) if still else (points, maps)
        return batch


class _LeftOutError(Exception):
    """A file that gets no prediction."""


def _is_still(place: Path) -> bool:
    return place.is_file() and place.suffix.lower() in images.SUFFIXES


def _read(read: Any) -> Any:
    """What ``read`` gives; a file that is damaged is left out, and does not end the call."""
    try:
        return read()
    except UserError as error:
        raise _LeftOutError(str(error)) from error
