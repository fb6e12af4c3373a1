"""Data sets in memory."""

import numpy as np
import pytest
import torch
from numbered import make

from fer_core.data import CLASSES, MemoryDataset
from fer_core.data.dataset import unstack
from fer_core.errors import UserError


def test_gives_samples_and_batches() -> None:
    data = make([0, 1, 2], votes=torch.eye(8)[:3], landmarks=np.zeros((3, 68, 2), dtype=np.float32))
    batch = data.take([2, 0])
    assert batch.image.shape == (2, 3, 4, 4)
    assert batch.image.dtype == torch.uint8
    assert (batch.label.tolist(), batch.index.tolist(), batch.caption) == ([2, 0], [2, 0], ["face 2", "face 0"])
    sample = data[-1]
    assert sample.image.shape == (3, 4, 4)
    assert (sample.label.item(), sample.index.item(), sample.caption) == (2, 2, "face 2")
    assert torch.equal(sample.votes, batch.votes[0])
    assert sample.parsing is None
    assert [each.label.item() for each in data] == [0, 1, 2]  # iteration ends at the end


def test_raw_samples_are_copies() -> None:
    data = make([0, 1])
    data.take([0]).image.numpy()[:] = 99  # numpy, as torch refuses to write into a view of one channel
    assert data.take([0]).image.max() == 0


def test_memory_draws_nothing_and_knows_its_people() -> None:
    data = make([0, 1, 2], subject=[7, 7, 9])
    drawn, taken = data.draw([2, 0], seed=1, epoch=3), data.take([2, 0])
    assert torch.equal(drawn.image, taken.image)
    assert drawn.subject.tolist() == [9, 7]
    assert data.subjects.tolist() == [7, 7, 9]
    assert make([0]).subjects is None


def test_unstack_undoes_stack() -> None:
    data = make([0, 1], votes=torch.eye(8)[:2])
    sample = unstack(data.take([1]))
    again = unstack(type(sample).stack([sample]))
    assert torch.equal(again.votes, sample.votes)
    assert again.caption == "face 1"


def test_states_its_facts() -> None:
    facts = make([0, 1, 1]).facts()
    assert facts["samples"] == 3
    assert facts["counts"] == {**dict.fromkeys(CLASSES, 0), "neutral": 1, "happiness": 2}
    assert (facts["source"], facts["image_shape"], facts["columns"]) == ("made up", [1, 4, 4], ["image"])


def test_refuses_uneven_columns_and_wrong_labels() -> None:
    with pytest.raises(ValueError, match="columns of one length"):
        make([0, 1], votes=torch.zeros(3, 8))
    with pytest.raises(ValueError, match=r"labels in 0\.\.7"):
        make([0, 8])
    with pytest.raises(UserError, match="unknown split 'training'"):
        MemoryDataset("toy", "training", CLASSES, {"image": [], "label": []}, "", "")
