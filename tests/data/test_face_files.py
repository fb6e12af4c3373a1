import json
import os

import numpy as np
import pytest

from fer_core.data.face_files import FaceFiles, read_json, read_openface, read_pts
from fer_core.data.faces_in_images import Origin
from fer_core.errors import UserError

IMAGE = np.zeros((100, 200, 3), dtype=np.uint8)
POINTS = np.random.default_rng(0).uniform(20, 80, (68, 2)).round(3)


def openface(rows, blank=" "):
    """Rows of (frame, success, points)."""
    columns = [f"{axis}_{number}" for axis in "xy" for number in range(68)]
    text = f",{blank}".join(["frame", "face_id", "timestamp", "confidence", "success", *columns]) + "\n"
    for frame, success, points in rows:
        values = [frame, 0, 0.1, 0.98, success, *points.T.ravel()]
        text += f",{blank}".join(map(str, values)) + "\n"
    return text


def pts(points, count=68):
    return f"version: 1\nn_points:  {count}\n{{\n" + "\n".join(f"{x} {y}" for x, y in points) + "\n}\n"


@pytest.mark.parametrize("blank", ["", " "])
def test_openface(blank):
    faces = read_openface(openface([(1, 1, POINTS), (2, 0, POINTS), (3, 1, POINTS + 1)], blank), "a.csv")
    assert [frame for frame, _ in faces] == [0, 2]
    np.testing.assert_allclose(faces[0][1].landmarks, POINTS + 0.5)
    assert faces[0][1].score == 0.98


def test_openface_that_counts_from_zero():
    faces = read_openface(openface([(0, 1, POINTS), (1, 1, POINTS)]), "a.csv")
    assert [frame for frame, _ in faces] == [0, 1]


def test_openface_that_misses_its_first_frames():
    text = openface([(1, 0, POINTS), (2, 1, POINTS)])
    assert [frame for frame, _ in read_openface(text, "a.csv")] == [1]
    text = openface([(0, 0, POINTS), (1, 1, POINTS)])
    assert [frame for frame, _ in read_openface(text, "a.csv")] == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame,x_0\n1,2\n", "a.csv: expected OpenFace's column 'x_1', got none"),
        (openface([(1, 1, POINTS)]).replace("\n1, 0", "\n1, 0, 0"), "line 2: expected 141 columns, got 142"),
        (openface([(1, 1, np.full((68, 2), np.nan))]), "expected a finite number, got 'nan'"),
        ("", "column 'x_0'"),
    ],
)
def test_openface_errors(text, message):
    with pytest.raises(UserError, match=message):
        read_openface(text, "a.csv")


def test_pts_counts_from_one():
    ((frame, face),) = read_pts(pts(POINTS), "a.pts")
    assert frame is None
    # A point in the middle of the first pixel is (1, 1) there and (0.5, 0.5) here.
    np.testing.assert_allclose(face.landmarks, POINTS - 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (pts(POINTS[:5], 5), "expected 68 points of two numbers, got 5 rows"),
        (pts(POINTS[:67]), "got 67 rows"),
        (pts(POINTS).replace("version: 1", "version: 2"), "expected 'version: 1'"),
        (pts(POINTS).replace("{\n", "{\nx y\n", 1).replace(f"{POINTS[0, 0]} {POINTS[0, 1]}\n", ""), "got 'x'"),
    ],
)
def test_pts_errors(text, message):
    with pytest.raises(UserError, match=message):
        read_pts(text, "a.pts")


def test_json():
    five = POINTS[:5].tolist()
    faces = [
        {"box": [1, 2, 3, 4]},
        {"frame": 7, "box": [1, 2, 3, 4], "points": five, "score": 0.5},
        {"landmarks": POINTS.tolist()},
    ]
    (_, first), (frame, second), (_, third) = read_json(json.dumps({"faces": faces}), "a.json")
    assert first.box == (1, 2, 3, 4)
    assert first.points is None
    assert (frame, second.score) == (7, 0.5)
    np.testing.assert_array_equal(second.points, POINTS[:5])
    assert third.box == (*POINTS.min(0), *POINTS.max(0))
    assert third.points.shape == (5, 2)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "expected JSON"),
        ("[]", "a list 'faces'"),
        ({"faces": [3]}, "a list 'faces' of objects"),
        ({"faces": [{}]}, "face 0: expected a box or 68 landmarks, got neither"),
        ({"faces": [{"box": [3, 2, 1, 4]}]}, "expected left < right"),
        ({"faces": [{"box": [1, 2, 3]}]}, "expected 4 numbers"),
        ({"faces": [{"box": [1, 2, 3, True]}]}, "expected a finite number, got True"),
        ({"faces": [{"box": [1, 2, 3, 4], "frame": -1}]}, "expected a frame number from 0, got -1"),
        ({"faces": [{"box": [1, 2, 3, 4], "points": [[1, 2]]}]}, "expected 5 points, got 1"),
        ({"faces": [{"box": [1, 2, 3, 4], "boxes": []}]}, "got 'boxes'"),
    ],
)
def test_json_errors(document, message):
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(UserError, match=message):
        read_json(text, "a.json")


def test_files_are_found_by_path(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.c.pts").write_text(pts(POINTS))
    (tmp_path / "a" / "clip.csv").write_text(openface([(1, 1, POINTS), (2, 1, POINTS + 1), (2, 1, POINTS + 2)]))
    finder = FaceFiles(tmp_path)
    assert len(finder.find(IMAGE, Origin("a/b.c.jpg"))) == 1
    assert [len(finder.find(IMAGE, Origin("a/clip.mp4", frame))) for frame in range(3)] == [1, 2, 0]
    assert [len(finder.find(IMAGE, Origin("a/clip", frame))) for frame in range(3)] == [1, 2, 0]
    assert finder.find(IMAGE, Origin("a/other.jpg")) == []


def test_many_files_and_back_again(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.pts").write_text(pts(POINTS + number))
    finder = FaceFiles(tmp_path)
    for number in [*range(20), 0, 19]:
        (face,) = finder.find(IMAGE, Origin(f"{number}.png"))
        np.testing.assert_allclose(face.landmarks, POINTS + number - 0.5)


def test_points_in_an_image_that_shows_a_part(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"faces": [{"box": [60, 10, 100, 50]}]}))
    # The image shows columns 50 to 150 of the file, at half its size.
    (face,) = FaceFiles(tmp_path).find(IMAGE[:50, :50], Origin("a.jpg", None, (50, 0, 150, 100)))
    assert face.box == (5, 5, 25, 25)


def test_the_version_follows_the_files(tmp_path):
    (tmp_path / "a.pts").write_text(pts(POINTS))
    before = FaceFiles(tmp_path).version
    assert FaceFiles(tmp_path).version == before
    (tmp_path / "a.pts").write_text(pts(POINTS).replace("1", "2"))  # of the same size
    other = FaceFiles(tmp_path).version
    (tmp_path / "b.pts").write_text(pts(POINTS))
    assert len({before, other, FaceFiles(tmp_path).version}) == 3


@pytest.mark.parametrize("path", ["../a.jpg", "/a.jpg", "a/../../b.jpg", "..\\a.jpg", ""])
def test_no_path_leaves_the_folder(tmp_path, path):
    (tmp_path / "faces").mkdir()
    for folder in (tmp_path, tmp_path / "faces"):
        (folder / "a.pts").write_text(pts(POINTS))
    with pytest.raises(UserError, match="a path below the data's folder"):
        FaceFiles(tmp_path / "faces").find(IMAGE, Origin(path))


def test_no_link_leaves_the_folder(tmp_path):
    (tmp_path / "faces").mkdir()
    (tmp_path / "a.pts").write_text(pts(POINTS))
    os.symlink(tmp_path / "a.pts", tmp_path / "faces" / "a.pts")
    with pytest.raises(UserError, match="got a link out of it"):
        FaceFiles(tmp_path / "faces").find(IMAGE, Origin("a.jpg"))


def test_folder_errors(tmp_path):
    with pytest.raises(UserError, match="to be a folder, found none"):
        FaceFiles(tmp_path / "missing")
    with pytest.raises(UserError, match=r"expected files \(.json, .csv, .pts\)"):
        FaceFiles(tmp_path)
    (tmp_path / "a.pts").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="expected UTF-8 text"):
        FaceFiles(tmp_path).find(IMAGE, Origin("a.jpg"))
    with pytest.raises(UserError, match="expected the image's path, got none"):
        FaceFiles(tmp_path).find(IMAGE)
