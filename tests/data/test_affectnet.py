"""AffectNet in both releases, with eight and with seven classes."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fer_core import data
from fer_core.data import affectnet, images, layout
from fer_core.data.demo import DemoFaces
from fer_core.errors import UserError


@pytest.fixture(scope="module")
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature, below one of the names it is looked for."""
    root = tmp_path_factory.mktemp("data")
    (root / "AffectNet").mkdir()
    layout.get("affectnet-8").demo(root / "AffectNet", DemoFaces())
    return root


def lists(root: Path, training: list[list], validation: list[list], header: bool = True) -> None:
    """The first release's lists, and a grey photograph for each row."""
    folder = root / "Manually_Annotated_file_lists"
    folder.mkdir(parents=True)
    for name, rows in (("training.csv", training), ("validation.csv", validation)):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows([affectnet.COLUMNS, *rows] if header else rows)
    for row in (*training, *validation):
        path = root / "Manually_Annotated_Images" / str(row[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(path)


def row(number: int, code: object, box: tuple = (1, 2, 8, 8)) -> list:
    return [f"1/{number}.jpg", *box, "1;2;3;4", code, 0.1, -0.2]


def arrays(root: Path, codes: list[int], folder: str) -> None:
    """The second release: annotations as the official files hold them, one text each."""
    for each in ("images", "annotations"):
        (root / folder / each).mkdir(parents=True)
    for number, code in enumerate(codes):
        np.save(root / folder / f"annotations/{number}_exp.npy", np.array(str(code)))
        np.save(root / folder / f"annotations/{number}_val.npy", np.array("-0.5"))
        Image.new("RGB", (16, 16), (number, 0, 0)).save(root / folder / f"images/{number}.jpg")


def test_reads_the_miniature(demo_root: Path) -> None:
    train, validation, test = (data.open("affectnet-8", split, demo_root, size=64) for split in data.SPLITS)
    assert [len(split) for split in (train, validation, test)] == [16, 8, 8]
    assert test.facts()["counts"] == dict.fromkeys(data.CLASSES, 1)
    assert not {entry.path for entry in train.listing.entries} & {entry.path for entry in validation.listing.entries}
    assert test[0].image.shape == (3, 64, 64)
    seven = data.open("affectnet-7", "test", demo_root)
    assert seven.facts()["counts"] == dict.fromkeys(data.CLASSES[:7], 1)
    assert len(data.open("affectnet-7", "train", demo_root, validation=0.0)) == 21


def test_cuts_to_the_face_box(demo_root: Path) -> None:
    face = data.open("affectnet-8", "test", demo_root, size=96)
    entry = face.listing.entries[0]
    whole = images.decode(demo_root / "AffectNet" / entry.path)
    left, top, width, height = map(int, entry.box)
    assert (width, height, whole.shape) == (96, 96, (3, 128, 160))
    np.testing.assert_array_equal(face[0].image.numpy(), whole[:, top : top + 96, left : left + 96])
    uncut = data.open("affectnet-8", "test", demo_root, size=96, crop=False)
    assert not torch.equal(uncut[0].image, face[0].image)


@pytest.mark.parametrize("header", [True, False])
def test_codes_of_the_lists(tmp_path: Path, header: bool) -> None:
    lists(tmp_path, [row(50, 1), row(51, 0)], [row(number, code) for number, code in enumerate(range(11))], header)
    test = data.open("affectnet-8", "test", tmp_path)
    assert [test.classes[label] for label in test.labels] == list(data.CLASSES)  # AffectNet's order is the field's
    assert len(data.open("affectnet-7", "test", tmp_path)) == 7


def test_a_header_may_have_a_number_sign(tmp_path: Path) -> None:
    lists(tmp_path, [row(50, 1)], [row(0, 3)])
    path = tmp_path / "Manually_Annotated_file_lists/validation.csv"
    path.write_text("#" + path.read_text())
    assert [entry.path for entry in data.open("affectnet-8", "test", tmp_path).listing.entries] == [
        "Manually_Annotated_Images/1/0.jpg"
    ]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("name", affectnet.LACKING)
def test_photographs_that_the_release_lacks_are_left_out(
    tmp_path: Path, split: str, empty: bool, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    listed = [row(0, 3), row(1, 3), [name, *row(2, 7)[1:]]]
    lists(tmp_path, listed if split == "train" else [row(50, 1)], listed if split == "test" else [row(50, 1)])

    def opened() -> data.FaceDataset:
        return data.open("affectnet-8", split, tmp_path, validation=0.0)

    assert len(opened()) == 3  # somebody has it whole
    lacking, other = (tmp_path / "Manually_Annotated_Images" / each for each in (name, "1/0.jpg"))
    for photograph in (lacking, other):
        photograph.unlink()
        if empty:
            photograph.touch()
        if photograph == lacking:
            with caplog.at_level("INFO", logger="fer_core"):
                assert len(opened()) == 2
            assert f"{name} is left out, as the release lacks it" in caplog.text
    with pytest.raises(UserError, match="got a damaged one" if empty else r"expected '.*1/0\.jpg', got: No such file"):
        opened().take([0])  # any other is an error


def test_codes_of_the_arrays(tmp_path: Path) -> None:
    arrays(tmp_path, [7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 0], "val_set")
    arrays(tmp_path, [0, 1] * 10, "train_set")
    for _ in range(2):  # the second time from the cache
        test = data.open("affectnet-8", "test", tmp_path)
        # In natural order: 10 and 11 come after 9.
        assert [test.classes[label] for label in test.labels] == [*data.CLASSES[::-1], *["neutral"] * 4]
    assert test.take([11]).image[0, 0, 0, 0] == pytest.approx(11, abs=2)
    seven = data.open("affectnet-7", "test", tmp_path, release="npy")
    assert (len(seven), "contempt" in seven.classes) == (11, False)
    assert [len(data.open("affectnet-8", split, tmp_path)) for split in ("train", "validation")] == [18, 2]
    np.save(tmp_path / "val_set/annotations/3_exp.npy", np.array("8"))
    with pytest.raises(UserError, match=r"val_set/annotations/3_exp\.npy: expected a label of affectnet-8/npy"):
        data.open("affectnet-8", "test", tmp_path)


def test_codes_of_another_folder_are_read_anew(tmp_path: Path) -> None:
    for folder, code in (("a", 1), ("b", 6)):
        arrays(tmp_path / folder, [code], "val_set")
        os.utime(tmp_path / folder / "val_set/annotations/0_exp.npy", (10**9, 10**9))
        os.utime(tmp_path / folder / "val_set/annotations/0_val.npy", (10**9, 10**9))
    opened = [data.open("affectnet-8", "test", tmp_path / folder) for folder in "ab"]
    assert [each.classes[each.labels[0]] for each in opened] == ["happiness", "anger"]


@pytest.mark.parametrize(("content", "message"), [
    (b"", "expected one label code, got a damaged file"),
    (b"\x80\x04N.", "expected one label code"),  # a pickle
])  # fmt: skip
def test_unpickles_nothing(tmp_path: Path, content: bytes, message: str) -> None:
    arrays(tmp_path, [1], "val_set")
    (tmp_path / "val_set/annotations/0_exp.npy").write_bytes(content)
    with pytest.raises(UserError, match=message):
        data.open("affectnet-8", "test", tmp_path)
    np.save(tmp_path / "val_set/annotations/0_exp.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=message if content == b"" else "expected one label code"):
        data.open("affectnet-8", "test", tmp_path)


@pytest.mark.parametrize(("wrong", "message"), [
    (row(0, 11), r"validation\.csv, line 2: expected a label of affectnet-8/csv .*got '11'"),
    (row(0, "happy"), "got 'happy'"),
    (row(0, 1, ("a", 0, 1, 1)), r"line 2: expected a face box of four numbers"),
    (row(0, 1)[:-1], r"line 2: expected 9 columns, got 8"),
    (["../../secret.jpg", *row(0, 1)[1:]], r"line 2: expected a path inside"),
    (["/etc/face.jpg", *row(0, 1)[1:]], r"line 2: expected a path inside"),
])  # fmt: skip
def test_names_the_damage_and_its_line(tmp_path: Path, wrong: list, message: str) -> None:
    lists(tmp_path, [], [])
    with (tmp_path / "Manually_Annotated_file_lists/validation.csv").open("a", newline="") as file:
        csv.writer(file).writerow(wrong)
    with pytest.raises(UserError, match=message):
        data.open("affectnet-8", "test", tmp_path)


def test_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"affectnet-8: expected Manually_Annotated_file_lists/validation\.csv or"):
        data.open("affectnet-8", "test", tmp_path)
    lists(tmp_path, [row(0, 1)], [row(1, 1)])
    (tmp_path / "Manually_Annotated_Images/1/1.jpg").unlink()
    with pytest.raises(UserError, match=r"expected 'Manually_Annotated_Images/1/1\.jpg', got"):
        data.open("affectnet-8", "test", tmp_path)
    with pytest.raises(UserError, match=r"expected the annotations of this split, found none"):
        data.open("affectnet-8", "test", tmp_path, release="npy")
    (tmp_path / "Manually_Annotated_file_lists/training.csv").unlink()
    with pytest.raises(UserError, match=r"expected Manually_Annotated_file_lists/training\.csv, found none"):
        data.open("affectnet-8", "train", tmp_path)
    (tmp_path / "Manually_Annotated_file_lists/validation.csv").write_bytes("é".encode("latin-1"))
    with pytest.raises(UserError, match="expected a list in UTF-8"):
        data.open("affectnet-8", "test", tmp_path)


@pytest.mark.parametrize("code", ["300000", "1.5", "inf", "happy", 1 + 2j])
def test_a_code_that_is_none_is_refused(tmp_path: Path, code: object) -> None:
    arrays(tmp_path, [1], "val_set")
    np.save(tmp_path / "val_set/annotations/0_exp.npy", np.array(code))
    with pytest.raises(UserError, match=r"0_exp\.npy: expected one label code"):
        data.open("affectnet-8", "test", tmp_path)


def test_a_face_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    lists(tmp_path, [], [row(0, 1), row(1, 2), row(0, 1)])
    with pytest.raises(UserError, match=r"validation\.csv, line 4: expected each face once, got '1/0\.jpg' again"):
        data.open("affectnet-8", "test", tmp_path)


def test_two_faces_of_one_photograph_are_two(tmp_path: Path) -> None:
    lists(tmp_path, [], [row(0, 1), row(0, 1, (9, 9, 8, 8))])
    assert len(data.open("affectnet-8", "test", tmp_path)) == 2


def test_a_box_without_end_is_refused(tmp_path: Path) -> None:
    lists(tmp_path, [], [row(0, 1, ("nan", 0, 4, 4))])
    with pytest.raises(UserError, match="expected a face box inside 20x20"):
        data.open("affectnet-8", "test", tmp_path).take([0])


def test_a_folder_in_place_of_an_image_is_refused(tmp_path: Path) -> None:
    lists(tmp_path, [], [row(0, 1)])
    image = tmp_path / "Manually_Annotated_Images/1/0.jpg"
    image.unlink()
    image.mkdir()
    with pytest.raises(UserError, match=r"expected 'Manually_Annotated_Images/1/0\.jpg' to be a file, got a folder"):
        data.open("affectnet-8", "test", tmp_path)
    image.rmdir()
    image.symlink_to(image)
    with pytest.raises(UserError, match=r"0\.jpg"):
        data.open("affectnet-8", "test", tmp_path)
