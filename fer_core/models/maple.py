"""MaPLe: prompts in both towers, those of the image tower made from those of the text tower.

Khattak et al. 2023, "MaPLe: Multi-modal Prompt Learning" (CVPR, arXiv 2210.03117), sections 3.2 and 3.3. CLIP's own
weights stay frozen::

    P_l         text_prompts[l]     P vectors before the words, anew in each of the first J blocks, (J, P, W_t)
    F_l(P_l)    coupling[l]         Linear(W_t, W_v): the prompts of the image tower's block l, (J, P, W_v)
    f           features            class token of the prompted image tower, normalised, (B, D)
    g(t_i)      prototypes          text feature of class i in the prompted text tower, normalised, (C, D)
    logits_i  = cos(g(t_i), f) / tau

Paper: J = 9, P = 2, the first text prompts from the words "a photo of a", the others from N(0, 0.02^2). Our reading:
with P = 2 the first two of those words' tokens; class names as nouns with a full stop. Other than in the authors' code,
the image tower's prompts are dropped behind block J, and the first ones do not pass the norm before the blocks. Clips:
the mean of their frames' features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fer_core import prompts
from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.errors import UserError
from fer_core.models.base import Method, Output, SupervisedConfig, cosine_logits, normalise, pool, register
from fer_core.models.soft_prompts import deep_start, deep_words


@dataclass(frozen=True)
class MapleConfig(SupervisedConfig):
    """Settings of MaPLe.

    Args:
        depth: J, blocks of either tower that get prompts.
        length: P, prompts of a block.
        context_init: Words whose first P tokens the first text prompts start from; empty for a random start.
        words: Class words as ``noun`` (happiness) or ``adjective`` (happy).
    """

    depth: int = 9
    length: int = 2
    context_init: str = "a photo of a"
    words: prompts.Words = "noun"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth < 1 or self.length < 1:
            raise UserError(f"expected depth and length of at least 1, got {self.depth} and {self.length}; try 9 and 2")


@register
class Maple(Method):
    """Coupled prompts in the first blocks of both towers."""

    name = "maple"
    Config = MapleConfig
    frozen_image_tower = False
    asks_by_texts = True
    config: MapleConfig

    def __init__(self, clip: Clip, classes: Sequence[str], config: MapleConfig) -> None:
        super().__init__(clip, classes, config)
        depth = min(config.depth, clip.text_layers, clip.visual_layers)
        self.words = deep_words(clip, classes, config.length, config.words)
        self.text_prompts = nn.Parameter(deep_start(clip, depth, config.length, config.context_init))
        self.coupling = nn.ModuleList(
            nn.Linear(clip.text_width, clip.visual_width, device=clip.device) for _ in range(depth)
        )

    def prototypes(self) -> Tensor:
        """Text features of all classes, ``(C, D)``, normalised."""
        return normalise(self.clip.encode_text(self.words, prompts=self.text_prompts))

    def class_texts(self) -> Tensor:
        """See :meth:`Method.class_texts`."""
        return self.prototypes()

    def forward(self, batch: Batch) -> Output:
        """Cosines between the prompted towers, scaled."""
        seen = torch.stack([layer(own) for layer, own in zip(self.coupling, self.text_prompts, strict=True)])
        features = pool(self.clip.encode_image(batch.image, prompts=seen, patches=False).class_token)
        return Output(cosine_logits(features, self.prototypes(), self.clip.logit_scale), features)
