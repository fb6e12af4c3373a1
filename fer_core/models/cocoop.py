"""CoCoOp: a learned context that each image shifts.

Zhou et al. 2022, "Conditional Prompt Learning for Vision-Language Models" (CVPR, arXiv 2203.05557), section 3.2. Both
towers stay frozen::

    [V]_1 … [V]_M   context             (M, W), shared by all classes
    h(x)            meta                two layers on the normalised class token, inner width D / 16, ReLU, (B, W)
    [V]_m + h(x)                        the context of image x, (B, M, W)
    g(t_i(x))                           text feature of class i for that image, (B, C, D)
    logits_i      = cos(g(t_i(x)), f) / tau

Paper: M = 4, from the words "a photo of a". Our reading: class names as nouns with a full stop, as for CoOp. The text
tower runs B C times in each step, which makes it the slowest method here. Clips: the mean of their frames' features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fer_core import prompts
from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.errors import UserError
from fer_core.models.base import Method, Output, SupervisedConfig, normalise, pool, register
from fer_core.models.soft_prompts import words_start


@dataclass(frozen=True)
class CoCoOpConfig(SupervisedConfig):
    """Settings of CoCoOp.

    Args:
        context_init: Words that the context starts from; each of their tokens becomes a context vector.
        reduction: The feature's width over that of the two layers' middle.
        words: Class words as ``noun`` (happiness) or ``adjective`` (happy).
    """

    context_init: str = "a photo of a"
    reduction: int = 16
    words: prompts.Words = "noun"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.context_init.strip():
            raise UserError("expected words in context_init, got none; the paper's are 'a photo of a'")
        if self.reduction < 1:
            raise UserError(f"expected reduction of at least 1, got {self.reduction}; the paper's is 16")


@register
class CoCoOp(Method):
    """A context before the class words that depends on the image."""

    name = "cocoop"
    Config = CoCoOpConfig
    frozen_image_tower = True
    asks_by_texts = True
    config: CoCoOpConfig

    def __init__(self, clip: Clip, classes: Sequence[str], config: CoCoOpConfig) -> None:
        super().__init__(clip, classes, config)
        self.words = clip.tokens([f"{word}." for word in prompts.class_words(classes, config.words)])
        self.context = nn.Parameter(words_start(clip, config.context_init))
        inner = max(1, clip.embed_dim // config.reduction)
        self.meta = nn.Sequential(
            nn.Linear(clip.embed_dim, inner), nn.ReLU(), nn.Linear(inner, clip.text_width)
        ).to(clip.device)  # fmt: skip

    def prototypes(self, features: Tensor) -> Tensor:
        """Text features of all classes for each image, ``(B, C, D)``, normalised."""
        count, classes = features.shape[0], len(self.classes)  # not len(): an exported graph takes any number
        context = self.context + self.meta(features).to(self.context.dtype)[:, None]  # (B, M, W)
        words = self.words.repeated(count)  # image by image, class by class
        texts = self.clip.encode_text(words.with_context(context.repeat_interleave(classes, 0)))
        return normalise(texts).unflatten(0, (count, classes))

    def forward(self, batch: Batch) -> Output:
        """Cosines of each image to the texts that it shaped, scaled."""
        features = pool(self.image_features(batch).class_token)
        prototypes = self.prototypes(features)
        with torch.autocast(features.device.type, enabled=False):
            logits = self.clip.logit_scale * (prototypes @ features[:, :, None])[..., 0]
        return Output(logits, features)
