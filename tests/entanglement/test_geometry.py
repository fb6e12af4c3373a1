"""Measures of the space against naive versions, closed forms and what must not change them."""

import itertools
import tracemalloc

import numpy as np
import pytest

from fer_core import entanglement
from fer_core.entanglement import Bootstrap, estimates, geometry
from fer_core.errors import UserError

FEW = Bootstrap(resamples=40)
WITH_LABELS = {
    "class similarity": lambda x, y: entanglement.class_similarity(x, y, FEW).value,
    "mixing": lambda x, y: entanglement.neighbour_mixing(x, y, 4, FEW).value,
    "silhouette": lambda x, y: entanglement.silhouette(x, y, FEW).value,
    "gap": lambda x, y: entanglement.modality_gap(x, np.eye(x.shape[1])[:2], y, FEW).value,
    "uniformity": lambda x, y: entanglement.uniformity(x, y, FEW).value,
}


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("measure", WITH_LABELS.values(), ids=WITH_LABELS)
def test_neither_order_nor_lengths_matter(measure, clusters):
    features, labels = clusters(np.eye(4)[:3], noise=0.3)
    order = np.random.default_rng(1).permutation(len(labels))
    lengths = np.random.default_rng(2).uniform(0.1, 10, size=(len(labels), 1))
    assert measure(features[order] * lengths, labels[order]) == pytest.approx(measure(features, labels))


@pytest.mark.parametrize(
    "measure", [WITH_LABELS["class similarity"], WITH_LABELS["mixing"]], ids=["similarity", "mixing"]
)
def test_renaming_classes_renames_rows_and_columns(measure, clusters):
    features, labels = clusters([[1, 0, 0], [0.9, 0.4, 0], [0, 0, 1]], noise=0.2)
    renamed = np.array([2, 0, 1])
    assert measure(features, renamed[labels])[np.ix_(renamed, renamed)] == pytest.approx(measure(features, labels))


def test_class_similarity_is_that_of_the_mean_features(clusters):
    features, labels = clusters(np.eye(4)[:3], noise=0.5)
    means = [
        np.mean([row for row, label in zip(_unit(features), labels, strict=True) if label == c], 0) for c in range(3)
    ]
    naive = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in means] for a in means]
    found = entanglement.class_similarity(features, labels, FEW)
    assert found.value == pytest.approx(np.array(naive))
    off = ~np.eye(3, dtype=bool)
    assert (found.low[off] < found.value[off]).all()
    assert (found.value[off] < found.high[off]).all()


def test_right_angled_classes_have_no_similarity_and_equal_ones_all(clusters):
    features, labels = clusters([[1, 0], [0, 1], [1, 0]])
    expected = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    assert entanglement.class_similarity(features, labels, FEW).value == pytest.approx(expected)
    assert entanglement.text_similarity(5 * features[::12]) == pytest.approx(expected)


def test_mixing_counts_neighbours(clusters):
    features, labels = clusters([[1, 0, 0], [0.8, 0.5, 0], [0, 0, 1]], noise=0.35)
    unit, k, n = _unit(features), 5, len(labels)
    naive = np.zeros((3, 3))
    for i in range(n):
        near = sorted((j for j in range(n) if j != i), key=lambda j, i=i: -(unit[i] @ unit[j]))[:k]
        for j in near:
            naive[labels[i], labels[j]] += 1
    for a, b in itertools.product(range(3), repeat=2):
        among_others = (12 - (a == b)) / (n - 1)
        naive[a, b] /= 12 * k * among_others
    assert entanglement.neighbour_mixing(features, labels, k, FEW).value == pytest.approx(naive)


def test_nobody_is_their_own_neighbour(clusters):
    features, labels = clusters([[1, 0, 0], [0.8, 0.5, 0], [0, 0, 1]], noise=0.35)
    groups = np.random.default_rng(0).integers(0, 7, len(labels))  # people of different numbers of samples
    unit, k, n = _unit(features), 5, len(labels)
    counted, expected = np.zeros((3, 3)), np.zeros((3, 3))
    for i in range(n):
        others = [j for j in range(n) if groups[j] != groups[i]]
        for j in sorted(others, key=lambda j, i=i: -(unit[i] @ unit[j]))[:k]:
            counted[labels[i], labels[j]] += 1 / k
        for j in others:
            expected[labels[i], labels[j]] += 1 / len(others)
    found = entanglement.neighbour_mixing(features, labels, k, FEW, groups + 3)
    assert found.value == pytest.approx(counted / expected)
    with pytest.raises(UserError, match="expected at least two people a class"):
        entanglement.neighbour_mixing(features, labels, k, FEW, labels)
    with pytest.raises(UserError, match="groups: expected 36"):
        entanglement.neighbour_mixing(features, labels, k, FEW, groups[:3])


def test_mixing_is_none_for_tight_clusters_and_all_for_shuffled_labels(clusters):
    features, labels = clusters(np.eye(3), size=20, noise=0.02)
    tight = entanglement.neighbour_mixing(features, labels, 5, FEW).value
    assert tight == pytest.approx(np.eye(3) * 59 / 19)
    everyone = entanglement.neighbour_mixing(features, labels, 59, FEW).value
    assert everyone == pytest.approx(np.ones((3, 3)))
    shuffled = np.random.default_rng(0).permutation(labels)
    found = entanglement.neighbour_mixing(features, shuffled, 5)
    assert found.value == pytest.approx(np.ones((3, 3)), abs=0.5)
    assert ((found.low < 1) & (found.high > 1)).mean() > 0.7


def test_silhouette_of_tight_clusters_is_one_and_of_one_cluster_nothing(clusters):
    features, labels = clusters(np.eye(3))
    assert entanglement.silhouette(features, labels, FEW).at().value == pytest.approx(1.0)
    features, labels = clusters(np.ones((3, 3)), size=40, noise=0.2)
    assert entanglement.silhouette(features, labels, FEW).at().value == pytest.approx(0.0, abs=0.05)


def test_silhouette_equals_its_definition_on_cosine_distances(clusters):
    features, labels = clusters(np.eye(4)[:3], noise=0.6)
    apart = 1 - _unit(features) @ _unit(features).T
    each = []
    for place, label in enumerate(labels):
        others = (labels == label) & (np.arange(len(labels)) != place)
        own, near = apart[place, others].mean(), min(apart[place, labels == k].mean() for k in range(3) if k != label)
        each.append((near - own) / max(near, own))
    assert entanglement.silhouette(features, labels, FEW).at().value == pytest.approx(np.mean(each))


def test_gap_between_opposite_poles_is_two(clusters):
    features, labels = clusters([[1, 0], [1, 0]])
    assert entanglement.modality_gap(features, [[-3.0, 0.0]], labels, FEW).at().value == pytest.approx(2.0)
    assert entanglement.modality_gap(features, [[0.5, 0.0]], labels, FEW).at().value == pytest.approx(0.0)
    assert entanglement.modality_gap(features, np.eye(2), labels, FEW).at().value == pytest.approx(np.sqrt(0.5))


def test_alignment_is_the_mean_squared_distance_to_the_partner(clusters):
    features, labels = clusters(np.eye(3), noise=0.5)
    texts = np.eye(3)
    naive = np.mean([np.sum((_unit(features)[i] - texts[labels[i]]) ** 2) for i in range(len(labels))])
    assert entanglement.alignment(features, texts[labels], labels, FEW).at().value == pytest.approx(naive)
    assert entanglement.alignment(features, features, labels, FEW).at().value == 0
    assert entanglement.alignment(features, -features, labels, FEW).at().value == pytest.approx(4.0)


def test_uniformity_is_the_mean_potential_of_pairs(clusters):
    features, labels = clusters(np.eye(3), noise=0.5)
    unit = _unit(features)
    pairs = list(itertools.combinations(range(len(labels)), 2))
    naive = np.log(np.mean([np.exp(-2 * np.sum((unit[i] - unit[j]) ** 2)) for i, j in pairs]))
    assert entanglement.uniformity(features, labels, FEW).at().value == pytest.approx(naive, rel=1e-5)


def test_uniformity_of_one_point_is_zero_and_of_poles_known(clusters):
    point, labels = clusters([[1, 0]])
    assert entanglement.uniformity(point, labels, FEW).at().value == pytest.approx(0.0, abs=1e-6)
    poles, labels = np.array([[1.0, 0], [-1, 0]]), np.array([0, 0])
    assert entanglement.uniformity(poles, labels, Bootstrap(resamples=2)).value == pytest.approx(-8.0)


@pytest.mark.parametrize("rows", [1, 7, 256])
def test_uniformity_in_blocks_is_that_of_the_whole_matrix(rows, clusters, monkeypatch):
    monkeypatch.setattr(geometry, "_ROWS", rows)
    features, labels = clusters(np.eye(3), size=20, noise=0.5)
    potential = np.exp(-4.0 * (1.0 - _unit(features) @ _unit(features).T)).astype(np.float32)
    np.fill_diagonal(potential, 0.0)

    def logarithm(counts):
        together = (counts.astype(np.float32) @ potential * counts).sum(axis=1)
        return np.log(together / (counts.sum(axis=1) ** 2 - np.square(counts).sum(axis=1)))

    known, found = estimates.estimate(logarithm, labels, FEW).at(), entanglement.uniformity(features, labels, FEW).at()
    assert (found.value, found.low, found.high) == pytest.approx((known.value, known.low, known.high), rel=1e-6)


def test_uniformity_takes_no_matrix_of_all_pairs_in_double_precision():
    features, labels = np.random.default_rng(0).normal(size=(1500, 4)), np.zeros(1500, dtype=int)
    tracemalloc.start()
    entanglement.uniformity(features, labels, Bootstrap(resamples=2))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1.9 * 4 * 1500**2  # the matrix in single precision, and a block


@pytest.mark.parametrize("samples", [2, 3])
def test_draws_without_a_pair_count_as_the_estimate(samples):
    apart = np.eye(samples)  # at right angles, so that all pairs are alike
    found = entanglement.uniformity(apart, np.zeros(samples, dtype=int)).at()
    assert (found.value, found.low, found.high) == pytest.approx((-4, -4, -4))


def test_copies_in_a_draw_are_no_pairs():
    # With one sample a class a draw holds each once: the interval has no width.
    found = entanglement.uniformity(np.eye(3), np.arange(3), FEW).at()
    assert found.low == found.high == pytest.approx(-4.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: entanglement.neighbour_mixing(x, y, 36), "neighbours: expected 1 to 35, got 36"),
        (lambda x, y: entanglement.neighbour_mixing(x[[0, 12, 24]], y[[0, 12, 24]], 1), "at least two samples a class"),
        (lambda x, y: entanglement.silhouette(x, 0 * y), "silhouette: expected at least two classes"),
        (lambda x, y: entanglement.alignment(x, x[:3], y), r"partners: expected shape \(36, 3\), got \(3, 3\)"),
        (lambda x, y: entanglement.uniformity(x[:1], y[:1]), "uniformity: expected at least two samples"),
        (lambda x, y: entanglement.text_similarity(np.zeros((2, 2))), "texts: expected finite features"),
    ],
)
def test_what_does_not_fit_is_refused(call, message, clusters):
    with pytest.raises(UserError, match=message):
        call(*clusters(np.eye(3)))
