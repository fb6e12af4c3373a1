"""Leave-one-out runs: who trains, who is tested, and that nothing of the person left out is seen."""

import signal

import numpy as np
import pytest

from fer_core import clip, data, engine, experiments, models, records
from fer_core.engine import fitting
from fer_core.errors import Stopped, UserError
from fer_core.experiments import personalising, protocols, running

LEFT_OUT = {"protocol": "leave-one-out", "backbone": "embedded:random"}
FEW = {"data.limit": {"train": 16, "validation": 8, "test": 12}}


@pytest.fixture
def run(run_with):
    return run_with({**LEFT_OUT, **FEW})


@pytest.fixture
def fits(monkeypatch):
    """The splits that each training was given."""
    seen = []
    fit = engine.fit

    def watched(method, train, validation, test, *rest, **names):
        seen.append({"train": train, "validation": validation, "test": test, "log_dir": names["log_dir"]})
        return fit(method, train, validation, test, *rest, **{**names, "log_dir": None})

    monkeypatch.setattr(engine, "fit", watched)
    return seen


def test_each_person_is_left_out_once_and_everybody_else_trains(run, fits, tmp_path):
    record = run("clip-au-facs-pain", log_dir=tmp_path)
    people = np.unique(record.predicted.subjects)
    assert len(fits) == len(people) > 2
    whole = {split: data.open("facs-pain", split, limit=FEW["data.limit"][split]) for split in ("train", "test")}
    for person, splits in zip(people, fits, strict=True):
        assert splits["test"].subjects.unique().tolist() == [person]
        assert splits["log_dir"] == tmp_path / record.path.with_suffix("") / f"without-{person}"
        theirs = set(splits["train"].subjects.tolist())
        assert theirs == set(whole["train"].subjects.tolist()) | set(people.tolist()) - {person}
        assert len(splits["train"]) + len(splits["test"]) == len(whole["train"]) + len(whole["test"])
    assert sum(record.predicted.labels == whole["test"].labels.numpy()) == len(whole["test"])
    assert record.history[-1]["test"]["war"] == pytest.approx(record.metrics["war"])
    assert "-proto" in record.path.name  # a name is cut where it grows long
    assert record.overrides["protocol"] == "leave-one-out"
    assert not running.is_stale(record)


def test_predictions_are_those_of_methods_that_are_trained_by_hand(run):
    trained = {"backbone": "embedded", "training.epochs": 2}
    record = run("clip-au-facs-pain", trained)
    splits = {split: data.open("facs-pain", split, limit=FEW["data.limit"][split]) for split in data.SPLITS}
    test = splits["test"]
    training = experiments.load("clip-au-facs-pain").settings("smoke", trained).training
    said = np.full(len(test), -1)
    for person in test.subjects.unique().tolist():
        rows = [(splits["train"], at) for at in range(len(splits["train"]))]
        rows += [(test, at) for at in range(len(test)) if test.subjects[at] != person]
        others = data.Joined([(dataset, [at]) for dataset, at in rows])  # one part a sample: another order of encoding
        engine.seed_everything(0)
        method = models.build("clip-au", clip.load("embedded"), test.classes, record.config["model"])
        own = data.subset(test, (test.subjects == person).nonzero().flatten())
        fit = engine.fit(
            method, others, None, own, engine.Training(**{**training, "cache_features": False}), seed=0, progress=False
        )
        said[own.positions.numpy()] = fit.test.logits.argmax(1)
    assert said.tolist() == record.predicted.classes.tolist()
    assert set(said.tolist()) == {0, 1}


def test_a_test_time_method_meets_only_the_person_left_out(run, monkeypatch):
    met = []
    whole = protocols.personalising.personalise

    def watched(settings, source, splits, *rest):
        met.append(splits["test"].subjects.unique().tolist())
        return whole(settings, source, splits, *rest)

    monkeypatch.setattr(protocols.personalising, "personalise", watched)
    record = run("clip-autt-facs-pain")
    people = np.unique(record.predicted.subjects).tolist()
    assert met == [[person] for person in people]
    told = record.metrics
    assert [int(person) for person in told["by_subject"]["subjects"]] == people
    assert told["passes"]["war"][-1] == pytest.approx(told["by_subject"]["war"])
    assert told["chosen_by_labels"]["war"] == max(told["passes"]["war"])
    assert set(told["validation"]) == {"war", "uar", "f1"}
    assert 0 <= record.selection["test_chosen"]["war"] <= 1


def test_histories_are_means_and_times_are_sums():
    def row(epoch, loss, war, seconds):
        scores = {"war": war, "uar": war}
        return {
            "epoch": epoch, "losses": {"loss": loss}, "lr": 0.1, "validation": None, "test": scores,
            "seconds": seconds, "images_per_second": 10.0,
        }  # fmt: skip

    two = [[row(1, 1.0, 0.5, 2.0)], [row(1, 3.0, 0.7, 6.0)]]
    (only,) = protocols._means(two, [4, 4])
    assert only["losses"] == {"loss": 2.0}
    assert only["test"] == {"war": np.mean([0.5, 0.7]), "uar": np.mean([0.5, 0.7])}
    (unequal,) = protocols._means(two, [2, 6])
    assert unequal["test"] == {"war": pytest.approx(0.65), "uar": only["test"]["uar"]}
    assert (only["validation"], only["seconds"], only["images_per_second"]) == (None, 8.0, 10.0)


def test_two_runs_are_equal_and_leave_no_checkpoint(run, faces):
    one = run("clip-au-facs-pain", checkpoint_seconds=0.0)
    other = run("clip-au-facs-pain", force=True)
    assert records.same_result(one, other)
    assert not list((faces / "checkpoints").glob("*.safetensors"))


@pytest.fixture
def unheard():
    """A SIGTERM that a run does not listen to fails the test, and does not end all tests."""

    def fail(*_):
        raise AssertionError("nobody listened")

    before = signal.signal(signal.SIGTERM, fail)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_stop_costs_no_training_that_had_ended(run, faces, monkeypatch, unheard):
    few = {"data.limit": {"train": 8, "validation": 4, "test": 6}, "training.epochs": 1}
    steps, step = [], fitting.Stepper.step
    monkeypatch.setattr(fitting.Stepper, "step", lambda *given: steps.append(1) or step(*given))
    whole, needed = run("tent-facs-pain", few), len(steps)
    meetings, meet = [], personalising.meet

    def stopped(*given):
        meetings.append(1)
        if len(meetings) == 4:  # test and validation people of one fold, and again of the next
            signal.raise_signal(signal.SIGTERM)
        return meet(*given)

    steps.clear()
    monkeypatch.setattr(personalising, "meet", stopped)
    with pytest.raises(Stopped, match="stopped by SIGTERM; start the same run again; where it had begun to train"):
        run("tent-facs-pain", few, folder="stopped")
    assert len(list((faces / "checkpoints").glob("*-without-*.safetensors"))) == 2
    assert 0 < len(steps) < needed
    again = run("tent-facs-pain", few, folder="stopped")
    assert len(steps) == needed
    assert records.same_result(again, whole)
    assert not list((faces / "checkpoints").glob("*.safetensors"))


def test_refuses_what_makes_no_sense(run, tmp_path):
    with pytest.raises(UserError, match=r"expected training\.selection last, got validation"):
        run("clip-au-facs-pain", {"training.selection": "validation"})
    with pytest.raises(UserError, match="expected a data set of people's videos"):
        run("linear-probe-facs-still-8", {"protocol": "leave-one-out"})
    with pytest.raises(UserError, match="unknown protocol 'leave-one-in'"):
        run("clip-au-facs-pain", {"protocol": "leave-one-in"})
    with pytest.raises(UserError, match="keep_model: expected the protocol splits"):
        run("clip-au-facs-pain", keep_model=True)
    assert not list(tmp_path.rglob("*.json"))
    with pytest.raises(UserError, match="expected a name for protocol"):
        run("clip-au-facs-pain", {"protocol": {"leave": 1}})
