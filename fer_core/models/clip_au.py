"""CLIP-AU: likeness to action units in words, over a clip, and a small classifier on them.

Zeeshan et al. 2026 (arXiv 2603.27999), from the authors' released code, which the paper's figure agrees with. Both
towers stay frozen; no action-unit label is used::

    v_t     = E_v(x_t)                              frame features, projected, not normalised, (B, T, D)
    z_v     = norm(mean_t GELU(Conv1d(v))_t)        layers.temporal, (B, D)
    z_au_i  = norm(A_t(E_t(p_i)))                   A_t: Linear, ReLU, Linear; p_i: an action unit in words, (N, D)
    z_sm    = 5 z_v z_au^T                          likeness to each unit, the interpretable bottleneck, (B, N)
    logits  = C(z_sm)                               Linear(N, 256), ReLU, Linear(256, C)

Paper: N = 46 bare phrases (47 units, the last two joined by a missing comma in the released list), cross-entropy alone,
AdamW 1e-3. Optional in the release, off by default: logits = 0.7 C(z_sm) + 0.3 * 5 cos(z_v, t_c) with t_c the texts
"a person with an expression of {class}". Our reading: natural blanks between a phrase's words, where the release trains
with underscores. A still image is a clip of one frame.

Reproduces the row "CLIP-AU" of Table 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fer_core import prompts
from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.errors import UserError
from fer_core.layers.temporal import TemporalConvolution
from fer_core.models.base import Method, Output, SupervisedConfig, cosine_logits, normalise, register
from fer_core.models.zero_shot import PromptConfig, text_prototypes

LIKENESS = 5.0
_INNER = 256


@dataclass(frozen=True)
class ClipAuConfig(SupervisedConfig, PromptConfig):
    """Settings of CLIP-AU.

    Args:
        units: Length of the list of action units: 46 as published, 47, or fewer for the first so many.
        wording: The texts: ``bare`` phrases, phrases in a ``template`` ("a person with an expression of …"), or none of
            units but of ``classes``, each in every template of the set ``ensemble``.
        class_prompts: Share of the classes' own texts in the logits; 0 leaves them out, the release's variant has 0.3.
        templates: Of those texts.
    """

    units: int = 46
    wording: Literal["bare", "template", "classes"] = "bare"
    class_prompts: float = 0.0
    templates: str = "expression"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.class_prompts < 1:
            raise UserError(f"expected class_prompts in [0, 1), got {self.class_prompts}; 0 leaves them out")


@register
class ClipAu(Method):
    """Action units in words against a clip's feature, under a small classifier."""

    name = "clip-au"
    Config = ClipAuConfig
    frozen_image_tower = True
    config: ClipAuConfig
    unit_texts: Tensor
    prototypes: Tensor

    def __init__(self, clip: Clip, classes: Sequence[str], config: ClipAuConfig) -> None:
        super().__init__(clip, classes, config)
        width, self.phrases = clip.embed_dim, _phrases(config, classes)
        with torch.no_grad():
            texts = clip.encode_text(self.phrases)  # (N, D), not normalised
        self.register_buffer("unit_texts", texts, persistent=False)
        self.adapter = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.temporal = TemporalConvolution(width)
        self.classifier = nn.Sequential(
            nn.Linear(len(self.phrases), _INNER), nn.ReLU(), nn.Linear(_INNER, len(classes))
        )
        if config.class_prompts:
            self.register_buffer("prototypes", text_prototypes(clip, classes, config), persistent=False)
        self.to(clip.device)

    def units(self, texts: Tensor | None = None) -> Tensor:
        """Adapted features ``(N, D)`` of the action units, normalised.

        Args:
            texts: ``(N, D)`` text features in place of the phrases' own, as test-time prompts make them.
        """
        return normalise(self.adapter(self.unit_texts if texts is None else texts))

    def video(self, frames: Tensor) -> Tensor:
        """One normalised feature ``(B, D)`` of each run of frame features ``(B, T, D)``."""
        return normalise(self.temporal(frames))

    def likeness(self, video: Tensor, units: Tensor) -> Tensor:
        """``(B, N)`` how much each video shows each unit, times 5."""
        return cosine_logits(video, units, LIKENESS)

    def classify(self, video: Tensor, units: Tensor) -> Tensor:
        """Logits ``(B, C)`` of video features ``(B, D)``."""
        logits = self.classifier(self.likeness(video, units)).float()
        share = self.config.class_prompts
        if share:
            logits = (1 - share) * logits + share * cosine_logits(video, self.prototypes, LIKENESS)
        return logits

    def frames(self, batch: Batch) -> Tensor:
        """Frame features ``(B, T, D)`` of the frozen tower, not normalised."""
        token = self.image_features(batch).class_token
        return token if token.ndim == 3 else token[:, None]

    def forward(self, batch: Batch) -> Output:
        """The classifier's scores of each clip."""
        video = self.video(self.frames(batch))
        return Output(self.classify(video, self.units()), video)


def _phrases(config: ClipAuConfig, classes: Sequence[str]) -> tuple[str, ...]:
    """The texts that a video is compared with."""
    if config.wording == "classes":
        return tuple(text for row in prompts.texts(classes, "ensemble") for text in row)
    return prompts.unit_texts(config.units, bare=config.wording == "bare")
