"""What methods share that read a clip by a transformer over the class tokens of its frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.errors import UserError
from fer_core.layers.temporal import TemporalTransformer
from fer_core.models.base import Method, normalise


@dataclass(frozen=True)
class TimedClipsConfig:
    """Settings of the transformer over time and of the image tower under it.

    Args:
        layers: Of the transformer over time.
        heads: Its attention heads.
        max_frames: Most frames of a clip.
        train_tower: Whether a copy of the image tower is trained too.
        tower_lr: Its learning rate, as a share of the others'.
    """

    layers: int = 1
    heads: int = 8
    max_frames: int = 16
    train_tower: bool = True
    tower_lr: float = 0.1

    def __post_init__(self) -> None:
        if self.max_frames < 1:
            raise UserError(f"max_frames: expected at least 1, got {self.max_frames}; raise it")
        if self.tower_lr <= 0:
            raise UserError(f"tower_lr: expected more than 0, got {self.tower_lr}; train_tower=false freezes it")


class TimedClips(Method):
    """A clip as the normalised output of a transformer over its frames' normalised class tokens."""

    frozen_image_tower = False  # without train_tower; see __init__
    config: Any

    def __init__(self, clip: Clip, classes: Sequence[str], config: Any) -> None:
        super().__init__(clip, classes, config)
        self.frozen_image_tower = not config.train_tower
        self.max_frames = config.max_frames
        self.temporal = TemporalTransformer(clip.embed_dim, config.layers, config.heads, config.max_frames)
        self.tower = clip.copy_image_tower() if config.train_tower else None

    def clip_features(self, batch: Batch) -> Tensor:
        """Features of clips, ``(B, D)``, normalised; a still is a clip of one frame."""
        if self.tower is None:
            token = self.image_features(batch).class_token
        else:
            token = self.clip.encode_image(batch.image, patches=False, tower=self.tower).class_token
        return normalise(self.temporal(normalise(token if token.ndim == 3 else token[:, None])))

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """As every method's, each part with its own share of the learning rate."""
        own = {id(parameter): share for parameter, share in self.shares()}
        found = []
        for group in super().parameter_groups(lr, weight_decay):
            for share in dict.fromkeys([*own.values(), 1.0]):
                chosen = [parameter for parameter in group["params"] if own.get(id(parameter), 1.0) == share]
                if chosen:
                    found.append({**group, "params": chosen, "lr": share * group["lr"]})
        return found

    def shares(self) -> Iterator[tuple[nn.Parameter, float]]:
        """Parameters with a share of the learning rate other than 1, and that share."""
        for parameter in () if self.tower is None else self.tower.parameters():
            yield parameter, self.config.tower_lr
