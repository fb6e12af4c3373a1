"""CoOp: learned context vectors in place of a template's words.

Zhou et al. 2022, "Learning to Prompt for Vision-Language Models" (IJCV, arXiv 2109.01134), section 3.2. Over CLIP it
adds M vectors in the text tower's embedding space; both towers stay frozen::

    [V]_1 … [V]_M    context              (M, W), or (C, M, W) if class-specific
    [CLASS]          self.words           embeddings of "{class}.", which follow the context
    g(t_i)           prototypes[i]        text feature of [SOS] [V]_1 … [V]_M [CLASS] . [EOS], (C, D)
    f                features             normalised class token, (B, D)
    1/tau            clip.logit_scale
    logits_i       = cos(g(t_i), f) / tau

Paper: M = 16, a unified context, drawn from N(0, 0.02^2) or taken from words such as "a photo of a" (M = 4), class name
at the end. Our reading: class names as nouns, with a full stop after them as in the authors' code; the paper's variant
with the class name in the middle is left out. Clips: the mean of their frames' features.

The papers of this book give no CoOp row on their data sets: ours stands in the baselines table.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from fer_core import prompts
from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.errors import UserError
from fer_core.models.base import Method, Output, SupervisedConfig, cosine_logits, normalise, pool, register
from fer_core.models.soft_prompts import random_start, words_start


@dataclass(frozen=True)
class CoOpConfig(SupervisedConfig):
    """Settings of CoOp.

    Args:
        context_length: M, number of context vectors.
        class_specific: One context a class, in place of a unified one.
        context_init: Words whose embeddings the context starts from, M tokens of them; empty for a random start.
        words: Class words as ``noun`` (happiness) or ``adjective`` (happy).
    """

    context_length: int = 16
    class_specific: bool = False
    context_init: str = ""
    words: prompts.Words = "noun"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context_length < 1:
            raise UserError(f"expected context_length of at least 1, got {self.context_length}; CoOp's default is 16")


@register
class CoOp(Method):
    """A learned context before frozen class words."""

    name = "coop"
    Config = CoOpConfig
    frozen_image_tower = True
    config: CoOpConfig

    def __init__(self, clip: Clip, classes: Sequence[str], config: CoOpConfig) -> None:
        super().__init__(clip, classes, config)
        self.words = clip.tokens([f"{word}." for word in prompts.class_words(classes, config.words)])
        self.context = nn.Parameter(self._start(len(classes) if config.class_specific else None).to(clip.device))
        self.asks_by_texts = not config.class_specific

    def _start(self, classes: int | None) -> Tensor:
        """The context before training, ``(M, W)``; of each class, drawn apart or of the same words, ``(C, M, W)``."""
        length, words = self.config.context_length, self.config.context_init
        shape = (length,) if classes is None else (classes, length)
        if not words:
            return random_start(*shape, self.clip.text_width)
        context = words_start(self.clip, words)
        if (found := len(context)) != length:
            raise UserError(
                f"expected {length} tokens of context, got {found} in {words!r}; set context_length={found}"
            )
        return context.expand(*shape, -1).clone()

    def prototypes(self) -> Tensor:
        """Text features of all classes under the present context, ``(C, D)``, normalised."""
        return normalise(self.clip.encode_text(self.words.with_context(self.context)))

    def class_texts(self) -> Tensor:
        """See :meth:`Method.class_texts`."""
        return self.prototypes()

    def forward(self, batch: Batch) -> Output:
        """Cosines to the prompts with the present context, scaled."""
        features = pool(self.image_features(batch).class_token)
        return Output(cosine_logits(features, self.prototypes(), self.clip.logit_scale), features)
