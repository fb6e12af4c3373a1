import json
import logging

import numpy as np
import pytest
import torch
from known import KnownAnnotations
from PIL import Image

from fer_core import data
from fer_core.data.annotated import annotated
from fer_core.data.annotations import Annotation, FinderAnnotator, average_landmarks
from fer_core.data.face_files import FaceFiles
from fer_core.data.files import ClipFiles, Entry, ImageFiles, Listing
from fer_core.data.sampling import Sampling
from fer_core.data.selections import Subset
from fer_core.errors import UserError

CLASSES = ("neutral", "happiness")


class Marks:
    """Finds in each image the value of its pixels; black ones have no face."""

    name, version, by_pixels = "marks", "1", True

    def __init__(self):
        self.asked = 0

    def annotate(self, image, origin=None):
        self.asked += 1
        if not image.any():
            return None
        value = image[0, 0, 0] / 255
        return Annotation(np.full((68, 2), value, np.float32), np.full(image.shape[:2], image[0, 0, 0], np.uint8))


def still_files(folder, values, size=(32, 32)):
    for number, value in enumerate(values):
        Image.new("RGB", size, (value, value, value)).save(folder / f"{number}.png")
    entries = tuple(Entry(f"{number}.png", CLASSES[number % 2]) for number in range(len(values)))
    return ImageFiles("made", "train", Listing(folder, CLASSES, entries), "made up", size=32)


def write_json(path, faces):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"faces": faces}))


def face(points, frame=None):
    return {"landmarks": points.tolist()} | ({} if frame is None else {"frame": frame})


def test_exact_annotations_of_rendered_faces_come_back():
    dataset = data.open("facs-clip-7", "validation", limit=2)
    wrapped, plain = annotated(dataset, KnownAnnotations(dataset)).take([1, 0]), dataset.take([1, 0])
    for field in ("image", "label", "landmarks", "parsing", "votes", "action_units"):
        torch.testing.assert_close(getattr(wrapped, field), getattr(plain, field), rtol=0, atol=0)


def test_the_transform_changes_them_with_the_pixels():
    dataset = data.open("facs-still-8", "validation", limit=2)
    flip = data.Transform(48, (0.5,) * 3, (0.5,) * 3, True, data.Augmentation(flip=1.0, crop_scale=(0.7, 0.9)))
    wrapped = annotated(dataset, KnownAnnotations(dataset))
    (ours,), (theirs,) = (data.loader(each, flip, batch_size=8, seed=3) for each in (wrapped, dataset))
    torch.testing.assert_close(ours.landmarks, theirs.landmarks)
    torch.testing.assert_close(ours.parsing, theirs.parsing)


def test_stills(tmp_path):
    wrapped = annotated(still_files(tmp_path, [10, 20, 30]), Marks())
    batch = wrapped.take([2, 1])
    assert batch.landmarks.shape == (2, 68, 2)
    assert batch.landmarks[:, 0, 0].tolist() == pytest.approx([30 / 255, 20 / 255])
    assert batch.parsing.shape == (2, 32, 32)
    assert batch.parsing[:, 5, 5].tolist() == [30, 20]
    assert batch.image.dtype == torch.uint8
    assert wrapped[0].landmarks.shape == (68, 2)


def test_each_image_is_annotated_once(tmp_path):
    marks = Marks()
    wrapped = annotated(still_files(tmp_path, [10, 20, 10]), marks)
    wrapped.take([0, 1, 2])
    wrapped.draw([2, 1], seed=0, epoch=3)
    assert marks.asked == 2


def test_faces_that_are_not_found_are_counted_and_get_the_average(tmp_path, caplog):
    wrapped = annotated(still_files(tmp_path, [10, 0, 0]), Marks())
    with caplog.at_level(logging.WARNING):
        done = []
        counts = wrapped.annotate_all(lambda *progress: done.append(progress))
    assert counts == {"images": 3, "without a face": 2}
    assert done == [(3, 3)]
    assert wrapped.without_face == {(1, 0), (2, 0)}
    assert caplog.text.count("finds no face in sample 1") == 1
    np.testing.assert_allclose(wrapped.take([2]).landmarks[0], average_landmarks(), atol=1e-6)


def test_faces_that_are_not_found_may_be_an_error(tmp_path):
    wrapped = annotated(still_files(tmp_path, [10, 0]), Marks(), missing="error")
    wrapped.take([0])
    with pytest.raises(UserError, match="made/train: expected a face in sample 1, marks found none"):
        wrapped.take([1])


def clip_files(folder, sampling, values, **segment):
    (folder / "clips" / "a").mkdir(parents=True)
    for number, value in enumerate(values):
        Image.new("RGB", (48, 32), (value, value, value)).save(folder / "clips" / "a" / f"{number + 1}.png")
    entries = (Entry("clips/a", "neutral", **segment),)
    return ClipFiles("made", "train", Listing(folder, CLASSES, entries), "made up", sampling, size=32)


def test_frames_of_clips(tmp_path):
    clips = clip_files(tmp_path, Sampling(frames=4), [10, 0, 30, 40])
    wrapped = annotated(clips, Marks())
    batch = wrapped.take([0])
    assert batch.landmarks.shape == (1, 4, 68, 2)
    assert batch.parsing[0, :, 0, 0].tolist() == [10, 10, 30, 40]
    assert wrapped.without_face == {(0, 1)}


def test_frames_of_a_folder_may_differ_in_size(tmp_path):
    sizes, marks = [(48, 32), (32, 32), (32, 64), (96, 64)], []
    (tmp_path / "clips" / "a").mkdir(parents=True)
    for number, (width, height) in enumerate(sizes):
        Image.new("RGB", (width, height), (9, 9, 9)).save(tmp_path / "clips" / "a" / f"{number}.png")
        marks.append(face(np.full((68, 2), [width / 2, height / 2]), number))  # the middle of each
    write_json(tmp_path / "faces" / "clips" / "a.json", marks)
    entries = (Entry("clips/a", "neutral"),)
    clips = ClipFiles("made", "train", Listing(tmp_path, CLASSES, entries), "made up", Sampling(frames=4), size=32)
    batch = annotated(clips, FinderAnnotator(FaceFiles(tmp_path / "faces"))).take([0])
    torch.testing.assert_close(batch.landmarks, torch.full((1, 4, 68, 2), 0.5))


@pytest.mark.parametrize("sampling", [Sampling(frames=5), Sampling("window", frames=4, stride=2)])
@pytest.mark.parametrize("segment", [{}, {"first": 3}, {"first": 3, "frames": 9, "numbered": 0}])
def test_files_tell_the_frames_that_are_drawn(tmp_path, sampling, segment):
    values = list(range(5, 65, 5))
    clips = clip_files(tmp_path, sampling, values, **segment)
    rows = [
        face(np.full((68, 2), 8.0) + np.arange(68)[:, None] * 0.1 + value / 10, frame)
        for frame, value in enumerate(values)
    ]
    write_json(tmp_path / "faces" / "clips" / "a.json", rows)
    wrapped = annotated(Subset(clips, [0]), FinderAnnotator(FaceFiles(tmp_path / "faces")))
    for batch in (wrapped.take([0]), *(wrapped.draw([0], seed=1, epoch=epoch) for epoch in range(3))):
        shown = batch.image[0, :, 0, 0, 0].float()
        # Frames of 48x32 pixels lose 8 columns on each side; the value of a pixel tells which frame it is.
        torch.testing.assert_close(batch.landmarks[0, :, 0, 0] * 32, shown / 10)
        torch.testing.assert_close(batch.landmarks[0, :, 0, 1] * 32, 8 + shown / 10)


@pytest.mark.parametrize(
    ("box", "orientation", "expected"),
    [
        # The centre square of 96x64 pixels is 16..80, made half as large.
        (None, 1, ((40 - 16) / 64, 20 / 64)),
        # Of the box 10..70 x 4..44 the centre square is 20..60 x 4..44.
        ((10, 4, 60, 40), 1, ((40 - 20) / 40, (20 - 4) / 40)),
        # Turned upright the file is 64 wide and 96 high.
        (None, 6, (40 / 64, (20 - 16) / 64)),
    ],
)
def test_files_tell_points_of_the_whole_photograph(tmp_path, box, orientation, expected):
    picture = Image.new("RGB", (96, 64))
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.jpg", exif=exif)
    points = np.full((68, 2), (40.0, 20.0)) + np.random.default_rng(0).uniform(-1, 1, (68, 2))
    points[0] = 40, 20
    write_json(tmp_path / "faces" / "a.json", [face(points)])
    stills = ImageFiles("made", "train", Listing(tmp_path, CLASSES, (Entry("a.jpg", "neutral", box=box),)), "", size=32)
    batch = annotated(stills, FinderAnnotator(FaceFiles(tmp_path / "faces"))).take([0])
    np.testing.assert_allclose(batch.landmarks[0, 0], expected, atol=1e-6)


def test_files_need_a_data_set_of_files(tmp_path):
    write_json(tmp_path / "a.json", [])
    files = FinderAnnotator(FaceFiles(tmp_path))
    with pytest.raises(UserError, match="expected a data set that lies as image or video files, facs-still-8 does not"):
        annotated(data.open("facs-still-8", "validation", limit=2), files)


def test_facts_and_fingerprint_tell_who_annotated(tmp_path):
    stills = still_files(tmp_path, [10, 20])
    wrapped, other = annotated(stills, Marks()), annotated(stills, Marks(), missing="error")
    assert wrapped.facts()["annotations"] == {"annotator": "marks", "version": "1", "missing": "average"}
    assert wrapped.facts()["fingerprint"] == wrapped.fingerprint
    assert len({stills.fingerprint, wrapped.fingerprint, other.fingerprint}) == 3
    assert (wrapped.labels, wrapped.subjects, wrapped.duplicates_of_train) == (stills.labels, None, None)


def test_wrong_choice(tmp_path):
    with pytest.raises(UserError, match="missing: expected 'average' or 'error', got 'zero'"):
        annotated(still_files(tmp_path, [10]), Marks(), missing="zero")
