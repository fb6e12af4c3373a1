"""What full fine-tuning and LoRA share: a changed copy of the image tower, a classifier that starts at the texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.models.base import Method, Output, SupervisedConfig, cosine_logits, pool
from fer_core.models.zero_shot import PromptConfig, text_prototypes


@dataclass(frozen=True)
class TunedTowerConfig(SupervisedConfig, PromptConfig):
    """Settings of the classifier.

    Args:
        head: ``linear`` trains the classifier too, ``text`` keeps it at the text features of ``templates`` and
            ``words``.
    """

    head: Literal["linear", "text"] = "linear"


class TunedTower(Method):
    """A copy of the image tower that is trained in whole or in part, and a classifier on its class token."""

    frozen_image_tower = False
    tower: Any  # open_clip's, or what peft makes of it
    prototypes: Tensor

    def __init__(self, clip: Clip, classes: Sequence[str], config: TunedTowerConfig) -> None:
        super().__init__(clip, classes, config)
        self.tower = self.make_tower()
        self.asks_by_texts = config.head == "text"
        prototypes = text_prototypes(clip, classes, config)
        if config.head == "linear":
            self.prototypes = nn.Parameter(prototypes)
        else:
            self.register_buffer("prototypes", prototypes, persistent=False)

    def make_tower(self) -> nn.Module:
        """The copy, its trained parameters asking for gradients."""
        raise NotImplementedError

    def class_texts(self) -> Tensor | None:
        """See :meth:`Method.class_texts`; a trained classifier is none."""
        return self.prototypes if self.asks_by_texts else None

    def forward(self, batch: Batch) -> Output:
        """Scores of the changed tower's features, scaled."""
        features = pool(self.clip.encode_image(batch.image, patches=False, tower=self.tower).class_token)
        return Output(cosine_logits(features, self.prototypes, self.clip.logit_scale), features)
