"""MPA-FER: learned prompts in both towers, held near hand-written texts and near the frozen CLIP's class means.

Ma et al. 2025, "Multimodal Prompt Alignment for Facial Expression Recognition" (ICCV, arXiv 2506.21017). Abstract and
figure captions are public to us; equations and settings are from secondary sources, which agree but where marked.
CLIP's own weights stay frozen::

    t_c         soft prompt           [SOS] M context vectors, class words, "." [EOS]                    M = 10
    p^l         visual_prompts[l]     vectors after the patches of block l, dropped behind it (eq. 5)    8 a block
    t*_c        hard prompt           a text of one of three granularities, encoded once, frozen
    z^g, z_i    class token, patches  of the prompted tower, after its last norm and projection, normalised
    L_ta, L_pa  losses.soft_hard      soft prompts against hard ones: tokens (eq. 1, 2), whole prompts (eq. 3)
    p_c         prototypes            mean of the frozen, unprompted class tokens of class c (eq. 6)
    L_v       = mean(1 - cos(z^g, p_y)), or the L1 distance, a mean over dimensions or summed            (eq. 7)
    S_loc(d)  = mean of the k patches with the largest <z_i, theta(t_d)>, chosen for each class          (eq. 8, 9)
    S(d)      = cos(z^g, theta(t_d)) + S_loc(d)                                                          (eq. 10)
    L         = CE(exp(t) S) + beta (L_ta + L_pa) + gamma L_v                                            (eq. 4, 11, 12)

Paper (by those sources): M = 10 and 8 visual prompts from N(0, 0.02^2), k = 16, beta = gamma = 1, prototypes over all
training images. Our reading, each a setting: a context of its own for each class, which makes the published 0.218 MB
with 8 classes, ViT-B/16 and half precision (no reading makes both published sizes); L1 for L_pa, as a mean over
dimensions; the mean over all word tokens for L_ta, at temperature 0.07; cosine for L_v; prompts in all blocks; CLIP's
own scale for S, which ranges over two cosines; our own FACS-based descriptions for the third granularity in place of
the authors' unpublished ones. Clips: the mean of their frames' features and scores.

Reproduces the rows "MPA-FER" of the main comparison and the component, granularity and prototype tables.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fer_core import prompts
from fer_core.batch import Batch, ImageFeatures
from fer_core.clip import Clip, TextTokens
from fer_core.errors import UserError
from fer_core.losses.soft_hard import Pooling, contrastive_alignment, distance_alignment, token_likeness
from fer_core.models.base import Method, Output, SupervisedConfig, normalise, pool, register
from fer_core.models.soft_prompts import random_start


@dataclass(frozen=True)
class MpaFerConfig(SupervisedConfig):
    """Settings of MPA-FER.

    Args:
        context_length: M, context vectors of a soft prompt.
        class_specific: A context of its own for each class, in place of a shared one.
        visual_length: Visual prompts of a block; 0 for none.
        visual_depth: Blocks that have some, from the first on; None for all.
        granularity: Of the hard prompts: 1 names the class, 2 the expression, 3 adds a description.
        descriptions: Other descriptions by class, such as ``fer-core describe classes`` makes; None for ours.
        beta: Weight of the soft-hard alignment; 0 leaves it out.
        tokens: Whether it aligns tokens.
        whole: How it aligns whole prompts: ``l1`` (a mean over dimensions), ``l1-sum``, ``contrastive`` or ``none``.
        pooling: Which tokens count: ``words`` (all), ``context`` (the learned ones), ``nearest`` (each to its nearest).
        tau: Temperature of the alignments.
        gamma: Weight of the prototype-guided visual alignment; 0 leaves it out.
        distance: Of that alignment: ``cosine``, ``l1`` (a mean over dimensions) or ``l1-sum``.
        prototype_samples: Training images of each class that make a prototype; None for all.
        local: Whether patches add to the score.
        patches: k, how many of them for each class.
    """

    context_length: int = 10
    class_specific: bool = True
    visual_length: int = 8
    visual_depth: int | None = None
    granularity: Literal[1, 2, 3] = 3
    descriptions: dict[str, str] | None = None
    beta: float = 1.0
    tokens: bool = True
    whole: Literal["l1", "l1-sum", "contrastive", "none"] = "l1"
    pooling: Pooling = "words"
    tau: float = 0.07
    gamma: float = 1.0
    distance: Literal["cosine", "l1", "l1-sum"] = "cosine"
    prototype_samples: int | None = None
    local: bool = True
    patches: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("context_length", 1), ("visual_length", 0), ("patches", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name}: expected at least {least}, got {getattr(self, name)}; raise it")
        for name in ("visual_depth", "prototype_samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name}: expected none, or at least 1, got {value}; leave it out for all")
        if min(self.beta, self.gamma) < 0 or self.tau <= 0:
            raise UserError(
                f"expected beta, gamma >= 0 and tau > 0, got {self.beta}, {self.gamma}, {self.tau}; mend it"
            )


@register
class MpaFer(Method):
    """Soft prompts in both towers, aligned with hard texts, class prototypes and patches."""

    name = "mpa-fer"
    Config = MpaFerConfig
    frozen_image_tower = False  # but without visual prompts
    config: MpaFerConfig
    hard: Tensor
    hard_embedding: Tensor
    hard_mask: Tensor
    prototypes: Tensor

    def __init__(self, clip: Clip, classes: Sequence[str], config: MpaFerConfig) -> None:
        super().__init__(clip, classes, config)
        self.words = clip.tokens([f"{word}." for word in prompts.class_words(classes)])
        shape = (config.context_length, clip.text_width)
        shape = (len(classes), *shape) if config.class_specific else shape
        self.context = nn.Parameter(random_start(*shape).to(clip.device))
        depth = clip.visual_layers if config.visual_depth is None else min(config.visual_depth, clip.visual_layers)
        self.visual_prompts = None
        if config.visual_length:
            start = random_start(depth, config.visual_length, clip.visual_width)
            self.visual_prompts = nn.Parameter(start.to(clip.device))
        self.asks_by_texts = not config.class_specific
        self.frozen_image_tower = self.visual_prompts is None
        self.needs_patches = config.local
        texts = prompts.hard_prompts(classes, config.granularity, config.descriptions)
        tokens = clip.tokens(texts)
        self.register_buffer("hard", clip.fixed_texts(texts), persistent=False)  # (C, D), normalised
        self.register_buffer("hard_embedding", tokens.embedding, persistent=False)
        self.register_buffer("hard_mask", _words(tokens), persistent=False)
        self.register_buffer("prototypes", torch.zeros(len(classes), clip.embed_dim, device=clip.device))

    @torch.no_grad()
    def prepare(self, batches: Iterable[Batch]) -> None:
        """Takes the mean of the frozen class tokens of each class (equation 6)."""
        if not self.config.gamma:
            return
        sums, counts = torch.zeros_like(self.prototypes), self.prototypes.new_zeros(len(self.classes))
        most = self.config.prototype_samples
        for batch in batches:
            tokens = pool(self.image_features(batch).class_token)
            for token, label in zip(tokens, batch.label.tolist(), strict=True):
                if most is None or counts[label] < most:
                    sums[label] += token
                    counts[label] += 1
        self.prototypes.copy_(normalise(sums / counts[:, None].clamp(min=1)))

    def soft(self) -> TextTokens:
        """The soft prompts as tokens."""
        return self.words.with_context(self.context)

    def texts(self) -> Tensor:
        """Features of the soft prompts, ``(C, D)``, normalised."""
        return normalise(self.clip.encode_text(self.soft()))

    def _encoded(self, batch: Batch) -> ImageFeatures:
        if self.frozen_image_tower:
            return self.image_features(batch, patches=self.config.local)
        return self.clip.encode_image(batch.image, prompts=self.visual_prompts, patches=self.config.local)

    def class_texts(self) -> Tensor:
        """See :meth:`Method.class_texts`."""
        return self.texts()

    def forward(self, batch: Batch) -> Output:
        """Global and local likeness of the image to the soft prompts, scaled."""
        encoded = self._encoded(batch)
        features = pool(encoded.class_token)  # (B, D)
        self._texts = texts = self.texts()
        # Not in half precision, for the reason that base.cosine_logits gives.
        with torch.autocast(features.device.type, enabled=False):
            score = features @ texts.T
            if self.config.local:
                assert encoded.patch_tokens is not None
                score = score + self.local_score(encoded.patch_tokens, texts)
            return Output(self.clip.logit_scale * score, features)

    def local_score(self, patches: Tensor, texts: Tensor) -> Tensor:
        """``(B, C)`` mean likeness of each class' nearest patches (equations 8 and 9).

        Args:
            patches: ``(B, N, D)``, or ``(B, T, N, D)`` for clips.
            texts: ``(C, D)`` normalised.
        """
        likeness = normalise(patches) @ texts.T  # (..., N, C)
        best = likeness.topk(min(self.config.patches, likeness.shape[-2]), dim=-2).values.mean(-2)
        return best.mean(1) if best.ndim == 3 else best

    def losses(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """The parts that have a weight, and ``loss``, their weighted sum (equation 12)."""
        config = self.config
        parts = {"label": super().losses(batch, output)["loss"]}
        weights = {"label": 1.0}
        if config.beta and config.tokens:
            parts["tokens"], weights["tokens"] = self._token_alignment(), config.beta
        if config.beta and config.whole != "none":
            weights["prompts"] = config.beta
            parts["prompts"] = (
                contrastive_alignment(self._texts, self.hard, config.tau)
                if config.whole == "contrastive"
                else distance_alignment(self._texts, self.hard, summed=config.whole == "l1-sum")
            )
        if config.gamma:
            own, weights["prototypes"] = self.prototypes[batch.label], config.gamma
            if config.distance == "cosine":
                parts["prototypes"] = (1 - (output.features * own).sum(-1)).mean()
            else:
                parts["prototypes"] = distance_alignment(output.features, own, summed=config.distance == "l1-sum")
        parts["loss"] = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return parts

    def _token_alignment(self) -> Tensor:
        """Equations 1 and 2."""
        soft = self.soft()
        counted = _words(soft)
        if self.config.pooling == "context":
            counted = torch.zeros_like(counted)
            counted[:, 1 : 1 + self.config.context_length] = True
        likeness = token_likeness(soft.embedding, counted, self.hard_embedding, self.hard_mask, self.config.pooling)
        return -(likeness / self.config.tau).log_softmax(0).diagonal().sum()


def _words(tokens: TextTokens) -> Tensor:
    """``(N, L)`` the tokens between the start and the end of each text."""
    place = torch.arange(tokens.ids.shape[1], device=tokens.ids.device)
    return (place[None] > 0) & (place[None] < tokens.eos[:, None])
