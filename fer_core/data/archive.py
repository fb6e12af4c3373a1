"""Reading a split's files from a folder or straight from its zip, without trusting the zip.

Nothing is ever unpacked to disk: a member is read into memory by its name, after every entry of the archive was
checked for path traversal, links, encryption, doubled names and implausible sizes.
"""

import hashlib
import os
import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from fer_core.errors import UserError

MAX_MEMBERS = 1_000_000
MAX_BYTES = 64 * 2**20  # of one file; the largest of an official set (a label list) has 1.5 MB


class Source(ABC):
    """A set of files, to be closed after use.

    Attributes:
        where: How messages name it.
    """

    where: str

    @abstractmethod
    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        """A file's bytes.

        Raises:
            UserError: If the file is missing, damaged, or larger than ``limit`` bytes.
        """

    @abstractmethod
    def names(self) -> list[str]:
        """All file names, sorted; where folders are looked into, with ``/`` between folder and name."""

    @abstractmethod
    def stamp(self) -> str:
        """Changes when a file is added, removed or changed; costs no reading."""

    @abstractmethod
    def close(self) -> None:
        """Closes what is open."""


def _missing(where: str, name: str) -> UserError:
    return UserError(f"{where}: expected a file {name!r}, found none; restore the official layout")


def _too_large(where: str, name: str, size: int, limit: int) -> UserError:
    return UserError(f"{where}: expected {name!r} to have at most {limit} bytes, got {size}; restore the official file")


class Folder(Source):
    """The files that lie in one folder.

    Args:
        path: The folder.
        depth: Levels of folders in it that are looked into, too; links to folders are not.
    """

    def __init__(self, path: Path, depth: int = 0) -> None:
        self.path, self.where, self.depth = path, str(path), depth

    def _files(self) -> list[tuple[str, os.DirEntry[str]]]:
        return sorted(self._within(self.path, "", self.depth), key=lambda found: found[0])

    def _within(self, folder: Path, prefix: str, depth: int) -> Iterator[tuple[str, os.DirEntry[str]]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file():
                    yield prefix + entry.name, entry
                elif depth and entry.is_dir(follow_symlinks=False):
                    yield from self._within(Path(entry.path), f"{prefix}{entry.name}/", depth - 1)

    def names(self) -> list[str]:
        """See :meth:`Source.names`."""
        return [name for name, _ in self._files()]

    def stamp(self) -> str:
        """See :meth:`Source.stamp`."""
        digest = hashlib.sha256()
        for name, entry in self._files():
            status = entry.stat()
            # A stray file's name may be of any bytes.
            digest.update(os.fsencode(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"))
        return digest.hexdigest()[:16]

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        """See :meth:`Source.read`."""
        try:
            with open(self.path / name, "rb") as file:
                content = file.read(limit + 1)
        except FileNotFoundError:
            raise _missing(self.where, name) from None
        except OSError as error:
            raise UserError(f"{self.where}: expected to read {name!r}, got: {error.strerror}; mend access") from error
        if len(content) > limit:
            raise _too_large(self.where, name, (self.path / name).stat().st_size, limit)
        return content

    def close(self) -> None:
        """See :meth:`Source.close`; nothing is open."""


class Archive(Source):
    """The files of one folder inside a zip, or all of them.

    Args:
        path: The zip.
        folder: Name of the folder inside, whose files go by their plain names and may also lie at the zip's top; None
            for all files of all folders, by their paths.

    Raises:
        UserError: If the zip is damaged or an entry of it is not what a data set holds.
    """

    def __init__(self, path: Path, folder: str | None) -> None:
        self.where = str(path)
        self._zip = _opened(path)
        try:
            self._members = self._checked(folder)
        except UserError:
            self._zip.close()
            raise

    def _checked(self, folder: str | None) -> dict[str, zipfile.ZipInfo]:
        members: dict[str, zipfile.ZipInfo] = {}
        entries = self._zip.infolist()
        if len(entries) > MAX_MEMBERS:
            raise UserError(
                f"{self.where}: expected at most {MAX_MEMBERS} entries, got {len(entries)}; use the official zip"
            )
        for entry in entries:
            parts = entry.filename.rstrip("/").split("/")
            ours = not entry.is_dir() and (folder is None or parts[:-1] in ([], [folder]))
            name = "/".join(parts) if folder is None else parts[-1]
            reason = None
            if "\\" in entry.filename or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
                reason = "its path leads out of the archive"
            elif stat.S_ISLNK(entry.external_attr >> 16):
                reason = "it is a link"
            elif entry.flag_bits & 1:
                reason = "it is encrypted"
            elif entry.file_size > MAX_BYTES:
                reason = f"it unpacks to {entry.file_size} bytes"
            elif ours and name in members:
                reason = "its name comes twice"
            if reason is not None:
                raise UserError(
                    f"{self.where}: expected plain files only, got the entry {entry.filename!r} ({reason}); "
                    "use the official zip"
                )
            if ours:
                members[name] = entry
        return members

    def names(self) -> list[str]:
        """See :meth:`Source.names`."""
        return sorted(self._members)

    def stamp(self) -> str:
        """See :meth:`Source.stamp`."""
        digest = hashlib.sha256()
        for name, entry in sorted(self._members.items()):
            digest.update(f"{name}\0{entry.file_size}\0{entry.CRC}\n".encode())
        return digest.hexdigest()[:16]

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        """See :meth:`Source.read`."""
        entry = self._members.get(name)
        if entry is None:
            raise _missing(self.where, name)
        if entry.file_size > limit:
            raise _too_large(self.where, name, entry.file_size, limit)
        try:
            # zipfile stops at the size that the directory states, so a lying header cannot unpack to more.
            return self._zip.read(entry)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
            raise UserError(
                f"{self.where}: expected {name!r} whole, got it damaged ({error}); copy the zip again"
            ) from error

    def close(self) -> None:
        """See :meth:`Source.close`."""
        self._zip.close()


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, NotImplementedError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected a whole zip, got a damaged one ({error}); copy it again") from error


def member_names(path: Path) -> list[str]:
    """What a zip says that it holds, unchecked: to tell what it is before an :class:`Archive` reads it.

    Raises:
        UserError: If the zip is damaged.
    """
    with _opened(path) as found:
        return found.namelist()


def open_split(folders: list[Path], stem: str) -> Source:
    """The folder ``stem`` or the file ``stem.zip``, whichever is found first in the given folders.

    Args:
        folders: Where to look, in this order.
        stem: The split's official name.

    Raises:
        UserError: If neither is there, or what is there is empty.
    """
    for folder in folders:
        source: Source | None = None
        if (folder / stem).is_dir():
            source = Folder(folder / stem)
        elif (folder / f"{stem}.zip").is_file():
            source = Archive(folder / f"{stem}.zip", stem)
        if source is None:
            continue
        if not source.names():
            source.close()
            raise UserError(f"{source.where}: expected the split's files, got none; restore the official layout")
        return source
    looked = ", ".join(map(str, folders))
    raise UserError(
        f"expected {stem}/ or {stem}.zip, found neither in {looked}; point --data-root or FER_DATA_ROOT to their folder"
    )
