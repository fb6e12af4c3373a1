"""Batches move, stack and split as one."""

from dataclasses import fields, replace

import pytest
import torch

from fer_core.batch import Batch, ImageFeatures


def full(size: int, frames: int | None = None) -> Batch:
    lead = (size,) if frames is None else (size, frames)
    torch.manual_seed(0)
    return Batch(
        image=torch.rand(*lead, 3, 4, 4),
        label=torch.arange(size),
        index=torch.arange(size) + 10,
        votes=torch.rand(size, 8),
        action_units=torch.rand(*lead, 5),
        landmarks=torch.rand(*lead, 68, 2),
        parsing=torch.randint(0, 9, (*lead, 4, 4), dtype=torch.uint8),
        caption=[f"face {place}" for place in range(size)],
        subject=torch.arange(size) % 2,
        features=ImageFeatures(torch.rand(*lead, 6), torch.rand(*lead, 4, 6)),
    )


def sample(batch: Batch, place: int) -> Batch:
    values = {name.name: getattr(batch, name.name) for name in fields(Batch)}
    features = values.pop("features")
    whole = ImageFeatures(features.class_token[place], features.patch_tokens[place])
    return Batch(**{name: value[place] for name, value in values.items()}, features=whole)


def assert_equal(one: Batch, two: Batch) -> None:
    for field in fields(Batch):
        first, second = getattr(one, field.name), getattr(two, field.name)
        if field.name == "features":
            assert torch.equal(first.class_token, second.class_token)
            assert torch.equal(first.patch_tokens, second.patch_tokens)
        elif isinstance(first, torch.Tensor):
            assert torch.equal(first, second), field.name
        else:
            assert first == second, field.name


def test_concatenate_undoes_taking_apart() -> None:
    batch = full(5, 2)
    assert_equal(Batch.concatenate([batch.take([0, 1]), batch.take([2]), batch.take([3, 4])]), batch)
    bare = replace(batch, votes=None)
    with pytest.raises(ValueError, match="votes is missing in 1 of 2 batches"):
        Batch.concatenate([batch, bare])
    with pytest.raises(ValueError, match="expected at least one of the batches"):
        Batch.concatenate([])


@pytest.mark.parametrize("frames", [None, 2])
def test_stack_undoes_splitting(frames: int | None) -> None:
    batch = full(3, frames)
    assert_equal(Batch.stack([sample(batch, place) for place in range(3)]), batch)


def test_take_keeps_the_given_order() -> None:
    batch = full(4)
    assert_equal(batch.take([2, 0]), Batch.stack([sample(batch, 2), sample(batch, 0)]))
    assert_equal(batch.take(torch.tensor([2, 0])), batch.take([2, 0]))


def test_take_reads_a_mask_as_a_mask() -> None:
    batch = full(4)
    assert_equal(batch.take(torch.tensor([False, True, False, True])), batch.take([1, 3]))


def test_taking_nothing_gives_an_empty_batch() -> None:
    empty = full(2).take([])
    assert len(empty) == 0
    assert empty.caption == []
    assert empty.image.shape == (0, 3, 4, 4)


def test_to_moves_every_tensor() -> None:
    moved = full(2).to("meta")
    tensors = [getattr(moved, field.name) for field in fields(Batch)]
    tensors += [moved.features.class_token, moved.features.patch_tokens]
    assert {tensor.device.type for tensor in tensors if isinstance(tensor, torch.Tensor)} == {"meta"}
    assert moved.caption == ["face 0", "face 1"]


def test_optional_fields_stay_missing() -> None:
    bare = Batch(torch.zeros(3, 2, 2), torch.tensor(1), torch.tensor(0))
    stacked = Batch.stack([bare, bare])
    assert len(stacked) == 2
    assert stacked.votes is stacked.caption is stacked.features is None
    assert stacked.take([1]).to("cpu").votes is None


def test_features_may_lack_patches() -> None:
    bare = Batch(torch.zeros(0), torch.tensor(1), torch.tensor(0), features=ImageFeatures(torch.ones(6)))
    stacked = Batch.stack([bare, bare]).take([0])
    assert stacked.features.class_token.shape == (1, 6)
    assert stacked.features.patch_tokens is None


def test_refuses_no_samples_and_mixed_samples() -> None:
    with pytest.raises(ValueError, match="expected at least one of the samples to join"):
        Batch.stack([])
    with_votes = Batch(torch.zeros(1), torch.tensor(0), torch.tensor(0), votes=torch.ones(2))
    without = Batch(torch.zeros(1), torch.tensor(0), torch.tensor(1))
    with pytest.raises(ValueError, match="votes is missing in 1 of 2 samples"):
        Batch.stack([with_votes, without])
