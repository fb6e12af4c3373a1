"""Loaders: every sample once, and the number of workers changes nothing."""

import os
import pickle
import signal
import time

import numpy as np
import pytest
import torch

from fer_core.data import Augmentation, MemoryDataset, Transform, loader, order
from fer_core.data.loading import balanced_order, batches

STRONG = Augmentation(crop_scale=(0.3, 0.9), flip=0.5, brightness=0.4, erasing=0.5)


@pytest.fixture
def dataset() -> MemoryDataset:
    image = np.random.default_rng(0).integers(0, 256, (23, 1, 12, 12), dtype=np.uint8)
    columns = {"image": image, "label": np.arange(23) % 2}
    return MemoryDataset("toy", "train", ("a", "b"), columns, "", "", [str(place) for place in range(23)])


def transform() -> Transform:
    return Transform(16, (0.5,) * 3, (0.5,) * 3, train=True, augmentation=STRONG)


def test_every_sample_once_in_order(dataset: MemoryDataset) -> None:
    batches = list(loader(dataset, transform(), 5, seed=0))
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(23))
    assert [caption for batch in batches for caption in batch.caption] == dataset.captions


def test_shuffles_by_seed_and_epoch(dataset: MemoryDataset) -> None:
    def drawn(seed: int, epoch: int) -> list[int]:
        batches = loader(dataset, transform(), 5, seed, epoch, shuffle=True)
        return torch.cat([batch.index for batch in batches]).tolist()

    assert sorted(drawn(0, 0)) == list(range(23))
    assert drawn(0, 0) == drawn(0, 0) == order(23, 0, 0, shuffle=True).tolist()
    assert len({tuple(drawn(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_workers_change_nothing(dataset: MemoryDataset) -> None:
    runs = [list(loader(dataset, transform(), 5, 0, 1, shuffle=True, workers=workers)) for workers in (0, 2)]
    for alone, helped in zip(*runs, strict=True):
        assert torch.equal(alone.image, helped.image)
        assert torch.equal(alone.index, helped.index)
        assert alone.caption == helped.caption


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT"])
def test_workers_go_on_where_their_run_is_asked_to_stop(dataset: MemoryDataset, name: str) -> None:
    batches = iter(loader(dataset, transform(), 1, 0, workers=1))
    seen = [next(batches).index.item()]
    os.kill(batches._workers[0].pid, getattr(signal, name))  # a scheduler's signal to the whole group
    time.sleep(0.2)
    assert [*seen, *(batch.index.item() for batch in batches)] == list(range(23))


def test_leaves_the_global_generators_alone(dataset: MemoryDataset) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    list(loader(dataset, transform(), 5, seed=3, shuffle=True))
    assert torch.equal(torch.rand(1), expected)


def test_gives_the_same_pass_again(dataset: MemoryDataset) -> None:
    batches = loader(dataset, transform(), 23, seed=0, shuffle=True)
    (first,), (second,) = list(batches), list(batches)
    assert torch.equal(first.image, second.image)


def test_travels_to_spawned_workers(dataset: MemoryDataset) -> None:
    again = pickle.loads(pickle.dumps((dataset, transform())))
    assert torch.equal(again[1](again[0].take([3])).image, transform()(dataset.take([3])).image)


def test_one_sample_is_its_batch(dataset: MemoryDataset) -> None:
    whole = loader(dataset, transform(), 23, seed=4)
    assert torch.equal(whole.dataset[9].image, next(iter(whole)).image[9])


def test_balanced_order_shows_classes_evenly_and_members_in_turn() -> None:
    labels = np.array([0] * 50 + [1] * 7 + [2] * 3)
    drawn = balanced_order(labels, seed=1, epoch=2)
    assert np.bincount(labels[drawn]).tolist() == [20, 20, 20]
    counts = np.bincount(drawn, minlength=60)
    assert set(counts[:50]) == {0, 1}  # no frequent sample twice
    assert set(counts[50:57]) <= {2, 3}  # a rare one again only after all others
    assert set(counts[57:]) <= {6, 7}
    assert np.array_equal(drawn, balanced_order(labels, 1, 2))
    assert not np.array_equal(drawn, balanced_order(labels, 1, 3))
    assert np.ptp(np.bincount(labels[balanced_order(labels[:59], 0)])) <= 1
    assert balanced_order(np.array([4]), 0).tolist() == [0]


def test_batches_are_the_ones_asked_for(dataset: MemoryDataset) -> None:
    chunks = [np.array([3, 1]), np.array([22]), np.array([], dtype=np.int64)]
    made = list(batches(dataset, transform(), chunks[:2], seed=0, epoch=1))
    assert [batch.index.tolist() for batch in made] == [[3, 1], [22]]
    whole = next(iter(loader(dataset, transform(), 23, seed=0, epoch=1)))
    assert torch.equal(made[0].image, whole.image[[3, 1]])  # a sample's changes do not depend on its company
    assert list(batches(dataset, transform(), [], seed=0)) == []
