"""Scores of one person at a time, and their mean: how personalised methods are reported.

A person who is hard to read counts as much as one with more videos. Intervals and paired tests are of whole people,
since videos of one person are alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fer_core import metrics
from fer_core.errors import UserError
from fer_core.metrics import Interval


@dataclass(frozen=True)
class BySubject:
    """Scores of S people, as fractions.

    Args:
        subjects: ``(S,)`` who.
        scores: ``war``, ``uar`` and ``f1`` (over the classes that the person shows), each ``(S,)``.
        samples: ``(S,)`` videos of each.
        shares: By class name, the share of all predictions; a collapsed model puts nearly all on one.
    """

    subjects: np.ndarray
    scores: dict[str, np.ndarray]
    samples: np.ndarray
    shares: dict[str, float]

    def mean(self, name: str = "war") -> float:
        """The mean over people."""
        return float(self.scores[name].mean())


def by_subject(labels: np.ndarray, outputs: np.ndarray, subjects: Sequence[int], classes: Sequence[str]) -> BySubject:
    """Scores of each person.

    Args:
        labels: ``(N,)`` integers.
        outputs: ``(N, C)`` logits or ``(N,)`` predicted classes.
        subjects: ``(N,)`` whom each shows.
        classes: C class names.

    Raises:
        UserError: As :func:`fer_core.metrics.predictions`, or if subjects do not fit.
    """
    truth, predicted = metrics.predictions(labels, outputs, len(classes))
    who = np.asarray(subjects)
    if who.shape != truth.shape:
        raise UserError(f"subjects: expected {len(truth)}, got shape {who.shape}; pass one a sample")
    people, place = np.unique(who, return_inverse=True)
    size = len(classes)
    cells = (place * size + truth) * size + predicted
    matrices = np.bincount(cells, minlength=len(people) * size**2).reshape(-1, size, size)
    scores = {name: statistic(matrices) for name, statistic in metrics.STATISTICS.items()}
    shares = metrics.prediction_shares(matrices.sum(axis=0), classes)
    return BySubject(people, scores, matrices.sum(axis=(1, 2)), shares)


def interval(values: np.ndarray, level: float = 0.95) -> Interval:
    """The mean of people's scores with Student's t interval over people: a bootstrap of a dozen is too narrow.

    Args:
        values: A score of each person, ``(S,)``; one alone has an endless interval.
        level: Coverage of the interval, in (0, 1).
    """
    values = np.asarray(values, dtype=np.float64)
    return metrics.t_interval(float(values.mean()), [values], level)


@dataclass(frozen=True)
class Gain:
    """What one method gains over another on the same people.

    Args:
        interval: Mean gain, with its interval over people and seeds.
        better: People that gain, by the mean over seeds.
        worse: People that lose.
        p_value: Exact two-sided sign-flip test that gains lie evenly around zero: of people, seeds being averaged.
        seeds: Of the first method and the second; the interval knows nothing of the seeds of a side that has one.
    """

    interval: Interval
    better: int
    worse: int
    p_value: float
    seeds: tuple[int, int] = (1, 1)


def gain_interval(first: np.ndarray, second: np.ndarray, same_seeds: bool = False, level: float = 0.95) -> Interval:
    """The mean over people and seeds of what the second method gains, with its interval over people and seeds.

    People differ, and so do trainings. The variance of the mean gain is that over people, of gains averaged over seeds,
    plus that over seeds: of gains seed by seed where both sides have the same seeds, and so drew the same few samples
    or went on from the same model; else of each side's mean. Student's t with Satterthwaite's degrees of freedom
    (Biometrics Bulletin 2, 1946) makes the interval of it; a bootstrap of three seeds would be too narrow.

    Args:
        first: ``(K, S)`` scores of the first method, a row for each seed.
        second: ``(L, S)`` scores of the second, of the same people in the same order.
        same_seeds: Whether rows at the same place are of the same seed.
        level: Coverage.
    """
    sides = [second - first] if same_seeds else [first, second]
    seeds = [side.mean(1) for side in sides if len(side) > 1]
    apart = second.mean(0) - first.mean(0)
    return metrics.t_interval(float(apart.mean()), [apart, *seeds], level)


def gain(first: np.ndarray, second: np.ndarray, same_seeds: bool = False, level: float = 0.95, seed: int = 0) -> Gain:
    """How much better the second method is, person by person.

    Args:
        first: ``(S,)`` scores of the first method, or ``(K, S)`` with one row for each of its seeds.
        second: ``(S,)`` or ``(L, S)`` scores of the second, of the same people in the same order.
        same_seeds: Whether rows at the same place are of the same seed; see :func:`gain_interval`.
        level: Coverage.
        seed: Of the draws of sign flips, where there are too many for all of them.

    Raises:
        UserError: If the two are not of the same people, or as many seeds were to be the same and are not.
    """
    one, two = (np.atleast_2d(np.asarray(scores, dtype=np.float64)) for scores in (first, second))
    if one.ndim != 2 or two.ndim != 2 or one.shape[1] != two.shape[1] or not one.size or not two.size:
        raise UserError(f"expected scores of the same people, got shapes {one.shape} and {two.shape}; score both alike")
    if same_seeds and len(one) != len(two):
        raise UserError(f"expected rows of the same seeds, got {len(one)} and {len(two)}; give those that both have")
    # A tie is a tie, though the mean of the same scores in another order may differ in its last digit.
    apart = np.round(two.mean(0) - one.mean(0), 12)
    p_value = 1.0  # of one person, either sign is as likely
    if len(apart) > 1:
        random = np.random.default_rng(seed)
        flips = stats.permutation_test(
            (apart,), np.mean, permutation_type="samples", n_resamples=9999, batch=1000, rng=random, vectorized=True
        )  # fmt: skip - without batches a test of thousands fills gigabytes, and takes four times as long
        p_value = float(flips.pvalue)
    found = gain_interval(one, two, same_seeds, level)
    better, worse = int((apart > 0).sum()), int((apart < 0).sum())
    return Gain(found, better, worse, p_value, (len(one), len(two)))
