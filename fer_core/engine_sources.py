"""Where an epoch's batches come from: pixels through a loader, or features that a frozen tower made once."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from fer_core.batch import Batch, ImageFeatures
from fer_core.data import FaceDataset, Transform, loader, order


class Source(ABC):
    """The batches of one split, in an order that only the seed and the epoch decide."""

    def __init__(self, samples: int, batch_size: int) -> None:
        self.samples, self.batch_size = samples, batch_size

    @abstractmethod
    def epoch(self, epoch: int, shuffle: bool) -> Iterable[Batch]:
        """One pass: every sample once; the last batch may be smaller."""

    @property
    def steps(self) -> int:
        """Batches in a pass."""
        return -(-self.samples // self.batch_size)


class Pixels(Source):
    """Batches of images, loaded and transformed anew in every pass.

    Args:
        dataset: Raw samples.
        transform: From raw samples to what the Clip takes.
        batch_size: Samples in a batch.
        seed: The run's seed.
        workers: Processes that prepare batches.
    """

    def __init__(self, dataset: FaceDataset, transform: Transform, batch_size: int, seed: int, workers: int) -> None:
        super().__init__(len(dataset), batch_size)
        self.dataset, self.transform, self.seed, self.workers = dataset, transform, seed, workers

    def epoch(self, epoch: int, shuffle: bool) -> Iterable[Batch]:
        """See :meth:`Source.epoch`."""
        return loader(self.dataset, self.transform, self.batch_size, self.seed, epoch, shuffle, self.workers)


class Features(Source):
    """Batches whose images are features in memory, in the very order in which :class:`Pixels` would give them.

    Args:
        pixels: The un-augmented split, encoded here once.
        clip: Its frozen image tower encodes.
        patches: Whether patch tokens are kept too; they need ``N * patches * D * 4`` bytes.
        device: Where encoding runs and the features stay.
        autocast: The precision to encode in; the features are kept in float32.
    """

    def __init__(
        self, pixels: Pixels, clip: Any, patches: bool, device: torch.device, autocast: AbstractContextManager[Any]
    ) -> None:
        super().__init__(pixels.samples, pixels.batch_size)
        self.seed = pixels.seed
        encoded = []
        # Not inference mode: what is made here takes part in training later.
        with torch.no_grad(), autocast:
            for batch in pixels.epoch(0, shuffle=False):
                moved = batch.to(device, non_blocking=True)
                made = clip.encode_image(moved.image, patches=patches)
                tokens = made.patch_tokens.float() if patches else None
                features = ImageFeatures(made.class_token.float(), tokens)
                # Without pixels, a method that wants them fails instead of training on something else.
                encoded.append(replace(moved, image=moved.image.new_empty(len(moved), 0), features=features))
        self.whole = concatenated(encoded)

    def epoch(self, epoch: int, shuffle: bool) -> Iterator[Batch]:
        """See :meth:`Source.epoch`."""
        positions = torch.from_numpy(order(self.samples, self.seed, epoch, shuffle))
        for chosen in positions.split(self.batch_size):
            yield self.whole.take(chosen)


def concatenated(batches: Sequence[Batch]) -> Batch:
    """Several batches as one."""
    values: dict[str, Any] = {}
    for field in fields(Batch):
        column = [getattr(batch, field.name) for batch in batches]
        if column[0] is None:
            values[field.name] = None
        elif isinstance(column[0], Tensor):
            values[field.name] = torch.cat(column)
        elif isinstance(column[0], ImageFeatures):
            patches = [features.patch_tokens for features in column]
            values[field.name] = ImageFeatures(
                torch.cat([features.class_token for features in column]),
                None if patches[0] is None else torch.cat(patches),
            )
        else:
            values[field.name] = [item for items in column for item in items]
    return Batch(**values)
