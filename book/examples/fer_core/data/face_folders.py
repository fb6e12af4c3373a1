"""Faces in class folders: ``train/happiness/anything.jpg``, the way most people keep pictures of their own.

There is no official validation split; ours is held out of the training pictures.
"""

from pathlib import Path

from PIL import Image

from fer_core.data import files
from fer_core.data.dataset import CLASSES, FaceDataset
from fer_core.data.demo import DemoFaces
from fer_core.data.files import Entry, ImageFiles, Listing, StillOptions
from fer_core.data.images import SUFFIXES
from fer_core.data.layout import Layout, Root, find, register
from fer_core.errors import unknown

FOLDERS = ("face-folders",)


def listing(split: str, root: Root, options: StillOptions) -> Listing:
    """Lists the pictures of one split, in the order of their names.

    Raises:
        UserError: If a split's folder is missing, or a class folder has a name that is no class.
    """
    folder = find("face-folders", root, FOLDERS, ("train",))
    part = "test" if split == "test" else "train"
    entries = []
    for place in sorted(path for path in (folder / part).glob("*/*") if path.suffix.lower() in SUFFIXES):
        if place.parent.name not in CLASSES:
            raise unknown("class folder", place.parent.name, CLASSES)
        entries.append(Entry(place.relative_to(folder).as_posix(), place.parent.name))
    if split != "test":
        entries = files.hold_out(entries, options.validation)[split == "validation"]
    return Listing(folder, CLASSES, tuple(entries))


def open(split: str, root: Root, options: StillOptions) -> FaceDataset:
    """Opens one split.

    Raises:
        UserError: As :func:`listing`, or if the split has no picture.
    """
    found = listing(split, root, options)
    return ImageFiles("face-folders", split, found, "pictures in class folders", options.size, options.store)


def demo(root: Path, faces: DemoFaces) -> None:
    """Writes 24 training and 8 test faces."""
    for place, still in enumerate(faces.stills(CLASSES, 4, size=96)):
        folder = root / ("test" if place >= 3 * len(CLASSES) else "train") / still.class_name
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(still.image).save(folder / f"{place:03d}.png")


LAYOUT = register(
    Layout(
        name="face-folders",
        title="Faces in class folders",
        kind="stills",
        classes=CLASSES,
        folders=FOLDERS,
        licence="yours",
        apply="https://example.org",
        citation="none",
        tree="""\
face-folders/
  train/happiness/one.jpg ...
  test/happiness/two.jpg ...
""",
        options=StillOptions,
        open=open,
        listing=listing,
        demo=demo,
    )
)
