"""DFER-CLIP: learned words before a description of each expression, and a transformer over time.

Zhao and Patras 2023, "Prompting Visual-Language Models for Dynamic Facial Expression Recognition" (BMVC, arXiv
2308.13382), section 3. The text tower stays frozen::

    [p]_1 … [p]_M [D_c]   context, words     M learned vectors a class before a description of its facial behaviour
    t_c                   texts()            its text feature, normalised, (C, D)
    v_1 … v_T             frames             class tokens of a fine-tuned copy of the image tower, (B, T, D)
    v                     temporal           layers.temporal.TemporalTransformer, normalised, (B, D)
    logits_c            = exp(t) cos(v, t_c)

Paper: M = 8, a context of its own for each class, one layer over time, 16 frames; learning rates of 1e-5 for the tower,
1e-3 for the context and 1e-2 for the transformer, with SGD. Its descriptions come from a language model and are not
used: ours stand in prompts/descriptions.yaml. Our reading: frames are normalised first; on rendered clips one learning
rate, of which the tower has a share (``tower_lr``); without ``train_tower`` the tower stays frozen. Experiments on
licensed clips have the rates, schedule and ViT-B/32 of the authors' code (github.com/zengqunzhao/DFER-CLIP).

Reproduces the row "DFER-CLIP" of FineCLIPER's comparison.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from fer_core import prompts
from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.errors import UserError
from fer_core.models.base import Output, SupervisedConfig, cosine_logits, normalise, register
from fer_core.models.soft_prompts import random_start
from fer_core.models.timed_clips import TimedClips, TimedClipsConfig


@dataclass(frozen=True)
class DferClipConfig(SupervisedConfig, TimedClipsConfig):
    """Settings of DFER-CLIP, its transformer over time and its image tower.

    Args:
        context_length: M, number of learned vectors before a description.
        class_specific: One context a class, in place of a shared one.
        descriptions: Other descriptions by class, such as ``fer-core describe classes`` makes; None for ours.
        prompt_lr: Learning rate of the context, as a share of the transformer's.
    """

    context_length: int = 8
    class_specific: bool = True
    descriptions: dict[str, str] | None = None
    prompt_lr: float = 1.0

    def __post_init__(self) -> None:
        SupervisedConfig.__post_init__(self)
        TimedClipsConfig.__post_init__(self)
        if self.context_length < 1:
            raise UserError(f"context_length: expected at least 1, got {self.context_length}; raise it")
        if self.prompt_lr <= 0:
            raise UserError(f"prompt_lr: expected more than 0, got {self.prompt_lr}; 1 is the transformer's rate")


@register
class DferClip(TimedClips):
    """Learned words before descriptions, and a transformer over frames."""

    name = "dfer-clip"
    Config = DferClipConfig
    config: DferClipConfig

    def __init__(self, clip: Clip, classes: Sequence[str], config: DferClipConfig) -> None:
        super().__init__(clip, classes, config)
        self.words = clip.tokens(prompts.class_descriptions(classes, config.descriptions))
        shape = (len(classes), config.context_length) if config.class_specific else (config.context_length,)
        self.context = nn.Parameter(random_start(*shape, clip.text_width))
        self.asks_by_texts = not config.class_specific
        self.to(clip.device)

    def shares(self) -> Iterator[tuple[nn.Parameter, float]]:
        """The context's share beside the tower's."""
        yield from super().shares()
        yield self.context, self.config.prompt_lr

    def texts(self) -> Tensor:
        """Text features of the descriptions under the present context, ``(C, D)``, normalised."""
        return normalise(self.clip.encode_text(self.words.with_context(self.context)))

    def class_texts(self) -> Tensor:
        """What every clip is compared with: ``(C, D)``, normalised."""
        return self.texts()

    def forward(self, batch: Batch) -> Output:
        """Cosines of the clip to the descriptions, scaled."""
        features = self.clip_features(batch)
        return Output(cosine_logits(features, self.texts(), self.clip.logit_scale), features)
