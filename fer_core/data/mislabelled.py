"""A training split some of whose labels are wrong, as annotators' are: drawn at random, or for a look-alike."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from fer_core.batch import Batch
from fer_core.config import digest
from fer_core.data.dataset import FaceDataset, Positions
from fer_core.data.selections import Wrapped
from fer_core.errors import UserError


@dataclass(frozen=True)
class LabelNoise:
    """Which labels are wrong.

    Args:
        share: Of the samples whose class can be mistaken.
        to: For what: ``any`` other class, each as likely, or a ``look-alike`` (``faces.expressions.LOOK_ALIKES``); then
            classes that look like no other keep their labels.
    """

    share: float
    to: Literal["any", "look-alike"] = "any"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UserError(f"share: expected a share above 0 and up to 1, got {self.share}; leave the noise out")
        if self.to not in ("any", "look-alike"):
            raise UserError(f"to: expected any or look-alike, got {self.to!r}; choose one of them")


class Mislabelled(Wrapped):
    """The data set with some wrong labels. Votes of its annotators, which would give them away, are left out.

    Args:
        dataset: With the right labels.
        noise: Which labels are wrong.
        seed: Of what is drawn.

    Attributes:
        labels: ``(N,)`` int64, as learned from.
        wrong: ``(N,)`` bool, where they are not the data set's own.

    Raises:
        UserError: If no class of the data set looks like another, and look-alikes are asked for.
    """

    def __init__(self, dataset: FaceDataset, noise: LabelNoise, seed: int) -> None:
        super().__init__(dataset)
        self.noise, self.seed = noise, seed
        mistaken = _mistaken(dataset, noise)
        rng = np.random.default_rng(seed)
        labels = dataset.labels.numpy().copy()
        for number, others in enumerate(mistaken):
            members = np.flatnonzero(dataset.labels.numpy() == number)
            if others:
                chosen = rng.choice(members, round(noise.share * len(members)), replace=False)
                labels[chosen] = rng.choice(others, len(chosen))
        self.labels = torch.from_numpy(labels)
        self.wrong = self.labels != dataset.labels

    @property
    def fingerprint(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See :class:`FaceDataset`; stands for the labels, too."""
        return digest({"of": self.dataset.fingerprint, "labels": self.labels.tolist()})

    def facts(self) -> dict[str, Any]:
        """See :meth:`FaceDataset.facts`; adds how many labels are wrong."""
        return {**self.dataset.facts(), **self._common_facts(), "wrong_labels": int(self.wrong.sum())}

    def changed(self, batch: Batch, positions: Positions) -> Batch:
        """See :meth:`Wrapped.changed`."""
        chosen = torch.as_tensor(positions, dtype=torch.int64)
        return replace(batch, label=self.labels[chosen], votes=None)


def _mistaken(dataset: FaceDataset, noise: LabelNoise) -> list[list[int]]:
    """For each class, those that it may be mistaken for."""
    classes = range(len(dataset.classes))
    if noise.to == "any":
        return [[other for other in classes if other != number] for number in classes]
    from fer_core.faces.expressions import LOOK_ALIKES  # the renderer is only loaded where faces are asked for

    places = {name: number for number, name in enumerate(dataset.classes)}
    found: list[list[int]] = [[] for _ in classes]
    for one, other in LOOK_ALIKES:
        if one in places and other in places:
            found[places[one]].append(places[other])
            found[places[other]].append(places[one])
    if not any(found):
        raise UserError(
            f"label_noise: expected classes that look alike, got {', '.join(dataset.classes)}; set label_noise.to=any"
        )
    return found
