"""Files that are there whole or not at all."""

import os
import stat
import time

import pytest
import torch
from safetensors.torch import save_file

from fer_core import atomic


def test_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "deep" / "file"
    with atomic.replacing(path) as temporary:
        temporary.write_text("one")

    def interrupted():
        with atomic.replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "one"
    assert list(path.parent.iterdir()) == [path]


def test_clears_what_killed_processes_left_and_nothing_else(tmp_path):
    old, young, other = tmp_path / ".a.12345678.tmp", tmp_path / ".b.12345678.tmp", tmp_path / "mine.tmp"
    for file in (old, young, other):
        file.touch()
    for file in (old, other):
        os.utime(file, (time.time() - 7200,) * 2)
    with atomic.replacing(tmp_path / "file") as temporary:
        temporary.write_text("x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.12345678.tmp", "file", "mine.tmp"]


def test_keeping_is_a_saving_that_may_fail(tmp_path, caplog):
    assert atomic.keep(tmp_path / "file", lambda path: path.write_text("x"))

    def full(path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    assert not atomic.keep(tmp_path / "other", full)
    (warning,) = caplog.messages
    assert warning.startswith("cannot keep other in ")
    assert "(No space left on device): free some space, or set FER_CACHE" in warning
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_neither_synced_nor_cleared_where_that_would_take_longer(tmp_path, monkeypatch):
    old = tmp_path / ".a.12345678.tmp"
    old.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("synced"))
    assert atomic.keep(tmp_path / "file", lambda path: path.write_text("x"), sync=False, clear=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.12345678.tmp", "file"]


def test_clears_folders_below_and_folders_that_are_not_whole(tmp_path):
    names = (".o.0123abcd.tmp", "a/.i.0123abcd.tmp", "a/b/.d.0123abcd.tmp")
    outer, inner, deep = (tmp_path / name for name in names)
    for folder in (outer, inner, deep):
        folder.mkdir(parents=True)
        (folder / "1.png").touch()
        os.utime(folder, (time.time() - 7200,) * 2)
    atomic.remove_leftovers(tmp_path, "*/")
    assert (outer.exists(), inner.exists(), deep.exists()) == (True, False, True)
    atomic.remove_leftovers(tmp_path, "**/")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "b"]
    atomic.remove_leftovers(tmp_path / "nowhere")


def test_another_programs_temporary_files_stay(tmp_path):
    for name in (".notes.tmp", ".editor.4f.tmp", ".tmp", ".a.0123ABCD.tmp"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - 7200,) * 2)
    before = sorted(tmp_path.iterdir())
    atomic.remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_who_may_read_a_file_is_decided_by_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        for path, write in (
            (tmp_path / "plain", lambda at: at.write_text("1")),
            (tmp_path / "weights", lambda at: save_file({"a": torch.ones(2)}, at)),
        ):
            with atomic.replacing(path) as temporary:
                write(temporary)
            assert stat.S_IMODE(path.stat().st_mode) == 0o640, path.name
    finally:
        os.umask(before)
