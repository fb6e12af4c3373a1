"""Miniatures of licensed data sets, from rendered faces, so that their loaders run before a licence arrives.

A data set's own file writes its miniature in the official layout; this module gives it the faces, and puts the
finished miniature in its place at once.
"""

import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from fer_core.data.dataset import CLASSES
from fer_core.errors import UserError

logger = logging.getLogger(__name__)

RENDERED = 48  # pixels; a larger face is drawn in this size and enlarged, as drawing time grows with the area
ANNOTATORS = 10
_AGREEING = 6  # annotators who see what was meant: with more than half of the votes, no rule drops a face
_CHUNK = 64  # faces drawn at once


@dataclass(frozen=True)
class DemoStill:
    """One rendered photograph.

    Args:
        image: ``(H, W, 3)`` uint8.
        class_name: The expression that is shown.
        subject: Who shows it; the next call's people have other numbers.
        votes: ``(8,)`` int64, counts of ten simulated annotators, in the order of ``data.CLASSES``. Six or more are
            for ``class_name``.
    """

    image: np.ndarray
    class_name: str
    subject: int
    votes: np.ndarray


@dataclass(frozen=True)
class DemoClip:
    """One rendered video of an expression that rises and falls.

    Args:
        frames: ``(T, H, W, 3)`` uint8.
        class_name: The expression that is shown.
        subject: Who shows it; the next call's people have other numbers.
        caption: What one sees, in a sentence.
        landmarks: ``(T, 68, 2)`` float32, x and y in 0..1 of the frame.
    """

    frames: np.ndarray
    class_name: str
    subject: int
    caption: str
    landmarks: np.ndarray


@dataclass
class _Drawn:
    image: Tensor  # (N, H, W, 3) or (N, T, H, W, 3) uint8
    units: Tensor  # (N, A), effective, at the apex
    label: Tensor  # (N,)
    subject: list[int]
    captions: list[str]
    landmarks: Tensor  # (N, 68, 2) or (N, T, 68, 2) in 0..1


class DemoFaces:
    """Clear expressions of drawn people, never the same picture twice.

    Each call goes on where the last one stopped: equal calls in equal order give equal faces.

    Args:
        seed: Which people and pictures.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._generator = torch.Generator().manual_seed(seed)
        self._people = 0

    def stills(self, classes: Sequence[str], per_class: int, size: int, people: int | None = None) -> list[DemoStill]:
        """Photographs: one of every class, then the next of every class.

        Args:
            classes: Names out of ``data.CLASSES``.
            per_class: Photographs of each.
            size: Side of the pictures in pixels, 32 or more.
            people: Who is photographed in turn; ``per_class`` by default, so that each person shows each class once.

        Returns:
            ``per_class * len(classes)`` photographs.
        """
        from fer_core.faces import expressions

        drawn = self._draw(classes, per_class, 0, size, people)
        shown = _names(classes, drawn.label)
        meant = torch.tensor([CLASSES.index(name) for name in shown])
        votes = expressions.votes(drawn.units, meant, CLASSES, self._generator, ANNOTATORS - _AGREEING).long()
        votes += _AGREEING * torch.nn.functional.one_hot(meant, len(CLASSES))
        return [
            DemoStill(image, name, subject, counts)
            for image, name, subject, counts in zip(
                drawn.image.numpy(), shown, drawn.subject, votes.numpy(), strict=True
            )
        ]

    def clips(
        self, classes: Sequence[str], per_class: int, frames: int, size: int, people: int | None = None
    ) -> list[DemoClip]:
        """Videos: one of every class, then the next of every class.

        Args:
            classes: Names out of ``faces.expressions.EXPRESSIONS``.
            per_class: Videos of each.
            frames: Frames of each video.
            size: Side of the frames in pixels, 32 or more.
            people: Who is filmed in turn; ``per_class`` by default, so that each person shows each class once.

        Returns:
            ``per_class * len(classes)`` videos.
        """
        drawn = self._draw(classes, per_class, frames, size, people)
        shown = (drawn.image.numpy(), _names(classes, drawn.label), drawn.subject, drawn.captions)
        return [DemoClip(*each) for each in zip(*shown, drawn.landmarks.numpy(), strict=True)]

    def _draw(self, classes: Sequence[str], per_class: int, frames: int, size: int, people: int | None) -> _Drawn:
        from fer_core.faces import captions, expressions, identity, scene, sequences
        from fer_core.faces.render import effective_units

        dice, count = self._generator, per_class * len(classes)
        people = per_class if people is None else people
        label = torch.arange(count) % len(classes)
        person = (torch.arange(count) // len(classes)) % people
        shown = identity.sample(people, dice).take(person)
        views = scene.sample(count, dice, variety=0.5)
        views.occlusion = torch.zeros_like(views.occlusion)
        clear = expressions.Variation(weakest=0.8, jitter=0.15, dropout=0.0, blend=0.0, idle=0.5)
        units = expressions.sample(label, tuple(classes), dice, clear)
        effective = effective_units(units, shown)
        texts = captions.captions(shown, views, effective, _names(classes, label), seed=self._seed + self._people)
        subject = (self._people + person).tolist()
        self._people += people
        if frames:
            units = sequences.course(units, frames, dice).units.flatten(0, 1)
            views = sequences.drift(views, frames, dice)
            shown = shown.take(torch.arange(count).repeat_interleave(frames))
        image, points = _render(units, shown, views, size)
        if frames:
            image, points = (each.unflatten(0, (count, frames)) for each in (image, points))
        return _Drawn(image, effective, label, subject, texts, points)


def _render(units: Tensor, people, views, size: int) -> tuple[Tensor, Tensor]:
    """Pictures ``(N, size, size, 3)`` uint8, and landmarks ``(N, 68, 2)`` in 0..1."""
    from fer_core.faces.camera import to_bytes
    from fer_core.faces.render import render

    pictures, points = [], []
    for rows in torch.arange(len(units)).split(_CHUNK):
        view = views.take(rows)
        with torch.inference_mode():
            face = render(units[rows], people.take(rows), view, min(size, RENDERED), truth=True)
            picture = to_bytes(face.image, view)
            if size > RENDERED:
                picture = F.resize(picture, [size, size], F.InterpolationMode.BICUBIC, antialias=True)
        assert face.landmarks is not None
        pictures.append(picture)
        points.append(face.landmarks)
    return torch.cat(pictures).permute(0, 2, 3, 1).contiguous(), torch.cat(points)


@dataclass(frozen=True)
class Written:
    """What :func:`write` has written.

    Args:
        name: The data set.
        root: The miniature's folder.
        files: Number of files.
        bytes: Their size.
    """

    name: str
    root: Path
    files: int
    bytes: int


def write(name: str, root: str | os.PathLike[str], seed: int = 0) -> Written:
    """Writes a miniature of a licensed data set, in its official layout, from rendered faces.

    It appears at once: an interrupt or a full disk leaves nothing behind.

    Args:
        name: A data set that has a layout.
        root: The folder to write; not there yet, or empty.
        seed: Which faces.

    Returns:
        What was written.

    Raises:
        UserError: For an unknown name, a folder that holds something, or one that cannot be written.
    """
    from fer_core.data import layout

    wanted, target = layout.get(name), Path(root).expanduser()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f"data demo: expected {target} to be an empty or a new folder, got one in use; name another")
    target = target.resolve()
    logger.info("rendering a miniature of %s", name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-partial-") as partial:
            made = Path(partial) / "demo"  # a folder of its own: the temporary one may be read by its owner alone
            made.mkdir()
            wanted.demo(made, DemoFaces(seed))
            sizes = [path.stat().st_size for path in made.rglob("*") if path.is_file()]
            made.replace(target)
    except OSError as error:
        raise UserError(
            f"data demo: expected to write {target}, got: {error.strerror or error}; free space or name another folder"
        ) from error
    return Written(name, target, len(sizes), sum(sizes))


def _names(classes: Sequence[str], label: Tensor) -> list[str]:
    """The class names of label numbers ``(N,)``."""
    return [str(classes[number]) for number in label.tolist()]
