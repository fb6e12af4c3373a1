"""What a run's record says of its predictions and of its method: scores, entanglement, operations."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fer_core import data, engine, entanglement, metrics, metrics_subjects, models
from fer_core.batch import Batch
from fer_core.faces.expressions import LOOK_ALIKES
from fer_core.flops import count

# Records hold values, not intervals: those need more draws than a run should wait for, and pages draw them.
_FEW = entanglement.Bootstrap(resamples=2)


def scores(test: data.FaceDataset, predictions: engine.Predictions) -> dict[str, Any]:
    """Scores of the whole test split, of it without the images that are in the training split too, and entanglement."""
    found = metrics.summary(predictions.labels, predictions.logits, test.classes)
    repeated = test.duplicates_of_train
    if repeated is not None:
        kept = ~repeated.numpy()[predictions.index]
        found["deduplicated"] = metrics.summary(predictions.labels[kept], predictions.logits[kept], test.classes)
    if is_by_subject(test.name):
        assert test.subjects is not None
        whom = test.subjects.numpy()[predictions.index]
        found["by_subject"] = by_subject(predictions.labels, predictions.logits, whom, test.classes)
        found["calibration_error"] = metrics.calibration_error(predictions.labels, predictions.logits)
    entangled = entangled_by(predictions, test.classes)
    if entangled is not None:
        found["entanglement"] = entangled
    return found


def is_by_subject(name: str) -> bool:
    """Whether a data set is read person by person: its people are sources and targets."""
    return data.kind(name) == "subjects"


def by_subject(labels: np.ndarray, outputs: np.ndarray, subjects: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Scores of each person, and their means, as JSON types; see :func:`fer_core.metrics_subjects.by_subject`."""
    found = metrics_subjects.by_subject(labels, outputs, subjects.tolist(), classes)
    people = {
        str(subject): {**{name: float(values[place]) for name, values in found.scores.items()}, "n": int(count)}
        for place, (subject, count) in enumerate(zip(found.subjects, found.samples, strict=True))
    }
    return {**{name: found.mean(name) for name in found.scores}, "subjects": people, "shares": found.shares}


def entangled_by(predictions: engine.Predictions, classes: Sequence[str]) -> dict[str, float | None] | None:
    """How far look-alike expressions are held apart; None where there are no such pairs, or too few samples to tell.

    Returns:
        ``share``: of all errors, those that fall on a look-alike; None without an error.
        ``index``: :func:`fer_core.entanglement.entanglement_index` of the logits; ``index_images``: of the features'
        likeness to the classes' means. ``mixing``: mean :func:`fer_core.entanglement.neighbour_mixing` of look-alike
        pairs, a person's own pictures among the neighbours, which pages leave out. ``silhouette``: of the features.
    """
    labels, features = predictions.labels, predictions.features
    pairs = entanglement.positions(classes, LOOK_ALIKES)
    if not pairs or len(classes) < 4 or np.bincount(labels, minlength=len(classes)).min() < 2:
        return None
    matrix = metrics.confusion(labels, predictions.logits, len(classes))
    alike = [pair for pair in LOOK_ALIKES if set(pair) <= set(classes)]
    centroids = entanglement.centroid_scores(features, labels)
    neighbours = min(15, len(labels) - 1)
    mixed = entanglement.neighbour_mixing(features, labels, neighbours, _FEW).value
    return {
        "share": metrics.look_alike_shares(matrix, classes, alike)["all"],
        "index": float(entanglement.entanglement_index(predictions.logits, labels, pairs, _FEW).value),
        "index_images": float(entanglement.entanglement_index(centroids, labels, pairs, _FEW).value),
        "mixing": float(np.mean([(mixed[one, other] + mixed[other, one]) / 2 for one, other in pairs])),
        "silhouette": float(entanglement.silhouette(features, labels, _FEW).value),
    }


def flops(method: models.Method, sample: Batch) -> int:
    """Floating-point operations of the forward pass of one sample, text side included where it is not cached.

    Args:
        method: The method; it is put into evaluation mode.
        sample: A batch of one.
    """
    method.eval()
    # The counter follows modules by hooks on their inputs, and stumbles over a slice of a trained tensor.
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        with torch.no_grad():
            return count(lambda: method(sample))
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
