"""DFER-CLIP: learned words before a description of each expression, and a transformer over time.

Zhao and Patras 2023, "Prompting Visual-Language Models for Dynamic Facial Expression Recognition" (BMVC, arXiv
2308.13382), section 3. The text tower stays frozen.

    [p]_1 … [p]_M [D_c]   context, words     M learned vectors a class before a description of its facial behaviour
    t_c                   texts()            its text feature, normalised, (C, D)
    v_1 … v_T             frames             class tokens of a fine-tuned copy of the image tower, (B, T, D)
    v                     temporal           layers.temporal.TemporalTransformer, normalised, (B, D)
    logits_c            = exp(t) cos(v, t_c)

Paper: M = 8, a context of its own for each class, one layer over time, 16 frames; learning rates of 1e-5 for the tower,
1e-3 for the context and 1e-2 for the transformer, with SGD. Its descriptions come from a language model and are not
used: ours stand in prompts/descriptions.yaml. Our reading: frames are normalised first; one learning rate, of which the
tower has a share (``tower_lr``); without ``train_tower`` the tower stays frozen.

Reproduces the row "DFER-CLIP" of FineCLIPER's comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fer_core import prompts
from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.errors import UserError
from fer_core.layers.temporal import TemporalTransformer
from fer_core.models.base import Method, Output, SupervisedConfig, cosine_logits, normalise, register, split_groups
from fer_core.models.coop import CONTEXT_STD


@dataclass(frozen=True)
class DferClipConfig(SupervisedConfig):
    """Settings of DFER-CLIP.

    Args:
        context_length: M, number of learned vectors before a description.
        class_specific: One context a class, in place of a shared one.
        layers: Of the transformer over time.
        heads: Its attention heads.
        max_frames: Most frames of a clip.
        train_tower: Whether a copy of the image tower is trained too.
        tower_lr: Its learning rate, as a share of the others'.
    """

    context_length: int = 8
    class_specific: bool = True
    layers: int = 1
    heads: int = 8
    max_frames: int = 16
    train_tower: bool = True
    tower_lr: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context_length < 1 or self.max_frames < 1:
            raise UserError("expected context_length and max_frames of at least 1; mend the wrong one")
        if self.tower_lr <= 0:
            raise UserError(f"tower_lr: expected more than 0, got {self.tower_lr}; train_tower=false freezes it")


@register
class DferClip(Method):
    """Learned words before descriptions, and a transformer over frames."""

    name = "dfer-clip"
    Config = DferClipConfig
    frozen_image_tower = False  # without train_tower; see __init__
    config: DferClipConfig

    def __init__(self, clip: Clip, classes: Sequence[str], config: DferClipConfig) -> None:
        super().__init__(clip, classes, config)
        self.frozen_image_tower = not config.train_tower  # pyright: ignore[reportAttributeAccessIssue]
        self.words = clip.tokens(prompts.class_descriptions(classes))
        context = torch.randn(config.context_length, clip.text_width) * CONTEXT_STD
        if config.class_specific:
            context = context.expand(len(classes), -1, -1).clone()
        self.context = nn.Parameter(context)
        self.temporal = TemporalTransformer(clip.embed_dim, config.layers, config.heads, config.max_frames)
        self.tower = clip.copy_image_tower() if config.train_tower else None
        self.to(clip.device)

    def texts(self) -> Tensor:
        """Text features of the descriptions under the present context, ``(C, D)``, normalised."""
        return normalise(self.clip.encode_text(self.words.with_context(self.context)))

    def forward(self, batch: Batch) -> Output:
        """Cosines of the clip to the descriptions, scaled; a still is a clip of one frame."""
        if self.tower is None:
            token = self.image_features(batch).class_token
        else:
            token = self.clip.encode_image(batch.image, patches=False, tower=self.tower).class_token
        frames = normalise(token if token.ndim == 3 else token[:, None])
        features = normalise(self.temporal(frames))
        return Output(cosine_logits(features, self.texts(), self.clip.logit_scale), features)

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """As every method's, the tower with its own share of the learning rate."""
        return split_groups(super().parameter_groups(lr, weight_decay), self.tower, self.config.tower_lr)
