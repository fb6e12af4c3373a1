"""Task residual: each class text is moved a little, and nothing else is learned.

Yu et al. 2023, "Task Residual for Tuning Vision-Language Models" (CVPR, arXiv 2211.10277), section 3.2. Both towers
stay frozen, and the text tower is not run in training.

    f           class token, normalised, (B, D)
    t_i         text feature of class i's prompts, normalised, (C, D)
    x_i         residual, learned from zero, (C, D)
    t'_i      = t_i + a x_i
    logits_i  = cos(f, t'_i) / tau

Paper: a = 0.5, one template a data set. Our reading: this project's templates. Clips: the mean of their frames'
features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.errors import UserError
from fer_core.models.base import Method, Output, SupervisedConfig, cosine_logits, normalise, pool, register
from fer_core.models.zero_shot import PromptConfig, text_prototypes


@dataclass(frozen=True)
class TaskResConfig(SupervisedConfig, PromptConfig):
    """Settings of the task residual.

    Args:
        scale: a, how far a residual of length 1 moves a text.
    """

    scale: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale <= 0:
            raise UserError(f"expected a scale above 0, got {self.scale}; the paper's is 0.5")


@register
class TaskRes(Method):
    """Zero-shot CLIP with a learned residual on each class text."""

    name = "task-res"
    Config = TaskResConfig
    frozen_image_tower = True  # so the engine encodes each picture once, and trains on kept features
    config: TaskResConfig
    prototypes: Tensor

    def __init__(self, clip: Clip, classes: Sequence[str], config: TaskResConfig) -> None:
        super().__init__(clip, classes, config)
        self.register_buffer("prototypes", text_prototypes(clip, classes, config), persistent=False)
        self.residual = nn.Parameter(torch.zeros_like(self.prototypes))

    def forward(self, batch: Batch) -> Output:
        """Cosines to the moved texts, scaled."""
        features = pool(self.image_features(batch).class_token)
        texts = normalise(self.prototypes + self.config.scale * self.residual)
        return Output(cosine_logits(features, texts, self.clip.logit_scale), features)
