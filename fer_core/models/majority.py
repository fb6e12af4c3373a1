"""The class that most training samples have, whatever is seen: what every table of unbalanced data must be read beside.

A predictor of one class reaches its share of the samples as accuracy a, and of two classes a / (1 + a) as macro-F1:
many published scores lie no higher.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.models.base import Method, Output, pool, register


@dataclass(frozen=True)
class MajorityConfig:
    """It has no settings."""


@register
class Majority(Method):
    """The most frequent class of the training split, always."""

    name = "majority"
    Config = MajorityConfig
    frozen_image_tower = True
    config: MajorityConfig
    counts: Tensor

    def __init__(self, clip: Clip, classes: Sequence[str], config: MajorityConfig) -> None:
        super().__init__(clip, classes, config)
        self.register_buffer("counts", torch.zeros(len(classes), device=clip.device))

    @torch.no_grad()
    def prepare(self, batches: Iterable[Batch]) -> None:
        """Counts the labels of the training split."""
        self.counts.zero_()
        for batch in batches:
            self.counts += torch.bincount(batch.label, minlength=len(self.classes))

    def forward(self, batch: Batch) -> Output:
        """The logarithms of the classes' shares, the same for every sample."""
        told = (self.counts + 1e-6).log().expand(len(batch), -1)
        return Output(told, pool(self.image_features(batch).class_token))
