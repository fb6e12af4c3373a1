"""Paired comparisons of records, against the definition, and what may not be compared."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from fer_core import comparing, experiments, metrics_subjects, records
from fer_core.errors import UserError
from fer_core.experiments import running
from fer_core.records import Predicted, Record

LABELS = np.arange(40) % 4


def record(right, seed=0, name="coop-ferplus", subjects=None, overrides=None, profile="full", **changes):
    """A record whose predictions are right where ``right`` says so."""
    experiment = experiments.load(name)
    resolved = experiments.resolve(experiment.settings(profile, overrides))
    said = np.where(right, LABELS, (LABELS + 1) % 4)
    scores = {
        "war": float(np.mean(right)),
        "uar": 0.0,
        "f1": 0.0,
        "recall": {},
        "confusion": [],
        "classes": [],
        "n": 40,
    }
    return Record(**{
        "experiment": name, "method": experiment.method, "dataset": experiment.dataset, "fingerprint": "f00d",
        "split": "test", "backbone": "embedded", "weights": "beef", "profile": profile, "seed": seed,
        "config": resolved, "config_digest": running.digest(resolved), "metrics": scores, "selection": {},
        "history": [], "trainable_parameters": 0, "flops": 0, "seconds": {}, "peak_memory": 0, "hardware": {},
        "versions": {}, "commit": None, "overrides": overrides or {},
        "variant": records.variant_name(overrides or {}), "predictions": Predicted(LABELS, said, subjects).plain(),
        **changes,
    })  # fmt: skip


def drawn(share, seed):
    return np.random.default_rng(seed).random(40) < share


def test_the_gain_is_the_difference_of_mean_accuracies_over_seeds():
    first, second = [drawn(0.4, seed) for seed in range(3)], [drawn(0.7, seed) for seed in (10, 11)]
    found = comparing.paired([record(r, s) for s, r in enumerate(first)], [record(r, s) for s, r in enumerate(second)])
    assert found.interval.value == pytest.approx(np.mean(second) - np.mean(first))
    assert found.interval.low < found.interval.value < found.interval.high
    same = comparing.paired([record(first[0])], [record(first[0])])
    assert (same.interval.value, same.p_value) == (0, 1)


def test_scores_of_the_whole_test_are_compared_by_seeds(tmp_path):
    def kept(value, seed, name):
        scores = record(drawn(0.5, 0)).metrics
        return record(drawn(0.5, 0), seed, name, metrics={**scores, "generality": {"captions": value}})

    one, two, three = (0.5, 0.6), (0.1, 0.3, 0.2), (0.4, 0.45)
    for name, values in (("zero-shot-ferplus", one), ("coop-ferplus", two), ("maple-ferplus", three)):
        for seed, value in enumerate(values):
            records.write(kept(value, seed, name), tmp_path)
    captions = lambda each: each.metrics["generality"]["captions"]  # noqa: E731
    found = comparing.difference("zero-shot-ferplus", "coop-ferplus", captions, tmp_path)
    known = stats.ttest_ind(two, one, equal_var=False).confidence_interval()
    assert (found.value, found.low, found.high) == pytest.approx((-0.35, known.low, known.high))
    found = comparing.difference("zero-shot-ferplus", "maple-ferplus", captions, tmp_path)
    known = stats.ttest_rel(three, one).confidence_interval()
    assert (found.value, found.low, found.high) == pytest.approx((-0.125, known.low, known.high))
    assert comparing.difference("zero-shot-ferplus", "lora-ferplus", captions, tmp_path) is None


def test_scores_of_folds_count_by_their_mean(tmp_path):
    for name, values in (("cocoop-ferplus", (0.3, 0.6)), ("lora-ferplus", (0.5, 0.9))):
        for seed in (0, 1):
            for fold, value in enumerate(values[: 2 - seed], start=1):  # the second seed lacks a fold
                told = record(drawn(0.5, 0), seed, name, fold=fold)
                records.write(dataclasses.replace(told, metrics={**told.metrics, "uar": value}), tmp_path)
    found = comparing.difference("cocoop-ferplus", "lora-ferplus", lambda each: each.metrics["uar"], tmp_path)
    assert found.value == pytest.approx(0.7 - 0.45)


def test_the_same_seeds_are_compared_one_by_one():
    first = [drawn(0.3, 0), drawn(0.5, 1), drawn(0.7, 2)]
    second = [np.r_[np.ones(4, dtype=bool), right[4:]] for right in first]  # four samples that no seed may miss
    one, two = ([record(right, seed) for seed, right in enumerate(side)] for side in (first, second))
    found = comparing.paired(one, two[::-1])
    apart = comparing.paired(one, [record(right, 7 + seed) for seed, right in enumerate(second)])
    assert found.seeds == apart.seeds == (3, 3)
    assert found.interval.value == pytest.approx(apart.interval.value)
    width, other = (each.interval.high - each.interval.low for each in (found, apart))
    assert width < other / 2


def test_people_are_drawn_where_the_record_knows_them():
    subjects = (np.arange(40) // 10).tolist()
    first, second = drawn(0.5, 0), drawn(0.5, 0)
    second[:10] = True  # all that is gained is one person's
    found = comparing.paired([record(first, subjects=subjects)], [record(second, subjects=subjects)])
    assert (found.better, found.worse) == (1, 0)
    assert found.p_value == 1.0  # four people, one of whom gains: no sign can be told from chance
    alone = comparing.paired([record(first)], [record(second)])
    assert alone.p_value < 0.2
    assert alone.interval.value == pytest.approx(found.interval.value)


def test_samples_of_some_classes_alone():
    subjects, first, second = (np.arange(40) // 10).tolist(), drawn(0.4, 0), drawn(0.7, 1)
    of = np.isin(LABELS, [1, 3])

    def told(right):
        one = record(right, subjects=subjects)
        return dataclasses.replace(one, metrics={**one.metrics, "classes": ["a", "b", "c", "d"]})

    found = comparing.paired([told(first)], [told(second)], classes=["d", "b"])
    people = [
        np.array([[right[of][place : place + 5].mean() for place in range(0, 20, 5)]]) for right in (first, second)
    ]
    assert found == metrics_subjects.gain(*people, same_seeds=True)
    assert found != comparing.paired([told(first)], [told(second)])
    with pytest.raises(UserError, match="unknown class of ferplus 'e'"):
        comparing.paired([told(first)], [told(second)], classes=["a", "e"])


def test_the_folds_of_a_seed_are_one_test_of_all_their_samples():
    def folds(side, seed, subjects=None):
        return [record(right, seed, fold=fold, fingerprint=f"f{fold}", subjects=subjects) for fold, right in side]

    one, two = [(1, drawn(0.4, 0)), (2, drawn(0.5, 1))], [(1, drawn(0.6, 2)), (2, drawn(0.7, 3))]
    more = [(1, drawn(0.6, 4)), (2, drawn(0.8, 5))]
    found = comparing.paired(folds(one, 0), [*folds(two, 0)[::-1], *folds(more, 1)])
    right = [np.concatenate([each for _, each in side])[None] for side in (one, two, more)]
    assert found == metrics_subjects.gain(right[0], np.concatenate(right[1:]), same_seeds=False)
    assert found.seeds == (1, 2)
    # A seed that lacks a fold does not count, and one at least must have all.
    assert comparing.paired(folds(one, 0), [*folds(two, 0), *folds(more, 1)[1:]]) == comparing.paired(
        folds(one, 0), folds(two, 0)
    )
    with pytest.raises(UserError, match="expected a seed with the folds 1, 2 on both sides, got none on one"):
        comparing.paired(folds(one, 0), [*folds(two, 0)[:1], *folds(more, 1)[1:]])
    with pytest.raises(UserError, match="expected a seed with the folds None, 1, 2"):
        comparing.paired([record(drawn(0.5, 0))], folds(two, 0))
    # Who is in several folds is one person.
    subjects = (np.arange(40) // 10).tolist()
    people = [
        np.concatenate([each.reshape(4, 10) for _, each in side], axis=1).mean(axis=1)[None] for side in (one, two)
    ]
    by_people = comparing.paired(folds(one, 0, subjects), folds(two, 0, subjects))
    assert by_people == metrics_subjects.gain(*people, same_seeds=True)


def test_another_profile_is_compared_over_its_folds(tmp_path):
    for name, shift in (("aim-dfew", 0.0), ("fine-cliper-dfew", 0.1)):
        for fold in (1, 2):
            overrides = {"data.fold": fold} if fold > 1 else None  # experiments have the first
            told = record(
                drawn(0.4 + shift, fold), 0, name, None, overrides, "paper", fold=fold, fingerprint=f"f{fold}"
            )
            records.write(dataclasses.replace(told, variant=None), tmp_path)
    gained = comparing.gain("aim-dfew", "fine-cliper-dfew", tmp_path, profile="paper")
    means = [np.mean([drawn(0.4 + shift, fold) for fold in (1, 2)]) for shift in (0.0, 0.1)]
    assert gained.interval.value == pytest.approx(means[1] - means[0])
    lacking = next((tmp_path / "aim-dfew").glob("*fold2*"))
    lacking.unlink()  # a cross-validation that is under way gives no gain yet, and breaks no page
    assert comparing.gain("aim-dfew", "fine-cliper-dfew", tmp_path, profile="paper") is None


def test_other_samples_and_missing_sides_are_refused():
    one = record(drawn(0.5, 0))
    with pytest.raises(UserError, match="expected records of the same samples"):
        comparing.paired([one], [record(drawn(0.5, 1), fingerprint="other")])
    with pytest.raises(UserError, match="got none on one"):
        comparing.paired([one], [])


def test_rendered_test_samples_are_the_same_whatever_was_trained_on_and_shown():
    name = "fine-cliper-facs-clip-7"
    first, second = drawn(0.4, 0), drawn(0.7, 1)
    one = record(first, name=name)
    for changed in ({"data.frames": 1}, {"data.limit": {"train": 56}}, {"train_on.dataset": "facs-clip-11"}):
        other = record(second, name=name, overrides=changed, fingerprint="other")
        assert comparing.paired([one], [other]).interval.value == pytest.approx(second.mean() - first.mean())
    fewer = record(second, name=name, overrides={"data.limit": {"test": 40}}, fingerprint="other")
    older = dataclasses.replace(one, config={**one.config, "faces": one.config["faces"] - 1})
    for other in (fewer, older):
        with pytest.raises(UserError, match="expected records of the same samples"):
            comparing.paired([one], [other])


def test_only_todays_records_with_the_asked_settings_count(tmp_path):
    longer = {"model.context_length": 2}
    for each in (
        record(drawn(0.5, 0)),
        record(drawn(0.5, 1), 1, config_digest="0" * 16),
        record(drawn(0.5, 2), 2, profile="quick"),
        record(drawn(0.5, 3), 3, overrides=longer),
    ):
        records.write(each, tmp_path)
    assert [each.seed for each in comparing.current("coop-ferplus", folder=tmp_path)] == [0]
    assert [each.seed for each in comparing.current("coop-ferplus", overrides=longer, folder=tmp_path)] == [3]


def with_people(folder, name, seed, war):
    """Writes a record whose people have these scores."""
    told = {"subjects": {who: {"war": value, "f1": value / 2} for who, value in war.items()}}
    made = record(drawn(0.5, seed), seed, name=name)
    records.write(dataclasses.replace(made, metrics={**made.metrics, "by_subject": told}), folder)


def test_people_are_means_over_seeds_and_gains_go_person_by_person(tmp_path):
    with_people(tmp_path, "clip-au-facs-pain", 0, {"3": 0.5, "5": 0.8})
    with_people(tmp_path, "clip-au-facs-pain", 1, {"3": 0.7, "5": 0.8})
    with_people(tmp_path, "clip-autt-facs-pain", 0, {"3": 0.9, "5": 0.7})
    assert comparing.people("clip-au-facs-pain", folder=tmp_path) == pytest.approx({"3": 0.6, "5": 0.8})
    assert comparing.people("clip-au-facs-pain", "f1", tmp_path) == pytest.approx({"3": 0.3, "5": 0.4})
    assert comparing.people("tent-facs-pain", folder=tmp_path) == {}
    found = comparing.gain_of_people("clip-au", "clip-autt", ["facs-pain"], folder=tmp_path)
    assert (found.better, found.worse) == (1, 1)
    assert found.interval.value == pytest.approx((0.3 - 0.1) / 2)
    assert comparing.gain_of_people("clip-au", "clip-autt", ["facs-pain", "facs-stress"], folder=tmp_path) is None


def test_people_of_several_data_sets_are_others_though_they_have_one_number(tmp_path):
    gains = {"facs-pain": {"3": 0.1, "5": 0.2}, "facs-stress": {"3": -0.1, "5": 0.4}}
    drift = {0: 0.0, 1: 0.2, 2: -0.1}  # of a training; both methods go on from the same
    for dataset, by_person in gains.items():
        for seed, moved in drift.items():
            with_people(tmp_path, f"clip-au-{dataset}", seed, dict.fromkeys(by_person, 0.5 + moved))
            after = {who: 0.5 + moved + gained for who, gained in by_person.items()}
            with_people(tmp_path, f"clip-autt-{dataset}", seed, after)
    with_people(tmp_path, "clip-autt-facs-pain", 7, {"3": 0.0, "5": 0.0})  # a seed of one data set alone

    def ask(*datasets):
        return comparing.gain_of_people("clip-au", "clip-autt", datasets, folder=tmp_path)

    found = ask("facs-pain", "facs-stress")
    assert (found.better, found.worse, found.seeds) == (3, 1, (3, 3))
    assert found.interval.value == pytest.approx(0.15)
    alone = stats.ttest_1samp([0.1, 0.2, -0.1, 0.4], 0).confidence_interval()
    assert (found.interval.low, found.interval.high) == pytest.approx((alone.low, alone.high))  # seed by seed: no more
    with_people(tmp_path, "clip-autt-facs-stress", 0, {"3": 0.4, "6": 0.9})
    with_people(tmp_path, "clip-autt-facs-stress", 1, {"3": 0.4, "6": 0.9})
    with_people(tmp_path, "clip-autt-facs-stress", 2, {"3": 0.4, "6": 0.9})
    assert ask("facs-pain", "facs-stress") is None


def test_records_of_a_time_without_predictions_do_not_count():
    one, two = record(drawn(0.4, 0)), record(drawn(0.7, 1))
    older = record(drawn(0.1, 2), 1, predictions=None)
    assert comparing.gain_of_records([one, older], [two]) == comparing.paired([one], [two])
    assert comparing.gain_of_records([older], [two]) is None


def test_a_gain_needs_both_sides(tmp_path):
    records.write(record(drawn(0.5, 0)), tmp_path)
    assert comparing.gain("coop-ferplus", "zero-shot-ferplus", tmp_path) is None
    records.write(record(drawn(0.8, 1), name="zero-shot-ferplus"), tmp_path)
    found = comparing.gain("coop-ferplus", "zero-shot-ferplus", tmp_path)
    assert found.interval.value == pytest.approx(np.mean(drawn(0.8, 1)) - np.mean(drawn(0.5, 0)))
