"""Intervals: stratified, seeded, with the coverage that they claim; and what is refused."""

import numpy as np
import pytest
import torch

from fer_core import entanglement
from fer_core.entanglement import Bootstrap, Estimate
from fer_core.entanglement.estimates import checked, class_means, estimate, scored
from fer_core.errors import UserError


def test_every_draw_keeps_the_size_of_each_class():
    truth = np.array([0, 1, 1, 2, 2, 2, 1, 0])
    seen = []
    estimate(lambda counts: seen.append(counts) or counts[:, 0], truth, Bootstrap(resamples=50))
    drawn, whole = seen
    assert drawn.shape == (50, 8)
    assert (whole == 1).all()
    for label, size in enumerate(np.bincount(truth)):
        assert (drawn[:, truth == label].sum(axis=1) == size).all()
    assert len(np.unique(drawn, axis=0)) > 25


def test_the_interval_of_a_mean_is_the_textbook_one():
    values = np.random.default_rng(3).normal(size=400)
    truth = np.zeros(400, dtype=int)
    found = estimate(lambda counts: counts @ values / 400, truth, Bootstrap(resamples=4000)).at()
    error = values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_strata_leave_the_variance_between_classes_out():
    truth = np.repeat([0, 1], 50)
    found = estimate(lambda counts: counts @ truth / 100, truth, Bootstrap()).at()
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)


def test_equal_seeds_give_equal_intervals_and_others_do_not(clusters):
    features, labels = clusters(np.eye(3), noise=0.4)
    one, same, other = (
        entanglement.class_similarity(features, labels, Bootstrap(resamples=60, seed=seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.low, same.low)
    assert np.array_equal(one.high, same.high)
    assert not np.array_equal(one.low, other.low)
    assert np.array_equal(one.value, other.value)


def test_a_lower_level_gives_a_narrower_interval(clusters):
    features, labels = clusters(np.eye(3), noise=0.4)
    wide, narrow = (entanglement.silhouette(features, labels, Bootstrap(level=level)).at() for level in (0.95, 0.5))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_class_means_count_samples_as_often_as_drawn():
    truth = np.array([0, 0, 1])
    values = np.array([[1.0], [3.0], [5.0]])
    counts = np.array([[1, 1, 1], [2, 0, 1]])
    assert class_means(counts, truth, values, 2)[..., 0].tolist() == [[2.0, 5.0], [1.0, 5.0]]


def test_an_entry_is_read_by_its_place():
    one = Estimate(np.array([1.0, 2.0]), np.array([0.5, 1.5]), np.array([1.5, 2.5]))
    assert (one.at(1).value, one.at(1).low, one.at(1).high) == (2.0, 1.5, 2.5)


def test_tensors_and_arrays_are_alike(clusters):
    features, labels = clusters(np.eye(3), noise=0.4)
    tensor = torch.tensor(features, requires_grad=True)
    one, other = (
        entanglement.class_similarity(*given, Bootstrap(resamples=5))
        for given in ((features, labels), (tensor, torch.tensor(labels)))
    )
    assert np.array_equal(one.value, other.value)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_is_taken(kind, clusters):
    features, labels = clusters(np.eye(3), noise=0.3)
    half = torch.tensor(features, dtype=kind)
    found = entanglement.silhouette(half, labels).at()
    assert found == entanglement.silhouette(half.float().numpy(), labels).at()


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones(3), [0, 0, 0], r"expected features \(N, D\), got shape \(3,\)"),
        (np.ones((0, 3)), np.zeros(0, int), r"got shape \(0, 3\)"),
        (np.array([[1.0, 0], [0, 0]]), [0, 1], r"got 1 of 2 rows without \(first: row 1\)"),
        (np.array([[1.0, np.nan], [1, 0]]), [0, 1], r"first: row 0"),
        (np.eye(2), [0, 1, 1], r"labels: expected 2 integers, got int64 of shape \(3,\)"),
        (np.eye(2), [0.0, 1.0], r"labels: expected 2 integers, got float64"),
        (np.eye(2), [0, 2], r"got none of \[1\]"),
        (np.eye(2), [-1, 0], r"expected 0\.\.0, got -1\.\.0"),
    ],
)
def test_wrong_features_and_labels_are_refused_in_one_line(features, labels, message):
    with pytest.raises(UserError, match=message) as caught:
        checked(features, np.asarray(labels))
    assert "\n" not in str(caught.value)


def test_wrong_scores_are_refused():
    with pytest.raises(UserError, match=r"scores: expected finite numbers \(N, C\)"):
        scored(np.array([[np.inf, 0.0]]), np.array([0]))
    with pytest.raises(UserError, match=r"expected 0\.\.1, got 0\.\.2"):
        scored(np.zeros((3, 2)), np.array([0, 1, 2]))


@pytest.mark.parametrize("settings", [{"resamples": 1}, {"level": 1.0}, {"level": 0.0}])
def test_wrong_settings_of_the_bootstrap_are_refused(settings):
    with pytest.raises(UserError, match=f"{next(iter(settings))}: expected"):
        Bootstrap(**settings)
