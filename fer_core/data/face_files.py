"""Faces that other tools have found, read from their files.

Three formats, told by the suffix; the file of ``a/b.jpg`` is ``a/b.json``, ``a/b.csv`` or ``a/b.pts``, the first that
is there:

- ``.csv`` of OpenFace 2 (columns ``frame``, ``confidence``, ``success``, ``x_0`` to ``x_67``, ``y_0`` to ``y_67``, in
  pixels; checked against the project's wiki page "Output Format"). Older releases put blanks after commas. That the
  first frame has number 1, or 0 where a file begins so, and that pixel centres are whole numbers, is our reading.
- ``.pts``, version 1, of the 68-point markup; one file has one face. Its first pixel's centre is (1, 1), as in the
  Matlab tools that wrote it and as the library Menpo reads it.
- ``.json``, our own: ``{"faces": [{"frame": 0, "box": [left, top, right, bottom], "points": [[x, y], ...],
  "landmarks": [[x, y], ...], "score": 0.9}]}`` with five points, 68 landmarks, or neither; ``frame`` counts from 0 and
  is left out for photographs, ``box`` may be left out beside landmarks. The first pixel covers 0 to 1.
"""

import csv
import hashlib
import io
import json
import math
import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fer_core.data.alignment import Box, apply
from fer_core.data.faces_in_images import FoundFace, Origin
from fer_core.errors import UserError

SUFFIXES = (".json", ".csv", ".pts")
_MAX_BYTES = 2**28  # an hour of OpenFace rows
_KEPT = 8  # files whose faces stay in memory: frames of a clip are asked for one by one
_COUNT = 68

# By frame number from 0; None for a photograph.
Faces = list[tuple[int | None, FoundFace]]


class FaceFiles:
    """A finder that looks faces up in a folder of other tools' files.

    Args:
        folder: Mirrors the folder of the photographs and clips.

    Raises:
        UserError: If the folder is missing or holds no file of a known format.
    """

    name = "files"
    by_pixels = False

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise UserError(f"face files: expected {self.folder} to be a folder, found none; mend the path")
        files = sorted(path for path in self.folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not files:
            kinds = ", ".join(SUFFIXES)
            raise UserError(f"face files: expected files ({kinds}) in {self.folder}, found none; mend the path")
        self.version = _version(self.folder, files)
        self._read: OrderedDict[str, Faces] = OrderedDict()

    def find(self, image: np.ndarray, origin: Origin | None = None) -> list[FoundFace]:
        """See :class:`~fer_core.data.faces_in_images.FaceFinder`; a photograph without a file has no face.

        Raises:
            UserError: If no origin is given, its path leaves the folder, or the file cannot be read.
        """
        if origin is None:
            raise UserError("face files: expected the image's path, got none; use them with data read from files")
        faces = [face for frame, face in self._faces_of(origin.path) if origin.frame is None or frame == origin.frame]
        if origin.matrix is not None:
            return [_aligned(face, origin.matrix) for face in faces]
        if origin.view is None:
            return faces
        height, width = image.shape[:2]
        return [_viewed(face, origin.view, (width, height)) for face in faces]

    def _faces_of(self, path: str) -> Faces:
        if path in self._read:
            self._read.move_to_end(path)
            return self._read[path]
        faces = self._load(path)
        self._read[path] = faces
        if len(self._read) > _KEPT:
            self._read.popitem(last=False)
        return faces

    def _load(self, path: str) -> Faces:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\\" in path or not pure.name:
            raise UserError(f"face files: expected a path below the data's folder, got {path!r}; mend the list")
        for suffix in SUFFIXES:
            # Not with_suffix alone: a clip "00012" has none, and "a.b" of a folder of frames is no suffix either.
            for name in (pure.with_suffix(suffix), pure.with_name(pure.name + suffix)):
                file = self.folder / name
                if file.is_file():
                    if not file.resolve().is_relative_to(self.folder.resolve()):
                        raise UserError(f"face files: expected {name} inside its folder, got a link out of it; copy it")
                    return READERS[suffix](_text(file), str(name))
        return []


def _version(folder: Path, files: list[Path]) -> str:
    """Digest of names and contents: files of fixed decimals that were written anew have the sizes of the old ones."""
    digest = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"{path}: expected a readable file, got: {error.strerror}; mend access") from error
        digest.update(os.fsencode(f"{path.relative_to(folder).as_posix()}\0{content}\n"))
    return digest.hexdigest()[:16]


def _text(file: Path) -> str:
    if file.stat().st_size > _MAX_BYTES:
        raise UserError(f"{file}: expected at most {_MAX_BYTES >> 20} MiB, got more; split the file by clip")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: expected UTF-8 text, got other bytes ({error.reason}); write it anew") from error
    except OSError as error:
        raise UserError(f"{file}: expected a readable file, got: {error.strerror}; mend access") from error


def _viewed(face: FoundFace, view: Box, size: tuple[int, int]) -> FoundFace:
    """A face of the file in an image of ``size`` (width, height) that shows a part of it."""
    left, top, right, bottom = view
    corner, scale = np.array([left, top]), np.array([size[0] / (right - left), size[1] / (bottom - top)])
    move = lambda points: None if points is None else (points - corner) * scale  # noqa: E731
    box = ((np.array(face.box).reshape(2, 2) - corner) * scale).ravel().tolist()
    return FoundFace((box[0], box[1], box[2], box[3]), move(face.points), move(face.landmarks), face.score)


def _aligned(face: FoundFace, matrix: np.ndarray) -> FoundFace:
    """A face of the file in an image that an alignment made of it; its box may have turned, and grows to hold that."""
    left, top, right, bottom = face.box
    corners = apply(matrix, np.array([[left, top], [right, top], [right, bottom], [left, bottom]]))
    box = (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
    move = lambda points: None if points is None else apply(matrix, points)  # noqa: E731
    return FoundFace((box[0], box[1], box[2], box[3]), move(face.points), move(face.landmarks), face.score)


def read_openface(text: str, where: str) -> Faces:
    """Faces of an OpenFace CSV; rows with ``success`` 0 are left out.

    Args:
        text: The file.
        where: What messages name.

    Returns:
        For each face its frame, from 0, and its 68 landmarks; the frame is None where the file has no such column.

    Raises:
        UserError: If a column is missing or a value is no number.
    """
    reader = csv.reader(io.StringIO(text), skipinitialspace=True)
    header = [name.strip() for name in next(reader, [])]
    place = {name: number for number, name in enumerate(header)}
    columns = [f"{axis}_{number}" for axis in "xy" for number in range(_COUNT)]
    missing = [name for name in columns if name not in place]
    if missing:
        raise UserError(f"{where}: expected OpenFace's column {missing[0]!r}, got none; run OpenFace with -2Dfp")
    rows: list[tuple[int | None, FoundFace]] = []
    first: int | None = None  # of all rows: frames count from 0 or 1 whether or not a face was found in the first
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        line = f"{where}, line {reader.line_num}"
        if len(row) != len(header):
            raise UserError(f"{line}: expected {len(header)} columns, got {len(row)}; write the file anew")
        frame = int(_number(row[place["frame"]], line)) if "frame" in place else None
        if frame is not None:
            first = frame if first is None else min(first, frame)
        if "success" in place and not _number(row[place["success"]], line):
            continue
        score = _number(row[place["confidence"]], line) if "confidence" in place else None
        points = np.array([_number(row[place[name]], line) for name in columns]).reshape(2, _COUNT).T
        rows.append((frame, FoundFace.of(points + 0.5, score)))
    return [(None if frame is None else frame - (first != 0), face) for frame, face in rows]


def read_pts(text: str, where: str) -> Faces:
    """The face of a 68-point ``.pts`` file.

    Raises:
        UserError: If it is no such file, or has another number of points.
    """
    match = re.fullmatch(r"\s*version:\s*1\s+n_?points:\s*(\d+)\s*\{(.*)\}\s*", text, re.DOTALL)
    if match is None:
        raise UserError(f"{where}: expected 'version: 1', 'n_points: 68' and points in braces, got other text; mend it")
    lines = [line.split() for line in match[2].strip().splitlines()]
    if int(match[1]) != _COUNT or len(lines) != _COUNT or any(len(line) != 2 for line in lines):
        raise UserError(f"{where}: expected 68 points of two numbers, got {len(lines)} rows; use the 68-point markup")
    points = np.array([[_number(value, where) for value in line] for line in lines])
    return [(None, FoundFace.of(points - 0.5))]


def read_json(text: str, where: str) -> Faces:
    """Faces of our own JSON.

    Raises:
        UserError: If it is no such file.
    """
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{where}: expected JSON, got other text ({error}); write it anew") from error
    entries = document.get("faces") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{where}: expected an object with a list 'faces' of objects, got another one; see the format")
    return [_json_face(entry, f"{where}, face {number}") for number, entry in enumerate(entries)]


def _json_face(entry: dict[str, Any], where: str) -> tuple[int | None, FoundFace]:
    strange = sorted(entry.keys() - {"frame", "box", "points", "landmarks", "score"})
    if strange:
        raise UserError(
            f"{where}: expected frame, box, points, landmarks and score, got {strange[0]!r}; see the format"
        )
    frame, score = entry.get("frame"), entry.get("score")
    if frame is not None and (isinstance(frame, bool) or not isinstance(frame, int) or frame < 0):
        raise UserError(f"{where}: expected a frame number from 0, got {frame!r}; mend it")
    if score is not None:
        score = _number(score, where)
    points, landmarks = _points(entry, "points", 5, where), _points(entry, "landmarks", _COUNT, where)
    if "box" not in entry:
        if landmarks is None:
            raise UserError(f"{where}: expected a box or 68 landmarks, got neither; add one")
        box = FoundFace.of(landmarks).box
    else:
        left, top, right, bottom = _values(entry["box"], 4, f"{where}, box")
        box = (left, top, right, bottom)
        if right <= left or bottom <= top:
            raise UserError(f"{where}: expected left < right and top < bottom, got {list(box)}; mend the box")
    return frame, FoundFace(box, points, landmarks, score)


def _points(entry: dict[str, Any], key: str, count: int, where: str) -> np.ndarray | None:
    if entry.get(key) is None:
        return None
    rows = entry[key]
    if not isinstance(rows, list) or len(rows) != count:
        raise UserError(
            f"{where}: expected {count} {key}, got {rows if not isinstance(rows, list) else len(rows)}; mend it"
        )
    return np.array([_values(row, 2, f"{where}, {key}") for row in rows])


def _values(row: Any, count: int, where: str) -> list[float]:
    if not isinstance(row, Sequence) or isinstance(row, str) or len(row) != count:
        raise UserError(f"{where}: expected {count} numbers, got {row!r}; mend it")
    return [_number(value, where) for value in row]


def _number(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise UserError(f"{where}: expected a finite number, got {value!r}; write the file anew")
    return number


READERS = {".json": read_json, ".csv": read_openface, ".pts": read_pts}
