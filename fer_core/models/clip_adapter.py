"""CLIP-Adapter: a small residual network on the image feature.

Gao et al. 2021, "CLIP-Adapter: Better Vision-Language Models with Feature Adapters" (IJCV, arXiv 2110.04544), section
3.2. Both towers stay frozen::

    f           class token, normalised, (B, D)
    A_v(f)      ReLU(ReLU(f W1) W2)          W1: (D, D / r), W2: (D / r, D), without biases
    f*          a A_v(f) + (1 - a) f         normalised, (B, D)
    w_i         text feature of class i's prompt, (C, D)
    logits_i  = cos(f*, w_i) / tau

Paper: reduction r = 4, residual ratio a = 0.2 in general and up to 0.6 for data far from photographs; adapting the
image side alone is its best variant, which is why the text adapter is left out. Our reading: f is normalised before the
adapter. Clips: the mean of their frames' features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.errors import UserError
from fer_core.models.base import Method, Output, SupervisedConfig, cosine_logits, normalise, pool, register
from fer_core.models.zero_shot import PromptConfig, text_prototypes


@dataclass(frozen=True)
class ClipAdapterConfig(SupervisedConfig, PromptConfig):
    """Settings of CLIP-Adapter.

    Args:
        reduction: r, by which the inner layer is narrower than the feature.
        ratio: a, the adapter's share of the new feature.
    """

    reduction: int = 4
    ratio: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reduction < 1:
            raise UserError(f"expected reduction of at least 1, got {self.reduction}; the paper's is 4")
        if not 0 < self.ratio <= 1:
            raise UserError(f"expected ratio in (0, 1], got {self.ratio}; the paper's is 0.2")


@register
class ClipAdapter(Method):
    """A residual network of two layers on the image feature."""

    name = "clip-adapter"
    Config = ClipAdapterConfig
    frozen_image_tower = True
    asks_by_texts = True
    config: ClipAdapterConfig
    prototypes: Tensor

    def __init__(self, clip: Clip, classes: Sequence[str], config: ClipAdapterConfig) -> None:
        super().__init__(clip, classes, config)
        inner = max(1, clip.embed_dim // config.reduction)
        self.adapter = nn.Sequential(
            nn.Linear(clip.embed_dim, inner, bias=False), nn.ReLU(),
            nn.Linear(inner, clip.embed_dim, bias=False), nn.ReLU(),
        ).to(clip.device)  # fmt: skip
        self.register_buffer("prototypes", text_prototypes(clip, classes, config), persistent=False)

    def class_texts(self) -> Tensor:
        """See :meth:`Method.class_texts`."""
        return self.prototypes

    def forward(self, batch: Batch) -> Output:
        """Cosines of the adapted feature to the prompts, scaled."""
        features = pool(self.image_features(batch).class_token)
        ratio = self.config.ratio
        features = normalise(ratio * self.adapter(features) + (1 - ratio) * features)
        return Output(cosine_logits(features, self.prototypes, self.clip.logit_scale), features)
