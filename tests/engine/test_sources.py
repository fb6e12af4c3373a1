"""Where batches come from: shares of processes, features on the disk, and what happens where they find no room."""

import copy
import logging
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from toy import TEST, TRAIN, Tower, Toy, fitted, same, weights

from fer_core import engine, hardware
from fer_core.batch import Batch, ImageFeatures
from fer_core.data import Joined, MemoryDataset, Transform, cache, order
from fer_core.data.files import ClipFiles, Entry, Listing
from fer_core.data.sampling import Sampling
from fer_core.engine import Processes, Training, sources
from fer_core.engine.sources import Features, FrameFeatures, JoinedFeatures, Pixels, encoded
from fer_core.errors import NoRoomError, UserError

TRANSFORM = Transform(8, Tower.mean, Tower.std)


def one_of(index: int, count: int) -> Any:
    """One process, or one of several that do not talk."""
    if count == 1:
        return Processes(torch.device("cpu"))
    return SimpleNamespace(index=index, count=count, main=index == 0, device=torch.device("cpu"))


def pixels(batch_size: int = 16, index: int = 0, count: int = 1, sampling: Any = "shuffle") -> Pixels:
    return Pixels(TRAIN, TRANSFORM, batch_size, 3, one_of(index, count), sampling=sampling)


@pytest.mark.parametrize("batch_size", [16, 23, 69, 100])
def test_shares_make_up_the_batches_of_one_process(batch_size: int) -> None:
    whole = list(pixels(batch_size).train(2))
    shares = [list(pixels(batch_size, index, 3).train(2)) for index in range(3)]
    steps = pixels(batch_size).steps
    assert len(whole) == steps
    assert all(len(share) == steps for share in shares)
    for step, batch in enumerate(whole):
        weights = [pixels(batch_size, index, 3).weight(step) for index in range(3)]
        assert sum(weights) == pytest.approx(3)
        # What the mean over a share counts is its part of the batch; a share that stands for nothing counts nothing.
        counted = [index for share, weight in zip(shares, weights, strict=True) if weight
                   for index in share[step].index.tolist()]  # fmt: skip
        assert sorted(counted) == sorted(batch.index.tolist())
        assert len(batch) == pixels(batch_size).size(step)
        for share, weight in zip(shares, weights, strict=True):
            assert weight == pytest.approx(3 * len(share[step]) / len(batch)) or (weight == 0 and len(share[step]) == 1)
    held_out = [index for number in range(3) for batch in pixels(batch_size, number, 3).held_out()
                for index in batch.index.tolist()]  # fmt: skip
    assert sorted(held_out) == list(range(70))


def test_an_epoch_may_begin_in_its_middle() -> None:
    whole, rest = list(pixels().train(1)), list(pixels().train(1, start=3))
    assert [batch.index.tolist() for batch in rest] == [batch.index.tolist() for batch in whole[3:]]
    assert list(pixels().train(1, start=5)) == []
    drawn = torch.cat([batch.index for batch in whole]).numpy()
    np.testing.assert_array_equal(drawn, order(70, 3, 1, shuffle=True))


def test_balanced_epochs_show_classes_evenly() -> None:
    labels = torch.cat([batch.label for batch in pixels(sampling="balanced").train(1)])
    assert sorted(torch.bincount(labels).tolist()) == [23, 23, 24]
    _, fit = fitted(Training(epochs=2, batch_size=16, sampling="balanced"))
    assert fit.images_per_second > 0


def test_large_features_stay_on_the_disk(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, _ = fitted(Training(epochs=2, batch_size=16))
    monkeypatch.setattr(sources, "_KEPT_BYTES", 0)
    read, _ = fitted(Training(epochs=2, batch_size=16))
    assert same(weights(kept), weights(read))
    (file,) = [path for path in fresh_cache.iterdir() if np.load(path, mmap_mode="r").shape[0] == 70]
    assert np.load(file, mmap_mode="r").shape == (70, 1, 48)


def test_the_name_of_a_store_stands_for_all_that_made_it(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(tower: Tower, split: MemoryDataset = TRAIN, patches: bool = False, precision: str = "fp32") -> int:
        Features(Pixels(split, TRANSFORM, 16, 0, one_of(0, 1)), tower, patches, precision)
        return len(list(fresh_cache.iterdir()))

    other = Tower()
    other.weights = "other"
    assert made(Tower()) == made(Tower()) == 1
    changed = dict(TRAIN.columns, label=TRAIN.labels.numpy())
    sample = MemoryDataset("toy", "train", TRAIN.classes, changed, "another fingerprint", "")
    counts = [made(other), made(Tower(), sample), made(Tower(), patches=True)]
    assert counts == [2, 3, 4]
    monkeypatch.setattr(hardware, "computes_bf16", lambda device: False)
    assert made(Tower(), precision="bf16") == 4  # what a CPU without units for it computes in fp32 is the same
    monkeypatch.setattr(hardware, "computes_bf16", lambda device: True)
    assert made(Tower(), precision="bf16") == 5
    for count, stride in ((6, 1), (7, 2), (7, 1)):  # clips of which other frames are shown
        sample.sampling = Sampling("window", 2, stride)
        assert made(Tower(), sample) == count
    other = Tower()
    other.name = "the same weights in another model"
    assert made(other) == 8


def test_frames_that_are_written_over_are_encoded_anew(fresh_cache: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    clip.mkdir()

    def features(value: int) -> torch.Tensor:
        for number in range(3):  # the first frame stays
            Image.new("RGB", (8, 8), (value if number else 1,) * 3).save(clip / f"{number}.png")
            os.utime(clip / f"{number}.png", ns=(0, value))
        opened = ClipFiles("toy", "test", Listing(tmp_path, ("a",), (Entry("clip", "a"),)), "", Sampling(frames=3), 8)
        (batch,) = encoded(Pixels(opened, TRANSFORM, 4, 0, one_of(0, 1)), Frames(), False, "fp32").held_out()
        return batch.features.class_token[0]

    before, after = features(50), features(200)
    assert torch.equal(before[0], after[0])
    assert (after[1:] > before[1:]).all()


def test_joined_data_sets_are_encoded_once_each(fresh_cache: Path) -> None:
    joined = Joined([(TEST, [5, 2, 9]), (TRAIN, [7, 1, 30, 0])])
    tower = Tower()
    source = encoded(Pixels(joined, TRANSFORM, 3, 0, one_of(0, 1)), tower, True, "fp32")
    assert isinstance(source, JoinedFeatures)
    order = [np.array([6, 0, 3]), np.array([1, 5])]
    for chunk, batch in zip(order, source.batches(order), strict=True):
        seen = TRANSFORM(joined.take(chunk), 0, 0)
        expected = tower.encode_image(seen.image)
        assert batch.label.tolist() == seen.label.tolist()
        torch.testing.assert_close(batch.features.class_token, expected.class_token)
        torch.testing.assert_close(batch.features.patch_tokens, expected.patch_tokens)
    files = sorted(path.name for path in fresh_cache.iterdir())
    encoded(Pixels(Joined([(TRAIN, [3])]), TRANSFORM, 3, 0, one_of(0, 1)), tower, True, "fp32")
    assert sorted(path.name for path in fresh_cache.iterdir()) == files


def test_joined_data_sets_that_draw_frames_stay_pixels(fresh_cache: Path) -> None:
    joined = Joined([(drawing(), [0, 1]), (drawing("test"), [2])])
    pixels = Pixels(joined, TRANSFORM, 2, 0, one_of(0, 1))
    assert encoded(pixels, Frames(), False, "fp32", drawn=True) is pixels
    assert not fresh_cache.exists()  # nothing was encoded for it


@pytest.mark.parametrize("drawn", [False, True])
def test_a_store_that_is_there_is_opened_with_one_sample(
    drawn: bool, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Pixels(drawing(), TRANSFORM, 6, 4, one_of(0, 1))
    first = encoded(source, Frames(), True, "fp32", drawn)
    seen: list[int] = []
    take = Drawing._chosen
    monkeypatch.setattr(Drawing, "every_frame", lambda self, position: pytest.fail("a whole clip was read"))
    monkeypatch.setattr(Drawing, "_chosen", lambda self, rows, drawn: seen.extend(rows) or take(self, rows, drawn))
    again = encoded(source, Frames(), True, "fp32", drawn)
    assert seen == [0]
    for one, other in zip(again.train(1), first.train(1), strict=True):
        assert torch.equal(one.features.patch_tokens, other.features.patch_tokens)


def test_without_room_features_are_encoded_again_in_every_epoch(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected, _ = fitted(Training(epochs=2, batch_size=16))
    for path in fresh_cache.iterdir():
        path.unlink()

    def full(*_: Any, **__: Any) -> Any:
        raise NoRoomError("expected 10.0 GiB of free space for the store, got 1.0")

    monkeypatch.setattr(cache, "built_array", full)
    with caplog.at_level(logging.WARNING):
        toy, _ = fitted(Training(epochs=2, batch_size=16))
    assert "features are not kept, and encoded again in every epoch: expected 10.0 GiB" in caplog.text
    assert same(weights(toy), weights(expected))
    assert isinstance(encoded(pixels(), Tower(), False, "fp32"), Pixels)


def test_a_sample_that_cannot_be_read_is_no_want_of_room(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def damaged(*_: Any) -> Any:
        raise UserError("expected a whole image, got a damaged one")

    monkeypatch.setattr(type(TRAIN), "take", damaged)
    with caplog.at_level(logging.WARNING), pytest.raises(UserError, match="a damaged one"):
        encoded(pixels(), Tower(), False, "fp32")
    assert "features are not kept" not in caplog.text
    assert not list(fresh_cache.glob("*.npy"))


def test_advice_for_want_of_room_is_a_setting_of_training(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    with caplog.at_level(logging.WARNING):
        encoded(pixels(), Tower(), False, "fp32")
    assert "larger disk, or set training.cache_features=false" in caplog.text
    assert "store out" not in caplog.text


class Frames(Tower):
    """Takes clips, too, as a Clip does."""

    def encode_image(self, image: torch.Tensor, patches: bool = True) -> ImageFeatures:
        if image.ndim == 4:
            return super().encode_image(image, patches)
        made = super().encode_image(image.flatten(0, 1), patches)
        tokens = None if made.patch_tokens is None else made.patch_tokens.unflatten(0, image.shape[:2])
        return ImageFeatures(made.class_token.unflatten(0, image.shape[:2]), tokens)


class Drawing(MemoryDataset):
    """Clips of 3 to 8 frames, of which two are drawn in each epoch; stored as 8, the last ones unused."""

    draws = True

    def length(self, position: int) -> int:
        return 3 + position % 6

    def every_frame(self, position: int) -> torch.Tensor:
        return super().take([position]).image[0, : self.length(position)]

    def frame_numbers(self, position: int, drawn: tuple[int, int] | None = None) -> np.ndarray:
        if drawn is None:
            return np.array([0, 2])
        return np.sort(np.random.default_rng([*drawn, position]).choice(self.length(position), 2, replace=False))

    def _chosen(self, positions: Any, drawn: tuple[int, int] | None) -> Batch:
        batch = super().take(positions)
        rows = [clip[self.frame_numbers(int(at), drawn)] for clip, at in zip(batch.image, positions, strict=True)]
        return replace(batch, image=torch.stack(rows))

    def take(self, positions: Any) -> Batch:
        return self._chosen(positions, None)

    def draw(self, positions: Any, seed: int, epoch: int) -> Batch:
        return self._chosen(positions, (seed, epoch))


def drawing(split: str = "train") -> Drawing:
    image = np.random.default_rng(len(split)).integers(0, 256, (20, 8, 3, 8, 8), dtype=np.uint8)
    return Drawing("clips", split, ("a", "b", "c"), {"image": image, "label": np.arange(20) % 3}, f"f{split}", "")


def test_frames_that_are_drawn_anew_are_drawn_from_features_of_all_frames(fresh_cache: Path) -> None:
    train = Transform(8, Tower.mean, Tower.std, train=True)
    source, drawn = Pixels(drawing(), TRANSFORM, 6, 4, one_of(0, 1)), Pixels(drawing(), train, 6, 4, one_of(0, 1))
    stored = encoded(source, Frames(), True, "fp32", drawn=True)
    for epoch in (1, 2):
        for batch, plain in zip(stored.train(epoch), drawn.train(epoch), strict=True):
            made = Frames().encode_image(plain.image)
            assert torch.equal(batch.index, plain.index)
            assert torch.equal(batch.features.class_token, made.class_token)
            assert torch.equal(batch.features.patch_tokens, made.patch_tokens)


@pytest.mark.parametrize("room", [True, False])
def test_clips_train_on_drawn_frames_with_features_or_without(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch, room: bool
) -> None:
    seen = []

    class Pooled(Toy):
        def __init__(self) -> None:
            super().__init__()
            self.clip = Frames()

        def forward(self, batch: Batch) -> SimpleNamespace:
            seen.append((self.training, batch.features is not None))
            features = batch.features or self.clip.encode_image(batch.image)
            pooled = features.class_token.mean(1)
            return SimpleNamespace(logits=self.head(pooled), features=pooled)

    def trained(cached: bool) -> dict[str, torch.Tensor]:
        engine.seed_everything(0)
        method = Pooled()
        training = Training(epochs=2, batch_size=8, cache_features=cached)
        engine.fit(method, drawing(), drawing("validation"), drawing("test"), training, seed=0, progress=False)
        return weights(method)

    expected = trained(cached=False)
    assert {features for _, features in seen} == {False}
    if not room:

        def full(*_: Any, **__: Any) -> Any:
            raise NoRoomError("no room")

        monkeypatch.setattr(cache, "built_array", full)
    seen.clear()
    assert same(trained(cached=True), expected)
    assert {features for _, features in seen} == {room}


def test_features_of_clips_keep_their_frames(fresh_cache: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 4, 3, 8, 8), dtype=np.uint8)
    clips = MemoryDataset("clips", "test", ("a", "b"), {"image": image, "label": np.arange(6) % 2}, "f", "")
    source = Pixels(clips, TRANSFORM, 4, 0, one_of(0, 1))
    stored = list(Features(source, Frames(), True, "fp32").held_out())
    for batch, plain in zip(stored, source.held_out(), strict=True):
        made = Frames().encode_image(plain.image)
        assert torch.equal(batch.features.class_token, made.class_token)
        assert torch.equal(batch.features.patch_tokens, made.patch_tokens)
        assert batch.image.shape == (len(batch), 0)
        assert torch.equal(batch.label, plain.label)


def test_all_frames_of_clips_are_another_store_than_those_shown(fresh_cache: Path) -> None:
    class Drawn(MemoryDataset):
        def length(self, position: int) -> int:
            return 4

        def every_frame(self, position: int) -> torch.Tensor:
            return torch.from_numpy(image[position])

    image = np.random.default_rng(0).integers(0, 256, (6, 4, 3, 8, 8), dtype=np.uint8)
    clips = Drawn("clips", "train", ("a", "b"), {"image": image, "label": np.arange(6) % 2}, "f", "")
    source = Pixels(clips, TRANSFORM, 4, 0, one_of(0, 1))
    Features(source, Frames(), False, "fp32")
    FrameFeatures(source, Frames(), False, "fp32")
    assert len(list(fresh_cache.iterdir())) == 2


@pytest.mark.parametrize("sampling", ["shuffle", "balanced"])
def test_joined_features_come_in_the_order_of_their_pixels(sampling: Any, fresh_cache: Any) -> None:
    joined = Joined([(TEST, list(range(20))), (TRAIN, list(range(30)))])
    seen = Pixels(joined, TRANSFORM, 8, 3, one_of(0, 1), sampling=sampling)
    stored = encoded(seen, Tower(), False, "fp32")
    assert isinstance(stored, JoinedFeatures)
    for epoch in (1, 2):
        for batch, plain in zip(stored.train(epoch), seen.train(epoch), strict=True):
            assert batch.index.tolist() == plain.index.tolist()


def test_balanced_epochs_differ_by_epoch_and_seed() -> None:
    def drawn(seed: int, epoch: int) -> list[int]:
        source = Pixels(TRAIN, TRANSFORM, 16, seed, one_of(0, 1), sampling="balanced")
        return [index for batch in source.train(epoch) for index in batch.index.tolist()]

    assert len({tuple(drawn(seed, epoch)) for seed in (0, 1) for epoch in (1, 2)}) == 4


def test_features_are_encoded_in_the_precision_that_their_store_is_named_after(
    fresh_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "computes_bf16", lambda device: True)
    seen = []

    class Looks(Tower):
        def encode_image(self, image: Any, patches: bool = True) -> Any:
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().encode_image(image, patches)

    for precision, expected in (("fp32", False), ("bf16", True)):
        seen.clear()
        Features(pixels(), Looks(), False, precision)
        assert set(seen) == {expected}


def test_stores_of_another_split_or_transform_are_others(fresh_cache: Any) -> None:
    renamed = copy.copy(TRAIN)
    renamed.split = "test"
    others = [
        (TRAIN, TRANSFORM),
        (renamed, TRANSFORM),
        (TRAIN, Transform(8, (0.4, 0.5, 0.5), Tower.std)),
        (TRAIN, Transform(8, Tower.mean, (0.2, 0.25, 0.25))),
        (TRAIN, Transform(4, Tower.mean, Tower.std)),
    ]
    for count, (split, transform) in enumerate(others, 1):
        Features(Pixels(split, transform, 16, 0, one_of(0, 1)), Tower(), False, "fp32")
        assert len(list(fresh_cache.iterdir())) == count
