"""What is taken for what: by texts, by class centroids, by any classifier's scores, and how that follows a distance.

Scores ``(N, C)`` are what a classifier says of N samples: cosines, logits or probabilities. Scores that differ by less
than a billionth (of the largest, where that is above 1) are equal. Probabilities of a classifier that is nearly sure
leave less than that to all other classes, whose order is then lost: give its logits, or the probabilities' logarithms.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy import stats

from fer_core.entanglement.estimates import (
    DEFAULT,
    Array,
    Bootstrap,
    Estimate,
    checked,
    class_means,
    estimate,
    normalised,
    plain,
    scored,
    unit_rows,
)
from fer_core.errors import UserError, unknown

_NEAR_ONE = 1 - 1e-12  # atanh has no value at 1


@dataclass(frozen=True)
class Correlation:
    """A rank correlation.

    Args:
        value: Spearman's rho, -1 to 1.
        low: Lower end of its bootstrap interval.
        high: Upper end.
        p_value: Of the Mantel test that the two matrices have nothing to do with one another.
    """

    value: float
    low: float
    high: float
    p_value: float


def image_text_confusion(
    features: Array,
    texts: Array,
    labels: Array,
    bootstrap: Bootstrap = DEFAULT,
) -> Estimate:
    """Which class's text a class's images are nearest to: zero-shot CLIP's confusion matrix, as shares of each row.

    Args:
        features: ``(N, D)``.
        texts: ``(C, D)``, one feature a class.
        labels: ``(N,)``.
        bootstrap: How intervals are drawn.

    Returns:
        ``(C, C)`` in 0..1, rows true classes, each summing to one. The first of equally near texts wins.

    Raises:
        UserError: If shapes do not fit, or a class has no sample.
    """
    unit, truth, classes = checked(features, labels, len(texts))
    nearest = (unit @ unit_rows(texts, "texts").T).argmax(axis=1)
    return estimate(lambda counts: class_means(counts, truth, np.eye(classes)[nearest], classes), truth, bootstrap)


def text_scores(features: Array, texts: Array) -> np.ndarray:
    """Cosines ``(N, C)`` of images ``(N, D)`` with texts ``(C, D)``."""
    return unit_rows(features, "features") @ unit_rows(texts, "texts").T


def centroid_scores(features: Array, labels: Array) -> np.ndarray:
    """Cosines of each sample with the classes' mean features, its own left out of its class's: ``(N, C)``.

    Beside :func:`text_scores` they tell entanglement of the images from a bad fit of images and texts.

    Raises:
        UserError: If shapes do not fit, or a class has fewer than two samples.
    """
    unit, truth, classes = checked(features, labels)
    if np.bincount(truth).min() < 2:
        raise UserError("expected at least two samples a class, got one alone; raise the data's limit")
    sums = np.eye(classes)[truth].T @ unit  # (C, D)
    scores = unit @ normalised(sums).T
    others = normalised(sums[truth] - unit)
    scores[np.arange(len(truth)), truth] = (unit * others).sum(axis=1)
    return scores


def probe(
    features: Array,
    labels: Array,
    kind: Literal["linear", "neighbours"] = "linear",
    *,
    groups: Array | None = None,
    folds: int = 5,
    neighbours: int = 15,
    seed: int = 0,
) -> np.ndarray:
    """What a simple classifier can read from the features, cross-validated: every sample is scored by a fit without it.

    ``linear`` is multinomial logistic regression (Radford et al., 2021, section 3.2) at its default strength;
    ``neighbours`` votes among the K nearest samples of the other folds.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)``.
        kind: Which classifier.
        groups: ``(N,)`` subjects; none of them is on both sides of a fold. None: folds are drawn over samples.
        folds: Number of folds, at least 2.
        neighbours: K of the second kind, at most the samples that the smallest fit has.
        seed: Of the folds.

    Returns:
        Class probabilities ``(N, C)``, for :func:`balanced_accuracy` and :func:`pair_confusion`.

    Raises:
        UserError: If shapes do not fit, the kind is unknown, a class has fewer samples or people than there are folds,
            or K is too large.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    unit, truth, classes = checked(features, labels)
    subjects = None if groups is None else plain(groups)
    if subjects is not None and subjects.shape != truth.shape:
        raise UserError(f"groups: expected {len(truth)}, got shape {subjects.shape}; one a sample")
    of_class = [np.flatnonzero(truth == label) for label in range(classes)]
    who = "samples" if subjects is None else "people"
    rarest = min(len(own if subjects is None else np.unique(subjects[own])) for own in of_class)
    if not 2 <= folds <= rarest:
        raise UserError(f"folds: expected 2 to {rarest}, the rarest class's {who}, got {folds}; take fewer")
    known = {"linear": LogisticRegression(max_iter=1000), "neighbours": KNeighborsClassifier(neighbours)}
    if kind not in known:
        raise unknown("probe", kind, known)
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    folded = list(splitter(folds, shuffle=True, random_state=seed).split(unit, truth, subjects))
    fewest = min(len(fitted) for fitted, _ in folded)
    if kind == "neighbours" and not 1 <= neighbours <= fewest:
        raise UserError(f"neighbours: expected 1 to {fewest}, got {neighbours}; take fewer, or more samples")
    said = cross_val_predict(known[kind], unit, truth, cv=folded, method="predict_proba")
    return np.asarray(said)


def balanced_accuracy(scores: Array, labels: Array, bootstrap: Bootstrap = DEFAULT) -> Estimate:
    """Mean recall of the classes (UAR) by the highest score: a single number in 0..1, 1 / C by chance.

    Args:
        scores: ``(N, C)``, such as a :func:`probe`'s.
        labels: ``(N,)``.
        bootstrap: How the interval is drawn.

    Raises:
        UserError: If shapes do not fit, or a class has no sample.
    """
    points, truth, classes = scored(scores, labels)
    right = (points.argmax(axis=1) == truth)[:, None]
    return estimate(lambda counts: class_means(counts, truth, right, classes).mean(axis=(1, 2)), truth, bootstrap)


def pair_confusion(
    scores: Array, labels: Array, bootstrap: Bootstrap = DEFAULT, any_threshold: bool = False
) -> Estimate:
    """How little two classes can be told apart when only they are to choose from.

    For classes a and b this is the sum of two error rates: of a's samples, the share with a higher score for b than for
    a, and the other way round; equal scores count half. It is twice the balanced error of the two-way choice. Third
    classes have no part in it, and it does not matter which of the two a model prefers: one that calls all fear and all
    surprise "fear" gets 1, as the opposite one does. That it prefers one counts, though: a constant added to one
    class's scores, such as a common class has after training, raises it up to 1 though the two may be kept apart.

    Args:
        scores: ``(N, C)`` of any classifier: logits, cosines, probabilities. Probabilities near 0 and 1 are given as
            logits or logarithms: those of two classes that differ by less than a billionth are equal.
        labels: ``(N,)``.
        bootstrap: How intervals are drawn.
        any_threshold: Whether such constants shall not count: the measure is then 2 (1 - AUC) of the difference of the
            two scores (Hanley and McNeil, 1982), the mean over all pairs of an a and a b of how often the b looks more
            like an a than the a does.

    Returns:
        ``(C, C)``, symmetric with ones on the diagonal, in 0..2: 0 told apart without an error, 1 indistinguishable,
        2 each taken for the other.

    Raises:
        UserError: If shapes do not fit, or a class has no sample.
    """
    points, truth, _ = scored(scores, labels)
    return estimate(_confused(points, truth, any_threshold), truth, bootstrap)


def entanglement_index(
    scores: Array,
    labels: Array,
    pairs: Sequence[tuple[int, int]],
    bootstrap: Bootstrap = DEFAULT,
    any_threshold: bool = False,
) -> Estimate:
    """How much more the look-alikes are confused than all other pairs: a single number.

    The mean :func:`pair_confusion` of the look-alike pairs minus that of all other pairs; the measure is ours. 1 means
    that look-alikes are indistinguishable while everything else is told apart. 0 means that look-alikes are confused no
    more than others, be it that all is told apart or that nothing is: an untrained model is ignorant, not entangled,
    and a plain error rate would not tell the two from one another.

    Args:
        scores: ``(N, C)``; :func:`text_scores`, :func:`centroid_scores`, a method's logits. As of
            :func:`pair_confusion`, probabilities near 0 and 1 are given as logits or logarithms.
        labels: ``(N,)``.
        pairs: Look-alike classes as positions; see :func:`positions`.
        bootstrap: How the interval is drawn.
        any_threshold: As of :func:`pair_confusion`: whether a preference for one of two classes shall not count.

    Raises:
        UserError: If shapes do not fit, a class has no sample, or pairs are none, all, or not of two classes.
    """
    points, truth, classes = scored(scores, labels)
    alike = np.zeros((classes, classes), dtype=bool)
    for first, second in pairs:
        if first == second or not (0 <= first < classes and 0 <= second < classes):
            raise UserError(f"pairs: expected two classes of 0..{classes - 1}, got {(first, second)}; use positions()")
        alike[min(first, second), max(first, second)] = True
    other = ~alike & np.triu(np.ones_like(alike), 1)
    if not alike.any() or not other.any():
        raise UserError("pairs: expected some look-alikes and some others, got none of one kind; name fewer or more")
    confused = _confused(points, truth, any_threshold)

    def index(counts: np.ndarray) -> np.ndarray:
        both = confused(counts)
        return both[:, alike].mean(axis=1) - both[:, other].mean(axis=1)

    return estimate(index, truth, bootstrap)


def distances(vectors: Array, metric: Literal["euclidean", "cosine"] = "euclidean") -> np.ndarray:
    """Distances between the classes' vectors, such as action-unit prototypes: ``(C, A)`` to ``(C, C)``.

    Args:
        vectors: ``(C, A)``.
        metric: ``euclidean`` in the vectors' own unit, or ``cosine`` in 0..2. A vector of zeros has no direction
            (neutral shows no unit): its cosine distance to all others is 1.

    Raises:
        UserError: For an unknown metric.
    """
    rows = plain(vectors).astype(np.float64)
    if metric == "euclidean":
        return np.linalg.norm(rows[:, None] - rows[None], axis=-1)
    if metric == "cosine":
        norm = np.linalg.norm(rows, axis=1, keepdims=True)
        unit = np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)
        return np.where(np.eye(len(rows), dtype=bool), 0.0, 1.0 - unit @ unit.T)
    raise unknown("metric", metric, ("euclidean", "cosine"))


def distance_correlation(
    scores: Array,
    labels: Array,
    distance: Array,
    bootstrap: Bootstrap = DEFAULT,
    permutations: int = 9999,
) -> Correlation:
    """Whether classes that lie near one another are confused: Spearman's rho of pair confusion and distance.

    The p-value is that of the two-sided Mantel test (1967): pairs that share a class are not independent, so classes
    are shuffled, rows and columns together, and not pairs.

    Noise in the confusions weakens the correlation, the more the fewer samples a class has, and drawing samples again
    adds as much again: percentiles of what is drawn would lie too near to zero. The interval is the basic bootstrap's
    on Fisher's scale, atanh rho, which mirrors them about the estimate (Davison and Hinkley, 1997, section 5.2),
    widened to the estimate where it does not hold it.

    Args:
        scores: ``(N, C)``, as :func:`pair_confusion` takes them.
        labels: ``(N,)``.
        distance: ``(C, C)`` symmetric, such as :func:`distances`.
        bootstrap: How the interval is drawn; its seed also draws the permutations.
        permutations: Number of shuffles; the p-value is never below ``1 / (permutations + 1)``.

    Returns:
        Rho is negative where near classes are confused most.

    Raises:
        UserError: If shapes do not fit, a class has no sample, or there are fewer than four classes.
    """
    points, truth, classes = scored(scores, labels)
    far = plain(distance).astype(np.float64)
    if far.shape != (classes, classes):
        raise UserError(f"distance: expected shape {(classes, classes)}, got {far.shape}; one row and column a class")
    if classes < 4:
        raise UserError(f"expected at least four classes for a permutation test, got {classes}; use more")
    upper = np.triu_indices(classes, 1)
    confused = _confused(points, truth, any_threshold=False)

    def fisher(counts: np.ndarray) -> np.ndarray:
        rho = _spearman(confused(counts)[:, upper[0], upper[1]], far[upper])
        return np.arctanh(np.clip(rho, -_NEAR_ONE, _NEAR_ONE))

    drawn = estimate(fisher, truth, bootstrap).at()
    whole = confused(np.ones((1, len(truth))))[0]
    value = float(_spearman(whole[upper][None], far[upper])[0])
    low, high = (float(np.tanh(2 * drawn.value - end)) for end in (drawn.high, drawn.low))
    random = np.random.default_rng(bootstrap.seed)
    shuffled = random.permuted(np.tile(np.arange(classes), (permutations, 1)), axis=1)  # (P, C)
    chance = _spearman(whole[shuffled[:, upper[0]], shuffled[:, upper[1]]], far[upper])
    # Rounding must not decide whether a shuffle that gives the same matrix again counts.
    extreme = int((np.abs(chance) >= abs(value) - 1e-12).sum())
    return Correlation(value, min(low, value), max(high, value), (extreme + 1) / (permutations + 1))


def positions(classes: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    """Pairs of class names as pairs of their positions; a pair with a class that is not there is left out."""
    place = {name: position for position, name in enumerate(classes)}
    return [(place[first], place[second]) for first, second in pairs if first in place and second in place]


def _beats(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """``(N, C)``: 1 where a class scores higher than the true one, a half where equal, as the true one with itself."""
    gain = scores - scores[np.arange(len(truth)), truth][:, None]
    return np.where(np.abs(gain) <= _rounding(scores), 0.5, gain > 0)


def _rounding(scores: np.ndarray) -> float:
    """What two scores may differ by and be equal: rounding must not decide between equal texts."""
    return 1e-9 * max(1.0, float(np.abs(scores).max()))


def _confused(scores: np.ndarray, truth: np.ndarray, any_threshold: bool) -> Callable[[np.ndarray], np.ndarray]:
    """What gives pair confusion ``(R, C, C)`` of counts ``(R, N)``."""
    if any_threshold:
        return lambda counts: _overlap(counts, scores, truth)
    beats = _beats(scores, truth)

    def confused(counts: np.ndarray) -> np.ndarray:
        lost = class_means(counts, truth, beats, beats.shape[1])  # a row's samples that the column's class takes
        return lost + lost.swapaxes(1, 2)

    return confused


def _overlap(counts: np.ndarray, scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """``(R, C, C)`` of counts ``(R, N)``: 2 (1 - AUC) of the difference of two classes' scores."""
    classes, level = scores.shape[1], _rounding(scores)
    found = np.ones((len(counts), classes, classes))
    for a, b in combinations(range(classes), 2):
        members = np.flatnonzero((truth == a) | (truth == b))
        gain = scores[members, a] - scores[members, b]
        members = members[np.argsort(gain, kind="stable")]
        gain = np.sort(gain)
        starts = np.flatnonzero(np.diff(gain, prepend=-np.inf) > level)
        of_a, of_b = (
            np.add.reduceat(counts[:, members] * (truth[members] == label), starts, axis=1) for label in (a, b)
        )
        above = of_b.sum(axis=1, keepdims=True) - of_b.cumsum(axis=1) + of_b / 2  # b's that look more like an a
        lost = (of_a * above).sum(axis=1) / (of_a.sum(axis=1) * of_b.sum(axis=1))
        found[:, a, b] = found[:, b, a] = 2 * lost
    return found


def _spearman(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Rank correlation of each row ``(R, K)`` with the reference ``(K,)``; 0 for a row without any order."""
    ranks = stats.rankdata(rows, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    other = stats.rankdata(reference)
    other -= other.mean()
    scale = np.sqrt(np.square(ranks).sum(axis=1) * np.square(other).sum())
    return np.divide(ranks @ other, scale, out=np.zeros(len(rows)), where=scale > 0)
