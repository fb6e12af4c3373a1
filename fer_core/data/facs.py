"""The embedded sets of rendered faces, as data sets: pixels with exact action units, landmarks and parsing maps."""

import logging
from dataclasses import dataclass

import torch

from fer_core.config import digest
from fer_core.data.dataset import MemoryDataset, check_split
from fer_core.data.sampling import Sampling, positions
from fer_core.errors import UserError

logger = logging.getLogger(__name__)

_OF_FRAMES = ("image", "action_units", "landmarks", "parsing")


@dataclass(frozen=True)
class FacsOptions:
    """What embedded sets leave to choose.

    Args:
        frames: Of clips, how many frames are taken, spread over the clip and the same at every call; None for all.
    """

    frames: int | None = None

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise ValueError(f"frames: expected at least 1, got {self.frames}; leave it out for all")


_COLUMNS = ("image", "label", "votes", "action_units", "landmarks", "parsing", "subject")


def names() -> tuple[str, ...]:
    """The embedded sets' names."""
    from fer_core.faces import sets  # the renderer is only loaded where faces are asked for

    return tuple(sets.names())


class Facs(MemoryDataset):
    """One split of an embedded set.

    ``votes`` of a sample are shares of the simulated annotators; they sum to one.

    Args:
        name: One of :func:`names`.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        limit: Only the first so many samples, over which classes are balanced; no more are rendered.
        options: What is chosen of them; all frames by default.

    Raises:
        UserError: If stills are asked for frames, or clips for more than they have.

    Attributes:
        rendered: The set as the renderer gives it, with what no batch carries, such as skin tones.
    """

    def __init__(self, name: str, split: str, limit: int | None = None, options: FacsOptions | None = None) -> None:
        check_split(split)
        from fer_core.faces import sets

        def progress(done: int, total: int) -> None:
            if done == total:
                logger.info("rendered %d faces of %s/%s, once", total, name, split)

        self.rendered = sets.load(name, split, limit=limit, progress=progress)
        columns = {column: getattr(self.rendered, column) for column in _COLUMNS}
        votes = torch.as_tensor(columns["votes"], dtype=torch.float32)
        columns["votes"] = votes / votes.sum(dim=1, keepdim=True)
        fingerprint, frames = self.rendered.fingerprint, None if options is None else options.frames
        if frames is not None:
            chosen = self._frames(name, frames)
            columns |= {column: columns[column][:, chosen] for column in _OF_FRAMES}
            fingerprint = digest({"of": fingerprint, "frames": chosen.tolist()})
        super().__init__(
            name,
            split,
            self.rendered.classes,
            columns,
            fingerprint,
            "FACS faces, rendered by fer_core.faces",
            self.rendered.caption,
        )

    def _frames(self, name: str, frames: int) -> torch.Tensor:
        """The middle frame of each of so many segments of a clip."""
        image = self.rendered.image
        there = image.shape[1] if image.ndim == 5 else 0
        if frames > there:
            raise UserError(f"frames: expected at most the {there} that clips of {name} have, got {frames}; take fewer")
        return torch.from_numpy(positions(Sampling("segments", frames), there))
