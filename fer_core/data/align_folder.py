"""Aligns a folder of photographs and videos into a folder of crops that tells how it was made.

Beside the crops lie ``alignment.json`` (every choice, their digest, what was met) and ``alignment.jsonl`` (one line a
file, written as each is done, so that an interrupted call goes on where it stopped, and a later one does again what was
unreadable or has changed). :func:`aligned_by` finds the first again, for records.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from fer_core import atomic, config
from fer_core.data import frames, images
from fer_core.data.alignment import warp
from fer_core.data.faces_in_images import FacePlacer, Origin
from fer_core.data.files import inside
from fer_core.errors import UserError

SCHEMA = 1
NOTE, JOURNAL = "alignment.json", "alignment.jsonl"
FIRST_FRAME = 1  # number in the name of a clip's first crop
_LEVELS = 8  # folders between an image and its note, at most


@dataclass
class AlignedFolder:
    """What became of a folder.

    Args:
        digest: Of the alignment and the finder.
        outcomes: Number of files (a clip is one) by outcome: ``aligned``, ``skipped`` (no face), ``unreadable``.
        counts: What was met, as :class:`~fer_core.data.faces_in_images.FacePlacer` counts it.
        skipped: Paths of files without a face.
        unreadable: For each file that could not be read the reason.
    """

    digest: str
    outcomes: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    def add(self, line: dict[str, Any]) -> None:
        """Adds one line of the journal."""
        self.outcomes[line["outcome"]] += 1
        self.counts.update(line["counts"])
        if line["outcome"] == "skipped":
            self.skipped.append(line["path"])
        elif line["outcome"] == "unreadable":
            self.unreadable[line["path"]] = line["why"]


class _UnreadableError(Exception):
    """A photograph or frame that cannot be decoded: the file is left out and told, the others go on."""


def align_folder(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    placer: FacePlacer,
    clips: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> AlignedFolder:
    """Aligns all photographs and videos below a folder.

    A photograph becomes a PNG of the same path; a video, or with ``clips`` a folder of frames, becomes a folder of
    PNGs numbered from 00001. A file that cannot be read is left out and told.

    Args:
        source: The raw photographs and videos.
        target: Where crops go: a new or empty folder, or one that an equal call has begun.
        placer: The alignment and the finder; its counts go on.
        clips: Whether a folder that holds images is a clip, and not a folder of photographs.
        progress: Called with the number of files done and of all files.

    Returns:
        What became of all files, also of those that an earlier call did. What could not be read then, what has another
        size or time since, and what has lost its crop is done again.

    Raises:
        UserError: If a folder is not what it should be, two files would become one, or the placer raises one.
    """
    source, target = Path(source).expanduser(), Path(target).expanduser()
    items = _items(source, target, clips)
    done = _begin(source, target, items, placer)
    journal = target / JOURNAL
    for number, (path, output) in enumerate(items.items(), start=1):
        if path not in done:
            line = _align(source, path, target / output, placer)
            done[path] = line
            with journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if progress is not None:
            progress(number, len(items))
    report = AlignedFolder(placer.digest)
    for path in items:
        report.add(done[path])
    _write_note(target, placer, report)
    return report


def aligned_by(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The note of the alignment that made the crops in a folder; None where there is none.

    Args:
        folder: A folder of crops, or one up to 8 levels below it.

    Returns:
        ``digest``, ``alignment`` and ``finder``.

    Raises:
        UserError: If a note is there and cannot be read.
    """
    made = aligned_folder(folder)
    if made is None:
        return None
    note = _read_note(made / NOTE)
    return {key: note[key] for key in ("digest", "alignment", "finder")}


def aligned_folder(folder: str | os.PathLike[str]) -> Path | None:
    """The folder whose note :func:`aligned_by` gives, links followed; None where there is none."""
    place = Path(folder).expanduser().resolve()
    return next((each for each in (place, *list(place.parents)[:_LEVELS]) if (each / NOTE).is_file()), None)


def output_of(path: str) -> str:
    """Where the crop of a photograph, or the folder of a clip's crops, lies: both paths relative, with ``/``."""
    pure = PurePosixPath(path)
    if pure.suffix.lower() in images.SUFFIXES:
        return str(pure.with_suffix(".png"))
    return str(pure.with_suffix("") if pure.suffix.lower() in frames.VIDEOS else pure)


def _items(source: Path, target: Path, clips: bool) -> dict[str, str]:
    """For each photograph and clip below the source its path and the path of its output, both with ``/``."""
    if not source.is_dir():
        raise UserError(f"align: expected {source} to be a folder, found none; mend the path")
    if target.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(target.resolve()):
        raise UserError(
            f"align: expected source and target beside each other, got {source} and {target}; choose another"
        )
    items: dict[str, str] = {}
    made_of: dict[str, str] = {}
    for path in frames.media_below(source, clips):
        if _surrogates(path):
            raise UserError(f"align: expected names of files in UTF-8, got {os.fsencode(path)!r}; rename it")
        output = output_of(path)
        if (other := made_of.setdefault(output.casefold(), path)) != path:
            raise UserError(
                f"align: expected files of different names, {other} and {path} would become one; rename one"
            )
        items[path] = output
    if not items:
        raise UserError(f"align: expected images or videos below {source}, found none; mend the path")
    return items


def _surrogates(path: str) -> bool:
    """Whether a name has bytes that are no UTF-8, which no note could keep."""
    return any("\ud800" <= letter <= "\udfff" for letter in path)


def _begin(source: Path, target: Path, items: dict[str, str], placer: FacePlacer) -> dict[str, dict[str, Any]]:
    """Makes the target ready; returns the journal's lines of files that are done, by path."""
    if target.exists() and not target.is_dir():
        raise UserError(f"align: expected {target} to be a folder, got a file; choose another target")
    note = target / NOTE
    if note.is_file():
        found = _read_note(note)
        if found["digest"] != placer.digest:
            raise UserError(
                f"align: expected a folder of alignment {placer.digest}, {target} is of {found['digest']}; choose "
                "another target"
            )
        atomic.remove_leftovers(target, "**/")
        lines = read_journal(target)
        done = {path: line for path, line in lines.items() if path not in items or _holds(source, target, items, line)}
        if (target / JOURNAL).is_file():  # without the lines that were dropped, and ending with a whole one
            whole = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in done.values())
            _replace(target / JOURNAL, whole)
        return done
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"align: expected a new or empty folder, {target} holds other files; choose another target")
    target.mkdir(parents=True, exist_ok=True)
    _write_note(target, placer, None)
    return {}


def _holds(source: Path, target: Path, items: dict[str, str], line: dict[str, Any]) -> bool:
    """Whether a file is still as its line of the journal says; the crop of one that has changed is removed."""
    output = target / items[line["path"]]
    if line["outcome"] == "unreadable" or (line["outcome"] == "aligned" and not output.exists()):
        return False
    # Lines of older versions have no size and time.
    if "mtime" not in line or _stamp(source / line["path"]) == {name: line.get(name) for name in ("size", "mtime")}:
        return True
    if line["outcome"] == "aligned":  # or else it would stay where no face is found now
        if output.is_dir():
            shutil.rmtree(output)
        else:
            output.unlink()
    return False


def _stamp(place: Path) -> dict[str, int]:
    """Size in bytes and time in ns of a file; of a folder of frames the sum and the latest; nothing of a lost link."""
    try:
        files = [place / name for name in frames.frame_names(place)] if place.is_dir() else [place]
        found = [file.stat() for file in files]
    except OSError:
        return {}
    return {"size": sum(each.st_size for each in found), "mtime": max(each.st_mtime_ns for each in found)}


def _align(source: Path, path: str, output: Path, placer: FacePlacer) -> dict[str, Any]:
    """Aligns one photograph or clip; returns its line of the journal."""
    place = inside(source, path)
    before = placer.counts.copy()
    line: dict[str, Any] = {"path": path, **_stamp(place)}  # before it is read, so that no change goes unseen
    try:
        whole = _align_clip if place.is_dir() or place.suffix.lower() in frames.VIDEOS else _align_photograph
        line["outcome"] = "aligned" if whole(place, path, output, placer) else "skipped"
    except _UnreadableError as error:
        line |= {"outcome": "unreadable", "why": str(error)}
    # Without the file's own absolute path: the journal travels with the crops.
    if "why" in line:
        line["why"] = line["why"].replace(str(source.resolve()), "").replace(str(source), "").lstrip("/\\")
    line["counts"] = dict(placer.counts - before)
    return line


def _align_photograph(place: Path, path: str, output: Path, placer: FacePlacer) -> bool:
    image = _decoded(lambda: images.decode(place))
    matrix = placer.photograph(image, Origin(path))
    if matrix is None:
        return False
    with atomic.replacing(output, clear=False) as temporary:  # a folder may hold hundreds of thousands of photographs
        Image.fromarray(warp(image, matrix, placer.alignment.size)).save(temporary, format="PNG")
    return True


def _align_clip(place: Path, path: str, output: Path, placer: FacePlacer) -> bool:
    source = _opened(place)
    with closing(_frames(source)) as coming:
        matrices = placer.clip(range(len(source)), lambda _: next(coming), path)
    if matrices is None:
        return False
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = atomic.beside(output)
    try:
        temporary.mkdir()
        with closing(_frames(source)) as coming:
            for number, (image, matrix) in enumerate(zip(coming, matrices, strict=True), FIRST_FRAME):
                Image.fromarray(warp(image, matrix, placer.alignment.size)).save(temporary / f"{number:05d}.png")
        if output.is_dir():  # written, but its line of the journal is lost
            shutil.rmtree(output)
        os.replace(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True


def _frames(source: frames.FrameSource) -> Generator[np.ndarray, None, None]:
    """A clip's frames ``(H, W, 3)`` in the order of time, one in memory at a time; a video is decoded in one go."""
    found = source.read_runs([[number] for number in range(len(source))])
    for _ in range(len(source)):
        yield _decoded(lambda: next(found)[0].numpy())


def _decoded(read: Callable[[], np.ndarray]) -> np.ndarray:
    """A picture ``(3, H, W)`` as ``(H, W, 3)``."""
    try:
        return np.ascontiguousarray(read().transpose(1, 2, 0))
    except UserError as error:
        raise _UnreadableError(str(error)) from error


def _opened(place: Path) -> frames.FrameSource:
    try:
        return frames.open(place)
    except UserError as error:
        raise _UnreadableError(str(error)) from error


def _read_note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected an alignment's note, got: {error}; align anew") from error
    if (
        not isinstance(note, dict)
        or note.get("schema") != SCHEMA
        or not {"digest", "alignment", "finder"} <= note.keys()
    ):
        raise UserError(f"{path}: expected an alignment's note of schema {SCHEMA}, got another file; align anew")
    return note


def _write_note(target: Path, placer: FacePlacer, report: AlignedFolder | None) -> None:
    note: dict[str, Any] = {
        "schema": SCHEMA,
        "digest": placer.digest,
        "alignment": config.plain(placer.alignment),
        "finder": {"name": placer.finder.name, "version": placer.finder.version},
    }
    if report is not None:
        note |= {name: config.plain(getattr(report, name)) for name in ("outcomes", "counts", "skipped", "unreadable")}
    _replace(target / NOTE, json.dumps(note, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_journal(folder: Path) -> dict[str, dict[str, Any]]:
    """What became of each file, from an aligned folder's journal.

    Args:
        folder: Where the note lies.

    Returns:
        By the original's path the line: ``path``, ``outcome`` (see :class:`AlignedFolder`), ``counts``, and ``why``
        where it could not be read. A line that an interrupt cut off is dropped.
    """
    path = folder / JOURNAL
    if not path.is_file():
        return {}
    lines: dict[str, dict[str, Any]] = {}
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
            lines[line["path"]] = {"outcome": line["outcome"], "counts": dict(line["counts"]), **line}
        except (ValueError, KeyError, TypeError):
            continue
    return lines


def _replace(path: Path, text: str) -> None:
    with atomic.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
