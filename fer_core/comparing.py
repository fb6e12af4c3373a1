"""Which records count, and what one experiment gains over another on the same test samples, from records alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_core import experiments, metrics, metrics_subjects, records
from fer_core.data import facs
from fer_core.errors import UserError, unknown
from fer_core.metrics import Interval
from fer_core.metrics_subjects import Gain
from fer_core.records import Record


def current(
    experiment: str, profile: str = "full", overrides: Mapping[str, Any] | None = None, folder: Path | str | None = None
) -> list[Record]:
    """The records of an experiment that count: with just these settings, and not stale.

    Args:
        experiment: Name of the experiment.
        profile: One of its profiles.
        overrides: Settings other than the experiment's own, by dotted key, as one of its ablations has them.
        folder: The folder of records; ``book/records`` by default.

    Raises:
        UserError: If a name or setting is not known, or a record is broken.
    """
    found = with_settings(records.iterate(folder, experiment), experiment, profile, overrides or {})
    return [record for record in found if not experiments.is_stale(record)]


def with_settings(found: Iterable[Record], experiment: str, profile: str, overrides: Mapping[str, Any]) -> list[Record]:
    """Those records of an experiment that were measured with just these settings, stale or not.

    A fold is no setting of its own: a cross-validated score is the mean over all of them.

    Args:
        found: Records of the experiment.
        experiment: Its name.
        profile: The profile that they ran with.
        overrides: Settings other than the experiment's own, by dotted key.

    Raises:
        UserError: If a name or setting is not known.
    """
    wanted = experiments.changed(experiment, profile, overrides)

    def fits(record: Record) -> bool:
        own = {key: value for key, value in record.overrides.items() if key != "data.fold"}
        return record.profile == profile and own == wanted

    return [record for record in found if fits(record)]


def paired(
    first: Sequence[Record], second: Sequence[Record], seed: int = 0, classes: Sequence[str] | None = None
) -> Gain:
    """How much more often the second experiment is right, on the same samples, over all seeds of both.

    A person counts by the mean of their samples, where the data set says who is who, as pictures of one person are
    alike. Where it does not, each sample counts as a person would. The test samples of all folds of a seed count
    together; a seed that lacks a fold of the others does not count.

    Samples are known to be the same by the fingerprint of all splits; rendered test samples by their generator's
    version and their limit, whatever was trained on and however many frames were shown of a clip.

    Args:
        first: Records of one experiment, any number of seeds, each with all folds.
        second: Records of another, of the same test samples; seeds are compared one by one where they are the same.
        seed: Of the draws of sign flips.
        classes: Only test samples of these classes; all by default.

    Returns:
        The mean gain in WAR with its interval over people (or samples) and seeds, who gains and who loses, and the
        p-value of an exact or random sign-flip test (:func:`fer_core.metrics_subjects.gain`).

    Raises:
        UserError: If a side has no records, or no seed with all folds, or they are not of the same samples, or the data
            set has no such class.
    """
    if not first or not second:
        raise UserError("expected records on both sides, got none on one; run its experiment first")
    sides = _by_seed(first, second)
    if not all(sides):
        folds = ", ".join(str(fold) for fold in sorted({record.fold for record in (*first, *second)}, key=_fold_first))
        raise UserError(f"expected a seed with the folds {folds} on both sides, got none on one; run those that lack")
    for each in zip(*(runs for side in sides for runs in side.values()), strict=True):
        if len({_samples(record) for record in each}) > 1:
            raise UserError(
                f"expected records of the same samples, got those of {', '.join(sorted({r.dataset for r in each}))} "
                f"with {len({record.fingerprint for record in each})} fingerprints; run the older ones again"
            )
    shown = next(iter(sides[0].values()))
    counted = np.concatenate([_of(classes, record) for record in shown])
    one, two = (np.stack([_right(runs)[counted] for runs in side.values()]) for side in sides)
    subjects = [each for record in shown if (each := record.predicted.subjects) is not None]
    if len(subjects) == len(shown):
        people, place = np.unique(np.concatenate(subjects)[counted], return_inverse=True)
        counts = np.bincount(place, minlength=len(people))
        one, two = (
            np.stack([np.bincount(place, weights=right) / counts for right in side]) for side in (one, two)
        )  # fmt: skip
    return metrics_subjects.gain(one, two, sides[0].keys() == sides[1].keys(), seed=seed)


def gain(first: str, second: str, folder: Path | str | None = None, profile: str = "full") -> Gain | None:
    """What the second experiment gains over the first in WAR, by their current records; None where a side has none.

    Nor is there a gain where a side has no seed with all folds. Records of a time when predictions were not kept do not
    count.

    Args:
        first: Name of an experiment.
        second: Name of another on the same data.
        folder: As of :func:`current`.
        profile: Of both, such as ``paper``.
    """
    one, two = (current(name, profile, folder=folder) for name in (first, second))
    return gain_of_records(one, two)


def gain_of_records(
    first: Sequence[Record], second: Sequence[Record], classes: Sequence[str] | None = None
) -> Gain | None:
    """As :func:`paired`, of those records that keep predictions; None where a side has no seed with all folds of both.

    Args:
        first: Records of one experiment with one choice of settings.
        second: Records of another on the same data.
        classes: As of :func:`paired`.

    Raises:
        UserError: If the records are not of the same samples, or the data set has no such class.
    """
    one, two = ([record for record in found if record.predictions is not None] for found in (first, second))
    return paired(one, two, classes=classes) if all(_by_seed(one, two)) else None  # a cross-validation may be under way


def difference(
    first: str, second: str, score: Callable[[Record], float], folder: Path | str | None = None
) -> Interval | None:
    """How far a score of the second experiment lies above the first's, where records keep it for the whole test alone.

    Args:
        first: Name of an experiment.
        second: Name of another.
        score: What to read of a record.
        folder: As of :func:`current`.

    Returns:
        The difference of the means over seeds, and its interval over seeds, paired where they are the same; of other
        test samples it says nothing. A seed counts by the mean over its folds, if it has all. None where a side has no
        records.
    """
    sides = _by_seed(*(current(name, folder=folder) for name in (first, second)))
    if not all(sides):
        return None
    one, two = (np.array([np.mean([score(each) for each in runs]) for runs in side.values()]) for side in sides)
    sources = [two - one] if sides[0].keys() == sides[1].keys() else [one, two]
    return metrics.t_interval(float(two.mean() - one.mean()), sources)


def people(experiment: str, score: str = "war", folder: Path | str | None = None) -> dict[str, float]:
    """Each person's score, the mean over the seeds of an experiment's current records; empty where there are none.

    Args:
        experiment: One whose records tell of people (``metrics.by_subject``).
        score: ``war``, ``uar`` or ``f1``.
        folder: The folder of records; ``book/records`` by default.
    """
    told = list(_people_by_seed(experiment, score, folder).values())
    return {who: float(np.mean([each[who] for each in told])) for who in told[0]} if told else {}


def _people_by_seed(experiment: str, score: str, folder: Path | str | None) -> dict[int, dict[str, float]]:
    return {
        record.seed: {who: each[score] for who, each in record.metrics["by_subject"]["subjects"].items()}
        for record in current(experiment, folder=folder)
    }


def gain_of_people(
    first: str, second: str, datasets: Sequence[str], score: str = "war", folder: Path | str | None = None
) -> Gain | None:
    """What the second method gains over the first, person by person, over the people of some data sets together.

    Args:
        first: Name of a method.
        second: Name of another.
        datasets: Names of data sets with people; both methods must have records on all, for at least one seed that is
            the same on all, else the answer is None. Other seeds do not count.
        score: As of :func:`people`.
        folder: As of :func:`people`.
    """
    sides = []
    for method in (first, second):
        found = [_people_by_seed(f"{method}-{dataset}", score, folder) for dataset in datasets]
        seeds = sorted(set.intersection(*(set(each) for each in found)))
        sides.append({seed: _joined([each[seed] for each in found]) for seed in seeds})
    one, two = (list(side.values()) for side in sides)
    if not one or not two or one[0].keys() != two[0].keys():
        return None
    scores = [np.array([[row[who] for who in one[0]] for row in side]) for side in (one, two)]
    return metrics_subjects.gain(scores[0], scores[1], sides[0].keys() == sides[1].keys())


def _joined(found: Sequence[Mapping[str, float]]) -> dict[tuple[int, str], float]:
    """Scores of the people of several data sets, by the data set's place and who."""
    return {(place, who): value for place, each in enumerate(found) for who, value in each.items()}


def _by_seed(first: Sequence[Record], second: Sequence[Record]) -> list[dict[int, list[Record]]]:
    """Of each side the records of each seed, by fold, both in order; only seeds with every fold that any record has."""
    folds = {record.fold for record in (*first, *second)}
    sides = []
    for side in (first, second):
        found: dict[int, list[Record]] = {}
        for record in sorted(side, key=lambda each: (each.seed, _fold_first(each.fold))):
            found.setdefault(record.seed, []).append(record)
        sides.append({seed: runs for seed, runs in found.items() if {each.fold for each in runs} == folds})
    return sides


def _fold_first(fold: int | None) -> int:
    """A fold's place; records without one come before those with."""
    return -1 if fold is None else fold


def _samples(record: Record) -> tuple[Any, ...]:
    """What tells whether two records are of the same test samples; see :func:`paired`."""
    if record.dataset not in facs.names():
        return record.dataset, record.fingerprint
    limit = record.config["data"].get("limit")
    own = limit.get(record.split) if isinstance(limit, Mapping) else limit
    return record.dataset, record.config["faces"], own


def _of(classes: Sequence[str] | None, record: Record) -> np.ndarray:
    """``(N,)`` whether a test sample is of one of some classes, or of any where none are named."""
    if classes is None:
        return np.ones(len(record.predicted.labels), dtype=bool)
    known = record.metrics["classes"]
    for name in classes:
        if name not in known:
            raise unknown(f"class of {record.dataset}", name, known)
    return np.isin(record.predicted.labels, [known.index(name) for name in classes])


def _right(runs: Sequence[Record]) -> np.ndarray:
    """``(N,)`` 1 where the records of a seed, a fold each, are right about a sample."""
    return np.concatenate([each.predicted.classes == each.predicted.labels for each in runs]).astype(np.float64)
