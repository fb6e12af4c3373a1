"""What the lists of licensed data sets have in common: how they are found and read.

Lists travel: they name the clips of the machine they were made on, end with or without a line end, and come from
Windows as often as from elsewhere. So paths are cut to the names that tell one clip from another, and whatever is
wrong is told with the list's name and line.
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from fer_core.data import frames
from fer_core.errors import UserError

Item = TypeVar("Item")

_MAX_BYTES = 2**28  # the longest list known, of BAH's frames, has about 2**26
_RESTORE = "restore the official file"


class Row(NamedTuple):
    """One line of a list; the longest lists have half a million.

    Args:
        columns: Its fields, blanks around them removed.
        list: The list's file name.
        line: The line's number, from 1.
    """

    columns: tuple[str, ...]
    list: str
    line: int

    @property
    def where(self) -> str:
        """The file's name and the line, for messages."""
        return f"{self.list}, line {self.line}"


def find(folder: Path, candidates: Sequence[str], what: str) -> Path:
    """The first of several places that is there.

    Args:
        folder: Where to look.
        candidates: Paths relative to it, the official one first.
        what: What is looked for, for the message.

    Raises:
        UserError: If none is there.
    """
    for candidate in candidates:
        if (folder / candidate).exists():
            return folder / candidate
    others = f" (or {', '.join(candidates[1:])})" if len(candidates) > 1 else ""
    raise UserError(
        f"{what}: expected {candidates[0]}{others} in {folder}, got neither file nor folder; "
        "unpack the release there, or point to the folder that holds it"
    )


def read_text(path: Path, encodings: Sequence[str] = ("utf-8-sig",)) -> str:
    """A text file, in the first encoding that fits.

    Raises:
        UserError: If it cannot be read, is larger than any list can be, or fits no encoding.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path.name}: expected a list below {_MAX_BYTES >> 20} MiB, got a larger file; {_RESTORE}")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: expected a readable list, got: {error.strerror or error}; {_RESTORE}") from error
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    wanted = " or ".join(encoding.removesuffix("-sig") for encoding in encodings)
    raise UserError(f"{path.name}: expected text in {wanted}, got other bytes; {_RESTORE}")


def split_rows(
    path: Path,
    columns: Sequence[str],
    separator: str | None = None,
    *,
    from_left: bool = False,
    encodings: Sequence[str] = ("utf-8-sig",),
) -> list[Row]:
    """Reads a list without a header.

    Args:
        path: The list.
        columns: What its columns hold, for messages.
        separator: What stands between columns; None for blanks.
        from_left: Whether the last column may hold separators (a transcript); otherwise the first may (a path).
        encodings: Tried in turn.

    Returns:
        Its lines, empty ones left out.

    Raises:
        UserError: If it cannot be read, a line has fewer columns, or there is no line.
    """
    rows = []
    # Not splitlines(), which also ends a line at signs that stand in captions.
    for number, line in enumerate(io.StringIO(read_text(path, encodings), newline=None), start=1):
        text = line.strip() if separator is None else line.strip(" \n")  # a last column may be empty
        if not text:
            continue
        cuts = len(columns) - 1
        parts = text.split(separator, cuts) if from_left else text.rsplit(separator, cuts)
        row = Row(tuple([part.strip() for part in parts]), path.name, number)
        if len(parts) != len(columns):
            raise UserError(f"{row.where}: expected {', '.join(columns)}, got {_short(text)}; {_RESTORE}")
        rows.append(row)
    return _not_empty(rows, path)


def table_rows(path: Path, columns: Sequence[str], separator: str = ",") -> list[Row]:
    """Reads some columns of a table with a header.

    Args:
        path: The table.
        columns: The names of the columns wanted.
        separator: What stands between columns.

    Returns:
        Its rows, with the wanted columns in the wanted order.

    Raises:
        UserError: If it cannot be read, lacks a column, has a short row, or has no row.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=separator)
    rows: list[Row] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in columns if name not in header]
        if missing:
            raise UserError(
                f"{path.name}: expected a column {missing[0]!r}, got {_short(', '.join(header))}; {_RESTORE}"
            )
        places = [header.index(name) for name in columns]
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) <= max(places):
                where = f"{path.name}, line {reader.line_num}"
                raise UserError(f"{where}: expected {len(header)} columns, got {len(cells)}; {_RESTORE}")
            rows.append(Row(tuple(cells[place].strip() for place in places), path.name, reader.line_num))
    except csv.Error as error:
        raise UserError(f"{path.name}: expected a table, got: {error}; {_RESTORE}") from error
    return _not_empty(rows, path)


def _not_empty(rows: list[Row], path: Path) -> list[Row]:
    if not rows:
        raise UserError(f"{path.name}: expected at least one clip, got an empty list; {_RESTORE}")
    return rows


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def cut(path: str, parts: int, where: str) -> tuple[str, ...]:
    """The last parts of a path that was written on another machine.

    Args:
        path: As the list has it, with slashes or backslashes.
        parts: How many of its last parts name the clip below the data set's folder.
        where: What messages name.

    Returns:
        Those parts; joined to a folder they cannot leave it.

    Raises:
        UserError: If there are fewer parts, or one of them is no plain name.
    """
    kept = tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))[-parts:]
    if len(kept) < parts or any(part == ".." or ":" in part or "\0" in part for part in kept):
        raise UserError(
            f"{where}: expected a path that ends with {parts} plain name{'s' if parts > 1 else ''}, "
            f"got {_short(path)}; {_RESTORE}"
        )
    return kept


def whole_number(text: str, what: str, where: str) -> int:
    """A count or an identifier from a list.

    Raises:
        UserError: If it is no whole number of at most nine digits.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise UserError(f"{where}: expected {what} as a whole number, got {_short(text)}; {_RESTORE}")
    return int(text)


def once(rows: Iterable[tuple[str, Item]], where: str) -> dict[str, Item]:
    """Items by name, each name once.

    Raises:
        UserError: If a name comes twice.
    """
    items: dict[str, Item] = {}
    for name, item in rows:
        if name in items:
            raise UserError(f"{where}: expected each clip once, got {name!r} twice; {_RESTORE}")
        items[name] = item
    return items


def _clips(folder: Path) -> list[Path]:
    """Folders and videos; not what tools leave beside videos, such as their sound."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in frames.VIDEOS or path.is_dir())


def present(folder: Path, name: Callable[[str], str] = str, skipped: Iterable[str] = ()) -> dict[str, str]:
    """What a folder of clips holds, frame folders and videos alike, looked up in one go; other files do not count.

    Releases that come in parts are often unpacked part by part; a folder whose name holds ``part`` is looked into.

    Args:
        folder: The folder of clips; one that is not there holds nothing.
        name: Makes a clip's name out of a stem ("7" -> "00007").
        skipped: Where clips without a face would lie, relative to ``folder``; they count as if they did.

    Returns:
        For each clip's name its path relative to ``folder``.
    """
    if not folder.is_dir():
        return {}
    found: dict[str, str] = {}
    for child in _clips(folder):
        if "part" in child.name and child.is_dir():
            found.update({name(clip.stem): f"{child.name}/{clip.name}" for clip in _clips(child)})
        else:
            found[name(child.stem)] = child.name
    for path in skipped:
        found.setdefault(name(Path(path).name), path)
    return found
