"""FER2013 as a table, as folders and as a zip; and FERPlus' labels beside the table."""

import csv
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fer_core import data
from fer_core.data import fer2013, ferplus_votes
from fer_core.data.ferplus import STEMS
from fer_core.errors import UserError

ORDER = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
FOLDERS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
Row = tuple[int, int, str]  # number of the face, code, usage

ROWS: list[Row] = [
    *((code, code, "Training") for code in range(7)),
    *((10 + code, code, "PublicTest") for code in range(7)),
    *((20 + code, code, "PrivateTest") for code in range(7)),
    (3, 3, "PrivateTest"),  # also in training
]


def face(number: int) -> np.ndarray:
    """A 48x48 grey image that no other number gives."""
    return np.random.default_rng(number).integers(0, 256, (48, 48), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """An image as the bytes of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def votes_for(**counts: int) -> list[int]:
    """Ten vote counts by name."""
    return [counts.get(name, 0) for name in ferplus_votes.VOTE_COLUMNS]


def write_table(folder: Path, rows: list[Row], columns: tuple[str, ...] = ("emotion", "pixels", "Usage")) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fer2013.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for number, code, usage in rows:
            cells = {"emotion": code, "pixels": " ".join(map(str, face(number).flatten())), "Usage": usage}
            writer.writerow([cells[column.strip()] for column in columns])
    return path


def write_folders(root: Path) -> None:
    for part, per_class in (("train", 3), ("test", 1)):
        for place, name in enumerate(FOLDERS):
            (root / part / name).mkdir(parents=True)
            for number in range(per_class):
                content = png(face(100 * (part == "test") + 10 * place + number))
                (root / part / name / f"{part}_{number}.png").write_bytes(content)


def test_reads_the_table(tmp_path: Path) -> None:
    write_table(tmp_path / "fer2013", ROWS)
    for split, count, first in (("train", 7, 0), ("validation", 7, 10), ("test", 8, 20)):
        opened = data.open("fer2013", split, tmp_path)
        assert [opened.classes[label] for label in opened.labels][:7] == list(ORDER)
        assert len(opened) == count
        assert torch.equal(opened[2].image, torch.from_numpy(face(first + 2)).expand(3, 48, 48))
    assert opened.duplicates_of_train.tolist() == [False] * 7 + [True]
    assert data.open("fer2013", "train", tmp_path).duplicates_of_train is None


def test_columns_may_come_in_the_other_tables_order(tmp_path: Path) -> None:
    write_table(tmp_path / "a", ROWS)
    other = write_table(tmp_path / "b", ROWS, ("emotion", " Usage", " pixels"))
    other.rename(other.with_name("icml_face_data.csv"))
    first, second = (data.open("fer2013", "test", tmp_path / name) for name in "ab")
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize("zipped", [False, True])
def test_reads_class_folders(tmp_path: Path, zipped: bool) -> None:
    write_folders(tmp_path / "made")
    root = tmp_path / "made"
    if zipped:
        root = tmp_path / "zipped"
        root.mkdir()
        with zipfile.ZipFile(root / "fer2013.zip", "w") as archive:
            for path in sorted((tmp_path / "made").rglob("*.png")):
                archive.write(path, path.relative_to(tmp_path / "made").as_posix())
    train, validation, test = (data.open("fer2013", split, root) for split in data.SPLITS)
    assert [len(split) for split in (train, validation, test)] == [14, 7, 7]
    assert test.facts()["counts"] == dict.fromkeys(data.CLASSES[:7], 1)
    place = test.labels.tolist().index(data.CLASSES.index("sadness"))
    assert torch.equal(test[place].image[0], torch.from_numpy(face(100 + 10 * FOLDERS.index("sad"))))
    assert test.fingerprint == data.open("fer2013", "test", tmp_path / "made").fingerprint
    with pytest.raises(UserError, match=r"release: expected 'csv' in .*found the other one"):
        data.open("fer2013", "test", root, release="csv")


PIXELS = " ".join(["7"] * 2304)


@pytest.mark.parametrize(("line", "message"), [
    (f"7,{PIXELS},Training", r"fer2013\.csv, line 2: expected a label of fer2013/csv .*got '7'"),
    (f"0,{PIXELS},Test", "line 2: expected a code, pixels and a usage"),
    (f"0,{PIXELS}", "line 2: expected a code, pixels and a usage"),
    (f"0,{PIXELS} 7,Training", "line 2: expected 2304 pixels in 0..255"),
    (f"0,{PIXELS[:-1]}256,Training", "expected 2304 pixels in 0..255"),
    (f"0,{PIXELS[:-1]}x,Training", "expected 2304 pixels in 0..255"),
    ("0,,Training", "expected 2304 pixels in 0..255"),
    ("", "at least one face, got an empty table"),
])  # fmt: skip
def test_names_a_damaged_row(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,Usage\n{line}\n")
    with pytest.raises(UserError, match=message if line else "expected a code|at least one face"):
        data.open("fer2013", "train", tmp_path)


def test_names_what_is_none_of_its_layouts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fer2013: expected fer2013\.csv or icml_face_data\.csv, train/ and test/"):
        data.open("fer2013", "train", tmp_path)
    (tmp_path / "fer2013.csv").write_text("a,b\n")
    with pytest.raises(UserError, match="expected the columns emotion, pixels, Usage, got"):
        data.open("fer2013", "train", tmp_path)
    (tmp_path / "fer2013.csv").unlink()
    write_folders(tmp_path)
    (tmp_path / "train/joy").mkdir()
    (tmp_path / "train/joy/1.png").write_bytes(png(face(0)))
    with pytest.raises(UserError, match="train/joy: expected a label of fer2013/folders"):
        data.open("fer2013", "train", tmp_path)
    (tmp_path / "test/sad/test_0.png").write_bytes(png(np.zeros((48, 40), dtype=np.uint8)))
    with pytest.raises(UserError, match=r"test/sad/test_0\.png: expected 48x48 grey pixels"):
        data.open("fer2013", "test", tmp_path)


def new_labels(rows: list[Row], votes: list[list[int]], names: list[str] | None = None) -> str:
    """A ``fer2013new.csv`` beside a table of the same rows."""
    lines = [",".join(["Usage", "Image name", *ferplus_votes.VOTE_COLUMNS])]
    for place, ((_, _, usage), counts) in enumerate(zip(rows, votes, strict=True)):
        name = f"fer{place:07d}.png" if names is None else names[place]
        lines.append(",".join([usage, name, *map(str, counts)]))
    return "\n".join(lines) + "\n"


VOTES = [votes_for(fear=6, surprise=4), votes_for(fear=5, surprise=5), votes_for(NF=10), votes_for(anger=10)]


def test_ferplus_beside_the_table_is_ferplus_as_images(tmp_path: Path) -> None:
    rows: list[Row] = [(number, 0, usage) for usage in fer2013.USAGES.values() for number in range(4)]
    write_table(tmp_path / "csv", rows)
    names = [f"fer{place:07d}.png" for place in range(12)]
    names[3] = ""  # FERPlus left it out
    (tmp_path / "csv/fer2013new.csv").write_text(new_labels(rows, VOTES * 3, names))
    for place, stem in enumerate(STEMS.values()):
        folder = tmp_path / "images" / stem
        folder.mkdir(parents=True)
        listed = [(names[4 * place + number], VOTES[number]) for number in range(4) if names[4 * place + number]]
        lines = [f'{name},"(0, 0, 48, 48)",{",".join(map(str, counts))}\n' for name, counts in listed]
        (folder / "label.csv").write_text("".join(lines))
        for number in range(4):
            if names[4 * place + number]:
                (folder / names[4 * place + number]).write_bytes(png(face(number)))
    for rule in ferplus_votes.RULES:
        for split in data.SPLITS:
            one, other = (data.open("ferplus", split, tmp_path / release, votes=rule) for release in ("csv", "images"))
            assert one.fingerprint == other.fingerprint
            assert torch.equal(one.take(range(len(one))).image, other.take(range(len(other))).image)
            assert one.facts() == other.facts()
    assert [one.classes[label] for label in data.open("ferplus", "train", tmp_path / "csv").labels] == ["fear"]
    assert data.open("ferplus", "test", tmp_path / "csv", release="csv").duplicates_of_train.tolist() == [True, False]


def test_ferplus_names_tables_that_do_not_belong_together(tmp_path: Path) -> None:
    rows: list[Row] = [(number, 0, "Training") for number in range(4)]
    path, text = tmp_path / "fer2013new.csv", new_labels(rows, VOTES)
    path.write_text(text)
    with pytest.raises(UserError, match=r"ferplus: the images' table: expected fer2013\.csv"):
        data.open("ferplus", "train", tmp_path)
    write_table(tmp_path, rows)
    for changed, message in [
        (text.replace("Training", "PublicTest", 1), "expected the 4 rows of fer2013.csv with the same usages"),
        (text.rsplit("Training", 1)[0], "expected the 4 rows of fer2013.csv"),
        (text.replace("neutral", "Neutral", 1), "line 1: expected the columns Usage, Image name, neutral"),
        (text.replace("Training", "Train", 1), "line 2: expected one of Training, PublicTest, PrivateTest"),
        (text.replace(",6,", ",11,", 1), "line 2: expected votes for 'fear' in 0..10, got '11'"),
        (text.replace("fer0000000", "../fer"), "line 2: expected the plain name of a .png file"),
        (text.replace(",0\n", "\n", 1), "line 2: expected 12 columns, got '11 columns'"),
        ("", "at least one row, got an empty file"),
    ]:
        path.write_text(changed)
        with pytest.raises(UserError, match=message):
            data.open("ferplus", "train", tmp_path)
    with pytest.raises(UserError, match=r"expected fer2013new\.csv, found none"):
        data.open("ferplus", "train", tmp_path.parent, release="csv")


def test_folders_without_images_are_told_with_what_lay_there(tmp_path: Path) -> None:
    for name in ("train", "test/angry"):
        (tmp_path / "bare" / name).mkdir(parents=True)
    with pytest.raises(UserError, match="expected images train/CLASS/NAME in it, got nothing"):
        data.open("fer2013", "train", tmp_path / "bare")
    write_folders(tmp_path / "made" / "archive")
    (tmp_path / "zipped").mkdir()
    with zipfile.ZipFile(tmp_path / "zipped/fer2013.zip", "w") as archive:
        for path in sorted((tmp_path / "made").rglob("*.png")):
            archive.write(path, path.relative_to(tmp_path / "made").as_posix())
    with pytest.raises(UserError, match="expected images test/CLASS/NAME in it, got archive/test/"):
        data.open("fer2013", "test", tmp_path / "zipped")


def zipped(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")


def test_what_belongs_to_other_data_sets_is_no_fer2013(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name / "somebody").mkdir(parents=True)
    zipped(tmp_path / "archive.zip", "readme.txt", "train/somebody/1.png")
    (tmp_path / "fer2013.zip").write_bytes(b"no zip")
    with pytest.raises(UserError, match=r"fer2013\.zip: expected a whole zip"):
        data.open("fer2013", "train", tmp_path)
    write_table(tmp_path / "fer2013", ROWS)
    assert len(data.open("fer2013", "test", tmp_path)) == 8
    (tmp_path / "fer2013/fer2013.csv").unlink()
    write_folders(tmp_path / "fer2013")
    assert len(data.open("fer2013", "test", tmp_path)) == 7
    shutil.rmtree(tmp_path / "fer2013")
    (tmp_path / "fer2013.zip").unlink()
    with pytest.raises(UserError, match=r"train/ and test/ with folders angry, disgust, .*found none in"):
        data.open("fer2013", "train", tmp_path)


def test_a_zip_of_the_table_is_to_be_unpacked(tmp_path: Path) -> None:
    zipped(tmp_path / "archive.zip", "fer2013/fer2013.csv", "fer2013/fer2013.bib")
    with pytest.raises(UserError, match=r"archive\.zip: expected class folders in a zip, got fer2013\.csv; unpack it"):
        data.open("fer2013", "train", tmp_path)
    write_table(tmp_path, ROWS)
    assert len(data.open("fer2013", "train", tmp_path)) == 7
