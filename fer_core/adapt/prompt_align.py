"""PromptAlign: prompts tuned so that a person's features are spread as those of the training data are.

Samadh et al. 2023, "Align Your Prompts: Test-Time Prompting with Distribution Alignment for Zero-Shot Generalization"
(arXiv 2311.01459), section 3: TPT's entropy, and the distance of means and variances of token features at test time
from those of the source data, which are computed once::

    L = H + beta (|mu - mu_s|_1 + |sigma^2 - sigma_s^2|_1)

Our reading, to stand on CLIP-AU's footing: the prompts are contexts before the words of action units, and the features
are the likenesses to the units, as these are what such prompts change; one person's videos are the test data, and H is
the mean entropy of their predictions. Paper: beta = 100 on tokens of the image tower; here the means are over N
likenesses in place of sums, and beta is a setting.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fer_core.adapt.base import Adapted, register
from fer_core.adapt.unit_prompts import UnitPromptConfig, UnitPromptMethod
from fer_core.batch import Batch
from fer_core.errors import UserError
from fer_core.losses.entropy import entropy
from fer_core.models.base import Method


@dataclass(frozen=True)
class PromptAlignConfig(UnitPromptConfig):
    """Settings of PromptAlign.

    Args:
        beta: Weight of the alignment.
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta < 0:
            raise UserError(f"beta: expected at least 0, got {self.beta}; 0 leaves the alignment out")


@register
class PromptAlign(UnitPromptMethod):
    """Entropy and the statistics of the source, by action-unit prompts."""

    name = "prompt-align"
    Config = PromptAlignConfig
    config: PromptAlignConfig

    def __init__(self, source: Method, config: Any, seed: int = 0) -> None:
        super().__init__(source, config, seed)
        self.statistics: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def remember(self, batches: Iterable[Batch]) -> None:
        """Takes mean and variance of the source's likenesses."""
        units = self.method.units()
        seen = [self.method.likeness(self.method.video(self.method.frames(batch)), units) for batch in batches]
        self.statistics = _statistics(torch.cat(seen))

    def adapt(self, videos: Batch) -> Adapted:
        """Tunes on the videos and classifies them; see :class:`~fer_core.adapt.base.TestTimeMethod`."""
        if self.statistics is None:
            raise RuntimeError("expected remember() before adapt(): the source's statistics are not known")
        with torch.no_grad():
            seen = self.method.video(self.method.frames(videos))
        passes = []
        for _ in range(self.config.steps):
            units = self.prompts.units()
            logits = self.method.classify(seen, units)
            passes.append(logits.detach())
            own = _statistics(self.method.likeness(seen, units))
            apart = sum((one - other).abs().mean() for one, other in zip(own, self.statistics, strict=True))
            self.step(entropy(logits).mean() + self.config.beta * apart)
        with torch.no_grad():
            passes.append(self.method.classify(seen, self.prompts.units()))
        return Adapted(passes[-1], seen, torch.stack(passes))


def _statistics(likeness: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance ``(N,)`` over videos ``(V, N)``."""
    return likeness.mean(0), likeness.var(0, correction=0)
