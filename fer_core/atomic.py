"""Files that are there whole or not at all, however a process ends."""

import errno
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

TEMPORARY = ".tmp"  # ends the names of files and folders that are not yet whole; a dot starts them
_OURS = re.compile(r"\..+\.[0-9a-f]{8}\.tmp", re.DOTALL)
_LEFTOVER_SECONDS = 3600  # a temporary file older than this belongs to a process that was killed


@contextmanager
def replacing(path: Path, sync: bool = True, clear: bool = True) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place when the block ends.

    The folder is made if it is missing, and cleared of what killed processes left there. The file's content reaches
    the disk before the file gets its name, so that even a power cut leaves the old file or the new one. An exception
    or an interrupt inside the block removes the temporary file and leaves ``path`` as it was.

    Args:
        path: The file to write.
        sync: Whether content and name reach the disk before the block's end. Without it a power cut may leave a
            damaged file: for small files whose damage is noticed, and whose making takes less time than the disk.
        clear: Whether to clear the folder. For a folder of very many files, which would be listed for each of them,
            call :func:`remove_leftovers` once instead.

    Yields:
        The temporary file, empty; its name ends with ``.tmp``.

    Raises:
        OSError: If the folder cannot be written to or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if clear:
        remove_leftovers(path.parent)
    temporary = beside(path)
    try:
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode
        yield temporary
        if temporary.stat().st_mode != mode:  # safetensors puts a file there that only its owner may read
            temporary.chmod(mode)
        if sync:
            _sync(temporary)
        temporary.replace(path)
    except BaseException:  # an interrupt too must leave nothing behind
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        _sync(path.parent)


def beside(path: Path) -> Path:
    """A name, not yet taken, for what becomes ``path`` once it is whole; :func:`remove_leftovers` knows it again."""
    return path.parent / f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}"


def check(path: Path) -> None:
    """Looks whether a file could be written to a place, so that nobody learns that after hours of work.

    Nothing is made; a disk may be full all the same.

    Raises:
        OSError: If the path is a folder's, or leads through a file or a folder that must not be written to.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    folder = next(each for each in path.absolute().parents if each.exists())
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def keep(path: Path, write: Callable[[Path], object], sync: bool = True, clear: bool = True) -> bool:
    """Writes a file of the cache folder, which only saves time: where that fails, the work goes on without it.

    Args:
        path: The file.
        write: Writes its content to the path that it is given; a disk that is full shows as ``OSError``.
        sync: As :func:`replacing`.
        clear: As :func:`replacing`.

    Returns:
        Whether the file is there; if not, one warning has said why and named ``FER_CACHE``.
    """
    try:
        with replacing(path, sync, clear) as temporary:
            write(temporary)
    except OSError as error:
        logger.warning(
            "cannot keep %s in %s (%s): free some space, or set FER_CACHE to a folder that can be written to",
            path.name,
            path.parent,
            error.strerror or error,
        )
        return False
    return True


def remove_leftovers(folder: Path, below: str = "") -> None:
    """Removes temporary files and folders of ours that are older than an hour: killed processes left them.

    Args:
        folder: Where to look; it need not be there.
        below: A pattern of the folders below it to look into instead, such as ``"*/"``; ``"**/"`` for itself and all.
    """
    for leftover in folder.glob(f"{below}.*{TEMPORARY}"):
        if not _OURS.fullmatch(leftover.name):
            continue  # another program's, in a folder of the user's
        try:
            if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        except OSError:  # another process was faster, or it is not ours to remove
            continue


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
