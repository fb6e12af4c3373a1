"""Predictions are those of the method on the same pixels; a file that cannot be used is told, and the others go on."""

import json
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from known import KnownFaces
from PIL import Image
from tiny import stirred, tiny_clip

from fer_core import cli, cli_predict, data, models, predicting
from fer_core.batch import Batch
from fer_core.data import frames as clips
from fer_core.data import images
from fer_core.data.alignment import Alignment, five_points
from fer_core.data.annotations import FinderAnnotator, average_landmarks
from fer_core.data.face_files import FaceFiles
from fer_core.data.faces_in_images import FacePlacer, FoundFace
from fer_core.data.files import ClipFiles, Entry, ImageFiles, Listing
from fer_core.data.sampling import Sampling
from fer_core.errors import UserError
from fer_core.faces import PARSING
from fer_core.predicting import LeftOut, Model, Prediction, Predictor

CLASSES = ("neutral", "fear", "surprise")


@pytest.fixture(scope="module")
def model():
    """A trained-looking method that sees small differences."""
    method = stirred(models.build("full-fine-tuning", tiny_clip(), CLASSES, {}), by=0.5)
    return Model(method, 4, {"model": "tiny"})


def write(path, seed, height=40, width=30):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path):
    """Two photographs, and a clip of 9 frames as a folder."""
    write(tmp_path / "in" / "a.png", 0)
    write(tmp_path / "in" / "b.bmp", 1, 30, 50)
    for frame in range(9):
        write(tmp_path / "in" / "clip" / f"{frame + 1}.png", 10 + frame)
    return tmp_path / "in"


def as_a_data_set(model, folder, names, sampling=None):
    """Probabilities as the evaluation of a data set of these files would have them."""
    listing = Listing(folder, CLASSES, [Entry(name, "fear") for name in names])
    if sampling is None:
        dataset = ImageFiles("own", "test", listing, "here")
    else:
        dataset = ClipFiles("own", "test", listing, "here", sampling)
    tower = model.method.clip
    transform = data.Transform(tower.image_size, tower.mean, tower.std)
    with torch.no_grad():
        return model.method(transform(dataset.take(range(len(names))))).logits.softmax(1)


def probabilities(predictions):
    return torch.tensor([list(each.probabilities.values()) for each in predictions])


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_photographs_as_a_data_set_of_them_would_be_evaluated(model, folder, batch):
    found = predicting.find([folder / "a.png", folder / "b.bmp"])
    said = list(Predictor(model, batch=batch)(found))
    assert [each.path for each in said] == [str(folder / "a.png"), str(folder / "b.bmp")]
    expected = as_a_data_set(model, folder, ["a.png", "b.bmp"])
    torch.testing.assert_close(probabilities(said), expected, atol=1e-6, rtol=0)
    assert (expected[0] - expected[1]).abs().max() > 1e-3  # else the test would see nothing
    for each, row in zip(said, expected, strict=True):
        assert each.frames is None
        assert each.label == CLASSES[int(row.argmax())]


def test_clips_as_a_data_set_of_them_would_be_evaluated(model, folder):
    (said,) = Predictor(model)(predicting.find([folder / "clip"], clip_folders=True))
    torch.testing.assert_close(
        probabilities([said]), as_a_data_set(model, folder, ["clip"], Sampling(frames=4)), atol=1e-6, rtol=0
    )
    assert said.frames == (1, 3, 5, 7)
    assert said.outline is None
    assert said.image.shape == (4, 3, 224, 224)


def test_windows_are_clips_of_their_own(model, folder, tmp_path):
    said = list(Predictor(model, frames=3, step=2)(predicting.find([folder / "clip"], clip_folders=True)))
    assert [each.frames for each in said] == [(0, 1, 2), (2, 3, 4), (4, 5, 6), (6, 7, 8)]
    for each in said:
        for number, frame in enumerate(each.frames):
            Image.open(folder / "clip" / f"{frame + 1}.png").save(tmp_path / f"{each.frames[0]}-{number}.png")
    for each in said:
        own = tmp_path / "own" / str(each.frames[0])
        own.mkdir(parents=True)
        for number in range(3):
            (tmp_path / f"{each.frames[0]}-{number}.png").rename(own / f"{number}.png")
        (alone,) = Predictor(model, frames=3)(predicting.find([own], clip_folders=True))
        assert probabilities([alone]) == pytest.approx(probabilities([each]), abs=1e-6)


def test_photographs_and_clips_come_in_order(model, folder):
    names = [str(folder / name) for name in ("b.bmp", "clip", "a.png")]
    found = predicting.find(names, clip_folders=True)
    assert list(found) == names
    said = list(Predictor(model)(found))
    assert [each.path for each in said] == names
    assert [each.frames is None for each in said] == [True, False, True]


def test_a_folder_is_of_photographs_unless_it_is_said_to_be_a_clip(folder):
    assert list(predicting.find([folder]))[:3] == [str(folder / name) for name in ("a.png", "b.bmp", "clip/1.png")]
    assert len(predicting.find([folder])) == 11
    assert list(predicting.find([folder], clip_folders=True)) == [str(folder), str(folder / "clip")]


@pytest.fixture
def film(tmp_path):
    """Writes a video of 8 frames, each brighter than the last."""

    def write_film(name):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
            for place in range(8):
                picture = np.full((32, 48, 3), 25 * place, dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        return tmp_path / name

    return write_film


def test_videos(model, film):
    (said,) = Predictor(model)(predicting.find([film("film.mp4")]))
    assert said.frames == (1, 3, 5, 7)
    assert said.image.float().mean(dim=(1, 2, 3)) == pytest.approx([25.0, 75.0, 125.0, 175.0], abs=4)


def test_windows_of_a_video_without_times_are_read_in_one_go(model, film, monkeypatch):
    real, opened = clips._Opened.__enter__, []
    monkeypatch.setattr(clips._Opened, "__enter__", lambda self: opened.append(self) or real(self))
    said = list(Predictor(model, frames=3, step=1)(predicting.find([film("film.avi")])))
    assert [each.frames for each in said] == [(at, at + 1, at + 2) for at in range(6)]
    for each in said:
        assert each.image.float().mean(dim=(1, 2, 3)) == pytest.approx([25.0 * at for at in each.frames], abs=4)
    assert len(opened) == 3  # to look at its packets, to count its frames, and to read them


def test_damaged_files_are_left_out_and_told(model, folder):
    (folder / "aa.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (folder / "film.mp4").write_bytes(b"no video")
    names = [folder / name for name in ("a.png", "aa.png", "clip", "film.mp4", "b.bmp")]
    said = list(Predictor(model)(predicting.find(names, clip_folders=True)))
    assert [type(each) for each in said] == [Prediction, LeftOut, Prediction, LeftOut, Prediction]
    assert [each.path for each in said] == [str(name) for name in names]
    assert said[1].why.startswith("expected a whole image, got a damaged one")
    assert said[3].why.startswith("expected a whole video, got a damaged one")


class Bright:
    """Finds the box of what is bright; a picture that is all dark has no face."""

    name, version, by_pixels = "bright", "1", True

    def find(self, image, origin=None):
        rows, columns = np.nonzero(image[..., 0] > 100)
        if not len(rows):
            return []
        return [FoundFace((float(columns.min()), float(rows.min()), columns.max() + 1.0, rows.max() + 1.0))]


def test_faces_are_found_wherever_they_are(model, tmp_path):
    face = np.random.default_rng(0).integers(110, 256, (16, 16, 3), dtype=np.uint8)
    pictures = np.zeros((3, 60, 80, 3), dtype=np.uint8)
    pictures[0, 4:20, 6:22], pictures[1, 40:56, 60:76] = face, face
    placer = FacePlacer(Alignment(size=64, mode="box", margin=0.1), Bright())
    first, second, none = Predictor(model, placer=placer).of_pictures(pictures)
    assert probabilities([first]) == pytest.approx(probabilities([second]), abs=1e-6)
    assert none == LeftOut("picture 2", "expected a face, found none")
    (centre, *_) = Predictor(model).of_pictures(pictures)
    assert (probabilities([first]) - probabilities([centre])).abs().max() > 1e-3
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    said = list(Predictor(model, placer=placer, frames=3)(predicting.find([tmp_path], clip_folders=True)))
    assert [each.path for each in said] == [str(tmp_path)]  # the folder itself is the clip
    assert said[0].image[2].sum() == 0  # a frame without a face is cut where the last one was
    first, second, none = Predictor(model, placer=placer, frames=1, step=1)(predicting.find([tmp_path], True))
    assert (first.frames, second.frames) == ((0,), (1,))
    assert none == LeftOut(str(tmp_path), "expected a face in the frames 2 to 2, found none")


@pytest.fixture
def moving(tmp_path, monkeypatch):
    """A dark clip of 8 frames, ``in/clip``, whose bright face goes to the right, and ``faces/clip.json``."""
    entries = []
    for frame in range(8):
        picture = np.zeros((40, 120, 3), dtype=np.uint8)
        picture[12:28, 12 * frame + 4 : 12 * frame + 20] = 200
        (tmp_path / "in" / "clip").mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "in" / "clip" / f"{frame}.png")
        entries.append({"frame": frame, "box": [12 * frame + 4, 12, 12 * frame + 20, 28]})
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "clip.json").write_text(json.dumps({"faces": entries}))
    monkeypatch.chdir(tmp_path / "in")
    return tmp_path


@pytest.mark.parametrize(("frames", "step", "shown"), [(4, 2, [(0, 3), (2, 5), (4, 7)]), (4, None, [(1, 7)])])
def test_each_frame_is_cut_by_its_own_face(model, moving, frames, step, shown):
    placer = FacePlacer(Alignment(size=64, mode="box", margin=0), FaceFiles(moving / "faces"))
    said = list(Predictor(model, placer=placer, frames=frames, step=step)(predicting.find(["clip"], True)))
    assert [(each.frames[0], each.frames[-1]) for each in said] == shown
    for each in said:
        assert each.image[..., 8:-8, 8:-8].min() > 190


@pytest.mark.parametrize("named", ["clip", "../in/clip", "{here}/clip", ".", "{here}", "../in"])
def test_face_files_mirror_what_lies_below_the_folder_that_was_named(model, moving, named):
    found = predicting.find([named.format(here=moving / "in")], clip_folders=True)
    placer = FacePlacer(Alignment(size=64, mode="box", margin=0), FaceFiles(moving / "faces"))
    (said,) = Predictor(model, placer=placer)(found)
    assert isinstance(said, Prediction)
    assert said.image[..., 8:-8, 8:-8].min() > 190


@pytest.mark.parametrize("named", [".", "..", "{here}/in/clip"])
def test_a_folder_that_is_itself_a_clip_goes_by_its_name(moving, monkeypatch, named):
    monkeypatch.chdir(moving / "in" / "clip" if named == "." else moving / "in")
    (moving / "in" / "clip" / "below").mkdir()
    if named == "..":
        monkeypatch.chdir(moving / "in" / "clip" / "below")
    (found,) = predicting.find([named.format(here=moving)], clip_folders=True).values()
    assert found.below == "clip"


def test_photographs_below_a_folder_have_their_face_files(moving, capsys):
    shutil.copy(moving / "in" / "clip" / "7.png", moving / "in" / "photo.png")
    eyes = [[95, 16], [101, 16], [98, 19], [96, 22], [100, 22]]
    (moving / "faces" / "photo.json").write_text(json.dumps({"faces": [{"box": [88, 12, 104, 28], "points": eyes}]}))
    shutil.rmtree(moving / "in" / "clip")
    command = ["predict", str(moving / "in"), "--faces", "files", "--faces-folder", str(moving / "faces"), "--quiet"]
    assert cli.main(command) == 0
    assert capsys.readouterr().out.startswith(str(moving / "in" / "photo.png"))


def test_outlines_tell_what_was_cut_out_of_the_picture(model):
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    (centre,) = Predictor(model).of_pictures([picture])
    assert np.array(centre.outline) == pytest.approx(np.array([[10, 0], [70, 0], [70, 60], [10, 60]]))
    box = FacePlacer(
        Alignment(size=64, mode="box", margin=0.25), KnownFaces([(picture, [FoundFace((20, 30, 40, 50))])])
    )
    (cut,) = Predictor(model, placer=box).of_pictures([picture])
    assert np.array(cut.outline) == pytest.approx(np.array([[15, 25], [45, 25], [45, 55], [15, 55]]))
    # A head on its side: the person's right eye, on the viewer's left when upright, is below the left one.
    points = np.array([[40, 40], [40, 20], [46, 30], [52, 36], [52, 24]], dtype=float)
    eyes = FacePlacer(Alignment(), KnownFaces([(picture, [FoundFace((20, 10, 60, 50), points=points)])]))
    (turned,) = Predictor(model, placer=eyes).of_pictures([picture])
    upper_left, upper_right, _, lower_left = np.array(turned.outline)
    for (x, y), eye in zip((Alignment().right_eye, Alignment().left_eye), points, strict=False):
        assert upper_left + x * (upper_right - upper_left) + y * (lower_left - upper_left) == pytest.approx(eye)
    assert np.linalg.norm(upper_right - upper_left) == pytest.approx(20 / 0.32)  # eyes are 20 pixels apart


def test_a_method_that_looks_at_maps_is_given_them_or_says_so(folder):
    method = stirred(models.build("fine-cliper", tiny_clip(), CLASSES, {}))
    model = Model(method, 2, {})
    found = predicting.find([folder / "clip"], clip_folders=True)
    with pytest.raises(UserError, match=r"looks at parsing and landmarks: .* choose --faces mediapipe"):
        Predictor(model)

    class Same:
        name, version, by_pixels = "same", "1", True

        def annotate(self, image, origin=None):
            from fer_core.data.annotations import average_landmarks, drawn

            return drawn(np.array(average_landmarks()), *image.shape[:2])

    (said,) = Predictor(model, annotator=Same())(found)
    known = Same().annotate(np.zeros((224, 224, 3)))
    tower, zero = method.clip, torch.zeros(1, dtype=torch.int64)
    batch = Batch(
        said.image[None], zero, zero, landmarks=torch.from_numpy(known.landmarks).expand(1, 2, 68, 2),
        parsing=torch.from_numpy(known.parsing).expand(1, 2, 224, 224),
    )  # fmt: skip
    with torch.no_grad():
        expected = method(data.Transform(tower.image_size, tower.mean, tower.std)(batch)).logits.softmax(1)
    torch.testing.assert_close(probabilities([said]), expected, atol=1e-6, rtol=0)


def turned_face(x, y, side, degrees):
    """68 landmarks of the average face, turned, around a place of a picture."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (np.array(average_landmarks()) - 0.5) @ turn * side + [x, y]


@pytest.fixture
def looking(moving):
    """FineCLIPER, and what it is shown; ``in/photo.png`` and the clip, each with landmarks of a smaller face that
    turns, and of a larger one that comes into the clip later."""
    Image.new("RGB", (120, 40)).save(moving / "in" / "photo.png")
    small = [turned_face(20 + 5 * frame, 18, 16, 7 * frame) for frame in range(8)]
    entries = [{"frame": frame, "landmarks": points.tolist()} for frame, points in enumerate(small)]
    later = [{"frame": frame, "landmarks": turned_face(95, 20, 30, 0).tolist()} for frame in (4, 5, 6, 7)]
    (moving / "faces" / "clip.json").write_text(json.dumps({"faces": entries + later}))
    (moving / "faces" / "photo.json").write_text(json.dumps({"faces": [{"landmarks": small[3].tolist()}]}))
    method, seen = stirred(models.build("fine-cliper", tiny_clip(), CLASSES, {})), []
    method.register_forward_pre_hook(lambda _, shown: seen.append(shown[0]))
    return Model(method, 4, {"model": "tiny"}), small, seen


def test_landmarks_of_face_files_go_where_the_crop_shows_them(looking, moving, monkeypatch, capsys):
    model, _, seen = looking
    monkeypatch.setattr(predicting, "open_model", lambda *_, **__: model)
    command = ["predict", "photo.png", "clip", "--clips", "--faces", "files", "--faces-folder", str(moving / "faces")]
    assert cli.main([*command, "--quiet"]) == 0
    assert seen[0].landmarks.shape == (1, 68, 2)
    assert seen[1].landmarks.shape == (1, 4, 68, 2)
    for batch in seen:  # the eyes are where the alignment puts them, though the other face is larger
        for points, parsing in zip(batch.landmarks.reshape(-1, 68, 2), batch.parsing.flatten(0, -3), strict=True):
            eyes = five_points(points.numpy())[:2]
            np.testing.assert_allclose(eyes, [Alignment().right_eye, Alignment().left_eye], atol=1e-5)
            right, below = (eyes[0] * parsing.shape[0]).astype(int)
            assert parsing[below, right] == PARSING.index("right eye")


def test_landmarks_of_face_files_go_where_the_centre_square_shows_them(looking, moving):
    model, small, seen = looking
    annotator = FinderAnnotator(FaceFiles(moving / "faces"), "centre")
    list(Predictor(model, annotator=annotator)(predicting.find(["photo.png", "clip"], True)))
    (photograph,), (clip,) = (batch.landmarks.numpy() for batch in seen)
    np.testing.assert_allclose(photograph, (small[3] - [40, 0]) / 40, atol=1e-5)
    for points, frame in zip(clip[:2], (1, 3), strict=True):
        np.testing.assert_allclose(points, (small[frame] - [40, 0]) / 40, atol=1e-5)


def test_models_by_name():
    zero = predicting.open_model(classes=("pain", "neutral"))
    assert zero.method.classes == ("pain", "neutral")
    kept = predicting.open_model("clip-au-facs-pain")
    assert (kept.frames, kept.method.classes) == (12, ("neutral", "pain"))
    assert kept.told["experiment"] == "clip-au-facs-pain"
    asked = predicting.open_model("coop-facs-still-8", classes=("anger", "fear"))
    assert asked.method.classes == ("anger", "fear")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: expected an image, a video or a folder, found nothing"),
        (["{empty}"], "expected images or videos below it, found none"),
        (["{notes}"], "expected an image or a video (.jpg"),
        (["{a}", "--model", "coop"], "model: expected zero-shot, a .safetensors file of a run, or an experiment"),
        (["{a}", "--model", "les-clip-ferplus"], "make it with `fer-core run les-clip-ferplus"),
        (["{a}", "--model", "none.safetensors"], "none.safetensors"),
        (["{a}", "--model", "les-clip-facs-still-8", "--classes", "a,b"], "it learns something of each class"),
        (["{a}", "--out", "x.txt"], "--out: expected a file that ends with .json or .csv"),
        (["{a}", "--picture", "x.jpg"], "--picture: expected a file that ends with .png"),
        (["{a}", "--frames", "0"], "frames: expected 1 to 4096, got 0"),
        (["{a}", "--device", "abacus"], "device: expected one that this machine has"),
        (["{a}", "--faces", "files"], "face files: expected their folder, got none"),
        (["{a}", "--faces-folder", "{empty}"], "--faces-folder: expected --faces files with it, got centre"),
        (["{a}", "--faces-model", "m.task"], "--faces-model: expected --faces mediapipe with it, got centre"),
        (["{a}", "--out", "{notes}/x.csv"], "--out: cannot write"),
    ],
)
def test_mistakes_end_with_one_line(arguments, message, folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no picture")
    places = {"a": folder / "a.png", "empty": tmp_path / "empty", "notes": tmp_path / "notes.txt"}
    assert cli.main(["predict", "--quiet", *(each.format(**places) for each in arguments)]) == cli.MISTAKE
    told = capsys.readouterr()
    assert message in told.err
    assert told.err.strip().splitlines()[-1].startswith("fer-core: error: ")
    assert not told.out


def test_the_command_writes_what_was_said(folder, tmp_path, capsys):
    (folder / "aa.png").write_bytes(b"broken")
    out = tmp_path / "out"
    names = [str(folder / name) for name in ("a.png", "aa.png", "clip")]
    command = ["predict", *names, "--clips", "--frames", "2", "--quiet", "--classes", ",".join(CLASSES)]
    assert cli.main([*command, "--json", "--out", str(out / "all.csv"), "--picture", str(out / "all.png")]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["complete"] is True
    assert report["classes"] == list(CLASSES)
    assert [each["path"] for each in report["left_out"]] == [str(folder / "aa.png")]
    rows = [line.split(",") for line in (out / "all.csv").read_text().splitlines()]
    assert rows[0] == ["path", "first_frame", "last_frame", "label", *CLASSES]
    for row, each in zip(rows[1:], report["predictions"], strict=True):
        assert row[0] == each["path"]
        assert row[1:3] == (["", ""] if each["frames"] is None else [str(each["frames"][0]), str(each["frames"][-1])])
        assert [float(value) for value in row[4:]] == list(each["probabilities"].values())
        assert sum(each["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert images.decode(out / "all.png").shape[1] > 100
    assert sorted(path.name for path in out.iterdir()) == ["all.csv", "all.png"]
    Image.new("RGB", (8, 8)).save(folder / "aa.png")
    assert cli.main(command) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith(f"{folder / 'a.png'}  ")


def test_files_that_are_left_out_take_no_place_in_the_drawing(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli_predict, "_SHOWN", 2)
    for number in range(3):
        (folder / f"0{number}.png").write_bytes(b"broken")  # before all others
    assert cli.main(["predict", str(folder), "--quiet", "--picture", str(tmp_path / "all.png")]) == 1
    assert f"drew 2 to {tmp_path / 'all.png'}" in capsys.readouterr().err
    assert (tmp_path / "all.png").is_file()


def test_files_of_any_name_are_told(folder, tmp_path):
    odd = [os.fsencode(folder) + b"/\xe9t\xe9.png", os.fsencode(folder / "x$_$.png"), os.fsencode(folder / "\xe9.png")]
    for name in odd:
        shutil.copy(os.fsencode(folder / "a.png"), name)
    command = ["predict", *map(os.fsdecode, odd), "--quiet", "--out", str(tmp_path / "all.json")]
    assert cli.main([*command, "--picture", str(tmp_path / "all.png")]) == 0
    told = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))["predictions"]
    assert [Path(each["path"]).name for each in told] == ["\\xe9t\\xe9.png", "x$_$.png", "é.png"]
    assert (tmp_path / "all.png").is_file()


@pytest.mark.parametrize("name", ["all.json", "all.csv"])
def test_an_interrupt_leaves_what_was_done(folder, tmp_path, monkeypatch, capsys, name):
    command = ["predict", str(folder), "--batch", "1", "--quiet", "--out", str(tmp_path / name)]
    assert cli.main(command) == 0
    before = (tmp_path / name).read_bytes()
    capsys.readouterr()
    real, asked = images.decode, []

    def decode(path, *rest, **further):
        asked.append(path)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return real(path, *rest, **further)

    monkeypatch.setattr(images, "decode", decode)
    assert cli.main(command) == cli.INTERRUPTED
    assert (tmp_path / name).read_bytes() == before
    partial = tmp_path / name.replace(".", ".partial.")
    if name == "all.json":
        report = json.loads(partial.read_text())
        assert report["complete"] is False
        assert [each["path"] for each in report["predictions"]] == [str(folder / "a.png")]
    else:
        assert partial.read_text() == "".join(before.decode().splitlines(keepends=True)[:2])
    assert capsys.readouterr().err.splitlines() == [
        f"stopped before the end: wrote 1 predictions to {partial}; {tmp_path / name} is as it was",
        "fer-core: interrupted",
    ]
