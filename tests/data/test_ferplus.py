"""FERPlus: vote rules, the official layout as folders and zips, and every kind of damage."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_core.data import ferplus, ferplus_votes
from fer_core.data import layout as layouts
from fer_core.data.ferplus import Ferplus, FerplusOptions
from fer_core.errors import UserError
from fer_core.folders import cache_folder

NAMES = ferplus_votes.VOTE_COLUMNS
EXPECTED_TEST = {
    "neutral": 1089, "happiness": 893, "sadness": 384, "surprise": 396, "fear": 83, "disgust": 18, "anger": 273,
    "contempt": 16,
}  # fmt: skip


def row(**counts: int) -> list[int]:
    return [counts.get(name, 0) for name in NAMES]


@pytest.mark.parametrize("zipped", [False, True])
def test_reads_the_official_layout(layout, zipped: bool) -> None:
    layout.add("train", 50, row(fear=6, surprise=4))
    layout.add("train", 51, row(fear=5, surprise=5))
    if zipped:
        layout.zip("train")
    data = Ferplus("train", layout.root)
    assert [data.classes[label] for label in data.labels] == [*ferplus_votes.VOTE_COLUMNS[:8], "fear"]
    assert len(data) == 9
    sample = data[8]
    assert torch.equal(sample.image, torch.from_numpy(np.tile(_face(50), (3, 1, 1))))
    assert sample.votes.tolist() == pytest.approx([0, 0, 0, 0.4, 0.6, 0, 0, 0])
    facts = data.facts()
    assert (facts["samples"], facts["images"], facts["dropped"]) == (9, 10, 1)
    assert facts["counts"] == {name: 1 + (name == "fear") for name in data.classes}


def _face(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (48, 48), dtype=np.uint8)


def test_the_vote_rule_is_an_option(layout) -> None:
    layout.add("test", 250, row(surprise=5, sadness=5))
    assert len(Ferplus("test", layout.root)) == 8
    data = Ferplus("test", layout.root, FerplusOptions("probability"))
    assert len(data) == 9
    assert data[8].votes.sum() == 1
    # A tie goes to the first column of the file, which is not the first of our classes.
    assert data.classes[data.labels[8]] == "surprise"
    assert data.classes.index("sadness") < data.classes.index("surprise")
    with pytest.raises(UserError, match="'majority' or 'probability', got 'mode'"):
        FerplusOptions("mode")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("zipped", [False, True])
def test_the_listing_is_what_the_rule_keeps(layout, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    layout.add("test", 250, row(surprise=5, sadness=5))
    layout.add("test", 251, row(fear=10))
    if zipped:
        layout.zip("test")
    opened = Ferplus("test", layout.root)
    monkeypatch.setattr(ferplus, "decode", lambda *_: pytest.fail("decoded"))
    listed = layouts.get("ferplus").listing("test", layout.root, FerplusOptions())
    assert [entry.label for entry in listed.entries] == [opened.classes[label] for label in opened.labels]
    assert listed.entries[-1].path == "FER2013Test/fer0000251.png"
    assert listed.folder == layout.root


def test_fingerprint_follows_content_alone(layout) -> None:
    first = Ferplus("train", layout.root).fingerprint
    for file in layout.folder("train").iterdir():
        os.utime(file, (10**9, 10**9))
    assert Ferplus("train", layout.root).fingerprint == first
    layout.zip("train")
    assert Ferplus("train", layout.root).fingerprint == first
    assert Ferplus("train", layout.root, FerplusOptions("probability")).fingerprint != first
    assert Ferplus("test", layout.root).fingerprint != first


@pytest.mark.parametrize("change", ["pixel", "vote", "name"])
def test_fingerprint_sees_every_change(layout, change: str) -> None:
    first = Ferplus("train", layout.root).fingerprint
    folder = layout.folder("train")
    labels = (folder / "label.csv").read_text()
    if change == "pixel":
        pixels = _face(0)
        pixels[0, 0] ^= 1
        layout.add("train", 90, row(neutral=10), pixels)
        (folder / "fer0000090.png").replace(folder / "fer0000000.png")
    elif change == "vote":
        labels = labels.replace("10,0,0,0,0,0,0,0,0,0", "9,0,0,0,0,0,0,0,0,0")
    else:
        labels = labels.replace("fer0000000", "fer0000099")
        (folder / "fer0000000.png").rename(folder / "fer0000099.png")
    (folder / "label.csv").write_text(labels)
    assert Ferplus("train", layout.root).fingerprint != first


def test_marks_duplicates_of_train(layout) -> None:
    layout.add("test", 290, row(happiness=10), _face(1))  # also in train
    layout.add("test", 291, row(happiness=10), _face(60))  # in train too, but dropped there
    layout.add("train", 60, row(fear=5, surprise=5))
    layout.add("test", 292, row(fear=10), _face(201))  # twice in test alone
    test = Ferplus("test", layout.root)
    assert test.duplicates_of_train.tolist() == [False] * 8 + [True, False, False]
    assert Ferplus("train", layout.root).duplicates_of_train is None
    report = ferplus.duplicates_report(layout.root)
    assert report["kept"]["test in train"] == {"images": 1, "conflicts": 0}
    assert report["listed"]["test in train"] == {"images": 2, "conflicts": 1}
    assert report["kept"]["within test"] == {"images": 2, "groups": 1, "conflicts": 1}
    assert report["kept"]["within train"] == {"images": 0, "groups": 0, "conflicts": 0}


def test_finds_its_folder(layout, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Ferplus("test", layout.root).fingerprint
    for name in ("ferplus", "FERPlus"):
        moved = layout.root.parent / name / name
        moved.parent.mkdir(exist_ok=True)
        layout.root.rename(moved)
        assert Ferplus("test", moved.parent).fingerprint == expected
        monkeypatch.setenv("FER_DATA_ROOT", str(moved.parent))
        assert Ferplus("test").fingerprint == expected
        layout.root = moved


def test_decodes_once(layout, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Ferplus("train", layout.root)
    monkeypatch.setattr(ferplus, "decode", lambda *_: pytest.fail("decoded again"))
    again = Ferplus("train", layout.root, FerplusOptions("probability"))
    assert torch.equal(again[0].image, first[0].image)


def damage_csv(change):
    """A damage that rewrites the label list."""

    def act(layout) -> None:
        path = layout.folder("test") / "label.csv"
        path.write_text(change(path.read_text()))

    return act


def damage_png(change):
    """A damage that rewrites one image."""

    def act(layout) -> None:
        path = layout.folder("test") / "fer0000203.png"
        path.write_bytes(change(path.read_bytes()))

    return act


DAMAGES = {
    "no list": (lambda layout: (layout.folder("test") / "label.csv").unlink(), "expected a file 'label.csv'"),
    "empty list": (damage_csv(lambda text: ""), "at least one row, got an empty file"),
    "wrong encoding": (
        lambda layout: (layout.folder("test") / "label.csv").write_bytes("fêr.png".encode("latin-1")),
        "expected UTF-8 text",
    ),
    "null byte": (damage_csv(lambda text: "fer\0.png" + text), r"line 1|UTF-8"),
    "missing column": (damage_csv(lambda text: text.replace(",0\n", "\n", 1)), "line 1: .*12 columns.*'11 columns'"),
    "header": (damage_csv(lambda text: "file,box," + ",".join(NAMES) + "\n" + text), "line 1: .*plain name of a .png"),
    "word as vote": (
        damage_csv(lambda text: text.replace(",10,", ",ten,", 1)),
        "line 1: .*'neutral' in 0..10, got 'ten'",
    ),
    "negative vote": (damage_csv(lambda text: text.replace(",10,", ",-1,", 1)), "in 0..10, got '-1'"),
    "too many votes": (damage_csv(lambda text: text.replace(",10,", ",11,", 1)), "in 0..10, got '11'"),
    "doubled row": (damage_csv(lambda text: text + text.splitlines()[2] + "\n"), "line 9: .*once .this one .* line 3."),
    "other box": (damage_csv(lambda text: text.replace("(0, 0, 48, 48)", "(0, 0, 48, 40)", 1)), "line 1: .*as box"),
    "path in a name": (damage_csv(lambda text: text.replace("fer0000200", "../train/fer", 1)), "plain name of a .png"),
    "missing image": (lambda layout: (layout.folder("test") / "fer0000203.png").unlink(), "file 'fer0000203.png'"),
    "truncated image": (damage_png(lambda data: data[: len(data) // 2]), "fer0000203.png: expected a whole PNG"),
    "empty image": (damage_png(lambda data: b""), "fer0000203.png: expected a PNG image"),
    "damaged chunk": (damage_png(lambda data: data[:60] + b"xxxx" + data[64:]), "expected a whole PNG, got a damaged"),
    "no image": (damage_png(lambda data: b"GIF89a" + data), "expected a PNG image, got other"),
    "huge image": (damage_png(lambda data: data + bytes(2**17)), "at most 65536 bytes, got 13"),
    "bomb": (
        damage_png(lambda data: data[:16] + bytes([255] * 8) + data[24:]),
        "expected 48x48 pixels, got 4294967295x",
    ),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", DAMAGES)
def test_names_the_damage(layout, kind: str, zipped: bool) -> None:
    act, message = DAMAGES[kind]
    act(layout)
    if zipped:
        layout.zip("test")
    with pytest.raises(UserError, match=message) as caught:
        Ferplus("test", layout.root)
    assert "\n" not in str(caught.value)
    assert "FER2013Test" in str(caught.value)
    assert not cache_folder().exists()
    assert len(Ferplus("train", layout.root)) == 8  # damage of one split is not another's


@pytest.mark.parametrize(("pixels", "message"), [
    (np.zeros((64, 48), dtype=np.uint8), "expected 48x48 pixels, got 48x64"),
    (np.zeros((48, 48, 3), dtype=np.uint8), "8-bit grey PNG, got mode RGB"),
    (np.zeros((48, 48), dtype=np.uint16), "8-bit grey PNG, got mode I;16"),
])  # fmt: skip
def test_names_images_of_another_kind(layout, pixels: np.ndarray, message: str) -> None:
    layout.add("test", 299, row(neutral=10), pixels)
    with pytest.raises(UserError, match=message):
        Ferplus("test", layout.root)


def test_names_an_empty_folder_and_a_missing_one(layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"FER2013Train/ or FER2013Train\.zip, found neither"):
        Ferplus("train", empty)
    (empty / "FER2013Train").mkdir()
    with pytest.raises(UserError, match="expected the split's files, got none"):
        Ferplus("train", empty)
    with pytest.raises(UserError, match="to be a folder, found none"):
        Ferplus("train", tmp_path / "nowhere")
    monkeypatch.delenv("FER_DATA_ROOT", raising=False)
    with pytest.raises(UserError, match=r"name it \(--data-root\) or set FER_DATA_ROOT"):
        Ferplus("train")
    with pytest.raises(UserError, match="unknown split 'valid'"):
        Ferplus("valid", layout.root)


def test_an_interrupt_leaves_nothing(layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(file, *_: object, **__: object) -> None:
        file.write(b"half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Ferplus("train", layout.root)
    assert list(cache_folder().iterdir()) == []
    assert len(Ferplus("train", layout.root)) == 8


def test_a_zip_may_hold_its_files_at_the_top(layout) -> None:
    expected = Ferplus("test", layout.root).fingerprint
    with zipfile.ZipFile(layout.root / "flat.zip", "w") as archive:
        for file in layout.folder("test").iterdir():
            archive.write(file, file.name)
            file.unlink()
    layout.folder("test").rmdir()
    (layout.root / "flat.zip").rename(layout.root / "FER2013Test.zip")
    assert Ferplus("test", layout.root).fingerprint == expected


@pytest.fixture(scope="module")
def real_root() -> str:
    """A folder with the real FERPlus."""
    root = os.environ.get("FER_DATA_ROOT")
    if not root:
        pytest.skip(
            "needs the real FERPlus: set FER_DATA_ROOT to the folder of FER2013Train, FER2013Valid, FER2013Test"
        )
    places = [
        folder / stem
        for folder in layouts.candidates("ferplus", root, ferplus.FOLDERS)
        for stem in ferplus.STEMS.values()
    ]
    if not any(place.is_dir() or place.with_suffix(".zip").is_file() for place in places):
        pytest.skip("needs the real FERPlus, and FER_DATA_ROOT holds none")
    return root


@pytest.fixture
def _kept_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cache for all tests on real data: decoding takes seconds."""
    monkeypatch.setenv("FER_CACHE", str(tmp_path_factory.getbasetemp() / "real-ferplus"))


@pytest.mark.usefixtures("_kept_cache")
@pytest.mark.parametrize(
    ("split", "majority", "probability"), [("train", 25057, 27953), ("validation", 3199, 3505), ("test", 3152, 3504)]
)
def test_real_counts(real_root: str, split: str, majority: int, probability: int) -> None:
    data = Ferplus(split, real_root)
    assert len(data) == majority
    assert len(Ferplus(split, real_root, FerplusOptions("probability"))) == probability
    if split == "test":
        assert data.facts()["counts"] == EXPECTED_TEST


@pytest.mark.usefixtures("_kept_cache")
def test_real_duplicates(real_root: str) -> None:
    report = ferplus.duplicates_report(real_root)
    assert report["listed"]["test in train"]["images"] == 288
    assert report["listed"]["validation in train"]["images"] == 279
    assert int(Ferplus("test", real_root).duplicates_of_train.sum()) == report["kept"]["test in train"]["images"] == 259
