"""What ``data align`` makes of a data set's files opens in the data set's own loader."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from fer_core import data
from fer_core.data import check, crops, demo, layout
from fer_core.data.align_folder import align_folder
from fer_core.data.alignment import Alignment
from fer_core.data.faces_in_images import FacePlacer, FoundFace
from fer_core.data.files import Entry, Listing
from fer_core.data.frames import media_below
from fer_core.errors import UserError

#: Where the originals lie in a miniature, where their crops go, whether folders are clips, and the loader's options.
SETS = {
    "affectnet-8": ("Manually_Annotated_Images", "Manually_Annotated_Images", False, {}),
    "raf-db": ("Image/aligned", "Image/aligned", False, {}),
    "dfew": ("Clip/original", "Clip/original", False, {"clips": "Clip/original"}),
    "ferv39k": ("2_ClipsforFaceCrop", "2_ClipsforFaceCrop", True, {}),
    "mafw": ("data/clips", "data/faces", False, {}),
    "bah": ("Videos", "faces/Videos", False, {"clips": "faces"}),
    "bah ": ("cropped-aligned-faces", "cropped-aligned-faces", True, {}),
}


class Whole:
    """Finds a face as large as the picture, but in some files."""

    name, version, by_pixels = "whole", "1", True

    def __init__(self, without: set[str]) -> None:
        self.without = without

    def find(self, image, origin=None):
        height, width = image.shape[:2]
        return [] if origin.path in self.without else [FoundFace((0.0, 0.0, float(width), float(height)))]


def align(source: Path, target: Path, clips: bool = False, without: set[str] | None = None) -> None:
    align_folder(source, target, FacePlacer(Alignment(size=32, mode="box", margin=0.0), Whole(without or set())), clips)


def samples(listing: Listing) -> list[tuple]:
    """What of a split's samples stays as it was: of their paths the names alone."""
    return [(stem(entry.path), entry.label, entry.subject, entry.first) for entry in listing.entries]


def stem(path: str) -> str:
    """The name of a clip or photograph; DFEW's videos have their numbers with or without zeros."""
    return Path(path).name.removesuffix(".mp4").removesuffix(".jpg").removesuffix(".png").lstrip("0")


@pytest.mark.parametrize("key", SETS)
def test_crops_open_in_the_loader(key: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name, (originals, target, clips, options) = key.strip(), SETS[key]
    raw, made = tmp_path / "raw", tmp_path / "made"
    demo.write(name, raw)
    wanted = layout.get(name)
    settings = wanted.options(**{key: value for key, value in options.items() if key != "clips"})
    lists = {split: wanted.listing(split, raw, settings) for split in data.SPLITS}
    media = list(media_below(raw / originals, clips))
    without = {media[1], media[-1]}
    align(raw / originals, made / target, clips, without)
    pictures = {*media_below(raw), *media_below(made)}
    for path in raw.rglob("*"):
        place = path.relative_to(raw)
        if path.is_file() and str(place) not in pictures:
            (made / place.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, made / place)
    left_out, told = {stem(path) for path in without}, 0
    for split in data.SPLITS:
        caplog.clear()
        opened = data.open(name, split, made, size=16, **options)
        expected = [sample for sample in samples(lists[split]) if sample[0] not in left_out]
        assert samples(opened.listing) == expected
        assert opened.take([0, len(opened) - 1]).image.shape[-1] == 16
        assert len(caplog.records) == (len(expected) < len(lists[split].entries))
        told += len(lists[split].entries) - len(expected)
    assert told >= 2
    report = check.check(name, made, options)
    notes = [finding for finding in report.findings if finding.kind == "left out"]
    assert sum(note.count for note in notes) == told
    assert "error" not in {finding.severity for finding in report.findings}


def test_raf_db_may_be_aligned_from_its_original_photographs(tmp_path: Path) -> None:
    raw, made = tmp_path / "raw", tmp_path / "made"
    demo.write("raf-db", raw)
    for path in (raw / "Image/aligned").iterdir():
        path.rename(path.with_name(path.name.replace("_aligned", "")))
    align(raw / "Image/aligned", made / "Image/aligned", without={"test_0001.jpg"})
    shutil.copytree(raw / "EmoLabel", made / "EmoLabel")
    paths = [entry.path for entry in data.open("raf-db", "test", made).listing.entries]
    assert paths == [f"Image/aligned/test_{number:04d}.png" for number in range(2, 8)]


def test_a_crop_is_seen_whole(tmp_path: Path) -> None:
    demo.write("affectnet-8", tmp_path / "raw")
    align(tmp_path / "raw/Manually_Annotated_Images", tmp_path / "made/Manually_Annotated_Images")
    lists = "Manually_Annotated_file_lists"
    shutil.copytree(tmp_path / "raw" / lists, tmp_path / "made" / lists)
    opened = data.open("affectnet-8", "test", tmp_path / "made", size=32)
    with Image.open(tmp_path / "made" / opened.listing.entries[0].path) as crop:
        assert opened[0].image[:, 5, 7].tolist() == list(crop.getpixel((7, 5)))  # the list's face box is not cut out


def test_segments_of_aligned_videos_hold_their_frames(tmp_path: Path) -> None:
    demo.write("bah", tmp_path / "raw")
    align(tmp_path / "raw/Videos", tmp_path / "made/faces/Videos")
    for name in ("split-frames", "Videos"):
        shutil.copytree(tmp_path / "raw" / name, tmp_path / "made" / name)
    shutil.copy(tmp_path / "raw/targets.txt", tmp_path / "made")
    shown = [data.open("bah", "test", tmp_path / "made", clips=form, size=32).take([1, 2]).image.float()
             for form in ("faces", "Videos")]  # fmt: skip
    assert (shown[0] - shown[1]).abs().max() < 2


def test_other_folders_stay_as_they_are(tmp_path: Path) -> None:
    found = Listing(tmp_path, ("a",), (Entry("raw/1.jpg", "a", box=(0, 0, 4, 4)), Entry("made/1.jpg", "a")))
    assert crops.over(found, "toy/test") == found
    (tmp_path / "raw").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "raw/1.jpg")
    align(tmp_path / "raw", tmp_path / "made")
    assert [entry.path for entry in crops.over(found, "toy/test").entries] == ["raw/1.jpg", "made/1.png"]
    (tmp_path / "made/alignment.jsonl").unlink()  # what is not in the journal may be there, or is told as missing
    assert [entry.path for entry in crops.over(found, "toy/test").entries] == ["raw/1.jpg", "made/1.png"]


def test_crops_may_have_the_names_of_the_list(tmp_path: Path) -> None:
    found = Listing(tmp_path, ("a",), (Entry("made/1.jpg", "a", box=(0, 0, 4, 4)), Entry("made/2.jpg", "a")))
    (tmp_path / "raw").mkdir()
    for name in ("1.jpg", "2.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / "raw" / name)
    align(tmp_path / "raw", tmp_path / "made", without={"2.jpg"})
    (tmp_path / "made/1.png").rename(tmp_path / "made/1.jpg")
    assert crops.over(found, "toy/test").entries == (Entry("made/1.jpg", "a"),)


def test_a_crop_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    demo.write("raf-db", tmp_path / "raw")
    (tmp_path / "raw/Image/aligned/test_0001_aligned.jpg").write_bytes(b"broken")
    align(tmp_path / "raw/Image/aligned", tmp_path / "made/Image/aligned")
    shutil.copytree(tmp_path / "raw/EmoLabel", tmp_path / "made/EmoLabel")
    with pytest.raises(UserError, match=r"expected 'Image/aligned/test_0001_aligned\.png', got: No such file"):
        data.open("raf-db", "test", tmp_path / "made")
