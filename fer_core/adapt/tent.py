"""TENT: the image tower's layer norms, tuned by the entropy of predictions.

Wang et al. 2021, "Tent: Fully Test-Time Adaptation by Entropy Minimization" (arXiv 2006.10726), section 3. Scales and
shifts of norm layers change, all else stays; a batch is predicted by the forward pass before its last step, as the
authors' code does.

Our reading: a ViT's layer norms stand for the paper's batch norms, whose statistics a layer norm does not have; the
optimiser is Adam without weight decay, at the paper's rate for small images; a person's videos come in batches, and
each person begins anew.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from fer_core.adapt.base import AdaptConfig, Adapted, TestTimeMethod, register
from fer_core.batch import Batch
from fer_core.errors import UserError
from fer_core.losses.entropy import entropy
from fer_core.models.base import Method


@dataclass(frozen=True)
class TentConfig(AdaptConfig):
    """Settings of TENT.

    Args:
        together: Videos of a batch.
        steps: Steps on each batch.
        lr: Of Adam.
    """

    together: int | None = 10
    steps: int = 1
    lr: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1 or self.lr <= 0:
            raise UserError(f"expected steps of at least 1 and lr above 0, got {self.steps} and {self.lr}; raise them")


@register
class Tent(TestTimeMethod):
    """Entropy minimisation of the image tower's norms."""

    name = "tent"
    Config = TentConfig
    pixels = True
    config: TentConfig

    def __init__(self, source: Method, config: Any, seed: int = 0) -> None:
        super().__init__(source, config, seed)
        if not source.frozen_image_tower:
            raise UserError(f"tent: expected a source with a frozen image tower, got {source.name}; choose clip-au")
        self.tower = source.clip.copy_image_tower().requires_grad_(False).eval()
        self.norms = list(_norm_parameters(self.tower))
        self.first = [parameter.detach().clone() for parameter in self.norms]
        for parameter in self.norms:
            parameter.requires_grad_(True)
        self.reset()

    @property
    def adapted_parameters(self) -> int:
        """Scales and shifts of all norms."""
        return sum(parameter.numel() for parameter in self.norms)

    def reset(self) -> None:
        """Norms and the optimiser's moments as at the start."""
        with torch.no_grad():
            for parameter, first in zip(self.norms, self.first, strict=True):
                parameter.copy_(first)
        self.optimizer = torch.optim.Adam(self.norms, lr=self.config.lr)

    def adapt(self, videos: Batch) -> Adapted:
        """Predicts the videos, and takes its steps on them; see :class:`TestTimeMethod`."""
        output = None
        for _ in range(self.config.steps):
            seen = self.source.clip.encode_image(videos.image, patches=self.source.needs_patches, tower=self.tower)
            output = self.source(replace(videos, features=seen))
            self.optimizer.zero_grad()
            entropy(output.logits).mean().backward()
            self.optimizer.step()
        assert output is not None
        return Adapted(output.logits.detach(), output.features.detach())


def _norm_parameters(tower: nn.Module) -> Iterator[nn.Parameter]:
    for module in tower.modules():
        if isinstance(module, nn.LayerNorm):
            yield from module.parameters()
