"""The atlas asks a kept method, and keeps what it said."""

import json
from functools import partial

import numpy as np
import pytest
import torch

from fer_core import atlas, cli, clip, data, entanglement, experiments
from fer_core.batch import Batch
from fer_core.errors import UserError
from fer_core.experiments import running, trained
from fer_core.faces import controlled, expressions


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A CoOp and a linear probe of short runs, kept with their records."""
    folder = tmp_path_factory.mktemp("kept")
    made = {
        name: experiments.run(
            name, "smoke", device="cpu", records_dir=folder / "records", models_dir=folder / "models", keep_model=True,
            progress=False,
        )
        for name in ("coop-facs-still-8", "linear-probe-facs-still-8")
    }  # fmt: skip
    return folder, made


@pytest.fixture(scope="module", autouse=True)
def few_people():
    """Two people in place of twenty in controlled experiments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atlas, "experiment", partial(atlas.experiment, people=2))
        yield


@pytest.fixture(scope="module")
def answers(kept):
    folder, made = kept
    return {name: atlas.ask(name, "smoke", models_dir=folder / "models") for name in made}


def test_it_says_what_the_record_says(answers, kept):
    _, made = kept
    for name, each in answers.items():
        record, measured = made[name], each.measures
        assert each.told["config_digest"] == record.config_digest
        assert measured["UAR"].value == pytest.approx(record.metrics["uar"], abs=1e-9)
        entangled = record.metrics["entanglement"]
        assert measured["index, logits"].value == pytest.approx(entangled["index"], abs=1e-6)
        assert measured["silhouette"].value == pytest.approx(entangled["silhouette"], abs=1e-6)
        assert all(interval.low <= interval.value <= interval.high for interval in measured.values())
        assert np.linalg.norm(each.features.astype(np.float32), axis=1) == pytest.approx(1, abs=1e-2)
        assert len(each.features) == each.told["samples"]


def test_texts_are_asked_where_there_are_some(answers):
    with_texts, without = answers["coop-facs-still-8"], answers["linear-probe-facs-still-8"]
    assert {"modality gap", "alignment"} <= with_texts.measures.keys()
    assert not {"modality gap", "alignment"} & without.measures.keys()
    assert np.diag(with_texts.told["similar"]["texts"]) == pytest.approx(np.ones(8))
    assert without.told["similar"]["texts"] is None


def test_excess_is_the_look_alikes_less_the_rest(answers):
    each = answers["coop-facs-still-8"]
    matrix, classes = each.told["similar"]["images"], each.told["classes"]
    alike, rest = [], []
    for one in range(8):
        for other in range(one + 1, 8):
            pair = {classes[one], classes[other]}
            (alike if any(pair == set(known) for known in expressions.LOOK_ALIKES) else rest).append(matrix[one][other])
    assert each.excess("images") == pytest.approx(np.mean(alike) - np.mean(rest))
    assert answers["linear-probe-facs-still-8"].excess("texts") is None


def test_controlled_answers_can_be_looked_up(answers):
    each = answers["coop-facs-still-8"]
    told = each.told["controlled"]
    assert each.dose("fear") == (told["doses"]["levels"], told["doses"]["own"]["fear"])
    assert each.dose("fear", look_alike=True)[1] == told["doses"]["look_alike"]["fear"]
    levels, values = each.nuisance("turn")
    assert (len(levels), values[0]) == (4, 100 * told["nuisances"]["turn"]["war"][0]["value"])
    assert sum(each.at_rest(name)["plain"] for name in each.told["classes"]) == pytest.approx(1)


def test_controlled_answers_are_those_of_the_method(kept):
    folder, _ = kept
    tower = clip.load("embedded")
    method = trained.open_file(folder / "models" / "coop-facs-still-8" / "smoke-seed0.safetensors", "cpu", tower)
    found = atlas.experiment(method, people=2)
    faces = controlled.doses(method.classes, 2)
    pixels = (faces.image.float() / 255 - torch.tensor(tower.mean).view(3, 1, 1)) / torch.tensor(tower.std).view(
        3, 1, 1
    )
    none = torch.zeros(len(pixels), dtype=torch.int64)
    with torch.no_grad():
        said = method(Batch(pixels, none, none)).logits.softmax(1)
    fear, surprise = (method.classes.index(name) for name in ("fear", "surprise"))
    for row, level in enumerate(controlled.LEVELS):
        chosen = said[(faces.label == fear) & (faces.level == level)]
        assert found["doses"]["own"]["fear"][row] == pytest.approx(chosen[:, fear].mean().item(), abs=1e-5)
        assert found["doses"]["look_alike"]["fear"][row] == pytest.approx(chosen[:, surprise].mean().item(), abs=1e-5)
    full = (said.argmax(1) == faces.label)[(faces.level == 1.0)].float().sum()
    neutral = found["nuisances"]["blur"]["war"][0]["value"] * 16 - full.item()
    assert neutral == pytest.approx(round(neutral), abs=1e-6)  # two neutral faces are right, or not
    assert 0 <= round(neutral) <= 2
    for name, told in found["nuisances"].items():
        assert told["levels"] == list(controlled.NUISANCES[name].levels)
        assert len(told["war"]) == len(told["levels"])
    assert sum(kind["people"] for kind in found["resting"].values()) == 300
    for kind in found["resting"].values():
        assert sum(kind["said"].values()) == pytest.approx(1)


def test_answers_are_kept_whole_and_read_again(answers, tmp_path):
    first = answers["coop-facs-still-8"]
    path = atlas.keep(first, tmp_path)
    again = atlas.read("coop-facs-still-8", tmp_path)
    assert again.told == json.loads(json.dumps(first.told))
    assert np.array_equal(again.features, first.features)
    assert atlas.read("lora-facs-still-8", tmp_path) is None
    path.with_suffix(".safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="make them again"):
        atlas.read("coop-facs-still-8", tmp_path)


def test_changed_settings_make_answers_stale(answers):
    first = answers["coop-facs-still-8"]
    assert not atlas.is_stale(first)
    assert atlas.is_stale(atlas.Answers({**first.told, "config_digest": "0" * 16}, first.features))
    assert atlas.is_stale(atlas.Answers({**first.told, "experiment": "gone-facs-still-8"}, first.features))
    training = {key: value for key, value in first.told["config"]["training"].items() if key != "evaluate_every"}
    older = {**first.told["config"], "training": training}  # before that setting came, at its default
    told = {**first.told, "config": older, "config_digest": running.digest(older)}
    assert not atlas.is_stale(atlas.Answers(told, first.features))


def test_what_was_not_kept_is_told(tmp_path, capsys):
    command = ["atlas", "coop-facs-still-8", "--models", str(tmp_path), "--out", str(tmp_path)]
    assert cli.main(command) == 2
    assert "expected" in capsys.readouterr().err


def test_several_methods_are_one_json_document(answers, tmp_path, monkeypatch, capsys):
    asked = []

    def ask(name, *_, **options):
        asked.append(options["device"])
        return answers[name]

    monkeypatch.setattr(atlas, "ask", ask)
    assert cli.main(["atlas", *answers, "--device", "auto", "--out", str(tmp_path), "--json"]) == 0
    assert [each["experiment"] for each in json.loads(capsys.readouterr().out)] == list(answers)
    assert len(asked) == 2


@pytest.mark.parametrize("given", [("--limit", "40"), ("--profile", "quick"), ("--seed", "1")])
def test_the_books_answers_are_of_the_whole_test_split(given, answers, capsys):
    assert cli.main(["atlas", "coop-facs-still-8", *given]) == 2
    assert "expected profile full, seed 0, all samples for book/atlas, got" in capsys.readouterr().err
    with pytest.raises(UserError, match="pass --out"):
        atlas.keep(answers["coop-facs-still-8"])  # a smoke run's


@pytest.mark.parametrize(("given", "message"), [
    (("--device", "gpu"), "device: expected one that this machine has, got 'gpu'"),
    (("--limit", "0"), "limit: expected at least 1 test sample, got 0"),
])  # fmt: skip
def test_wrong_options_are_mistakes(given, message, kept, tmp_path, capsys):
    folder, _ = kept
    command = ["atlas", "coop-facs-still-8", "--profile", "smoke", "--models", str(folder / "models")]
    assert cli.main([*command, "--out", str(tmp_path), *given]) == 2
    assert capsys.readouterr().err.startswith(f"fer-core: error: {message}")


def test_the_best_device_is_found(kept, answers):
    folder, _ = kept
    found = atlas.ask("linear-probe-facs-still-8", "smoke", models_dir=folder / "models", device="auto", limit=40)
    assert found.told["samples"] == 40


def test_measures_of_a_perfect_method():
    """Features that are one-hot: nothing is entangled."""
    labels = np.arange(160) % 8
    features = np.eye(8, dtype=np.float32)[labels] + 0.01 * np.random.default_rng(0).standard_normal((160, 8))
    said = type("Said", (), {"labels": labels, "features": features, "logits": features})()
    found = atlas.measures(said, data.CLASSES, np.eye(8), None)
    assert found["UAR"].value == found["linear probe"].value == 1
    assert found["index, logits"].value == pytest.approx(0)
    assert found["silhouette"].value > 0.9
    assert found["mixing, fear/surprise"].value == 0
    pairs = entanglement.positions(data.CLASSES, [("fear", "surprise")])
    swapped = features.copy()
    swapped[labels == pairs[0][0]] = features[labels == pairs[0][1]]
    mixed = type("Said", (), {"labels": labels, "features": swapped, "logits": swapped})()
    assert atlas.measures(mixed, data.CLASSES, None, None)["mixing, fear/surprise"].value > 1
