"""TDA: two small caches of a person's own videos beside the source's predictions; nothing is trained.

Karmanov et al. 2024, "Efficient Test-Time Adaptation of Vision-Language Models" (arXiv 2403.18293), section 3. Videos
come one after another. With f a video's feature, normalised, and p its source prediction of entropy H, as a share of
log C::

    positive cache   per predicted class the features of lowest H, values one-hot                (at most 3 a class)
    negative cache   per predicted class features of H in a middle range, values: one for each class that p gives
                     more than 0.03                                                              (at most 2 a class)
    logits = source + a+ A(f K+^T) V+ - a- A(f K-^T) V-,     A(x) = exp(-b (1 - x))

Paper: the sizes above, H between 0.2 and 0.5 for the negative cache, a+ = 2, b+ = 5, a- = 0.117, b- = 1, on CLIP's
logits at a scale of 100. The authors' code divides an entropy in nats by log2 C, so that its 0.2 and 0.5 are 0.29 and
0.72 of the highest. Our reading: the source's logits as they are; a person's caches are empty at first. With two
classes a negative value nearly always marks both, and the negative cache says nothing.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fer_core.adapt.base import AdaptConfig, Adapted, TestTimeMethod, register
from fer_core.batch import Batch
from fer_core.errors import UserError
from fer_core.losses.entropy import entropy
from fer_core.models.base import Method, normalise


@dataclass(frozen=True)
class TdaConfig(AdaptConfig):
    """Settings of TDA.

    Args:
        positive_shots: Features a class of the positive cache; 0 leaves it out.
        positive_weight: a+.
        positive_sharpness: b+.
        negative_shots: Features a class of the negative cache; 0 leaves it out.
        negative_weight: a-.
        negative_sharpness: b-.
        entropy_range: Entropies, as shares of the highest, that the negative cache takes.
        likely: Above which probability a class is marked in the negative cache.
    """

    positive_shots: int = 3
    positive_weight: float = 2.0
    positive_sharpness: float = 5.0
    negative_shots: int = 2
    negative_weight: float = 0.117
    negative_sharpness: float = 1.0
    entropy_range: tuple[float, float] = (0.2, 0.5)
    likely: float = 0.03

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.positive_shots, self.negative_shots) < 0:
            raise UserError(
                f"positive_shots and negative_shots: expected at least 0, got {self.positive_shots} and "
                f"{self.negative_shots}; choose the paper's 3 and 2"
            )
        low, high = self.entropy_range
        if not 0 <= low < high <= 1:
            raise UserError(f"entropy_range: expected 0 <= low < high <= 1, got {low} and {high}; swap or mend them")


@dataclass
class _Entry:
    """A video in a cache."""

    feature: Tensor
    value: Tensor
    entropy: float


@register
class Tda(TestTimeMethod):
    """A training-free dynamic adapter."""

    name = "tda"
    Config = TdaConfig
    config: TdaConfig

    def __init__(self, source: Method, config: Any, seed: int = 0) -> None:
        super().__init__(source, config, seed)
        self.pixels = not source.frozen_image_tower  # features of the frozen tower are not those of a trained one
        self.reset()

    @property
    def adapted_parameters(self) -> int:
        """None: a cache is no parameter."""
        return 0

    def reset(self) -> None:
        """Empties both caches."""
        self.positive: dict[int, list[_Entry]] = {}
        self.negative: dict[int, list[_Entry]] = {}

    @torch.no_grad()
    def adapt(self, videos: Batch) -> Adapted:
        """Takes the videos in turn: each is put into the caches, then classified; see :class:`TestTimeMethod`."""
        output = self.source(videos)
        features, logits = normalise(output.features), output.logits.float()
        found = [self._one(feature, said) for feature, said in zip(features, logits, strict=True)]
        return Adapted(torch.stack(found), features)

    def _one(self, feature: Tensor, logits: Tensor) -> Tensor:
        config, told = self.config, logits.softmax(-1)
        share = float(entropy(logits)) / math.log(len(logits))
        predicted = int(logits.argmax())
        own = torch.zeros_like(logits)
        own[predicted] = 1.0
        _put(self.positive, predicted, _Entry(feature, own, share), config.positive_shots)
        if config.entropy_range[0] < share < config.entropy_range[1]:
            marked = (told > config.likely).float()
            _put(self.negative, predicted, _Entry(feature, marked, share), config.negative_shots)
        logits = logits + config.positive_weight * _asked(self.positive, feature, config.positive_sharpness, logits)
        return logits - config.negative_weight * _asked(self.negative, feature, config.negative_sharpness, logits)


def _put(cache: dict[int, list[_Entry]], label: int, entry: _Entry, shots: int) -> None:
    """Keeps the entries of lowest entropy of a class."""
    if shots:
        cache[label] = sorted([*cache.get(label, []), entry], key=lambda each: each.entropy)[:shots]


def _asked(cache: dict[int, list[_Entry]], feature: Tensor, sharpness: float, like: Tensor) -> Tensor:
    """What a cache says of a feature ``(D,)``: ``(C,)``."""
    entries = [entry for members in cache.values() for entry in members]
    if not entries:
        return torch.zeros_like(like)
    keys, values = torch.stack([each.feature for each in entries]), torch.stack([each.value for each in entries])
    return torch.exp(-sharpness * (1 - keys @ feature)) @ values
