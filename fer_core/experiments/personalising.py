"""The test-time half of an experiment: a trained source meets the people of the test split."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from fer_core import adapt, data, engine, metrics, models
from fer_core.adapt import TestTimeMethod
from fer_core.batch import Batch
from fer_core.engine.personalising import personalise as meet
from fer_core.engine.sources import Pixels, Source, encoded
from fer_core.experiments import measuring
from fer_core.experiments.loading import Settings

_SCORES = ("war", "uar", "f1")


@dataclass
class Personal:
    """What came of it.

    Args:
        predictions: On the test split.
        passes: ``(P, N, C)`` logits of each pass, in the order of ``predictions``; None where the method makes none.
        validation: ``war``, ``uar`` and ``f1``, means over the people held out of training, for tuning; None without
            such people.
        parameters: How many values were adapted.
        seconds: Of adaptation and prediction on the test split.
    """

    predictions: engine.Predictions
    passes: np.ndarray | None
    validation: dict[str, float] | None
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
        splits: ``train``, ``test`` and, unless none is held out, ``validation``.
        training: How the source was trained.
        seed: The run's; random contexts and views are drawn from it.
        processes: One; a person's videos come one after another.

    Raises:
        UserError: If the source cannot be adapted so.
    """
    own = [parameter for parameter in source.parameters() if parameter.requires_grad]
    method = adapt.build(settings.method, source, settings.adapt, seed)  # freezes its source
    opened = {name: _source(split, method, training, seed, processes) for name, split in splits.items()}
    if type(method).remember is not TestTimeMethod.remember:
        method.remember(_hidden(opened["train"], processes))
    said = meet(method, opened["test"], processes.device)
    validation = None
    if "validation" in splits:
        held = meet(method, opened["validation"], processes.device).predictions
        told = _by_subject(splits["validation"], held, held.logits)
        validation = {name: told[name] for name in _SCORES}
    for parameter in own:
        parameter.requires_grad_(True)
    return Personal(said.predictions, said.passes, validation, method.adapted_parameters, said.seconds)


def joined(parts: Sequence[Personal], predictions: engine.Predictions) -> Personal | None:
    """What came of several, each of which met other people.

    Args:
        parts: One after another; empty for None.
        predictions: Theirs, in their order.
    """
    if not parts:
        return None
    passes = [part.passes for part in parts if part.passes is not None]
    held = [part.validation for part in parts if part.validation is not None]
    return Personal(
        predictions,
        np.concatenate(passes, axis=1) if passes else None,
        {name: float(np.mean([scores[name] for scores in held])) for name in _SCORES} if held else None,
        parts[-1].parameters,
        sum(part.seconds for part in parts),
    )


def scores(test: data.FaceDataset, personal: Personal) -> tuple[dict[str, Any], dict[str, float]]:
    """What a record says of it beside the scores of its predictions.

    Returns:
        Further metrics: ``validation``, ``passes`` (means over people after each pass) and ``chosen_by_labels`` (the
        pass that looking at the labels would have chosen: an oracle, no result), where the method makes passes. And
        ``war``, ``uar`` and ``f1`` of that pass over all samples; of the predictions where there are no passes.
    """
    found: dict[str, Any] = {} if personal.validation is None else {"validation": personal.validation}
    said, best = personal.predictions, personal.predictions.logits
    if personal.passes is not None:
        each = [_by_subject(test, said, outputs) for outputs in personal.passes]
        passes = {name: [told[name] for told in each] for name in _SCORES}
        chosen = int(np.argmax(passes["war"]))
        found["passes"] = passes
        found["chosen_by_labels"] = {"pass": chosen, **{name: passes[name][chosen] for name in passes}}
        best = personal.passes[chosen]
    over_all = metrics.summary(said.labels, best, test.classes)
    return found, {name: over_all[name] for name in _SCORES}


def _source(
    split: data.FaceDataset, method: TestTimeMethod, training: engine.Training, seed: int, processes: engine.Processes
) -> Source:
    tower = method.source.clip
    transform = data.Transform.of(tower)
    pixels = Pixels(split, transform, training.batch_size, seed, processes, training.workers)
    return pixels if method.pixels else encoded(pixels, tower, method.source.needs_patches, training.precision)


def _hidden(source: Source, processes: engine.Processes) -> Iterator[Batch]:
    for batch in source.whole():
        yield adapt.unlabelled(batch.to(processes.device))


def _by_subject(split: data.FaceDataset, said: engine.Predictions, outputs: np.ndarray) -> dict[str, Any]:
    assert isinstance(split.subjects, Tensor)
    return measuring.by_subject(said.labels, outputs, split.subjects.numpy()[said.index], split.classes)
