"""What a method says of a split, in evaluation mode."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fer_core import metrics
from fer_core.batch import Batch
from fer_core.engine.processes import Processes
from fer_core.engine.runtime import autocast
from fer_core.errors import UserError

if TYPE_CHECKING:
    from fer_core.models.base import Method


@dataclass
class Predictions:
    """What a method says of a split, as numpy arrays in the order of its batches.

    Args:
        logits: ``(N, C)`` float32.
        labels: ``(N,)`` int64.
        index: ``(N,)`` int64, position in the data set.
        features: ``(N, D)`` float32.
    """

    logits: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    features: np.ndarray

    def score(self) -> dict[str, float]:
        """``war`` and ``uar``, as fractions."""
        matrix = metrics.confusion(self.labels, self.logits, self.logits.shape[1])
        return {"war": float(metrics.war(matrix)), "uar": float(metrics.uar(matrix))}

    def tensors(self) -> dict[str, Tensor]:
        """The arrays by name, for a checkpoint; :meth:`of` takes them."""
        return {field.name: torch.from_numpy(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> "Predictions":
        """The inverse of :meth:`tensors`."""
        return cls(**{name: value.cpu().numpy() for name, value in tensors.items()})


def evaluate(
    method: "Method", batches: Iterable[Batch], device: str | torch.device = "cpu", precision: str = "fp32"
) -> Predictions:
    """Runs a method in evaluation mode, without gradients.

    Args:
        method: On ``device`` already; its training mode is restored.
        batches: Every sample once.
        device: Where to run.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``.

    Raises:
        UserError: If there is no batch.
        ValueError: If a sample comes twice.
    """
    device, training = torch.device(device), method.training
    columns: dict[str, list[Tensor]] = {"logits": [], "labels": [], "index": [], "features": []}
    method.eval()
    try:
        # Not inference mode: a text encoded here for the first time may be kept for training.
        with torch.no_grad(), autocast(device, precision):
            for batch in batches:
                output = method(batch.to(device, non_blocking=True))
                made = (output.logits.float(), batch.label, batch.index, output.features.float())
                for column, values in zip(columns.values(), made, strict=True):
                    column.append(values.cpu())
    finally:
        method.train(training)
    if not columns["labels"]:
        raise UserError("expected at least one batch to evaluate, got none; check the split and its limit")
    return _checked(Predictions(**{name: torch.cat(column).numpy() for name, column in columns.items()}))


def evaluate_shares(
    method: "Method", batches: Iterable[Batch], samples: int, processes: Processes, precision: str
) -> Predictions:
    """As :func:`evaluate`, each process seeing its share: the predictions of all of them, on each of them.

    Args:
        method: On the process' device.
        batches: Its share, see :meth:`fer_core.engine.sources.Source.held_out`.
        samples: Of all processes together, more than none.
        processes: Those that share the work.
        precision: As of :func:`evaluate`.
    """
    own = evaluate(method, batches, processes.device, precision) if samples > processes.index else None
    shares = [share for share in processes.gather(own) if share is not None]
    if len(shares) == 1:
        return shares[0]
    columns = {
        field.name: np.concatenate([getattr(share, field.name) for share in shares]) for field in fields(Predictions)
    }
    order = np.argsort(columns["index"], kind="stable")
    return _checked(Predictions(**{name: column[order] for name, column in columns.items()}))


def _checked(predictions: Predictions) -> Predictions:
    if len(np.unique(predictions.index)) != len(predictions.index):
        raise ValueError("expected every sample once, got some twice; their scores would count twice")
    return predictions
