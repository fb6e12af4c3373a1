"""The test-time half of an experiment: a trained source meets the people of the test split."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from fer_core import adapt, data, engine, metrics, models
from fer_core.adapt import TestTimeMethod
from fer_core.batch import Batch
from fer_core.engine.personalising import Personalised
from fer_core.engine.personalising import personalise as meet
from fer_core.engine.sources import Pixels, Source, encoded
from fer_core.errors import UserError
from fer_core.experiments import measuring
from fer_core.experiments.loading import Settings


@dataclass
class Personal:
    """What came of it.

    Args:
        predictions: On the test split.
        scores: Further metrics of the record: ``validation`` (means over the people held out of training, for tuning),
            ``passes`` (means over people after each pass) and ``chosen_by_labels`` (the pass that looking at the labels
            would have chosen: an oracle, no result), where the method makes passes.
        test_chosen: ``war``, ``uar`` and ``f1`` of that pass over all samples; of the predictions where there are no
            passes to choose from.
        parameters: How many values were adapted.
        seconds: Of adaptation and prediction on the test split.
    """

    predictions: engine.Predictions
    scores: dict[str, Any]
    test_chosen: dict[str, float]
    parameters: int
    seconds: float


def personalise(
    settings: Settings,
    source: models.Method,
    splits: Mapping[str, data.FaceDataset],
    training: engine.Training,
    seed: int,
    processes: engine.Processes,
) -> Personal:
    """Adapts a trained source to each person of the test split, and to those of the validation split.

    Args:
        settings: Of the run.
        source: Trained.
        splits: ``train``, ``validation`` and ``test``.
        training: How the source was trained.
        seed: The run's; random contexts and views are drawn from it.
        processes: One; a person's videos come one after another.

    Raises:
        UserError: If several processes share the run, or the source cannot be adapted so.
    """
    if processes.count > 1:
        raise UserError(f"{settings.method}: expected one process, got {processes.count}; people come one by one")
    own = [parameter for parameter in source.parameters() if parameter.requires_grad]
    method = adapt.build(settings.method, source, settings.adapt, seed)  # freezes its source
    opened = {name: _source(split, method, training, seed, processes) for name, split in splits.items()}
    if type(method).remember is not TestTimeMethod.remember:
        method.remember(_hidden(opened["train"], processes))
    said = meet(method, opened["test"], processes.device)
    scores: dict[str, Any] = {}
    if len(splits["validation"]):
        held = meet(method, opened["validation"], processes.device).predictions
        told = _by_subject(splits["validation"], held.labels, held.logits, held.index)
        scores["validation"] = {name: told[name] for name in ("war", "uar", "f1")}
    for parameter in own:
        parameter.requires_grad_(True)
    best = said.predictions.logits
    if said.passes is not None:
        scores |= _passes(splits["test"], said)
        best = said.passes[scores["chosen_by_labels"]["pass"]]
    chosen = metrics.summary(said.predictions.labels, best, splits["test"].classes)
    chosen = {name: chosen[name] for name in ("war", "uar", "f1")}
    return Personal(said.predictions, scores, chosen, method.adapted_parameters, said.seconds)


def _source(
    split: data.FaceDataset, method: TestTimeMethod, training: engine.Training, seed: int, processes: engine.Processes
) -> Source:
    tower = method.source.clip
    transform = data.Transform(tower.image_size, tower.mean, tower.std, train=False)
    pixels = Pixels(split, transform, training.batch_size, seed, processes, training.workers)
    return pixels if method.pixels else encoded(pixels, tower, False, training.precision)


def _hidden(source: Source, processes: engine.Processes) -> Iterator[Batch]:
    for batch in source.whole():
        yield adapt.unlabelled(batch.to(processes.device))


def _by_subject(split: data.FaceDataset, labels: np.ndarray, outputs: np.ndarray, index: np.ndarray) -> dict[str, Any]:
    assert isinstance(split.subjects, Tensor)
    return measuring.by_subject(labels, outputs, split.subjects.numpy()[index], split.classes)


def _passes(test: data.FaceDataset, said: Personalised) -> dict[str, Any]:
    """Means over people after each pass, and the best of them."""
    assert said.passes is not None
    labels, index = said.predictions.labels, said.predictions.index
    each = [_by_subject(test, labels, outputs, index) for outputs in said.passes]
    passes = {name: [told[name] for told in each] for name in ("war", "uar", "f1")}
    best = int(np.argmax(passes["war"]))
    return {"passes": passes, "chosen_by_labels": {"pass": best, **{name: passes[name][best] for name in passes}}}
