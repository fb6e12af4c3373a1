import json
import os
import time
from weakref import WeakSet

import av
import numpy as np
import pytest
from PIL import Image

from fer_core.data import frames
from fer_core.data.align_folder import align_folder, aligned_by
from fer_core.data.alignment import Alignment, from_box, warp
from fer_core.data.faces_in_images import FacePlacer, FoundFace
from fer_core.errors import UserError


class Bright:
    """Finds the box of what is bright; a picture that is all dark has no face."""

    name, version, by_pixels = "bright", "1", True

    def __init__(self):
        self.asked = 0

    def find(self, image, origin=None):
        self.asked += 1
        rows, columns = np.nonzero(image[..., 0] > 100)
        if not len(rows):
            return []
        return [FoundFace((float(columns.min()), float(rows.min()), columns.max() + 1.0, rows.max() + 1.0))]


def placer(**choices):
    return FacePlacer(Alignment(**{"size": 16, "mode": "box", "margin": 0.0} | choices), Bright())


def write(path, left=4, value=200):
    """A dark picture of 40x30 with a bright square of 8 pixels."""
    pixels = np.zeros((30, 40, 3), dtype=np.uint8)
    pixels[10:18, left : left + 8] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "raw"
    write(folder / "a.png")
    write(folder / "b" / "c.png", left=20)
    write(folder / "b" / "dark.png", value=0)
    (folder / "b" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (folder / "notes.txt").write_text("no picture")
    return folder


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_photographs(source, tmp_path):
    target, steps = tmp_path / "out", []
    report = align_folder(source, target, placer(), progress=lambda *step: steps.append(step))
    assert files(target) == ["a.png", "alignment.json", "alignment.jsonl", "b/c.png"]
    assert report.outcomes == {"aligned": 2, "skipped": 1, "unreadable": 1}
    assert report.skipped == ["b/dark.png"]
    assert list(report.unreadable) == ["b/broken.png"]
    assert "expected a whole image" in report.unreadable["b/broken.png"]
    assert steps == [(number, 4) for number in (1, 2, 3, 4)]
    pixels = np.asarray(Image.open(source / "b" / "c.png"))
    expected = warp(pixels, from_box(placer().alignment, (20, 10, 28, 18)), 16)
    np.testing.assert_array_equal(np.asarray(Image.open(target / "b" / "c.png")), expected)
    assert (expected[4:12, 4:12] == 200).all()


def test_the_note_tells_how_and_no_machine(source, tmp_path):
    report = align_folder(source, tmp_path / "out", placer())
    text = (tmp_path / "out" / "alignment.json").read_text()
    note = json.loads(text)
    assert note["digest"] == report.digest == placer().digest
    assert note["alignment"]["mode"] == "box"
    assert note["finder"] == {"name": "bright", "version": "1"}
    assert note["counts"]["photographs"] == 3
    assert str(tmp_path) not in text + (tmp_path / "out" / "alignment.jsonl").read_text()
    found = aligned_by(tmp_path / "out" / "b")
    assert found == {key: note[key] for key in ("digest", "alignment", "finder")}
    assert aligned_by(source) is None


def test_a_clip_is_a_folder_of_frames(tmp_path):
    for number, left in enumerate([4, 6, 8, 10], start=1):
        write(tmp_path / "raw" / "clips" / "7" / f"{number}.png", left, 0 if number == 3 else 200)
    place = placer()
    report = align_folder(tmp_path / "raw", tmp_path / "out", place, clips=True)
    assert report.outcomes == {"aligned": 1}
    assert report.counts["frames held"] == 1
    names = [f"0000{number}.png" for number in (1, 2, 3, 4)]
    assert files(tmp_path / "out" / "clips" / "7") == names
    crops = [np.asarray(Image.open(tmp_path / "out" / "clips" / "7" / name)) for name in names]
    assert [crop[8, 8, 0] for crop in crops] == [200, 200, 0, 200]


def test_a_clip_with_a_broken_frame_is_left_out(tmp_path):
    write(tmp_path / "raw" / "7" / "1.png")
    (tmp_path / "raw" / "7" / "2.png").write_bytes(b"broken")
    report = align_folder(tmp_path / "raw", tmp_path / "out", placer(), clips=True)
    assert report.outcomes == {"unreadable": 1}
    assert not (tmp_path / "out" / "7").exists()


def test_videos(tmp_path):
    (tmp_path / "raw").mkdir()
    with av.open(str(tmp_path / "raw" / "v.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for left in (8, 16, 24):
            pixels = np.zeros((48, 64, 3), dtype=np.uint8)
            pixels[16:32, left : left + 16] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    (tmp_path / "raw" / "broken.mp4").write_bytes(b"broken")
    report = align_folder(tmp_path / "raw", tmp_path / "out", placer())
    assert report.outcomes == {"aligned": 1, "unreadable": 1}
    crops = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "out" / "v").iterdir())]
    assert len(crops) == 3
    assert all(crop[4:12, 4:12].mean() > 200 for crop in crops)


@pytest.mark.parametrize("name", ["v.mp4", "v.avi"])  # with an index of its frames, and without
def test_a_video_is_decoded_in_one_go(tmp_path, monkeypatch, name):
    (tmp_path / "raw").mkdir()
    count, opened, living, most = 30, [], WeakSet(), []
    with av.open(str(tmp_path / "raw" / name), "w") as container:
        stream = container.add_stream("mpeg4", rate=5, options={"g": "6", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(count):
            pixels = np.zeros((48, 64, 3), dtype=np.uint8)
            pixels[16:32, number : number + 16] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    place, image, enter = placer(), frames.VideoFrames._image, frames._Opened.__enter__
    source = frames.open(tmp_path / "raw" / name)
    read = [source.read([number])[0].permute(1, 2, 0).contiguous().numpy() for number in range(count)]
    matrices = place.clip(range(count), lambda number: read[number])

    def counted(source, frame):
        made = image(source, frame)
        living.add(made)
        most.append(len(living))
        return made

    monkeypatch.setattr(frames.VideoFrames, "_image", counted)
    monkeypatch.setattr(frames._Opened, "__enter__", lambda each: opened.append(1) or enter(each))
    align_folder(tmp_path / "raw", tmp_path / "out", placer())
    assert len(opened) <= 4  # to count its frames, to find faces, to cut them out
    assert len(most) == 2 * count
    assert max(most) <= 3
    crops = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "out" / "v").iterdir())]
    for crop, pixels, matrix in zip(crops, read, matrices, strict=True):
        np.testing.assert_array_equal(crop, warp(pixels, matrix, 16))


def test_an_interrupted_call_goes_on(source, tmp_path):
    place = placer()
    find = place.finder.find

    def stop(image, origin=None):
        if place.finder.asked == 2:
            raise KeyboardInterrupt
        return find(image, origin)

    place.finder.find = stop
    with pytest.raises(KeyboardInterrupt):
        align_folder(source, tmp_path / "out", place)
    journal = tmp_path / "out" / "alignment.jsonl"
    journal.write_text(journal.read_text() + '{"path": "b/dark.p')
    again = placer()
    report = align_folder(source, tmp_path / "out", again)
    assert again.finder.asked == 1
    assert report == align_folder(source, tmp_path / "fresh", placer())
    assert files(tmp_path / "out") == files(tmp_path / "fresh")


def test_what_was_unreadable_or_has_changed_is_done_again(source, tmp_path):
    for number in (1, 2):
        write(source / "clip" / f"{number}.png")
    align_folder(source, tmp_path / "out", placer(), clips=True)
    (source / "new.png").write_bytes(b"broken")
    again = placer()
    report = align_folder(source, tmp_path / "out", again, clips=True)
    assert again.finder.asked == 0
    assert list(report.unreadable) == ["new.png", "b"]  # b has a broken frame

    write(source / "new.png", left=12)  # copied again
    write(source / "b" / "broken.png")
    write(source / "a.png", value=0)  # another picture, without a face
    frame = (source / "clip" / "2.png").stat()
    write(source / "clip" / "2.png", left=24)
    os.utime(source / "clip" / "2.png", ns=(0, frame.st_mtime_ns + 1))
    again = placer()
    report = align_folder(source, tmp_path / "out", again, clips=True)
    assert again.finder.asked == 1 + 3 + 1 + 2
    assert report == align_folder(source, tmp_path / "fresh", placer(), clips=True)
    assert files(tmp_path / "out") == files(tmp_path / "fresh")
    for path in (tmp_path / "fresh").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "out" / path.relative_to(tmp_path / "fresh")).read_bytes()
    again = placer()
    assert align_folder(source, tmp_path / "out", again, clips=True) == report
    assert again.finder.asked == 0


def test_a_crop_that_is_gone_is_made_again(source, tmp_path):
    align_folder(source, tmp_path / "out", placer())
    made = (tmp_path / "out" / "a.png").read_bytes()
    (tmp_path / "out" / "a.png").unlink()
    again = placer()
    align_folder(source, tmp_path / "out", again)
    assert again.finder.asked == 1
    assert (tmp_path / "out" / "a.png").read_bytes() == made


def test_lines_without_size_and_time_count_as_unchanged(source, tmp_path):
    report = align_folder(source, tmp_path / "out", placer())
    journal = tmp_path / "out" / "alignment.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    kept = ({key: value for key, value in line.items() if key not in ("size", "mtime")} for line in lines)
    journal.write_text("".join(json.dumps(line) + "\n" for line in kept))
    os.utime(source / "a.png", (0, 0))
    again = placer()
    assert align_folder(source, tmp_path / "out", again) == report
    assert again.finder.asked == 0


def test_leftovers_go(source, tmp_path):
    align_folder(source, tmp_path / "out", placer())
    (tmp_path / "out" / ".old.0123abcd.tmp").mkdir()
    (tmp_path / "out" / ".new.0123abcd.tmp").touch()
    os.utime(tmp_path / "out" / ".old.0123abcd.tmp", (time.time() - 7200,) * 2)
    align_folder(source, tmp_path / "out", placer())
    assert [path.name for path in (tmp_path / "out").glob(".*.tmp")] == [".new.0123abcd.tmp"]


def test_targets_that_are_refused(source, tmp_path):
    align_folder(source, tmp_path / "out", placer())
    with pytest.raises(UserError, match="expected a folder of alignment"):
        align_folder(source, tmp_path / "out", placer(size=32))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file.txt").touch()
    with pytest.raises(UserError, match="holds other files"):
        align_folder(source, tmp_path / "other", placer())
    with pytest.raises(UserError, match="beside each other"):
        align_folder(source, source / "out", placer())
    with pytest.raises(UserError, match="got a file"):
        align_folder(source, tmp_path / "out" / "a.png", placer())
    (tmp_path / "out" / "alignment.json").write_text("{}")
    with pytest.raises(UserError, match="expected an alignment's note of schema 1"):
        align_folder(source, tmp_path / "out", placer())


def test_sources_that_are_refused(tmp_path):
    with pytest.raises(UserError, match="to be a folder, found none"):
        align_folder(tmp_path / "raw", tmp_path / "out", placer())
    (tmp_path / "raw").mkdir()
    with pytest.raises(UserError, match="expected images or videos"):
        align_folder(tmp_path / "raw", tmp_path / "out", placer())
    write(tmp_path / "raw" / "a.png")
    write(tmp_path / "raw" / "a.bmp")
    with pytest.raises(UserError, match="would become one"):
        align_folder(tmp_path / "raw", tmp_path / "out", placer())
    os.rename(tmp_path / "raw" / "a.bmp", os.fsencode(tmp_path / "raw") + b"/caf\xe9.bmp")
    with pytest.raises(UserError, match=r"expected names of files in UTF-8, got b'caf\\xe9.bmp'; rename it"):
        align_folder(tmp_path / "raw", tmp_path / "out", placer())


def test_no_link_leads_out_of_the_source(tmp_path):
    write(tmp_path / "secret.png")
    (tmp_path / "raw").mkdir()
    os.symlink(tmp_path / "secret.png", tmp_path / "raw" / "a.png")
    with pytest.raises(UserError, match="got a way out"):
        align_folder(tmp_path / "raw", tmp_path / "out", placer())


def test_rules_of_the_alignment_stop_the_call(source, tmp_path):
    with pytest.raises(UserError, match=r"b/dark.png: expected a face"):
        align_folder(source, tmp_path / "out", placer(none="error"))
