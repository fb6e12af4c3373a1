"""Estimates with bootstrap intervals, and the checks that every measure of entanglement begins with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_core.errors import UserError
from fer_core.metrics import Interval

Array = Any  # a numpy array, or a torch tensor on any device


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn (percentile bootstrap, Efron and Tibshirani, 1993, chapter 13).

    Args:
        resamples: Bootstrap samples R.
        level: Coverage, above 0 and below 1.
        seed: Of the draws; equal seeds give equal intervals.
    """

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 2:
            raise UserError(f"resamples: expected at least 2, got {self.resamples}; 1000 give a steady interval")
        if not 0 < self.level < 1:
            raise UserError(f"level: expected above 0 and below 1, got {self.level}; choose 0.95")


DEFAULT = Bootstrap()


@dataclass(frozen=True)
class Estimate:
    """A measure of any shape, with the ends of its interval in arrays of the same shape.

    Args:
        value: The measure on all samples.
        low: Lower ends.
        high: Upper ends.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def at(self, *place: int) -> Interval:
        """One entry; without a place the only one of a measure that is a single number."""
        return Interval(float(self.value[place]), float(self.low[place]), float(self.high[place]))


def estimate(statistic: Callable[[np.ndarray], np.ndarray], truth: np.ndarray, bootstrap: Bootstrap) -> Estimate:
    """A statistic on all samples, and the percentiles of it over bootstrap samples.

    Args:
        statistic: Takes counts ``(R, N)``, how often each bootstrap sample holds each sample, and gives ``(R, ...)``.
        truth: ``(N,)`` classes; every bootstrap sample holds as many samples of each as there are.
        bootstrap: How intervals are drawn.
    """
    random = np.random.default_rng(bootstrap.seed)
    counts = np.empty((bootstrap.resamples, len(truth)))
    for label in np.unique(truth):
        members = np.flatnonzero(truth == label)
        counts[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), len(counts))
    ends = [(1 - bootstrap.level) / 2, (1 + bootstrap.level) / 2]
    low, high = np.quantile(statistic(counts), ends, axis=0)
    value = statistic(np.ones((1, len(truth))))[0]
    return Estimate(np.asarray(value), np.asarray(low), np.asarray(high))


def class_means(counts: np.ndarray, truth: np.ndarray, values: np.ndarray, classes: int) -> np.ndarray:
    """Means of values within each class, ``(R, C, K)``.

    Args:
        counts: How often each bootstrap sample holds each sample, ``(R, N)``.
        truth: Labels, ``(N,)``.
        values: K numbers of each sample, ``(N, K)``.
        classes: C; none may be without a sample.
    """
    means = np.empty((len(counts), classes, values.shape[1]))
    for label in range(classes):
        members = np.flatnonzero(truth == label)
        means[:, label] = counts[:, members] @ values[members] / len(members)  # strata keep their sizes
    return means


def plain(values: Array) -> np.ndarray:
    """A numpy array of what may be a tensor; half precision becomes float32, as numpy does not know all of it."""
    if not hasattr(values, "detach"):
        return np.asarray(values)
    values = values.detach().cpu()
    return np.asarray(values.float() if values.is_floating_point() and values.element_size() < 4 else values)


def normalised(rows: np.ndarray) -> np.ndarray:
    """Vectors at unit length along the last axis."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def unit_rows(features: Array, name: str) -> np.ndarray:
    """Features ``(N, D)`` at unit length, float64.

    Raises:
        UserError: If they are no rows, not finite, or of zero length.
    """
    rows = plain(features).astype(np.float64)
    if rows.ndim != 2 or not len(rows):
        raise UserError(f"{name}: expected features (N, D), got shape {rows.shape}; pool frames or tokens first")
    norm = np.linalg.norm(rows, axis=1)
    broken = ~np.isfinite(norm) | (norm == 0)
    if broken.any():
        raise UserError(
            f"{name}: expected finite features above zero length, got {int(broken.sum())} of {len(rows)} rows without "
            f"(first: row {int(broken.argmax())}); look for a diverged loss"
        )
    return rows / norm[:, None]


def _labelled(samples: int, labels: Array, classes: int | None) -> tuple[np.ndarray, int]:
    truth = plain(labels)
    if truth.shape != (samples,) or not np.issubdtype(truth.dtype, np.integer):
        raise UserError(f"labels: expected {samples} integers, got {truth.dtype} of shape {truth.shape}; one a sample")
    classes = int(truth.max()) + 1 if classes is None else classes
    if truth.min() < 0 or truth.max() >= classes:
        raise UserError(f"labels: expected 0..{classes - 1}, got {truth.min()}..{truth.max()}; check the class names")
    empty = np.flatnonzero(np.bincount(truth, minlength=classes) == 0)
    if len(empty):
        raise UserError(
            f"labels: expected samples of all {classes} classes, got none of {empty.tolist()}; leave it out"
        )
    return truth.astype(np.int64), classes


def checked(features: Array, labels: Array, classes: int | None = None) -> tuple[np.ndarray, np.ndarray, int]:
    """Unit features ``(N, D)``, labels ``(N,)`` and the number of classes.

    Raises:
        UserError: If they do not fit, or a class has no sample.
    """
    unit = unit_rows(features, "features")
    return unit, *_labelled(len(unit), labels, classes)


def scored(scores: Array, labels: Array) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores ``(N, C)``, labels ``(N,)`` and the number of classes.

    Raises:
        UserError: If they do not fit, or a class has no sample.
    """
    points = plain(scores).astype(np.float64)
    if points.ndim != 2 or not len(points) or not np.isfinite(points).all():
        raise UserError(f"scores: expected finite numbers (N, C), got shape {points.shape}; pass one column a class")
    return points, *_labelled(len(points), labels, points.shape[1])
