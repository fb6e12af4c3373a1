"""The pixels behind a data set's lists, as :mod:`fer_core.data.check` looks at them: one by one, past the loader.

A loader stops at the first file that is wrong; here every one is tried.
"""

import hashlib
import sys
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.transforms.v2 import functional as F
from tqdm import tqdm

from fer_core.data import frames, images
from fer_core.data.dataset import FaceDataset
from fer_core.data.files import Entry, Listing, inside, segment
from fer_core.data.layout import Layout, Root
from fer_core.errors import UserError

Progress = Callable[[Sequence[int], str], Iterable[int]]

_FRAMES_AT_ONCE = 64
_FRAME_SIZE = 64  # pixels; a clip's frames may differ in size, so they are decoded to one
_BLOCK = 2**20  # bytes read at once


def silent(places: Sequence[int], _text: str) -> Iterable[int]:
    """Shows nothing."""
    return places


def bar(places: Sequence[int], text: str) -> Iterable[int]:
    """Shows a bar on standard error while it is a terminal."""
    return tqdm(places, desc=text, file=sys.stderr, disable=None, leave=False)


class Pictures(ABC):
    """The stills or clips of one split, by position in its list.

    Attributes:
        names: How reports call them.
    """

    names: Sequence[str]

    @abstractmethod
    def missing(self) -> list[int]:
        """Positions whose files are not there."""

    @abstractmethod
    def verify(self, place: int, every_frame: bool) -> None:
        """Decodes a still, or three frames of a clip, or all of them.

        Raises:
            UserError: If it cannot be decoded.
        """

    @abstractmethod
    def countable(self, present: Sequence[int], decoded: Sequence[int]) -> list[int]:
        """Positions out of ``present`` whose frames are to be counted: those where that is cheap, or decoded."""

    @abstractmethod
    def frame_counts(self, place: int) -> tuple[int | None, int]:
        """A clip's number of frames by the list (None where it says nothing), and the number really there.

        Raises:
            UserError: If it is a segment whose frames are not there.
        """

    @abstractmethod
    def show(self, place: int, size: int) -> np.ndarray:
        """The still, or the middle frame of the clip: ``(3, size, size)`` uint8.

        Raises:
            UserError: If it cannot be decoded.
        """

    @abstractmethod
    def trait(self, place: int) -> Hashable:
        """What equal content has in common and costs little to know, such as the size in bytes."""

    @abstractmethod
    def content(self, place: int) -> bytes:
        """A 128-bit hash of the content."""


class OnDisk(Pictures):
    """Samples that are files, or folders of frames, of their own.

    Args:
        listing: The split's samples.
    """

    def __init__(self, listing: Listing) -> None:
        self.entries, self.folder = listing.entries, listing.folder
        self.names = [_name(entry) for entry in listing.entries]
        self.paths = [_own_file(listing.folder, entry) for entry in listing.entries]

    def _path(self, place: int) -> Path:
        path = self.paths[place]
        assert path is not None, "nobody asks for a missing file"
        return path

    def missing(self) -> list[int]:
        """See :meth:`Pictures.missing`."""
        return [place for place, path in enumerate(self.paths) if path is None]

    def verify(self, place: int, every_frame: bool) -> None:
        """See :meth:`Pictures.verify`."""
        if not self._is_clip(place):
            images.decode(self._path(place), box=self.entries[place].box)
            return
        source, span = self._clip(place)
        wanted = span if every_frame else np.unique([span[0], span[len(span) // 2], span[-1]])
        for chunk in np.array_split(wanted, -(-len(wanted) // _FRAMES_AT_ONCE)):
            source.read(chunk)

    def _is_clip(self, place: int) -> bool:
        path = self._path(place)
        return path.is_dir() or path.suffix.lower() in frames.VIDEOS

    def _clip(self, place: int) -> tuple[frames.FrameSource, np.ndarray]:
        """The clip, and which of its frames belong to the entry."""
        source = frames.open(self._path(place), _FRAME_SIZE)
        return source, segment(self.entries[place], source)

    def countable(self, present: Sequence[int], decoded: Sequence[int]) -> list[int]:
        """See :meth:`Pictures.countable`; frames in folders are counted all, in videos where they were decoded."""
        opened = set(decoded)
        return [place for place in present if self._is_clip(place) and (self._path(place).is_dir() or place in opened)]

    def frame_counts(self, place: int) -> tuple[int | None, int]:
        """See :meth:`Pictures.frame_counts`."""
        return self.entries[place].frames, len(self._clip(place)[1])

    def show(self, place: int, size: int) -> np.ndarray:
        """See :meth:`Pictures.show`."""
        if not self._is_clip(place):
            return images.decode(self._path(place), size, self.entries[place].box)
        _, span = self._clip(place)
        return frames.open(self._path(place), size).read([span[len(span) // 2]])[0].numpy()

    def trait(self, place: int) -> Hashable:
        """See :meth:`Pictures.trait`."""
        path, entry = self._path(place), self.entries[place]
        if not path.is_dir():
            return path.stat().st_size, entry.first, entry.box
        names = frames.frame_names(path)
        return len(names), (path / names[len(names) // 2]).stat().st_size, entry.first

    def content(self, place: int) -> bytes:
        """See :meth:`Pictures.content`; files are hashed as they are, boxes and segments of one file differ."""
        path, entry = self._path(place), self.entries[place]
        digest = hashlib.blake2b(f"{entry.first} {entry.box}".encode(), digest_size=16)
        for file in [path / name for name in frames.frame_names(path)] if path.is_dir() else [path]:
            with file.open("rb") as opened:
                while block := opened.read(_BLOCK):
                    digest.update(block)
        return digest.digest()


class Opened(Pictures):
    """Stills that are no files of their own, but rows of a table or members of an archive; the loader reads them.

    Args:
        dataset: The opened split.
        listing: Its samples.
    """

    def __init__(self, dataset: FaceDataset, listing: Listing) -> None:
        self.dataset, self.names = dataset, [_name(entry) for entry in listing.entries]

    def missing(self) -> list[int]:
        """See :meth:`Pictures.missing`; the loader would not have opened."""
        return []

    def verify(self, place: int, every_frame: bool) -> None:
        """See :meth:`Pictures.verify`."""
        self.dataset.take([place])

    def countable(self, present: Sequence[int], decoded: Sequence[int]) -> list[int]:
        """See :meth:`Pictures.countable`; stills have no frames."""
        return []

    def frame_counts(self, place: int) -> tuple[int | None, int]:
        """See :meth:`Pictures.frame_counts`."""
        return None, 1

    def show(self, place: int, size: int) -> np.ndarray:
        """See :meth:`Pictures.show`."""
        image = self.dataset.take([place]).image[0]
        resized = F.resize(image, [size], F.InterpolationMode.BICUBIC, antialias=True)
        return F.center_crop(resized, [size, size]).numpy()

    def trait(self, place: int) -> Hashable:
        """See :meth:`Pictures.trait`; all of them lie in memory, so hashing is cheap."""
        return None

    def content(self, place: int) -> bytes:
        """See :meth:`Pictures.content`."""
        pixels = np.ascontiguousarray(self.dataset.take([place]).image.numpy())
        return hashlib.blake2b(pixels.data, digest_size=16).digest()


def _name(entry: Entry) -> str:
    return entry.path if entry.first is None else f"{entry.path} from frame {entry.first}"


def _own_file(folder: Path, entry: Entry) -> Path | None:
    """The entry's own image, video or folder of at least one frame; None where there is none inside the folder."""
    try:
        path = inside(folder, entry.path)
    except UserError:
        return None
    if path.is_dir():
        return path if frames.frame_names(path) else None
    known = path.suffix.lower() in (*images.SUFFIXES, *frames.VIDEOS)
    return path if known and path.is_file() else None


def pictures(wanted: Layout, split: str, root: Root, options: Any, listing: Listing) -> Pictures:
    """The pixels of one split.

    Args:
        wanted: The data set.
        split: One of its splits.
        root: The data folder.
        options: The loader's options.
        listing: The split's samples.

    Raises:
        UserError: If no sample is a file of its own, and the loader cannot open the split either.
    """
    found = OnDisk(listing)
    if wanted.kind == "stills" and found.names and len(found.missing()) == len(found.names):
        return Opened(wanted.open(split, root, options), listing)
    return found


def content_hashes(splits: Mapping[str, Pictures], shown: Progress) -> dict[str, dict[int, bytes]]:
    """Hashes by which samples of different splits are found to be equal.

    Only what has a twin by :meth:`Pictures.trait` in another split is read, so most files are not.

    Returns:
        For each split, by position.
    """
    owners: dict[Hashable, set[str]] = defaultdict(set)
    traits: dict[str, dict[int, Hashable]] = {}
    for split, found in splits.items():
        absent = set(found.missing())
        present = [place for place in range(len(found.names)) if place not in absent]
        traits[split] = {place: found.trait(place) for place in shown(present, f"sizes of {split}")}
        for trait in traits[split].values():
            owners[trait].add(split)
    hashes = {}
    for split, found in splits.items():
        shared = [place for place, trait in traits[split].items() if len(owners[trait]) > 1]
        hashes[split] = {place: found.content(place) for place in shown(shared, f"content of {split}")}
    return hashes
