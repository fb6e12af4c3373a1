"""A data set's lists over the crops that ``fer-core data align`` has made: other names than the originals', and fewer.

Lists name a release's own files. In a folder that an alignment has made, photographs are PNGs, videos are folders of
frames, and what showed no face is not there: its note says that the folder is one, its journal what was left out.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from fer_core.data import align_folder
from fer_core.data.files import Entry, Listing

logger = logging.getLogger(__name__)

_WITHOUT_FACE = "samples are left out: the alignment of this folder found no face in them"


class Crops:
    """What alignments have left of a data set's files.

    Args:
        folder: The data set's folder; notes may lie in it, in folders of it, or above it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # By folder below: the path up to it in the alignment's own folder, and what became of each output there.
        self._known: dict[str, tuple[PurePosixPath, dict[str, str]] | None] = {}
        self._journals: dict[Path, dict[str, str]] = {}

    def outcome(self, path: str) -> str | None:
        """What became of an original: ``aligned``, ``skipped`` (no face), ``unreadable``.

        Args:
            path: The original, relative to the data set's folder.

        Returns:
            An empty text where the journal does not know it; None where no alignment made its folder.
        """
        pure = PurePosixPath(align_folder.output_of(path))
        below = str(pure.parent)
        if below not in self._known:
            self._known[below] = self._look(self.folder / below)
        known = self._known[below]
        return None if known is None else known[1].get(str(known[0] / pure.name), "")

    def _look(self, place: Path) -> tuple[PurePosixPath, dict[str, str]] | None:
        place = place.resolve()
        made = align_folder.aligned_folder(place)
        if made is None:
            return None
        if made not in self._journals:
            lines = align_folder.read_journal(made)
            self._journals[made] = {align_folder.output_of(path): line["outcome"] for path, line in lines.items()}
        return PurePosixPath(place.relative_to(made).as_posix()), self._journals[made]

    def skipped(self, folder: str) -> list[str]:
        """Where the crops of files without a face would lie below a folder, relative to it."""
        found = self._look(self.folder / folder)
        if found is None:
            return []
        outputs = (PurePosixPath(output) for output, outcome in found[1].items() if outcome == "skipped")
        return [str(output.relative_to(found[0])) for output in outputs if output.is_relative_to(found[0])]


def over(found: Listing, what: str, raw: Callable[[str], str] = str) -> Listing:
    """A split's samples where an alignment has made their folders; as they are elsewhere.

    Args:
        found: The samples, by the names of the release's own files.
        what: Data set and split, for the log.
        raw: Gives the photograph from which a release's own crop was made, by the crop's path: alignments may begin at
            either.

    Returns:
        The samples, each with the path of its crop and no face box, but for those without a face, which are left out.
    """
    crops, entries, without = Crops(found.folder), list[Entry](), list[str]()
    for entry in found.entries:
        path = next((each for each in (entry.path, raw(entry.path)) if crops.outcome(each)), entry.path)
        outcome = crops.outcome(path)
        if outcome is None:
            entries.append(entry)
        elif outcome == "skipped":
            without.append(path)
        else:
            # Who has named the crops as the list does may go on so.
            path = entry.path if (found.folder / entry.path).exists() else align_folder.output_of(path)
            # An alignment counts frames from 1, and boxes lie in the photograph.
            numbered = None if entry.numbered is None else align_folder.FIRST_FRAME
            entries.append(replace(entry, path=path, box=None, numbered=numbered))
    if not without:
        return replace(found, entries=tuple(entries))
    logger.warning("%s: %d of %d %s (%s)", what, len(without), len(found.entries), _WITHOUT_FACE, without[0])
    left_out = {**found.left_out, _WITHOUT_FACE: tuple(without)}
    return replace(found, entries=tuple(entries), left_out=left_out)
