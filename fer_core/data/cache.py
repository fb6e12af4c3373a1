"""Arrays that took time to make, kept in a cache folder as memory-mapped ``.npy`` files."""

import hashlib
import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fer_core import atomic
from fer_core.errors import NoRoomError
from fer_core.folders import cache_folder

logger = logging.getLogger(__name__)


def cached_array(key: str, build: Callable[[], np.ndarray]) -> np.ndarray:
    """The array that ``build`` makes, built once and then read from the cache folder.

    The file's name carries the key and the content's SHA-256. A file whose content no longer matches is removed and
    built anew. Writing is atomic; a cache folder that cannot be written only costs time.

    Args:
        key: Names what the array was made from; letters, digits, ``-`` and ``_``.
        build: Makes the array; called where no sound file is found.

    Returns:
        The array, read-only and memory-mapped where it came from a file.
    """
    folder = cache_folder()
    for path in sorted(folder.glob(f"{key}.*.npy")):
        array = _load(path)
        if array is not None and path.name.split(".")[-2] == content_hash(array):
            return array
        logger.warning("the cached file %s is damaged; building it anew", path.name)
        path.unlink(missing_ok=True)
    array = build()
    target = folder / f"{key}.{content_hash(array)}.npy"

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # np.save adds a suffix to a path
            np.save(file, array, allow_pickle=False)

    return np.load(target, mmap_mode="r", allow_pickle=False) if atomic.keep(target, write) else array


def content_hash(array: np.ndarray) -> str:
    """SHA-256 of an array's type, shape and bytes, its first 16 hex digits."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _load(path: Path) -> np.ndarray | None:
    try:
        with path.open("rb") as file:  # np.load would take a zip, too
            np.lib.format.read_magic(file)
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def built_array(
    key: str,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    fill: Callable[[np.ndarray], None],
    otherwise: str = "leave store out",
) -> np.ndarray:
    """A large array, built once on disk and then memory-mapped from the cache folder.

    Unlike :func:`cached_array` it never needs the array's size in memory, and opening it reads no more than its
    header: the key must change with everything that the content depends on.

    Args:
        key: Names what the array is made from; letters, digits, ``-`` and ``_``.
        shape: Its shape.
        dtype: Its type.
        fill: Writes every element of the array, which lies in a temporary file; called where no whole file is found.
        otherwise: What a user can do where the array finds no room, beside giving it some.

    Returns:
        The array, read-only and memory-mapped.

    Raises:
        NoRoomError: If the cache folder cannot hold the array.
    """
    folder, target = cache_folder(), cache_folder() / f"{key}.npy"
    found = _load(target)
    if found is not None and found.shape == shape and found.dtype == dtype:
        return found
    need = math.prod(shape) * np.dtype(dtype).itemsize
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if need > free:
            raise NoRoomError(
                f"{folder}: expected {need / 2**30:.1f} GiB of free space for the store, got {free / 2**30:.1f}; "
                f"set FER_CACHE to a larger disk, or {otherwise}"
            )
        logger.info("building a store of %.0f MiB in %s, once", need / 2**20, folder)
        with atomic.replacing(target) as temporary:
            array = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
            fill(array)
            array.flush()
            del array
    except OSError as error:
        raise NoRoomError(
            f"{folder}: expected to write the store there, got: {error.strerror}; set FER_CACHE to a folder that can "
            f"be written, or {otherwise}"
        ) from error
    return np.load(target, mmap_mode="r", allow_pickle=False)
