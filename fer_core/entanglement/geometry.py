"""How classes lie in the joint space: angles, neighbourhoods, gap, alignment and uniformity."""

import numpy as np

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
    unit_rows,
)
from fer_core.errors import UserError

_ROWS = 256  # of a matrix of all pairs, filled at once


def class_similarity(features: Array, labels: Array, bootstrap: Bootstrap = DEFAULT) -> Estimate:
    """Cosines of the classes' mean features: 1 where two classes lie in one direction, 0 at a right angle.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)`` integers 0..C-1.
        bootstrap: How intervals are drawn.

    Returns:
        ``(C, C)`` in -1..1.

    Raises:
        UserError: If features and labels do not fit, or a class has no sample.
    """
    unit, truth, classes = checked(features, labels)

    def cosines(counts: np.ndarray) -> np.ndarray:
        centroids = normalised(class_means(counts, truth, unit, classes))  # (R, C, D)
        return centroids @ centroids.swapaxes(1, 2)

    return estimate(cosines, truth, bootstrap)


def text_similarity(texts: Array) -> np.ndarray:
    """Cosines of the classes' text features ``(C, D)``: ``(C, C)`` in -1..1.

    There is no interval, as nothing is sampled.

    Raises:
        UserError: If a feature is not finite or has no length.
    """
    unit = unit_rows(texts, "texts")
    return unit @ unit.T


def neighbour_mixing(
    features: Array, labels: Array, neighbours: int = 15, bootstrap: Bootstrap = DEFAULT, groups: Array | None = None
) -> Estimate:
    """How often a sample's nearest neighbours belong to another class, relative to a set without any structure.

    The share of class b among the K nearest others (by cosine) of class a's samples, divided by b's share of all
    others: the counts of Schilling's nearest-neighbour test (1986), by class and relative to their expectation.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)``.
        neighbours: K, below N.
        bootstrap: How intervals are drawn.
        groups: ``(N,)`` subjects: others are then samples of other people, as a person's own pictures are alike in more
            than the expression. None: all other samples.

    Returns:
        ``(C, C)``, rows the classes whose neighbours are looked at. 1 is what shuffled labels give, 0 a class that
        never comes near; the most is the inverse of b's share.

    Raises:
        UserError: If shapes do not fit, a class has fewer than two samples or people, or K is not in 1..the number of
            others.
    """
    from sklearn.neighbors import NearestNeighbors

    unit, truth, classes = checked(features, labels)
    own = np.arange(len(unit)) if groups is None else np.unique(plain(groups), return_inverse=True)[1]
    if own.shape != truth.shape:
        raise UserError(f"groups: expected {len(truth)}, got shape {own.shape}; one a sample")
    one_hot = np.eye(classes)[truth]
    of_group = np.zeros((own.max() + 1, classes))
    np.add.at(of_group, own, one_hot)
    others = one_hot.sum(axis=0) - of_group[own]  # (N, C)
    fewest = int(others.sum(axis=1).min())
    if not 1 <= neighbours <= fewest:
        raise UserError(f"neighbours: expected 1 to {fewest}, got {neighbours}; take fewer, or more samples")
    if others.min() < 1:
        who = "samples" if groups is None else "people"
        raise UserError(f"expected at least two {who} a class, got one alone; raise the data's limit")
    # On the unit sphere Euclidean distances have the order of cosines. Asked for no points of its own, the search
    # leaves each sample out of its own neighbours; with the largest group more, K others are always among them.
    asked = min(neighbours + int(of_group.sum(axis=1).max()) - 1, len(unit) - 1)
    near = NearestNeighbors(n_neighbors=asked).fit(unit).kneighbors(return_distance=False)
    strange = own[near] != own[:, None]
    nearest = strange & (strange.cumsum(axis=1) <= neighbours)
    share = np.stack([(nearest & (truth[near] == label)).sum(axis=1) for label in range(classes)], 1) / neighbours
    expected = others / others.sum(axis=1, keepdims=True)

    def mixing(counts: np.ndarray) -> np.ndarray:
        return class_means(counts, truth, share, classes) / class_means(counts, truth, expected, classes)

    return estimate(mixing, truth, bootstrap)


def silhouette(features: Array, labels: Array, bootstrap: Bootstrap = DEFAULT) -> Estimate:
    """Mean silhouette (Rousseeuw, 1987) with cosine distance: a single number in -1..1.

    1 means that classes are tight and far apart, 0 that they overlap, less that samples lie nearer to another class.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)``, at least two classes.
        bootstrap: How the interval is drawn.

    Raises:
        UserError: If shapes do not fit, a class has no sample, or there is one class only.
    """
    from sklearn.metrics import silhouette_samples

    unit, truth, classes = checked(features, labels)
    if not 2 <= classes < len(unit):
        raise UserError(
            f"silhouette: expected at least two classes and more samples, got {classes} of {len(unit)}; pass more"
        )
    each = np.asarray(silhouette_samples(unit, truth, metric="cosine"))
    return estimate(lambda counts: counts @ each / len(each), truth, bootstrap)


def modality_gap(features: Array, texts: Array, labels: Array, bootstrap: Bootstrap = DEFAULT) -> Estimate:
    """Length of the vector from the texts' mean to the images' mean (Liang et al., 2022, section 4.2), in 0..2.

    Args:
        features: ``(N, D)`` of images.
        texts: ``(M, D)`` of any number of texts: captions or class prompts.
        labels: ``(N,)`` of the images, as strata.
        bootstrap: How the interval is drawn, over images.

    Raises:
        UserError: If shapes do not fit, or a class has no sample.
    """
    unit, truth, _ = checked(features, labels)
    target = unit_rows(texts, "texts").mean(axis=0)
    return estimate(lambda counts: np.linalg.norm(counts @ unit / len(unit) - target, axis=1), truth, bootstrap)


def alignment(features: Array, partners: Array, labels: Array, bootstrap: Bootstrap = DEFAULT) -> Estimate:
    """Mean squared distance of positive pairs (Wang and Isola, 2020, section 4.1, alpha = 2), in 0..4; 0 is perfect.

    Args:
        features: ``(N, D)`` of images.
        partners: ``(N, D)`` of what each belongs to: its caption, or its class's text (``texts[labels]``).
        labels: ``(N,)``, as strata.
        bootstrap: How the interval is drawn.

    Raises:
        UserError: If shapes do not fit, or a class has no sample.
    """
    unit, truth, _ = checked(features, labels)
    other = unit_rows(partners, "partners")
    if other.shape != unit.shape:
        raise UserError(f"partners: expected shape {unit.shape}, got {other.shape}; pass one row a sample")
    each = np.square(unit - other).sum(axis=1)
    return estimate(lambda counts: counts @ each / len(each), truth, bootstrap)


def uniformity(features: Array, labels: Array, bootstrap: Bootstrap = DEFAULT) -> Estimate:
    """Logarithm of the mean Gaussian potential of all pairs (Wang and Isola, 2020, section 4.1, t = 2), in -8..0.

    0 where all features lie in one point; the more evenly they cover the sphere, the lower. A bootstrap sample that
    holds nothing but copies of one sample (of one class of two, say) has no pair: it counts as the estimate.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)``, as strata.
        bootstrap: How the interval is drawn.

    Raises:
        UserError: If shapes do not fit, there are fewer than two samples, or a class has none.
    """
    unit, truth, _ = checked(features, labels)
    if len(unit) < 2:
        raise UserError("uniformity: expected at least two samples, got one; raise the data's limit")
    # Single precision halves the time of the (R, N) by (N, N) product and loses nothing that an interval shows. Rows
    # are filled some at a time, as each step of the formula takes a matrix in double precision.
    potential = np.empty((len(unit), len(unit)), dtype=np.float32)
    for start in range(0, len(unit), _ROWS):
        rows = slice(start, start + _ROWS)
        potential[rows] = np.exp(-4.0 * (1.0 - unit[rows] @ unit.T))  # |x - y|^2 = 2 - 2 cos
    np.fill_diagonal(potential, 0.0)  # neither with itself nor with its own copies is a sample a pair
    whole = potential.sum(dtype=np.float64) / (len(unit) * (len(unit) - 1))

    def logarithm(counts: np.ndarray) -> np.ndarray:
        drawn = counts.astype(np.float32)
        together = (drawn @ potential * drawn).sum(axis=1, dtype=np.float64)
        pairs = counts.sum(axis=1) ** 2 - np.square(counts).sum(axis=1)
        return np.log(np.divide(together, pairs, out=np.full(len(counts), whole), where=pairs > 0))

    return estimate(logarithm, truth, bootstrap)
