"""The cache: built once, read back, rebuilt when damaged, never in the way."""

import os
import time
from types import SimpleNamespace

import numpy as np
import pytest

from fer_core.data import cache
from fer_core.data.cache import built_array, cached_array, content_hash
from fer_core.errors import UserError
from fer_core.folders import cache_folder

ARRAY = np.arange(600, dtype=np.uint8).reshape(6, 100)


def test_builds_once_and_reads_back() -> None:
    built = cached_array("faces-1", lambda: ARRAY)
    again = cached_array("faces-1", lambda: pytest.fail("built twice"))
    np.testing.assert_array_equal(built, ARRAY)
    np.testing.assert_array_equal(again, ARRAY)
    assert isinstance(again, np.memmap)
    assert not again.flags.writeable
    assert [path.name for path in cache_folder().iterdir()] == [f"faces-1.{content_hash(ARRAY)}.npy"]


def test_keys_do_not_mix() -> None:
    cached_array("faces-1", lambda: ARRAY)
    np.testing.assert_array_equal(cached_array("faces-10", lambda: ARRAY[:1]), ARRAY[:1])


@pytest.mark.parametrize("damage", ["truncated", "changed", "emptied", "zip"])
def test_rebuilds_a_damaged_file(damage: str, caplog: pytest.LogCaptureFixture) -> None:
    cached_array("faces-1", lambda: ARRAY)
    (path,) = cache_folder().iterdir()
    content = path.read_bytes()
    damaged = {"truncated": content[:-7], "changed": content[:-1] + b"\x00", "emptied": b"", "zip": b"PK\x03\x04"}
    path.write_bytes(damaged[damage])
    np.testing.assert_array_equal(cached_array("faces-1", lambda: ARRAY), ARRAY)
    assert "is damaged; building it anew" in caplog.text
    np.testing.assert_array_equal(cached_array("faces-1", lambda: pytest.fail("not rebuilt")), ARRAY)


def test_works_without_a_writable_folder(tmp_path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "file" / "cache"))
    np.testing.assert_array_equal(cached_array("faces-1", lambda: ARRAY), ARRAY)
    assert "set FER_CACHE" in caplog.text


def test_a_failed_build_leaves_nothing() -> None:
    def fails() -> np.ndarray:
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError, match="no luck"):
        cached_array("faces-1", fails)
    assert not cache_folder().exists()


def test_clears_what_a_killed_process_left() -> None:
    cache_folder().mkdir(parents=True)
    old, new = cache_folder() / ".old.0123abcd.tmp", cache_folder() / ".new.0123abcd.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    cached_array("faces-1", lambda: ARRAY)
    assert (old.exists(), new.exists()) == (False, True)


def test_content_hash_sees_type_shape_and_bytes() -> None:
    changed = ARRAY.copy()
    changed[3, 3] += 1
    others = [ARRAY.reshape(100, 6), ARRAY.view(np.int8), changed]
    assert len({content_hash(array) for array in (ARRAY, *others)}) == 4
    assert content_hash(np.asfortranarray(ARRAY)) == content_hash(ARRAY)


def fill(array: np.ndarray) -> None:
    array[:] = ARRAY


def refuse(_: np.ndarray) -> None:
    pytest.fail("built twice")


def test_builds_a_large_array_on_disk() -> None:
    built = built_array("store-1", ARRAY.shape, np.uint8, fill)
    again = built_array("store-1", ARRAY.shape, np.uint8, refuse)
    for array in (built, again):
        np.testing.assert_array_equal(array, ARRAY)
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
    assert [path.name for path in cache_folder().iterdir()] == ["store-1.npy"]


def test_builds_a_truncated_store_anew() -> None:
    built_array("store-1", ARRAY.shape, np.uint8, fill)
    path = cache_folder() / "store-1.npy"
    path.write_bytes(path.read_bytes()[:-50])
    np.testing.assert_array_equal(built_array("store-1", ARRAY.shape, np.uint8, fill), ARRAY)


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError])
def test_half_a_store_leaves_nothing(error: type[BaseException]) -> None:
    def half(array: np.ndarray) -> None:
        array[:3] = 1
        raise error("stop")

    with pytest.raises(error, match="stop"):
        built_array("store-1", ARRAY.shape, np.uint8, half)
    assert list(cache_folder().iterdir()) == []


def test_a_store_needs_a_folder_to_write(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"expected to write the store there, got: .*leave store out"):
        built_array("store-1", ARRAY.shape, np.uint8, fill)
    with pytest.raises(UserError, match=r"a folder that can be written, or keep less$"):
        built_array("store-1", ARRAY.shape, np.uint8, fill, "keep less")


def test_a_store_needs_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    with pytest.raises(UserError, match=r"GiB of free space for the store, .* larger disk, or leave store out$"):
        built_array("store-1", ARRAY.shape, np.uint8, fill)
    with pytest.raises(UserError, match=r"larger disk, or keep less$"):
        built_array("store-1", ARRAY.shape, np.uint8, fill, "keep less")
