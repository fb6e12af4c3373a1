"""FER2013: 35,887 grey faces of 48 x 48 pixels, found by web search, one of seven expressions each.

Goodfellow et al., "Challenges in representation learning: A report on three machine learning contests", Neural
Networks 64, 2015 (arXiv 1307.0414).

Two layouts: the challenge's own ``fer2013.csv`` (or ``icml_face_data.csv``, which has its columns in another order)
with a column ``Usage``; and images in class folders below ``train`` and ``test``, as a folder or a zip. Both were
checked against public loaders and descriptions. In the first, ``PublicTest`` is our validation split and
``PrivateTest`` our test split, as in FERPlus; the second holds both of these as ``test``, so validation images are
held out of training there, and its scores are not comparable to those of the first.
"""

import csv
import hashlib
import logging
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fer_core.data import duplicates, files, images, labels
from fer_core.data.archive import Archive, Folder, Source, member_names
from fer_core.data.cache import cached_array, content_hash
from fer_core.data.dataset import CLASSES, FaceDataset, MemoryDataset, check_split
from fer_core.data.demo import DemoFaces
from fer_core.data.files import Entry, Listing
from fer_core.data.frames import natural
from fer_core.data.layout import Layout, Root, candidates, register
from fer_core.errors import UserError

logger = logging.getLogger(__name__)

FOLDERS = ("fer2013", "FER2013")
TABLES = ("fer2013.csv", "icml_face_data.csv")
ZIPS = ("fer2013.zip", "FER2013.zip", "archive.zip")
#: Usage in fer2013.csv, and in FERPlus' fer2013new.csv.
USAGES = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}
SIZE = 48  # pixels, side of every image
_FOLDERS = tuple(labels.RELEASES["fer2013/folders"].codes)
_COLUMNS = ("emotion", "pixels", "Usage")
_RESTORE = "restore the official file"


@dataclass(frozen=True)
class Fer2013Options:
    """How FER2013 is read.

    Args:
        release: ``"csv"`` or ``"folders"``; ``"auto"`` takes the one that is there, the table first.
        validation: Share of the training images of each class that become the validation split, for ``"folders"``
            alone: the table has a validation split.
    """

    release: Literal["auto", "csv", "folders"] = "auto"
    validation: float = 0.1


def read_table(path: Path) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Reads the challenge's table, once; then it comes from the cache folder.

    Args:
        path: ``fer2013.csv``.

    Returns:
        Emotion codes ``(N,)`` uint8, usages, and pixels ``(N, 1, 48, 48)`` uint8.

    Raises:
        UserError: If it is damaged, or a row holds something else than a code, 2304 pixels and a usage.
    """
    status = path.stat()
    key = hashlib.sha256(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:16]
    table = cached_array(f"fer2013-{key}", lambda: _parsed(path))
    usages = list(USAGES.values())
    return table[:, 0], [usages[place] for place in table[:, 1].tolist()], table[:, 2:].reshape(-1, 1, SIZE, SIZE)


def _parsed(path: Path) -> np.ndarray:
    """``(N, 2 + 48 * 48)`` uint8: code, position in ``USAGES``, pixels."""
    logger.info("reading %s, once", path.name)
    usages, rows = list(USAGES.values()), []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            if sorted(header) != sorted(_COLUMNS):
                raise UserError(f"{path.name}: expected the columns {', '.join(_COLUMNS)}, got {header}; {_RESTORE}")
            code, pixels, usage = (header.index(name) for name in _COLUMNS)
            for row in reader:
                where = f"{path.name}, line {reader.line_num}"
                if len(row) != len(_COLUMNS) or row[usage] not in usages:
                    raise UserError(f"{where}: expected a code, pixels and a usage, got another row; {_RESTORE}")
                labels.decode("fer2013/csv", row[code], where)
                rows.append(np.array([row[code], usages.index(row[usage]), *_pixels(row[pixels], where)], np.uint8))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a table in UTF-8, got: {error}; {_RESTORE}") from error
    if not rows:
        raise UserError(f"{path.name}: expected at least one face, got an empty table; {_RESTORE}")
    return np.stack(rows)


def _pixels(text: str, where: str) -> list[int]:
    try:
        values = [int(value) for value in text.split()]
    except ValueError:
        values = []
    if len(values) != SIZE * SIZE or not 0 <= min(values) <= max(values) <= 255:
        raise UserError(f"{where}: expected {SIZE * SIZE} pixels in 0..255, got other ones; {_RESTORE}")
    return values


def _source(root: Root) -> tuple[Path, Source | None]:
    """The folder that holds the data set; with the table, or the class folders' files.

    Folders and zips without a class folder belong to other data sets, and a zip that is refused may hide a sound one.
    """
    looked, refused = candidates("fer2013", root, FOLDERS), list[UserError]()
    for folder in looked:
        if any((folder / name).is_file() for name in TABLES):
            return folder, None
        parts = [folder / part for part in ("train", "test")]
        if all(part.is_dir() for part in parts) and any((part / name).is_dir() for part in parts for name in _FOLDERS):
            return folder, Folder(folder, depth=2)
        for path in (folder / name for name in ZIPS if (folder / name).is_file()):
            try:
                if _holds_classes(path):
                    return folder, Archive(path, None)
            except UserError as error:
                refused.append(error)
    if refused:
        raise refused[0]
    raise UserError(
        f"fer2013: expected {' or '.join(TABLES)}, train/ and test/ with folders {', '.join(_FOLDERS)}, or these in "
        f"{' or '.join(ZIPS)}, found none in {', '.join(map(str, looked))}; point --data-root or FER_DATA_ROOT to "
        "their folder"
    )


def _holds_classes(path: Path) -> bool:
    """Whether a zip has a class folder.

    Raises:
        UserError: If it is damaged, or has the challenge's table in place of one.
    """
    parts = {part for name in member_names(path) for part in name.split("/")}
    if parts.isdisjoint(_FOLDERS) and (table := parts.intersection(TABLES)):
        raise UserError(f"{path}: expected class folders in a zip, got {min(table)}; unpack it beside the zip")
    return not parts.isdisjoint(_FOLDERS)


@dataclass(frozen=True)
class _Split:
    """What one split holds: its list, the pixels ``(N, 1, 48, 48)``, None where they were not asked for."""

    listing: Listing
    pixels: np.ndarray | None


def _read(split: str, root: Root, options: Fer2013Options, decode: bool) -> _Split:
    check_split(split)
    folder, source = _source(root)
    if options.release not in ("auto", "folders" if source else "csv"):
        raise UserError(f"release: expected {options.release!r} in {folder}, found the other one; choose 'auto'")
    if source is None:
        return _from_table(folder, split)
    with closing(source):
        return _from_folders(folder, source, split, options, decode)


def _from_table(folder: Path, split: str) -> _Split:
    path = next(folder / name for name in TABLES if (folder / name).is_file())
    codes, usages, pixels = read_table(path)
    rows = [place for place, usage in enumerate(usages) if usage == USAGES[split]]
    names = labels.RELEASES["fer2013/csv"].codes
    entries = tuple(Entry(f"{path.name}:{place + 2}", str(names[str(codes[place])])) for place in rows)
    return _Split(Listing(folder, CLASSES[:7], entries), pixels[rows])


def _from_folders(folder: Path, source: Source, split: str, options: Fer2013Options, decode: bool) -> _Split:
    entries = []
    part = "test" if split == "test" else "train"
    for name in sorted(source.names(), key=natural):
        parts = name.split("/")
        if len(parts) != 3 or parts[0] != part or not name.lower().endswith(images.SUFFIXES):
            continue
        label = labels.decode("fer2013/folders", parts[1], f"{source.where}: {part}/{parts[1]}")
        entries.append(Entry(name, str(label)))
    if not entries:
        found = ", ".join(sorted(source.names(), key=natural)[:3]) or "nothing"
        raise UserError(f"{source.where}: expected images {part}/CLASS/NAME in it, got {found}; {_RESTORE}")
    if split != "test":
        entries = files.hold_out(entries, options.validation)[split == "validation"]
    listing = Listing(folder, CLASSES[:7], tuple(entries))
    if not decode:
        return _Split(listing, None)

    def build() -> np.ndarray:
        logger.info("decoding %d images of fer2013/%s, once", len(entries), split)
        return np.stack([_grey(source, entry.path) for entry in entries])

    names = "\n".join(entry.path for entry in entries)
    key = hashlib.sha256(f"{source.stamp()} {names}".encode()).hexdigest()[:16]
    return _Split(listing, cached_array(f"fer2013-{split}-{key}", build))


def _grey(source: Source, name: str) -> np.ndarray:
    where = f"{source.where}: {name}"
    image = images.decode(where, content=source.read(name))
    if image.shape != (3, SIZE, SIZE) or (image != image[:1]).any():
        raise UserError(f"{where}: expected {SIZE}x{SIZE} grey pixels, got another image; {_RESTORE}")
    return image[:1]


class Fer2013(MemoryDataset):
    """One split of FER2013, seven classes, grey 48x48.

    Args:
        split: ``"train"``, ``"validation"`` or ``"test"``.
        root: The data folder; ``FER_DATA_ROOT`` by default.
        options: How it is read.

    Raises:
        UserError: If a file is missing or not what the official layout holds.
    """

    def __init__(self, split: str, root: Root = None, options: Fer2013Options | None = None) -> None:
        self.root, self.options = root, options or Fer2013Options()
        read = _read(split, root, self.options, decode=True)
        if read.pixels is None or not read.listing.entries:
            raise UserError(f"fer2013/{split}: expected at least one face, got none; check the lists")
        label = np.array([CLASSES.index(entry.label) for entry in read.listing.entries], dtype=np.int64)
        digest = hashlib.sha256(f"fer2013 {split} {content_hash(read.pixels)}".encode())
        digest.update(label.astype("<i8").tobytes())
        super().__init__(
            "fer2013",
            split,
            CLASSES[:7],
            {"image": read.pixels, "label": label},
            digest.hexdigest()[:16],
            "FER2013 (Goodfellow et al., 2013)",
        )

    @property
    def hashes(self) -> list[bytes]:
        """Pixel hashes of the samples."""
        return duplicates.pixel_hashes(np.asarray(self.columns["image"]))

    @cached_property
    def duplicates_of_train(self) -> Tensor | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """``(N,)`` bool: samples whose pixels are also among the training samples."""
        if self.split == "train":
            return None
        train = Fer2013("train", self.root, self.options)
        return torch.from_numpy(duplicates.found_in(self.hashes, train.hashes))


def listing(split: str, root: Root, options: Any) -> Listing:
    """Reads the list of one split.

    Raises:
        UserError: If it is missing or damaged.
    """
    return _read(split, root, options, decode=False).listing


def open(split: str, root: Root, options: Any) -> FaceDataset:
    """Opens one split; see :class:`Fer2013`."""
    return Fer2013(split, root, options)


def table(faces: DemoFaces, per_class: int = 4) -> tuple[list[list[str]], list[np.ndarray]]:
    """Rows of a miniature ``fer2013.csv``, header included, and the ten votes on each face, as FERPlus counts them.

    The last two faces of each class are ``PublicTest`` and ``PrivateTest``.
    """
    codes = {name: code for code, name in labels.RELEASES["fer2013/csv"].codes.items()}
    rows: list[list[str]] = [list(_COLUMNS)]
    votes: list[np.ndarray] = []
    stills = faces.stills(CLASSES, per_class, size=SIZE)
    for place, still in enumerate(stills):
        # Contempt is no class of FER2013: its annotators had to call it something else.
        code = codes.get(still.class_name, codes["neutral"])
        grey = np.rint(still.image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
        turn = place // len(CLASSES) - per_class
        usage = {-2: USAGES["validation"], -1: USAGES["test"]}.get(turn, USAGES["train"])
        rows.append([code, " ".join(map(str, grey.flatten().tolist())), usage])
        votes.append(np.append(still.votes, [0, 0]))
    return rows, votes


def demo(root: Path, faces: DemoFaces) -> None:
    """Writes a table of 16 training, 8 validation and 8 test faces."""
    with (root / TABLES[0]).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(table(faces)[0])


_NAMES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")

LAYOUT = register(
    Layout(
        name="fer2013",
        title="FER2013",
        kind="stills",
        classes=CLASSES[:7],
        folders=FOLDERS,
        licence="images found on the web, of unclear licences; released for the challenge, used for research",
        apply="https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge",
        citation="goodfellow2013fer",
        tree="""\
FER2013/                  the challenge's table
  fer2013.csv             emotion,pixels,Usage
FER2013/                  or images, also as fer2013.zip
  train/angry/....jpg
  test/angry/....jpg
""",
        options=Fer2013Options,
        open=open,
        listing=listing,
        demo=demo,
        # Counts of the challenge's table by class, as public code states them; the sums 28,709, 3,589 and 3,589 are the
        # challenge page's.
        official={
            "train": dict(zip(_NAMES, (3995, 436, 4097, 7215, 4830, 3171, 4965), strict=True)),
            "validation": dict(zip(_NAMES, (467, 56, 496, 895, 653, 415, 607), strict=True)),
            "test": dict(zip(_NAMES, (491, 55, 528, 879, 594, 416, 626), strict=True)),
        },
    )
)
