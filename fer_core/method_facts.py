"""What each method is, trains and computes, on one CLIP: for tables that compare them."""

import inspect
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from fer_core import adapt, data, experiments, models
from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.data import CLASSES, registry
from fer_core.experiments import measuring

_FRAMES = 16
_SOURCE = re.compile(r"^([A-Z][\w-]+(?: et al\.| and [A-Z][\w-]+)? \d{4})\b", re.MULTILINE)


@dataclass(frozen=True)
class Facts:
    """One method.

    Args:
        name: As experiments call it.
        title: What it adds, in a line.
        source: Authors and year of its paper; empty for a baseline without one.
        inputs: What it is run on in this project: ``stills``, ``clips``, ``subjects``.
        asks_by_texts: Whether other classes may be asked of what it has learned.
        trained: Numbers that it trains; of a test-time method those that it changes for a person.
        operations: Floating-point operations of the forward pass of one still, or of one clip where it takes no
            stills; None for a test-time method, whose cost is that of its passes.
    """

    name: str
    title: str
    source: str
    inputs: tuple[str, ...]
    asks_by_texts: bool
    trained: int
    operations: int | None


def collect(tower: Clip, classes: Sequence[str] = CLASSES, names: Sequence[str] | None = None) -> list[Facts]:
    """Facts of methods, those that train first, in the order of their names.

    Args:
        tower: Only shapes matter, so random weights do.
        classes: Class names.
        names: Methods; all by default.

    Raises:
        UserError: If a method does not fit the tower.
    """
    chosen = (*models.names(), *adapt.names()) if names is None else tuple(names)
    return [_trains(name, tower, classes) if name in models.names() else _adapts(name, tower) for name in chosen]


def inputs_of(name: str) -> tuple[str, ...]:
    """Kinds of the data sets that a method has experiments on: ``stills``, ``clips``, ``subjects``."""
    found = (experiments.load(each) for each in experiments.names())
    kinds = {data.kind(each.dataset) for each in found if each.method == name}
    return tuple(kind for kind in registry.KINDS if kind in kinds)


def _trains(name: str, tower: Clip, classes: Sequence[str]) -> Facts:
    method = models.build(name, tower, classes)
    inputs = inputs_of(name)
    sample = _sample(tower, None if "stills" in inputs else _FRAMES)
    return Facts(
        name, _title(method), _source(method), inputs, method.asks_by_texts,
        sum(each.numel() for each in method.parameters() if each.requires_grad), _operations(method, sample),
    )  # fmt: skip


def _adapts(name: str, tower: Clip) -> Facts:
    method = adapt.build(name, models.build("clip-au", tower, ("no pain", "pain")).eval())
    return Facts(name, _title(method), _source(method), inputs_of(name), False, method.adapted_parameters, None)


def _operations(method: models.Method, sample: Batch) -> int:
    """Counted on tensors that have shapes and no values, which takes no time; on real ones where values decide."""
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            return measuring.flops(method, sample)
    except DataDependentOutputException:
        return measuring.flops(method, sample)


def _sample(tower: Clip, frames: int | None) -> Batch:
    """A still, or a clip with its maps; only its shapes matter."""
    side, one = tower.image_size, torch.zeros(1, dtype=torch.int64)
    lead = (1,) if frames is None else (1, frames)
    maps = None if frames is None else torch.zeros(*lead, side, side, dtype=torch.uint8)
    points = None if frames is None else torch.full((*lead, 68, 2), 0.5)
    return Batch(torch.zeros(*lead, 3, side, side), one, one, parsing=maps, landmarks=points, caption=["a face"])


def _title(method: object) -> str:
    return (inspect.getdoc(type(method)) or "").splitlines()[0].rstrip(".")


def _source(method: object) -> str:
    found = _SOURCE.search(sys.modules[type(method).__module__].__doc__ or "")
    return found[1] if found else ""
