"""A data set whose captions are the descriptions that a language model gave of its clips."""

from dataclasses import replace
from functools import cached_property
from typing import Any

from fer_core.batch import Batch
from fer_core.config import digest
from fer_core.data.dataset import FaceDataset, Positions
from fer_core.data.selections import Wrapped
from fer_core.descriptions.clips import clip_keys
from fer_core.descriptions.rows import AnyPath, captions_for


class Captioned(Wrapped):
    """The data set, ``Batch.caption`` being each sample's description.

    Args:
        dataset: Whose samples are described.
        path: JSONL as ``fer-core describe clips`` writes it.

    Attributes:
        captions: One a sample.

    Raises:
        UserError: If the file is missing or damaged, or a sample has no description in it.
    """

    def __init__(self, dataset: FaceDataset, path: AnyPath) -> None:
        super().__init__(dataset)
        self.captions = captions_for(clip_keys(dataset), path)

    @cached_property
    def fingerprint(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See :class:`FaceDataset`; stands for the descriptions, too."""
        return digest({"of": self.dataset.fingerprint, "captions": self.captions})

    def facts(self) -> dict[str, Any]:
        """See :meth:`FaceDataset.facts`; adds that captions are a model's descriptions."""
        return {**self.dataset.facts(), "fingerprint": self.fingerprint, "captions": "described by a language model"}

    def changed(self, batch: Batch, positions: Positions) -> Batch:
        """See :meth:`Wrapped.changed`."""
        return replace(batch, caption=[self.captions[int(position)] for position in positions])
