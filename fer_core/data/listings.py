"""The lists of a data set that lies as files: entries, safe paths, and what is held out for validation."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from fer_core.data import images
from fer_core.data.frames import FolderFrames, FrameSource
from fer_core.errors import UserError


@dataclass(frozen=True)
class Entry:
    """One sample of a list.

    Args:
        path: The image, video or folder of frames, relative to the listing's folder, with ``/``.
        label: Class name.
        subject: Who is seen, as the release calls them.
        caption: What is seen, in words.
        frames: Number of frames that the list states; of a segment its length.
        first: First frame of a segment; None for a whole clip.
        box: The face in the image: left, top, width, height in pixels; None for the whole image.
        numbered: Of a segment whose folder names its frames by their numbers: the number in the name of frame 0. None
            where frames are found by their places in the folder.
    """

    path: str
    label: str
    subject: str | None = None
    caption: str | None = None
    frames: int | None = None
    first: int | None = None
    box: images.FaceBox | None = None
    numbered: int | None = field(default=None, repr=False)  # fingerprints go by what is shown, and that is ``first``


@dataclass(frozen=True)
class StillOptions:
    """How stills are seen.

    Args:
        size: Side of the square that images are resized and cropped to, in pixels.
        validation: Share of the training images of each class that become the validation split.
        store: Whether to keep the decoded split in the cache folder.
    """

    size: int = 224
    validation: float = 0.1
    store: bool = False


@dataclass(frozen=True)
class Listing:
    """The lists of one split, as read.

    Args:
        folder: The folder that holds the data set.
        classes: Class names in the order that labels count them.
        entries: The samples.
        subjects: All people of the data set, in the order that subject numbers count them; those of the entries,
            sorted, where it is left out.
        left_out: What the lists name and is no sample although it might be one, by what is to be said of it.
    """

    folder: Path
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    subjects: tuple[str, ...] | None = None
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def relative(text: str, where: str, anchors: Sequence[str] = ()) -> str:
    """A list's path, cut to what lies under the data set's folder.

    Args:
        text: The path as the list has it; it may lead through another machine's folders.
        where: The list and line, for messages.
        anchors: Names of folders that lie directly in the data set's folder: what comes before the last one of them
            in the path belongs to another machine and is cut.

    Returns:
        The path with ``/``, without ``.`` parts.

    Raises:
        UserError: If what is left is empty, is absolute, or leads out of the folder.
    """
    parts = text.strip().replace("\\", "/").split("/")
    known = [place for place, part in enumerate(parts) if part in anchors]
    if known:
        parts = parts[known[-1] :]
    absolute = parts[0] == "" or re.match("^[A-Za-z]:", parts[0])
    kept = [part for part in parts if part not in ("", ".")]
    if not kept or absolute or ".." in kept or "\0" in text:
        raise UserError(
            f"{where}: expected a path inside the data set's folder, got {text!r}; restore the official list"
        )
    return str(PurePosixPath(*kept))


def inside(folder: Path, path: str) -> Path:
    """The file that a list's path names, once it is sure to lie in the folder, links followed.

    Raises:
        UserError: If it leads out of the folder.
    """
    try:
        place = (folder / path).resolve()
    except (RuntimeError, OSError) as error:  # links in a circle are the first to Python 3.11 and 3.12
        raise UserError(f"{folder}: expected {path!r} in it, got: {error}; copy the file again") from error
    if not place.is_relative_to(folder.resolve()):
        raise UserError(f"{folder}: expected {path!r} to lie in it, got a way out; copy the file to where it belongs")
    return place


def segment(entry: Entry, source: FrameSource) -> np.ndarray:
    """Which frames of its video or folder an entry shows.

    Args:
        entry: A whole clip, or a segment of one.
        source: The clip.

    Returns:
        ``(T,)`` int64, places in ``source`` in the order of time; fewer than the list says where a video, or a folder
        whose frames have no numbers, ends before.

    Raises:
        UserError: If a segment begins behind the end, or one of its numbered frames is not there.
    """
    total, first, count = len(source), entry.first, entry.frames
    if first is None:
        return np.arange(total)
    if entry.numbered is not None and count is not None and isinstance(source, FolderFrames):
        places, begin = source.places, entry.numbered + first
        missing = next((number for number in range(begin, begin + count) if number not in places), None)
        if missing is not None:
            raise UserError(
                f"{source.path}: expected frames {begin} to {begin + count - 1} of a segment, found none of number "
                f"{missing}; mend the list or copy the folder again"
            )
        return np.array([places[number] for number in range(begin, begin + count)], dtype=np.int64)
    end = total if count is None else min(total, first + count)
    if not 0 <= first < end:
        raise UserError(
            f"{source.path}: expected frame {first} of a segment, got {total} frames; mend the list or copy the clip "
            "again"
        )
    return np.arange(first, end)


def hold_out(entries: Sequence[Entry], share: float) -> tuple[list[Entry], list[Entry]]:
    """Divides training entries into those to train on and those to validate on.

    Who is held out is decided by a digest of the path (or of the subject), so the order of a list, the machine and
    entries that come or go change nothing for the others. Without subjects each class gives its share, at least one
    sample where it has two; with subjects whole people are taken until the share is reached.

    Args:
        entries: The training list.
        share: Part to be held out, 0 or more and less than 1.

    Returns:
        Entries for training and for validation, both in the list's order.

    Raises:
        UserError: If the share is out of range, or one person alone would have to be divided.
    """
    if not 0 <= share < 1:
        raise UserError(f"validation: expected a share of 0 or more and less than 1, got {share}; 0.1 is usual")
    held: set[int] = set()
    people = sorted({entry.subject for entry in entries if entry.subject is not None}, key=_rank)
    if people and share:
        if len(people) == 1:
            raise UserError(
                f"validation: expected at least two people to divide, got {people[0]!r} alone; set validation to 0"
            )
        for person in people[:-1]:
            if len(held) >= share * len(entries):
                break
            held.update(place for place, entry in enumerate(entries) if entry.subject == person)
    elif share:
        for label in dict.fromkeys(entry.label for entry in entries):
            members = [place for place, entry in enumerate(entries) if entry.label == label]
            members.sort(key=lambda place: _rank(f"{entries[place].path}:{entries[place].first}"))
            held.update(members[: max(round(share * len(members)), len(members) > 1)])
    kept = [entry for place, entry in enumerate(entries) if place not in held]
    return kept, [entry for place, entry in enumerate(entries) if place in held]


def _rank(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
