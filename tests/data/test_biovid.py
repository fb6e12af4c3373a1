"""BioVid: the two stimuli of the task, each person's videos from 2.04 to 5.00 s."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_core.data import biovid, demo_files
from fer_core.data.biovid import BiovidOptions
from fer_core.errors import UserError

HEADER = "subject_id\tsubject_name\tclass_id\tclass_name\tsample_id\tsample_name"
STIMULI = ("BL1", "PA1", "PA4")
PEOPLE = ("010101_m_20", "020202_w_30", "030303_m_40", "040404_w_50")


def row(person: str, stimulus: str, sample: str | None = None) -> str:
    return "\t".join(("1", person, "0", stimulus, "1", sample or f"{person}-{stimulus}-001"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rows = [row(person, stimulus) for person in PEOPLE for stimulus in STIMULI]
    demo_files.write_lines(tmp_path / "PartA/starting_point/samples.csv", [HEADER, *rows])
    demo_files.write_lines(tmp_path / "PartA/targets.txt", [PEOPLE[3]])
    (tmp_path / "PartA/video").mkdir()
    return tmp_path


def test_the_task_keeps_no_pain_and_the_strongest(root: Path) -> None:
    found = biovid.listing("test", root, BiovidOptions())
    assert [(entry.path, entry.label, entry.subject) for entry in found.entries] == [
        (f"video/{PEOPLE[3]}/{PEOPLE[3]}-BL1-001.mp4", "neutral", PEOPLE[3]),
        (f"video/{PEOPLE[3]}/{PEOPLE[3]}-PA4-001.mp4", "pain", PEOPLE[3]),
    ]
    assert found.subjects == PEOPLE  # one numbering of people in all splits


def test_a_persons_videos_do_not_come_class_by_class(root: Path) -> None:
    rows = [
        row(person, stimulus, f"{person}-{stimulus}-{number:03d}")
        for person in PEOPLE for stimulus in ("BL1", "PA4") for number in range(20)
    ]  # fmt: skip
    found = []
    for listed in (rows, rows[::-1]):
        demo_files.write_lines(root / "PartA/starting_point/samples.csv", [HEADER, *listed])
        found.append(biovid.listing("test", root, BiovidOptions()).entries)
    assert found[0] == found[1]  # the list's order decides nothing
    said = "".join(entry.label[0] for entry in found[0])
    assert said.count("n") == said.count("p") == 20
    assert max(map(len, re.findall("n+|p+", said))) < 10


def test_people_are_numbered_alike_in_all_splits(root: Path) -> None:
    for person in PEOPLE:
        for stimulus in ("BL1", "PA4"):
            demo_files.write_video(root / f"PartA/video/{person}/{person}-{stimulus}-001.mp4", ramp(130))
    numbers = {}
    for split in ("train", "validation", "test"):
        opened = biovid.open(split, root, BiovidOptions(size=16, source_test=0, validation=0.3))
        assert opened.subjects is not None
        numbers[split] = set(opened.subjects.tolist())
        assert opened.take([0]).subject is not None
    assert numbers["test"] == {3}
    assert numbers["train"] | numbers["validation"] == {0, 1, 2}
    assert not numbers["train"] & numbers["validation"]


def ramp(frames: int) -> np.ndarray:
    return np.broadcast_to(np.arange(frames, dtype=np.uint8)[:, None, None, None], (frames, 32, 32, 3))


def test_the_window_lies_between_2_04_and_5_00_seconds(root: Path) -> None:
    for stimulus in ("BL1", "PA4"):
        demo_files.write_video(root / f"PartA/video/{PEOPLE[3]}/{PEOPLE[3]}-{stimulus}-001.mp4", ramp(138))
    opened = biovid.open("test", root, BiovidOptions(frames=75, stride=1, size=16))
    means = opened.take([0]).image.float().mean((0, 2, 3, 4))
    assert (means - torch.arange(51, 126)).abs().max() < 4  # 51 / 25 = 2.04 s, 125 / 25 = 5.00 s
    whole = biovid.open("test", root, BiovidOptions(frames=138, stride=1, size=16, whole=True))
    assert (whole.take([0]).image.float().mean((0, 2, 3, 4)) - torch.arange(138)).abs().max() < 4


@pytest.mark.parametrize("count", [125, 126, 138])
def test_a_folder_of_all_frames_has_the_window_of_its_video(root: Path, count: int) -> None:
    for stimulus in ("BL1", "PA4"):
        folder = root / f"PartA/faces/{PEOPLE[3]}/{PEOPLE[3]}-{stimulus}-001"
        demo_files.write_frames(folder, [f"{place + 1:05d}.png" for place in range(count)], ramp(count))
    shown = {}
    for whole in (False, True):
        options = BiovidOptions(clips="faces", frames=75, stride=1, size=16, whole=whole)
        shown[whole] = biovid.open("test", root, options).take([0]).image.float().mean((0, 2, 3, 4))
    middle = torch.arange(75) + (count - 75) // 2
    assert torch.equal(shown[True], middle)
    assert torch.equal(shown[False], torch.arange(51, 126) if count >= 126 else middle)


def test_folders_of_chosen_frames_are_taken_whole(root: Path) -> None:
    for stimulus in ("BL1", "PA4"):
        folder = root / f"PartA/faces/{PEOPLE[3]}/{PEOPLE[3]}-{stimulus}-001"
        demo_files.write_frames(folder, [f"image{2040 + 40 * place}.jpg" for place in range(75)], ramp(75))
    opened = biovid.open("test", root, BiovidOptions(clips="faces", frames=16, stride=2, size=16))
    means = opened.take([0]).image.float().mean((0, 2, 3, 4))
    assert (means - (22 + 2 * torch.arange(16))).abs().max() < 1  # 31 frames in the middle of 75


def test_aligned_videos_without_a_face_are_left_out(root: Path) -> None:
    (root / "PartA/video/alignment.json").touch()
    stem = f"{PEOPLE[3]}/{PEOPLE[3]}-{{}}-001"
    line = {"path": f"{stem.format('BL1')}.mp4", "outcome": "skipped", "counts": {}}
    demo_files.write_lines(root / "PartA/video/alignment.jsonl", [json.dumps(line)])
    demo_files.write_frames(root / "PartA/video" / stem.format("PA4"), ["00001.png"], ramp(1))
    found = biovid.listing("test", root, BiovidOptions())
    assert [entry.path for entry in found.entries] == [f"video/{stem.format('PA4')}"]
    assert list(found.left_out.values()) == [(f"video/{stem.format('BL1')}.mp4",)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(PEOPLE[0], "BL2")], "line 2: expected a label of biovid/part-a"),
        ([row(PEOPLE[0], "BL1", f"{PEOPLE[1]}-BL1-001")], "expected a sample named after '010101_m_20' and 'BL1'"),
        ([row(PEOPLE[0], "BL1"), row(PEOPLE[0], "BL1")], "line 3: expected each sample once"),
        ([row("..", "BL1")], "line 2: expected a path that ends with 1 plain name"),
    ],
)
def test_a_damaged_table_is_refused(root: Path, rows: list[str], message: str) -> None:
    demo_files.write_lines(root / "PartA/starting_point/samples.csv", [HEADER, *rows])
    with pytest.raises(UserError, match=message):
        biovid.listing("test", root, BiovidOptions())
