"""What the loaders of clips share: their options, the public lists, and the way from a list to a data set.

Two groups published lists of DFEW, FERV39k and MAFW with the code of their methods, and most papers since have used
one or the other. They hold the same clips in every fold but write them, and MAFW's labels, differently:

- ``dfer-clip``: Zhao and Patras, "Prompting visual-language models for dynamic facial expression recognition", BMVC
  2023; a line is path, number of frames, code.
- ``mae-dfer``: Sun et al., "MAE-DFER", ACM MM 2023; a line is path, code.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fer_core.data import files, labels, listfiles
from fer_core.data.files import ClipFiles, Entry, Listing
from fer_core.data.sampling import Sampling
from fer_core.errors import UserError

Lists = Literal["official", "dfer-clip", "mae-dfer"]
FOLDS = 5

#: What stands in a line of a list without a header.
COLUMNS = {
    "official": ("a path", "a label"),
    "dfer-clip": ("a path", "a number of frames", "a label"),
    "mae-dfer": ("a path", "a label"),
}


@dataclass(frozen=True)
class ClipOptions:
    """How clips are seen.

    Args:
        frames: T, the number of frames that a method sees of a clip.
        sampling: ``"segments"`` or ``"window"``, see :class:`fer_core.data.sampling.Sampling`.
        stride: Distance of neighbouring frames in a window.
        size: Side of the square that frames are resized and cropped to, in pixels.
        store: Whether to keep the decoded split in the cache folder.
        clips: The folder of frame folders or videos, relative to the data set's; None for the first official one that
            is there.
    """

    frames: int = 16
    sampling: Literal["segments", "window"] = "segments"
    stride: int = 1
    size: int = 224
    store: bool = False
    clips: str | None = None

    def __post_init__(self) -> None:
        self.sampler()  # refuses what no clip can be sampled by

    def sampler(self) -> Sampling:
        """The frames to be chosen."""
        return Sampling(self.sampling, self.frames, self.stride)


@dataclass(frozen=True)
class ListedOptions(ClipOptions):
    """How clips of a data set with public lists are seen.

    Args:
        validation: Share of the training clips of each class that become the validation split.
        lists: Whose lists are read.
        lists_root: The folder of the lists, where it is not the data set's own.
    """

    validation: float = 0.1
    lists: Lists = "official"
    lists_root: str | None = None


@dataclass(frozen=True)
class FoldOptions(ListedOptions):
    """As :class:`ListedOptions`, for data sets that are cross-validated.

    Args:
        fold: 1 to 5, the fold that is tested on.
    """

    fold: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.fold <= FOLDS:
            raise UserError(f"fold: expected 1 to {FOLDS}, got {self.fold}; the score is the mean over all of them")


@dataclass(frozen=True)
class Labelled:
    """What a list tells of one clip.

    Args:
        label: Class name.
        frames: Number of frames, where the list states it.
        caption: What is seen, where the list says so.
    """

    label: str
    frames: int | None = None
    caption: str | None = None


def lists_folder(folder: Path, options: ListedOptions) -> Path:
    """Where the lists lie: the option ``lists_root``, or the data set's folder.

    Raises:
        UserError: If the option names no folder.
    """
    if options.lists_root is None:
        return folder
    path = Path(options.lists_root).expanduser()
    if not path.is_dir():
        raise UserError(f"lists_root: expected the folder of the {options.lists} lists, got {path}; mend the option")
    return path


def numbered_clip(path: str, where: str) -> str:
    """The name of a clip of DFEW or MAFW in all lists alike: "…/00025", "25.mp4" and "25" are clip 00025.

    Args:
        path: As a list has it.
        where: What messages name.

    Raises:
        UserError: If it does not end with a number.
    """
    stem = listfiles.cut(path, 1, where)[0].removesuffix(".mp4")
    return f"{listfiles.whole_number(stem, 'the number of a clip', where):05d}"


def read(
    rows: Iterable[listfiles.Row], where: str, release: str, clip: Callable[[str, str], str]
) -> dict[str, Labelled]:
    """What the lines of a list tell.

    Args:
        rows: Path and label, or path, number of frames and label.
        where: The list's name, for messages.
        release: Key of ``labels.RELEASES`` that its codes are of.
        clip: Makes a clip's name out of the path in a line and what messages name.

    Returns:
        For each clip what the list tells of it; clips whose code the task leaves out are not among them.

    Raises:
        UserError: If a clip comes twice, a code is none of the release's, or a path names no clip.
    """

    def one(row: listfiles.Row) -> tuple[str, Labelled | None]:
        count = row.columns[1] if len(row.columns) == 3 else None
        frames = None if count is None else listfiles.whole_number(count, "a number of frames", row.where)
        label = labels.decode(release, row.columns[-1], row.where)
        return clip(row.columns[0], row.where), None if label is None else Labelled(label, frames)

    told = listfiles.once((one(row) for row in rows), where)
    return {name: labelled for name, labelled in told.items() if labelled is not None}


def clips_folder(folder: Path, chosen: str | None, usual: Sequence[str]) -> str:
    """The folder of clips in a data set's folder.

    Args:
        folder: The data set's folder.
        chosen: The option ``clips``.
        usual: The official folders, the best for the task first.

    Returns:
        A path relative to ``folder``: the chosen one, the first usual one that is there, or the first.

    Raises:
        UserError: If the chosen one is not there or leads out of the folder.
    """
    if chosen is None:
        return next((name for name in usual if (folder / name).is_dir()), usual[0])
    name = files.relative(chosen, "clips")
    if not files.inside(folder, name).is_dir():
        raise UserError(f"clips: expected a folder in {folder}, got {chosen!r}; usual ones: {', '.join(usual)}")
    return name


def listing(
    folder: Path,
    classes: tuple[str, ...],
    told: Mapping[str, Labelled],
    split: str,
    validation: float,
    path: Callable[[str], str],
) -> Listing:
    """One split out of the training list or the test list.

    Clips come in the order of their names, and a clip's name alone decides whether it is held out: whichever list and
    whichever form of the clips is read, the splits are the same.

    Args:
        folder: The data set's folder.
        classes: Class names.
        told: What the list of the split (the training list for ``"validation"``) tells, by clip.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        validation: Share of the training clips that is held out.
        path: Where a clip lies in the folder, by its name.
    """
    entries = [
        Entry(name, told[name].label, frames=told[name].frames, caption=told[name].caption) for name in sorted(told)
    ]
    if split != "test":
        kept, held = files.hold_out(entries, validation)
        entries = held if split == "validation" else kept
    return Listing(folder, classes, tuple(replace(entry, path=path(entry.path)) for entry in entries))


def open_clips(name: str, split: str, found: Listing, source: str, options: ClipOptions) -> ClipFiles:
    """Opens a listing of clips as the options say.

    Args:
        name: Name of the data set.
        split: One of its splits.
        found: The split's clips.
        source: Where the data came from, in words.
        options: Which frames are read, at which size, and whether they are stored.
    """
    return ClipFiles(name, split, found, source, options.sampler(), options.size, options.store)
