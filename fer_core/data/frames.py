"""Frames of clips, from a folder of images or from a video file, behind one interface.

Videos are read by PyAV, the binding of FFmpeg's libraries. The demuxer is chosen by the file's suffix, never by its
content: a playlist that calls itself ``.mp4`` would otherwise make FFmpeg open what it names. Frames are turned as
players turn them, by quarters and mirrored, where the video's header says so: phones note there how they were held.
"""

import bisect
import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import av
import av.container
import av.error
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from fer_core.data import images
from fer_core.errors import UserError

#: Suffixes of video files and FFmpeg's demuxer of each.
VIDEOS = {
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".avi": "avi", ".mkv": "matroska", ".webm": "matroska",
    ".wmv": "asf", ".mpg": "mpeg", ".mpeg": "mpeg",
}  # fmt: skip
#: Demuxers of files with presentation times and an index of key frames. In the others FFmpeg makes up times that differ
#: between packets and frames, or seeks by guessing: their frames are counted, and reached, by decoding from the start.
_INDEXED = ("mp4", "mov", "matroska")


class FrameSource(ABC):
    """The frames of one clip, in the order of time.

    Attributes:
        path: The folder or file.
    """

    path: Path

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @abstractmethod
    def read(self, positions: Sequence[int] | np.ndarray) -> Tensor:
        """The frames at the given positions, which may repeat and come in any order.

        Returns:
            uint8 ``(T, 3, H, W)``.

        Raises:
            UserError: If a frame is damaged, or of another size than the others where no size was asked for.
            IndexError: If a position is not in ``0..len - 1``.
        """

    def read_runs(self, runs: Sequence[Sequence[int] | np.ndarray]) -> Iterator[Tensor]:
        """One after the other what :meth:`read` gives for each run of positions.

        A video is decoded once for all of them, and keeps what the runs at hand and to come share: no more than a
        window's frames where windows follow each other.

        Args:
            runs: Positions of each.

        Yields:
            As :meth:`read`.

        Raises:
            UserError: As :meth:`read`, in the place of the run that it concerns.
            IndexError: As :meth:`read`.
        """
        for run in runs:
            yield self.read(run)

    def _checked(self, positions: Sequence[int] | np.ndarray) -> list[int]:
        chosen = [int(position) for position in positions]
        if not all(0 <= position < len(self) for position in chosen):
            raise IndexError(f"{self.path}: expected positions in 0..{len(self) - 1}, got {chosen}")
        return chosen


def open(path: str | os.PathLike[str], size: int | None = None) -> FrameSource:
    """Opens a clip.

    Args:
        path: A folder of image files, or a video file with one of the suffixes in :data:`VIDEOS`.
        size: Side of the square that each frame is resized and centre-cropped to; None leaves frames as they are.

    Raises:
        UserError: If it is neither, has no frames, or cannot be read.
    """
    place = Path(path)
    if place.is_dir():
        return FolderFrames(place, size)
    if not place.is_file():
        raise UserError(f"{place}: expected a folder of frames or a video file, found none; restore the layout")
    if place.suffix.lower() not in VIDEOS:
        raise UserError(
            f"{place}: expected a folder of frames or a video ({', '.join(VIDEOS)}), got a file of another kind; "
            "restore the layout"
        )
    return VideoFrames(place, size)


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sorts names as people count: ``2.jpg`` before ``10.jpg``; the name itself decides what is left equal."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts)], name


def frame_names(folder: str | os.PathLike[str]) -> list[str]:
    """The image files of a folder in natural order; hidden files and files of other kinds do not count."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.lower().endswith(images.SUFFIXES) and _is_file(entry)]
    return sorted((name for name in names if not name.startswith(".")), key=natural)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # links in a circle
        return False


def media_below(folder: str | os.PathLike[str], clips: bool = False) -> Iterator[str]:
    """Paths of all images and videos below a folder, relative to it and with ``/``; hidden ones do not count.

    Args:
        folder: Where to look.
        clips: Whether a folder below it that holds images is one clip, whose path is then given in place of theirs.
    """
    root = Path(folder)
    for place, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        here = Path(place)
        pictures = frame_names(here)
        if clips and pictures and here != root:
            yield here.relative_to(root).as_posix()
            pictures = []
        videos = [name for name in names if Path(name).suffix.lower() in VIDEOS and not name.startswith(".")]
        for name in (*pictures, *sorted(videos)):
            yield (here / name).relative_to(root).as_posix()


class FolderFrames(FrameSource):
    """A folder of image files, one a frame, in natural order of their names.

    Args:
        path: The folder.
        size: As of :func:`open`.

    Raises:
        UserError: If no image file is in it.
    """

    def __init__(self, path: Path, size: int | None = None) -> None:
        self.path, self.size, self.names = path, size, frame_names(path)
        if not self.names:
            raise UserError(f"{path}: expected the frames of a clip, found no image in it; extract the clip again")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def places(self) -> dict[int, int]:
        """For each number that ends a frame's name (``frame-12.jpg`` has 12) the frame's place."""
        found = (re.search(r"([0-9]+)[.][^.]*$", name) for name in self.names)
        return {int(number[1]): place for place, number in enumerate(found) if number}

    def read(self, positions: Sequence[int] | np.ndarray) -> Tensor:
        """See :meth:`FrameSource.read`."""
        chosen = self._checked(positions)
        found = {place: images.decode(self.path / self.names[place], self.size) for place in dict.fromkeys(chosen)}
        shapes = {frame.shape for frame in found.values()}
        if len(shapes) > 1:
            raise UserError(f"{self.path}: expected frames of one size, got {sorted(shapes)}; ask for a size")
        return torch.from_numpy(np.stack([found[place] for place in chosen]))


class VideoFrames(FrameSource):
    """A video file; its frames are counted by reading its packets, not by believing its header.

    Args:
        path: The file.
        size: As of :func:`open`.

    Raises:
        UserError: If it is damaged, or holds no video.
    """

    def __init__(self, path: Path, size: int | None = None) -> None:
        self.path, self.size = path, size
        with self._opened() as container:
            demuxed, packets, times, keys = 0, 0, [], []
            for packet in container.demux(video=0):  # each is let go: together they are the whole file
                demuxed += 1
                if not packet.size or packet.is_discard:
                    continue
                packets += 1
                if packet.pts is not None:
                    times.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
            demuxed -= 1  # the last one is empty and ends the stream
            promised = container.streams.video[0].frames  # 0 where the header says nothing
            if demuxed < promised:
                raise UserError(
                    f"{path}: expected the {promised} frames that its header states, got {demuxed}; copy the file again"
                )
        self._keys, self._times = sorted(keys), sorted(times)
        unique = bool(self._keys) and len(set(self._times)) == packets
        self._timed = unique and VIDEOS[path.suffix.lower()] in _INDEXED
        if not self._timed:
            self._times = list(range(sum(1 for _ in self._decoded())))
        if not self._times:
            raise UserError(f"{path}: expected a video of at least one frame, got none; copy the file again")

    def __len__(self) -> int:
        return len(self._times)

    def read(self, positions: Sequence[int] | np.ndarray) -> Tensor:
        """See :meth:`FrameSource.read`."""
        (found,) = self.read_runs([positions])
        return found

    def read_runs(self, runs: Sequence[Sequence[int] | np.ndarray]) -> Iterator[Tensor]:
        """See :meth:`FrameSource.read_runs`."""
        chosen = [[self._times[place] for place in self._checked(run)] for run in runs]
        coming = self._decoded(sorted({time for times in chosen for time in times}))
        # For each run the earliest frame that it or a later one asks for.
        earliest = list(accumulate((min(times) for times in reversed(chosen)), min))[::-1]
        kept: dict[int, Tensor] = {}
        reached = -math.inf
        for times, first in zip(chosen, earliest, strict=True):
            kept = {time: image for time, image in kept.items() if time >= first}
            while reached < max(times) and (following := next(coming, None)):
                reached, frame = following
                kept[reached] = self._image(frame)
            if missing := [time for time in sorted(times) if time not in kept]:
                place = self._times.index(missing[0])
                raise UserError(
                    f"{self.path}: expected {len(self)} whole frames, got frame {place} damaged; copy the file again"
                )
            yield torch.stack([kept[time] for time in times])

    def _opened(self) -> "_Opened":
        return _Opened(self.path)

    def _decoded(self, wanted: Sequence[int] | None = None) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames with their times, or places where there are no times; the wanted ones alone where they are named.

        Between wanted frames that lie far apart it jumps to the key frame before the next.
        """
        with self._opened() as container:
            stream = container.streams.video[0]
            if not self._timed:
                asked = None if wanted is None else set(wanted)
                for place, frame in enumerate(container.decode(stream)):
                    if asked is None or place in asked:
                        yield place, frame
                    if wanted is not None and place >= wanted[-1]:
                        return
                return
            groups: dict[int, list[int]] = {}
            for time in wanted or self._times:
                key = self._keys[max(0, bisect.bisect_right(self._keys, time) - 1)]
                groups.setdefault(key, []).append(time)
            for key, times in groups.items():
                container.seek(key, stream=stream)
                left = set(times)
                for frame in container.decode(stream):
                    if frame.pts in left:
                        left.remove(frame.pts)
                        yield frame.pts, frame
                    # Frames come out in the order of time, so a later one means that the rest is lost.
                    if not left or (frame.pts is not None and frame.pts > times[-1]):
                        break

    def _image(self, frame: av.VideoFrame) -> Tensor:
        """``(3, H, W)`` uint8, of the size asked for."""
        images.check_pixels(frame.width, frame.height, str(self.path))
        image = torch.from_numpy(_upright(frame)).permute(2, 0, 1)
        if self.size is None:
            return image.contiguous()
        resized = F.resize(image, [self.size], InterpolationMode.BICUBIC, antialias=True)
        return F.center_crop(resized, [self.size, self.size])


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """A frame ``(H, W, 3)`` as its display matrix asks to show it; where that is aslant, as it is stored."""
    pixels = frame.to_ndarray(format="rgb24")
    if not frame.rotation:  # most videos; a half turn where they are mirrored from side to side
        return pixels
    told: Any = frame.side_data  # of which PyAV's stub knows one kind alone
    # What is stored at (x, y) is shown at (a x + c y, b x + d y), but for a shift.
    (a, b), (c, d) = np.frombuffer(told["DISPLAYMATRIX"], np.int32).reshape(3, 3)[:2, :2].tolist()
    if a and d and not b and not c:
        return np.ascontiguousarray(pixels[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1])
    if b and c and not a and not d:
        return np.ascontiguousarray(pixels.swapaxes(0, 1)[:: 1 if b > 0 else -1, :: 1 if c > 0 else -1])
    return pixels


class _Opened:
    """An open video whose errors name the file and say what to do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> av.container.InputContainer:
        try:
            self.container = av.open(
                str(self.path.absolute()),
                format=VIDEOS[self.path.suffix.lower()],
                container_options={"protocol_whitelist": "file"},
            )
        except (av.error.FFmpegError, OSError) as error:
            raise self._damaged(error) from error
        try:
            videos = self.container.streams.video
            if not videos or videos[0].codec_context is None:  # a damaged header, or a codec that FFmpeg lacks
                raise self._damaged("no pictures that can be decoded")
            images.check_pixels(videos[0].codec_context.width, videos[0].codec_context.height, str(self.path))
        except UserError:
            self.container.close()
            raise
        return self.container

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.container.close()
        if isinstance(error, av.error.FFmpegError):
            raise self._damaged(error) from error

    def _damaged(self, error: object) -> UserError:
        return UserError(f"{self.path}: expected a whole video, got a damaged one ({error}); copy the file again")
