"""Drawn people for miniatures, and miniatures that appear whole or not at all."""

from dataclasses import replace

import numpy as np
import pytest

from fer_core.data import CLASSES, demo, layout
from fer_core.data.demo import DemoFaces
from fer_core.errors import UserError


def test_stills_show_each_class_in_turn_and_never_twice_the_same():
    stills = DemoFaces().stills(("anger", "contempt"), per_class=2, size=32)
    assert [still.class_name for still in stills] == ["anger", "contempt"] * 2
    assert [still.subject for still in stills] == [0, 0, 1, 1]
    for still in stills:
        assert still.image.shape == (32, 32, 3)
        assert still.image.dtype == np.uint8
        assert still.image.std() > 10
    assert len({still.image.tobytes() for still in stills}) == 4


def test_ten_annotators_agree_by_majority_on_what_was_meant():
    for still in DemoFaces(1).stills(CLASSES, per_class=2, size=32):
        assert still.votes.shape == (8,)
        assert still.votes.sum() == 10
        assert 2 * still.votes[CLASSES.index(still.class_name)] > 10


def test_clips_move_and_are_told_in_words():
    clips = DemoFaces().clips(("neutral", "pain"), per_class=2, frames=3, size=64)
    assert [clip.class_name for clip in clips] == ["neutral", "pain"] * 2
    for clip in clips:
        assert clip.frames.shape == (3, 64, 64, 3)
        assert all((one != other).any() for one, other in zip(clip.frames, clip.frames[1:], strict=False))
        assert len(clip.caption.split()) > 1
        assert clip.landmarks.shape == (3, 68, 2)
        face = clip.landmarks[:, :17]  # its jaw frames it: ears left and right of the middle, chin below
        assert (face[:, 0, 0] < 0.5).all()
        assert (face[:, 16, 0] > 0.5).all()
        assert (face[:, 8, 1] > 0.5).all()


def test_equal_seeds_give_equal_faces_and_each_call_other_people():
    faces = DemoFaces(3)
    first, second = (faces.stills(("fear",), per_class=2, size=32) for _ in range(2))
    again = DemoFaces(3).stills(("fear",), per_class=2, size=32)
    assert all((one.image == other.image).all() for one, other in zip(first, again, strict=True))
    assert [still.subject for still in second] == [2, 3]
    assert not any((one.image == other.image).all() for one, other in zip(first, second, strict=True))
    other = DemoFaces(4).stills(("fear",), per_class=2, size=32)
    assert not any((one.image == two.image).all() for one, two in zip(first, other, strict=True))


def test_one_person_may_show_everything():
    clips = DemoFaces().clips(("neutral", "stress"), per_class=2, frames=2, size=32, people=1)
    assert {clip.subject for clip in clips} == {0}


@pytest.fixture
def small(monkeypatch):
    """A data set whose miniature is two files; ``fail`` makes writing end half way."""
    made = {}

    def write(root, faces):
        (root / "lists").mkdir()
        (root / "lists" / "one.txt").write_text("one")
        if "fail" in made:
            raise made["fail"]
        (root / "two.txt").write_text("three")

    monkeypatch.setitem(layout.LAYOUTS, "small", replace(layout.LAYOUTS["raf-db"], name="small", demo=write))
    return made


@pytest.mark.parametrize("there", [False, True])
def test_a_miniature_is_written_to_a_new_or_an_empty_folder(small, tmp_path, there):
    root = tmp_path / "some where" / "demo"
    if there:
        root.mkdir(parents=True)
    written = demo.write("small", root)
    assert written == demo.Written("small", root, files=2, bytes=8)
    assert (root / "lists" / "one.txt").read_text() == "one"
    assert [path.name for path in root.parent.iterdir()] == ["demo"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_lies_there_is_never_overwritten(small, tmp_path, kind):
    root = tmp_path / "demo"
    if kind == "folder":
        root.mkdir()
        (root / "mine").touch()
    else:
        root.write_text("mine")
    with pytest.raises(UserError, match=r"expected .* to be an empty or a new folder, got one in use"):
        demo.write("small", root)
    assert root.is_file() or [path.name for path in root.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("fail", "raised"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "full"), UserError)]
)
def test_a_miniature_that_was_not_finished_is_not_there(small, tmp_path, fail, raised):
    small["fail"] = fail
    with pytest.raises(raised):
        demo.write("small", tmp_path / "demo")
    assert list(tmp_path.glob("*demo*")) == []


def test_an_unknown_data_set_is_told_before_anything_is_made(tmp_path):
    with pytest.raises(UserError, match="unknown licensed data set 'raf-bd'; did you mean 'raf-db'"):
        demo.write("raf-bd", tmp_path / "demo")
    assert not (tmp_path / "demo").exists()
