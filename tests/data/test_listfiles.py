"""Lists of other machines: whatever their paths, blanks and line ends, the same rows; what is wrong is told by line."""

from pathlib import Path

import pytest

from fer_core.data import listfiles
from fer_core.errors import UserError


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "a/00001 144 1\nb/00002 70 2\n",
        "a/00001 144 1\nb/00002 70 2",  # MAFW's public lists end without a line end: a count of line ends misses a clip
        "a/00001 144 1\r\nb/00002 70 2\r\n",
        "\ufeffa/00001 144 1\n\n  b/00002\t70 2 \n",
    ],
)
def test_line_ends_and_blanks_change_nothing(tmp_path: Path, text: str) -> None:
    rows = listfiles.split_rows(write(tmp_path / "set_1.txt", text), ("a path", "a number", "a label"))
    assert [row.columns for row in rows] == [("a/00001", "144", "1"), ("b/00002", "70", "2")]


def test_the_first_column_may_hold_blanks_or_the_last_one(tmp_path: Path) -> None:
    path = write(tmp_path / "list.txt", "C:\\My Data\\00001 3\n")
    assert listfiles.split_rows(path, ("a path", "a label"))[0].columns == ("C:\\My Data\\00001", "3")
    path = write(tmp_path / "told.txt", "00001.mp4,1,well, you know\n")
    columns = listfiles.split_rows(path, ("a clip", "a label", "words"), ",", from_left=True)[0].columns
    assert columns == ("00001.mp4", "1", "well, you know")


def test_a_short_line_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "set_1.txt", "a/00001 1\na/00002\n")
    with pytest.raises(UserError, match=r"set_1\.txt, line 2: expected a path, a label, got 'a/00002'"):
        listfiles.split_rows(path, ("a path", "a label"))


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_list_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(UserError, match="at least one clip, got an empty list"):
        listfiles.split_rows(write(tmp_path / "set_1.txt", content), ("a path", "a label"))


def test_encodings_are_tried_in_turn(tmp_path: Path) -> None:
    path = write(tmp_path / "list.txt", "00001.mp4 男人".encode("gb18030"))
    with pytest.raises(UserError, match="expected text in utf-8, got other bytes"):
        listfiles.read_text(path)
    assert listfiles.read_text(path, ("utf-8-sig", "gb18030")) == "00001.mp4 男人"


def test_a_folder_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a readable list"):
        listfiles.read_text(tmp_path)


def test_table_columns_are_found_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.csv", 'extra,label, video_name\n"a,b",3,7\n,,\nc,1,8\n')
    rows = listfiles.table_rows(path, ("video_name", "label"))
    assert [(row.columns, row.where) for row in rows] == [
        (("7", "3"), "labels.csv, line 2"),
        (("8", "1"), "labels.csv, line 4"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,label\n1,2\n", "expected a column 'video_name', got 'video, label'"),
        ("label,video_name\n1\n", "line 2: expected 2 columns, got 1"),
        ("video_name,label\n", "at least one clip"),
        ("", "expected a column 'video_name', got ''"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        listfiles.table_rows(write(tmp_path / "set_1.csv", text), ("video_name", "label"))


@pytest.mark.parametrize(
    ("path", "parts", "kept"),
    [
        ("/home/someone/DFEW/Clip/jpg_256/00001", 1, ("00001",)),
        ("D:\\data\\FERV39k\\Action\\Happy\\0015", 3, ("Action", "Happy", "0015")),
        ("Action/./Happy//0015/", 3, ("Action", "Happy", "0015")),
        ("../elsewhere/00001", 1, ("00001",)),  # what leads out is cut with the machine's folders
    ],
)
def test_machine_paths_are_cut(path: str, parts: int, kept: tuple[str, ...]) -> None:
    assert listfiles.cut(path, parts, "list") == kept


@pytest.mark.parametrize(("path", "parts"), [("..", 1), ("a/../b", 2), ("0015", 3), ("", 1), ("C:", 1), ("a\0b", 1)])
def test_paths_that_name_no_clip_are_refused(path: str, parts: int) -> None:
    with pytest.raises(UserError, match="list, line 3: expected a path that ends with"):
        listfiles.cut(path, parts, "list, line 3")


@pytest.mark.parametrize("text", ["", "-1", "1.5", "²", "1234567890"])
def test_whole_numbers_alone_are_numbers(text: str) -> None:
    assert listfiles.whole_number("0042", "a count", "list") == 42
    with pytest.raises(UserError, match="list: expected a count as a whole number"):
        listfiles.whole_number(text, "a count", "list")


def test_a_clip_that_comes_twice_is_named() -> None:
    assert listfiles.once([("a", 1), ("b", 2)], "list") == {"a": 1, "b": 2}
    with pytest.raises(UserError, match="list: expected each clip once, got 'a' twice"):
        listfiles.once([("a", 1), ("b", 2), ("a", 1)], "list")


def test_present_finds_folders_videos_and_parts(tmp_path: Path) -> None:
    (tmp_path / "00001").mkdir()
    (tmp_path / "2.mp4").touch()
    (tmp_path / "clip_part_1" / "00003").mkdir(parents=True)
    assert listfiles.present(tmp_path, lambda stem: stem.zfill(5)) == {
        "00001": "00001",
        "00002": "2.mp4",
        "00003": "clip_part_1/00003",
    }
    assert listfiles.present(tmp_path / "nowhere") == {}


def test_what_lies_beside_a_video_is_no_clip(tmp_path: Path) -> None:
    for path in ("00005.mp4", "00005.wav", "part_1/00006.MP4", "part_1/00006.txt", "00007.csv"):
        write(tmp_path / path, "")
    assert listfiles.present(tmp_path) == {"00005": "00005.mp4", "00006": "part_1/00006.MP4"}


def test_find_tells_all_places(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    assert listfiles.find(tmp_path, ("a", "b"), "mafw: list") == tmp_path / "b"
    with pytest.raises(UserError, match=r"mafw: list: expected a \(or c\) in .*; unpack the release there"):
        listfiles.find(tmp_path, ("a", "c"), "mafw: list")
