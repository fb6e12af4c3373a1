"""Zero-shot CLIP with a template ensemble.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision" (arXiv 2103.00020),
sections 3.1.2 and 3.1.4. Nothing is added to CLIP and nothing is trained: a class is the mean of its prompts::

    f           features          normalised class token of the image, (B, D)
    w_i         prototypes[i]     mean of the normalised features of class i's prompts, normalised again, (C, D)
    exp(t)      clip.logit_scale
    logits_i  = exp(t) <f, w_i>

Paper: averaging in embedding space, one prototype a class. Our reading: the mean of normalised prompt features, as in
the authors' published notebook; their FER2013 prompts give some classes several words, ours one. Clips: the mean of
their frames' features.

Reproduces the rows "CLIP [zero-shot]" of Exp-CLIP's Table 1 and of CLIP-AUTT's Table 1; their exact prompts are not
public, so the set of templates is a setting.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from fer_core import prompts
from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.models.base import Method, Output, cosine_logits, pool, register


@dataclass(frozen=True)
class PromptConfig:
    """Which texts stand for the classes.

    Args:
        templates: A set of templates (:func:`fer_core.prompts.names`), or one template with ``{}`` in it.
        words: Class words as ``noun`` (happiness) or ``adjective`` (happy).
    """

    templates: str = "ensemble"
    words: prompts.Words = "noun"


def text_prototypes(clip: Clip, classes: Sequence[str], config: PromptConfig) -> Tensor:
    """One normalised text feature a class, ``(C, D)``: the mean over its templates.

    Raises:
        UserError: If a class has no words, or the templates are not known.
    """
    rows = prompts.texts(classes, config.templates, config.words)
    features = clip.fixed_texts([text for row in rows for text in row])
    return F.normalize(features.unflatten(0, (len(rows), -1)).mean(dim=1), dim=-1)


@register
class ZeroShot(Method):
    """CLIP as it is, asked by prompts."""

    name = "zero-shot"
    Config = PromptConfig
    frozen_image_tower = True
    asks_by_texts = True
    prototypes: Tensor

    def __init__(self, clip: Clip, classes: Sequence[str], config: PromptConfig) -> None:
        super().__init__(clip, classes, config)
        self.register_buffer("prototypes", text_prototypes(clip, classes, config), persistent=False)

    def class_texts(self) -> Tensor:
        """See :meth:`Method.class_texts`."""
        return self.prototypes

    def forward(self, batch: Batch) -> Output:
        """Cosines to the prompts, scaled."""
        features = pool(self.image_features(batch).class_token)
        return Output(cosine_logits(features, self.prototypes, self.clip.logit_scale), features)
