"""StressID: tasks that were filmed and rated."""

import json
from pathlib import Path

import pytest

from fer_core.data import check, demo, demo_files, stressid
from fer_core.data.dataset import SPLITS
from fer_core.data.stressid import StressidOptions
from fer_core.errors import UserError

ROWS = [
    "subject/task,binary-stress,affect3-class",
    "ab1c_Breathing,0,0",
    "ab1c_Math,1.0,2.0",  # as pandas writes a column that misses values
    "ab1c_Relax,,",
    "ab1c_Speaking,1,2",  # not filmed
    "de2f_Math,0,1",
    "gh3i_Math,1,1",  # a person who was not filmed
]
FILMED = ("ab1c_Breathing", "ab1c_Math", "ab1c_Relax", "de2f_Math")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "StressID Dataset"
    demo_files.write_lines(folder / "labels.csv", ROWS)
    demo_files.write_lines(folder / "targets.txt", ["ab1c"])
    for task in FILMED:
        path = folder / f"Videos/{task[:4]}/{task}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_filmed_and_rated_tasks_are_samples(root: Path) -> None:
    found = stressid.listing("test", root, StressidOptions())
    assert [(entry.path, entry.label, entry.subject) for entry in found.entries] == [
        ("Videos/ab1c/ab1c_Breathing.mp4", "neutral", "ab1c"),
        ("Videos/ab1c/ab1c_Math.mp4", "stress", "ab1c"),
    ]
    assert found.subjects == ("ab1c", "de2f")


def test_tasks_that_filmed_people_lack_are_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = stressid.listing("test", root, StressidOptions())
    (record,) = (each for each in caplog.records if each.levelname == "WARNING")
    assert "stressid/test: 1 tasks of 1 people who were filmed in others have no video" in record.message
    assert list(found.left_out.values()) == [("Videos/ab1c/ab1c_Speaking.mp4",)]
    caplog.clear()
    demo_files.write_lines(root / "StressID Dataset/targets.txt", ["de2f"])
    assert not stressid.listing("test", root, StressidOptions()).left_out  # nor do people who were not filmed at all
    assert not [each for each in caplog.records if each.levelname == "WARNING"]


def test_a_check_notes_what_may_be_missing(tmp_path: Path) -> None:
    demo.write("stressid", tmp_path / "made")
    report = check.check("stressid", tmp_path / "made")
    notes = [finding for finding in report.findings if finding.kind == "left out"]
    assert report.sound  # the release's list does not tell which tasks were filmed
    assert [(note.severity, note.split) for note in notes] == [("note", split) for split in SPLITS]
    counted = zip(notes, ("3 of 15", "1 of 5", "2 of 10"), strict=True)
    assert all(note.message.startswith(f"{count} tasks have no video though") for note, count in counted)


def test_frame_folders_stand_for_videos(root: Path) -> None:
    (root / "StressID Dataset/faces/ab1c/ab1c_Speaking").mkdir(parents=True)
    (root / "StressID Dataset/faces/de2f/de2f_Math").mkdir(parents=True)
    found = stressid.listing("test", root, StressidOptions(clips="faces", stride=1))
    assert [entry.path for entry in found.entries] == ["faces/ab1c/ab1c_Speaking"]


def test_aligned_videos_without_a_face_were_filmed(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    videos = root / "StressID Dataset/Videos"
    for task in FILMED[:2]:
        (videos / f"ab1c/{task}.mp4").unlink()
    (videos / "ab1c/ab1c_Math").mkdir()
    (videos / "alignment.json").touch()
    line = {"path": "ab1c/ab1c_Breathing.mp4", "outcome": "skipped", "counts": {}}
    demo_files.write_lines(videos / "alignment.jsonl", [json.dumps(line)])
    found = stressid.listing("test", root, StressidOptions())
    assert [entry.path for entry in found.entries] == ["Videos/ab1c/ab1c_Math"]
    assert "stressid/test: 1 of 2 samples are left out" in caplog.text
    assert ("Videos/ab1c/ab1c_Breathing.mp4",) in found.left_out.values()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("ab1c_Stroop,7,2", "line 2: expected a label of stressid/binary"),
        ("Stroop,1,2", "line 2: expected <subject>_<task>, each once, got 'Stroop'"),
        ("../..,1,2", "line 2: expected a path that ends with 1 plain name"),
    ],
)
def test_a_damaged_table_is_refused(root: Path, row: str, message: str) -> None:
    demo_files.write_lines(root / "StressID Dataset/labels.csv", [ROWS[0], row])
    with pytest.raises(UserError, match=message):
        stressid.listing("test", root, StressidOptions())


def test_no_video_at_all_is_told(root: Path) -> None:
    for task in FILMED:
        (root / f"StressID Dataset/Videos/{task[:4]}/{task}.mp4").unlink()
    with pytest.raises(UserError, match="found none of 5 tasks; unpack the release's videos there"):
        stressid.listing("test", root, StressidOptions())
