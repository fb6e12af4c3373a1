"""Scores of one person at a time, and their mean: how personalised methods are reported.

A person who is hard to read counts as much as one with more videos. Intervals and paired tests draw whole people, since
videos of one person are alike.
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


def interval(values: np.ndarray, resamples: int = 2000, level: float = 0.95, seed: int = 0) -> Interval:
    """The mean of people's scores with a percentile bootstrap interval over people.

    Args:
        values: A score of each person, ``(S,)``.
        resamples: How many bootstrap samples of people are drawn.
        level: Coverage of the interval, in (0, 1).
        seed: Of the draws.
    """
    values = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high))


@dataclass(frozen=True)
class Gain:
    """What one method gains over another on the same people.

    Args:
        interval: Mean gain, with its interval over people.
        better: People that gain.
        worse: People that lose.
        p_value: Exact two-sided sign-flip test that gains lie evenly around zero.
    """

    interval: Interval
    better: int
    worse: int
    p_value: float


def gain(first: np.ndarray, second: np.ndarray, resamples: int = 2000, level: float = 0.95, seed: int = 0) -> Gain:
    """How much better the second method is, person by person.

    Args:
        first: ``(S,)`` scores of the first method.
        second: ``(S,)`` scores of the second, of the same people in the same order.
        resamples: Number of bootstrap samples.
        level: Coverage.
        seed: Of the draws.

    Raises:
        UserError: If the two are not of the same people.
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != two.shape or one.ndim != 1 or not len(one):
        raise UserError(f"expected scores of the same people, got shapes {one.shape} and {two.shape}; score both alike")
    apart = two - one
    found = stats.permutation_test(
        (apart,), np.mean, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(seed)
    )
    return Gain(
        interval(apart, resamples, level, seed), int((apart > 0).sum()), int((apart < 0).sum()), float(found.pvalue)
    )
