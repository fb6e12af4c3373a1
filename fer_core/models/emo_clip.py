"""EmoCLIP: a clip learns from the sentences that describe it, and is asked about classes by their descriptions.

Foteinopoulou and Patras 2024, "EmoCLIP: A Vision-Language Method for Zero-Shot Video Facial Expression Recognition"
(FG, arXiv 2310.16640), section 3. No class is seen in training::

    v_i        clip           transformer over the frames' class tokens, normalised, (B, D)
    s_i        descriptions   mean of the description's sentences through the text tower, normalised, (B, D)
    L        = (CE(exp(t) v s^T) + CE(exp(t) s v^T)) / 2      which description of the batch belongs to which clip
    logits_c = exp(t) cos(v, t_c)                             t_c: a description of the class

Paper: sample-level descriptions of MAFW, class-level descriptions by a language model, both towers and a transformer of
two layers trained. Our reading: the text tower stays frozen, so that a description is encoded once, and so does the
scale exp(t), which theirs learns; sentences are encoded one by one (theirs: as one text, cut where it is long); class
texts are our FACS-based ones (``class_texts: descriptions``) or the class names in a template; a description that
stands twice in a batch belongs to both clips; a clip without one, as MAFW's neutral ones are, teaches nothing; class
words in descriptions may be masked.

Reproduces the row "EmoCLIP" of FineCLIPER's comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from fer_core import prompts
from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.descriptions.masking import mask
from fer_core.errors import UserError
from fer_core.layers.described import describe, described
from fer_core.losses.description_contrast import description_contrast
from fer_core.models.base import Output, cosine_logits, register
from fer_core.models.timed_clips import TimedClips, TimedClipsConfig


@dataclass(frozen=True)
class EmoClipConfig(TimedClipsConfig):
    """Settings of EmoCLIP, its transformer over time and its image tower.

    Args:
        class_texts: What a class is asked by: its ``descriptions``, or its ``names`` in a template.
        masked: Whether class words in the descriptions of clips are masked.
        descriptions: Other descriptions by class, such as ``fer-core describe classes`` makes; None for ours.
    """

    class_texts: Literal["descriptions", "names"] = "descriptions"
    masked: bool = False
    descriptions: dict[str, str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.class_texts not in ("descriptions", "names"):
            raise UserError(
                f"class_texts: expected descriptions or names, got {self.class_texts!r}; choose one of them"
            )


@register
class EmoClip(TimedClips):
    """Clips and their descriptions, class descriptions at the test."""

    name = "emo-clip"
    Config = EmoClipConfig
    asks_by_texts = True
    needs_captions = True
    config: EmoClipConfig
    texts: Tensor

    def __init__(self, clip: Clip, classes: Sequence[str], config: EmoClipConfig) -> None:
        super().__init__(clip, classes, config)
        rows = prompts.class_descriptions(classes, config.descriptions)
        if config.class_texts == "names":
            rows = tuple(row[0] for row in prompts.texts(classes, "les-clip"))
        self.register_buffer("texts", clip.fixed_texts(rows), persistent=False)
        self.to(clip.device)

    def class_texts(self) -> Tensor:
        """What every clip is compared with: ``(C, D)``, normalised."""
        return self.texts

    def forward(self, batch: Batch) -> Output:
        """Cosines of the clip to the class texts, scaled."""
        features = self.clip_features(batch)
        return Output(cosine_logits(features, self.texts, self.clip.logit_scale), features)

    def losses(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """The contrast of clips and descriptions; labels are not looked at.

        Raises:
            UserError: If the batch has no descriptions.
        """
        if batch.caption is None:
            raise UserError("expected a description of each clip, got none; set data.descriptions")
        places = described(batch.caption)
        if not places:
            return {"loss": 0.0 * output.features.sum()}
        texts = [batch.caption[place] for place in places]
        if self.config.masked:
            texts = [mask(text) for text in texts]
        logits = cosine_logits(output.features[places], describe(self.clip, texts), self.clip.logit_scale)
        return {"loss": description_contrast(logits, texts)}
