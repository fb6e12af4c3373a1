"""FERPlus: ten annotators' votes on the faces of FER2013, in the layout of the official generator script.

Barsoum, Zhang, Canton Ferrer and Zhang, "Training deep networks for facial expression recognition with crowd-sourced
label distribution", ICMI 2016 (arXiv 1608.01041). Images: Goodfellow et al., "Challenges in representation learning",
2013. The two vote rules are section 3's majority voting and probabilistic label drawing, as the authors' published code
decides their corner cases.

Layout: ``FER2013Train``, ``FER2013Valid`` and ``FER2013Test``, each a folder or a zip of 48x48 grey PNGs with a
``label.csv`` whose rows are file, box and ten vote counts.
"""

import csv
import hashlib
import io
import logging
import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fer_core.data import duplicates
from fer_core.data.archive import Source, open_split
from fer_core.data.cache import cached_array, content_hash
from fer_core.data.dataset import CLASSES, SPLITS, MemoryDataset, check_split
from fer_core.errors import UserError

logger = logging.getLogger(__name__)

STEMS = {"train": "FER2013Train", "validation": "FER2013Valid", "test": "FER2013Test"}
VOTE_COLUMNS = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "not a face",
)  # fmt: skip
ANNOTATORS = 10
SIZE = 48
_MAX_PNG = 2**16  # a 48x48 grey PNG has about 2 KB
_EMOTIONS = [VOTE_COLUMNS.index(name) for name in CLASSES]


@dataclass(frozen=True)
class FerplusOptions:
    """How votes become labels.

    Args:
        votes: ``"majority"`` keeps images on which more than half of the votes agree; ``"probability"`` keeps those
            whose votes gather on at most three classes.
    """

    votes: Literal["majority", "probability"] = "majority"

    def __post_init__(self) -> None:
        if self.votes not in ("majority", "probability"):
            raise UserError(f"votes: expected 'majority' or 'probability', got {self.votes!r}; choose one of them")


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
    try:
        rows = list(csv.reader(io.StringIO(text.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{where}: expected UTF-8 text with commas, got: {error}; restore the official file") from error
    names: dict[str, int] = {}
    votes = np.empty((len(rows), len(VOTE_COLUMNS)), dtype=np.int64)
    for number, row in enumerate(rows, start=1):

        def wrong(expected: str, came: object, line: int = number) -> UserError:
            return UserError(f"{where}, line {line}: expected {expected}, got {came!r}; restore the official file")

        if len(row) != 2 + len(VOTE_COLUMNS):
            raise wrong(f"{2 + len(VOTE_COLUMNS)} columns (file, box and ten votes)", f"{len(row)} columns")
        name, box, counts = row[0], row[1], row[2:]
        if not name.endswith(".png") or any(character in name for character in '/\\:\0"'):
            raise wrong("the plain name of a .png file", name)
        if name in names:
            raise wrong(f"each file once (this one is also in line {names[name]})", name)
        if box.replace(" ", "") != f"(0,0,{SIZE},{SIZE})":
            raise wrong(f"the whole image as box, (0, 0, {SIZE}, {SIZE})", box)
        for place, count in enumerate(counts):
            if not (count.isascii() and count.isdigit() and int(count) <= ANNOTATORS):
                raise wrong(f"votes for {VOTE_COLUMNS[place]!r} in 0..{ANNOTATORS}", count)
        names[name] = number
        votes[number - 1] = [int(count) for count in counts]
    if not names:
        raise UserError(f"{where}: expected at least one row, got an empty file; restore the official file")
    return list(names), votes


def decode(content: bytes, where: str) -> np.ndarray:
    """Decodes one face: ``(48, 48)`` uint8.

    Raises:
        UserError: If it is no whole 48x48 8-bit grey PNG.
    """
    if len(content) < 24 or content[:8] != b"\x89PNG\r\n\x1a\n":
        raise UserError(f"{where}: expected a PNG image, got other or too few bytes; copy the file again")
    # The header's size is checked before Pillow allocates anything.
    width, height = struct.unpack(">II", content[16:24])
    if (width, height) != (SIZE, SIZE):
        raise UserError(f"{where}: expected {SIZE}x{SIZE} pixels, got {width}x{height}; restore the official file")
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.load()
    except (OSError, SyntaxError, EOFError, ValueError, struct.error, zlib.error) as error:  # all that Pillow raises
        raise UserError(f"{where}: expected a whole PNG, got a damaged one ({error}); copy the file again") from error
    if image.mode != "L":
        raise UserError(f"{where}: expected an 8-bit grey PNG, got mode {image.mode}; restore the official file")
    return np.asarray(image)


def folders(root: str | os.PathLike[str] | None) -> list[Path]:
    """Where FERPlus is looked for: the root itself, then its folders ``ferplus`` and ``FERPlus``.

    Raises:
        UserError: If no root is given and ``FER_DATA_ROOT`` is not set, or the root is no folder.
    """
    place = root if root is not None else os.environ.get("FER_DATA_ROOT")
    if not place:
        raise UserError("ferplus: expected a data folder, got none; pass --data-root or set FER_DATA_ROOT")
    path = Path(place).expanduser()
    if not path.is_dir():
        raise UserError(f"ferplus: expected {path} to be a folder, found none; mend --data-root or FER_DATA_ROOT")
    return [path, path / "ferplus", path / "FERPlus"]


def _pixels(source: Source, names: Sequence[str], split: str) -> np.ndarray:
    """All faces that the label list names: ``(N, 1, 48, 48)`` uint8."""
    logger.info("decoding %d images of ferplus/%s, once", len(names), split)
    images = np.empty((len(names), 1, SIZE, SIZE), dtype=np.uint8)
    for place, name in enumerate(names):
        images[place, 0] = decode(source.read(name, _MAX_PNG), f"{source.where}: {name}")
    return images


class Ferplus(MemoryDataset):
    """One split of FERPlus, eight classes, grey 48x48.

    ``votes`` of a sample are the shares of its emotions among the votes that the rule leaves; they sum to one.

    Args:
        split: ``"train"``, ``"validation"`` or ``"test"``.
        root: The folder that holds the official layout; ``FER_DATA_ROOT`` by default.
        options: How votes become labels.

    Raises:
        UserError: If a file is missing or not what the official layout holds.
    """

    def __init__(
        self, split: str, root: str | os.PathLike[str] | None = None, options: FerplusOptions | None = None
    ) -> None:
        check_split(split)
        self.options, self.root = options or FerplusOptions(), root
        with closing(open_split(folders(root), STEMS[split])) as source:
            text = source.read("label.csv")
            names, votes = read_labels(text, f"{source.where}: label.csv")
            key = hashlib.sha256(source.stamp().encode() + text).hexdigest()[:16]
            store = cached_array(f"ferplus-{split}-{key}", lambda: _pixels(source, names, split))
        self.hashes = duplicates.pixel_hashes(store)
        left = RULES[self.options.votes](votes)
        self.positions = np.flatnonzero(left.any(axis=1))
        left = left[self.positions]
        # A tie goes to the first of the file's columns, as in the authors' code, not to the first of our classes.
        label = np.array([CLASSES.index(VOTE_COLUMNS[column]) for column in left.argmax(axis=1)], dtype=np.int64)
        shares = left[:, _EMOTIONS] / left.sum(axis=1, keepdims=True)
        fingerprint = hashlib.sha256(f"ferplus {split} {self.options.votes} {content_hash(store)}".encode())
        fingerprint.update("\n".join(names).encode() + votes.astype("<i8").tobytes())
        super().__init__(
            "ferplus",
            split,
            CLASSES,
            {
                "image": store[self.positions],
                "label": label,
                "votes": shares.astype(np.float32),
            },
            fingerprint.hexdigest()[:16],
            "FERPlus votes (Barsoum et al., 2016) on FER2013 images (Goodfellow et al., 2013)",
        )

    @cached_property
    def duplicates_of_train(self) -> Tensor | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """``(N,)`` bool: samples whose pixels are also among the training samples of the same vote rule."""
        if self.split == "train":
            return None
        train = Ferplus("train", self.root, self.options)
        return torch.from_numpy(duplicates.found_in(self.kept_hashes, train.kept_hashes))

    @property
    def kept_hashes(self) -> list[bytes]:
        """Pixel hashes of the samples that the rule keeps."""
        return [self.hashes[position] for position in self.positions]

    def facts(self) -> dict[str, Any]:
        """See :meth:`FaceDataset.facts`; adds the vote rule and the number of images that it drops."""
        dropped = len(self.hashes) - len(self)
        return {**super().facts(), "votes": self.options.votes, "images": len(self.hashes), "dropped": dropped}


def duplicates_report(
    root: str | os.PathLike[str] | None = None, options: FerplusOptions | None = None
) -> dict[str, dict[str, dict[str, int]]]:
    """Pixel-identical images within and across the three splits.

    Returns:
        ``"listed"``, over every image of the label lists (those that the rule drops count as one more class), and
        ``"kept"``, over those that the vote rule keeps; each as :func:`fer_core.data.duplicates.report` gives it.
    """
    opened = {split: Ferplus(split, root, options) for split in SPLITS}
    listed = {}
    for split, data in opened.items():
        labels = np.full(len(data.hashes), len(CLASSES))
        labels[data.positions] = data.labels.numpy()
        listed[split] = (data.hashes, labels)
    kept = {split: (data.kept_hashes, data.labels.numpy()) for split, data in opened.items()}
    return {"listed": duplicates.report(listed), "kept": duplicates.report(kept)}
