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

from dataclasses import dataclass

from torch import nn

from fer_core.models.base import register
from fer_core.models.tuned_towers import TunedTower, TunedTowerConfig


@dataclass(frozen=True)
class FullFineTuningConfig(TunedTowerConfig):
    """Settings of full fine-tuning: those of its classifier."""


@register
class FullFineTuning(TunedTower):
    """A trained copy of the image tower under a classifier that starts at the prompts."""

    name = "full-fine-tuning"
    Config = FullFineTuningConfig

    def make_tower(self) -> nn.Module:
        """See :class:`TunedTower`."""
        return self.clip.copy_image_tower()
