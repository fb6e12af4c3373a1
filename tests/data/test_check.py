"""Every kind of damage is found by ``data check``, told once, and with the right severity; a whole release passes."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_core.data import check, check_files, check_report, check_sheet, demo, layout
from fer_core.data.files import ClipFiles, Entry, ImageFiles, Listing, StillOptions
from fer_core.data.layout import Layout
from fer_core.errors import UserError

CLASSES = ("anger", "fear")


class Made:
    """A data set of noise: a list of entries for each split, whose files lie in ``root``."""

    def __init__(self, root: Path, kind: str) -> None:
        self.root, self.kind, self.opened = root, kind, 0
        self.entries: dict[str, list[Entry]] = {split: [] for split in ("train", "validation", "test")}
        self.unreadable: set[str] = set()
        self.official: dict[str, dict[str, int]] = {}
        self._drawn = 0

    def add(self, split: str, label: str, frames: int = 4, **told: object) -> Path:
        """Adds a still or a clip, and gives its path."""
        self._drawn += 1
        dice = np.random.default_rng(self._drawn)
        name = f"{split}-{self._drawn}" + ("" if self.kind == "clips" else ".png")
        path = self.root / name
        if self.kind == "clips":
            path.mkdir()
            for place in range(frames):
                Image.fromarray(dice.integers(0, 256, (8, 8, 3), np.uint8)).save(path / f"{place}.png")
        else:
            Image.fromarray(dice.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
        self.entries[split].append(Entry(name, label, **told))  # pyright: ignore[reportArgumentType]
        return path

    def listing(self, split: str, root: object, options: object) -> Listing:
        if split in self.unreadable:
            raise UserError(f"{split}.txt: expected a list, got none; restore it")
        return Listing(self.root, CLASSES, tuple(self.entries[split]))

    def open(self, split: str, root: object, options: object) -> ImageFiles | ClipFiles:
        self.opened += 1
        kind = ClipFiles if self.kind == "clips" else ImageFiles
        return kind("made", split, self.listing(split, root, options), "noise")

    def register(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(
            layout.LAYOUTS, "made",
            Layout(
                "made", "Made", self.kind, CLASSES, (), "none", "nowhere", "nobody", "", StillOptions, self.open,  # pyright: ignore[reportArgumentType]
                self.listing, lambda root, faces: None, self.official,
            ),
        )  # fmt: skip

    def check(self, **options: object) -> check.Report:
        return check.check("made", self.root, **options)  # pyright: ignore[reportArgumentType]


def _made(kind, tmp_path, monkeypatch):
    made = Made(tmp_path / "data", kind)
    made.root.mkdir()
    made.register(monkeypatch)
    for split, count in (("train", 3), ("validation", 1), ("test", 1)):
        for _ in range(count):
            for label in CLASSES:
                made.add(split, label)
    return made


@pytest.fixture
def stills(tmp_path, monkeypatch):
    return _made("stills", tmp_path, monkeypatch)


@pytest.fixture
def clips(tmp_path, monkeypatch):
    return _made("clips", tmp_path, monkeypatch)


def only(report):
    """The one finding of a report."""
    (finding,) = report.findings
    return finding


@pytest.mark.parametrize("kind", ["stills", "clips"])
@pytest.mark.parametrize("all_files", [False, True])
def test_a_whole_release_is_sound(kind, all_files, tmp_path, monkeypatch):
    made = _made(kind, tmp_path, monkeypatch)
    report = made.check(all_files=all_files)
    assert report.sound
    assert report.findings == ()
    assert {split: found.samples for split, found in report.splits.items()} == {"train": 6, "validation": 2, "test": 2}
    assert report.splits["train"].counts == {"anger": 3, "fear": 3}
    assert [found.decoded for found in report.splits.values()] == [6, 2, 2]
    assert check_report.to_text(report).endswith("\nsound\n")


def test_missing_files_are_counted_and_named(stills):
    stills.add("train", "fear").unlink()
    stills.add("train", "fear").unlink()
    report = stills.check()
    assert (only(report).severity, only(report).kind, only(report).split, only(report).count) == (
        "error", "missing files", "train", 2,
    )  # fmt: skip
    assert only(report).examples == tuple(entry.path for entry in stills.entries["train"][-2:])
    assert not report.sound
    assert report.splits["train"].decoded == 6


def test_a_clip_without_frames_is_missing(clips):
    for frame in clips.add("test", "fear").iterdir():
        frame.unlink()
    assert only(clips.check()).kind == "missing files"


def test_a_link_out_of_the_folder_is_no_file_of_the_release(stills, tmp_path):
    path = stills.add("train", "fear")
    path.rename(tmp_path / "elsewhere.png")
    path.symlink_to(tmp_path / "elsewhere.png")
    assert only(stills.check()).kind == "missing files"


def test_a_damaged_image_is_told_with_its_name(stills):
    path = stills.add("train", "fear")
    path.write_bytes(path.read_bytes()[:-40])
    finding = only(stills.check())
    assert (finding.severity, finding.kind, finding.count) == ("error", "unreadable files", 1)
    assert path.name in finding.examples[0]


def test_every_frame_is_decoded_only_when_asked(clips):
    frame = sorted(clips.add("train", "fear", frames=8).iterdir())[1]  # neither first, middle nor last
    frame.write_bytes(b"no image")
    assert clips.check().sound
    assert only(clips.check(all_files=True)).kind == "unreadable files"


def test_the_sample_is_drawn_by_the_seed(stills, monkeypatch):
    monkeypatch.setattr(check, "SAMPLE", 3)
    decoded = []
    verify = check_files.OnDisk.verify
    monkeypatch.setattr(
        check_files.OnDisk, "verify", lambda found, place, every_frame: decoded.append(found.names[place])
        or verify(found, place, every_frame),
    )  # fmt: skip
    assert [found.decoded for found in stills.check().splits.values()] == [3, 2, 2]
    first = decoded.copy()
    decoded.clear()
    stills.check()
    assert decoded == first
    samples = set()
    for seed in range(1, 6):
        decoded.clear()
        stills.check(seed=seed)
        samples.add(tuple(decoded))
    assert len(samples) > 1
    decoded.clear()
    assert [found.decoded for found in stills.check(all_files=True).splits.values()] == [6, 2, 2]


def test_other_numbers_of_frames_than_listed_are_told(clips):
    clips.add("train", "fear")
    clips.entries["train"][-1] = Entry(clips.entries["train"][-1].path, "fear", frames=5)
    finding = only(clips.check())
    assert (finding.severity, finding.kind, finding.split, finding.count) == (
        "warning", "frame counts differ", "train", 1,
    )  # fmt: skip
    assert finding.examples[0].endswith(": list 5, really 4")


@pytest.mark.parametrize(
    ("first", "frames", "kind"), [(1, 3, None), (2, 3, "frame counts differ"), (4, 3, "missing frames")]
)
def test_a_segment_must_lie_in_its_clip(clips, first, frames, kind):
    name = clips.add("train", "fear").name
    clips.entries["train"][-1] = Entry(name, "fear", frames=frames, first=first)
    report = clips.check()
    assert report.sound == (kind is None)
    if kind:
        assert only(report).kind == kind


def test_a_frame_that_a_segment_lacks_is_told_whether_it_is_decoded_or_not(clips, monkeypatch):
    monkeypatch.setattr(check, "SAMPLE", 1)
    path = clips.add("train", "fear", frames=8)
    clips.entries["train"].pop()
    for first in (0, 4):
        clips.entries["train"].append(Entry(path.name, "fear", frames=4, first=first, numbered=0))
    assert clips.check().sound
    (path / "5.png").unlink()
    finding = only(clips.check())
    assert (finding.severity, finding.kind, finding.split, finding.count) == ("error", "missing frames", "train", 1)
    assert "expected frames 4 to 7 of a segment, found none of number 5" in finding.examples[0]


def test_equal_files_in_two_splits_are_found_and_their_labels_compared(stills):
    for label in CLASSES:
        copied = stills.add("test", label)
        shutil.copy(stills.root / stills.entries["train"][0].path, copied)
    report = stills.check()
    assert (only(report).severity, only(report).kind, only(report).split) == ("warning", "duplicates", None)
    assert only(report).count == 2
    assert only(report).message == "2 of 4 samples of test are in train, too, 1 of them under another label"
    assert only(report).examples[0] == f"{stills.entries['test'][-2].path} = {stills.entries['train'][0].path}"


def test_equal_clips_in_two_splits_are_found(clips):
    copied = clips.add("test", "anger")
    shutil.copytree(clips.root / clips.entries["train"][0].path, copied, dirs_exist_ok=True)
    assert only(clips.check()).kind == "duplicates"
    # Equal but for one frame in the middle of nowhere is another clip.
    shutil.copy(copied / "0.png", copied / "1.png")
    assert clips.check().sound


def test_segments_of_one_clip_are_no_duplicates(clips):
    name = clips.add("train", "fear").name
    clips.entries["train"][-1] = Entry(name, "fear", frames=2, first=0)
    clips.entries["test"].append(Entry(name, "fear", frames=2, first=2))
    assert clips.check().sound
    clips.entries["test"].append(Entry(name, "fear", frames=2, first=0))
    assert only(clips.check()).kind == "duplicates"


def test_only_what_may_have_a_twin_is_read(stills, monkeypatch):
    for split, entries in stills.entries.items():
        for number, entry in enumerate(entries):
            with (stills.root / entry.path).open("ab") as file:  # bytes after a PNG's end are no part of it
                file.write(bytes(100 * (len(split) + 20 * number)))
    monkeypatch.setattr(check_files.OnDisk, "content", lambda *_: pytest.fail("a file was read for its hash"))
    assert stills.check().sound


def test_people_in_two_splits_are_told(stills):
    for split in ("train", "test"):
        stills.entries[split] = [
            Entry(entry.path, entry.label, subject=str(number)) for number, entry in enumerate(stills.entries[split])
        ]
    report = stills.check()
    assert (only(report).severity, only(report).kind, only(report).count) == ("warning", "people shared", 2)
    assert [found.people for found in report.splits.values()] == [6, None, 2]


def test_a_class_without_samples_is_told(stills):
    stills.entries["test"] = [entry for entry in stills.entries["test"] if entry.label != "fear"]
    report = stills.check()
    assert (only(report).kind, only(report).split, only(report).examples) == ("class missing", "test", ("fear",))
    assert report.splits["test"].imbalance is None


def test_imbalance_is_a_note(stills):
    assert stills.check().splits["train"].imbalance == 1
    for _ in range(27):
        stills.add("train", "anger")
    report = stills.check()
    assert report.splits["train"].imbalance == 10
    assert (only(report).severity, only(report).kind) == ("note", "imbalance")
    assert report.sound


def test_an_empty_split_is_an_error_unless_it_is_our_own(stills):
    stills.entries["validation"] = []
    assert stills.check().sound
    stills.entries["test"] = []
    assert (only(stills.check()).severity, only(stills.check()).kind) == ("error", "split empty")


def test_one_unreadable_list_leaves_the_others_and_all_of_them_nothing(stills):
    stills.unreadable = {"test"}
    report = stills.check()
    assert (only(report).kind, only(report).message) == (
        "split unreadable", "test.txt: expected a list, got none; restore it",
    )  # fmt: skip
    assert set(report.splits) == {"train", "validation"}
    stills.unreadable |= {"train", "validation"}
    with pytest.raises(UserError, match=r"train\.txt: expected a list"):
        stills.check()


def test_official_counts_are_compared_with_both_of_our_parts_of_them(stills):
    stills.official.update(train={"anger": 4, "fear": 4}, test={"total": 2})
    assert stills.check().findings == ()
    stills.official["train"]["fear"] = 5
    stills.official["test"]["total"] = 3
    train, test = stills.check().findings
    assert {train.severity, test.severity} == {"note"}
    assert (train.kind, train.split, train.examples) == ("counts differ", "train", ("fear 4, not 5",))
    assert test.examples == ("total 2, not 3",)
    stills.official["validation"] = {"anger": 1, "fear": 1}  # now train is ours alone
    assert [finding.split for finding in stills.check().findings] == ["train", "test"]


def test_the_json_report_has_these_keys(stills):
    stills.add("train", "fear").unlink()
    told = json.loads(json.dumps(check_report.to_json(stills.check())))
    assert set(told) == {
        "schema", "name", "title", "kind", "folder", "options", "all_files", "splits", "official", "findings", "sound",
    }  # fmt: skip
    assert told["schema"] == check.SCHEMA == 1
    assert set(told["splits"]["train"]) == {"samples", "counts", "imbalance", "people", "decoded"}
    assert set(told["findings"][0]) == {"severity", "kind", "split", "message", "count", "examples"}


def test_the_text_report_shows_counts_side_by_side(stills):
    stills.official.update(train={"anger": 40, "fear": 4})
    lines = check_report.to_text(stills.check()).splitlines()
    assert lines[0] == f"Made (made) in {stills.root}"
    table = [line.split() for line in lines[2:7]]
    assert table[0] == ["train", "validation", "test", "official", "train+validation"]
    assert table[1:] == [
        ["anger", "3", "1", "1", "40"], ["fear", "3", "1", "1", "4"], ["all", "6", "2", "2", "44"],
        ["most", ":", "least", "1.0", "1.0", "1.0", "10.0"],
    ]  # fmt: skip
    assert "note: counts differ in train" in "\n".join(lines)


def test_wrong_names_and_options_are_mistakes(stills):
    with pytest.raises(UserError, match="unknown licensed data set 'mad'; did you mean 'made'"):
        check.check("mad", stills.root)
    with pytest.raises(UserError, match="unknown setting of data of made 'sizes'; did you mean 'size'"):
        stills.check(options={"sizes": 3})


def test_a_sheet_has_a_row_for_each_class_and_a_column_for_each_split(stills, tmp_path):
    damaged = stills.add("test", "fear")
    damaged.write_bytes(b"no image")
    path = check_sheet.write("made", stills.root, tmp_path / "new" / "sheet.png")
    with Image.open(path) as image:
        pixels = np.asarray(image)
    width, height = check_sheet.ACROSS * 68 + 4, 64 + 16 + 4
    assert pixels.shape == (2 * height + 4, 3 * width, 3)
    grey = (pixels == (128, 128, 128)).all(axis=-1)
    assert grey.sum() >= 64 * 64  # the damaged face
    assert grey[height:, 2 * width :].sum() == grey.sum()  # under test, in the row of fear
    with pytest.raises(UserError, match=r"expected a \.png file"):
        check_sheet.write("made", stills.root, tmp_path / "sheet.jpg")


def test_rows_of_a_table_are_read_by_their_loader(tmp_path):
    root = tmp_path / "demo"
    demo.write("fer2013", root)
    report = check.check("fer2013", root)
    assert report.sound
    assert {split: found.decoded for split, found in report.splits.items()} == {"train": 16, "validation": 8, "test": 8}
    table = root / "fer2013.csv"
    rows = table.read_text().splitlines()
    pixels = rows[1].split(",")[1]
    code, _, usage = rows[-1].split(",")
    table.write_text("\n".join([*rows[:-1], f"{code},{pixels},{usage}"]) + "\n")
    os.utime(table, ns=(1, 1))  # within one tick of the clock the cached table would do
    found = check.check("fer2013", root)
    assert [finding.kind for finding in found.findings if finding.severity != "note"] == ["duplicates"]
    table.write_text("\n".join([*rows[:-1], f"{code},1 2 3,{usage}"]) + "\n")
    with pytest.raises(UserError, match="expected 2304 pixels"):
        check.check("fer2013", root)
