"""Batches of transformed samples, in an order that only the seed and the epoch decide."""

import os
import signal
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from fer_core.batch import Batch
from fer_core.data.dataset import FaceDataset, unstack
from fer_core.data.transforms import Transform
from fer_core.errors import STOPS

Same = TypeVar("Same")


def order(samples: int, seed: int, epoch: int = 0, shuffle: bool = False) -> np.ndarray:
    """The positions of one epoch, ``(N,)``.

    Args:
        samples: N.
        seed: Of the run.
        epoch: Each has an order of its own.
        shuffle: Whether they are shuffled, by ``(seed, epoch)``, or stay as they are.
    """
    return np.random.default_rng([seed, epoch]).permutation(samples) if shuffle else np.arange(samples)


def balanced_order(labels: np.ndarray, seed: int, epoch: int = 0) -> np.ndarray:
    """The positions of one epoch that shows each class equally often, in a new order for each ``(seed, epoch)``.

    A rare class' samples come again once all of them have come; of a frequent class only some come.

    Args:
        labels: ``(N,)`` of the whole split.
        seed: The run's seed.
        epoch: The epoch.

    Returns:
        ``(N,)`` positions; numbers of two classes differ by at most one.
    """
    drawn = np.random.default_rng([seed, epoch])
    classes = np.unique(labels)
    shares = np.full(len(classes), len(labels) // len(classes))
    shares[drawn.permutation(len(classes))[: len(labels) % len(classes)]] += 1
    chosen = []
    for label, share in zip(classes, shares, strict=True):
        members = np.flatnonzero(labels == label)
        rounds = [drawn.permutation(members) for _ in range(-(-share // len(members)))]
        chosen.append(np.concatenate([*rounds, members[:0]])[:share])
    return drawn.permutation(np.concatenate(chosen))


class _Transformed(Dataset[Batch]):
    """Gives whole batches to DataLoader, which asks for ``__getitems__`` first."""

    def __init__(self, dataset: FaceDataset, transform: Transform, seed: int, epoch: int) -> None:
        self.dataset, self.transform, self.seed, self.epoch = dataset, transform, seed, epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> Batch:
        return unstack(self.__getitems__([range(len(self))[position]]))

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        if self.transform.train:
            batch = self.dataset.draw(positions, self.seed, self.epoch)
        else:
            batch = self.dataset.take(positions)
        return self.transform(batch, self.seed, self.epoch)


def _same(batch: Same) -> Same:
    return batch


def loader(
    dataset: FaceDataset,
    transform: Transform,
    batch_size: int,
    seed: int,
    epoch: int = 0,
    shuffle: bool = False,
    workers: int = 0,
) -> DataLoader[Batch]:
    """Batches of one pass over a data set; every sample comes once, the last batch may be smaller.

    Args:
        dataset: The raw samples.
        transform: Applied to whole batches; one for training also makes the data set draw what it draws at random,
            such as a clip's frames.
        batch_size: Samples in a batch.
        seed: The run's seed; decides the order and, with ``epoch`` and its index, each sample's augmentation.
        epoch: The epoch, 0 or more.
        shuffle: Whether to draw a new order for each ``(seed, epoch)``.
        workers: Processes that prepare batches beside this one; they change nothing but the speed.

    Returns:
        A loader that can be iterated over again and gives the same batches each time; its memory is page-locked where
        a CUDA device is there.
    """
    positions = order(len(dataset), seed, epoch, shuffle)
    chunks = [positions[at : at + batch_size] for at in range(0, len(positions), batch_size)]
    return batches(dataset, transform, chunks, seed, epoch, workers)


def batches(
    dataset: FaceDataset,
    transform: Transform,
    chunks: Sequence[np.ndarray],
    seed: int,
    epoch: int = 0,
    workers: int = 0,
) -> DataLoader[Batch]:
    """One batch for each list of positions; else as :func:`loader`.

    Args:
        dataset: The raw samples.
        transform: Applied to whole batches.
        chunks: Positions of each batch.
        seed: The run's seed.
        epoch: The epoch.
        workers: Processes that prepare batches; no more than there are cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return DataLoader(
        _Transformed(dataset, transform, seed, epoch),
        batch_sampler=[chunk.tolist() for chunk in chunks],
        num_workers=min(workers, cores),
        collate_fn=_same,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(seed),  # else DataLoader draws from the global generator
        worker_init_fn=_deaf,
    )


def _deaf(worker: int) -> None:
    """A worker does not hear what asks its run to stop, which may reach a whole group of processes.

    One that dies of it raises an error in the main process, at any place, which then writes no checkpoint. Workers end
    when the main process lets them go, or is gone itself.
    """
    for name in STOPS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
