"""Tip-Adapter and Tip-Adapter-F: a cache of a few labelled images beside zero-shot CLIP.

Zhang et al. 2022, "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification" (ECCV, arXiv 2207.09519),
equations 3 to 5. Both towers stay frozen::

    F_train     keys                 features of K images of each class, (C K, D)
    L_train     values               their one-hot labels, (C K, C)
    f           features             normalised class token, (B, D)
    A         = exp(-beta (1 - f F_train^T))
    logits    = alpha A L_train + f W^T / tau          W: text features of the classes' prompts, (C, D)

Tip-Adapter trains nothing; Tip-Adapter-F trains the keys from there. Paper: K = 16, alpha = 1, beta = 5.5, both then
searched on validation data; keys are means over ten augmented views. Our reading: one view, without augmentation; the
K images of a class are its first ones in an order that a fixed seed decides, the same for every run; alpha and beta are
settings. A class with fewer than K images gives all it has. Clips: the mean of their frames' features.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.errors import UserError
from fer_core.models.base import Method, Output, SupervisedConfig, cosine_logits, pool, register
from fer_core.models.zero_shot import PromptConfig, text_prototypes

_ORDER_SEED = 0


@dataclass(frozen=True)
class TipAdapterConfig(SupervisedConfig, PromptConfig):
    """Settings of Tip-Adapter.

    Args:
        shots: K, cached images of each class.
        alpha: Weight of the cache beside zero-shot CLIP.
        beta: How sharply the cache asks for likeness.
        train: Whether to train the keys (Tip-Adapter-F).
    """

    shots: int = 16
    alpha: float = 1.0
    beta: float = 5.5
    train: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shots < 1:
            raise UserError(f"expected shots of at least 1, got {self.shots}; the paper's is 16")
        if self.alpha < 0 or self.beta <= 0:
            raise UserError(f"expected alpha >= 0 and beta > 0, got {self.alpha} and {self.beta}; try 1 and 5.5")


@register
class TipAdapter(Method):
    """A key-value cache of a few labelled images, its keys trained or not."""

    name = "tip-adapter"
    Config = TipAdapterConfig
    frozen_image_tower = True
    config: TipAdapterConfig
    prototypes: Tensor
    values: Tensor

    def __init__(self, clip: Clip, classes: Sequence[str], config: TipAdapterConfig) -> None:
        super().__init__(clip, classes, config)
        self.register_buffer("prototypes", text_prototypes(clip, classes, config), persistent=False)
        rows = len(classes) * config.shots
        # Zero values until prepare() has seen the training split: the cache then says nothing.
        keys = torch.zeros(rows, clip.embed_dim, device=clip.device)
        if config.train:
            self.keys = nn.Parameter(keys)
        else:
            self.register_buffer("keys", keys)
        self.register_buffer("values", torch.zeros(rows, len(classes), device=clip.device))

    @torch.no_grad()
    def prepare(self, batches: Iterable[Batch]) -> None:
        """Fills the cache with K images of each class."""
        features, labels, index = [], [], []
        for batch in batches:
            features.append(pool(self.image_features(batch).class_token))
            labels.append(batch.label)
            index.append(batch.index)
        feature, label, place = torch.cat(features), torch.cat(labels), torch.cat(index)
        generator = torch.Generator().manual_seed(_ORDER_SEED)
        rank = torch.randperm(int(place.max()) + 1, generator=generator).to(place.device)[place]
        self.keys.zero_()
        self.values.zero_()
        for number in range(len(self.classes)):
            members = (label == number).nonzero().flatten()
            chosen = members[rank[members].argsort()][: self.config.shots]
            rows = slice(number * self.config.shots, number * self.config.shots + len(chosen))
            self.keys[rows] = feature[chosen]
            self.values[rows, number] = 1.0

    def class_texts(self) -> Tensor:
        """See :meth:`Method.class_texts`."""
        return self.prototypes

    def forward(self, batch: Batch) -> Output:
        """The cache's votes and zero-shot CLIP's logits, added."""
        features = pool(self.image_features(batch).class_token)
        likeness = cosine_logits(features, self.keys, 1.0)
        with torch.autocast(features.device.type, enabled=False):
            votes = torch.exp(-self.config.beta * (1 - likeness)) @ self.values
        zero_shot = cosine_logits(features, self.prototypes, self.clip.logit_scale)
        return Output(zero_shot + self.config.alpha * votes, F.normalize(features, dim=-1))
