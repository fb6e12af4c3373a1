"""BioVid Heat Pain, Part A: no pain (BL1) against the strongest pain (PA4) of 87 people.

Walter et al., "The BioVid Heat Pain Database", CYBCO 2013. The task and its protocol are those of CLIP-AUTT (Zeeshan
et al., arXiv 2603.27999).

The layout was checked against code of several public repositories: videos in a folder for each person, named
``<person>-<stimulus>-<number>``, and the tab-separated table ``starting_point/samples.csv``. The released labels of
CLIP-AUTT name frames at 2.04 to 5.00 s of each video, 75 frames at 25 a second: the response to a stimulus takes about
two seconds to begin. Our reading: a folder of fewer frames than end there holds those that somebody chose of the
video, one of more holds the video's, from its first on.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from fer_core.data import clips, crops, demo_files, frames, labels, listfiles, subjects
from fer_core.data.dataset import FaceDataset
from fer_core.data.demo import DemoFaces
from fer_core.data.files import Entry, Listing
from fer_core.data.layout import Layout, Root, find, register
from fer_core.data.subjects import SourceOptions
from fer_core.errors import UserError

CLASSES = ("neutral", "pain")
FOLDERS = ("biovid", "BioVid", "BioVid/PartA", "Biovid/PartA", "PartA", "partA")
SOURCE = "BioVid Heat Pain Part A (Walter et al., 2013), BL1 and PA4"
SAMPLES = "starting_point/samples.csv"
CLIPS = ("video",)

FRAMES = 75
FIRST = 51  # at 25 frames a second frame 51 is shown at 2.04 s

_COLUMNS = ("subject_name", "class_name", "sample_name")


@dataclass(frozen=True)
class BiovidOptions(SourceOptions):
    """How clips of BioVid are seen.

    Args:
        whole: Whether a video is seen whole; otherwise from 2.04 s to 5.00 s, its frames 51 to 125. So is a folder of
            frames that reaches as far, of 126 frames or more, as ``fer-core data align`` makes of a video. Shorter ones
            are always taken whole: who cut them chose their frames.
    """

    whole: bool = False


def _entries(folder: Path, options: BiovidOptions) -> list[Entry]:
    """All clips of the task, sources' and targets'."""
    path = listfiles.find(folder, (SAMPLES,), "biovid: list")
    within = clips.clips_folder(folder, options.clips, CLIPS)
    entries: dict[str, Entry] = {}
    for row in listfiles.table_rows(path, _COLUMNS, "\t"):
        subject, stimulus, sample = (listfiles.cut(column, 1, row.where)[0] for column in row.columns)
        label = labels.decode("biovid/part-a", stimulus, row.where)
        if not sample.startswith(f"{subject}-{stimulus}-"):
            raise UserError(
                f"{row.where}: expected a sample named after {subject!r} and {stimulus!r}, got {sample!r}; restore "
                "the official file"
            )
        if label is None:
            continue
        if sample in entries:
            raise UserError(f"{row.where}: expected each sample once, got {sample!r} twice; restore the official file")
        place = f"{within}/{subject}/{sample}"
        is_folder = (folder / place).is_dir()
        chosen = is_folder and len(frames.frame_names(folder / place)) < FIRST + FRAMES
        entry = Entry(place if is_folder else f"{place}.mp4", label, subject)
        entries[sample] = entry if options.whole or chosen else replace(entry, frames=FRAMES, first=FIRST)
    return [entries[sample] for sample in sorted(entries, key=_shuffled)]


def _shuffled(sample: str) -> tuple[str, str]:
    """A person's samples, in an order that their names alone decide.

    The release does not tell when which stimulus came. By name all videos without pain would come before all with it,
    and test-time methods, which meet one video after another, would adapt to one class at a time.
    """
    return sample.split("-")[0], hashlib.sha256(sample.encode()).hexdigest()


def listing(split: str, root: Root, options: BiovidOptions) -> Listing:
    """Reads the table of samples and divides it into sources and targets.

    Raises:
        UserError: If the folder or the table is missing or damaged, or the targets are not told.
    """
    folder = find("biovid", root, FOLDERS, ("starting_point",))
    entries = _entries(folder, options)
    everybody = tuple(sorted({str(entry.subject) for entry in entries}))
    chosen = tuple(subjects.divide("biovid", folder, entries, split, options))
    return crops.over(Listing(folder, CLASSES, chosen, everybody), f"biovid/{split}")


def open(split: str, root: Root, options: BiovidOptions) -> FaceDataset:
    """Opens one split.

    Raises:
        UserError: As :func:`listing`, or if a clip is missing.
    """
    return clips.open_clips("biovid", split, listing(split, root, options), SOURCE, options)


def demo(root: Path, faces: DemoFaces) -> None:
    """Writes 4 videos each of 7 people, two of them targets."""
    shown = faces.clips(CLASSES, per_class=7, frames=4, size=64)
    names = [f"{100 + number:06d}_{'mw'[number % 2]}_{20 + number}" for number in range(7)]
    rows = ["\t".join(("subject_id", "subject_name", "class_id", "class_name", "sample_id", "sample_name"))]
    for number, clip in enumerate(demo_files.varied(shown, 2)):
        person, stimulus = clip.subject - shown[0].subject, ("BL1", "PA4")[CLASSES.index(clip.class_name)]
        sample = f"{names[person]}-{stimulus}-{number:03d}"
        demo_files.write_video(root / f"video/{names[person]}/{sample}.mp4", demo_files.slowed(clip.frames, 138))
        level = str(("BL1", "PA1", "PA2", "PA3", "PA4").index(stimulus))
        rows.append("\t".join((str(person + 1), names[person], level, stimulus, str(number + 1), sample)))
    demo_files.write_lines(root / SAMPLES, rows)
    demo_files.write_lines(root / subjects.TARGETS, ["# target subjects, one a line", *names[-2:]])


LAYOUT = register(
    Layout(
        name="biovid",
        title="BioVid Heat Pain, Part A",
        kind="subjects",
        classes=CLASSES,
        folders=FOLDERS,
        licence="non-commercial research, after signing its agreement",
        apply="https://www.nit.ovgu.de/BioVid.html",
        citation="walter2013biovid",
        tree="""\
PartA/
  video/<person>/<person>-BL1-081.mp4 ...   person as date, sex, age: MMDDYY_w_21
  starting_point/samples.csv                tabs: subject_id, subject_name, class_id, class_name, sample_id, sample_name
  targets.txt                               yours: target subjects, one a line
""",
        options=BiovidOptions,
        open=open,
        listing=listing,
        demo=demo,
    )
)
