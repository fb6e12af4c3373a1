"""Full fine-tuning: every weight of the image tower is trained.

The baseline that parameter-efficient methods are held against. The head follows Wortsman et al. 2022, "Robust
fine-tuning of zero-shot models" (CVPR, arXiv 2109.01903), section 3: it starts from the prompts' text features, so
that training starts at zero-shot CLIP::

    theta      tower            a trainable copy of CLIP's image tower
    f          features         its normalised class token, (B, D)
    W          prototypes       text features of the classes, (C, D); head ``text``: fixed, ``linear``: trained
    logits   = exp(t) (W f)     exp(t): clip.logit_scale

Paper: start, head ``linear``, all of the image tower trained. Our reading: features normalised and scaled as in CLIP's
own logits; the text tower stays frozen, so the Clip that is given stays as it is; ``text`` as a head that keeps
the class texts where CLIP put them. Clips: the mean of their frames' features.

Reproduces the row "CLIP fine-tuned" of CLIP-AUTT's Table 1, whose recipe is not public.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.models.base import Method, Output, SupervisedConfig, cosine_logits, pool, register
from fer_core.models.zero_shot import PromptConfig, text_prototypes


@dataclass(frozen=True)
class FullFineTuningConfig(SupervisedConfig, PromptConfig):
    """Settings of full fine-tuning.

    Args:
        head: ``linear`` trains the classifier too, ``text`` keeps it at the text features of ``templates`` and
            ``words``.
    """

    head: Literal["linear", "text"] = "linear"


@register
class FullFineTuning(Method):
    """A trained copy of the image tower under a classifier that starts at the prompts."""

    name = "full-fine-tuning"
    Config = FullFineTuningConfig
    frozen_image_tower = False
    prototypes: Tensor

    def __init__(self, clip: Clip, classes: Sequence[str], config: FullFineTuningConfig) -> None:
        super().__init__(clip, classes, config)
        self.tower = clip.copy_image_tower()
        self.asks_by_texts = config.head == "text"
        prototypes = text_prototypes(clip, classes, config)
        if config.head == "linear":
            self.prototypes = nn.Parameter(prototypes)
        else:
            self.register_buffer("prototypes", prototypes, persistent=False)

    def forward(self, batch: Batch) -> Output:
        """Scores of the trained tower's features, scaled."""
        features = pool(self.clip.encode_image(batch.image, patches=False, tower=self.tower).class_token)
        return Output(cosine_logits(features, self.prototypes, self.clip.logit_scale), features)
