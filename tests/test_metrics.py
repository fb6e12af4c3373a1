"""Scores against scikit-learn, closed forms and naive re-implementations."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from fer_core import metrics
from fer_core.errors import UserError

CLASSES = ("neutral", "happiness", "fear", "surprise")


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, 300)


@pytest.fixture
def logits(labels: np.ndarray) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(300, 4)) + 1.5 * np.eye(4)[labels]


def test_summary_agrees_with_scikit_learn(labels: np.ndarray, logits: np.ndarray) -> None:
    predicted = logits.argmax(1)
    summary = metrics.summary(labels, logits, CLASSES)
    assert summary["war"] == pytest.approx(sk.accuracy_score(labels, predicted), abs=1e-12)
    assert summary["uar"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted), abs=1e-12)
    assert summary["f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"), abs=1e-12)
    assert summary["confusion"] == sk.confusion_matrix(labels, predicted).tolist()
    assert list(summary["recall"].values()) == pytest.approx(sk.recall_score(labels, predicted, average=None))
    assert summary["classes"] == list(CLASSES)
    assert summary["n"] == 300
    assert metrics.summary(labels, predicted, CLASSES) == summary


def test_summary_of_a_worked_example() -> None:
    # Truth: 3 neutral, 1 happiness; two neutral right, one called fear; happiness right.
    summary = metrics.summary(np.array([0, 0, 0, 1]), np.array([0, 0, 2, 1]), CLASSES)
    assert summary["war"] == 3 / 4
    assert summary["uar"] == pytest.approx((2 / 3 + 1) / 2)
    assert summary["f1"] == pytest.approx((4 / 5 + 1) / 2)
    assert summary["recall"] == {"neutral": pytest.approx(2 / 3), "happiness": 1.0, "fear": None, "surprise": None}


@pytest.mark.parametrize(
    ("labels", "outputs", "message"),
    [
        ([], [], "at least one sample"),
        ([0, 1], [0], "outputs of shape"),
        ([0, 1], [[1.0, 2.0], [1.0, 2.0]], "outputs of shape"),
        ([0, 4], [0, 1], r"labels in 0\.\.3, got 4"),
        ([0, -1], [0, 1], r"labels in 0\.\.3, got -1"),
        ([0, 1], [0, 9], r"predictions in 0\.\.3, got 9"),
        ([0.0, 1.0], [0, 1], "integer labels, got float64"),
        ([0, 1], [[0.0, 1, 2, 3], [0, np.nan, 0, 0]], r"1 of 2 rows with NaN or infinity \(first: row 1\)"),
        ([0], [[0.0, 1, np.inf, 3]], "finite logits"),
    ],
)
def test_refuses_what_is_no_prediction(labels: list, outputs: list, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        metrics.summary(np.array(labels), np.array(outputs), CLASSES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["war", "uar", "f1"])
def test_interval_agrees_with_drawing_samples(name: str, labels: np.ndarray, logits: np.ndarray) -> None:
    predicted, random = logits.argmax(1), np.random.default_rng(5)
    score = metrics.statistic(name)
    naive = [
        score(metrics.confusion(labels[drawn], predicted[drawn], 4))
        for drawn in random.integers(0, len(labels), (4000, len(labels)))
    ]
    found = metrics.interval(labels, logits, 4, name, resamples=4000)
    assert found.value == score(metrics.confusion(labels, predicted, 4))
    assert (found.low, found.high) == pytest.approx(np.quantile(naive, [0.025, 0.975]), abs=0.006)


def test_interval_of_accuracy_is_near_the_binomial_one(labels: np.ndarray, logits: np.ndarray) -> None:
    found = metrics.interval(labels, logits, 4, resamples=20_000)
    spread = np.sqrt(found.value * (1 - found.value) / len(labels))
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * spread, rel=0.06)


def test_interval_is_seeded_and_grows_with_its_level(labels: np.ndarray, logits: np.ndarray) -> None:
    one, again, other = (metrics.interval(labels, logits, 4, "uar", seed=seed) for seed in (3, 3, 4))
    assert one == again != other
    wide, narrow = (metrics.interval(labels, logits, 4, level=level) for level in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_interval_over_subjects_sees_how_few_they_are() -> None:
    # Each subject is all right or all wrong: 100 samples are no more than 10 observations.
    subjects = np.repeat(np.arange(10), 10)
    predicted = (subjects % 2).astype(int)
    labels = np.zeros(100, dtype=int)
    single = metrics.interval(labels, predicted, 2)
    grouped = metrics.interval(labels, predicted, 2, groups=subjects, resamples=20_000)
    low, high = stats.binom.ppf([0.025, 0.975], 10, 0.5) / 10
    assert (grouped.low, grouped.high) == (low, high)
    assert grouped.high - grouped.low > 2.5 * (single.high - single.low)
    assert metrics.interval(labels, predicted, 2, groups=np.arange(100)).low == pytest.approx(single.low, abs=0.02)


def test_difference_of_a_method_and_itself_is_zero(labels: np.ndarray, logits: np.ndarray) -> None:
    assert metrics.difference(labels, logits, logits, 4, "uar") == metrics.Interval(0.0, 0.0, 0.0)


@pytest.mark.parametrize("name", ["war", "uar"])
def test_difference_is_paired(name: str, labels: np.ndarray, logits: np.ndarray) -> None:
    first = logits.argmax(1)
    second = first.copy()
    wrong = np.flatnonzero(first != labels)[:20]
    second[wrong] = labels[wrong]
    score = metrics.statistic(name)
    found = metrics.difference(labels, first, second, 4, name)
    assert found.value == pytest.approx(
        score(metrics.confusion(labels, second, 4)) - score(metrics.confusion(labels, first, 4))
    )
    random = np.random.default_rng(2)
    naive = [
        score(metrics.confusion(labels[drawn], second[drawn], 4))
        - score(metrics.confusion(labels[drawn], first[drawn], 4))
        for drawn in random.integers(0, len(labels), (2000, len(labels)))
    ]
    assert (found.low, found.high) == pytest.approx(np.quantile(naive, [0.025, 0.975]), abs=0.006)
    assert found.low > 0  # the second is right wherever the first is


@pytest.mark.parametrize("name", ["war", "uar"])
def test_difference_over_subjects_agrees_with_drawing_subjects(name: str) -> None:
    random = np.random.default_rng(0)
    people = 100 + np.repeat(np.arange(12), np.arange(4, 16))  # some have more samples than others
    labels = np.tile(np.arange(4), len(people))[: len(people)]
    gains = np.repeat(random.uniform(0, 0.6, 12), np.arange(4, 16))  # and gain more
    first = np.where(random.random(len(people)) < 0.5, labels, (labels + 1) % 4)
    second = np.where(random.random(len(people)) < gains, labels, first)
    shuffled = random.permutation(len(people))  # a person's samples need not stand together
    people, labels, first, second = (each[shuffled] for each in (people, labels, first, second))
    score = metrics.statistic(name)
    naive = []
    for drawn in random.choice(np.unique(people), (4000, 12)):
        rows = np.concatenate([np.flatnonzero(people == person) for person in drawn])
        scores = [score(metrics.confusion(labels[rows], said[rows], 4)) for said in (first, second)]
        naive.append(scores[1] - scores[0])
    found = metrics.difference(labels, first, second, 4, name, groups=people, resamples=4000)
    assert (found.low, found.high) == pytest.approx(np.quantile(naive, [0.025, 0.975]), abs=0.012)
    alone = metrics.difference(labels, first, second, 4, name, resamples=4000)
    assert found.value == alone.value
    assert (found.low, found.high) != pytest.approx((alone.low, alone.high), abs=0.012)


def test_mcnemar_of_a_worked_example() -> None:
    # Nine samples on which only the second is right, one on which only the first is: 2 * (C(10,0) + C(10,1)) / 2**10.
    labels = np.zeros(30, dtype=int)
    first = np.array([1] * 9 + [0] * 1 + [0] * 20)
    second = np.array([0] * 9 + [1] * 1 + [0] * 20)
    assert metrics.mcnemar(labels, first, second, 2) == pytest.approx(2 * 11 / 2**10)
    assert metrics.mcnemar(labels, first, first, 2) == 1.0


def test_prediction_shares_show_a_collapse() -> None:
    matrix = metrics.confusion(np.array([0, 1, 2, 3]), np.array([2, 2, 2, 0]), 4)
    assert metrics.prediction_shares(matrix, CLASSES) == {"neutral": 0.25, "happiness": 0, "fear": 0.75, "surprise": 0}


def test_look_alike_shares_of_a_worked_example() -> None:
    # Fear has 3 errors, 2 of them surprise; surprise has 1, not fear; neutral has 4, 1 of them happiness.
    matrix = np.array([[6, 1, 2, 1], [0, 9, 0, 0], [1, 0, 5, 2], [1, 0, 0, 5]])
    shares = metrics.look_alike_shares(matrix, CLASSES, [("fear", "surprise"), ("neutral", "happiness")])
    assert shares == {"fear/surprise": 2 / 4, "neutral/happiness": 1 / 4, "all": 3 / 8}


def test_look_alike_shares_without_errors_and_with_wrong_names() -> None:
    perfect = np.diag([3, 3, 3, 3])
    assert metrics.look_alike_shares(perfect, CLASSES, [("fear", "surprise")]) == {"fear/surprise": None, "all": None}
    with pytest.raises(UserError, match="did you mean 'surprise'"):
        metrics.look_alike_shares(perfect, CLASSES, [("fear", "suprise")])
    with pytest.raises(UserError, match="two different classes"):
        metrics.look_alike_shares(perfect, CLASSES, [("fear", "fear")])


def test_calibration_error_of_a_worked_example() -> None:
    # Confidence 0.8 on ten samples of which five are right: a gap of 0.3, whatever the bins.
    logits = np.tile([np.log(0.8), np.log(0.2)], (10, 1))
    labels = np.array([0] * 5 + [1] * 5)
    assert metrics.calibration_error(labels, logits) == pytest.approx(0.3)
    assert metrics.calibration_error(np.zeros(10, dtype=int), 1e3 * logits) == pytest.approx(0.0)


def test_calibration_error_agrees_with_a_naive_one(labels: np.ndarray, logits: np.ndarray) -> None:
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    probability = exponents / exponents.sum(1, keepdims=True)
    confidence, right = probability.max(1), probability.argmax(1) == labels
    error = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence > low) & (confidence <= low + 0.1)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert metrics.calibration_error(labels, logits, bins=10) == pytest.approx(error)
    with pytest.raises(UserError, match="no confidence"):
        metrics.calibration_error(labels, labels)


def test_unknown_statistic(labels: np.ndarray) -> None:
    with pytest.raises(UserError, match="unknown statistic 'accuracy'; known: f1, uar, war"):
        metrics.interval(labels, labels, 4, "accuracy")


def test_reliability_counts_every_sample_in_the_bin_of_its_confidence():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(200, 3)), random.integers(0, 3, 200)
    rows = metrics.reliability(labels, logits, bins=10)
    told = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    sure, right = told.max(axis=1), told.argmax(axis=1) == labels
    assert rows[:, 2].sum() == 200
    for confidence, accuracy, count in rows:
        low = np.floor(confidence * 10) / 10
        own = (sure > low) & (sure <= low + 0.1)
        assert count == own.sum()
        assert confidence == pytest.approx(sure[own].mean())
        assert accuracy == pytest.approx(right[own].mean())
    gap = np.abs(rows[:, 0] - rows[:, 1]) @ rows[:, 2] / 200
    assert gap == pytest.approx(metrics.calibration_error(labels, logits, bins=10))
    with pytest.raises(UserError, match=r"expected logits \(N, C\), got shape \(200,\); .* no confidence"):
        metrics.reliability(labels, labels)


def test_an_interval_of_one_mean_is_students() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 7)
    found = metrics.t_interval(float(values.mean()), [values], 0.9)
    known = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    assert metrics.t_interval(0.3, [np.full(4, 0.3)]) == metrics.Interval(0.3, 0.3, 0.3)
    assert metrics.t_interval(0.3, [values, values[:1]]) == metrics.Interval(0.3, -np.inf, np.inf)
