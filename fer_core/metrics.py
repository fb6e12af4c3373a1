"""Numbers from predictions: accuracies, their intervals, comparisons, and where the errors go.

Abbreviations::

    WAR     weighted average recall: the share of samples that are right, which is accuracy
    UAR     unweighted average recall: the mean of the classes' recalls
    F1      macro-F1: the mean of the classes' F1 scores

Every score is a function of the confusion matrix, so a bootstrap need not touch samples: drawing N samples with
replacement is drawing the counts of the matrix from a multinomial distribution. Classes without a single true sample
have no recall; they are left out of UAR and F1, and predictions that fall on them still cost the true class's recall.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats

from fer_core.errors import UserError, unknown


@dataclass(frozen=True)
class Interval:
    """An estimate with its percentile bootstrap interval.

    Args:
        value: The estimate on all samples.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def predictions(labels: np.ndarray, outputs: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Checks labels and outputs, and turns logits into predicted classes.

    Args:
        labels: ``(N,)`` integers.
        outputs: ``(N, C)`` logits, or ``(N,)`` predicted classes.
        classes: C.

    Returns:
        Labels and predicted classes, both ``(N,)`` int64; the first of equal logits wins.

    Raises:
        UserError: For no samples, shapes that don't fit, logits that are not finite, or a class outside of 0..C-1.
    """
    labels, outputs = np.asarray(labels), np.asarray(outputs)
    if labels.ndim != 1 or not len(labels):
        raise UserError(f"expected labels of at least one sample, got shape {labels.shape}; check the data's limit")
    if outputs.shape not in ((len(labels),), (len(labels), classes)):
        raise UserError(
            f"expected outputs of shape {(len(labels), classes)} or {(len(labels),)}, got {outputs.shape}; "
            "pass one row a label and one column a class"
        )
    if outputs.ndim == 2:
        broken = ~np.isfinite(outputs).all(axis=1)
        if broken.any():
            raise UserError(
                f"expected finite logits, got {int(broken.sum())} of {len(labels)} rows with NaN or infinity (first: "
                f"row {int(broken.argmax())}); lower the learning rate or use precision fp32"
            )
        outputs = outputs.argmax(axis=1)
    for name, values in (("labels", labels), ("predictions", outputs)):
        if not np.issubdtype(values.dtype, np.integer):
            raise UserError(f"expected integer {name}, got {values.dtype}; pass indices of classes")
        if values.min() < 0 or values.max() >= classes:
            outside = values[(values < 0) | (values >= classes)][0]
            raise UserError(f"expected {name} in 0..{classes - 1}, got {outside}; check the data set's class names")
    return labels.astype(np.int64), outputs.astype(np.int64)


def confusion(labels: np.ndarray, outputs: np.ndarray, classes: int) -> np.ndarray:
    """Confusion matrix ``(C, C)`` int64, rows true and columns predicted classes; arguments as :func:`predictions`."""
    truth, predicted = predictions(labels, outputs, classes)
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


# The statistics below take confusion matrices (..., C, C) and give (...): one matrix, or a stack of resampled ones.


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``, NaN where ``whole`` is zero."""
    return np.divide(part, whole, out=np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan), where=whole > 0)


def recall(matrix: np.ndarray) -> np.ndarray:
    """Recall of each class: ``(..., C, C)`` to ``(..., C)``, NaN for a class without true samples."""
    return _ratio(np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64), matrix.sum(axis=-1))


def war(matrix: np.ndarray) -> np.ndarray:
    """Weighted average recall (accuracy): ``(..., C, C)`` to ``(...)``."""
    return np.trace(matrix, axis1=-2, axis2=-1) / matrix.sum(axis=(-2, -1))


def uar(matrix: np.ndarray) -> np.ndarray:
    """Unweighted average recall over the classes present: ``(..., C, C)`` to ``(...)``."""
    return np.nanmean(recall(matrix), axis=-1)


def f1(matrix: np.ndarray) -> np.ndarray:
    """Macro-F1 over the classes present: ``(..., C, C)`` to ``(...)``."""
    right = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    truth, predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    scores = _ratio(2 * right, truth + predicted)
    return np.nanmean(np.where(truth > 0, scores, np.nan), axis=-1)


STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"war": war, "uar": uar, "f1": f1}


def statistic(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """The statistic of that name.

    Raises:
        UserError: If it is not one of ``war``, ``uar``, ``f1``.
    """
    if name not in STATISTICS:
        raise unknown("statistic", name, STATISTICS)
    return STATISTICS[name]


def summary(labels: np.ndarray, outputs: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """What a record keeps of a set of predictions.

    Args:
        labels: ``(N,)`` integers.
        outputs: ``(N, C)`` logits or ``(N,)`` predicted classes.
        classes: C class names.

    Returns:
        JSON types: ``war``, ``uar`` and ``f1`` as fractions, ``recall`` by class name (None for a class without true
        samples), ``confusion`` (rows: truth), ``classes`` and ``n``.

    Raises:
        UserError: As :func:`predictions`.
    """
    matrix = confusion(labels, outputs, len(classes))
    recalls = [None if np.isnan(value) else float(value) for value in recall(matrix)]
    return {
        "war": float(war(matrix)),
        "uar": float(uar(matrix)),
        "f1": float(f1(matrix)),
        "recall": dict(zip(classes, recalls, strict=True)),
        "confusion": matrix.tolist(),
        "classes": list(classes),
        "n": int(matrix.sum()),
    }


def prediction_shares(matrix: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """How much of all predictions falls on each class; a collapsed model puts nearly all on one."""
    shares = matrix.sum(axis=0) / matrix.sum()
    return dict(zip(classes, shares.tolist(), strict=True))


def _resampled(cells: np.ndarray, groups: np.ndarray | None, size: int, resamples: int, seed: int) -> np.ndarray:
    """Counts of each cell in bootstrap samples: ``(R, size)``.

    Args:
        cells: ``(N,)`` the cell of each sample.
        groups: ``(N,)`` what is drawn as a whole, such as subjects; None draws single samples.
        size: Number of cells.
        resamples: R.
        seed: Of the draws.
    """
    random = np.random.default_rng(seed)
    if groups is None:
        return random.multinomial(len(cells), np.bincount(cells, minlength=size) / len(cells), size=resamples)
    _, members = np.unique(np.asarray(groups), return_inverse=True)
    subjects = int(members.max()) + 1
    counts = np.bincount(members * size + cells, minlength=subjects * size).reshape(subjects, size)
    return random.multinomial(subjects, np.full(subjects, 1 / subjects), size=resamples) @ counts


def _percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval(
    labels: np.ndarray,
    outputs: np.ndarray,
    classes: int,
    name: str = "war",
    *,
    groups: np.ndarray | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """A score with its percentile bootstrap interval (Efron and Tibshirani, 1993, chapter 13).

    Args:
        labels: ``(N,)`` integers.
        outputs: ``(N, C)`` logits or ``(N,)`` predicted classes.
        classes: C.
        name: ``"war"``, ``"uar"`` or ``"f1"``.
        groups: ``(N,)`` subjects, drawn as a whole where samples of one subject are alike; None draws samples.
        resamples: Number of bootstrap samples.
        level: Coverage.
        seed: Of the draws; equal seeds give equal intervals.

    Raises:
        UserError: As :func:`predictions`, or for an unknown statistic.
    """
    score = statistic(name)
    truth, predicted = predictions(labels, outputs, classes)
    cells = truth * classes + predicted
    counts = _resampled(cells, groups, classes**2, resamples, seed)
    whole = np.bincount(cells, minlength=classes**2).reshape(classes, classes)
    return Interval(float(score(whole)), *_percentiles(score(counts.reshape(-1, classes, classes)), level))


def t_interval(value: float, sources: Sequence[np.ndarray], level: float = 0.95) -> Interval:
    """An interval of a number that is a sum of means, each over its own draws.

    Args:
        value: The number.
        sources: What each mean is over, ``(N,)``, drawn independently of the others.
        level: Coverage.

    Returns:
        Student's t by Satterthwaite's degrees of freedom; endless where a mean is over one draw alone.
    """
    if any(len(source) < 2 for source in sources):
        return Interval(value, -np.inf, np.inf)
    parts = [(float(np.var(source, ddof=1)) / len(source), len(source) - 1) for source in sources]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Interval(value, value, value)
    degrees = variance**2 / sum(part**2 / own for part, own in parts)
    half = float(stats.t.ppf(0.5 + level / 2, degrees)) * variance**0.5
    return Interval(value, value - half, value + half)


def difference(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    classes: int,
    name: str = "war",
    *,
    groups: np.ndarray | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """How much better the second of two methods is on the same samples, with a paired bootstrap interval.

    Args:
        labels: ``(N,)`` integers.
        first: Outputs of the first method, ``(N, C)`` logits or ``(N,)`` predicted classes.
        second: Outputs of the second.
        classes: C.
        name: ``"war"``, ``"uar"`` or ``"f1"``.
        groups: ``(N,)`` subjects, drawn as a whole; None draws samples.
        resamples: Number of bootstrap samples.
        level: Coverage.
        seed: Of the draws.

    Returns:
        ``second - first``; an interval without zero is a difference at that level.
    """
    score = statistic(name)
    truth, one = predictions(labels, first, classes)
    _, two = predictions(labels, second, classes)
    cells = (truth * classes + one) * classes + two
    counts = _resampled(cells, groups, classes**3, resamples, seed).reshape(-1, classes, classes, classes)
    whole = np.bincount(cells, minlength=classes**3).reshape(classes, classes, classes)

    def gain(joint: np.ndarray) -> np.ndarray:  # (..., truth, first, second)
        return score(joint.sum(axis=-2)) - score(joint.sum(axis=-1))

    return Interval(float(gain(whole)), *_percentiles(gain(counts), level))


def mcnemar(labels: np.ndarray, first: np.ndarray, second: np.ndarray, classes: int) -> float:
    """Exact two-sided p-value of McNemar's test (1947) that two methods are right equally often.

    Of the samples on which just one method is right, each method should have half. Arguments as :func:`difference`.
    """
    truth, one = predictions(labels, first, classes)
    _, two = predictions(labels, second, classes)
    only_first = int(((one == truth) & (two != truth)).sum())
    only_second = int(((one != truth) & (two == truth)).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def look_alike_shares(
    matrix: np.ndarray, classes: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> Mapping[str, float | None]:
    """How much of the error goes to look-alike expressions.

    Args:
        matrix: Confusion matrix ``(C, C)``.
        classes: C class names.
        pairs: Pairs of class names that look alike.

    Returns:
        For each pair, as ``"fear/surprise"``: of the wrong predictions on its two classes, the share that falls on
        the other one. ``"all"``: of all wrong predictions, the share that falls on any partner. None where nothing
        is wrong.

    Raises:
        UserError: If a pair names an unknown class, or one class twice.
    """
    place = {name: position for position, name in enumerate(classes)}
    wrong = matrix * (1 - np.eye(len(classes), dtype=matrix.dtype))
    partner = np.zeros(matrix.shape, dtype=bool)
    shares: dict[str, float | None] = {}
    for pair in pairs:
        for name in pair:
            if name not in place:
                raise unknown("class", name, classes)
        first, second = place[pair[0]], place[pair[1]]
        if first == second:
            raise UserError(f"expected two different classes in a pair, got {pair[0]!r} twice; name its look-alike")
        partner[[first, second], [second, first]] = True
        errors = wrong[[first, second]].sum()
        shares["/".join(pair)] = float((wrong[first, second] + wrong[second, first]) / errors) if errors else None
    shares["all"] = float(wrong[partner].sum() / wrong.sum()) if wrong.any() else None
    return shares


def calibration_error(labels: np.ndarray, logits: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error (Guo et al., 2017, equation 5): mean gap of confidence and accuracy over equal bins.

    Args:
        labels: ``(N,)`` integers.
        logits: ``(N, C)``, before softmax.
        bins: Number of equal bins of the confidence in (0, 1].

    Raises:
        UserError: As :func:`reliability`.
    """
    confidence, accuracy, count = reliability(labels, logits, bins).T
    return float((np.abs(accuracy - confidence) * count).sum() / count.sum())


def reliability(labels: np.ndarray, logits: np.ndarray, bins: int = 10) -> np.ndarray:
    """Confidence and accuracy of predictions by bins of their confidence, as reliability diagrams show them.

    Args:
        labels: ``(N,)`` integers.
        logits: ``(N, C)``, before softmax.
        bins: Number of equal bins of the confidence in (0, 1].

    Returns:
        ``(B, 3)`` of the bins that are not empty: mean confidence, accuracy, number of samples.

    Raises:
        UserError: As :func:`predictions`, or if ``logits`` has one axis only.
    """
    logits = np.asarray(logits)
    if logits.ndim != 2:
        raise UserError(f"expected logits (N, C), got shape {logits.shape}; predicted classes carry no confidence")
    truth, predicted = predictions(labels, logits, logits.shape[1])
    confidence = special.softmax(logits.astype(np.float64), axis=1).max(axis=1)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    rows = []
    for number in np.unique(place):
        own = place == number
        rows.append((confidence[own].mean(), (truth == predicted)[own].mean(), own.sum()))
    return np.array(rows)
