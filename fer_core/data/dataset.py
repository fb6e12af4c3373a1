"""What every data set offers: raw samples by position, labels by class name, a fingerprint and its facts."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fer_core.batch import Batch
from fer_core.data.sampling import Sampling
from fer_core.errors import unknown

#: Splits of every data set.
SPLITS = ("train", "validation", "test")
#: Names of the eight expressions that data sets share, in the order of the book's tables.
CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")

Column = np.ndarray | Tensor
#: Which samples of a data set, by their places in it.
Positions = Sequence[int] | np.ndarray | Tensor

_OF_PIXELS = ("image", "landmarks", "parsing")


def check_split(split: str) -> None:
    """Refuses a split that no data set has.

    Raises:
        UserError: If ``split`` is not one of :data:`SPLITS`.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)


class FaceDataset(Dataset[Batch], ABC):
    """Faces with labels, raw as they are stored.

    Attributes:
        name: The data set's public name.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        classes: Class names in the order that labels count them.
        labels: ``(N,)`` int64.
        fingerprint: 16 hex digits of a digest of the content; equal content has an equal fingerprint everywhere.
        duplicates_of_train: ``(N,)`` bool, samples whose pixels are also in the training split; None where that is
            not known.
        subjects: ``(N,)`` int64, who is seen; None where that is not known.
        draws: Whether :meth:`draw` gives other pixels than :meth:`take`, as random frames of a clip.
        sampling: Which frames are shown of clips that have more; None where each sample is shown as it is, and the
            fingerprint tells all.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    labels: Tensor
    fingerprint: str
    duplicates_of_train: Tensor | None = None
    subjects: Tensor | None = None
    draws: bool = False
    sampling: Sampling | None = None

    @abstractmethod
    def take(self, positions: Positions) -> Batch:
        """The raw samples at the given positions, as evaluation sees them: the same ones at every call.

        Returns:
            A batch with ``image`` uint8 ``(B, 3, H, W)`` or ``(B, T, 3, H, W)``.
        """

    def draw(self, positions: Positions, seed: int, epoch: int) -> Batch:
        """The raw samples as one epoch of training sees them; as :meth:`take` gives them where nothing is drawn.

        Args:
            positions: Which samples.
            seed: The run's seed, 0 or more.
            epoch: The epoch, 0 or more. A sample depends on ``(seed, epoch, position)`` alone.
        """
        return self.take(positions)

    def every_frame(self, position: int) -> Tensor:
        """All frames of a clip, uint8 ``(F, 3, H, W)``; for data sets that draw frames.

        Raises:
            NotImplementedError: If this data set draws none.
        """
        raise NotImplementedError(f"{self.name} draws no frames")

    @property
    def pixels(self) -> str:
        """Digest under which features are kept.

        It is of the pictures alone, whatever labels and captions go with them. Of files it follows every one on this
        machine, and the code that decodes them; elsewhere it may be another.
        """
        return self.fingerprint

    def length(self, position: int) -> int:
        """Number of frames that a clip has; raises as :meth:`every_frame`."""
        raise NotImplementedError(f"{self.name} draws no frames")

    def frame_numbers(self, position: int, drawn: tuple[int, int] | None = None) -> np.ndarray:
        """Which of a clip's frames :meth:`take` gives, or :meth:`draw` in an epoch; raises as :meth:`every_frame`.

        Args:
            position: Of the clip.
            drawn: Seed and epoch; None for what :meth:`take` gives.

        Returns:
            ``(T,)``, each in ``0..length - 1``.
        """
        raise NotImplementedError(f"{self.name} draws no frames")

    def without_pixels(self, positions: Positions) -> Batch:
        """The samples as :meth:`take` gives them, but for what belongs to pixels: for methods that train on features.

        Returns:
            A batch with ``image`` ``(B, 0)``, without landmarks and parsing maps.
        """
        return bare(self.take(positions))

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What a page says of the data: counts per class, where it came from, fingerprint. JSON types only."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int) -> Batch:
        """One raw sample, without the batch axis."""
        return unstack(self.take([range(len(self))[position]]))

    def _common_facts(self) -> dict[str, Any]:
        counts = torch.bincount(self.labels, minlength=len(self.classes)).tolist()
        return {
            "name": self.name,
            "split": self.split,
            "samples": len(self),
            "counts": dict(zip(self.classes, counts, strict=True)),
            "fingerprint": self.fingerprint,
        }


def bare(batch: Batch) -> Batch:
    """A batch without its pixels and what belongs to them."""
    return replace(batch, image=batch.image.new_empty(len(batch), 0), landmarks=None, parsing=None)


def unstack(batch: Batch) -> Batch:
    """The only sample of a batch of one, without the batch axis: the inverse of ``Batch.stack([sample])``."""
    values: dict[str, Any] = {}
    for field in fields(batch):
        value = getattr(batch, field.name)
        values[field.name] = None if value is None else value[0]
    return Batch(**values)


class MemoryDataset(FaceDataset):
    """A data set whose columns are arrays, in memory or memory-mapped.

    Args:
        name: The data set's public name.
        split: One of :data:`SPLITS`.
        classes: Class names.
        columns: ``Batch`` fields (without ``index``) as arrays of N rows; ``image`` and ``label`` must be there.
            Grey images may be stored with one channel: :meth:`take` then gives three that share its memory.
        fingerprint: Digest of the content.
        source: Where the data comes from, in words; no path of this machine.
        captions: One string a sample.

    Raises:
        ValueError: If columns differ in their number of rows, or a label is no index into ``classes``.
    """

    def __init__(
        self,
        name: str,
        split: str,
        classes: Sequence[str],
        columns: Mapping[str, Column],
        fingerprint: str,
        source: str,
        captions: Sequence[str] | None = None,
    ) -> None:
        check_split(split)
        self.name, self.split, self.classes = name, split, tuple(classes)
        self.fingerprint, self.source = fingerprint, source
        self.labels = torch.as_tensor(columns["label"], dtype=torch.int64)
        self.columns = {key: column for key, column in columns.items() if key != "label"}
        if "subject" in columns:
            self.subjects = torch.as_tensor(columns["subject"], dtype=torch.int64)
        self.captions = None if captions is None else list(captions)
        rows = {key: len(column) for key, column in columns.items()}
        if captions is not None:
            rows["caption"] = len(captions)
        if len(set(rows.values())) != 1:
            raise ValueError(f"{name}: expected columns of one length, got {rows}")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise ValueError(f"{name}: expected labels in 0..{len(self.classes) - 1}, got {self.labels.unique()}")

    def take(self, positions: Positions) -> Batch:
        """See :meth:`FaceDataset.take`."""
        batch = self._batch(positions, self.columns)
        if batch.image.shape[-3] == 1:
            batch.image = batch.image.expand(*batch.image.shape[:-3], 3, -1, -1)
        return batch

    def without_pixels(self, positions: Positions) -> Batch:
        """See :meth:`FaceDataset.without_pixels`; no pixel is read."""
        columns = {key: column for key, column in self.columns.items() if key not in _OF_PIXELS}
        return self._batch(positions, {**columns, "image": torch.empty(len(self), 0, dtype=torch.uint8)})

    def _batch(self, positions: Positions, columns: Mapping[str, Column]) -> Batch:
        chosen = torch.as_tensor(positions, dtype=torch.int64)
        values: dict[str, Any] = {key: _rows(column, chosen) for key, column in columns.items()}
        if self.captions is not None:
            values["caption"] = [self.captions[position] for position in chosen.tolist()]
        return Batch(label=self.labels[chosen], index=chosen, **values)

    def facts(self) -> dict[str, Any]:
        """See :meth:`FaceDataset.facts`."""
        shape = list(self.columns["image"].shape[1:])
        return {**self._common_facts(), "image_shape": shape, "columns": sorted(self.columns), "source": self.source}


def _rows(column: Column, positions: Tensor) -> Tensor:
    if isinstance(column, Tensor):
        return column[positions]
    # Fancy indexing copies, so a read-only memory map becomes a writable tensor.
    return torch.from_numpy(np.take(np.asarray(column), positions.numpy(), axis=0))
