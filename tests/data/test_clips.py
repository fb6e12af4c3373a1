"""From a list to a split: whichever list of the same clips is read, the same clips are held out."""

from pathlib import Path

import pytest

from fer_core import config
from fer_core.data import clips, listfiles
from fer_core.data.clips import ClipOptions, FoldOptions, Labelled, ListedOptions
from fer_core.data.sampling import Sampling
from fer_core.errors import UserError

CLASSES = ("calm", "glad")


def told(names: list[str]) -> dict[str, Labelled]:
    return {name: Labelled(CLASSES[int(name) % 2]) for name in names}


def test_the_split_depends_on_the_names_alone(tmp_path: Path) -> None:
    names = [f"{number:05d}" for number in range(100)]
    splits = {}
    for order, folder in ((names, "frames"), (names[::-1], "videos")):
        for split in ("train", "validation"):
            found = clips.listing(tmp_path, CLASSES, told(order), split, 0.1, lambda name, at=folder: f"{at}/{name}")
            splits[split, folder] = [entry.path.removeprefix(f"{folder}/") for entry in found.entries]
    assert splits["train", "frames"] == splits["train", "videos"]
    assert splits["validation", "frames"] == splits["validation", "videos"]
    assert sorted(splits["train", "frames"] + splits["validation", "frames"]) == names
    held = [int(name) % 2 for name in splits["validation", "frames"]]
    assert (held.count(0), held.count(1)) == (5, 5)


def test_test_clips_are_never_held_out(tmp_path: Path) -> None:
    found = clips.listing(tmp_path, CLASSES, told([f"{n:05d}" for n in range(40)]), "test", 0.5, str)
    assert len(found.entries) == 40


def test_read_takes_counts_where_the_list_has_them() -> None:
    rows = [listfiles.Row(("x/00001", "48", "0"), "list", 1), listfiles.Row(("x/00002", "6"), "list", 2)]
    read = clips.read(rows, "list", "dfew/dfer-clip", lambda path, where: path)
    assert read == {"x/00001": Labelled("happiness", 48), "x/00002": Labelled("fear")}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("x/00001", "many", "0"), "line 1: expected a number of frames as a whole number, got 'many'"),
        (("x/00001", "48", "7"), "line 1: expected a label of dfew/dfer-clip"),
    ],
)
def test_read_names_the_line(row: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        clips.read([listfiles.Row(row, "list", 1)], "list", "dfew/dfer-clip", lambda path, where: path)


@pytest.mark.parametrize("path", ["25", "25.mp4", "00025.mp4", "/home/them/jpg_256/00025", "D:\\MAFW\\00025.mp4"])
def test_a_clip_of_any_list_has_one_name(path: str) -> None:
    assert clips.numbered_clip(path, "list") == "00025"


def test_a_clip_without_a_number_is_refused() -> None:
    with pytest.raises(UserError, match="list: expected the number of a clip as a whole number, got 'x25'"):
        clips.numbered_clip("x25.mp4", "list")


def test_the_first_usual_folder_that_is_there_is_taken(tmp_path: Path) -> None:
    assert clips.clips_folder(tmp_path, None, ("data/faces", "data/clips")) == "data/faces"
    (tmp_path / "data/clips").mkdir(parents=True)
    assert clips.clips_folder(tmp_path, None, ("data/faces", "data/clips")) == "data/clips"
    (tmp_path / "mine").mkdir()
    assert clips.clips_folder(tmp_path, "./mine/", ("data/faces",)) == "mine"


@pytest.mark.parametrize("chosen", ["nowhere", "../elsewhere", "/etc", "link"])
def test_a_folder_of_clips_lies_in_the_data_set(tmp_path: Path, chosen: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="expected"):
        clips.clips_folder(root, chosen, ("data/clips",))


def test_options_are_checked() -> None:
    assert ClipOptions(sampling="window", frames=8, stride=2).sampler() == Sampling("window", 8, 2)
    for cls, settings, message in (
        (ClipOptions, {"stride": 2}, "stride: expected 1 with segments"),
        (ClipOptions, {"frames": 0}, "frames: expected at least 1"),
        (FoldOptions, {"fold": 6}, "fold: expected 1 to 5, got 6"),
        (ListedOptions, {"lists": "others"}, "unknown value"),
        (ListedOptions, {"fold": 1}, "unknown setting"),
    ):
        with pytest.raises(UserError, match=message):
            config.build(cls, settings, "data")


def test_lists_lie_in_the_data_set_or_where_the_option_says(tmp_path: Path) -> None:
    assert clips.lists_folder(tmp_path, ListedOptions()) == tmp_path
    assert clips.lists_folder(tmp_path / "data", ListedOptions(lists_root=str(tmp_path))) == tmp_path
    with pytest.raises(UserError, match="lists_root: expected the folder of the mae-dfer lists"):
        clips.lists_folder(tmp_path, ListedOptions(lists="mae-dfer", lists_root=str(tmp_path / "nowhere")))
