"""What every data set offers: raw samples by position, labels by class name, a fingerprint and its facts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fer_core.batch import Batch
from fer_core.config import digest
from fer_core.errors import UserError, unknown

SPLITS = ("train", "validation", "test")
CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")

Column = np.ndarray | Tensor

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
    """

    name: str
    split: str
    classes: tuple[str, ...]
    labels: Tensor
    fingerprint: str
    duplicates_of_train: Tensor | None = None
    subjects: Tensor | None = None
    draws: bool = False

    @abstractmethod
    def take(self, positions: Sequence[int] | np.ndarray | Tensor) -> Batch:
        """The raw samples at the given positions, as evaluation sees them: the same ones at every call.

        Returns:
            A batch with ``image`` uint8 ``(B, 3, H, W)`` or ``(B, T, 3, H, W)``.
        """

    def draw(self, positions: Sequence[int] | np.ndarray | Tensor, seed: int, epoch: int) -> Batch:
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

    def without_pixels(self, positions: Sequence[int] | np.ndarray | Tensor) -> Batch:
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

    def take(self, positions: Sequence[int] | np.ndarray | Tensor) -> Batch:
        """See :meth:`FaceDataset.take`."""
        batch = self._batch(positions, self.columns)
        if batch.image.shape[-3] == 1:
            batch.image = batch.image.expand(*batch.image.shape[:-3], 3, -1, -1)
        return batch

    def without_pixels(self, positions: Sequence[int] | np.ndarray | Tensor) -> Batch:
        """See :meth:`FaceDataset.without_pixels`; no pixel is read."""
        columns = {key: column for key, column in self.columns.items() if key not in _OF_PIXELS}
        return self._batch(positions, {**columns, "image": torch.empty(len(self), 0, dtype=torch.uint8)})

    def _batch(self, positions: Sequence[int] | np.ndarray | Tensor, columns: Mapping[str, Column]) -> Batch:
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


class Wrapped(FaceDataset):
    """Another data set, its batches being changed on their way.

    Args:
        dataset: Where the samples come from.
    """

    def __init__(self, dataset: FaceDataset) -> None:
        self.dataset = dataset
        self.name, self.split, self.classes = dataset.name, dataset.split, dataset.classes
        self.labels, self.subjects, self.draws = dataset.labels, dataset.subjects, dataset.draws

    @property
    def duplicates_of_train(self) -> Tensor | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See :class:`FaceDataset`."""
        return self.dataset.duplicates_of_train

    def without_pixels(self, positions: Sequence[int] | np.ndarray | Tensor) -> Batch:
        """See :meth:`FaceDataset.without_pixels`."""
        return self.dataset.without_pixels(positions)

    def every_frame(self, position: int) -> Tensor:
        """See :meth:`FaceDataset.every_frame`."""
        return self.dataset.every_frame(position)

    def length(self, position: int) -> int:
        """See :meth:`FaceDataset.length`."""
        return self.dataset.length(position)

    def frame_numbers(self, position: int, drawn: tuple[int, int] | None = None) -> np.ndarray:
        """See :meth:`FaceDataset.frame_numbers`."""
        return self.dataset.frame_numbers(position, drawn)


class Subset(FaceDataset):
    """Some samples of a data set, as a data set of their own; ``Batch.index`` counts within the subset.

    Args:
        dataset: Where the samples come from.
        positions: ``(M,)`` positions in ``dataset``, in the order that the subset shall have.

    Raises:
        UserError: If a position is not in the data set or comes twice.
    """

    def __init__(self, dataset: FaceDataset, positions: Sequence[int] | np.ndarray | Tensor) -> None:
        self.dataset = dataset
        self.positions = torch.as_tensor(positions, dtype=torch.int64)
        chosen = self.positions.tolist()
        if len(set(chosen)) != len(chosen) or any(not 0 <= position < len(dataset) for position in chosen):
            raise UserError(
                f"subset of {dataset.name}: expected distinct positions in 0..{len(dataset) - 1}, got other ones; "
                "choose them from range(len(dataset))"
            )
        self.name, self.split, self.classes = dataset.name, dataset.split, dataset.classes
        self.labels = dataset.labels[self.positions]
        self.subjects = None if dataset.subjects is None else dataset.subjects[self.positions]
        self.draws = dataset.draws

    @cached_property
    def fingerprint(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See :class:`FaceDataset`; computed only when asked for, as files must be read for it."""
        return digest({"of": self.dataset.fingerprint, "positions": self.positions.tolist()})

    @property
    def duplicates_of_train(self) -> Tensor | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See :class:`FaceDataset`; computed only when asked for, as the training split must be read for it."""
        mask = self.dataset.duplicates_of_train
        return None if mask is None else mask[self.positions]

    def take(self, positions: Sequence[int] | np.ndarray | Tensor) -> Batch:
        """See :meth:`FaceDataset.take`."""
        chosen = torch.as_tensor(positions, dtype=torch.int64)
        return replace(self.dataset.take(self.positions[chosen]), index=chosen)

    def without_pixels(self, positions: Sequence[int] | np.ndarray | Tensor) -> Batch:
        """See :meth:`FaceDataset.without_pixels`."""
        chosen = torch.as_tensor(positions, dtype=torch.int64)
        return replace(self.dataset.without_pixels(self.positions[chosen]), index=chosen)

    def every_frame(self, position: int) -> Tensor:
        """See :meth:`FaceDataset.every_frame`."""
        return self.dataset.every_frame(int(self.positions[position]))

    def length(self, position: int) -> int:
        """See :meth:`FaceDataset.length`."""
        return self.dataset.length(int(self.positions[position]))

    def frame_numbers(self, position: int, drawn: tuple[int, int] | None = None) -> np.ndarray:
        """See :meth:`FaceDataset.frame_numbers`."""
        return self.dataset.frame_numbers(int(self.positions[position]), drawn)

    def draw(self, positions: Sequence[int] | np.ndarray | Tensor, seed: int, epoch: int) -> Batch:
        """See :meth:`FaceDataset.draw`; what is drawn depends on the position in the whole data set."""
        chosen = torch.as_tensor(positions, dtype=torch.int64)
        return replace(self.dataset.draw(self.positions[chosen], seed, epoch), index=chosen)

    def facts(self) -> dict[str, Any]:
        """See :meth:`FaceDataset.facts`; names the whole set's fingerprint and size beside the subset's own."""
        whole = {"fingerprint": self.dataset.fingerprint, "samples": len(self.dataset)}
        return {**self.dataset.facts(), **self._common_facts(), "subset_of": whole}


class Joined(FaceDataset):
    """Samples of several data sets as one, such as a training split and some people of the test split.

    Args:
        parts: Data sets with the same classes, and ``(M,)`` positions of the samples that are taken of each; the first
            names the whole.

    Attributes:
        parts: As given.
        part: ``(N,)`` int64, from which of the parts each sample comes.
        place: ``(N,)`` int64, its position there.

    Raises:
        UserError: If there is no part, or classes differ.
    """

    def __init__(self, parts: Sequence[tuple[FaceDataset, Sequence[int] | np.ndarray | Tensor]]) -> None:
        if not parts:
            raise UserError("joined data sets: expected at least one, got none; name one")
        self.parts = [(dataset, torch.as_tensor(positions, dtype=torch.int64)) for dataset, positions in parts]
        first = self.parts[0][0]
        other = next((dataset for dataset, _ in self.parts if dataset.classes != first.classes), None)
        if other is not None:
            raise UserError(
                f"joined data sets: expected the classes of {first.name} ({', '.join(first.classes)}), got those of "
                f"{other.name} ({', '.join(other.classes)}); join data sets of one task"
            )
        self.name, self.split, self.classes = first.name, first.split, first.classes
        self.part = torch.cat([torch.full((len(places),), each) for each, (_, places) in enumerate(self.parts)])
        self.place = torch.cat([places for _, places in self.parts])
        self.labels = torch.cat([dataset.labels[places] for dataset, places in self.parts])
        known = [None if dataset.subjects is None else dataset.subjects[places] for dataset, places in self.parts]
        told = [each for each in known if each is not None]
        self.subjects = torch.cat(told) if len(told) == len(known) else None
        self.draws = any(dataset.draws for dataset, _ in self.parts)

    @cached_property
    def fingerprint(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See :class:`FaceDataset`."""
        return digest([{"of": dataset.fingerprint, "positions": places.tolist()} for dataset, places in self.parts])

    def take(self, positions: Sequence[int] | np.ndarray | Tensor) -> Batch:
        """See :meth:`FaceDataset.take`."""
        return self._gathered(positions, lambda dataset, places: dataset.take(places))

    def draw(self, positions: Sequence[int] | np.ndarray | Tensor, seed: int, epoch: int) -> Batch:
        """See :meth:`FaceDataset.draw`; what is drawn depends on the position in the data set it comes from."""
        return self._gathered(positions, lambda dataset, places: dataset.draw(places, seed, epoch))

    def without_pixels(self, positions: Sequence[int] | np.ndarray | Tensor) -> Batch:
        """See :meth:`FaceDataset.without_pixels`."""
        return self._gathered(positions, lambda dataset, places: dataset.without_pixels(places))

    def _gathered(self, positions: Any, take: Callable[[FaceDataset, Tensor], Batch]) -> Batch:
        chosen = torch.as_tensor(positions, dtype=torch.int64)
        part = self.part[chosen]
        order, found = [], []
        for number, (dataset, _) in enumerate(self.parts):
            rows = (part == number).nonzero().flatten()
            if len(rows):
                order.append(rows)
                found.append(take(dataset, self.place[chosen[rows]]))
        return replace(Batch.concatenate(found).take(torch.cat(order).argsort()), index=chosen)

    def facts(self) -> dict[str, Any]:
        """See :meth:`FaceDataset.facts`; names the parts."""
        parts = [{"name": each.name, "split": each.split, "samples": len(places)} for each, places in self.parts]
        return {**self._common_facts(), "parts": parts}


def balanced(dataset: FaceDataset, limit: int, seed: int = 0) -> FaceDataset:
    """At most ``limit`` samples, drawn evenly over the classes; a rare class gives all that it has.

    Args:
        dataset: Where to draw from.
        limit: Number of samples wanted, at least 1.
        seed: Decides which samples of a class are drawn.

    Returns:
        A :class:`Subset` in the data set's own order, or the data set itself where it is small enough.

    Raises:
        UserError: If ``limit`` is less than 1.
    """
    if limit < 1:
        raise UserError(f"limit: expected at least 1 sample, got {limit}; leave it out for the whole split")
    if limit >= len(dataset):
        return dataset
    labels = dataset.labels.numpy()
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    # rank: how many samples of the same class come before this one in the shuffled order.
    rank = np.empty(len(labels), dtype=np.int64)
    for label in range(len(dataset.classes)):
        members = shuffled[labels[shuffled] == label]
        rank[members] = np.arange(len(members))
    return Subset(dataset, np.sort(np.lexsort((labels, rank))[:limit]))


def few(dataset: FaceDataset, shots: int, seed: int) -> FaceDataset:
    """So many samples of each class, drawn at random.

    Args:
        dataset: Where to draw from.
        shots: Samples of each class, at least 1.
        seed: Decides which.

    Returns:
        A :class:`Subset` in the data set's own order.

    Raises:
        UserError: If a class has fewer samples.
    """
    if isinstance(shots, bool) or not isinstance(shots, int) or shots < 1:
        raise UserError(f"shots: expected a number of at least 1, got {shots!r}; leave it out for the whole split")
    labels, rng = dataset.labels.numpy(), np.random.default_rng(seed)
    chosen = []
    for label, name in enumerate(dataset.classes):
        members = np.flatnonzero(labels == label)
        if len(members) < shots:
            raise UserError(
                f"shots: expected {shots} samples of {name} in {dataset.name}, got {len(members)}; take fewer"
            )
        chosen.append(rng.choice(members, shots, replace=False))
    return Subset(dataset, np.sort(np.concatenate(chosen)))
