"""AIM: adapters over time, within a frame and beside the MLP, and a classifier.

Yang et al. 2023, "AIM: Adapting Image Models for Efficient Video Action Recognition" (ICLR, arXiv 2302.03024), section
3: equations in layers.video_adapters, classifier in models.adapted_clips. It is what FineCLIPER's frames stream is
without its texts, and stands beside it in the tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fer_core.clip import Clip
from fer_core.layers.video_adapters import VideoAdapters, check_settings
from fer_core.models.adapted_clips import AdaptedClips, AdaptedClipsConfig
from fer_core.models.base import register


@dataclass(frozen=True)
class AimConfig(AdaptedClipsConfig):
    """Settings of AIM.

    Args:
        reduction: The tower's width over that of the adapters' middles.
        drop_path: Probability that a clip goes without an adapter in training.
        max_frames: Most frames of a clip.
    """

    reduction: int = 4
    drop_path: float = 0.1
    max_frames: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self.reduction, self.max_frames, self.drop_path)


@register
class Aim(AdaptedClips):
    """AIM's adapters in every block."""

    name = "aim"
    Config = AimConfig
    config: AimConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, clip: Clip, classes: Sequence[str], config: AimConfig) -> None:
        super().__init__(clip, classes, config)
        self.max_frames = config.max_frames

    def make_adapters(self) -> VideoAdapters:
        """See :class:`AdaptedClips`."""
        config, clip = self.config, self.clip
        return VideoAdapters(
            clip.visual_width, clip.visual_layers, config.max_frames, config.reduction, drop_path=config.drop_path
        )
