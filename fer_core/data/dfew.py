"""DFEW: 16,372 clips of films, of which 11,697 carry one of seven expressions; five folds.

Jiang et al., "DFEW: A Large-Scale Database for Recognizing Dynamic Facial Expressions in the Wild", ACM MM 2020.

The layout was checked against the release's own read-me, as public repositories hold it: names of the folders, codes
1 to 7, sizes of the folds. Our reading: videos of ``Clip/original`` are named with or without leading zeros, and a
folder of one part of the release (``clip_224x224_part_3``) may stay as it was unpacked.
"""

from pathlib import Path

from fer_core.data import clips, crops, demo_files, labels, listfiles
from fer_core.data.clips import FOLDS, FoldOptions, Labelled
from fer_core.data.dataset import FaceDataset
from fer_core.data.demo import DemoFaces
from fer_core.data.files import Listing
from fer_core.data.layout import Layout, Root, find, register

CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
FOLDERS = ("dfew", "DFEW")
CLIPS = ("Clip/clip_224x224", "Clip/clip_224x224_16f", "Clip/original")
HEADER = ("video_name", "label")
SOURCE = "DFEW (Jiang et al., 2020)"


def _lists(split: str, options: FoldOptions) -> tuple[str, ...]:
    """Where the list of a split may lie, in the folder of the lists."""
    fold = options.fold
    return {
        "official": (
            f"EmoLabel_DataSplit/{split}(single-labeled)/set_{fold}.csv",
            f"EmoLabel_DataSplit/{split}(single_labeled)/set_{fold}.csv",  # as the read-me spells it
        ),
        "dfer-clip": (f"DFEW_set_{fold}_{split}.txt", f"annotation/DFEW_set_{fold}_{split}.txt"),
        "mae-dfer": (f"dfew/org/split{fold:02d}/{split}.csv", f"saved/data/dfew/org/split{fold:02d}/{split}.csv"),
    }[options.lists]


def _told(folder: Path, split: str, options: FoldOptions) -> dict[str, Labelled]:
    path = listfiles.find(clips.lists_folder(folder, options), _lists(split, options), "dfew: list")
    official = options.lists == "official"
    rows = listfiles.table_rows(path, HEADER) if official else listfiles.split_rows(path, clips.COLUMNS[options.lists])
    return clips.read(rows, path.name, f"dfew/{options.lists}", clips.numbered_clip)


def listing(split: str, root: Root, options: FoldOptions) -> Listing:
    """Reads the list of one split of a fold.

    Raises:
        UserError: If the folder or the list is missing or damaged.
    """
    folder = find("dfew", root, FOLDERS, ("EmoLabel_DataSplit", "Clip"))
    told = _told(folder, "test" if split == "test" else "train", options)
    within = clips.clips_folder(folder, options.clips, CLIPS)
    skipped = crops.Crops(folder).skipped(within)
    there = listfiles.present(folder / within, lambda stem: stem.zfill(5), skipped)
    found = clips.listing(
        folder, CLASSES, told, split, options.validation, lambda name: f"{within}/{there.get(name, name)}"
    )
    return crops.over(found, f"dfew/{split}")


def open(split: str, root: Root, options: FoldOptions) -> FaceDataset:
    """Opens one split of a fold.

    Raises:
        UserError: As :func:`listing`, or if a clip is missing.
    """
    source = f"{SOURCE}, fold {options.fold}, {options.lists} lists"
    return clips.open_clips("dfew", split, listing(split, root, options), source, options)


def demo(root: Path, faces: DemoFaces) -> None:
    """Writes 56 clips: each tests in one fold and trains in the others."""
    codes = {name: code for code, name in labels.RELEASES["dfew/official"].codes.items()}
    made = demo_files.varied(faces.clips(CLASSES, per_class=1, frames=6, size=224), 8)
    for number, clip in enumerate(made, start=1):
        names = [f"{number:05d}_{frame:05d}.jpg" for frame in range(1, len(clip.frames) + 1)]
        demo_files.write_frames(root / f"Clip/clip_224x224/{number:05d}", names, clip.frames)
        demo_files.write_video(root / f"Clip/original/{number}.mp4", clip.frames[:, ::2, ::2])
    demo_files.write_known(root, {f"Clip/clip_224x224/{number:05d}": clip for number, clip in enumerate(made, start=1)})
    for fold in range(1, FOLDS + 1):
        for split in ("train", "test"):
            rows = [
                f"{number},{codes[clip.class_name]}"
                for number, clip in enumerate(made, start=1)
                if (number % FOLDS + 1 == fold) == (split == "test")
            ]
            path = root / f"EmoLabel_DataSplit/{split}(single-labeled)/set_{fold}.csv"
            demo_files.write_lines(path, [",".join(HEADER), *rows])


LAYOUT = register(
    Layout(
        name="dfew",
        title="DFEW",
        kind="clips",
        classes=CLASSES,
        folds=FOLDS,
        folders=FOLDERS,
        licence="non-commercial research and education; the clips' copyrights are others'",
        apply="https://dfew-dataset.github.io",
        citation="jiang2020dfew",
        tree="""\
DFEW/
  Clip/
    clip_224x224/00001/00001_00001.jpg ...   aligned faces
    clip_224x224_16f/00001/00001_1.jpg ...   the same, 16 frames each by interpolation
    original/1.mp4 ...                       videos
  EmoLabel_DataSplit/
    train(single-labeled)/set_1.csv ... set_5.csv
    test(single-labeled)/set_1.csv ... set_5.csv
""",
        options=FoldOptions,
        open=open,
        listing=listing,
        demo=demo,
        # Fold 1, which is the default; no class of another fold differs by more than one clip. The sums are those of
        # the release's read-me, the classes were counted in both collections of public lists.
        official={
            "train": dict(zip(CLASSES, (2135, 1956, 1515, 1175, 721, 116, 1738), strict=True)),
            "test": dict(zip(CLASSES, (534, 489, 379, 294, 181, 29, 435), strict=True)),
        },
    )
)
