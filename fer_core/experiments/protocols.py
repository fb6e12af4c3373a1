"""Who trains and who is tested: the data set's own splits, or each person of the test split left out in turn.

*Leave one out*: for each person of the test split, a method is trained from its start on the training split and on
everybody else of the test split, and tested (and, at test time, adapted) on that person alone. The validation split
stays what it is. Predictions on all of them together are the result.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_core import clip, config, data, engine, models
from fer_core.errors import UserError
from fer_core.experiments import measuring, personalising
from fer_core.experiments.loading import Settings

logger = logging.getLogger(__name__)

Splits = Mapping[str, data.FaceDataset]


@dataclass
class Outcome:
    """What a run has trained, and what that says of the test split.

    Args:
        method: As trained; of several, the last.
        predictions: On the test split.
        history: As ``Fit.history``; means over all methods trained, seconds and samples being sums, and the test WAR
            that of all samples.
        selected_epoch: As ``Fit.selected_epoch``.
        phases: Wall-clock seconds by name.
        earlier: As ``Fit.earlier``; the sum over all methods trained.
        peak_memory: As ``Fit.peak_memory``.
        trainable: Number of values that training, or adaptation in its place, has changed in each method.
        personal: Of a test-time method, what came of it.
    """

    method: models.Method
    predictions: engine.Predictions
    history: list[dict[str, Any]]
    selected_epoch: int
    phases: dict[str, float]
    earlier: float
    peak_memory: int
    trainable: int
    personal: personalising.Personal | None = None


@dataclass(frozen=True)
class Resources:
    """With what a run is made, besides its settings.

    Args:
        tower: The CLIP.
        seed: Of the run.
        processes: That share it.
        checkpoint: Where its state is kept until it ends.
        checkpoint_seconds: Least time between two writes of it.
        progress: Whether to show the course of training.
        log_dir: Folder for TensorBoard's event files; None for none.
        trained: What another run has trained, to be tested as it is; None trains anew.
    """

    tower: clip.Clip
    seed: int
    processes: engine.Processes
    checkpoint: Path
    checkpoint_seconds: float
    progress: bool
    log_dir: Path | None
    trained: models.Method | None = None


def carry_out(settings: Settings, splits: Splits, resources: Resources) -> Outcome:
    """Trains and tests as the protocol of the settings says.

    Raises:
        UserError: If the data set is not one of people, or several methods would be chosen at epochs of their own.
    """
    return (_leave_one_out if settings.protocol == "leave-one-out" else _train)(settings, splits, resources)


def _train(settings: Settings, splits: Splits, resources: Resources) -> Outcome:
    """One method, on one training split."""
    training = config.build(engine.Training, settings.training, "training")
    test, method = splits["test"], resources.trained
    here = training if method is None else replace(training, epochs=0, selection="last", patience=None)
    checkpoint = resources.checkpoint if method is None else None  # a training of this run's own may lie there
    engine.seed_everything(resources.seed)  # a method draws its starting values when it is built
    if method is None:
        method = models.build(
            settings.source or settings.method, resources.tower, splits["train"].classes, settings.model
        )
    method.for_classes(test.classes)  # one that cannot be asked of them is refused before it is trained
    fit = engine.fit(
        method, splits["train"], splits.get("validation"), test, here, seed=resources.seed,
        device=resources.processes.device, progress=resources.progress, checkpoint=checkpoint,
        checkpoint_seconds=resources.checkpoint_seconds, log_dir=resources.log_dir,
        prepared=resources.trained is not None,
    )  # fmt: skip
    assert fit.test is not None
    trainable = sum(each.numel() for each in method.parameters() if each.requires_grad)
    outcome = Outcome(
        method, fit.test, fit.history, fit.selected_epoch, fit.phases, fit.earlier, fit.peak_memory, trainable
    )
    if settings.source is None:
        return outcome
    personal = personalising.personalise(
        settings, method.for_classes(test.classes), splits, training, resources.seed, resources.processes
    )
    phases = {**fit.phases, "adaptation": personal.seconds}
    return replace(
        outcome, predictions=personal.predictions, trainable=personal.parameters, phases=phases, personal=personal
    )


def _leave_one_out(settings: Settings, splits: Splits, resources: Resources) -> Outcome:
    """A method for each person of the test split, trained on everybody else."""
    rule = config.build(engine.Training, settings.training, "training").selection
    if rule != "last":
        raise UserError(f"protocol leave-one-out: expected training.selection last, got {rule}; set it")
    found, tested = [], []
    for person, positions, fold in _folds(splits):
        checkpoint = resources.checkpoint.with_stem(f"{resources.checkpoint.stem}-without-{person}")
        curves = resources.log_dir and resources.log_dir / f"without-{person}"
        found.append(_train(settings, fold, replace(resources, checkpoint=checkpoint, log_dir=curves)))
        tested.append(positions)
        score = found[-1].predictions.score()["war"]
        logger.info("without person %d (%d left out so far): WAR %.2f%%", person, len(found), 100 * score)
    predictions = engine.Predictions(
        np.concatenate([each.predictions.logits for each in found]),
        np.concatenate([each.predictions.labels for each in found]),
        np.concatenate([where[each.predictions.index] for where, each in zip(tested, found, strict=True)]),
        np.concatenate([each.predictions.features for each in found]),
    )
    personal = personalising.joined([each.personal for each in found if each.personal is not None], predictions)
    phases = {name: sum(each.phases[name] for each in found) for name in found[-1].phases}
    history = _means([each.history for each in found], [len(positions) for positions in tested])
    return replace(
        found[-1], predictions=predictions, history=history, phases=phases,
        earlier=sum(each.earlier for each in found), peak_memory=max(each.peak_memory for each in found),
        personal=personal,
    )  # fmt: skip


def _folds(splits: Splits) -> Iterator[tuple[int, np.ndarray, Splits]]:
    """For each person of the test split: who it is, the positions of their samples, and the splits without them."""
    train, test = splits["train"], splits["test"]
    if test.subjects is None or not measuring.is_by_subject(test.name):
        raise UserError(f"protocol leave-one-out: expected a data set of people's videos, got {test.name}; drop it")
    everybody = np.arange(len(train))
    for person in torch.unique(test.subjects).tolist():
        theirs = (test.subjects == person).numpy()
        joined = data.Joined([(train, everybody), (test, np.flatnonzero(~theirs))])
        positions = np.flatnonzero(theirs)
        yield person, positions, {**splits, "train": joined, "test": data.Joined([(test, positions)])}


def _means(histories: Sequence[list[dict[str, Any]]], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """One history for several: times are sums, everything else is a mean, and what one lacks is missing.

    Args:
        histories: Of each person left out.
        sizes: How many samples each was tested on. They weigh the test WAR, so that it is that of all samples, as
            ``metrics`` has it; the UAR stays the mean of people's, since a history knows no confusion.
    """
    rows = []
    weights = np.array(sizes) / max(sizes)  # ones where all are equal, which leaves the plain mean to the last bit
    for together in zip(*histories, strict=True):
        seconds = sum(row["seconds"] for row in together)
        images = sum(row["images_per_second"] * row["seconds"] for row in together)
        row = {**together[0], "losses": _mean([row["losses"] for row in together]), "seconds": seconds}
        row["images_per_second"] = images / seconds if seconds else 0.0
        for split in ("validation", "test"):
            scores = [row[split] for row in together]
            row[split] = None if any(each is None for each in scores) else _mean(scores)
        if row["test"] is not None:
            row["test"]["war"] = float(np.average([each["test"]["war"] for each in together], weights=weights))
        rows.append(row)
    return rows


def _mean(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([each[name] for each in scores])) for name in scores[0]}
