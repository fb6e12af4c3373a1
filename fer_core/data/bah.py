"""BAH: people who answer seven questions on video; the moments in which they are ambivalent or hesitate.

González-González et al., "BAH Dataset for Ambivalence/Hesitancy Recognition in Videos for Behavioural Change" (arXiv
2505.19328). The protocol is that of CLIP-AUTT (Zeeshan et al., arXiv 2603.27999).

The layout was checked against the authors' code and code of other public repositories: the official lists of
participants' frames, ``split-frames/{train,val,test}.txt``, with a line ``Videos/<participant>/Visite_1/<video>.mp4/
frame-<n>.jpg,<label>``, and the cropped faces of every frame under the same names.

A sample is a segment: a run of frames of one video with one label. As released, segments of more than 100 frames are
cut into pieces of 100, and a last piece too short for the frames that a method sees borrows from the piece before it.
Our reading: segments of fewer than 16 frames are left out (the released label files hold none; the shortest of their
validation list has 17, and runs of 6 to 14 frames are missing there). Frames in folders are found
by the numbers in their names, and a folder that lacks one of a segment is an error.

Sources are the participants of the official training and validation lists, and targets those whom the file
``targets.txt`` names, whatever list they are in. With ``targets`` left out the official test participants are the
targets.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from fer_core.data import clips, crops, demo_files, files, labels, listfiles, subjects
from fer_core.data.dataset import FaceDataset
from fer_core.data.demo import DemoFaces
from fer_core.data.files import Entry, Listing
from fer_core.data.layout import Layout, Root, find, register
from fer_core.data.subjects import SubjectOptions
from fer_core.errors import UserError

CLASSES = ("neutral", "ambivalence")
FOLDERS = ("bah", "BAH", "BAH_DB", "BAH_DB/data", "BAH/data")
SOURCE = "BAH (González-González et al., 2025), segments"
LISTS = {"train": "split-frames/train.txt", "validation": "split-frames/val.txt", "test": "split-frames/test.txt"}
CLIPS = ("cropped-aligned-faces", "Videos")

SHORTEST = 16


@dataclass(frozen=True)
class BahOptions(SubjectOptions):
    """How clips of BAH are seen.

    Args:
        longest: Frames of the pieces that longer segments are cut into.
    """

    longest: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.longest < SHORTEST:
            raise UserError(f"longest: expected at least {SHORTEST} frames, got {self.longest}; the release has 100")


def _frames(path: Path) -> dict[str, dict[int, str]]:
    """For each video the code of each frame's label."""
    found: dict[str, dict[int, str]] = {}
    written: dict[str, dict[int, str]] = {}  # by the video as lines write it, which is checked once
    for row in listfiles.split_rows(path, ("the path of a frame", "a label"), ","):
        text, _, frame = row.columns[0].replace("\\", "/").rpartition("/")
        number = frame.removeprefix("frame-").removesuffix(".jpg")
        if frame != f"frame-{number}.jpg":
            raise _wrong(row)
        if text not in written:
            video = files.relative(text, row.where, ("Videos",))
            if video.count("/") != 3 or not video.startswith("Videos/"):
                raise _wrong(row)
            written[text] = found.setdefault(video, {})
        place = listfiles.whole_number(number, "the number of a frame", row.where)
        if place in written[text]:
            raise UserError(
                f"{row.where}: expected each frame once, got frame {place} twice; restore the official file"
            )
        written[text][place] = row.columns[1]
    return found


def _wrong(row: listfiles.Row) -> UserError:
    return UserError(
        f"{row.where}: expected Videos/<participant>/<visit>/<video>/frame-<n>.jpg, got {row.columns[0]!r}; "
        "restore the official file"
    )


def segments(codes: dict[int, str], longest: int, frames: int) -> list[tuple[int, int, str]]:
    """A video's segments, cut into pieces.

    Args:
        codes: The code of each frame's label, by the frame's number.
        longest: Frames of a piece.
        frames: Frames that a method sees of a clip.

    Returns:
        First frame, number of frames, and code of each piece.
    """
    numbers = sorted(codes)
    breaks = [
        place
        for place, (one, next_one) in enumerate(pairwise(numbers), start=1)
        if next_one != one + 1 or codes[next_one] != codes[one]
    ]
    pieces = []
    for begin, end in pairwise([0, *breaks, len(numbers)]):
        first, length = numbers[begin], end - begin
        if length < SHORTEST:
            continue
        for start in range(0, length, longest):
            stop = min(start + longest, length)
            borrowed = max(0, min(start, stop - frames))  # a first piece has nothing to borrow from
            pieces.append((first + borrowed, stop - borrowed, codes[first]))
    return pieces


def _entries(folder: Path, part: str, options: BahOptions) -> list[Entry]:
    """The pieces of all segments of an official list."""
    path = listfiles.find(folder, (LISTS[part],), "bah: list")
    within = clips.clips_folder(folder, options.clips, CLIPS)
    entries = []
    for video, codes in sorted(_frames(path).items()):
        place = video if within == "Videos" else f"{within}/{video}"
        for first, length, code in segments(codes, options.longest, options.frames):
            label = labels.decode("bah/video", code, f"{path.name}, {video}, frame {first}")
            if label is not None:
                entries.append(Entry(place, label, video.split("/")[1], frames=length, first=first, numbered=0))
    return entries


def listing(split: str, root: Root, options: BahOptions) -> Listing:
    """Reads the official lists and takes the targets out of the sources.

    Raises:
        UserError: If the folder or a list is missing or damaged, or a target is unknown.
    """
    folder = find("bah", root, FOLDERS, ("split-frames", "cropped-aligned-faces"))
    parts = {part: _entries(folder, part, options) for part in LISTS}
    everything = [entry for entries in parts.values() for entry in entries]
    known = {str(entry.subject) for entry in everything}
    if options.targets is None:
        chosen = parts[split]
    else:
        targets = subjects.read_targets("bah", folder, options.targets, known)
        among = everything if split == "test" else parts[split]
        chosen = [entry for entry in among if (entry.subject in targets) == (split == "test")]
    return crops.over(Listing(folder, CLASSES, tuple(chosen), tuple(sorted(known))), f"bah/{split}")


def open(split: str, root: Root, options: BahOptions) -> FaceDataset:
    """Opens one split.

    Raises:
        UserError: As :func:`listing`, or if a clip or a frame of a segment is missing.
    """
    return clips.open_clips("bah", split, listing(split, root, options), SOURCE, options)


def demo(root: Path, faces: DemoFaces) -> None:
    """Writes a video each of 8 people: 4 train, 2 validate, 2 are tested on and are the targets."""
    shown = faces.clips(CLASSES, per_class=8, frames=4, size=64)
    lines: dict[str, list[str]] = {part: [] for part in LISTS}
    names = [f"{90001 + person}" for person in range(8)]
    for person, name in enumerate(names):
        calm, torn = (demo_files.slowed(clip.frames, 60) for clip in shown[2 * person : 2 * person + 2])
        codes = [0] * 20 + [1] * 30 + [0] * 10
        frames = [(torn if code else calm)[place] for place, code in enumerate(codes)]
        video = f"Videos/{name}/Visite_1/{name}_Question_1_2024-01-01_12-00-00_Video.mp4"
        pictures = [f"frame-{place}.jpg" for place in range(len(codes))]
        demo_files.write_video(root / video, frames)
        demo_files.write_frames(root / "cropped-aligned-faces" / video, pictures, frames)
        part = "train" if person < 4 else "validation" if person < 6 else "test"
        lines[part].extend(f"{video}/{picture},{code}" for picture, code in zip(pictures, codes, strict=True))
    for part, rows in lines.items():
        demo_files.write_lines(root / LISTS[part], rows)
    demo_files.write_lines(root / subjects.TARGETS, ["# target subjects, one a line", *names[-2:]])


LAYOUT = register(
    Layout(
        name="bah",
        title="BAH",
        kind="subjects",
        classes=CLASSES,
        folders=FOLDERS,
        licence="research, after signing its agreement",
        apply="https://github.com/sbelharbi/bah-dataset",
        citation="gonzalez2025bah",
        tree="""\
BAH_DB/
  Videos/<participant>/Visite_1/<video>.mp4
  cropped-aligned-faces/Videos/<participant>/Visite_1/<video>.mp4/frame-0.jpg ...
  split-frames/train.txt, val.txt, test.txt   Videos/<participant>/Visite_1/<video>.mp4/frame-0.jpg,0
  targets.txt                                 yours: target subjects, one a line
""",
        options=BahOptions,
        open=open,
        listing=listing,
        demo=demo,
    )
)
