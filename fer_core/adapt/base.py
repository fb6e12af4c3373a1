"""What a test-time method is: it meets one person's videos, which have no labels, and classifies them.

Labels never reach it: :func:`unlabelled` takes out of a batch everything that tells what is shown, and puts a number in
the labels' place that is no class: a loss of them, or an index by them, fails.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from fer_core import config as configs
from fer_core.batch import Batch
from fer_core.errors import UserError, unknown
from fer_core.models.base import Method


@dataclass(frozen=True)
class AdaptConfig:
    """Settings of every test-time method.

    Args:
        together: How many videos of a person come at once, in the order of the data set; None for all of them.
        reset: When it forgets: with each new ``subject``, with each ``video`` (each set of videos that come at once),
            or ``never``.
    """

    together: int | None = None
    reset: Literal["subject", "video", "never"] = "subject"

    def __post_init__(self) -> None:
        if self.together is not None and self.together < 1:
            raise UserError(f"together: expected at least 1 video, got {self.together}; leave it out for all")


@dataclass
class Adapted:
    """What a test-time method says of some videos of one person.

    Args:
        logits: ``(V, C)``, its predictions.
        features: ``(V, D)``, the image side of the logits, normalised.
        passes: ``(P, V, C)`` logits before each of its passes and after the last one, where it makes several; the last
            ones are its predictions.
        windows: ``(V,)`` first frame of the window that it chose in each video, where it chooses one.
    """

    logits: Tensor
    features: Tensor
    passes: Tensor | None = None
    windows: Tensor | None = None


class TestTimeMethod(ABC):
    """A way to fit a trained method to a person.

    Args:
        source: Trained; it is never changed.
        config: An instance of ``Config``.
        seed: Of what it draws: first contexts, views.

    Attributes:
        name: The test-time method's name.
        Config: Its frozen config.
        pixels: Whether it must see pixels; others are given features of the frozen tower.

    Raises:
        UserError: If it cannot adapt this kind of method.
    """

    __test__ = False  # pytest would take it for a test by its name
    name: ClassVar[str]
    Config: ClassVar[type[AdaptConfig]]
    pixels: bool = False

    def __init__(self, source: Method, config: Any, seed: int = 0) -> None:
        if not isinstance(config, self.Config):
            raise TypeError(f"expected a {self.Config.__qualname__}, got {type(config).__qualname__}")
        self.source, self.config, self.seed = source.eval().requires_grad_(False), config, seed

    def remember(self, batches: Iterable[Batch]) -> None:  # noqa: B027
        """Called once, over the source's training videos without their labels; most methods need no such look."""

    @abstractmethod
    def reset(self) -> None:
        """Forgets all that was adapted."""

    @abstractmethod
    def adapt(self, videos: Batch) -> Adapted:
        """Adapts to videos of one person and classifies them.

        Args:
            videos: ``V`` unlabelled videos, as pixels ``(V, T, 3, H, W)`` or as features of their frames.
        """

    @property
    @abstractmethod
    def adapted_parameters(self) -> int:
        """How many values it changes."""


def unlabelled(batch: Batch) -> Batch:
    """The batch without labels, votes, action units, landmarks, parsing maps and captions."""
    # Not -1, which is an index; and not a tensor without memory, which some kernels read all the same.
    hidden = torch.full_like(batch.label, torch.iinfo(torch.int64).min)
    return replace(batch, label=hidden, votes=None, action_units=None, landmarks=None, parsing=None, caption=None)


AdaptType = TypeVar("AdaptType", bound=type[TestTimeMethod])
_METHODS: dict[str, type[TestTimeMethod]] = {}


def register(method: AdaptType) -> AdaptType:
    """Class decorator: makes a test-time method known by its ``name``."""
    _METHODS[method.name] = method
    return method


def names() -> tuple[str, ...]:
    """Names of all test-time methods, sorted."""
    return tuple(sorted(_METHODS))


def get(name: str) -> type[TestTimeMethod]:
    """The class of a test-time method.

    Raises:
        UserError: If there is no such method.
    """
    if name not in _METHODS:
        raise unknown("test-time method", name, _METHODS)
    return _METHODS[name]


def build(name: str, source: Method, mapping: Mapping[str, Any] | None = None, seed: int = 0) -> TestTimeMethod:
    """Builds a test-time method around a trained method.

    Args:
        name: One of :func:`names`.
        source: The trained method.
        mapping: Settings of its config; missing ones keep their defaults.
        seed: Of what it draws.

    Raises:
        UserError: For an unknown name or setting, or a source that the method cannot adapt.
    """
    method = get(name)
    return method(source, configs.build(method.Config, mapping, f"adapt of {name}"), seed)
