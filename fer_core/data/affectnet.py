"""AffectNet: photographs from the web with one of eight expressions, also used with seven, without contempt.

Mollahosseini, Hasani and Mahoor, "AffectNet: A Database for Facial Expression, Valence, and Arousal Computing in the
Wild", IEEE Transactions on Affective Computing 10(1), 2019 (arXiv 1708.03985).

There are two releases. The first has lists of all manually annotated photographs, uncropped, with a face box each; the
second has cropped 224 x 224 faces of the eight classes, with a ``.npy`` file for each annotation. Both layouts were
checked against public loaders: names of folders and columns, codes, and that ``training.csv`` begins with a line of
column names while ``validation.csv`` may not. Our reading: the face box counts pixels of the upright image. Nobody
outside has the test set, so the field tests on the official validation set, and so do we: ``test`` is the official
validation set, ``validation`` is held out of the training set.
"""

import csv
import hashlib
import io
import logging
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from fer_core.data import cache, crops, files, labels
from fer_core.data.dataset import CLASSES, FaceDataset
from fer_core.data.demo import DemoFaces
from fer_core.data.files import Entry, ImageFiles, Listing, StillOptions
from fer_core.data.frames import natural
from fer_core.data.images import FaceBox
from fer_core.data.layout import Layout, Root, find, register
from fer_core.errors import UserError

logger = logging.getLogger(__name__)

FOLDERS = ("affectnet", "AffectNet", "affectnet-8", "affectnet-7")
COLUMNS = (
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height",
    "facial_landmarks", "expression", "valence", "arousal",
)  # fmt: skip
LISTS = {"train": "training.csv", "validation": "training.csv", "test": "validation.csv"}
SETS = {"train": "train_set", "validation": "train_set", "test": "val_set"}
_LIST_FOLDERS = ("Manually_Annotated_file_lists", ".")
_IMAGE_FOLDERS = (
    "Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images", "Manually_Annotated",
)  # fmt: skip
#: Photographs that the first release's lists name and its archives lack. One of the training list is not there, one of
#: the validation list is an empty file. Unpacking again does not help. The second release does not have them.
LACKING = (
    "2/9db2af5a1da8bd77355e8c6a655da519a899ecc42641bf254107bfc0.jpg",
    "103/29a31ebf1567693f4644c8ba3476ca9a72ee07fe67a5860d98707a0a.jpg",
)
_CODES = 2**15  # far more than there are labels, but an int16 holds them
_CODE_BYTES = 4096  # an annotation holds one number or one short text
_RESTORE = "restore the official file"


@dataclass(frozen=True)
class AffectnetOptions(StillOptions):
    """How AffectNet is read.

    Args:
        release: ``"csv"`` or ``"npy"``; ``"auto"`` takes the one that is there, the lists first.
        crop: Whether photographs of the first release are cut to the face box of the list.
    """

    release: Literal["auto", "csv", "npy"] = "auto"
    crop: bool = True


def _rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Where a row stands, and its columns as :data:`COLUMNS`; line by line, as the training list has 400 MB."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            for row in reader:
                where = f"{path.name}, line {reader.line_num}"
                # Some copies of the lists have a number sign before the header.
                if row == [] or (reader.line_num == 1 and (row[0].removeprefix("#"), *row[1:]) == COLUMNS):
                    continue
                if len(row) != len(COLUMNS):
                    raise UserError(f"{where}: expected {len(COLUMNS)} columns, got {len(row)}; {_RESTORE}")
                yield where, row
    except FileNotFoundError:
        raise UserError(f"{path}: expected the official list, found none; restore the official layout") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a list in UTF-8, got: {error}; {_RESTORE}") from error


def _box(row: list[str], where: str) -> FaceBox:
    try:
        left, top, width, height = (float(row[COLUMNS.index(name)]) for name in COLUMNS[1:5])
    except ValueError:
        raise UserError(f"{where}: expected a face box of four numbers, got {row[1:5]}; {_RESTORE}") from None
    return left, top, width, height


def _list(folder: Path, split: str) -> Path | None:
    """The first release's list of a split, where it is there."""
    places = (folder / each / LISTS[split] for each in _LIST_FOLDERS)
    return next((path for path in places if path.is_file()), None)


def _from_lists(folder: Path, name: str, split: str, options: AffectnetOptions) -> list[Entry]:
    path = _list(folder, split)
    if path is None:
        raise UserError(f"{folder}: expected {_LIST_FOLDERS[0]}/{LISTS[split]}, found none; restore the layout")
    images = next((each for each in _IMAGE_FOLDERS if (folder / each).is_dir()), _IMAGE_FOLDERS[0])
    entries, seen = [], set()
    for where, row in _rows(path):
        label = labels.decode(f"{name}/csv", row[COLUMNS.index("expression")], where)
        if label is not None:
            place, box = f"{images}/{files.relative(row[0], where)}", _box(row, where)
            if row[0] in LACKING and not _has_bytes(folder / place):
                logger.info("%s: %s is left out, as the release lacks it", where, row[0])
                continue
            if (place, box) in seen:
                raise UserError(f"{where}: expected each face once, got {row[0]!r} again; {_RESTORE}")
            seen.add((place, box))
            entries.append(Entry(place, label, box=box if options.crop else None))
    return entries


def _has_bytes(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _codes(folder: Path) -> tuple[list[str], np.ndarray]:
    """The names of a folder's ``*_exp.npy`` in natural order, without that ending, and the code in each."""
    if not folder.is_dir():
        raise UserError(f"{folder}: expected the annotations of this split, found none; restore the official layout")
    stamps = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith("_exp.npy"):
                status = entry.stat()
                stamps[entry.name.removesuffix("_exp.npy")] = (status.st_size, status.st_mtime_ns)
    names = sorted(stamps, key=natural)

    def read() -> np.ndarray:
        logger.info("reading %d annotations of affectnet, once", len(names))
        return np.array([_code(folder / f"{name}_exp.npy") for name in names], dtype=np.int16)

    lines = (str(folder.resolve()), *(f"{name} {stamps[name]}" for name in names))
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    return names, cache.cached_array(f"affectnet-codes-{digest}", read)


def _code(path: Path) -> int:
    try:
        with path.open("rb") as file:
            value = np.load(io.BytesIO(file.read(_CODE_BYTES)), allow_pickle=False)
        code = value.item()
        # The official arrays hold the code as text; anything else is no label.
        if not isinstance(code, (str, int, float)) or int(code) != float(code) or not 0 <= int(code) < _CODES:
            raise ValueError(f"a value {code!r}")
        return int(code)
    except (OSError, ValueError, EOFError, OverflowError, AttributeError, MemoryError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: expected one label code, got a damaged file ({error}); copy it again") from error


def _from_arrays(folder: Path, name: str, split: str) -> list[Entry]:
    within = SETS[split]
    names, codes = _codes(folder / within / "annotations")
    entries = []
    for each, code in zip(names, codes.tolist(), strict=True):
        label = labels.decode(f"{name}/npy", str(code), f"{within}/annotations/{each}_exp.npy")
        if label is not None:
            entries.append(Entry(f"{within}/images/{each}.jpg", label))
    return entries


def _release(folder: Path, wanted: str) -> str:
    if wanted != "auto":
        return wanted
    return "npy" if _list(folder, "test") is None else "csv"


def listing(name: str, split: str, root: Root, options: AffectnetOptions) -> Listing:
    """Reads the lists or annotations of one split.

    Args:
        name: ``"affectnet-8"`` or ``"affectnet-7"``.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        root: The data folder.
        options: How AffectNet is read.

    Raises:
        UserError: If a file is missing or not what the official layout holds.
    """
    marks = (*(f"{each}/{LISTS['test']}" for each in _LIST_FOLDERS), f"{SETS['test']}/annotations")
    folder = find(name, root, FOLDERS, marks)
    release = _release(folder, options.release)
    entries = _from_lists(folder, name, split, options) if release == "csv" else _from_arrays(folder, name, split)
    if split != "test":
        entries = files.hold_out(entries, options.validation)[split == "validation"]
    return crops.over(Listing(folder, _classes(name), tuple(entries)), f"{name}/{split}")


def open(name: str, split: str, root: Root, options: AffectnetOptions) -> FaceDataset:
    """Opens one split; arguments and errors as :func:`listing`, and a missing image."""
    found = listing(name, split, root, options)
    return ImageFiles(name, split, found, "AffectNet (Mollahosseini et al., 2019)", options.size, options.store)


def _classes(name: str) -> tuple[str, ...]:
    return CLASSES if name == "affectnet-8" else CLASSES[:7]


def demo(root: Path, faces: DemoFaces) -> None:
    """Writes 24 training and 8 test photographs as the first release, and some that the task leaves out.

    The column of landmarks stays empty: no loader reads it.
    """
    per_class, codes = 4, {name: code for code, name in labels.RELEASES["affectnet-8/csv"].codes.items()}
    rows: dict[str, list[list[object]]] = {"training.csv": [list(COLUMNS)], "validation.csv": []}
    for number, still in enumerate(faces.stills(CLASSES, per_class, size=96)):
        test = number >= (per_class - 1) * len(CLASSES)
        place = f"{number % 5 + 1}/{hashlib.sha256(str(number).encode()).hexdigest()[:56]}.jpg"
        photograph = np.full((128, 160, 3), 120 + number, dtype=np.uint8)
        left, top, (height, width) = 8 + number, 16, still.image.shape[:2]
        photograph[top : top + height, left : left + width] = still.image
        path = root / "Manually_Annotated_Images" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph).save(path, quality=95)
        listed = rows["validation.csv" if test else "training.csv"]
        listed.append([place, left, top, width, height, "", codes[still.class_name], 0.0, 0.0])
        if number % len(CLASSES) == 0:  # "none", "uncertain" and "no face" again and again
            listed.append([place, left, top, width, height, "", 8 + number // len(CLASSES) % 3, -2, -2])
    for name, table in rows.items():
        path = root / _LIST_FOLDERS[0] / name
        path.parent.mkdir(exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)


# Manually annotated training images by class, as public code for AffectNet counts them; the validation set has 500 of
# each but contempt, of which one is an empty file. The training photograph that the archives lack is not counted.
# Read-me files of the second release give 287,651 training images, too, and 3,999 for validation.
_TRAINED: dict[str, int] = dict(
    zip(CLASSES, (74_874, 134_415, 25_459, 14_090, 6_378, 3_803, 24_882, 3_750), strict=True)
)

LAYOUTS = tuple(
    register(
        Layout(
            name=name,
            title=f"AffectNet, {len(_classes(name))} classes",
            kind="stills",
            classes=_classes(name),
            folders=FOLDERS,
            licence="non-commercial research, to be requested by a supervisor",
            apply="http://mohammadmahoor.com/affectnet/",
            citation="mollahosseini2019affectnet",
            tree="""\
AffectNet/                                     first release: uncropped, with lists
  Manually_Annotated_file_lists/training.csv
  Manually_Annotated_file_lists/validation.csv
  Manually_Annotated_Images/1/....jpg
AffectNet/                                     second release: cropped, with .npy annotations
  train_set/images/0.jpg ...
  train_set/annotations/0_exp.npy ...
  val_set/images/0.jpg ...
  val_set/annotations/0_exp.npy ...
""",
            options=AffectnetOptions,
            open=partial(open, name),
            listing=partial(listing, name),
            demo=demo,
            # Of our validation split nothing is official: "train" counts the official training set, both together.
            official={
                "train": {label: _TRAINED[label] for label in _classes(name)},
                "test": {label: 499 if label == "contempt" else 500 for label in _classes(name)},
            },
        )
    )
    for name in ("affectnet-8", "affectnet-7")
)
