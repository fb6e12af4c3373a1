"""LES-CLIP: emotion-sensitive experts, prompt-guided discrimination and a hybrid loss on frozen towers.

Fu et al. 2025, "LES-CLIP" (ACM MM). Only the abstract is public: it names the three parts, their purpose (look-alike
expressions overlap in CLIP's space) and 70.18 % on AffectNet-8. Everything below is one concrete instance of it, our
reading, and each choice is a setting that the chapter ablates::

    T          texts            one simple prompt a class, encoded once, (C, D)
    experts    layers.Experts   in the image tower: parallel to the MLPs, on its patch tokens before the first block, or
                                on its projected tokens
    z          features         class token of the adapted tower, normalised, (B, D)
    z_c        discrimination   the image as class c sees it, (B, C, D); z itself without that part
    logits_c = exp(t) cos(z_c, T_c)                      exp(t): clip.logit_scale, frozen
    L        = a L_itc + b L_sim + c L_lab + d L_bal     contrast, similar emotions, smoothed labels, balance of experts

At the start all parts add nothing, and the model is zero-shot CLIP with the same texts. Frames of a clip are adapted
one by one; z and z_c are their means.

Reproduces the row "LES-CLIP" on AffectNet-8 in the chapter's main table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core import prompts
from fer_core.batch import Batch, ImageFeatures
from fer_core.clip import Clip
from fer_core.errors import UserError
from fer_core.layers.discrimination import Discrimination
from fer_core.layers.experts import ExpertBlock, Experts
from fer_core.losses.label_aware_contrastive import label_aware_contrastive
from fer_core.losses.similar_emotion import similar_emotion, text_likeness
from fer_core.models.base import Method, Output, SupervisedConfig, cosine_logits, normalise, register
from fer_core.models.zero_shot import PromptConfig, text_prototypes

Place = Literal["blocks", "pre", "post", "none"]


@dataclass(frozen=True)
class LesClipConfig(SupervisedConfig, PromptConfig):
    """Settings of LES-CLIP.

    Args:
        templates: One simple template, as the abstract says.
        words: Class words as ``noun`` or ``adjective``.
        experts: Where the experts sit: ``blocks`` (parallel to the MLPs), ``pre`` (patch tokens before the first
            block), ``post`` (projected tokens), or ``none``.
        expert_count: Number of experts, E.
        expert_width: Their inner width, r.
        expert_top: How many an image is sent to, k.
        expert_dropout: Of their inner layer.
        expert_scale: Start of the factor on what they add; 0.1 and 1 are rows of the ablation ``start``.
        first_block: With ``blocks``: the first block that has experts; all later ones have them too.
        sensitive: Whether the router hears what the class token tells of the classes.
        discrimination: Whether classes ask the patches.
        discrimination_width: Width of queries, keys and values, h.
        discrimination_strength: Start of the factor on what they see; likewise.
        subtract: Whether what confusable classes share is taken away.
        contrast: Weight of the label-aware contrast.
        similar: Weight of the similar-emotion term.
        similar_weight: How much more a similar class counts in it.
        similar_margin: The margin that it demands, in logits at CLIP's scale of 100.
        similar_by: Whom it takes for similar: classes of like ``text``, or those that the model has confused
            (``confusion``, a moving average of its predictions).
        label: Weight of the smoothed cross-entropy.
        balance: Weight of the experts' balance; 0.01, as in Switch Transformers, is a row of the ablation ``loss``.
        label_smoothing: Of the cross-entropy.
        votes: As of :class:`~fer_core.models.base.SupervisedConfig`, for the cross-entropy alone: the other terms
            compare samples and classes by their labels.
    """

    templates: str = "les-clip"
    words: prompts.Words = "adjective"
    label_smoothing: float = 0.1
    experts: Place = "blocks"
    expert_count: int = 4
    expert_width: int = 16
    expert_top: int = 2
    expert_dropout: float = 0.1
    expert_scale: float = 1.0
    first_block: int = 0
    sensitive: bool = True
    discrimination: bool = True
    discrimination_width: int = 64
    discrimination_strength: float = 1.0
    subtract: bool = True
    contrast: float = 1.0
    similar: float = 0.5
    similar_weight: float = 1.0
    similar_margin: float = 2.0
    similar_by: Literal["text", "confusion"] = "text"
    label: float = 1.0
    balance: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.experts not in ("blocks", "pre", "post", "none"):
            raise UserError(f"experts: expected blocks, pre, post or none, got {self.experts!r}; choose one of them")
        if self.similar_by not in ("text", "confusion"):
            raise UserError(f"similar_by: expected text or confusion, got {self.similar_by!r}; choose one of them")
        weights = {name: getattr(self, name) for name in ("contrast", "similar", "label", "balance")}
        wrong = next((name for name, value in weights.items() if value < 0), None)
        if wrong is not None:
            raise UserError(f"{wrong}: expected a weight of at least 0, got {weights[wrong]}; 0 leaves the term out")
        if not (self.contrast or self.similar or self.label):
            raise UserError("contrast, similar and label: expected one weight above 0, got none; raise one of them")


@register
class LesClip(Method):
    """Experts in the image tower, class-wise discrimination, and a loss that pushes look-alikes apart."""

    name = "les-clip"
    Config = LesClipConfig
    frozen_image_tower = False  # with experts inside; see __init__
    needs_patches = True  # the discrimination attends to them
    config: LesClipConfig
    texts: Tensor
    confusion: Tensor

    def __init__(self, clip: Clip, classes: Sequence[str], config: LesClipConfig) -> None:
        super().__init__(clip, classes, config)
        texts = text_prototypes(clip, classes, config)  # (C, D)
        self.register_buffer("texts", texts, persistent=False)
        self.register_buffer("likeness", text_likeness(texts), persistent=False)
        self.register_buffer("confusion", torch.full((len(classes), len(classes)), 1.0 / len(classes)))
        self.frozen_image_tower = config.experts in ("post", "none")
        self.blocks = nn.ModuleList(self._expert_blocks())
        self.post = self._experts(clip.embed_dim) if config.experts == "post" else None
        self.discrimination = None
        if config.discrimination:
            self.discrimination = Discrimination(
                texts, config.discrimination_width, config.discrimination_strength, config.subtract
            )
        self.to(clip.device)

    def _experts(self, width: int) -> Experts:
        config = self.config
        return Experts(
            width, len(self.classes), config.expert_count, config.expert_width, config.expert_top,
            config.expert_dropout, config.expert_scale,
        )  # fmt: skip

    def _expert_blocks(self) -> list[ExpertBlock]:
        """One adapter for each block that has experts."""
        config, layers = self.config, self.clip.visual_layers
        if config.experts not in ("blocks", "pre"):
            return []
        if not 0 <= config.first_block < layers:
            raise UserError(f"first_block: expected 0 to {layers - 1}, got {config.first_block}; choose one of them")
        reading = self._reading if config.sensitive else None
        if config.experts == "pre":
            return [ExpertBlock(self._experts(self.clip.visual_width), reading, before=True)]
        return [ExpertBlock(self._experts(self.clip.visual_width), reading) for _ in range(config.first_block, layers)]

    def _reading(self, token: Tensor) -> Tensor:
        """What a token ``(B, W)`` of the residual stream tells of the classes: probabilities ``(B, C)``."""
        visual = self.clip.model.visual
        return self._told(visual.ln_post(token) @ visual.proj)

    def _told(self, projected: Tensor) -> Tensor:
        """Class probabilities ``(B, C)`` of projected tokens ``(B, D)``."""
        return cosine_logits(normalise(projected), self.texts, self.clip.logit_scale).softmax(-1)

    def _encoded(self, batch: Batch) -> ImageFeatures:
        """Class and patch tokens of the adapted tower; frames of clips as images of their own."""
        if self.frozen_image_tower:
            features = self.image_features(batch, patches=True)
        else:
            first = self.config.first_block if self.config.experts == "blocks" else 0
            rest = self.clip.visual_layers - first - len(self.blocks)
            adapters: list[Any] = [*[None] * first, *self.blocks, *[None] * rest]
            features = self.clip.encode_image(batch.image, adapters=adapters, patches=self.discrimination is not None)
        token, patches = features.class_token, features.patch_tokens
        if token.ndim == 3:
            token = token.flatten(0, 1)
            patches = None if patches is None else patches.flatten(0, 1)
        if self.post is not None:
            assert patches is not None
            tokens = torch.cat([token[:, None], patches], 1)
            normed = F.layer_norm(tokens, tokens.shape[-1:])
            reading = self._told(token) if self.config.sensitive else None
            tokens = tokens + self.post(normed, token, reading)
            token, patches = tokens[:, 0], tokens[:, 1:]
        return ImageFeatures(token, patches)

    def class_texts(self) -> Tensor:
        """See :meth:`Method.class_texts`."""
        return self.texts

    def forward(self, batch: Batch) -> Output:
        """Likeness of the image, as each class sees it, to that class' text, scaled."""
        encoded = self._encoded(batch)
        features = normalise(encoded.class_token)
        if self.discrimination is None:
            seen = features[:, None].expand(-1, len(self.classes), -1)
        else:
            assert encoded.patch_tokens is not None
            seen = normalise(self.discrimination(features, encoded.patch_tokens))
        clips, tokens = batch.label.shape[0], features.shape[0]  # not len(): an exported graph takes any number
        if tokens != clips:
            features, seen = (normalise(part.unflatten(0, (clips, -1)).mean(1)) for part in (features, seen))
        # Not in half precision, for the reason that base.cosine_logits gives.
        with torch.autocast(features.device.type, enabled=False):
            logits = self.clip.logit_scale * (seen * self.texts).sum(-1)
        return Output(logits, features)

    def losses(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """The parts that have a weight, and ``loss``, their weighted sum."""
        config, logits = self.config, output.logits
        parts: dict[str, Tensor] = {}
        if config.contrast:
            parts["contrast"] = label_aware_contrastive(logits, batch.label)
        if config.similar:
            margin = config.similar_margin * self.clip.logit_scale / 100.0
            parts["similar"] = similar_emotion(
                logits, batch.label, self._similar(batch, output), config.similar_weight, margin
            )
        if config.label:
            parts["label"] = super().losses(batch, output)["loss"]
        mixtures = self.mixtures
        if config.balance and mixtures:
            parts["balance"] = torch.stack([mixture.balance for mixture in mixtures]).mean()
        parts["loss"] = torch.stack([getattr(config, name) * part for name, part in parts.items()]).sum()
        return parts

    @property
    def mixtures(self) -> list[Experts]:
        """All mixtures of experts, in the order in which an image passes them."""
        blocks: list[Any] = [block.experts for block in self.blocks]
        return [*blocks, self.post] if self.post is not None else blocks

    @torch.no_grad()
    def _similar(self, batch: Batch, output: Output) -> Tensor:
        """``(C, C)`` how alike classes are, rows summing to 1 with zeros on the diagonal."""
        if self.config.similar_by == "text":
            return self.likeness  # pyright: ignore[reportReturnType]
        if self.training:
            told = output.logits.float().softmax(1)
            for label in batch.label.unique().tolist():
                self.confusion[label].lerp_(told[batch.label == label].mean(0), 0.01)
        others = self.confusion * (1 - torch.eye(len(self.classes), device=self.confusion.device))
        return others / others.sum(1, keepdim=True).clamp_min(1e-12)
