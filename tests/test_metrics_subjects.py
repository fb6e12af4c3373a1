"""Scores by person against loops over people, intervals that draw people, and the paired test."""

import numpy as np
import pytest
from scipy import stats

from fer_core import metrics, metrics_subjects
from fer_core.errors import UserError

CLASSES = ("neutral", "pain")


def drawn(people=9, seed=0):
    random = np.random.default_rng(seed)
    counts = random.integers(3, 12, people)
    subjects = random.permutation(np.repeat(np.arange(people) * 7 + 3, counts))
    labels = random.integers(0, 2, len(subjects))
    return labels, random.normal(size=(len(labels), 2)), subjects


def test_scores_are_those_of_each_persons_videos():
    labels, outputs, subjects = drawn()
    found = metrics_subjects.by_subject(labels, outputs, subjects.tolist(), CLASSES)
    assert found.subjects.tolist() == sorted(set(subjects.tolist()))
    for place, person in enumerate(found.subjects):
        own = subjects == person
        alone = metrics.summary(labels[own], outputs[own], CLASSES)
        for name in ("war", "uar", "f1"):
            assert found.scores[name][place] == pytest.approx(alone[name])
        assert found.samples[place] == own.sum()
    assert found.mean("f1") == pytest.approx(np.mean(found.scores["f1"]))
    assert found.shares["pain"] == pytest.approx((outputs.argmax(1) == 1).mean())


def test_people_count_alike_whatever_their_number_of_videos():
    labels, subjects = np.array([0] * 9 + [1]), [1] * 9 + [2]
    found = metrics_subjects.by_subject(labels, np.zeros(10, dtype=int), subjects, CLASSES)
    assert found.mean("war") == 0.5
    assert metrics.war(metrics.confusion(labels, np.zeros(10, dtype=int), 2)) == 0.9


def test_a_constant_predictor_has_the_f1_that_follows_from_its_accuracy():
    labels = np.array([0, 0, 0, 1])
    found = metrics_subjects.by_subject(labels, np.zeros(4, dtype=int), [1] * 4, CLASSES)
    accuracy = found.mean("war")
    assert found.mean("f1") == pytest.approx(accuracy / (1 + accuracy))


def test_the_interval_over_people_is_students():
    few = np.random.default_rng(0).normal(0.7, 0.1, 10)
    found, known = metrics_subjects.interval(few, 0.9), stats.ttest_1samp(few, 0).confidence_interval(0.9)
    assert (found.value, found.low, found.high) == pytest.approx((few.mean(), known.low, known.high))
    alone = metrics_subjects.interval([0.7])
    assert (alone.value, alone.low, alone.high) == (0.7, -np.inf, np.inf)


def test_gains_are_paired():
    random = np.random.default_rng(0)
    level = random.normal(0.6, 0.2, 12)
    better = level + 0.03 + random.normal(0, 0.01, 12)
    found = metrics_subjects.gain(level, better)
    assert found.interval.low > 0
    assert (found.better, found.worse) == (12, 0)
    assert found.p_value == pytest.approx(2 / 2**12, rel=0.01)  # every flip of a sign makes the mean smaller
    none = metrics_subjects.gain(level, level)
    assert (none.better, none.worse, none.p_value) == (0, 0, 1.0)
    with pytest.raises(UserError, match="expected scores of the same people"):
        metrics_subjects.gain(level, better[:3])


def test_ties_are_ties_in_whatever_order_seeds_are_added():
    first = np.random.default_rng(0).integers(0, 13, (3, 60)) / 12  # three seeds of 60 people with 12 videos each
    mixed = np.stack([np.roll(column, shift) for shift, column in enumerate(first.T)]).T
    assert (mixed.mean(0) != first.mean(0)).any()  # the last digits differ, the scores do not
    mixed[:, 0] += 0.25
    found = metrics_subjects.gain(first, mixed)
    assert (found.better, found.worse, found.p_value) == (1, 0, 1.0)


def test_one_seed_has_the_interval_of_a_paired_t_test():
    random = np.random.default_rng(0)
    first, second = random.normal(0.5, 0.1, 12), random.normal(0.6, 0.1, 12)
    found = metrics_subjects.gain(first, second)
    known = stats.ttest_rel(second, first).confidence_interval()
    assert (found.interval.low, found.interval.high) == pytest.approx((known.low, known.high))
    assert found.seeds == (1, 1)


def test_people_who_are_all_alike_leave_the_seeds_interval():
    random = np.random.default_rng(0)
    first, second = (random.normal(mean, 0.02, (count, 1)) + np.zeros(9) for mean, count in ((0.5, 3), (0.6, 4)))
    found = metrics_subjects.gain(first, second).interval
    known = stats.ttest_ind(second[:, 0], first[:, 0], equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    one_by_one = metrics_subjects.gain(first, second[:3], same_seeds=True)
    known = stats.ttest_rel(second[:3, 0], first[:, 0]).confidence_interval()
    assert (one_by_one.interval.low, one_by_one.interval.high) == pytest.approx((known.low, known.high))
    assert one_by_one.seeds == (3, 3)
    with pytest.raises(UserError, match="expected rows of the same seeds, got 3 and 4"):
        metrics_subjects.gain(first, second, same_seeds=True)


@pytest.mark.parametrize("same_seeds", [False, True])
def test_intervals_of_three_seeds_cover_what_people_and_trainings_give(same_seeds):
    random = np.random.default_rng(0)
    covered, of_people = 0, 0
    for _ in range(1000):
        shared = random.normal(0, 0.05, (3, 1)) * same_seeds  # such as the few samples that a seed draws
        people = random.normal(0.02, 0.05, 60)
        sides = [0.6 + shared + random.normal(0, 0.01, (3, 1)) + random.normal(0, 0.05, (3, 60)) for _ in range(2)]
        one, two = sides[0], sides[1] + people
        found = metrics_subjects.gain_interval(one, two, same_seeds)
        covered += found.low <= 0.02 <= found.high
        alone = stats.ttest_1samp(two.mean(0) - one.mean(0), 0).confidence_interval()
        of_people += alone.low <= 0.02 <= alone.high
    assert 0.93 <= covered / 1000 <= 0.995
    assert of_people / 1000 < 0.9  # without the seeds, intervals are too narrow


def test_intervals_have_the_level_that_is_asked_for():
    random = np.random.default_rng(0)
    first, second = random.normal(0.5, 0.1, 12), random.normal(0.6, 0.1, 12)
    found = metrics_subjects.gain(first, second, level=0.8).interval
    known = stats.ttest_rel(second, first).confidence_interval(0.8)
    assert (found.low, found.high) == pytest.approx((known.low, known.high))


def test_one_person_tells_nothing_of_others():
    found = metrics_subjects.gain(np.array([0.5]), np.array([0.7]))
    assert found.p_value == 1
    assert (found.interval.low, found.interval.high) == (-np.inf, np.inf)


def test_subjects_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="subjects: expected 4"):
        metrics_subjects.by_subject(np.zeros(4, dtype=int), np.zeros(4, dtype=int), [1, 2], CLASSES)
