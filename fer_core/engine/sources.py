"""Where an epoch's batches come from: pixels through a loader, or features that a frozen tower made once."""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fer_core import config
from fer_core.batch import Batch, ImageFeatures
from fer_core.data import FaceDataset, Joined, Transform, cache, loading
from fer_core.engine.processes import Processes
from fer_core.engine.runtime import autocast, computed
from fer_core.errors import NoRoomError, UserError

logger = logging.getLogger(__name__)

Sampling = Literal["shuffle", "balanced"]

_KEPT_BYTES = 2**29  # features up to this size stay on the device, larger ones are read from the disk batch by batch


class Source(ABC):
    """The batches of one split, in an order that only the seed and the epoch decide.

    Args:
        dataset: Raw samples.
        batch_size: Samples in a batch of all processes together.
        seed: The run's seed.
        processes: Each of them gets its share of every batch.
        sampling: How a shuffled epoch draws: every sample once, or classes evenly.
    """

    def __init__(
        self, dataset: FaceDataset, batch_size: int, seed: int, processes: Processes, sampling: Sampling = "shuffle"
    ) -> None:
        self.dataset, self.batch_size, self.seed, self.processes = dataset, batch_size, seed, processes
        self.sampling: Sampling = sampling
        self.samples = len(dataset)

    @property
    def steps(self) -> int:
        """Batches in a pass."""
        return -(-self.samples // self.batch_size)

    def size(self, step: int) -> int:
        """Samples in a step's batch, of all processes together."""
        return min(self.batch_size, self.samples - step * self.batch_size)

    def train(self, epoch: int, start: int = 0) -> Iterable[Batch]:
        """This process' share of each batch of an epoch, from a step on.

        The last batch may have fewer samples than there are processes; who has none of it gets its first sample, which
        :meth:`weight` counts as nothing.
        """
        positions = loading.order(self.samples, self.seed, epoch, shuffle=True)
        if self.sampling == "balanced":
            positions = loading.balanced_order(self.dataset.labels.numpy(), self.seed, epoch)
        index, count = self.processes.index, self.processes.count
        chunks = [positions[at : at + self.batch_size] for at in range(0, self.samples, self.batch_size)]
        shares = [chunk[index::count] if len(chunk) > index else chunk[:1] for chunk in chunks[start:]]
        return self.batches(shares, epoch)

    def weight(self, step: int) -> float:
        """What this process' mean over its share counts, so that the mean over processes is that over the batch."""
        index, count = self.processes.index, self.processes.count
        return len(range(index, self.size(step), count)) * count / self.size(step)

    def held_out(self) -> Iterable[Batch]:
        """This process' share of the samples as evaluation sees them, each once and in order."""
        positions = np.arange(self.samples)[self.processes.index :: self.processes.count]
        return self.batches([positions[at : at + self.batch_size] for at in range(0, len(positions), self.batch_size)])

    def whole(self) -> Iterable[Batch]:
        """All samples in order, the same on each process."""
        return self.batches(
            [np.arange(at, min(at + self.batch_size, self.samples)) for at in range(0, self.samples, self.batch_size)]
        )

    @abstractmethod
    def batches(self, chunks: list[np.ndarray], epoch: int = 0) -> Iterable[Batch]:
        """One batch for each list of positions."""


class Pixels(Source):
    """Batches of images, loaded and transformed anew in every pass.

    Args:
        dataset: Raw samples.
        transform: From raw samples to what the Clip takes.
        batch_size: Samples in a batch of all processes together.
        seed: The run's seed.
        processes: Each of them gets its share of every batch.
        workers: Processes that prepare batches, for each of them.
        sampling: How a shuffled epoch draws.
    """

    def __init__(
        self,
        dataset: FaceDataset,
        transform: Transform,
        batch_size: int,
        seed: int,
        processes: Processes,
        workers: int = 0,
        sampling: Sampling = "shuffle",
    ) -> None:
        super().__init__(dataset, batch_size, seed, processes, sampling)
        self.transform, self.workers = transform, workers

    def of(self, dataset: FaceDataset) -> "Pixels":
        """Another data set's batches, made in the same way."""
        return Pixels(dataset, self.transform, self.batch_size, self.seed, self.processes, self.workers, self.sampling)

    def batches(self, chunks: list[np.ndarray], epoch: int = 0) -> Iterable[Batch]:
        """See :meth:`Source.batches`."""
        return loading.batches(self.dataset, self.transform, chunks, self.seed, epoch, self.workers)


class Features(Source):
    """Batches whose images are features of a frozen tower, in the very order in which :class:`Pixels` would give them.

    Features are encoded once and kept as a memory-mapped file in the cache folder, whose name stands for the model, its
    weights, the data, the frames of clips, the transform and the precision: other seeds, epochs and methods only read
    it.

    Args:
        pixels: The un-augmented split.
        clip: Its frozen image tower encodes.
        patches: Whether patch tokens are kept too; they take ``N * patches * D * 4`` bytes on the disk.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``, to encode in; features are kept in float32.

    Raises:
        NoRoomError: If the cache folder cannot hold the features.
    """

    def __init__(self, pixels: Pixels, clip: Any, patches: bool, precision: str) -> None:
        super().__init__(pixels.dataset, pixels.batch_size, pixels.seed, pixels.processes, pixels.sampling)
        self.device = pixels.processes.device
        transform = pixels.transform
        made_from = {
            "model": clip.name, "weights": clip.weights, "data": self.dataset.pixels, "split": self.dataset.split,
            "size": transform.image_size, "mean": transform.mean.flatten().tolist(),
            "std": transform.std.flatten().tolist(),
            "patches": patches, "precision": computed(precision, self.device), "device": self.device.type,
        }  # fmt: skip
        key = f"features-{config.digest({**made_from, **self._made_from()})}"
        # All of it in turn: processes that fail before they meet could not tell each other.
        with self.processes.main_first(), torch.no_grad(), autocast(self.device, precision):
            shape = self._tokens(clip, self._example(pixels), patches).shape[1:]

            def fill(array: np.ndarray) -> None:
                done, told = 0, 0.0
                for image in self._images(pixels):
                    tokens = self._tokens(clip, image, patches)
                    array[done : done + len(tokens)] = tokens.cpu().numpy()
                    done += len(tokens)
                    if done / len(array) >= told + 0.2:
                        told = done / len(array)
                        logger.info("encoded %d of %d images of %s", done, len(array), self.dataset.name)

            otherwise = "set training.cache_features=false"
            self._stored = cache.built_array(key, (self._rows(), *shape), np.float32, fill, otherwise)

    def _made_from(self) -> dict[str, Any]:
        """What else the store's name stands for: which frames are shown of clips that have more."""
        chosen = self.dataset.sampling
        return {} if chosen is None else {"sampling": asdict(chosen)}

    def _rows(self) -> int:
        """Length of the store."""
        return self.samples

    def _example(self, pixels: Pixels) -> Tensor:
        """One image, or the shown frames of one clip, as the Clip takes them: the shape of features shows in it."""
        none = torch.zeros(1, dtype=torch.int64)
        return pixels.transform(Batch(pixels.dataset.take([0]).image, none, none)).image

    def _images(self, pixels: Pixels) -> Iterator[Tensor]:
        """Images as the Clip takes them, a batch at a time."""
        for batch in pixels.whole():
            yield batch.image

    def _tokens(self, clip: Any, image: Tensor, patches: bool) -> Tensor:
        """``(B, [T,] 1 + patches, D)`` float32, the class token first."""
        made = clip.encode_image(image.to(self.device, non_blocking=True), patches=patches)
        token = made.class_token.float().unsqueeze(-2)
        return torch.cat([token, made.patch_tokens.float()], -2) if patches else token

    @cached_property
    def _kept(self) -> Tensor | None:
        """All features on the device, where that is little."""
        if math.prod(self._stored.shape) * 4 > _KEPT_BYTES:
            return None
        return torch.from_numpy(np.array(self._stored)).to(self.device)

    def batches(self, chunks: list[np.ndarray], epoch: int = 0) -> Iterator[Batch]:
        """See :meth:`Source.batches`."""
        for chunk in chunks:
            yield self._batch(chunk, chunk)

    def _batch(self, positions: np.ndarray, rows: np.ndarray) -> Batch:
        """Samples at some positions, with the features of some rows of the store."""
        # Without pixels, a method that wants them fails instead of training on something else.
        return replace(self.dataset.without_pixels(positions), features=_features(self.tokens(rows)))

    def tokens(self, rows: np.ndarray) -> Tensor:
        """Some rows of the store, on the device: ``(B, [T,] 1 + patches, D)``."""
        if self._kept is None:
            return torch.from_numpy(self._stored[rows]).to(self.device, non_blocking=True)
        return self._kept[torch.from_numpy(rows).to(self.device)]


class FrameFeatures(Features):
    """Features of every frame of clips whose frames are drawn anew in each epoch; batches hold the drawn ones.

    Args:
        pixels: The un-augmented split, of a data set that draws frames.
        clip: As of :class:`Features`.
        patches: As of :class:`Features`.
        precision: As of :class:`Features`.
    """

    def __init__(self, pixels: Pixels, clip: Any, patches: bool, precision: str) -> None:
        dataset = pixels.dataset
        lengths = np.array([dataset.length(place) for place in range(len(dataset))], dtype=np.int64)
        self.begin = np.concatenate([[0], np.cumsum(lengths)])
        super().__init__(pixels, clip, patches, precision)

    def _made_from(self) -> dict[str, Any]:
        return {"frames": "all"}

    def _rows(self) -> int:
        return int(self.begin[-1])

    def _example(self, pixels: Pixels) -> Tensor:
        return super()._example(pixels)[:, 0]

    def _images(self, pixels: Pixels) -> Iterator[Tensor]:
        """Frames as the Clip takes them, some at a time."""
        for place in range(self.samples):
            frames = pixels.dataset.every_frame(place)
            for part in frames.split(pixels.batch_size):
                none = torch.zeros(len(part), dtype=torch.int64)
                yield pixels.transform(Batch(part, none, none)).image

    def batches(self, chunks: list[np.ndarray], epoch: int = 0) -> Iterator[Batch]:
        """See :meth:`Source.batches`."""
        for chunk in chunks:
            numbers = [
                self.begin[place] + self.dataset.frame_numbers(int(place), (self.seed, epoch)) for place in chunk
            ]
            yield self._batch(chunk, np.stack(numbers))


class JoinedFeatures(Source):
    """Features of samples of several data sets, each of which was encoded once and whole.

    Args:
        dataset: What was joined.
        parts: Features of its data sets, in the order of ``dataset.parts``.
    """

    def __init__(self, dataset: Joined, parts: Sequence[Features]) -> None:
        like = parts[0]
        super().__init__(dataset, like.batch_size, like.seed, like.processes, like.sampling)
        self.joined, self.parts = dataset, parts

    def batches(self, chunks: list[np.ndarray], epoch: int = 0) -> Iterator[Batch]:
        """See :meth:`Source.batches`."""
        for chunk in chunks:
            part, place = self.joined.part[chunk].numpy(), self.joined.place[chunk].numpy()
            found = [source.tokens(place[part == number]) for number, source in enumerate(self.parts)]
            # Back from the order of the parts to that of the chunk.
            tokens = torch.cat(found)[torch.from_numpy(np.argsort(np.argsort(part, kind="stable")))]
            yield replace(self.dataset.without_pixels(chunk), features=_features(tokens))


def _features(tokens: Tensor) -> ImageFeatures:
    """Stored tokens, the class token first, as features."""
    return ImageFeatures(tokens[..., 0, :], tokens[..., 1:, :] if tokens.shape[-2] > 1 else None)


def encoded(pixels: Pixels, clip: Any, patches: bool, precision: str, drawn: bool = False) -> Source:
    """The features of a split, or its pixels where the features find no room.

    Of joined data sets, each is encoded whole; pixels stand for them where frames are drawn. All processes get the
    same: pixels, if one of them finds no room.

    Args:
        pixels: The un-augmented split.
        clip: As of :class:`Features`.
        patches: As of :class:`Features`.
        precision: As of :class:`Features`.
        drawn: Whether training draws frames of this split in each epoch.

    Raises:
        UserError: If a sample cannot be read, by whichever process.
    """
    if isinstance(pixels.dataset, Joined):
        if drawn:  # before anything is encoded
            return pixels
        parts = [encoded(pixels.of(dataset), clip, patches, precision) for dataset, _ in pixels.dataset.parts]
        stored = [part for part in parts if type(part) is Features]
        return JoinedFeatures(pixels.dataset, stored) if len(stored) == len(parts) else pixels
    source, failure = pixels, None
    try:
        source = (FrameFeatures if drawn else Features)(pixels, clip, patches, precision)
    except UserError as error:
        failure = error
    # One process' disk may be full and another's not: on pixels and features they would not train alike.
    failures = [error for error in pixels.processes.gather(failure) if error is not None]
    for error in failures:
        if not isinstance(error, NoRoomError):  # a damaged file, which pixels would not mend
            raise error
    if not failures:
        return source
    logger.warning("features are not kept, and encoded again in every epoch: %s", failures[0])
    return pixels
