"""Subsets, joined data sets, balanced samples and few shots."""

import numpy as np
import pytest
import torch
from numbered import make

from fer_core.data import Joined, MemoryDataset, balanced, few, subset
from fer_core.errors import UserError


def test_subset_counts_for_itself() -> None:
    data = make([0, 1, 2, 3])
    data.duplicates_of_train = torch.tensor([True, False, True, False])
    part = subset(data, [3, 2])
    assert part.labels.tolist() == [3, 2]
    assert part.duplicates_of_train.tolist() == [False, True]
    batch = part.take([1, 0])
    assert (batch.label.tolist(), batch.index.tolist(), batch.caption) == ([2, 3], [1, 0], ["face 2", "face 3"])
    assert part[0].image.unique().tolist() == [3]
    facts = part.facts()
    assert facts["subset_of"] == {"fingerprint": data.fingerprint, "samples": 4}
    assert (facts["samples"], facts["counts"]["sadness"], facts["source"]) == (2, 1, "made up")
    assert len({part.fingerprint, data.fingerprint, subset(data, [2, 3]).fingerprint}) == 3


def test_joined_data_sets_are_one() -> None:
    one = make([0, 1, 2, 3], subject=np.array([5, 5, 6, 6]))
    other = make([4, 5, 6], subject=np.array([7, 8, 8]))
    whole = Joined([(one, [3, 0]), (other, [1, 2])])
    assert whole.labels.tolist() == [3, 0, 5, 6]
    assert whole.subjects.tolist() == [6, 5, 8, 8]
    batch = whole.take([2, 0, 3])
    assert (batch.label.tolist(), batch.index.tolist()) == ([5, 3, 6], [2, 0, 3])
    assert batch.image[:, 0, 0, 0].tolist() == [1, 3, 2]
    assert batch.caption == ["face 1", "face 3", "face 2"]
    assert torch.equal(whole.draw([1], 0, 0).image, one.take([0]).image)
    bare = whole.without_pixels([3, 1])
    assert (bare.label.tolist(), tuple(bare.image.shape)) == ([6, 0], (2, 0))
    assert whole.facts()["parts"][1] == {"name": "toy", "split": "train", "samples": 2}
    assert whole.facts()["counts"]["contempt"] == 0
    assert whole.fingerprint != Joined([(one, [0, 3]), (other, [1, 2])]).fingerprint
    assert Joined([(one, [0]), (make([1]), [0])]).subjects is None


def test_joined_data_sets_must_have_the_same_classes() -> None:
    other = MemoryDataset("words", "train", ("a", "b"), {"image": np.zeros((1, 1, 4, 4)), "label": [0]}, "", "")
    with pytest.raises(UserError, match=r"the classes of toy .*, got those of words"):
        Joined([(make([0]), [0]), (other, [0])])
    with pytest.raises(UserError, match="expected at least one, got none"):
        Joined([])


def test_subset_keeps_the_people() -> None:
    part = subset(make([0, 1, 2], subject=[7, 7, 9]), [2, 1])
    assert (part.subjects.tolist(), part.draw([1], 0, 0).index.tolist()) == ([9, 7], [1])
    assert subset(make([0]), [0]).subjects is None


@pytest.mark.parametrize("positions", [[0, 4], [-1], [1, 1]])
def test_subset_refuses_other_positions(positions: list[int]) -> None:
    with pytest.raises(UserError, match=r"distinct positions in 0\.\.3"):
        subset(make([0, 1, 2, 3]), positions)


def test_balanced_draws_evenly_and_rare_classes_give_all() -> None:
    data = make([0] * 50 + [1] * 30 + [2] * 2)
    part = balanced(data, 12)
    assert torch.bincount(part.labels).tolist() == [5, 5, 2]
    assert len(balanced(data, 13)) == 13
    positions = part.positions.tolist()
    assert positions == sorted(positions)
    assert positions[:5] != list(range(5))  # drawn, not the first ones
    assert balanced(data, 12).fingerprint == part.fingerprint
    assert balanced(data, 12, seed=1).fingerprint != part.fingerprint
    assert balanced(data, 82) is data
    with pytest.raises(UserError, match="at least 1 sample, got 0"):
        balanced(data, 0)


def test_few_are_so_many_of_each_class() -> None:
    names = ("a", "b", "c")
    labels = [0] * 9 + [1] * 5 + [2] * 4
    whole = MemoryDataset("toy", "train", names, {"image": np.zeros((18, 1, 4, 4)), "label": labels}, "f", "")
    drawn = [few(whole, 3, seed) for seed in range(20)]
    for part in drawn:
        assert torch.bincount(part.labels).tolist() == [3, 3, 3]
        assert part.positions.tolist() == sorted(part.positions.tolist())
    assert torch.equal(few(whole, 3, 4).positions, drawn[4].positions)
    assert set(torch.cat([part.positions for part in drawn]).tolist()) == set(range(18))
    with pytest.raises(UserError, match="expected 5 samples of c in toy, got 4"):
        few(whole, 5, 0)
    with pytest.raises(UserError, match="expected a number of at least 1, got 0"):
        few(whole, 0, 0)
