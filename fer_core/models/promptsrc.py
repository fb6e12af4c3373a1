"""PromptSRC: prompts in both towers, held near the frozen CLIP.

Khattak et al. 2023, "Self-regulating Prompts: Foundational Model Adaptation without Forgetting" (ICCV, arXiv
2307.06948), section 3.2. CLIP's own weights stay frozen::

    P_t, P_v    text_prompts, visual_prompts     T vectors anew in each of the first J blocks of either tower
    f, g        features of the prompted towers; f', g' of the frozen ones, g' the mean over an ensemble of templates
    L_img     = mean |f - f'|,  L_txt = mean |g - g'|                              equation 3
    L_log     = KL(softmax of prompted logits, softmax of frozen logits)           equation 4
    L         = L_ce + a L_img + b L_txt + c L_log                                 equation 5, a = 10, b = 25, c = 1

The prompts that are used in the end are a Gaussian-weighted mean of those at the ends of all epochs (equation 6; mean
and deviation are shares of the number of epochs). Paper: J = 9, T = 4, from "a photo of a"; 20 epochs with mean 15 and
deviation 1 for base-to-new, 50 with 45 and 5 for few shots. Absolute differences are means over all values, as in the
authors' code. Our reading: the ensemble is this project's templates. Other than in that code, L_log is a mean over
samples of the divergence from the prompted predictions (theirs: from the frozen ones, over classes too), and the image
tower's prompts are dropped behind block J and do not pass the norm before the blocks. Clips: the mean of their frames'
features.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.errors import UserError
from fer_core.models.base import Method, Output, SupervisedConfig, cosine_logits, normalise, pool, register
from fer_core.models.soft_prompts import deep_start, deep_words, random_start
from fer_core.models.zero_shot import PromptConfig, text_prototypes


@dataclass(frozen=True)
class PromptSrcConfig(SupervisedConfig, PromptConfig):
    """Settings of PromptSRC; ``templates`` are those of the frozen text features.

    Args:
        depth: J, blocks of either tower that get prompts.
        length: T, prompts of a block.
        context_init: Words whose first T tokens the first text prompts start from; empty for a random start.
        image_weight: a, how much the image feature is held at the frozen one.
        text_weight: b, likewise the text features.
        logit_weight: c, likewise the predictions.
        aggregate: Whether to use the Gaussian-weighted mean of the prompts of all epochs.
        aggregate_mean: Its centre, as a share of the epochs.
        aggregate_deviation: Its width, as a share of the epochs.
    """

    depth: int = 9
    length: int = 4
    context_init: str = "a photo of a"
    image_weight: float = 10.0
    text_weight: float = 25.0
    logit_weight: float = 1.0
    aggregate: bool = True
    aggregate_mean: float = 0.9
    aggregate_deviation: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth < 1 or self.length < 1:
            raise UserError(f"expected depth and length of at least 1, got {self.depth} and {self.length}; try 9 and 4")
        if min(self.image_weight, self.text_weight, self.logit_weight) < 0 or self.aggregate_deviation <= 0:
            raise UserError(
                f"expected weights of at least 0 and aggregate_deviation above 0, got {self.image_weight:g}, "
                f"{self.text_weight:g} and {self.logit_weight:g}, and {self.aggregate_deviation:g}; mend the wrong "
                "one"
            )


@register
class PromptSrc(Method):
    """Independent prompts in both towers, regularised by the frozen ones."""

    name = "promptsrc"
    Config = PromptSrcConfig
    frozen_image_tower = False
    asks_by_texts = True
    config: PromptSrcConfig
    frozen_texts: Tensor
    gathered_text: Tensor
    gathered_visual: Tensor
    gathered: Tensor

    def __init__(self, clip: Clip, classes: Sequence[str], config: PromptSrcConfig) -> None:
        super().__init__(clip, classes, config)
        self.words = deep_words(clip, classes, config.length, config.words)
        depth = min(config.depth, clip.text_layers)
        self.text_prompts = nn.Parameter(deep_start(clip, depth, config.length, config.context_init))
        depth = min(config.depth, clip.visual_layers)
        self.visual_prompts = nn.Parameter(random_start(depth, config.length, clip.visual_width).to(clip.device))
        self.register_buffer("frozen_texts", text_prototypes(clip, classes, config), persistent=False)
        self.register_buffer("gathered_text", torch.zeros_like(self.text_prompts))
        self.register_buffer("gathered_visual", torch.zeros_like(self.visual_prompts))
        self.register_buffer("gathered", torch.zeros((), device=clip.device))

    def _gathered(self, prompts: Tensor, gathered: Tensor) -> Tensor:
        """The prompts themselves in training; else those gathered so far, once there are any."""
        if self.training or not self.config.aggregate:
            return prompts
        weight = self.gathered.clamp_min(torch.finfo(torch.float32).tiny)
        return torch.where(self.gathered > 0, gathered / weight, prompts)

    def class_texts(self) -> Tensor:
        """See :meth:`Method.class_texts`."""
        return normalise(
            self.clip.encode_text(self.words, prompts=self._gathered(self.text_prompts, self.gathered_text))
        )

    def forward(self, batch: Batch) -> Output:
        """Cosines between the prompted towers, scaled; in evaluation with the prompts gathered so far."""
        visual = self._gathered(self.visual_prompts, self.gathered_visual)
        features = pool(self.clip.encode_image(batch.image, prompts=visual, patches=False).class_token)
        self._texts = self.class_texts()
        return Output(cosine_logits(features, self._texts, self.clip.logit_scale), features)

    def losses(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Cross-entropy, the three parts that hold on to the frozen CLIP, and ``loss``, their weighted sum."""
        config, scale = self.config, self.clip.logit_scale
        with torch.no_grad():
            frozen = pool(self.clip.encode_image(batch.image, patches=False).class_token)
            told = cosine_logits(frozen, self.frozen_texts, scale).log_softmax(1)
        parts = {
            "label": super().losses(batch, output)["loss"],
            "image": (output.features - frozen).abs().mean(),
            "text": (self._texts - self.frozen_texts).abs().mean(),
            "logits": F.kl_div(told, output.logits.log_softmax(1), log_target=True, reduction="batchmean"),
        }
        weights = {"image": config.image_weight, "text": config.text_weight, "logits": config.logit_weight}
        parts["loss"] = torch.stack([weights.get(name, 1.0) * part for name, part in parts.items()]).sum()
        return parts

    @torch.no_grad()
    def end_epoch(self, epoch: int, epochs: int) -> None:
        """Adds the epoch's prompts to the weighted mean."""
        centre, width = self.config.aggregate_mean * epochs, self.config.aggregate_deviation * epochs
        weight = math.exp(-0.5 * ((epoch - centre) / width) ** 2)
        self.gathered_text += weight * self.text_prompts
        self.gathered_visual += weight * self.visual_prompts
        self.gathered += weight
