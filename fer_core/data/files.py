"""Data sets that lie as files: lists of entries, opened lazily, sample by sample."""

import hashlib
import logging
import os
import stat
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_core.batch import Batch
from fer_core.data import cache, frames, images
from fer_core.data.dataset import FaceDataset, Positions, check_split
from fer_core.data.listings import Entry, Listing, StillOptions, hold_out, inside, relative, segment
from fer_core.data.sampling import Sampling, positions
from fer_core.errors import UserError

# The lists are part of this module's interface: who opens files reads lists.
__all__ = ["ClipFiles", "Entry", "ImageFiles", "Listing", "StillOptions", "hold_out", "inside", "relative", "segment"]

logger = logging.getLogger(__name__)

SAMPLES_HASHED = 64  # files whose content goes into a fingerprint; names and sizes of all do
_HASHED_BYTES = 2**20  # of each of them


class _Files(FaceDataset):
    """What images and clips share: labels, subjects, captions, fingerprint, and the store of decoded pixels."""

    def __init__(self, name: str, split: str, listing: Listing, source: str, size: int, store: bool) -> None:
        check_split(split)
        if not listing.entries:
            raise UserError(
                f"{name}/{split}: expected at least one sample, got none; check the lists and the option validation"
            )
        if size < 1:
            raise UserError(f"size: expected a side of at least 1 pixel, got {size}; 224 is usual")
        self.name, self.split, self.classes = name, split, listing.classes
        self.listing, self.source, self.size, self.store = listing, source, size, store
        order = {label: place for place, label in enumerate(listing.classes)}
        self.labels = torch.tensor([order[entry.label] for entry in listing.entries], dtype=torch.int64)
        self.subjects, self.subject_names = _numbered(listing)
        self._root = listing.folder.resolve()
        self._stamps = self._stamp()

    def _path(self, place: int) -> Path:
        return inside(self.listing.folder, self.listing.entries[place].path)

    def _stamp(self) -> list[tuple[int, int]]:
        """Size and time of each entry's file; for a folder of frames their number and the folder's time."""
        raise NotImplementedError

    def _sample_bytes(self, place: int) -> bytes:
        """Content that stands for the entry in the fingerprint."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process, which maps the store anew: a map is pickled as all of its bytes."""
        return {key: value for key, value in self.__dict__.items() if key != "_stored"}

    def _batch(self, chosen: Sequence[int], pixels: Sequence[Tensor]) -> Batch:
        index = torch.tensor(chosen, dtype=torch.int64)
        captions = [self.listing.entries[place].caption for place in chosen]
        return Batch(
            image=torch.stack(list(pixels)),
            label=self.labels[index],
            index=index,
            caption=None if None in captions else captions,  # pyright: ignore[reportArgumentType]
            subject=None if self.subjects is None else self.subjects[index],
        )

    def without_pixels(self, positions: Positions) -> Batch:
        """See :meth:`FaceDataset.without_pixels`; no file is opened."""
        chosen = [int(place) for place in positions]
        return self._batch(chosen, [torch.empty(0, dtype=torch.uint8)] * len(chosen))

    @cached_property
    def fingerprint(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Digest of all names, labels, segments, boxes and sizes, and of the content of 64 samples spread evenly."""
        digest = hashlib.sha256(f"{self.name} {self.split} {self.size} {self.classes}".encode())
        for entry, (size, _) in zip(self.listing.entries, self._stamps, strict=True):
            digest.update(f"{entry}\0{size}\n".encode())
        count = len(self.listing.entries)
        for place in np.unique(np.linspace(0, count - 1, min(count, SAMPLES_HASHED)).astype(int)).tolist():
            digest.update(hashlib.sha256(self._sample_bytes(place)).digest())
        return digest.hexdigest()[:16]

    @property
    def pixels(self) -> str:
        """See :class:`FaceDataset`; follows every file, where the fingerprint reads some and is the same everywhere."""
        return hashlib.sha256(f"{self.fingerprint} {self._files_digest}".encode()).hexdigest()[:16]

    @cached_property
    def _files_digest(self) -> str:
        """Changes when a file is added, removed or changed, or is decoded in another way."""
        digest = hashlib.sha256(f"{images.DECODING_VERSION}".encode())
        within: dict[str, bytes] = {}  # by path: many segments may lie in one folder
        for entry, stamp in zip(self.listing.entries, self._stamps, strict=True):
            digest.update(
                f"{entry.path}\0{entry.box}\0{entry.first}\0{entry.frames}\0{entry.numbered}\0{stamp}\n".encode()
            )
            if entry.path not in within:
                within[entry.path] = self._within(entry)
            digest.update(within[entry.path])
        return digest.hexdigest()

    def _store_key(self) -> str:
        """Changes with the files, too, and when they are moved or another size is asked for."""
        digest = hashlib.sha256(f"{self._root} {self.size} {self._files_digest}".encode()).hexdigest()
        return f"{self.name}-{self.split}-{digest[:16]}"

    def _within(self, entry: Entry) -> bytes:
        """What an entry's stamp does not tell of it; nothing where the entry is one file."""
        return b""

    def facts(self) -> dict[str, Any]:
        """See :meth:`FaceDataset.facts`."""
        return {**self._common_facts(), "source": self.source, "size": self.size}


def _numbered(listing: Listing) -> tuple[Tensor | None, tuple[str, ...] | None]:
    named = [entry.subject for entry in listing.entries]
    if any(subject is None for subject in named):
        return None, None
    people = listing.subjects or tuple(sorted({str(subject) for subject in named}, key=frames.natural))
    number = {subject: place for place, subject in enumerate(people)}
    return torch.tensor([number[str(subject)] for subject in named], dtype=torch.int64), people


def _progress(done: int, total: int, what: str) -> None:
    if done == total or done % max(1, total // 10) == 0:
        logger.info("decoded %d of %d %s into the store", done, total, what)


class ImageFiles(_Files):
    """Still images, decoded when they are asked for.

    Args:
        name: The data set's public name.
        split: One of ``SPLITS``.
        listing: The split's samples.
        source: Where the data comes from, in words; no path of this machine.
        size: Side of the square that images are resized and centre-cropped to, in pixels.
        store: Whether to decode the whole split now, once, into a memory-mapped file in the cache folder:
            3 * size * size bytes a sample.

    Raises:
        UserError: If the list is empty or a file of it is missing; later, if a file turns out to be damaged.
    """

    def __init__(
        self, name: str, split: str, listing: Listing, source: str, size: int = 224, store: bool = False
    ) -> None:
        super().__init__(name, split, listing, source, size, store)
        if store:
            _ = self._stored  # here, before there are workers who would each build it

    def _stamp(self) -> list[tuple[int, int]]:
        return [_file_stamp(self.listing.folder, entry.path) for entry in self.listing.entries]

    def _sample_bytes(self, place: int) -> bytes:
        return _head(self._path(place))

    def _decode(self, place: int) -> np.ndarray:
        return images.decode(self._path(place), self.size, self.listing.entries[place].box)

    @cached_property
    def _stored(self) -> np.ndarray:
        count = len(self)

        def fill(array: np.ndarray) -> None:
            for place in range(count):
                array[place] = self._decode(place)
                _progress(place + 1, count, f"images of {self.name}/{self.split}")

        return cache.built_array(self._store_key(), (count, 3, self.size, self.size), np.uint8, fill)

    def take(self, positions: Positions) -> Batch:
        """See :meth:`FaceDataset.take`."""
        chosen = [int(place) for place in positions]
        read = (lambda place: np.array(self._stored[place])) if self.store else self._decode
        return self._batch(chosen, [torch.from_numpy(read(place)) for place in chosen])


class ClipFiles(_Files):
    """Clips, of which some frames are decoded when they are asked for.

    :meth:`take` chooses frames without chance, :meth:`draw` at random by ``(seed, epoch, index)``.

    Args:
        name: The data set's public name.
        split: One of ``SPLITS``.
        listing: The split's samples: folders of frames or video files, or segments of them.
        source: Where the data comes from, in words; no path of this machine.
        sampling: Which frames.
        size: Side of the square that frames are resized and centre-cropped to, in pixels.
        store: Whether to decode all frames of the split now, once, into a memory-mapped file in the cache folder:
            3 * size * size bytes a frame.

    Raises:
        UserError: If the list is empty, a clip of it is missing, a folder has no frames, or lacks one of those that a
            segment numbers; later, if a file turns out to be damaged.
    """

    draws = True
    sampling: Sampling

    def __init__(
        self,
        name: str,
        split: str,
        listing: Listing,
        source: str,
        sampling: Sampling | None = None,
        size: int = 224,
        store: bool = False,
    ) -> None:
        self.sampling = sampling or Sampling()  # pyright: ignore[reportIncompatibleVariableOverride]
        super().__init__(name, split, listing, source, size, store)
        # Frames of each clip once it has been opened, 0 before: counting opens a clip, and reads a whole video.
        self._lengths = np.zeros(len(listing.entries), dtype=np.int64)
        if store:
            _ = self._stored

    def _stamp(self) -> list[tuple[int, int]]:
        stamps, differing = [], []
        source: frames.FolderFrames | None = None
        for entry in self.listing.entries:
            place = inside(self.listing.folder, entry.path)
            if not place.is_dir():
                stamps.append(_file_stamp(self.listing.folder, entry.path))
                continue
            if source is None or source.path != place:  # segments of a folder follow each other
                source = frames.FolderFrames(place)
            count = len(source)
            if entry.numbered is not None:
                segment(entry, source)  # here, before an epoch has begun
            if entry.frames is not None and entry.first is None and entry.frames != count:
                differing.append((entry, count))
            stamps.append((count, place.stat().st_mtime_ns))
        if differing:
            entry, count = differing[0]
            logger.warning(
                "%s/%s: %d of %d clips have other numbers of frames than the list says (%s: list %d, folder %d); "
                "the frames in the folders are used",
                self.name, self.split, len(differing), len(stamps), entry.path, entry.frames, count,
            )  # fmt: skip
        return stamps

    def _within(self, entry: Entry) -> bytes:
        """Size and time of each frame of a folder: a frame that is written over leaves the folder's time as it is."""
        place = inside(self.listing.folder, entry.path)
        if not place.is_dir():
            return b""
        digest = hashlib.sha256()
        for name in frames.frame_names(place):
            status = (place / name).stat()
            digest.update(os.fsencode(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"))
        return digest.digest()

    def _sample_bytes(self, place: int) -> bytes:
        path = self._path(place)
        return _head(path / frames.frame_names(path)[0] if path.is_dir() else path)

    def length(self, position: int) -> int:
        """Number of frames that a clip, or a segment of one, really has.

        Raises:
            UserError: If a segment begins behind the clip's end.
        """
        if self.store:
            _, begin = self._stored
            return int(begin[position + 1] - begin[position])
        return self._counted(position)

    def _counted(self, position: int) -> int:
        if not self._lengths[position]:
            self._range(position, frames.open(self._path(position)))
        return int(self._lengths[position])

    def frame_numbers(self, position: int, drawn: tuple[int, int] | None = None) -> np.ndarray:
        """See :meth:`FaceDataset.frame_numbers`; counted from the segment's first frame."""
        return self._chosen(position, self.length(position), drawn)

    def _chosen(self, position: int, length: int, drawn: tuple[int, int] | None) -> np.ndarray:
        rng = None if drawn is None else np.random.default_rng([*drawn, position])
        return positions(self.sampling, length, rng)

    def every_frame(self, position: int) -> Tensor:
        """See :meth:`FaceDataset.every_frame`."""
        if self.store:
            array, begin = self._stored
            return torch.from_numpy(array[begin[position] : begin[position + 1]].copy())
        source = frames.open(self._path(position), self.size)
        return source.read(self._range(position, source))

    def _range(self, place: int, source: frames.FrameSource) -> np.ndarray:
        """The frames of an entry's file that belong to it; their number is remembered."""
        found = segment(self.listing.entries[place], source)
        self._lengths[place] = len(found)
        return found

    @cached_property
    def _stored(self) -> tuple[np.ndarray, np.ndarray]:
        """All frames of the split ``(F, 3, S, S)``, and where each clip's begin ``(N + 1,)``."""
        count, key = len(self), self._store_key()
        lengths = cache.cached_array(
            f"{key}-lengths", lambda: np.array([self._counted(place) for place in range(count)], dtype=np.int64)
        )
        begin = np.concatenate([[0], np.cumsum(lengths)])

        def fill(array: np.ndarray) -> None:
            for place in range(count):
                source = frames.open(self._path(place), self.size)
                array[begin[place] : begin[place + 1]] = source.read(self._range(place, source)).numpy()
                _progress(place + 1, count, f"clips of {self.name}/{self.split}")

        shape = (int(begin[-1]), 3, self.size, self.size)
        return cache.built_array(key, shape, np.uint8, fill), begin

    def _read(self, place: int, drawn: tuple[int, int] | None) -> Tensor:
        if self.store:
            array, begin = self._stored
            return torch.from_numpy(array[begin[place] + self.frame_numbers(place, drawn)])
        source = frames.open(self._path(place), self.size)
        span = self._range(place, source)
        return source.read(span[self._chosen(place, len(span), drawn)])

    def take(self, positions: Positions) -> Batch:
        """See :meth:`FaceDataset.take`."""
        chosen = [int(place) for place in positions]
        return self._batch(chosen, [self._read(place, None) for place in chosen])

    def draw(self, positions: Positions, seed: int, epoch: int) -> Batch:
        """See :meth:`FaceDataset.draw`."""
        chosen = [int(place) for place in positions]
        return self._batch(chosen, [self._read(place, (seed, epoch)) for place in chosen])

    def facts(self) -> dict[str, Any]:
        """See :meth:`FaceDataset.facts`; adds which frames are seen."""
        chosen = {"mode": self.sampling.mode, "frames": self.sampling.frames, "stride": self.sampling.stride}
        return {**super().facts(), "sampling": chosen}


def _file_stamp(folder: Path, path: str) -> tuple[int, int]:
    try:
        status = os.stat(folder / path)
    except OSError as error:
        raise UserError(
            f"{folder}: expected {path!r}, got: {error.strerror}; extract the data set again, or mend the list"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{folder}: expected {path!r} to be a file, got a folder; mend the list")
    return status.st_size, status.st_mtime_ns


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HASHED_BYTES)
