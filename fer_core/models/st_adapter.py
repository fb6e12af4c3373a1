"""ST-Adapter: a convolution over time in a bottleneck before each block, and a classifier.

Pan et al. 2022, "ST-Adapter: Parameter-Efficient Image-to-Video Transfer Learning" (NeurIPS, arXiv 2206.13559), section
3.2: equations in layers.st_adapter, classifier in models.adapted_clips.
"""

from dataclasses import dataclass

from fer_core.errors import UserError
from fer_core.layers.st_adapter import StAdapters
from fer_core.models.adapted_clips import AdaptedClips, AdaptedClipsConfig
from fer_core.models.base import register


@dataclass(frozen=True)
class StAdapterConfig(AdaptedClipsConfig):
    """Settings of ST-Adapter.

    Args:
        reduction: The tower's width over that of the adapters' middles; 2 is the paper's 384 in ViT-B/16.
    """

    reduction: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reduction < 1:
            raise UserError(f"reduction: expected at least 1, got {self.reduction}; 2 is the paper's")


@register
class StAdapter(AdaptedClips):
    """ST-Adapter's bottlenecks in every block."""

    name = "st-adapter"
    Config = StAdapterConfig
    config: StAdapterConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def make_adapters(self) -> StAdapters:
        """See :class:`AdaptedClips`."""
        width = self.clip.visual_width
        return StAdapters(width, self.clip.visual_layers, max(1, width // self.config.reduction))
