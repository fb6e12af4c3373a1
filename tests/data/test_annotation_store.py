import logging
import multiprocessing
import os
import time

import numpy as np
import pytest

from fer_core.data.annotation_store import AnnotationStore
from fer_core.data.annotations import Annotation


class Counting:
    """Annotates by the pixels and counts how often it is asked."""

    name, by_pixels = "counting", True

    def __init__(self, version="1"):
        self.version, self.asked = version, 0

    def annotate(self, image, origin=None):
        self.asked += 1
        if not image.any():
            return None
        rng = np.random.default_rng(int(image.sum()))
        return Annotation(rng.random((68, 2), dtype=np.float32), rng.integers(0, 10, image.shape[:2], dtype=np.uint8))


def image(number, shape=(20, 30, 3)):
    return np.full(shape, number, dtype=np.uint8)


def same(first, second):
    np.testing.assert_array_equal(first.landmarks, second.landmarks)
    np.testing.assert_array_equal(first.parsing, second.parsing)


@pytest.fixture
def store(tmp_path):
    return AnnotationStore(tmp_path / "store")


def test_made_once(store):
    annotator = Counting()
    first = store.annotate(annotator, image(1))
    same(store.annotate(annotator, image(1)), first)
    same(AnnotationStore(store.folder).annotate(annotator, image(1)), first)
    same(Counting().annotate(image(1)), first)
    assert annotator.asked == 1


def test_no_face_is_kept_too(store):
    annotator = Counting()
    assert [store.annotate(annotator, image(0)) for _ in range(3)] == [None] * 3
    assert annotator.asked == 1


def test_keys_tell_apart_pixels_shapes_names_and_versions(store):
    other = Counting("2")
    other_name = Counting()
    other_name.name = "other"
    paths = [
        store.path(Counting(), image(1)), store.path(Counting(), image(2)), store.path(other, image(1)),
        store.path(other_name, image(1)), store.path(Counting(), image(1, (30, 20, 3))),
    ]  # fmt: skip
    assert len(set(paths)) == 5
    assert store.path(Counting(), image(1).copy()) == paths[0]


def test_answers_that_do_not_follow_from_the_pixels_are_not_kept(store):
    annotator = Counting()
    annotator.by_pixels = False
    store.annotate(annotator, image(1))
    store.annotate(annotator, image(1))
    assert annotator.asked == 2
    assert not store.folder.exists()


def flip(content):
    """One bit in the middle of the data."""
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


@pytest.mark.parametrize(
    "damage", [flip, lambda content: content[:-30], lambda content: b"", lambda content: b"\x93NUMPY" + content]
)
def test_damage_is_noticed_and_mended(store, damage, caplog):
    annotator = Counting()
    first = store.annotate(annotator, image(1))
    place = store.path(annotator, image(1))
    place.write_bytes(damage(place.read_bytes()))
    with caplog.at_level(logging.WARNING):
        same(store.annotate(annotator, image(1)), first)
    assert "is damaged; making it anew" in caplog.text
    same(store.annotate(annotator, image(1)), first)
    assert annotator.asked == 2


@pytest.mark.parametrize(
    "content",
    [
        {"landmarks": np.zeros((68, 2), np.float32)},
        {"landmarks": np.zeros((5, 2), np.float32), "parsing": np.zeros((20, 30), np.uint8)},
        {"landmarks": np.zeros((68, 2), np.float64), "parsing": np.zeros((20, 30), np.uint8)},
        {"landmarks": np.zeros((68, 2), np.float32), "parsing": np.zeros((10, 10), np.uint8)},
        {"landmarks": np.array([{"pickled": 1}]), "parsing": np.zeros((20, 30), np.uint8)},
    ],
)
def test_files_that_hold_something_else_are_made_anew(store, content):
    annotator = Counting()
    place = store.path(annotator, image(1))
    place.parent.mkdir(parents=True)
    np.savez(place, **content)
    same(store.annotate(annotator, image(1)), Counting().annotate(image(1)))
    assert annotator.asked == 1


def test_nothing_is_left_of_an_interrupt(store, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.annotate(Counting(), image(1))
    assert not [path for path in store.folder.rglob("*") if path.is_file()]


def test_leftovers_of_killed_processes_go(store):
    store.annotate(Counting(), image(1))
    folder = store.path(Counting(), image(1)).parent
    old, new = folder / ".old.0123abcd.tmp", folder / ".new.0123abcd.tmp"
    for path in (old, new):
        path.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    AnnotationStore(store.folder)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path, caplog):
    (tmp_path / "file").touch()
    store, annotator = AnnotationStore(tmp_path / "file" / "store"), Counting()
    with caplog.at_level(logging.WARNING):
        first = store.annotate(annotator, image(1))
        same(store.annotate(annotator, image(1)), first)
    assert annotator.asked == 2
    assert caplog.text.count("cannot keep ") == 1


def _fill(folder):
    store = AnnotationStore(folder)
    for number in range(30):
        store.annotate(Counting(), image(number))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the children use no thread of ours
def test_several_processes_may_write(tmp_path):
    context = multiprocessing.get_context("fork") if hasattr(os, "fork") else multiprocessing.get_context()
    workers = [context.Process(target=_fill, args=(tmp_path / "store",)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    store, annotator = AnnotationStore(tmp_path / "store"), Counting()
    for number in range(30):
        expected = Counting().annotate(image(number))
        found = store.annotate(annotator, image(number))
        assert found is None if expected is None else same(found, expected) is None
    assert annotator.asked == 0
    assert not list(store.folder.rglob("*.tmp"))


def test_the_default_folder_is_in_the_cache(tmp_path):
    AnnotationStore().annotate(Counting(), image(1))
    assert list((tmp_path / "cache" / "annotations").rglob("*.npz"))
