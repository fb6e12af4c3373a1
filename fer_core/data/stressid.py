"""StressID: tasks of 65 people, of whom 54 were filmed; stressed or not by their own rating.

Chaptoukaev et al., "StressID: a Multimodal Dataset for Stress Identification", NeurIPS 2023 (Datasets and Benchmarks).
The protocol is that of CLIP-AUTT (Zeeshan et al., arXiv 2603.27999).

The layout was checked against code of several public repositories, the rule of the labels against the data set's page:
a task is stress (1) where its rating is 5 or more of 10. Rows without a label, and tasks that were not filmed, are
left out; the release does not list which were, so tasks that filmed people lack are told. The released labels of
CLIP-AUTT keep every fifth frame of a video and then every one of those, hence the stride of 5 for videos; where frame
folders hold the frames that were kept, take ``stride=1``.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from fer_core.data import clips, crops, demo_files, labels, listfiles, subjects
from fer_core.data.dataset import FaceDataset
from fer_core.data.demo import DemoFaces
from fer_core.data.files import Entry, Listing
from fer_core.data.layout import Layout, Root, find, register
from fer_core.data.subjects import SourceOptions
from fer_core.errors import UserError

logger = logging.getLogger(__name__)

CLASSES = ("neutral", "stress")
FOLDERS = ("stressid", "StressID", "StressID Dataset", "StressID/StressID Dataset")
SOURCE = "StressID (Chaptoukaev et al., 2023), self-rated stress of 5 or more"
CLIPS = ("Videos",)

_COLUMNS = ("subject/task", "binary-stress")
_LACKING = "tasks have no video though others of these people do: they were not filmed, or the copy is incomplete"


@dataclass(frozen=True)
class StressidOptions(SourceOptions):
    """How clips of StressID are seen.

    Args:
        stride: See :class:`SourceOptions`; 5 on videos is the released sampling.
    """

    stride: int = 5


def _entries(folder: Path, options: StressidOptions) -> tuple[list[Entry], list[Entry]]:
    """All filmed tasks with a label, sources' and targets', and those that have no video."""
    path = listfiles.find(folder, ("labels.csv",), "stressid: list")
    within = clips.clips_folder(folder, options.clips, CLIPS)
    told: dict[str, Entry] = {}
    made, unfilmed = crops.Crops(folder), list[Entry]()
    for row in listfiles.table_rows(path, _COLUMNS):
        task, code = listfiles.cut(row.columns[0], 1, row.where)[0], row.columns[1]
        if code.lower() in ("", "nan"):
            continue
        subject, found, _ = task.partition("_")
        if not found or task in told:
            raise UserError(
                f"{row.where}: expected <subject>_<task>, each once, got {task!r}; restore the official file"
            )
        # Tables that were written with a column of missing values hold 1.0 for 1.
        label = labels.decode("stressid/binary", code.removesuffix(".0"), row.where)
        place = f"{within}/{subject}/{task}"
        if not (folder / place).is_dir():
            place = f"{place}.mp4"
        if label is None:
            continue
        entry = Entry(place, label, subject)
        if (folder / place).exists() or made.outcome(place) == "skipped":
            told[task] = entry
        else:
            unfilmed.append(entry)
    if not told:
        raise UserError(
            f"stressid: expected videos as {within}/<subject>/<subject>_<task>.mp4 in {folder}, found none of "
            f"{len(unfilmed)} tasks; unpack the release's videos there"
        )
    logger.info("stressid: %d tasks have a video, %d have none", len(told), len(unfilmed))
    return [told[task] for task in sorted(told)], unfilmed


def listing(split: str, root: Root, options: StressidOptions) -> Listing:
    """Reads the table of tasks and divides it into sources and targets.

    Raises:
        UserError: If the folder or the table is missing or damaged, no task was filmed, or the targets are not told.
    """
    folder = find("stressid", root, FOLDERS, ("labels.csv",))
    entries, unfilmed = _entries(folder, options)
    everybody = tuple(sorted({str(entry.subject) for entry in entries}))
    chosen = tuple(subjects.divide("stressid", folder, entries, split, options))
    filmed = {entry.subject for entry in chosen}
    lacking = tuple(entry.path for entry in unfilmed if entry.subject in filmed)
    if lacking:
        people = len({entry.subject for entry in unfilmed} & filmed)
        logger.warning(
            "stressid/%s: %d tasks of %d people who were filmed in others have no video (%s); where they were filmed, "
            "too, unpack the release's videos again",
            split, len(lacking), people, lacking[0],
        )  # fmt: skip
    left_out = {_LACKING: lacking} if lacking else {}
    return crops.over(Listing(folder, CLASSES, chosen, everybody, left_out), f"stressid/{split}")


def open(split: str, root: Root, options: StressidOptions) -> FaceDataset:
    """Opens one split.

    Raises:
        UserError: As :func:`listing`.
    """
    return clips.open_clips("stressid", split, listing(split, root, options), SOURCE, options)


def demo(root: Path, faces: DemoFaces) -> None:
    """Writes 4 filmed tasks and one that was not filmed of each of 7 people, two of them targets."""
    shown = faces.clips(CLASSES, per_class=7, frames=4, size=64)
    names = [f"d{number}mo" for number in range(7)]
    rows = ["subject/task,binary-stress,affect3-class"]
    tasks = {"neutral": ("Breathing", "Relax"), "stress": ("Math", "Stroop")}
    for number, clip in enumerate(demo_files.varied(shown, 2)):
        name = names[clip.subject - shown[0].subject]
        task = f"{name}_{tasks[clip.class_name][number // len(shown)]}"
        demo_files.write_video(root / f"Videos/{name}/{task}.mp4", demo_files.slowed(clip.frames, 90))
        stressed = CLASSES.index(clip.class_name)
        rows.append(f"{task},{stressed},{2 * stressed}")
    rows.extend(f"{name}_Speaking,1,2" for name in names)
    demo_files.write_lines(root / "labels.csv", rows)
    demo_files.write_lines(root / subjects.TARGETS, ["# target subjects, one a line", *names[-2:]])


LAYOUT = register(
    Layout(
        name="stressid",
        title="StressID",
        kind="subjects",
        classes=CLASSES,
        folders=FOLDERS,
        licence="research, after signing its agreement",
        apply="https://project.inria.fr/stressid",
        citation="chaptoukaev2023stressid",
        tree="""\
StressID Dataset/
  Videos/<subject>/<subject>_<task>.mp4 ...   tasks: Breathing, Counting1, Math, Relax, Speaking, Stroop, ...
  labels.csv                                  subject/task, binary-stress, affect3-class
  targets.txt                                 yours: target subjects, one a line
""",
        options=StressidOptions,
        open=open,
        listing=listing,
        demo=demo,
    )
)
