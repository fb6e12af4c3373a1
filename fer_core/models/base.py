"""What every method is: logits from a batch, named losses, and a declaration of what it trains."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core import config as configs
from fer_core.batch import Batch, ImageFeatures
from fer_core.clip import Clip
from fer_core.errors import UserError, unknown
from fer_core.losses import LabelDistributionLoss


@dataclass
class Output:
    """What a method says of a batch.

    Args:
        logits: ``(B, C)``, before softmax.
        features: ``(B, D)``, the image side of the logits, normalised; entanglement is measured on it.
    """

    logits: Tensor
    features: Tensor


@dataclass(frozen=True)
class SupervisedConfig:
    """Settings of methods that learn from labels.

    Args:
        label_smoothing: Share of the target that is spread evenly over the classes, in [0, 1).
        votes: Learn from the distribution of annotators' votes in place of the label.
    """

    label_smoothing: float = 0.0
    votes: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise UserError(
                f"expected label_smoothing in [0, 1), got {self.label_smoothing}; choose 0 to switch it off"
            )


class Method(nn.Module, ABC):
    """A way to classify faces with a CLIP.

    A subclass registers the parameters that it trains; the Clip is frozen and stays in evaluation mode in
    ``train()``.

    Args:
        clip: The CLIP, already on its device; it is never changed.
        classes: Class names of the data set.
        config: An instance of ``Config``.

    Attributes:
        name: The method's name in experiments.
        Config: Its frozen config.
        frozen_image_tower: Whether ``forward`` may be given cached features (``Batch.features``) for pixels.
        needs_patches: Whether cached features must hold those of patches, too.
        asks_by_texts: Whether classes come in by their texts alone, so that others may be asked of what was learned.
        max_frames: Most frames of a clip that it takes; None if any number goes.
        maps: What it looks at besides pictures, of ``parsing`` and ``landmarks``.
        needs_maps: Whether it refuses samples without these maps.
        needs_captions: Whether no setting lets it learn without descriptions of samples.
    """

    name: ClassVar[str]
    Config: ClassVar[type]
    frozen_image_tower: bool
    needs_patches: bool = False
    asks_by_texts: bool = False
    max_frames: int | None = None
    maps: tuple[str, ...] = ()
    needs_maps: bool = False
    needs_captions: bool = False

    def __init__(self, clip: Clip, classes: Sequence[str], config: Any) -> None:
        super().__init__()
        if not isinstance(config, self.Config):
            raise TypeError(f"expected a {self.Config.__qualname__}, got {type(config).__qualname__}")
        if len(classes) < 2 or len(set(classes)) < len(classes):
            raise UserError(
                f"expected at least two classes, each once, got {', '.join(classes) or 'none'}; check the data set"
            )
        supervised = config if isinstance(config, SupervisedConfig) else SupervisedConfig()
        self.clip = clip
        self.classes = tuple(classes)
        self.config = config
        self.label_loss = LabelDistributionLoss(supervised.label_smoothing)
        self._learns_from_votes = supervised.votes

    @abstractmethod
    def forward(self, batch: Batch) -> Output:
        """Classifies a batch of images, or of clips."""

    def losses(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Named parts and their weighted sum under ``loss``; here cross-entropy with the labels or votes.

        Raises:
            UserError: If the method learns from votes and the batch has none.
        """
        return {"loss": self.labels_against(output.logits, batch)}

    def labels_against(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of logits ``(B, C)`` with the smoothed labels or the votes; raises as :meth:`losses`."""
        if self._learns_from_votes and batch.votes is None:
            raise UserError("expected annotators' votes, but this data set has none; set model.votes=false")
        return self.label_loss(logits, batch.label, batch.votes if self._learns_from_votes else None)

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Called once before training, over un-augmented training batches; most methods need no such look."""

    def end_epoch(self, epoch: int, epochs: int) -> None:
        """Called after each epoch of training, before it is evaluated; what it changes must be a parameter or buffer.

        Args:
            epoch: From 1.
            epochs: Of the whole training.
        """

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """The trained parameters as an optimiser takes them: vectors and scalars are not decayed."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "lr": lr, "weight_decay": weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "lr": lr, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def class_texts(self) -> Tensor | None:
        """Text features ``(C, D)``, normalised, that every image is compared with; None where there are no such."""
        return None

    def for_classes(self, classes: Sequence[str]) -> "Method":
        """The trained method, asked of other classes: what it has learned beside the texts of those.

        Args:
            classes: Class names of another data set.

        Returns:
            The method itself where its classes are the same, else another one that has learned the same.

        Raises:
            UserError: If it learns something of each of its own classes.
        """
        if tuple(classes) == self.classes:
            return self
        if not self.asks_by_texts:
            raise UserError(
                f"{self.name}: expected the classes {', '.join(self.classes)}, got {', '.join(classes)}; it learns "
                "something of each class, choose a method or setting that asks by texts alone"
            )
        other, learned = type(self)(self.clip, classes, self.config), self.state_dict()
        for name, value in other.state_dict().items():
            if value.shape == learned[name].shape:  # of other shapes: what training alone needs of its classes
                value.copy_(learned[name])
        return other.eval()

    def image_features(self, batch: Batch, patches: bool = False) -> ImageFeatures:
        """Features of the frozen image tower: the batch's cached ones, else encoded from its pixels."""
        if batch.features is not None:
            return batch.features
        return self.clip.encode_image(batch.image, patches=patches)


def normalise(features: Tensor) -> Tensor:
    """Features at unit length along their last axis, in no less than fp32."""
    return F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=-1)


def pool(class_token: Tensor) -> Tensor:
    """Class tokens ``(B, D)``, or of clips ``(B, T, D)``, as one normalised feature ``(B, D)`` a sample.

    Frames are normalised before and after their mean, so that each counts alike (our reading: none of the still
    methods says how it would treat a clip).
    """
    features = normalise(class_token)
    return normalise(features.mean(dim=1)) if features.ndim == 3 else features


def cosine_logits(features: Tensor, prototypes: Tensor, scale: float | Tensor) -> Tensor:
    """``scale`` times the products of features ``(B, D)`` and prototypes ``(C, D)``: ``(B, C)``.

    Not in half precision, even under autocast: a scale of 100 would turn its rounding into tenths of a logit.
    """
    with torch.autocast(features.device.type, enabled=False):
        return scale * features @ prototypes.T


MethodType = TypeVar("MethodType", bound=type[Method])
_METHODS: dict[str, type[Method]] = {}


def register(method: MethodType) -> MethodType:
    """Class decorator: makes a method known by its ``name``."""
    _METHODS[method.name] = method
    return method


def names() -> tuple[str, ...]:
    """Names of all methods, sorted."""
    return tuple(sorted(_METHODS))


def get(name: str) -> type[Method]:
    """The class of a method.

    Raises:
        UserError: If there is no such method.
    """
    if name not in _METHODS:
        raise unknown("method", name, _METHODS)
    return _METHODS[name]


def build(name: str, clip: Clip, classes: Sequence[str], mapping: Mapping[str, Any] | None = None) -> Method:
    """Builds a method from its name and settings.

    Args:
        name: One of :func:`names`.
        clip: The CLIP, on its device.
        classes: Class names of the data set.
        mapping: Settings of the method's config; missing ones keep their defaults.

    Raises:
        UserError: For an unknown method, setting or class, or a value that a setting refuses.
    """
    method = get(name)
    return method(clip, classes, configs.build(method.Config, mapping, f"model of {name}"))
