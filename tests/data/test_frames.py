"""Frames in time's order, from folders and from videos, one by one as all at once."""

import struct
from pathlib import Path
from weakref import WeakSet

import av
import numpy as np
import pytest
import torch
from PIL import Image

from fer_core.data import frames, images, sampling
from fer_core.errors import UserError


def write_video(path: Path, count: int, codec: str = "mpeg4", **options: str) -> None:
    """A video whose frame ``i`` is grey of ``6 * i``, 48 x 32 pixels."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 48, 32, "yuv420p", 8_000_000
        for place in range(count):
            pixels = np.full((32, 48, 3), 6 * place, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def places(clip: torch.Tensor) -> list[int]:
    """Which frames of :func:`write_video` these are."""
    return (clip.float().mean(dim=(1, 2, 3)) / 6).round().int().tolist()


KINDS = {
    "key frames": ("a.mp4", "mpeg4", {"g": "5", "sc_threshold": "1000000000"}),
    "one key frame": ("a.mkv", "mpeg4", {"g": "300", "sc_threshold": "1000000000"}),
    "reordered": ("a.mp4", "mpeg4", {"g": "6", "bf": "2", "sc_threshold": "1000000000"}),
    "avi": ("a.avi", "mpeg4", {"bf": "2"}),
    "mpeg": ("a.mpg", "mpeg2video", {"g": "8", "bf": "2"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_gives_any_frame(tmp_path: Path, kind: str) -> None:
    name, codec, options = KINDS[kind]
    write_video(tmp_path / name, 40, codec, **options)
    source = frames.open(tmp_path / name)
    assert len(source) == 40
    assert places(source.read(range(40))) == list(range(40))
    for chosen in ([39], [0], [17, 3, 17, 38], [20, 19]):
        assert places(source.read(chosen)) == chosen
    clip = source.read([5, 30])
    assert (clip.shape, clip.dtype) == ((2, 3, 32, 48), torch.uint8)
    assert frames.open(tmp_path / name, size=16).read([5]).shape == (1, 3, 16, 16)
    with pytest.raises(IndexError, match=r"0\.\.39"):
        source.read([40])


class Passed:
    """A packet that weak references may be made to."""

    def __init__(self, packet: av.Packet) -> None:
        self.packet = packet

    def __getattr__(self, name: str):
        return getattr(self.packet, name)


class Watched:
    """PyAV's container cannot be patched, so a stand-in passes everything on, and counts."""

    def __init__(self, container: av.container.InputContainer, decoded: list[int | None], packets: WeakSet) -> None:
        self.container, self.decoded, self.packets = container, decoded, packets

    def __getattr__(self, name: str):
        return getattr(self.container, name)

    def decode(self, *arguments):
        for frame in self.container.decode(*arguments):
            self.decoded.append(frame.pts)
            yield frame

    def demux(self, **arguments):
        for packet in self.container.demux(**arguments):
            passed = Passed(packet)
            self.packets.add(passed)
            assert len(self.packets) < 5  # of those that were given, how many are still held
            yield passed


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Fills with the times of all frames that are decoded."""
    decoded, opened = [], frames._Opened.__enter__
    monkeypatch.setattr(frames._Opened, "__enter__", lambda self: Watched(opened(self), decoded, WeakSet()))
    return decoded


def test_reads_no_more_than_it_must(tmp_path: Path, decoded: list[int | None]) -> None:
    # Without key frames where the picture changes much: here it always does.
    write_video(tmp_path / "a.mp4", 40, "mpeg4", g="10", sc_threshold="1000000000")
    source = frames.VideoFrames(tmp_path / "a.mp4")
    assert places(source.read([2, 31])) == [2, 31]
    assert len(decoded) == 3 + 2  # frames 0 to 2, then 30, a key frame, and 31


@pytest.mark.parametrize("kind", KINDS)
def test_counting_keeps_no_packet(tmp_path: Path, decoded: list[int | None], kind: str) -> None:
    name, codec, options = KINDS[kind]
    write_video(tmp_path / name, 40, codec, **options)
    assert len(frames.open(tmp_path / name)) == 40


@pytest.mark.parametrize("step", [1, 3, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_windows_are_decoded_once(
    tmp_path: Path, decoded: list[int | None], monkeypatch: pytest.MonkeyPatch, kind: str, step: int
) -> None:
    name, codec, options = KINDS[kind]
    write_video(tmp_path / name, 40, codec, **options)
    source, image, held, most = frames.VideoFrames(tmp_path / name), frames.VideoFrames._image, WeakSet(), []

    def counted(self, frame):
        pixels = image(self, frame)
        held.add(pixels)
        most.append(len(held))
        return pixels

    monkeypatch.setattr(frames.VideoFrames, "_image", counted)
    decoded.clear()
    windows = sampling.windows(40, 4, step)
    for window, clip in zip(windows, source.read_runs(windows), strict=True):
        assert places(clip) == window.tolist()
    assert len(decoded) <= 45  # a codec may decode some again where it jumps
    assert max(most) <= 4  # a window is what memory holds


def test_runs_may_come_in_any_order(tmp_path: Path) -> None:
    runs = [[30, 2, 2], [0, 5], [39], [5, 0]]
    for name, codec, options in KINDS.values():
        write_video(tmp_path / name, 40, codec, **options)
        assert [places(clip) for clip in frames.open(tmp_path / name).read_runs(runs)] == runs
    for number in range(40):
        Image.new("RGB", (4, 4), (6 * number,) * 3).save(tmp_path / f"{number}.png")
    assert [places(clip) for clip in frames.open(tmp_path).read_runs(runs)] == runs


#: Where the stored picture's upper left, upper right and lower left corner are shown: rows and columns of a quarter.
TURNS = {
    "as it is": ((1, 0, 0, 1), (32, 48), [(0, 0), (0, 1), (1, 0)]),
    "clockwise": ((0, 1, -1, 0), (48, 32), [(0, 1), (1, 1), (0, 0)]),  # a phone held upright
    "counterclockwise": ((0, -1, 1, 0), (48, 32), [(1, 0), (0, 0), (1, 1)]),
    "half": ((-1, 0, 0, -1), (32, 48), [(1, 1), (1, 0), (0, 1)]),
    "mirrored": ((-1, 0, 0, 1), (32, 48), [(0, 1), (0, 0), (1, 1)]),
    "clockwise, mirrored": ((0, 1, 1, 0), (48, 32), [(0, 0), (1, 0), (0, 1)]),
    "aslant": ((0.8, 0.6, -0.6, 0.8), (32, 48), [(0, 0), (0, 1), (1, 0)]),  # nobody films so; left alone
}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_videos_are_shown_as_they_were_held(tmp_path: Path, turn: str, suffix: str) -> None:
    matrix, shape, corners = TURNS[turn]
    place = tmp_path / f"a{suffix}"
    stored = np.zeros((32, 48, 3), dtype=np.uint8)
    stored[:16, :24], stored[:16, 24:], stored[16:, :24] = 60, 120, 180
    with av.open(str(place), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 48, 32, "yuv420p", 8_000_000
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode())
    # A track's header has a matrix that takes (x, y, 1), as a row before it, to the place that is shown.
    content = place.read_bytes()
    at = content.index(b"tkhd") + 44
    a, b, c, d = (round(2**16 * value) for value in matrix)
    place.write_bytes(content[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 2**30) + content[at + 36 :])
    (frame,) = frames.open(place).read([0]).numpy()
    assert frame.shape == (3, *shape)
    for (row, column), grey in zip(corners, (60, 120, 180), strict=True):
        quarter = frame[:, row * shape[0] // 2 :, column * shape[1] // 2 :][
            :, 2 : shape[0] // 2 - 2, 2 : shape[1] // 2 - 2
        ]
        assert np.abs(quarter.astype(int) - grey).max() < 12
    assert frames.open(place, size=16).read([0]).shape == (1, 3, 16, 16)


def test_folders_count_as_people_do(tmp_path: Path) -> None:
    for number in range(12):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"frame{number}.png")
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "._frame0.png").write_bytes(b"x")
    source = frames.open(tmp_path)
    assert len(source) == 12
    assert source.read([11, 2, 2])[:, 0, 0, 0].tolist() == [11, 2, 2]
    assert sorted(["b10", "b9", "a2", "10", "9", "09"], key=frames.natural) == ["09", "9", "10", "a2", "b9", "b10"]


def test_frames_of_many_sizes_need_a_size(tmp_path: Path) -> None:
    for number, size in enumerate(((8, 6), (9, 6))):
        Image.new("RGB", size).save(tmp_path / f"{number}.png")
    with pytest.raises(UserError, match="frames of one size"):
        frames.open(tmp_path).read([0, 1])
    assert frames.open(tmp_path, size=6).read([0, 1]).shape == (2, 3, 6, 6)


def test_names_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:10,\n{tmp_path}/secret.mp4\n")
    write_video(tmp_path / "whole.mp4", 20)
    content = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(content[: len(content) // 2])
    write_video(tmp_path / "whole.avi", 20)
    content = (tmp_path / "whole.avi").read_bytes()
    frames_at = content.index(b"movi")  # behind a long header
    (tmp_path / "half.avi").write_bytes(content[: frames_at + (content.index(b"idx1") - frames_at) // 2])
    for name, message in [
        ("empty", "expected the frames of a clip, found no image"),
        ("none", "expected a folder of frames or a video file, found none"),
        ("notes.txt", "got a file of another kind"),
        ("list.mp4", "expected a whole video"),  # and not what the playlist names
        ("half.mp4", "expected a whole video"),
        ("half.avi", "expected the 20 frames that its header states, got"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            frames.open(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(images, "MAX_PIXELS", 32 * 48 - 1)
    with pytest.raises(UserError, match="pixels, got 48x32"):
        frames.open(tmp_path / "whole.mp4")
