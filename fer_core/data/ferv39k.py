"""FERV39k: 38,935 clips of 22 scenes with one of seven expressions; one official split.

Wang et al., "FERV39k: A Large-Scale Multi-Scene Dataset for Facial Expression Recognition in Videos", CVPR 2022.

The layout was checked against the preparation scripts of public repositories that read the official lists: a line is
``Scene/Class/clip`` and the class in words. As the path names the class, too, every list is checked against it.
"""

from pathlib import Path

from fer_core.data import clips, crops, demo_files, labels, listfiles
from fer_core.data.clips import Labelled, ListedOptions
from fer_core.data.dataset import FaceDataset
from fer_core.data.demo import DemoFaces
from fer_core.data.files import Listing
from fer_core.data.layout import Layout, Root, find, register
from fer_core.errors import UserError

CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
FOLDERS = ("ferv39k", "FERV39k", "FERV39K")
CLIPS = ("2_ClipsforFaceCrop", "2_ClipsforFaceCrop/2_ClipsforFaceCrop")
SOURCE = "FERV39k (Wang et al., 2022)"


def _clip(path: str, where: str) -> str:
    """The name of a clip in all lists alike: "…/2_ClipsforFaceCrop/Action/Happy/0015" is Action/Happy/0015."""
    return "/".join(listfiles.cut(path, 3, where))


def _lists(split: str, options: ListedOptions) -> tuple[str, ...]:
    return {
        "official": (f"4_setups/All_scenes/{split}_All.csv",),
        "dfer-clip": (f"FERV39K_{split}.txt", f"annotation/FERV39K_{split}.txt"),
        "mae-dfer": (f"ferv39k/all_scenes/{split}.csv", f"saved/data/ferv39k/all_scenes/{split}.csv"),
    }[options.lists]


def _told(folder: Path, split: str, options: ListedOptions) -> dict[str, Labelled]:
    path = listfiles.find(clips.lists_folder(folder, options), _lists(split, options), "ferv39k: list")
    rows = listfiles.split_rows(path, clips.COLUMNS[options.lists])
    told = clips.read(rows, path.name, f"ferv39k/{options.lists}", _clip)
    for name, clip in told.items():
        shown = labels.decode("ferv39k/official", name.split("/")[1], f"{path.name}, {name}")
        if shown != clip.label:
            raise UserError(
                f"{path.name}: expected {name} to be {shown} as its folder says, got {clip.label}; these labels are "
                "in another order: name the lists that they are (option lists)"
            )
    return told


def listing(split: str, root: Root, options: ListedOptions) -> Listing:
    """Reads the list of one split.

    Raises:
        UserError: If the folder or the list is missing or damaged, or a label is not what the clip's folder says.
    """
    folder = find("ferv39k", root, FOLDERS, ("4_setups", "2_ClipsforFaceCrop"))
    told = _told(folder, "test" if split == "test" else "train", options)
    within = clips.clips_folder(folder, options.clips, CLIPS)
    found = clips.listing(folder, CLASSES, told, split, options.validation, lambda name: f"{within}/{name}")
    return crops.over(found, f"ferv39k/{split}")


def open(split: str, root: Root, options: ListedOptions) -> FaceDataset:
    """Opens one split.

    Raises:
        UserError: As :func:`listing`, or if a clip is missing.
    """
    source = f"{SOURCE}, {options.lists} lists"
    return clips.open_clips("ferv39k", split, listing(split, root, options), source, options)


def demo(root: Path, faces: DemoFaces) -> None:
    """Writes 56 clips of two scenes, one of each class for testing."""
    words = {name: word for word, name in labels.RELEASES["ferv39k/official"].codes.items()}
    lines: dict[str, list[str]] = {"train": [], "test": []}
    known = {}
    for number, clip in enumerate(demo_files.varied(faces.clips(CLASSES, per_class=1, frames=6, size=224), 8)):
        word = words[clip.class_name]
        name = f"{('Action', 'DailyLife')[number % 2]}/{word}/{number:04d}"
        names = [f"{frame:02d}.jpg" for frame in range(len(clip.frames))]
        demo_files.write_frames(root / "2_ClipsforFaceCrop" / name, names, clip.frames)
        known[f"2_ClipsforFaceCrop/{name}"] = clip
        lines["test" if number < len(CLASSES) else "train"].append(f"{name} {word}")
    for split, rows in lines.items():
        demo_files.write_lines(root / f"4_setups/All_scenes/{split}_All.csv", rows)
    demo_files.write_known(root, known)


LAYOUT = register(
    Layout(
        name="ferv39k",
        title="FERV39k",
        kind="clips",
        classes=CLASSES,
        folders=FOLDERS,
        licence="non-commercial research",
        apply="https://github.com/wangyanckxx/FERV39k",
        citation="wang2022ferv39k",
        tree="""\
FERV39k/
  2_ClipsforFaceCrop/Action/Happy/0015/*.jpg   <scene>/<class>/<clip>/
  4_setups/All_scenes/train_All.csv            Action/Happy/0015 Happy
  4_setups/All_scenes/test_All.csv
""",
        options=ListedOptions,
        open=open,
        listing=listing,
        demo=demo,
        # Counted in both collections of public lists, whose paths name the classes.
        official={
            "train": dict(zip(CLASSES, (7790, 5854, 5523, 2502, 1680, 1833, 5906), strict=True)),
            "test": dict(zip(CLASSES, (1958, 1473, 1393, 638, 431, 467, 1487), strict=True)),
        },
    )
)
