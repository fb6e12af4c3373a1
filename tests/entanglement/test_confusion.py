"""Confusions against naive versions, closed forms and what must not change them."""

import itertools

import numpy as np
import pytest
from scipy import special, stats
from sklearn import metrics as sk

from fer_core import entanglement, metrics
from fer_core.entanglement import Bootstrap, confusion
from fer_core.errors import UserError
from fer_core.faces import expressions

FEW = Bootstrap(resamples=40)
TEN = np.minimum(np.arange(60) % 15, 9)  # people, of whom one has more than a fifth of the samples


@pytest.fixture
def noisy(clusters):
    """Scores and labels of four classes that are confused at random."""
    features, labels = clusters(np.eye(4), size=15, noise=0.6)
    return entanglement.text_scores(features, np.eye(4)), labels


def test_text_confusion_is_zero_shot_confusion(clusters):
    features, labels = clusters(np.eye(3), noise=0.7)
    texts = np.eye(3) + 0.2
    found = entanglement.image_text_confusion(features, texts, labels)
    scores = entanglement.text_scores(features, texts)
    matrix = metrics.confusion(labels, scores, 3)
    assert found.value == pytest.approx(matrix / matrix.sum(axis=1, keepdims=True))
    assert 0 < found.value[0, 0] < 1
    assert found.low[0, 0] < found.value[0, 0] < found.high[0, 0]


def test_text_scores_are_cosines():
    assert entanglement.text_scores([[3.0, 0.0], [1.0, 1.0]], [[0.0, 2.0]])[:, 0] == pytest.approx([0, np.sqrt(0.5)])


def test_centroids_leave_the_sample_out(clusters):
    features, labels = clusters(np.eye(3), size=5, noise=0.5)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    naive = np.zeros((15, 3))
    for i, c in itertools.product(range(15), range(3)):
        mean = np.mean([unit[j] for j in range(15) if labels[j] == c and j != i], axis=0)
        naive[i, c] = unit[i] @ mean / np.linalg.norm(mean)
    assert entanglement.centroid_scores(features, labels) == pytest.approx(naive)


def test_pair_confusion_counts_two_way_choices(noisy):
    scores, labels = noisy
    naive = np.zeros((4, 4))
    for i, label in enumerate(labels):
        for other in range(4):
            gain = scores[i, other] - scores[i, label]
            naive[label, other] += (0.5 if gain == 0 else float(gain > 0)) / 15
    found = entanglement.pair_confusion(scores, labels)
    assert found.value == pytest.approx(naive + naive.T)
    assert np.diag(found.value) == pytest.approx(np.ones(4))
    assert (found.low <= found.value).all()
    assert (found.value <= found.high).all()


def test_without_a_threshold_it_is_the_area_under_the_curve(noisy):
    scores, labels = noisy
    found = entanglement.pair_confusion(scores.round(1), labels, any_threshold=True)  # rounded, so that some are equal
    for a, b in itertools.combinations(range(4), 2):
        members = (labels == a) | (labels == b)
        gain = (scores.round(1)[:, a] - scores.round(1)[:, b]).round(1)[members]
        assert found.value[a, b] == pytest.approx(2 - 2 * sk.roc_auc_score(labels[members] == a, gain))
    assert found.value == pytest.approx(found.value.T)
    assert np.diag(found.value) == pytest.approx(np.ones(4))
    assert (found.low <= found.value).all()
    assert (found.value <= found.high).all()


def test_draws_of_it_are_what_copies_of_samples_give(noisy):
    scores, labels = noisy
    counts = np.random.default_rng(0).integers(1, 4, len(labels))
    copied = entanglement.pair_confusion(np.repeat(scores, counts, 0), np.repeat(labels, counts), any_threshold=True)
    drawn = confusion._overlap(np.stack([np.ones_like(counts), counts]).astype(float), scores, labels)
    assert drawn[1] == pytest.approx(copied.value)
    assert drawn[0] == pytest.approx(entanglement.pair_confusion(scores, labels, any_threshold=True).value)


def test_a_preference_counts_only_where_the_threshold_is_fixed(noisy):
    scores, labels = noisy
    preferred = scores + np.array([0, 0, 5, 0])  # one class always wins
    pairs = [(0, 2)]
    assert entanglement.pair_confusion(preferred, labels, FEW).value[2, [0, 1, 3]] == pytest.approx(np.ones(3))
    both = [entanglement.pair_confusion(each, labels, FEW, any_threshold=True).value for each in (scores, preferred)]
    assert both[0] == pytest.approx(both[1])
    index = [entanglement.entanglement_index(each, labels, pairs, FEW, True).at() for each in (scores, preferred)]
    assert index[0].value == pytest.approx(index[1].value)
    assert index[0].value == pytest.approx(both[0][0, 2] - both[0][np.triu_indices(4, 1)][[0, 2, 3, 4, 5]].mean())


@pytest.mark.parametrize("winner", [0, 1])
def test_a_model_that_sees_one_of_two_confuses_them_fully_whichever_wins(winner):
    labels = np.repeat([0, 1, 2], 4)
    scores = np.eye(3)[labels]
    scores[:8] = np.eye(3)[winner] - [0, 0, 1]
    found = entanglement.pair_confusion(scores, labels, FEW).value
    assert found.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_swapped_classes_score_two():
    labels = np.repeat([0, 1, 2], 4)
    assert entanglement.pair_confusion(np.eye(3)[[1, 0, 2]][labels], labels, FEW).value[0, 1] == 2


@pytest.mark.parametrize("any_threshold", [False, True])
def test_saturated_scores_tell_classes_apart_as_logits_or_logarithms(any_threshold):
    labels, logits = np.arange(3), np.array([[5.0, 0, 40], [0, 5, 40], [0, 0, 40]])
    for scores in (logits, special.log_softmax(logits, axis=1)):
        assert entanglement.pair_confusion(scores, labels, FEW, any_threshold).value[0, 1] == 0
    # As probabilities all but the third are equal to rounding, as the docstring says.
    probabilities = special.softmax(logits, axis=1)
    assert entanglement.pair_confusion(probabilities, labels, FEW, any_threshold).value[0, 1] == 1


@pytest.mark.parametrize("scores", ["texts", "centroids"])
def test_index_is_zero_for_right_angles_and_one_for_identical_look_alikes(scores, clusters):
    def index(directions):
        features, labels = clusters(directions)
        texts = np.asarray(directions)
        made = (
            entanglement.text_scores(features, texts)
            if scores == "texts"
            else entanglement.centroid_scores(features, labels)
        )
        return entanglement.entanglement_index(made, labels, [(0, 1), (3, 2)], FEW).at()

    right_angles, identical = index(np.eye(4)), index(np.eye(4)[[0, 0, 2, 2]])
    assert (right_angles.value, right_angles.low, right_angles.high) == (0, 0, 0)
    assert (identical.value, identical.low, identical.high) == (1, 1, 1)
    # Nothing told apart at all: ignorance, not entanglement.
    assert index(np.ones((4, 4))).value == 0


def test_index_is_the_difference_of_two_means(noisy):
    scores, labels = noisy
    confusion = entanglement.pair_confusion(scores, labels, FEW).value
    others = [confusion[pair] for pair in itertools.combinations(range(4), 2) if pair not in ((0, 2), (1, 3))]
    expected = (confusion[0, 2] + confusion[1, 3]) / 2 - np.mean(others)
    found = entanglement.entanglement_index(scores, labels, [(2, 0), (1, 3)]).at()
    assert found.value == pytest.approx(expected)
    assert found.low < found.value < found.high


def test_index_does_not_know_the_order_of_samples_or_names(noisy):
    scores, labels = noisy
    order = np.random.default_rng(0).permutation(len(labels))
    renamed = np.array([2, 0, 3, 1])
    moved = np.empty_like(scores)
    moved[:, renamed] = scores
    one = entanglement.entanglement_index(scores, labels, [(0, 1)], FEW).at()
    other = entanglement.entanglement_index(moved[order], renamed[labels][order], [(2, 0)], FEW).at()
    assert other.value == pytest.approx(one.value)


@pytest.mark.parametrize("pairs", [[], [(0, 0)], [(0, 4)], list(itertools.combinations(range(4), 2))])
def test_pairs_that_make_no_comparison_are_refused(pairs, noisy):
    with pytest.raises(UserError, match="pairs: expected"):
        entanglement.entanglement_index(*noisy, pairs)


@pytest.mark.parametrize("kind", ["linear", "neighbours"])
def test_a_probe_reads_clusters_and_nothing_out_of_noise(kind, clusters):
    features, labels = clusters(np.eye(3), size=20, noise=0.1)
    read = entanglement.probe(features, labels, kind, neighbours=5)
    assert read.shape == (60, 3)
    assert entanglement.balanced_accuracy(read, labels, FEW).at().value == 1
    # Scored by a fit without them, shuffled labels cannot be learnt.
    shuffled = np.random.default_rng(0).permutation(labels)
    noise = entanglement.balanced_accuracy(entanglement.probe(features, shuffled, kind, neighbours=5), shuffled, FEW)
    assert noise.at().value < 0.55


def test_subjects_are_never_on_both_sides(clusters):
    # Features tell subjects apart, and a subject's label: only knowing the subject would help.
    features, _ = clusters(np.eye(12), size=10, noise=0.05)
    subjects, labels = np.repeat(np.arange(12), 10), np.repeat(np.tile([0, 1], 6), 10)
    free = entanglement.probe(features, labels, seed=1)
    held = entanglement.probe(features, labels, groups=subjects, folds=3, seed=1)
    assert entanglement.balanced_accuracy(free, labels, FEW).at().value == 1
    assert entanglement.balanced_accuracy(held, labels, FEW).at().value < 0.75


def test_the_most_neighbours_are_the_samples_of_the_smallest_fit(noisy):
    said = entanglement.probe(*noisy, "neighbours", neighbours=48)
    assert said == pytest.approx(np.full((60, 4), 0.25))  # all others, of every class as many


def test_balanced_accuracy_is_the_mean_recall():
    labels = np.array([0] * 9 + [1])
    scores = np.eye(2)[np.zeros(10, dtype=int)]
    assert entanglement.balanced_accuracy(scores, labels, FEW).at().value == 0.5


def test_distances_of_classes():
    vectors = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    euclidean = entanglement.distances(vectors)
    assert euclidean[1] == pytest.approx([1, 0, np.sqrt(5), 2])
    cosine = entanglement.distances(vectors, "cosine")
    assert cosine == pytest.approx(np.array([[0, 1, 1, 1], [1, 0, 1, 0], [1, 1, 0, 1], [1, 0, 1, 0]]))


def test_look_alikes_are_near_in_action_units():
    classes = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
    distance = entanglement.distances(expressions.prototypes(classes))
    pairs = entanglement.positions(classes, expressions.LOOK_ALIKES)
    alike = np.mean([distance[pair] for pair in pairs])
    assert alike < np.mean(distance[np.triu_indices(8, 1)])


def test_positions_leave_out_what_a_data_set_does_not_have():
    assert entanglement.positions(("fear", "anger", "surprise"), expressions.LOOK_ALIKES) == [(0, 2)]


def test_confusion_that_falls_with_distance_has_a_correlation_of_minus_one():
    # On a line, the farther apart two classes are the fewer of their ten samples are taken for one another.
    place = np.array([0.0, 1.0, 2.9, 6.1])
    distance = np.abs(place[:, None] - place)
    rank = stats.rankdata(distance[np.triu_indices(4, 1)]).astype(int)
    labels = np.repeat(np.arange(4), 10)
    scores = np.full((40, 4), 0.5)
    scores[np.arange(40), labels] = 1
    for (a, b), far in zip(itertools.combinations(range(4), 2), rank, strict=True):
        scores[labels == a, b] = np.where(np.arange(10) < 8 - far, 2.0, 0.0)
    found = entanglement.distance_correlation(scores, labels, distance, permutations=2000)
    assert found.value == pytest.approx(-1)
    assert found.low == pytest.approx(-1, abs=0.05)
    # Of the 24 orders of four classes only this one gives it.
    assert found.p_value == pytest.approx(1 / 24, abs=0.015)


def test_correlation_is_spearmans_and_unrelated_distances_have_none(noisy):
    scores, labels = noisy
    confused = entanglement.pair_confusion(scores, labels, FEW).value
    distance = np.random.default_rng(5).uniform(size=(4, 4))
    distance = distance + distance.T
    upper = np.triu_indices(4, 1)
    found = entanglement.distance_correlation(scores, labels, distance, permutations=500)
    assert found.value == pytest.approx(stats.spearmanr(confused[upper], distance[upper]).statistic)
    assert found.low <= found.value <= found.high
    assert found.p_value > 0.05


def test_the_correlations_interval_mirrors_what_drawing_again_gives(noisy):
    scores, labels = noisy
    distance = np.abs(np.subtract.outer(np.arange(4.0), [0, 1.1, 2.3, 3.6]))
    upper = np.triu_indices(4, 1)
    random = np.random.default_rng(FEW.seed)
    rho = []
    drawn = np.stack([random.multinomial(15, np.full(15, 1 / 15), FEW.resamples) for _ in range(4)], 1)
    for counts in drawn.reshape(FEW.resamples, -1):
        again = entanglement.pair_confusion(np.repeat(scores, counts, 0), np.repeat(labels, counts), Bootstrap(2)).value
        rho.append(stats.spearmanr(again[upper], distance[upper]).statistic)
    found = entanglement.distance_correlation(scores, labels, distance, FEW, permutations=1)
    mirrored = np.tanh(2 * np.arctanh(found.value) - np.quantile(np.arctanh(rho), [0.975, 0.025]))
    assert found.low == pytest.approx(min(mirrored[0], found.value))
    assert found.high == pytest.approx(max(mirrored[1], found.value))


def test_mantel_looks_to_both_sides_and_never_says_never():
    random = np.random.default_rng(0)
    labels, scores = np.repeat(np.arange(6), 5), random.normal(size=(30, 6))
    distance = np.abs(np.subtract.outer(*2 * [np.arange(6.0)]))
    one, other = (
        entanglement.distance_correlation(scores, labels, each, Bootstrap(resamples=2), permutations=99)
        for each in (distance, 9 - distance)
    )
    assert (other.value, other.p_value) == (pytest.approx(-one.value), one.p_value)
    confused = entanglement.pair_confusion(scores, labels, Bootstrap(resamples=2)).value
    equal = entanglement.distance_correlation(scores, labels, confused, Bootstrap(resamples=2), permutations=9)
    assert (equal.value, equal.p_value) == (pytest.approx(1.0), 0.1)


def test_mantel_keeps_its_level():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 5)
    small = 0
    for _ in range(60):
        distance = np.abs(np.subtract.outer(*2 * [random.normal(size=6)]))
        scores = random.normal(size=(30, 6))
        found = entanglement.distance_correlation(scores, labels, distance, Bootstrap(resamples=2), permutations=199)
        small += found.p_value <= 0.1
    # 6 are expected; 13 or more have a chance of under one in two hundred.
    assert small <= 12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, y: entanglement.distance_correlation(s, y, np.eye(3)), r"distance: expected shape \(4, 4\)"),
        (lambda s, y: entanglement.distance_correlation(s[:45, :3], y[:45], np.eye(3)), "at least four classes"),
        (lambda s, y: entanglement.distances(s, "cosin"), "unknown metric 'cosin'; did you mean 'cosine'"),
        (lambda s, y: entanglement.probe(s, y, "linaer"), "did you mean 'linear'"),
        (lambda s, y: entanglement.probe(s, y, folds=16), "folds: expected 2 to 15, the rarest class's samples"),
        (lambda s, y: entanglement.probe(s, y, groups=np.arange(60) % 15 // 4), "expected 2 to 4, .* people"),
        (lambda s, y: entanglement.probe(s, y, groups=y), "folds: expected 2 to 1, the rarest class's people, got 5"),
        (lambda s, y: entanglement.probe(s, y, groups=y[:3]), r"groups: expected 60, got shape \(3,\)"),
        (lambda s, y: entanglement.probe(s, y, "neighbours", neighbours=49), "neighbours: expected 1 to 48, got 49"),
        (lambda s, y: entanglement.probe(s, y, "neighbours", neighbours=0), "neighbours: expected 1 to 48, got 0"),
        (lambda s, y: entanglement.probe(s, y, "neighbours", neighbours=45, groups=TEN), "expected 1 to 36, got 45"),
        (lambda s, y: entanglement.centroid_scores(s[::15], y[::15]), "at least two samples a class"),
    ],
)
def test_what_does_not_fit_is_refused(call, message, noisy):
    with pytest.raises(UserError, match=message):
        call(*noisy)
