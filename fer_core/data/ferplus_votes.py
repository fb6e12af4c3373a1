"""FERPlus' votes: reading them, and what they make of an image's label.

The two rules are section 3's majority voting and probabilistic label drawing of Barsoum et al. (2016), as the authors'
published code decides their corner cases.
"""

import csv
import io

import numpy as np

from fer_core.data import labels
from fer_core.data.dataset import CLASSES
from fer_core.data.fer2013 import SIZE, USAGES
from fer_core.errors import UserError

#: The votes' columns in both files of the release; where the last two are named, they are not emotions.
VOTE_COLUMNS = tuple(labels.RELEASES["ferplus/votes"].codes)
ANNOTATORS = 10


def majority(votes: np.ndarray) -> np.ndarray:
    """The class that more than half of the annotators chose, single votes being left out first.

    Args:
        votes: ``(N, 10)`` vote counts, columns as :data:`VOTE_COLUMNS`.

    Returns:
        ``(N, 10)`` float: the votes for emotions that are left, zero in rows where no emotion has the majority.
    """
    agreed = np.where(votes > 1, votes, 0)
    emotion = np.arange(len(VOTE_COLUMNS)) < len(CLASSES)
    kept = (2 * agreed.max(axis=1) > agreed.sum(axis=1)) & emotion[agreed.argmax(axis=1)]
    return np.where(kept[:, None] & emotion, agreed, 0).astype(np.float64)


def probability(votes: np.ndarray) -> np.ndarray:
    """The largest groups of votes that together hold three quarters, single votes being left out first.

    Classes are taken from the most voted down, ties together, until three quarters of the votes or three classes are
    reached, or "unknown" or "not a face" is met. The image is kept where the emotions taken so are at most three and
    hold more than half of the votes.

    Args:
        votes: ``(N, 10)`` vote counts, columns as :data:`VOTE_COLUMNS`.

    Returns:
        ``(N, 10)`` float: the votes taken, zero in rows that are not kept.
    """
    # Few vote patterns are distinct, so each is decided once.
    patterns, place = np.unique(votes, axis=0, return_inverse=True)
    decided = np.stack([_taken(pattern) for pattern in np.where(patterns > 1, patterns, 0)])
    return decided[place.reshape(-1)]


def _taken(agreed: np.ndarray) -> np.ndarray:
    """The probability rule for one row of votes, single votes left out: ``(10,)``."""
    total, seen, taken = agreed.sum(), 0, np.zeros(len(agreed))
    for level in sorted(set(agreed[agreed > 0].tolist()), reverse=True):
        if seen >= 0.75 * total or np.count_nonzero(taken) >= 3:
            break
        tied = np.flatnonzero(agreed == level)
        emotions = tied[tied < len(CLASSES)]
        taken[emotions] = level
        seen += level * len(tied)
        if len(emotions) < len(tied):
            break
    few = np.count_nonzero(taken) <= 3
    return taken if few and taken.sum() > 0.5 * total else np.zeros(len(agreed))


RULES = {"majority": majority, "probability": probability}


def read_labels(text: bytes, where: str) -> tuple[list[str], np.ndarray]:
    """Reads a ``label.csv``.

    Args:
        text: The file's bytes, UTF-8.
        where: What messages name.

    Returns:
        File names, and their votes ``(N, 10)`` int64.

    Raises:
        UserError: For a wrong encoding, a row with a wrong number of columns, a box other than the whole image, a vote
            that is no number in 0..10, a file name with a path, a name that comes twice, or no row at all.
    """
    rows = _rows(text, where)
    names: dict[str, int] = {}
    votes = np.empty((len(rows), len(VOTE_COLUMNS)), dtype=np.int64)
    for number, row in enumerate(rows, start=1):
        line = f"{where}, line {number}"
        if len(row) != 2 + len(VOTE_COLUMNS):
            raise _wrong(line, f"{2 + len(VOTE_COLUMNS)} columns (file, box and ten votes)", f"{len(row)} columns")
        name, box = _plain(row[0], line), row[1]
        if name in names:
            raise _wrong(line, f"each file once (this one is also in line {names[name]})", name)
        if box.replace(" ", "") != f"(0,0,{SIZE},{SIZE})":
            raise _wrong(line, f"the whole image as box, (0, 0, {SIZE}, {SIZE})", box)
        names[name] = number
        votes[number - 1] = _counts(row[2:], line)
    return list(names), votes


def read_new_labels(text: bytes, where: str) -> tuple[list[str], list[str], np.ndarray]:
    """Reads a ``fer2013new.csv``, whose rows follow those of ``fer2013.csv``.

    Args:
        text: The file's bytes, UTF-8.
        where: What messages name.

    Returns:
        Usages; file names, empty for images that FERPlus left out; and their votes ``(N, 10)`` int64.

    Raises:
        UserError: For a wrong encoding or header, a row with a wrong number of columns, an unknown usage, or a vote
            that is no number in 0..10.
    """
    header, *rows = _rows(text, where)
    expected = ["Usage", "Image name", *VOTE_COLUMNS]
    if [name.strip() for name in header] != expected:
        raise _wrong(f"{where}, line 1", f"the columns {', '.join(expected)}", ",".join(header))
    usages, names = [], []
    votes = np.empty((len(rows), len(VOTE_COLUMNS)), dtype=np.int64)
    for number, row in enumerate(rows, start=2):
        line, cells = f"{where}, line {number}", [cell.strip() for cell in row]
        if len(cells) != len(expected):
            raise _wrong(line, f"{len(expected)} columns", f"{len(cells)} columns")
        if cells[0] not in USAGES.values():
            raise _wrong(line, f"one of {', '.join(USAGES.values())}", cells[0])
        usages.append(cells[0])
        names.append(_plain(cells[1], line) if cells[1] else "")
        votes[number - 2] = _counts(cells[2:], line)
    return usages, names, votes


def _rows(text: bytes, where: str) -> list[list[str]]:
    try:
        rows = list(csv.reader(io.StringIO(text.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{where}: expected UTF-8 text with commas, got: {error}; restore the official file") from error
    if not rows:
        raise UserError(f"{where}: expected at least one row, got an empty file; restore the official file")
    return rows


def _plain(name: str, where: str) -> str:
    if not name.endswith(".png") or any(character in name for character in '/\\:\0"'):
        raise _wrong(where, "the plain name of a .png file", name)
    return name


def _counts(cells: list[str], where: str) -> list[int]:
    for column, count in zip(VOTE_COLUMNS, cells, strict=True):
        if not (count.isascii() and count.isdigit() and int(count) <= ANNOTATORS):
            raise _wrong(where, f"votes for {column!r} in 0..{ANNOTATORS}", count)
    return [int(count) for count in cells]


def _wrong(where: str, expected: str, came: str) -> UserError:
    return UserError(f"{where}: expected {expected}, got {came!r}; restore the official file")
