"""What methods share that put adapters for clips into a frozen image tower, under a trained classifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from fer_core.batch import Batch
from fer_core.clip import BlockAdapter, Clip
from fer_core.models.base import Method, Output, SupervisedConfig, cosine_logits, pool
from fer_core.models.zero_shot import PromptConfig, text_prototypes


class Adapters(Protocol):
    """Adapters of all blocks."""

    def of(self, frames: int) -> list[BlockAdapter]:
        """The adapters for clips of so many frames, in the order of the blocks."""
        ...


@dataclass(frozen=True)
class AdaptedClipsConfig(SupervisedConfig, PromptConfig):
    """Settings of such methods, and the prompts at whose text features the classifier starts.

    Args:
        recompute: Whether the backward pass computes each block again: less memory, more time.
    """

    recompute: bool = False


class AdaptedClips(Method):
    """Clips through the adapted tower, the normalised mean of their frames, a classifier that starts at the prompts.

    The published methods train a classifier from a random start; ours starts at the prompts as full fine-tuning does,
    so that all of them begin at zero-shot CLIP (our reading).
    """

    frozen_image_tower = False
    config: AdaptedClipsConfig

    def __init__(self, clip: Clip, classes: Sequence[str], config: Any) -> None:
        super().__init__(clip, classes, config)
        self.prototypes = nn.Parameter(text_prototypes(clip, classes, config).clone())
        self.adapters: Any = self.make_adapters()
        self.to(clip.device)

    def make_adapters(self) -> Adapters:
        """The adapters, which are a module."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Output:
        """Scores of the adapted tower's features, scaled; stills are clips of one frame."""
        image = batch.image if batch.image.ndim == 5 else batch.image[:, None]
        adapters = self.adapters.of(image.shape[1])
        recompute = self.config.recompute
        encoded = self.clip.encode_image(image, adapters=adapters, patches=False, recompute=recompute)
        features = pool(encoded.class_token)
        return Output(cosine_logits(features, self.prototypes, self.clip.logit_scale), features)
