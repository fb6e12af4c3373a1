"""EmoCLIP: a clip learns from the sentences that describe it, and is asked about classes by their descriptions.

Foteinopoulou and Patras 2024, "EmoCLIP: A Vision-Language Method for Zero-Shot Video Facial Expression Recognition"
(FG, arXiv 2310.16640), section 3. No class is seen in training.

    v_i        clip           transformer over the frames' class tokens, normalised, (B, D)
    s_i        descriptions   mean of the description's sentences through the text tower, normalised, (B, D)
    L        = (CE(exp(t) v s^T) + CE(exp(t) s v^T)) / 2      which description of the batch belongs to which clip
    logits_c = exp(t) cos(v, t_c)                             t_c: a description of the class

Paper: sample-level descriptions of MAFW, class-level descriptions by a language model, image tower and transformer
trained. Our reading: the text tower stays frozen, so that a description is encoded once; class texts are our
FACS-based ones (``class_texts: descriptions``) or the class names in a template; a description that stands twice in a
batch belongs to both clips; a clip without one, as MAFW's neutral ones are, teaches nothing; class words in
descriptions may be masked.

Reproduces the row "EmoCLIP" of FineCLIPER's comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_core import prompts
from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.descriptions.masking import mask
from fer_core.errors import UserError
from fer_core.layers.described import describe
from fer_core.layers.temporal import TemporalTransformer
from fer_core.models.base import Method, Output, cosine_logits, normalise, register, split_groups


@dataclass(frozen=True)
class EmoClipConfig:
    """Settings of EmoCLIP.

    Args:
        class_texts: What a class is asked by: its ``descriptions``, or its ``names`` in a template.
        masked: Whether class words in the descriptions of clips are masked.
        layers: Of the transformer over time.
        heads: Its attention heads.
        max_frames: Most frames of a clip.
        train_tower: Whether a copy of the image tower is trained too.
        tower_lr: Its learning rate, as a share of the transformer's.
    """

    class_texts: Literal["descriptions", "names"] = "descriptions"
    masked: bool = False
    layers: int = 1
    heads: int = 8
    max_frames: int = 16
    train_tower: bool = True
    tower_lr: float = 0.1

    def __post_init__(self) -> None:
        if self.class_texts not in ("descriptions", "names"):
            raise UserError(
                f"class_texts: expected descriptions or names, got {self.class_texts!r}; choose one of them"
            )
        if self.max_frames < 1:
            raise UserError(f"max_frames: expected at least 1, got {self.max_frames}; raise it")
        if self.tower_lr <= 0:
            raise UserError(f"tower_lr: expected more than 0, got {self.tower_lr}; train_tower=false freezes it")


@register
class EmoClip(Method):
    """Clips and their descriptions, class descriptions at the test."""

    name = "emo-clip"
    Config = EmoClipConfig
    frozen_image_tower = False  # without train_tower; see __init__
    config: EmoClipConfig
    texts: Tensor

    def __init__(self, clip: Clip, classes: Sequence[str], config: EmoClipConfig) -> None:
        super().__init__(clip, classes, config)
        self.frozen_image_tower = not config.train_tower  # pyright: ignore[reportAttributeAccessIssue]
        rows = prompts.class_descriptions(classes)
        if config.class_texts == "names":
            rows = tuple(row[0] for row in prompts.texts(classes, "les-clip"))
        self.register_buffer("texts", clip.fixed_texts(rows), persistent=False)
        self.temporal = TemporalTransformer(clip.embed_dim, config.layers, config.heads, config.max_frames)
        self.tower = clip.copy_image_tower() if config.train_tower else None
        self.to(clip.device)

    def forward(self, batch: Batch) -> Output:
        """Cosines of the clip to the class texts, scaled; a still is a clip of one frame."""
        if self.tower is None:
            token = self.image_features(batch).class_token
        else:
            token = self.clip.encode_image(batch.image, patches=False, tower=self.tower).class_token
        features = normalise(self.temporal(normalise(token if token.ndim == 3 else token[:, None])))
        return Output(cosine_logits(features, self.texts, self.clip.logit_scale), features)

    def losses(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """The contrast of clips and descriptions; labels are not looked at.

        Raises:
            UserError: If the batch has no descriptions.
        """
        if batch.caption is None:
            raise UserError("expected a description of each clip, got none; set data.descriptions")
        described = [place for place, text in enumerate(batch.caption) if text.strip()]
        if not described:
            return {"loss": 0.0 * output.features.sum()}
        texts = [batch.caption[place] for place in described]
        if self.config.masked:
            texts = [mask(text) for text in texts]
        logits = self.clip.logit_scale * output.features[described] @ describe(self.clip, texts).T
        same = torch.tensor([[one == other for other in texts] for one in texts], device=logits.device)
        target = same / same.sum(1, keepdim=True)
        return {"loss": (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2}

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """As every method's, the tower with its own share of the learning rate."""
        return split_groups(super().parameter_groups(lr, weight_decay), self.tower, self.config.tower_lr)
