"""The embedded sets of rendered faces, as data sets: pixels with exact action units, landmarks and parsing maps."""

import logging

import torch

from fer_core.data.dataset import MemoryDataset, check_split

logger = logging.getLogger(__name__)

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

    Attributes:
        rendered: The set as the renderer gives it, with what no batch carries, such as skin tones.
    """

    def __init__(self, name: str, split: str, limit: int | None = None) -> None:
        check_split(split)
        from fer_core.faces import sets

        def progress(done: int, total: int) -> None:
            if done == total:
                logger.info("rendered %d faces of %s/%s, once", total, name, split)

        self.rendered = sets.load(name, split, limit=limit, progress=progress)
        columns = {column: getattr(self.rendered, column) for column in _COLUMNS}
        votes = torch.as_tensor(columns["votes"], dtype=torch.float32)
        columns["votes"] = votes / votes.sum(dim=1, keepdim=True)
        super().__init__(
            name,
            split,
            self.rendered.classes,
            columns,
            self.rendered.fingerprint,
            "FACS faces, rendered by fer_core.faces",
            self.rendered.caption,
        )
