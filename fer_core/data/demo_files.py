"""How a miniature of clips is written: more clips out of few drawn ones, frame folders, videos, lists, landmarks.

Drawing a face takes longer than writing it, so a miniature draws each person's expression once and makes further
clips of it by mirroring and by light. No two clips have equal pixels.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

from fer_core.data import mirror
from fer_core.data.demo import DemoClip

_LIGHT = (1.0, 0.85, 1.15, 0.7)
#: Folder of a miniature, beside the official release, with a face file for each clip.
LANDMARKS = "landmarks"
#: File of a miniature, beside the official release, as ``fer-core describe clips`` writes it.
DESCRIPTIONS = "descriptions.jsonl"


def varied(clips: Sequence[DemoClip], count: int) -> list[DemoClip]:
    """Several clips of each: mirrored, and under other light.

    Args:
        clips: What was drawn.
        count: Clips to make of each, at most 8.

    Returns:
        ``count * len(clips)`` clips: each once, then each again.
    """
    made = []
    for number in range(count):
        for clip in clips:
            frames, points, caption = clip.frames, clip.landmarks, clip.caption
            if number % 2:
                frames, points = frames[:, :, ::-1], mirror.landmarks(torch.from_numpy(points)).numpy()
                caption = mirror.swap_sides(caption)
            light = np.clip(frames * _LIGHT[number // 2] + 0.5, 0, 255).astype(np.uint8)
            made.append(replace(clip, frames=light, landmarks=points, caption=caption))
    return made


def slowed(frames: np.ndarray, count: int) -> np.ndarray:
    """A clip ``(count, H, W, 3)`` that shows the same in more frames."""
    return frames[np.arange(count) * len(frames) // count]


def write_frames(folder: Path, names: Iterable[str], frames: Iterable[np.ndarray]) -> None:
    """Writes a clip as a folder of JPEGs.

    Args:
        folder: Made with its parents.
        names: One file name a frame.
        frames: ``(T, H, W, 3)`` uint8, or T of ``(H, W, 3)``.
    """
    folder.mkdir(parents=True)
    for name, frame in zip(names, frames, strict=True):
        Image.fromarray(frame).save(folder / name, quality=92)


def write_video(path: Path, frames: Sequence[np.ndarray] | np.ndarray, rate: int = 25) -> None:
    """Writes a clip as an MPEG-4 video, which every build of FFmpeg can write and read.

    Args:
        path: Ends in ``.mp4``; its folder is made.
        frames: ``(T, H, W, 3)`` uint8, or T of ``(H, W, 3)``; height and width even.
        rate: Frames a second.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        stream.time_base = Fraction(1, rate)
        stream.codec_context.thread_count = 1  # starting more costs longer than such videos take
        for place, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts = place
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_known(root: Path, clips: Mapping[str, DemoClip]) -> None:
    """Writes what is known of drawn clips, as other tools would have found it: landmarks as face files, descriptions.

    Args:
        root: The miniature's folder.
        clips: By where they lie in it, videos or folders of frames; those have as many and as large frames.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    told = {"model": "fer_core.faces", "prompt_digest": "none", "created": now, "parameters": {}}
    for path, clip in clips.items():
        height, width = clip.frames.shape[1:3]
        points = (clip.landmarks * np.array([width, height])).round(2).tolist()
        faces = [{"frame": at, "landmarks": each} for at, each in enumerate(points)]
        write_lines(root / LANDMARKS / f"{path}.json", [json.dumps({"faces": faces})])
    rows = ({"key": path, "text": clip.caption, **told} for path, clip in clips.items())
    write_lines(root / DESCRIPTIONS, map(json.dumps, rows))


def write_lines(path: Path, lines: Iterable[str], encoding: str = "utf-8") -> None:
    """Writes a list; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding=encoding)
