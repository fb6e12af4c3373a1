"""Data sets made of others: changed on their way, some of their samples, several as one, few of each class."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_core.batch import Batch
from fer_core.config import digest
from fer_core.data.dataset import FaceDataset, Positions
from fer_core.errors import UserError


class Wrapped(FaceDataset):
    """Another data set, its batches being changed on their way, all but their pictures.

    Args:
        dataset: Where the samples come from.
    """

    def __init__(self, dataset: FaceDataset) -> None:
        self.dataset = dataset
        self.name, self.split, self.classes = dataset.name, dataset.split, dataset.classes
        self.labels, self.subjects = dataset.labels, dataset.subjects
        self.draws, self.sampling = dataset.draws, dataset.sampling

    @property
    def pixels(self) -> str:
        """See :class:`FaceDataset`: the other data set's."""
        return self.dataset.pixels

    @property
    def duplicates_of_train(self) -> Tensor | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See :class:`FaceDataset`."""
        return self.dataset.duplicates_of_train

    def changed(self, batch: Batch, positions: Positions) -> Batch:
        """What becomes of the other data set's batch of these positions; nothing here."""
        return batch

    def take(self, positions: Positions) -> Batch:
        """See :meth:`FaceDataset.take`."""
        return self.changed(self.dataset.take(positions), positions)

    def draw(self, positions: Positions, seed: int, epoch: int) -> Batch:
        """See :meth:`FaceDataset.draw`."""
        return self.changed(self.dataset.draw(positions, seed, epoch), positions)

    def without_pixels(self, positions: Positions) -> Batch:
        """See :meth:`FaceDataset.without_pixels`."""
        return self.changed(self.dataset.without_pixels(positions), positions)

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

    def __init__(self, dataset: FaceDataset, positions: Positions) -> None:
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
        self.draws, self.sampling = dataset.draws, dataset.sampling

    @cached_property
    def fingerprint(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See :class:`FaceDataset`; computed only when asked for, as files must be read for it."""
        return digest({"of": self.dataset.fingerprint, "positions": self.positions.tolist()})

    @property
    def pixels(self) -> str:
        """See :class:`FaceDataset`; where the whole set's is its fingerprint, the subset's is its own."""
        return digest({"of": self.dataset.pixels, "positions": self.positions.tolist()})

    @property
    def duplicates_of_train(self) -> Tensor | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See :class:`FaceDataset`; computed only when asked for, as the training split must be read for it."""
        mask = self.dataset.duplicates_of_train
        return None if mask is None else mask[self.positions]

    def take(self, positions: Positions) -> Batch:
        """See :meth:`FaceDataset.take`."""
        chosen = torch.as_tensor(positions, dtype=torch.int64)
        return replace(self.dataset.take(self.positions[chosen]), index=chosen)

    def without_pixels(self, positions: Positions) -> Batch:
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

    def draw(self, positions: Positions, seed: int, epoch: int) -> Batch:
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

    def __init__(self, parts: Sequence[tuple[FaceDataset, Positions]]) -> None:
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

    def take(self, positions: Positions) -> Batch:
        """See :meth:`FaceDataset.take`."""
        return self._gathered(positions, lambda dataset, places: dataset.take(places))

    def draw(self, positions: Positions, seed: int, epoch: int) -> Batch:
        """See :meth:`FaceDataset.draw`; what is drawn depends on the position in the data set it comes from."""
        return self._gathered(positions, lambda dataset, places: dataset.draw(places, seed, epoch))

    def without_pixels(self, positions: Positions) -> Batch:
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
