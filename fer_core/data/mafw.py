"""MAFW: 10,045 clips of films and shows, of which 9,172 carry one of eleven expressions; five folds; captions.

Liu et al., "MAFW: A Large-scale, Multi-modal, Compound Affective Database for Dynamic Facial Expression Recognition in
the Wild", ACM MM 2022.

The layout was checked against preparation scripts of public repositories and against an inventory of the release that
one of them holds: folders, class words, 9,172 clips a fold, captions (tabs; Chinese, then English) for the 8,034 clips
that are not neutral. Our reading: captions that are not UTF-8 are GB 18030, the Chinese standard.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fer_core.data import clips, crops, demo_files, labels, listfiles
from fer_core.data.clips import FOLDS, FoldOptions, Labelled
from fer_core.data.dataset import FaceDataset
from fer_core.data.demo import DemoFaces
from fer_core.data.files import Listing
from fer_core.data.layout import Layout, Root, find, register
from fer_core.errors import UserError

CLASSES = (
    "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt",
    "anxiety", "helplessness", "disappointment",
)  # fmt: skip
FOLDERS = ("mafw", "MAFW")
CLIPS = ("data/faces", "data/frames", "data/clips")
LISTS = "Train & Test Set/single"
SOURCE = "MAFW (Liu et al., 2022), single expressions"

_LANGUAGES = {"chinese": 2, "english": 3}  # columns of a captioned list


@dataclass(frozen=True)
class MafwOptions(FoldOptions):
    """How clips of MAFW are seen.

    Args:
        captions: Which captions samples carry. No neutral clip has one (they carry an empty text), so a method that
            sees whether there is a caption sees part of the label.
    """

    captions: Literal["none", "english", "chinese"] = "none"


def _lists(split: str, options: MafwOptions) -> tuple[str, ...]:
    fold = options.fold
    return {
        "official": (f"{LISTS}/no_caption/set_{fold}/{split}.txt",),
        "dfer-clip": (f"MAFW_set_{fold}_{split}.txt", f"annotation/MAFW_set_{fold}_{split}.txt"),
        "mae-dfer": (f"mafw/single/split{fold:02d}/{split}.csv", f"saved/data/mafw/single/split{fold:02d}/{split}.csv"),
    }[options.lists]


def _told(folder: Path, split: str, options: MafwOptions) -> dict[str, Labelled]:
    path = listfiles.find(clips.lists_folder(folder, options), _lists(split, options), "mafw: list")
    rows = listfiles.split_rows(path, clips.COLUMNS[options.lists])
    return clips.read(rows, path.name, f"mafw/{options.lists}", clips.numbered_clip)


def _captioned(folder: Path, split: str, options: MafwOptions, told: Mapping[str, Labelled]) -> dict[str, Labelled]:
    """What the lists tell, with captions from the release's captioned list of the same fold."""
    path = listfiles.find(folder, (f"{LISTS}/with_caption/set_{options.fold}/{split}.txt",), "mafw: captions")
    rows = listfiles.split_rows(
        path,
        ("the name of a clip", "a class", "a Chinese caption", "an English caption"),
        "\t",
        from_left=True,
        encodings=("utf-8-sig", "gb18030"),
    )
    captions = listfiles.once(((clips.numbered_clip(row.columns[0], row.where), row) for row in rows), path.name)
    for name, row in captions.items():
        label = labels.decode("mafw/official", row.columns[1], row.where)
        if name in told and told[name].label != label:
            raise UserError(
                f"{row.where}: expected clip {name} to be {told[name].label} as in the {options.lists} list, got "
                f"{label}; take both lists from one release"
            )
    column = _LANGUAGES[options.captions]
    return {
        name: replace(clip, caption=captions[name].columns[column] if name in captions else "")
        for name, clip in told.items()
    }


def listing(split: str, root: Root, options: MafwOptions) -> Listing:
    """Reads the list of one split of a fold.

    Raises:
        UserError: If the folder or a list is missing or damaged, or two lists disagree on a label.
    """
    folder = find("mafw", root, FOLDERS, ("Train & Test Set", *CLIPS))
    wanted = "test" if split == "test" else "train"
    told = _told(folder, wanted, options)
    if options.captions != "none":
        told = _captioned(folder, wanted, options, told)
    within = clips.clips_folder(folder, options.clips, CLIPS)
    there = listfiles.present(folder / within)
    found = clips.listing(
        folder, CLASSES, told, split, options.validation, lambda name: f"{within}/{there.get(name, name)}"
    )
    return crops.over(found, f"mafw/{split}")


def open(split: str, root: Root, options: MafwOptions) -> FaceDataset:
    """Opens one split of a fold.

    Raises:
        UserError: As :func:`listing`, or if a clip is missing.
    """
    source = f"{SOURCE}, fold {options.fold}, {options.lists} lists"
    return clips.open_clips("mafw", split, listing(split, root, options), source, options)


def demo(root: Path, faces: DemoFaces) -> None:
    """Writes 88 videos with captions: each tests in one fold and trains in the others."""
    made = demo_files.varied(faces.clips(CLASSES, per_class=1, frames=6, size=128), 8)
    for number, clip in enumerate(made, start=1):
        demo_files.write_video(root / f"data/clips/{number:05d}.mp4", clip.frames)
    demo_files.write_known(root, {f"data/clips/{number:05d}.mp4": clip for number, clip in enumerate(made, start=1)})
    for fold in range(1, FOLDS + 1):
        for split in ("train", "test"):
            chosen = [
                (f"{number:05d}.mp4", clip)
                for number, clip in enumerate(made, start=1)
                if (number % FOLDS + 1 == fold) == (split == "test")
            ]
            plain = [f"{name} {clip.class_name}" for name, clip in chosen]
            demo_files.write_lines(root / f"{LISTS}/no_caption/set_{fold}/{split}.txt", plain)
            told = [
                f"{name}\t{clip.class_name}\t一张画出来的脸。\t{clip.caption}"
                for name, clip in chosen
                if clip.class_name != "neutral"
            ]
            demo_files.write_lines(root / f"{LISTS}/with_caption/set_{fold}/{split}.txt", told, "gb18030")


LAYOUT = register(
    Layout(
        name="mafw",
        title="MAFW",
        kind="clips",
        classes=CLASSES,
        folds=FOLDS,
        folders=FOLDERS,
        licence="non-commercial research by people of a university, after signing its terms",
        apply="https://github.com/MAFW-database/MAFW",
        citation="liu2022mafw",
        tree="""\
MAFW/
  data/clips/00025.mp4 ...                               videos
  data/frames/00025/*.jpg, data/faces/00025/*.jpg        frames, faces: where you have made them
  Train & Test Set/single/
    no_caption/set_1/train.txt, test.txt ... set_5/      00025.mp4 anger
    with_caption/set_1/train.txt, test.txt ... set_5/    name, class, Chinese and English caption; tabs
""",
        options=MafwOptions,
        open=open,
        listing=listing,
        demo=demo,
        # Fold 1, which is the default; no class of another fold differs by more than one clip. Counted in both
        # collections of public lists.
        official={
            "train": dict(zip(CLASSES, (910, 993, 1176, 857, 500, 511, 1112, 188, 732, 209, 145), strict=True)),
            "test": dict(zip(CLASSES, (228, 249, 294, 215, 125, 128, 278, 48, 184, 53, 37), strict=True)),
        },
    )
)
