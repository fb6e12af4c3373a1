"""BAH: segments are runs of one label; participants are sources or targets."""

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_core.data import bah, demo_files
from fer_core.data.bah import BahOptions, segments
from fer_core.errors import UserError

VIDEO = "Videos/{0}/Visite_1/{0}_Question_1_2024-10-02 16-03-28_Video.mp4"  # some names hold blanks
CODES = [0] * 20 + [1] * 30 + [0] * 6  # the last run is too short


def write_list(folder: Path, part: str, people: list[str], codes: list[int]) -> None:
    rows = [f"{VIDEO.format(name)}/frame-{place}.jpg,{code}" for name in people for place, code in enumerate(codes)]
    demo_files.write_lines(folder / f"split-frames/{part}.txt", rows)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "BAH_DB"
    for part, people in (("train", ["1", "2", "3"]), ("val", ["4"]), ("test", ["5", "6"])):
        write_list(folder, part, people, CODES)
    demo_files.write_lines(folder / "targets.txt", ["3", "5"])
    return tmp_path


def people(root: Path, split: str, **settings: object) -> list[str | None]:
    found = bah.listing(split, root, BahOptions(**settings))  # pyright: ignore[reportArgumentType]
    assert found.subjects == ("1", "2", "3", "4", "5", "6")
    return sorted({entry.subject for entry in found.entries}, key=str)


def test_targets_come_out_of_any_list_and_are_no_sources(root: Path) -> None:
    assert people(root, "train") == ["1", "2"]
    assert people(root, "validation") == ["4"]
    assert people(root, "test") == ["3", "5"]


def test_without_targets_the_official_lists_stand(root: Path) -> None:
    assert people(root, "train", targets=None) == ["1", "2", "3"]
    assert people(root, "test", targets=None) == ["5", "6"]


def test_segments_name_their_frames(root: Path) -> None:
    found = bah.listing("validation", root, BahOptions())
    told = [(entry.path, entry.label, entry.first, entry.frames) for entry in found.entries]
    place = f"cropped-aligned-faces/{VIDEO.format('4')}"
    assert told == [(place, "neutral", 0, 20), (place, "ambivalence", 20, 30)]


@pytest.mark.parametrize("clips", ["cropped-aligned-faces", "Videos"])
def test_a_sample_holds_the_frames_of_its_segment(root: Path, clips: str) -> None:
    frames = np.broadcast_to(2 * np.arange(56, dtype=np.uint8)[:, None, None, None], (56, 32, 32, 3))
    demo_files.write_video(root / "BAH_DB" / VIDEO.format("4"), frames)
    pictures = [f"frame-{place}.jpg" for place in range(56)]
    demo_files.write_frames(root / "BAH_DB/cropped-aligned-faces" / VIDEO.format("4"), pictures, frames)
    options = BahOptions(sampling="segments", stride=1, frames=30, size=16, clips=clips)
    means = bah.open("validation", root, options).take([1]).image.float().mean((0, 2, 3, 4))
    assert (means - 2 * torch.arange(20, 50)).abs().max() < 4


def test_a_frame_that_is_not_there_shifts_no_label(root: Path) -> None:
    frames = np.broadcast_to(4 * np.arange(56, dtype=np.uint8)[:, None, None, None], (56, 16, 16, 3))
    folder = root / "BAH_DB/cropped-aligned-faces" / VIDEO.format("4")
    demo_files.write_frames(folder, [f"frame-{place}.jpg" for place in range(56)], frames)
    options = BahOptions(sampling="segments", stride=1, frames=30, size=16)
    bah.open("validation", root, options)
    (folder / "frame-3.jpg").unlink()
    with pytest.raises(UserError, match="expected frames 0 to 19 of a segment, found none of number 3; mend the list"):
        bah.open("validation", root, options)
    (folder / "frame-53.jpg").unlink()  # of a run that is too short to be a segment
    listed = root / "BAH_DB/split-frames/val.txt"
    demo_files.write_lines(listed, [row for row in listed.read_text().splitlines() if "frame-3.jpg" not in row])
    means = bah.open("validation", root, options).take([1]).image.float().mean((0, 2, 3, 4))
    assert (means - 4 * torch.arange(20, 50)).abs().max() < 2


def naive(codes: list[int], longest: int, frames: int) -> list[tuple[list[int], int]]:
    """Frame by frame: runs, pieces, and what a short last piece borrows."""
    pieces, place = [], 0
    for code, run in groupby(codes):
        numbers = [place + offset for offset, _ in enumerate(run)]
        place += len(numbers)
        if len(numbers) < 16:
            continue
        for start in range(0, len(numbers), longest):
            piece = numbers[start : start + longest]
            if len(piece) < frames:
                missing = frames - len(piece)
                piece = numbers[max(0, start - missing) : start] + piece
            pieces.append((piece, code))
    return pieces


@pytest.mark.parametrize("seed", range(20))
def test_segments_are_those_of_a_naive_walk(seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = [code for run, length in enumerate(rng.integers(1, 260, 6)) for code in [run % 2] * int(length)]
    found = segments({place: str(code) for place, code in enumerate(codes)}, 100, 16)
    told = [(list(range(first, first + length)), int(code)) for first, length, code in found]
    assert told == naive(codes, 100, 16)


def test_a_gap_ends_a_segment() -> None:
    codes = {place: "1" for place in range(60) if place != 30}
    assert segments(codes, 100, 16) == [(0, 30, "1"), (31, 29, "1")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("Videos/1/Visite_1/a.mp4/frame-0.jpg,2", "expected a label of bah/video"),
        ("Videos/1/Visite_1/a.mp4/0.jpg,1", "expected Videos/<participant>/<visit>/<video>/frame-<n>.jpg"),
        ("Videos/a.mp4/frame-0.jpg,1", "expected Videos/<participant>/<visit>/<video>/frame-<n>.jpg"),
        ("Videos/../../a.mp4/frame-0.jpg,1", "expected a path inside the data set's folder"),
        ("/data/them/Videos/1/Visite_1/a.mp4/frame-x.jpg,1", "expected the number of a frame as a whole number"),
    ],
)
def test_a_damaged_list_is_refused(root: Path, row: str, message: str) -> None:
    name = row.rpartition("frame-0")[0]
    rows = [row.replace("frame-0", f"frame-{place}") for place in range(16)] if name and ",2" in row else [row]
    demo_files.write_lines(root / "BAH_DB/split-frames/train.txt", rows)
    with pytest.raises(UserError, match=message):
        bah.listing("train", root, BahOptions(targets=None))


def test_a_frame_that_comes_twice_is_named(root: Path) -> None:
    write_list(root / "BAH_DB", "val", ["4", "4"], CODES)
    with pytest.raises(UserError, match=r"val\.txt, line 57: expected each frame once, got frame 0 twice"):
        bah.listing("validation", root, BahOptions())


def test_pieces_are_no_shorter_than_segments() -> None:
    with pytest.raises(UserError, match="longest: expected at least 16 frames, got 10"):
        BahOptions(longest=10)
