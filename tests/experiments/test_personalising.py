"""Runs of test-time methods: what their records say, and that labels of the test split decide nothing."""

import pytest
import torch

from fer_core import adapt, clip, data, metrics_subjects, models
from fer_core.experiments import personalising, trained
from fer_core.faces import sets
from fer_core.models.base import normalise

UNTRAINED = {"backbone": "embedded:random", "data.limit": {"train": 12, "validation": 8, "test": 12}}


@pytest.fixture
def run(run_with):
    return run_with(UNTRAINED)


@pytest.mark.parametrize("name", adapt.names())
def test_a_record_tells_of_people_and_of_what_was_adapted(name, run):
    record = run(f"{name}-facs-pain")
    source = run("clip-au-facs-pain")
    assert (record.method, record.config["source"]) == (name, "clip-au")
    assert record.config["model"] == source.config["model"]
    assert record.seconds["adaptation"] > 0
    said = record.predicted
    people = metrics_subjects.by_subject(said.labels, said.classes, said.subjects, record.metrics["classes"])
    told = record.metrics["by_subject"]
    assert told["war"] == pytest.approx(people.mean("war"))
    assert told["f1"] == pytest.approx(people.mean("f1"))
    assert [int(person) for person in told["subjects"]] == people.subjects.tolist()
    assert set(record.metrics["validation"]) == {"war", "uar", "f1"}
    assert 0 <= record.metrics["calibration_error"] <= 1
    assert record.trainable_parameters != source.trainable_parameters
    if name in ("clip-autt", "prompt-align"):
        assert len(record.metrics["passes"]["war"]) == record.config["adapt"]["steps"] + 1
        assert record.metrics["passes"]["war"][-1] == pytest.approx(told["war"])
        chosen = record.metrics["chosen_by_labels"]
        assert chosen["war"] == max(record.metrics["passes"]["war"])
    else:
        assert "passes" not in record.metrics


def test_prompt_align_remembers_training_videos_and_is_scored_on_validation_people(run_with, monkeypatch):
    remembered, met = [], []
    method, meet = adapt.get("prompt-align"), personalising.meet
    remember = method.remember

    def keep(self, batches):
        seen = list(batches)
        remembered.extend(each.features.class_token for each in seen)
        remember(self, seen)

    def watch(*arguments, **options):
        met.append(meet(*arguments, **options))
        return met[-1]

    monkeypatch.setattr(method, "remember", keep)
    monkeypatch.setattr(personalising, "meet", watch)
    record = run_with({**UNTRAINED, "data.limit": {"train": 10, "validation": 9, "test": 12}})("prompt-align-facs-pain")
    tower = clip.load("embedded:random")
    videos = data.open("facs-pain", "train", limit=10)
    batch = data.Transform.of(tower)(videos.take(range(10)), 0, 0)
    expected = normalise(tower.encode_image(batch.image).class_token)
    assert (normalise(torch.cat(remembered)) - expected).abs().max() < 1e-4
    said, people = met[1].predictions, data.open("facs-pain", "validation", limit=9).subjects
    scored = metrics_subjects.by_subject(said.labels, said.logits, people, record.metrics["classes"])
    assert record.metrics["validation"] == pytest.approx({name: scored.mean(name) for name in ("war", "uar", "f1")})


def test_labels_of_the_test_split_change_no_prediction(run, monkeypatch):
    one = run("clip-autt-facs-pain")
    load = sets.load

    def turned(name, split, **options):
        found = load(name, split, **options)
        if split == "test":
            found.label = 1 - found.label
        return found

    monkeypatch.setattr(sets, "load", turned)
    other = run("clip-autt-facs-pain", folder="turned")
    assert other.predicted.classes.tolist() == one.predicted.classes.tolist()
    assert other.metrics["war"] == pytest.approx(1 - one.metrics["war"])


def test_two_runs_with_one_seed_are_equal_and_another_seed_draws_other_contexts(run):
    from fer_core import records

    one, other = run("clip-autt-facs-pain"), run("clip-autt-facs-pain", folder="again")
    assert records.same_result(one, other)
    source = models.build("clip-au", clip.load("embedded:random"), ("neutral", "pain"))
    first, same, second = (adapt.build("clip-autt", source, seed=seed).prompts.first for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, second)


def test_a_kept_method_is_the_source(run, tmp_path):
    record = run("clip-autt-facs-pain", keep_model=True, models_dir=tmp_path / "models")
    source = run("clip-au-facs-pain", keep_model=True, models_dir=tmp_path / "models")
    kept, expected = (trained.open_file(trained.file_of(each.path, tmp_path / "models")) for each in (record, source))
    assert kept.name == "clip-au"
    for one, other in zip(kept.parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other)
