"""TPT: prompts tuned for one video at a time, so that its views agree.

Shu et al. 2022, "Test-Time Prompt Tuning for Zero-Shot Generalization in Vision-Language Models" (arXiv 2209.07511),
sections 3.2 and 3.3::

    views       the video and random crops of it, mirrored half of the time
    selection   the share of views whose prediction has the lowest entropy
    L         = H(mean over the selected views of p)
    one AdamW step on the prompts (four in a variant, on the same views); then the video itself is classified, and the
    prompts forgotten

Paper: 64 views, the surest tenth, a rate of 5e-3, on the prompts of class names. Our reading, to stand on CLIP-AU's
footing: the prompts are contexts before the words of action units, as CLIP-AUTT has them; fewer views, as each is a
clip; all frames of a view are cropped alike. Views are encoded once, whatever the number of steps: the image tower does
not depend on the prompts.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from fer_core.adapt.base import Adapted, register
from fer_core.adapt.unit_prompts import UnitPromptConfig, UnitPromptMethod
from fer_core.adapt.views import views_of
from fer_core.batch import Batch
from fer_core.errors import UserError
from fer_core.losses.entropy import entropy, marginal_entropy
from fer_core.models.base import Method


@dataclass(frozen=True)
class TptConfig(UnitPromptConfig):
    """Settings of TPT.

    Args:
        together: Videos that come at once: one, whose prompts are its own.
        reset: With each video.
        views: Of a video, itself included.
        selected: Share of the views that count.
        least_crop: Least side of a crop, as a share of the frame's.
        window: Frames of a view; 0 for all.
        steps: On each video.
        lr: Of AdamW.
    """

    together: int | None = 1
    reset: Literal["subject", "video", "never"] = "video"
    views: int = 16
    selected: float = 0.25
    least_crop: float = 0.7
    window: int = 0
    steps: int = 1
    lr: float = 5e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.views < 2 or not 0 < self.selected <= 1 or not 0 < self.least_crop <= 1:
            raise UserError(
                "expected at least 2 views, and selected and least_crop in (0, 1], got "
                f"{self.views}, {self.selected} and {self.least_crop}; mend them"
            )
        if self.window < 0:
            raise UserError(f"window: expected at least 0, got {self.window}; 0 is all frames")


@register
class Tpt(UnitPromptMethod):
    """Test-time prompt tuning on confident views."""

    name = "tpt"
    Config = TptConfig
    pixels = True
    config: TptConfig

    def __init__(self, source: Method, config: Any, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)  # reset() lets it go on: each video has views of its own
        super().__init__(source, config, seed)

    def adapt(self, videos: Batch) -> Adapted:
        """Tunes on the videos' views and classifies the videos; see :class:`~fer_core.adapt.base.TestTimeMethod`."""
        config, method = self.config, self.method
        with torch.no_grad():
            views = views_of(videos.image, config.views, config.least_crop, config.window, self.generator)
            frames = method.clip.encode_image(views.flatten(0, 1), patches=False).class_token
            seen = method.video(frames).unflatten(0, (len(videos), config.views))  # (V, views, D)
            # Without a window the first view is the video as it is.
            whole = seen[:, 0] if not config.window else method.video(method.frames(videos))
        best = None
        for _ in range(config.steps):
            units = self.prompts.units()
            logits = method.classify(seen.flatten(0, 1), units).unflatten(0, seen.shape[:2])
            if best is None:  # once, before the first step
                kept = max(1, int(config.selected * config.views))
                best = entropy(logits.detach()).topk(kept, dim=1, largest=False).indices
            sure = logits.gather(1, best[..., None].expand(-1, -1, logits.shape[-1]))
            self.step(marginal_entropy(sure).mean())
        with torch.no_grad():
            return Adapted(method.classify(whole, self.prompts.units()), whole)
