"""Miniatures of clips: written in the official layout, read by the loaders, no two samples alike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_core import config, descriptions
from fer_core.data import (
    annotated,
    annotation_store,
    annotations,
    bah,
    biovid,
    demo_files,
    dfew,
    ferv39k,
    frames,
    mafw,
    stressid,
)
from fer_core.data.demo import DemoClip
from fer_core.data.files import ClipFiles
from fer_core.data.layout import Layout
from fer_core.descriptions.clips import clip_keys


class Sketches:
    """Stands for DemoFaces: each clip has its own grey, each frame of it is a bit brighter."""

    def __init__(self) -> None:
        self.drawn = self.people = 0

    def clips(self, classes: tuple[str, ...], per_class: int, frames: int, size: int) -> list[DemoClip]:
        made = []
        for number in range(per_class * len(classes)):
            level = 20 + 4 * self.drawn + np.arange(frames)[:, None, None, None]
            shown = np.broadcast_to(level, (frames, size, size, 3)).astype(np.uint8)
            shown = np.where(np.arange(size)[None, None, :, None] < size // 4, 255 - shown, shown)  # not its own mirror
            points = np.random.default_rng(self.drawn).random((frames, 68, 2), np.float32)
            who = self.people + number // len(classes)
            made.append(DemoClip(shown, classes[number % len(classes)], who, f"Someone {self.drawn}.", points))
            self.drawn += 1
        self.people += per_class
        return made


SETS = {module.LAYOUT.name: module for module in (dfew, ferv39k, mafw, biovid, stressid, bah)}


@pytest.mark.parametrize("name", list(SETS))
def test_a_miniature_opens_in_all_splits(tmp_path: Path, name: str) -> None:
    layout = SETS[name].LAYOUT
    layout.demo(tmp_path, Sketches())  # pyright: ignore[reportArgumentType]
    options = config.build(layout.options, {"size": 16, "frames": 3}, "data")
    seen: dict[str, set[bytes]] = {}
    for split in ("train", "validation", "test"):
        opened = layout.open(split, tmp_path, options)
        assert isinstance(opened, ClipFiles)
        assert opened.classes == layout.classes
        assert (opened.subjects is not None) == (layout.kind == "subjects")
        if split == "train":
            assert set(opened.labels.tolist()) == set(range(len(layout.classes)))
        some = range(min(len(opened), 12))
        batch = opened.take(some)
        assert batch.image.shape == (len(some), 3, 3, 16, 16)
        seen[split] = {clip.numpy().tobytes() for clip in batch.image}
        assert len(seen[split]) == len(some)
    assert not (seen["train"] | seen["validation"]) & seen["test"]
    assert not seen["train"] & seen["validation"]
    if hasattr(options, "fold"):
        _each_clip_tests_in_one_fold(layout, tmp_path)


def _each_clip_tests_in_one_fold(layout: Layout, root: Path) -> None:
    tested: list[str] = []
    for fold in range(1, 6):
        options = config.build(layout.options, {"fold": fold, "validation": 0}, "data")
        test, train = (
            {entry.path for entry in layout.listing(split, root, options).entries} for split in ("test", "train")
        )
        assert not test & train
        assert len(test | train) == 8 * len(layout.classes)
        tested.extend(test)
    assert len(tested) == len(set(tested)) == 8 * len(layout.classes)


@pytest.mark.parametrize("name", ["dfew", "ferv39k", "mafw"])
def test_what_is_known_of_each_clip_is_found_again(tmp_path: Path, name: str) -> None:
    layout = SETS[name].LAYOUT
    layout.demo(tmp_path, Sketches())  # pyright: ignore[reportArgumentType]
    opened = layout.open("test", tmp_path, config.build(layout.options, {"size": 16, "frames": 6}, "data"))
    finder = annotations.AnnotatorOptions("files", folder=str(tmp_path / "landmarks"))
    batch = annotated.annotated(
        opened, annotations.annotator(finder), "error", annotation_store.AnnotationStore(tmp_path / "store")
    ).take(range(len(opened)))
    drawn = demo_files.varied(Sketches().clips(layout.classes, per_class=1, frames=6, size=32), 8)
    first = 0 if name == "ferv39k" else 1
    made = [drawn[int(Path(entry.path).stem) - first] for entry in opened.listing.entries]
    assert batch.label.tolist() == [layout.classes.index(clip.class_name) for clip in made]
    expected = torch.from_numpy(np.stack([clip.landmarks for clip in made]))
    assert batch.landmarks is not None
    torch.testing.assert_close(batch.landmarks, expected.to(batch.landmarks.dtype), atol=1e-4, rtol=0)
    told = descriptions.captions_for(clip_keys(opened), tmp_path / "descriptions.jsonl")
    assert told == [clip.caption for clip in made]


def test_varied_clips_keep_their_class_and_differ() -> None:
    drawn = Sketches().clips(("neutral", "pain"), per_class=2, frames=2, size=32)
    made = demo_files.varied(drawn, 8)
    assert len(made) == len({clip.frames.tobytes() for clip in made}) == 32
    assert [(clip.class_name, clip.subject) for clip in made] == 8 * [(clip.class_name, clip.subject) for clip in drawn]
    plain, mirrored = made[0].landmarks, made[len(drawn)].landmarks
    np.testing.assert_allclose(mirrored[:, 36, 0], 1 - plain[:, 45, 0], atol=1e-6)  # outer corners of the two eyes
    np.testing.assert_array_equal(mirrored[:, 36, 1], plain[:, 45, 1])
    one_sided = replace(drawn[0], caption="Left brow up.")
    assert [each.caption for each in demo_files.varied([one_sided], 2)] == ["Left brow up.", "Right brow up."]


def test_slowed_clips_show_each_frame_as_long() -> None:
    assert demo_files.slowed(np.arange(4), 10).tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]


def test_videos_are_read_back(tmp_path: Path) -> None:
    shown = np.broadcast_to(10 * np.arange(20, dtype=np.uint8)[:, None, None, None], (20, 32, 48, 3))
    demo_files.write_video(tmp_path / "new/clip.mp4", shown)
    source = frames.open(tmp_path / "new/clip.mp4")
    assert len(source) == 20
    read = source.read(range(20))
    assert read.shape == (20, 3, 32, 48)
    assert (read.float().mean((1, 2, 3)) - 10 * torch.arange(20)).abs().max() < 4
