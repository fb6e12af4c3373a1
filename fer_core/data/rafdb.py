"""RAF-DB, basic emotions: photographs from the web, labelled by some forty people each, aligned by the authors.

Li, Deng and Du, "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in the Wild",
CVPR 2017.

The layout was checked against public loaders: the list's (misspelt) name, its two columns, codes 1 to 7, and the names
of aligned images. The authors' own alignment is read, unless ``fer-core data align`` has made the folder: how faces are
aligned moves accuracy on RAF-DB by up to ten points. There is no official validation set; ours is held out of the
training images.
"""

from pathlib import Path

from PIL import Image

from fer_core.data import crops, files, labels, listfiles
from fer_core.data.dataset import CLASSES, FaceDataset
from fer_core.data.demo import DemoFaces
from fer_core.data.files import Entry, ImageFiles, Listing, StillOptions
from fer_core.data.layout import Layout, Root, find, register
from fer_core.errors import UserError

FOLDERS = ("raf-db/basic", "RAF-DB/basic", "RAFDB/basic", "rafdb/basic", "basic", "raf-db", "RAF-DB", "RAFDB", "rafdb")
LIST = "EmoLabel/list_patition_label.txt"
IMAGES = "Image/aligned"


def listing(split: str, root: Root, options: StillOptions) -> Listing:
    """Reads the list of one split.

    Raises:
        UserError: If the list is missing or damaged.
    """
    folder = find("raf-db", root, FOLDERS, (LIST,))
    rows = listfiles.split_rows(folder / LIST, ("a file name", "a label"))
    told = listfiles.once(((row.columns[0], row) for row in rows), Path(LIST).name)
    entries = []
    for name, row in told.items():
        part, stem, suffix = name.partition("_")[0], *name.rpartition(".")[::2]
        if part not in ("train", "test") or not stem or "/" in name or "\\" in name:
            raise UserError(f"{row.where}: expected train_….jpg or test_….jpg, got {name!r}; restore the official file")
        label = labels.decode("raf-db/basic", row.columns[1], row.where)
        if (part == "test") == (split == "test") and label is not None:
            entries.append(Entry(f"{IMAGES}/{stem}_aligned.{suffix}", label))
    if split != "test":
        entries = files.hold_out(entries, options.validation)[split == "validation"]
    found = Listing(folder, CLASSES[:7], tuple(entries))
    return crops.over(found, f"raf-db/{split}", raw=lambda path: path.replace("_aligned.", "."))


def open(split: str, root: Root, options: StillOptions) -> FaceDataset:
    """Opens one split.

    Raises:
        UserError: As :func:`listing`, or if an image is missing.
    """
    found = listing(split, root, options)
    return ImageFiles("raf-db", split, found, "RAF-DB basic (Li et al., 2017)", options.size, options.store)


def demo(root: Path, faces: DemoFaces) -> None:
    """Writes 21 training and 7 test faces, aligned and in the official size of 100 x 100."""
    classes, per_class = CLASSES[:7], 4
    codes = {name: code for code, name in labels.RELEASES["raf-db/basic"].codes.items()}
    (root / IMAGES).mkdir(parents=True)
    lines, numbers = [], {"train": 0, "test": 0}
    for place, still in enumerate(faces.stills(classes, per_class, size=100)):
        part = "test" if place >= (per_class - 1) * len(classes) else "train"
        numbers[part] += 1
        name = f"{part}_{numbers[part]:0{5 if part == 'train' else 4}d}"
        Image.fromarray(still.image).save(root / IMAGES / f"{name}_aligned.jpg", quality=95)
        lines.append(f"{name}.jpg {codes[still.class_name]}\n")
    (root / LIST).parent.mkdir()
    (root / LIST).write_text("".join(lines), encoding="utf-8")


_NAMES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")

LAYOUT = register(
    Layout(
        name="raf-db",
        title="RAF-DB, basic emotions",
        kind="stills",
        classes=CLASSES[:7],
        folders=FOLDERS,
        licence="non-commercial research, to be requested from an academic address",
        apply="http://www.whdeng.cn/RAF/model1.html",
        citation="li2017rafdb",
        tree="""\
RAF-DB/
  basic/
    EmoLabel/list_patition_label.txt           train_00001.jpg 5
    Image/aligned/train_00001_aligned.jpg ...
    Image/aligned/test_0001_aligned.jpg ...
""",
        options=StillOptions,
        open=open,
        listing=listing,
        demo=demo,
        # By class as public code counts them; the sums, 12,271 and 3,068, are those of papers. Of our validation split
        # nothing is official: "train" counts the official training set, both together.
        official={
            "train": dict(zip(_NAMES, (1290, 281, 717, 4772, 1982, 705, 2524), strict=True)),
            "test": dict(zip(_NAMES, (329, 74, 160, 1185, 478, 162, 680), strict=True)),
        },
    )
)
