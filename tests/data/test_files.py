"""Lists of files as data sets: safe paths, lazy decoding, one store, stable fingerprints and hold-outs."""

import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fer_core.data import FaceDataset, Transform, balanced, files, frames, images, loader
from fer_core.data.files import ClipFiles, Entry, ImageFiles, Listing
from fer_core.data.mislabelled import LabelNoise, Mislabelled
from fer_core.data.sampling import Sampling
from fer_core.data.selections import Subset
from fer_core.errors import UserError
from fer_core.folders import cache_folder

CLASSES = ("neutral", "happiness")


def image(number: int, size: tuple[int, int] = (12, 10)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.fixture
def stills(tmp_path: Path) -> Listing:
    """Six images of two people."""
    entries = []
    for number in range(6):
        path = tmp_path / "set" / f"a/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image(number).save(path)
        entries.append(
            Entry(f"a/{number}.png", CLASSES[number % 2], subject=f"p{number // 3 + 9}", caption=f"c{number}")
        )
    return Listing(tmp_path / "set", CLASSES, tuple(entries))


@pytest.fixture
def clips(tmp_path: Path) -> Listing:
    """Three folders of 5, 6 and 7 frames; a frame's red is its place, its green the clip."""
    entries = []
    for number in range(3):
        folder = tmp_path / f"clips/{number}"
        folder.mkdir(parents=True)
        for place in range(5 + number):
            Image.new("RGB", (8, 8), (place, number, 0)).save(folder / f"{place}.png")
        entries.append(Entry(f"clips/{number}", CLASSES[number % 2], frames=5 + number))
    return Listing(tmp_path, CLASSES, tuple(entries))


def open_stills(listing: Listing, **options) -> ImageFiles:
    return ImageFiles("toy", "train", listing, "made up", **{"size": 8, **options})


def open_clips(listing: Listing, **options) -> ClipFiles:
    return ClipFiles("toy", "train", listing, "made up", **{"sampling": Sampling("segments", 3), "size": 8, **options})


def test_follows_no_link_out_of_the_folder(stills: Listing, tmp_path: Path) -> None:
    image(99).save(tmp_path / "secret.png")
    (stills.folder / "a/0.png").unlink()
    (stills.folder / "a/0.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(UserError, match=r"expected 'a/0\.png' to lie in it, got a way out"):
        open_stills(stills)[0]
    link = tmp_path / "link"
    link.symlink_to(stills.folder)  # the folder itself may be a link
    assert open_stills(replace(stills, folder=link))[1].label == 1


def test_opens_stills_lazily(stills: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(images, "decode", lambda *_: pytest.fail("decoded"))
        data = open_stills(stills)
        part = balanced(data, 2)  # no pixel is needed for a subset and its fingerprint either
        assert (part.labels.tolist(), len(part.fingerprint)) == ([0, 1], 16)
    batch = data.take([4, 1])
    assert (batch.image.shape, batch.image.dtype) == ((2, 3, 8, 8), torch.uint8)
    np.testing.assert_array_equal(batch.image[0].numpy(), images.decode(stills.folder / "a/4.png", 8))
    assert (batch.label.tolist(), batch.index.tolist(), batch.caption) == ([0, 1], [4, 1], ["c4", "c1"])
    # People are numbered in natural order of their names: p9, then p10.
    assert (data.subject_names, batch.subject.tolist()) == (("p9", "p10"), [1, 0])
    assert torch.equal(data.subjects, torch.tensor([0, 0, 0, 1, 1, 1]))
    assert torch.equal(data.draw([4, 1], 3, 1).image, batch.image)
    assert data.facts() == {
        "name": "toy", "split": "train", "samples": 6, "counts": {"neutral": 3, "happiness": 3},
        "fingerprint": data.fingerprint, "source": "made up", "size": 8,
    }  # fmt: skip


def test_names_missing_and_damaged_files(stills: Listing) -> None:
    (stills.folder / "a/3.png").write_bytes(b"no image")
    data = open_stills(stills)  # told when it is read
    with pytest.raises(UserError, match=r"a/3\.png: expected a whole image"):
        data.take([3])
    (stills.folder / "a/3.png").unlink()
    with pytest.raises(UserError, match=r"expected 'a/3\.png', got: No such file"):
        open_stills(stills)
    with pytest.raises(UserError, match="toy/train: expected at least one sample, got none"):
        open_stills(replace(stills, entries=()))


def test_fingerprint_follows_names_labels_and_content(stills: Listing, tmp_path: Path) -> None:
    first = open_stills(stills).fingerprint
    os.utime(stills.folder / "a/0.png", (10**9, 10**9))
    moved = tmp_path / "moved"
    stills.folder.rename(moved)
    stills = replace(stills, folder=moved)
    assert open_stills(stills).fingerprint == first  # neither the place nor the time counts
    relabelled = (replace(stills.entries[0], label="happiness"), *stills.entries[1:])
    others = {
        open_stills(stills, size=9).fingerprint,
        open_stills(replace(stills, entries=relabelled)).fingerprint,
        open_stills(replace(stills, entries=stills.entries[::-1])).fingerprint,
    }
    content = bytearray((moved / "a/5.png").read_bytes())
    content[-1] ^= 1
    (moved / "a/5.png").write_bytes(content)
    others.add(open_stills(stills).fingerprint)
    assert len(others - {first}) == 4


def test_the_store_changes_nothing_but_the_time(stills: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = open_stills(stills)
    with monkeypatch.context() as patch:
        patch.setattr(files.cache.shutil, "disk_usage", lambda _: type("Disk", (), {"free": 100})())
        with pytest.raises(UserError, match=r"GiB of free space for the store, got 0\.0"):
            open_stills(stills, store=True)
    stored = open_stills(stills, store=True)
    assert len(list(cache_folder().glob("toy-train-*.npy"))) == 1
    monkeypatch.setattr(images, "decode", lambda *_: pytest.fail("decoded again"))
    again = open_stills(stills, store=True)
    travelled = pickle.loads(pickle.dumps(stored))
    monkeypatch.undo()
    for data in (stored, again, travelled):
        assert torch.equal(data.take([5, 0]).image, plain.take([5, 0]).image)
        assert data.fingerprint == plain.fingerprint
    stored.take([0]).image.zero_()  # a copy, not the store
    assert torch.equal(again.take([0]).image, plain.take([0]).image)


def test_a_changed_file_gets_a_new_store(stills: Listing) -> None:
    before = open_stills(stills, store=True).take([0]).image
    image(77).save(stills.folder / "a/0.png")
    os.utime(stills.folder / "a/0.png", (10**9, 10**9))
    assert not torch.equal(open_stills(stills, store=True).take([0]).image, before)


def write_over(clips: Listing) -> None:
    """A frame, so that neither its folder nor the first frame tells."""
    frame = clips.folder / "clips/0/2.png"
    written, folder = frame.stat(), frame.parent.stat()
    Image.new("RGB", (8, 8), (99, 0, 0)).save(frame)
    os.utime(frame, ns=(written.st_atime_ns, written.st_mtime_ns + 1))
    assert frame.parent.stat().st_mtime_ns == folder.st_mtime_ns


def test_a_frame_that_is_written_over_gets_a_new_store(clips: Listing) -> None:
    before = open_clips(clips, store=True)
    write_over(clips)
    after = open_clips(clips, store=True)
    assert [int(data.take([0]).image[0, 1, 0, 0, 0]) for data in (before, after)] == [2, 99]


def test_features_are_kept_under_what_every_frame_is_now(clips: Listing, tmp_path: Path) -> None:
    def seen(folder: Path = clips.folder) -> list[FaceDataset]:
        whole = open_clips(replace(clips, folder=folder))
        return [whole, Subset(whole, [1, 0]), Mislabelled(Subset(whole, [1, 0]), LabelNoise(0.5), 0)]

    before = [(data.pixels, data.fingerprint) for data in seen()]
    assert [(data.pixels, data.fingerprint) for data in seen()] == before
    write_over(clips)
    after = [(data.pixels, data.fingerprint) for data in seen()]
    for (pixels, fingerprint), (pixels_now, fingerprint_now) in zip(before, after, strict=True):
        assert pixels != pixels_now
        assert fingerprint == fingerprint_now  # records carry it: it is the same on all machines
    shutil.copytree(clips.folder / "clips", tmp_path / "copy/clips")  # with their times
    assert [data.pixels for data in seen(tmp_path / "copy")] == [pixels for pixels, _ in after]


def test_other_decoding_makes_kept_pixels_and_features_anew(
    clips: Listing, stills: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept() -> tuple[set[str], set[str], set[str]]:
        opened = open_clips(clips, store=True), open_stills(stills, store=True)
        stores = {path.name for path in cache_folder().glob("toy-train-*.npy")}
        return stores, {data.pixels for data in opened}, {data.fingerprint for data in opened}

    stores, pixels, fingerprints = kept()
    monkeypatch.setattr(images, "DECODING_VERSION", images.DECODING_VERSION + 1)
    stores_then, pixels_then, fingerprints_then = kept()
    assert len(stores_then - stores) == 3  # a store each, and the clips' lengths
    assert not pixels & pixels_then
    assert fingerprints == fingerprints_then


@pytest.mark.parametrize("store", [False, True])
def test_clips_take_middle_frames_and_draw_by_seed(clips: Listing, store: bool) -> None:
    data = open_clips(clips, store=store)
    batch = data.take([2, 0])
    assert batch.image.shape == (2, 3, 3, 8, 8)
    assert batch.image[:, :, 0, 0, 0].tolist() == [[1, 3, 5], [0, 2, 4]]  # of 7 and of 5 frames
    assert batch.image[:, 0, 1, 0, 0].tolist() == [2, 0]
    drawn = {seed: data.draw([2, 0], seed, 1).image for seed in range(6)}
    assert len({tuple(clip[0, :, 0, 0, 0].tolist()) for clip in drawn.values()}) > 1
    assert torch.equal(data.draw([0, 2], 3, 1).image.flip(0), drawn[3])  # the place in the batch does not count
    assert data.facts()["sampling"] == {"mode": "segments", "frames": 3, "stride": 1}


def test_a_training_transform_draws_frames(clips: Listing) -> None:
    data = open_clips(clips)
    assert data[1].image.shape == (3, 3, 8, 8)
    for train, epoch, workers in [(False, 1, 0), (True, 0, 0), (True, 1, 0), (True, 1, 2)]:
        transform = Transform(8, (0.0,) * 3, (1 / 255,) * 3, train=train)
        expected = (data.draw([0, 1, 2], 5, epoch) if train else data.take([0, 1, 2])).image.float()
        (batch,) = loader(data, transform, 3, seed=5, epoch=epoch, workers=workers)
        torch.testing.assert_close(batch.image, expected)


def test_a_subset_draws_what_the_whole_set_draws(clips: Listing) -> None:
    data = open_clips(clips)
    part = balanced(data, 2)
    assert part.sampling == data.sampling == Sampling("segments", 3)
    place = part.positions.tolist()[1]
    drawn = part.draw([1], 4, 2)
    assert torch.equal(drawn.image, data.draw([place], 4, 2).image)
    assert drawn.index.tolist() == [1]
    assert part.subjects is None


def test_segments_are_clips_of_their_own(clips: Listing) -> None:
    entries = (
        Entry("clips/2", "neutral", frames=3, first=2),
        Entry("clips/2", "neutral", frames=9, first=5),  # the list promises more than there is
        Entry("clips/0", "neutral", first=1),
    )
    data = open_clips(replace(clips, entries=entries))
    assert data.take([0, 1, 2]).image[:, :, 0, 0, 0].tolist() == [[2, 3, 4], [5, 6, 6], [1, 3, 4]]
    stored = open_clips(replace(clips, entries=entries), store=True)
    assert torch.equal(stored.take([0, 1, 2]).image, data.take([0, 1, 2]).image)
    assert len({data.fingerprint, open_clips(replace(clips, entries=entries[:2])).fingerprint}) == 2
    beyond = open_clips(replace(clips, entries=(Entry("clips/0", "neutral", frames=2, first=5),)))
    with pytest.raises(UserError, match="expected frame 5 of a segment, got 5 frames"):
        beyond.take([0])


def test_tells_other_numbers_of_frames_once(clips: Listing, caplog: pytest.LogCaptureFixture) -> None:
    open_clips(clips)
    assert not caplog.records
    wrong = tuple(replace(entry, frames=(entry.frames or 0) + 1) for entry in clips.entries[:2])
    data = open_clips(replace(clips, entries=(*wrong, clips.entries[2])))
    (record,) = caplog.records
    assert "2 of 3 clips have other numbers of frames" in record.message
    assert "clips/0: list 6, folder 5" in record.message
    assert data.length(0) == 5


def test_names_a_folder_without_frames(clips: Listing) -> None:
    for frame in (clips.folder / "clips/1").iterdir():
        frame.unlink()
    with pytest.raises(UserError, match="clips/1: expected the frames of a clip, found no image"):
        open_clips(clips)


def test_clips_are_counted_once(clips: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, really = [], frames.open
    monkeypatch.setattr(frames, "open", lambda path, *size: (opened.append(Path(path).name), really(path, *size))[1])
    segment = replace(clips.entries[2], first=3, frames=9)
    data = open_clips(replace(clips, entries=(*clips.entries, segment)))
    size = len(pickle.dumps(data))
    assert [data.length(place) for place in range(4)] == [5, 6, 7, 4]
    assert opened == ["0", "1", "2", "2"]
    for epoch in range(3):
        for place in range(4):
            data.frame_numbers(place, (0, epoch))
    assert len(opened) == 4
    there = pickle.loads(pickle.dumps(data))  # as it travels to a worker
    assert [there.length(place) for place in range(4)] == [5, 6, 7, 4]
    assert len(pickle.dumps(data)) == size
    data = open_clips(clips)
    data.draw([2, 0], seed=0, epoch=0)
    assert (data.length(0), data.length(2), opened[4:]) == (5, 7, ["2", "0"])  # to read them, not to count them
