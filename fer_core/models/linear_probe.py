"""Linear probe: a linear classifier on frozen CLIP features.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision" (arXiv 2103.00020),
section 3.2 and appendix A. Over CLIP it adds one linear layer in place of the text side::

    f          features         normalised class token, (B, D)
    W, b       head             (C, D) and (C,)
    s          scale            settings ``logit_scale``, else CLIP's own
    logits   = s (W f + b)

Paper: a linear classifier on frozen features. Our reading: the paper fits logistic regression by L-BFGS on the features
before the projection; ours is trained by the same engine as every other method, on the projected class token, because
that is what the prompt-based methods see. Started at zero, a convex problem owes nothing to luck; started at the
prompts, it begins as zero-shot CLIP. Clips: the mean of their frames' features.

Its row stands in the baselines table of the book; no paper of this book publishes one on its data sets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.errors import UserError
from fer_core.models.base import Method, Output, SupervisedConfig, pool, register
from fer_core.models.zero_shot import PromptConfig, text_prototypes


@dataclass(frozen=True)
class LinearProbeConfig(SupervisedConfig, PromptConfig):
    """Settings of the linear probe.

    Args:
        start: Where the layer starts: ``zeros``, or ``text`` for the zero-shot classifier of ``templates`` and
            ``words``.
        logit_scale: What the layer's output is multiplied by; None for CLIP's own scale.
    """

    start: Literal["zeros", "text"] = "zeros"
    logit_scale: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        scale = self.logit_scale
        if scale is not None and not (scale > 0 and math.isfinite(scale)):
            raise UserError(f"expected a positive logit_scale, got {scale}; leave it out for CLIP's own")


@register
class LinearProbe(Method):
    """A linear layer on the frozen class token."""

    name = "linear-probe"
    Config = LinearProbeConfig
    frozen_image_tower = True

    def __init__(self, clip: Clip, classes: Sequence[str], config: LinearProbeConfig) -> None:
        super().__init__(clip, classes, config)
        self.scale = clip.logit_scale if config.logit_scale is None else config.logit_scale
        self.head = nn.Linear(clip.embed_dim, len(classes), device=clip.device)
        nn.init.zeros_(self.head.bias)
        if config.start == "text":
            self.head.weight.data.copy_(text_prototypes(clip, classes, config))
        else:
            nn.init.zeros_(self.head.weight)

    def forward(self, batch: Batch) -> Output:
        """The layer's scores, scaled."""
        features = pool(self.image_features(batch).class_token)
        # Out of autocast for the reason that base.cosine_logits gives.
        with torch.autocast(features.device.type, enabled=False):
            return Output(self.scale * self.head(features), features)
