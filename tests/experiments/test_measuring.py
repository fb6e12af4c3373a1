"""What a record says of entanglement, against measures of its own predictions."""

import numpy as np
import pytest

from fer_core import entanglement, metrics
from fer_core.data import CLASSES
from fer_core.engine import Predictions
from fer_core.experiments import measuring
from fer_core.faces.expressions import LOOK_ALIKES


def said(classes=8, each=6, apart=4.0, seed=0):
    """Predictions of features that lie near their class's corner."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    features = apart * np.eye(classes)[labels] + random.normal(size=(len(labels), classes))
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    return Predictions(features, labels, np.arange(len(labels)), features)


def test_classes_far_apart_are_not_entangled():
    found = measuring.entangled_by(said(apart=50.0), CLASSES)
    assert found is not None
    assert found["share"] is None
    assert found["index"] == found["index_images"] == 0
    assert found["silhouette"] > 0.9


def test_values_are_those_of_the_measures_themselves():
    predictions = said(apart=1.0)
    found = measuring.entangled_by(predictions, CLASSES)
    assert found is not None
    pairs = entanglement.positions(CLASSES, LOOK_ALIKES)
    matrix = metrics.confusion(predictions.labels, predictions.logits, len(CLASSES))
    alike = sum(matrix[one, other] + matrix[other, one] for one, other in pairs)
    assert found["share"] == pytest.approx(alike / (matrix.sum() - np.trace(matrix)))
    whole = entanglement.entanglement_index(predictions.logits, predictions.labels, pairs)
    assert found["index"] == float(whole.value)
    mixed = entanglement.neighbour_mixing(predictions.features, predictions.labels).value
    both = [mixed[one, other] for pair in pairs for one, other in (pair, pair[::-1])]
    assert found["mixing"] == pytest.approx(np.mean(both))


def test_classes_without_look_alikes_or_samples_give_nothing():
    assert measuring.entangled_by(said(2), ["neutral", "pain"]) is None
    few = said(each=1)
    assert measuring.entangled_by(few, CLASSES) is None
