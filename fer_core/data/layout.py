"""What the project knows of each licensed data set: its official layout, its licence, its loader and its miniature."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fer_core.errors import UserError, unknown

if TYPE_CHECKING:
    from fer_core.data.dataset import FaceDataset
    from fer_core.data.demo import DemoFaces
    from fer_core.data.files import Listing

Root = str | os.PathLike[str] | None


@dataclass(frozen=True)
class Layout:
    """One licensed data set.

    Args:
        name: Its public name.
        title: As its paper writes it.
        kind: ``"stills"``, ``"clips"``, or ``"subjects"``: clips whose people are the sources and targets of a
            personalisation.
        classes: Class names in the order that labels count them.
        folders: Names under which it is looked for in the root, besides the root itself.
        licence: Who may use it for what, in words.
        apply: Where to apply for it.
        citation: Key in ``book/references.bib``.
        tree: The official layout as a page shows it.
        options: Frozen dataclass of the loader's options.
        open: Opens ``(split, root, options)``.
        listing: Reads the lists of ``(split, root, options)`` alone, no pixel.
        demo: Writes a miniature in the official layout into a folder; beside it may lie what is known of drawn clips.
        official: From split to class to the number of samples in the official release, where somebody published it;
            the class ``"total"`` where only the sum is known.
        folds: How many folds a published score is the mean over; None where the data set has none.
    """

    name: str
    title: str
    kind: Literal["stills", "clips", "subjects"]
    classes: tuple[str, ...]
    folders: tuple[str, ...]
    licence: str
    apply: str
    citation: str
    tree: str
    options: type
    open: "Callable[[str, Root, Any], FaceDataset]"
    listing: "Callable[[str, Root, Any], Listing]"
    demo: "Callable[[Path, DemoFaces], None]"
    official: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    folds: int | None = None


#: By name. Each data set's file adds its own when it is imported, and ``fer_core.data`` imports them all.
LAYOUTS: dict[str, Layout] = {}


def register(layout: Layout) -> Layout:
    """Adds a data set to :data:`LAYOUTS`.

    Raises:
        ValueError: If its name is taken.
    """
    if layout.name in LAYOUTS:
        raise ValueError(f"expected a new name, got {layout.name!r} again")
    LAYOUTS[layout.name] = layout
    return layout


def get(name: str) -> Layout:
    """The layout of a data set.

    Raises:
        UserError: If there is none of that name.
    """
    if name not in LAYOUTS:
        raise unknown("licensed data set", name, LAYOUTS)
    return LAYOUTS[name]


def candidates(name: str, root: Root, folders: Sequence[str]) -> list[Path]:
    """Where a data set is looked for: the root itself, then its own folders in it.

    Args:
        name: The data set's public name, for messages.
        root: The data folder; ``FER_DATA_ROOT`` where it is None.
        folders: Names under which the data set may lie in the root.

    Raises:
        UserError: If no root is given and ``FER_DATA_ROOT`` is not set, or the root is no folder.
    """
    place = root if root is not None else os.environ.get("FER_DATA_ROOT")
    if not place:
        raise UserError(f"{name}: expected a data folder, got none; name it (--data-root) or set FER_DATA_ROOT")
    path = Path(place).expanduser()
    if not path.is_dir():
        raise UserError(f"{name}: expected {path} to be a folder, found none; mend the path or FER_DATA_ROOT")
    return [path, *(path / folder for folder in folders)]


def find(name: str, root: Root, folders: Sequence[str], marks: Sequence[str]) -> Path:
    """The folder that holds a data set.

    Args:
        name: The data set's public name, for messages.
        root: The data folder; ``FER_DATA_ROOT`` where it is None.
        folders: Names under which the data set may lie in the root.
        marks: Files or folders of the official layout, any of which shows that the data set is there.

    Returns:
        The first of :func:`candidates` that has one of the marks.

    Raises:
        UserError: If none has, or there is no root.
    """
    looked = candidates(name, root, folders)
    for folder in looked:
        if any((folder / mark).exists() for mark in marks):
            return folder
    raise UserError(
        f"{name}: expected {' or '.join(marks)}, found none in {', '.join(map(str, looked))}; point --data-root or "
        "FER_DATA_ROOT to the official layout"
    )
