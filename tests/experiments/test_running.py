"""Smoke runs on a miniature FERPlus and few faces with an untrained CLIP: what records say, and when there is one."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fer_core import data, engine, experiments, hardware, models, records
from fer_core.batch import Batch
from fer_core.clip import load as load_clip
from fer_core.data import align_folder, demo
from fer_core.descriptions.clips import clip_keys
from fer_core.errors import UserError
from fer_core.experiments import loading, measuring, opening, protocols, running
from fer_core.faces import sets

UNTRAINED = {"backbone": "embedded:random"}


@pytest.fixture
def run(ferplus, tmp_path):
    """Runs an experiment on the miniature FERPlus."""

    def call(name="coop-ferplus", seed=0, folder="records", overrides=None, **options):
        return experiments.run(
            name, "smoke", seed, device="cpu", data_root=ferplus, overrides={**UNTRAINED, **(overrides or {})},
            records_dir=tmp_path / folder, progress=False, **options,
        )  # fmt: skip

    return call


@pytest.fixture
def fit_count(monkeypatch):
    """How many times the engine was asked to train."""
    calls = []
    fit = engine.fit
    monkeypatch.setattr(engine, "fit", lambda *values, **names: calls.append(1) or fit(*values, **names))
    return calls


@pytest.mark.parametrize("method", ["zero-shot", "linear-probe", "coop", "full-fine-tuning"])
def test_a_record_says_what_ran(method, run, ferplus, tmp_path):
    record = run(f"{method}-ferplus")
    clip = load_clip("embedded:random")
    assert (record.method, record.dataset, record.split, record.profile) == (method, "ferplus", "test", "smoke")
    assert (record.backbone, record.weights) == (clip.name, clip.weights)
    assert record.metrics["n"] == 24
    assert record.metrics["classes"] == list(data.CLASSES)
    assert [sum(row) for row in record.metrics["confusion"]] == [3] * 8
    hits = sum(row[place] for place, row in enumerate(record.metrics["confusion"]))
    assert record.metrics["war"] == hits / 24
    # One of three test images of each class is a training image too.
    assert record.metrics["deduplicated"]["n"] == 16
    assert record.seconds["total"] >= record.seconds["data"]
    assert record.peak_memory > 2**20
    trained = {
        "zero-shot": 0,
        "linear-probe": clip.embed_dim * 8 + 8,
        "coop": 4 * clip.text_width,
        "full-fine-tuning": sum(each.numel() for each in clip.model.visual.parameters()) + clip.embed_dim * 8,
    }
    assert record.trainable_parameters == trained[method]
    (path,) = (tmp_path / "records").rglob("*.json")
    assert records.read(path) == record
    assert str(tmp_path) not in path.read_text()
    assert path.name.startswith("smoke-seed0-backbone=embedded_random-")


def test_the_total_counts_the_runs_that_were_interrupted(run, monkeypatch):
    fit = engine.fit
    monkeypatch.setattr(
        engine, "fit", lambda *values, **names: dataclasses.replace(fit(*values, **names), earlier=1000.0)
    )
    assert 1000 < run().seconds["total"] < 2000


def test_test_chosen_is_the_best_epoch_on_test_and_the_rule_is_another(run):
    record = run(overrides={"training.epochs": 4, "training.lr": 0.05})
    scores = [row["test"]["war"] for row in record.history]
    best = scores.index(max(scores))
    assert record.selection["rule"] == "last"
    assert record.selection["epoch"] == 4
    assert record.metrics["war"] == scores[-1]
    assert record.selection["test_chosen"] == {"epoch": best + 1, **record.history[best]["test"]}


def test_two_runs_with_one_seed_are_equal_and_with_two_are_not(run):
    one, other = run(folder="one"), run(folder="other")
    assert records.same_result(one, other)
    assert one.metrics == other.metrics
    assert [row["losses"] for row in one.history] == [row["losses"] for row in other.history]
    assert not records.same_result(one, dataclasses.replace(run(seed=1, folder="two"), seed=0))


def test_an_equal_record_is_kept_unless_forced(run, fit_count):
    first = run()
    assert run() == first
    assert len(fit_count) == 1
    again = run(force=True)
    assert len(fit_count) == 2
    assert records.same_result(first, again)


def test_a_record_of_other_data_is_replaced_by_force_alone(run, fit_count, ferplus):
    first = run()
    label = ferplus / "FER2013Test" / "label.csv"
    label.write_text("\n".join(label.read_text().splitlines()[:-1]) + "\n")
    other = run(folder="others")
    told = f"expected the data of this record, {first.fingerprint}, got {other.fingerprint}; --force replaces"
    with pytest.raises(UserError, match=told):
        run()
    assert len(fit_count) == 2
    assert run(folder="others") == other
    assert run(force=True).metrics["n"] == first.metrics["n"] - 1
    assert len(fit_count) == 3


def test_a_record_of_other_weights_of_the_same_name_is_replaced_by_force_alone(run, fit_count, monkeypatch):
    first = run()
    load = running.clip.load

    def changed(*given, **names):
        tower = load(*given, **names)
        monkeypatch.setattr(tower, "weights", "0" * 16)
        return tower

    with monkeypatch.context() as patched:
        patched.setattr(running.clip, "load", changed)
        with pytest.raises(UserError, match=f"expected the weights of this record, {first.weights}, got 0000") as told:
            run()
    assert "\n" not in str(told.value)
    assert len(fit_count) == 1
    assert run() == first


def test_overridden_runs_have_a_file_of_their_own_and_defaults_are_no_override(run, tmp_path):
    own = run()
    assert own.overrides == UNTRAINED
    other = run(overrides={"training.lr": 0.5})
    assert other.overrides == {**UNTRAINED, "training.lr": 0.5}
    assert other.path != own.path
    assert other.config_digest != own.config_digest
    same = experiments.load("coop-ferplus").settings("smoke").training["lr"]
    assert run(overrides={"training.lr": same}).path == own.path
    assert len(list((tmp_path / "records").rglob("*.json"))) == 2


def test_a_setting_that_is_taken_away_is_an_override(run, tmp_path):
    own = run(overrides={"data.limit.test": 8})
    for taken, told in (("data.limit", "data.limit"), ("data.limit.train", "data.limit.train")):
        other = run(overrides={taken: None})
        assert other.overrides == {**UNTRAINED, told: None}
        assert other.path != own.path
        assert not experiments.is_stale(other)
        assert experiments.changed("coop-ferplus", "smoke", {**UNTRAINED, taken: None}) == other.overrides
    assert len(list((tmp_path / "records").rglob("*.json"))) == 3


def test_the_commit_is_the_one_that_the_run_began_with(run, monkeypatch):
    commits = iter(["0" * 40, "1" * 40])
    monkeypatch.setattr(hardware, "commit", lambda: next(commits))
    carry_out = protocols.carry_out

    def and_meanwhile(*given):
        hardware.commit()  # somebody commits
        return carry_out(*given)

    monkeypatch.setattr(protocols, "carry_out", and_meanwhile)
    assert run().commit == "0" * 40


def test_each_run_has_a_folder_of_curves(run, tmp_path, monkeypatch):
    fit, written = engine.fit, []
    monkeypatch.setattr(engine, "fit", lambda *given, log_dir, **names: written.append(log_dir) or fit(
        *given, log_dir=None, **names
    ))  # fmt: skip
    made = [run(seed=seed, log_dir=str(tmp_path)) for seed in (0, 1)]
    run(folder="without")
    assert written == [*(tmp_path / each.path.with_suffix("") for each in made), None]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, RuntimeError, UserError])
def test_a_run_that_does_not_end_writes_nothing(run, monkeypatch, tmp_path, raised):
    def fail(*_values, **_names):
        raise raised("half way")

    monkeypatch.setattr(engine, "fit", fail)
    with pytest.raises(raised):
        run()
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"training.lrr": 1}, "unknown setting of training 'lrr'; did you mean 'lr'"),
        ({"training.lr": "fast"}, r"training\.lr: expected float, got 'fast'"),
        (
            {"model.context_lenght": 8},
            "unknown setting of model of coop 'context_lenght'; did you mean 'context_length'",
        ),
        ({"data.vote": "majority"}, "unknown setting of data of ferplus 'vote'; did you mean 'votes'"),
        ({"data.votes": "most"}, "votes"),
        ({"data.limit.tests": 1}, "data.limit: .*got 'tests'"),
        ({"data.limit.test": "few"}, "limit: expected a number .*got 'few'"),
        ({"backbone": "ViT-B-16:openai"}, "ViT-B-16-quickgelu:openai"),
    ],
)
def test_wrong_settings_are_refused_before_training(run, tmp_path, overrides, message, fit_count):
    with pytest.raises(UserError, match=message) as caught:
        run(overrides=overrides)
    assert "\n" not in str(caught.value)
    assert not fit_count
    assert not (tmp_path / "records").exists()


def test_people_are_met_by_one_process_and_more_are_refused_before_training(monkeypatch, fit_count):
    several = lambda device: SimpleNamespace(count=4, device=device)  # noqa: E731
    monkeypatch.setattr(engine, "Processes", several)
    with pytest.raises(UserError, match="clip-autt: expected one process, got 4"):
        experiments.run("clip-autt-facs-pain", "smoke", device="cpu")
    assert not fit_count


def test_a_device_that_is_not_there_is_refused():
    for name in ("cuda:99", "tpu3", "xyz"):
        with pytest.raises(UserError, match=f"got '{name}'; use cpu"):
            experiments.run("coop-ferplus", "smoke", device=name)


def test_the_digest_covers_defaults_but_nothing_of_the_machine():
    settings = experiments.load("coop-ferplus").settings("full")
    resolved = experiments.resolve(settings)
    assert resolved["training"]["momentum"] == engine.Training().momentum
    assert resolved["model"]["class_specific"] is False
    more_workers = dataclasses.replace(settings, training={**settings.training, "workers": 7})
    assert running.digest(experiments.resolve(more_workers)) == running.digest(resolved)
    for change in ({"training": {**settings.training, "momentum": 0.5}}, {"data": {"votes": "probability"}}):
        assert running.digest(experiments.resolve(dataclasses.replace(settings, **change))) != running.digest(resolved)


def test_the_digest_covers_how_data_is_read_but_not_where_it_lies():
    overrides = {"data.fold": 3, "data.lists_root": "/somewhere/lists", "data.store": True}
    resolved = experiments.resolve(experiments.load("zero-shot-mafw").settings("smoke", overrides))["data"]
    assert resolved["lists_root"] == "lists"
    assert "store" not in resolved
    assert (resolved["fold"], resolved["frames"], resolved["validation"]) == (3, 4, 0.1)
    assert resolved["limit"] == {"train": 32, "validation": 16, "test": 32}


def test_a_weights_file_is_named_without_its_folder():
    for folder in ("/somewhere/", "there/", ""):
        settings = loading.Settings("zero-shot", "ferplus", f"ViT-B/16:{folder}weights.safetensors")
        assert experiments.resolve(settings)["backbone"] == "ViT-B-16:weights.safetensors"


def test_stale_is_what_ran_with_other_settings(run, monkeypatch):
    record = run()
    assert not experiments.is_stale(record)
    for changed in (
        {"experiment": "coop-raf-db"},
        {"profile": "paper"},
        {"config_digest": "0" * 16},
        {"overrides": {**UNTRAINED, "training.lr": 0.3}},
        {"overrides": {**UNTRAINED, "training.gone": 1}},
    ):
        assert experiments.is_stale(dataclasses.replace(record, **changed)), changed


def test_a_changed_default_makes_stale_and_a_new_setting_does_not(run, monkeypatch):
    record = run()
    resolve = running.resolve

    def with_new_setting(settings):
        resolved = resolve(settings)
        return {**resolved, "training": {**resolved["training"], "gradient_accumulation": 1}}

    monkeypatch.setattr(running, "resolve", with_new_setting)
    assert not experiments.is_stale(record)
    assert run() == record

    def with_changed_default(settings):
        resolved = resolve(settings)
        return {**resolved, "training": {**resolved["training"], "momentum": 0.8}}

    monkeypatch.setattr(running, "resolve", with_changed_default)
    assert experiments.is_stale(record)
    assert run().config["training"]["momentum"] == 0.8

    def without_a_setting(settings):
        resolved = resolve(settings)
        return {**resolved, "training": {k: v for k, v in resolved["training"].items() if k != "schedule"}}

    monkeypatch.setattr(running, "resolve", without_a_setting)
    assert experiments.is_stale(record)


def test_new_embedded_weights_make_their_records_stale(monkeypatch):
    settings = experiments.load("coop-ferplus").settings("full")
    monkeypatch.setattr(running, "_embedded_weights", lambda: "one")
    one = running.digest(experiments.resolve(settings))
    monkeypatch.setattr(running, "_embedded_weights", lambda: "two")
    assert running.digest(experiments.resolve(settings)) != one


def test_a_new_face_generator_makes_records_of_rendered_faces_stale(monkeypatch):
    def digests():
        names = ("coop-facs-still-8", "coop-ferplus")
        return [running.digest(experiments.resolve(experiments.load(name).settings("full"))) for name in names]

    faces, photographs = digests()
    monkeypatch.setattr(sets, "GENERATOR_VERSION", sets.GENERATOR_VERSION + 1)
    assert digests() == [digests()[0], photographs]
    assert digests()[0] != faces


@pytest.fixture(scope="module")
def face_cache(tmp_path_factory):
    """Where the few rendered faces of this file are kept."""
    return tmp_path_factory.mktemp("faces")


@pytest.mark.parametrize("method", ["zero-shot", "linear-probe", "coop", "full-fine-tuning"])
def test_rendered_faces_need_no_data(method, face_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_CACHE", str(face_cache))
    monkeypatch.delenv("FER_DATA_ROOT", raising=False)
    # The set's own code with fewer people and faces, so that nothing is rendered that smoke would leave out.
    few = dataclasses.replace(sets.SETS["facs-still-8"], counts=(64, 32, 64), people=(8, 4, 8))
    monkeypatch.setitem(sets.SETS, "facs-still-8", few)
    name = f"{method}-facs-still-8"
    record = experiments.run(name, "smoke", overrides=UNTRAINED, records_dir=tmp_path, device="cpu", progress=False)
    assert record.dataset == "facs-still-8"
    assert record.config["data"]["limit"] == {"train": 64, "validation": 32, "test": 64}
    assert [sum(row) for row in record.metrics["confusion"]] == [8] * 8
    assert "deduplicated" not in record.metrics
    assert len(record.history) == max(1, record.config["training"]["epochs"])


def test_flops_of_an_image_tower_follow_from_its_shapes():
    clip = load_clip("embedded:random")
    method = models.build("zero-shot", clip, ["anger", "fear"])
    size, width, layers = clip.image_size, clip.visual_width, clip.visual_layers
    rows, columns = clip.patch_grid
    patches, patch = rows * columns, (size // rows) * (size // columns) * 3
    tokens = patches + 1
    # Per block: four projections of attention, an MLP of four times the width, and the two products of attention.
    block = tokens * width * width * (4 + 8) + 2 * tokens * tokens * width
    # In the last one the class token alone asks, and goes on; keys and values are those of all tokens.
    last = width * width * (2 * tokens + 2 + 8) + 2 * tokens * width
    products = patches * patch * width + (layers - 1) * block + last + width * clip.embed_dim + clip.embed_dim * 2
    sample = Batch(image=torch.zeros(1, 3, size, size), label=torch.zeros(1).long(), index=torch.zeros(1).long())
    assert measuring.flops(method, sample) == 2 * products
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.fixture
def rafdb(tmp_path, monkeypatch):
    """A miniature RAF-DB."""
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    demo.write("raf-db", tmp_path / "raf-db", seed=0)
    return tmp_path / "raf-db"


def settings_with(**options):
    chosen = {f"data.{key}": value for key, value in options.items()}
    return experiments.load("zero-shot-raf-db").settings("smoke", {**UNTRAINED, **chosen})


def split_of(settings, split, root):
    return opening.splits(settings, root, 0)[0][split]


def test_landmarks_of_another_tool_come_with_the_batches(rafdb, tmp_path):
    plain = split_of(settings_with(), "test", rafdb)
    folder = tmp_path / "points"
    for split in data.SPLITS:
        for entry in split_of(settings_with(), split, rafdb).listing.entries:
            place = (folder / entry.path).with_suffix(".pts")
            place.parent.mkdir(parents=True, exist_ok=True)
            rows = "\n".join(f"{20 + x} {30 + y}" for x, y in zip(range(68), range(68), strict=True))
            place.write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")
    chosen = settings_with(annotations={"name": "files", "folder": str(folder)})
    told = split_of(chosen, "test", rafdb)
    batch = told.take([0, 1])
    assert batch.landmarks.shape == (2, 68, 2)
    assert batch.parsing.shape[0] == 2
    assert torch.equal(batch.image, plain.take([0, 1]).image)
    assert told.fingerprint != plain.fingerprint
    resolved = running.resolve(chosen)
    assert resolved["data"]["annotations"] == {"name": "files", "several": "largest"}
    assert str(tmp_path) not in json.dumps(resolved)
    with pytest.raises(UserError, match=r"setting of data\.annotations 'nam'; did you mean 'name'"):
        running.resolve(settings_with(annotations={"nam": "files"}))


def test_a_record_names_the_transform_that_aligned_the_faces(rafdb, tmp_path):
    def ran():
        return experiments.run(
            "zero-shot-raf-db", "smoke", 0, device="cpu", data_root=rafdb, overrides=UNTRAINED, progress=False,
            records_dir=tmp_path / "records", force=True,
        )  # fmt: skip

    assert ran().alignment is None
    note = {"schema": align_folder.SCHEMA, "digest": "0123456789abcdef", "alignment": {}, "finder": {}}
    (rafdb / align_folder.NOTE).write_text(json.dumps(note))
    assert ran().alignment == "0123456789abcdef"


def test_without_a_validation_split_all_training_samples_train(rafdb, tmp_path):
    """As the papers train; the profile paper of data sets whose validation split is ours says so."""
    held, all_of_it = (opening.splits(settings_with(**options), rafdb, 0)[0] for options in ({}, {"validation": 0}))
    assert list(all_of_it) == ["train", "test"]
    assert len(all_of_it["train"]) == len(held["train"]) + len(held["validation"])
    record = experiments.run(
        "linear-probe-raf-db", "smoke", data_root=rafdb, device="cpu", progress=False, records_dir=tmp_path,
        overrides={"data.validation": 0},
    )  # fmt: skip
    assert all(row["validation"] is None for row in record.history)
    assert experiments.load("mpa-fer-raf-db").settings("paper").data["validation"] == 0


def test_descriptions_stand_for_captions(rafdb, tmp_path):
    keys = clip_keys(split_of(settings_with(), "test", rafdb))
    trained_on = [clip_keys(split_of(settings_with(), split, rafdb)) for split in ("train", "validation")]
    written = tmp_path / "descriptions.jsonl"
    rows = [
        {"key": name, "text": f"text of {name}", "model": "m", "prompt_digest": "d", "parameters": {},
         "created": "2026-01-01T00:00:00+00:00"}
        for name in sum(trained_on, keys)
    ]  # fmt: skip
    written.write_text("".join(json.dumps(row) + "\n" for row in rows))
    few = settings_with(limit={"test": 5}, descriptions=str(written))
    told = split_of(few, "test", rafdb)
    expected = [f"text of {keys[place]}" for place in told.dataset.positions.tolist()]
    assert told.take(range(len(told))).caption == told.without_pixels(range(len(told))).caption == expected
    assert told.fingerprint != told.dataset.fingerprint
    assert running.resolve(few)["data"]["descriptions"] == "descriptions.jsonl"
    written.write_text("".join(json.dumps(row) + "\n" for row in rows[1:]))
    with pytest.raises(UserError, match="expected a description of each of"):
        split_of(settings_with(descriptions=str(written)), "test", rafdb)


def test_other_descriptions_of_classes_are_settings_of_the_run(run, tmp_path):
    told = {name: f"The brows of person {place} rise." for place, name in enumerate(data.CLASSES)}
    record = run("mpa-fer-ferplus", overrides={"model.descriptions": told})
    assert record.config["model"]["descriptions"] == told
    assert not experiments.is_stale(record)
    assert experiments.is_stale(dataclasses.replace(record, config_digest="0" * 16))
    (kept,) = records.iterate(tmp_path / "records", "mpa-fer-ferplus")
    assert kept.config == record.config


@pytest.mark.parametrize("name", [name for name in models.names() if f"{name}-ferplus" in experiments.names()])
def test_every_method_for_stills_leaves_a_record(name, run):
    record = run(f"{name}-ferplus")
    assert record.method == name
    assert record.flops > 0
    assert (record.trainable_parameters > 0) == (name not in ("zero-shot", "majority"))


FEW = {"backbone": "embedded:random", "training.batch_size": 8}


def smoke(name, tmp_path, overrides, seed=0, **options):
    return experiments.run(
        name, "smoke", seed, device="cpu", overrides={**FEW, **overrides}, records_dir=tmp_path, progress=False,
        **options,
    )  # fmt: skip


def test_shots_are_drawn_anew_for_each_seed_of_the_same_data(tmp_path, monkeypatch):
    seen = []
    fit = engine.fit
    monkeypatch.setattr(engine, "fit", lambda method, train, *rest, **names: seen.append(train) or fit(
        method, train, *rest, **names
    ))  # fmt: skip
    one, other = (smoke("linear-probe-facs-still-8", tmp_path, {"data.shots": 2}, seed) for seed in (0, 1))
    assert [torch.bincount(train.labels).tolist() for train in seen] == [[2] * 8] * 2
    assert seen[0].positions.tolist() != seen[1].positions.tolist()
    assert one.fingerprint == other.fingerprint
    assert one.overrides["data.shots"] == 2
    assert one.config["data"]["shots"] == 2


def test_a_method_trains_on_one_set_and_is_asked_of_another(tmp_path, ferplus, monkeypatch):
    seen = []
    fit = engine.fit
    monkeypatch.setattr(engine, "fit", lambda method, *splits, **names: seen.append((method.classes, splits)) or fit(
        method, *splits, **names
    ))  # fmt: skip
    train_on = {"train_on.dataset": "facs-still-8", "train_on.limit": 32}
    record = smoke("coop-ferplus", tmp_path, train_on, data_root=ferplus)
    ((_, (train, validation, test, _)),) = seen
    assert (train.name, validation.name, test.name) == ("facs-still-8", "facs-still-8", "ferplus")
    assert record.dataset == "ferplus"
    assert record.config["train_on"] == {"dataset": "facs-still-8", "limit": 32}
    assert record.overrides["train_on.dataset"] == "facs-still-8"
    assert record.config["faces"] == sets.GENERATOR_VERSION
    assert "faces" not in record.overrides  # nobody can set it
    assert not running.is_stale(record)
    with pytest.raises(UserError, match=r"train_on is set; say train_on\.shots"):
        smoke("coop-ferplus", tmp_path, {**train_on, "data.shots": 2}, data_root=ferplus)


def test_other_classes_are_asked_through_their_texts(tmp_path):
    train_on = {"train_on.dataset": "facs-still-8", "train_on.limit": 32}
    data_options = {"data.limit": {"test": 22}}
    record = smoke("coop-facs-clip-11", tmp_path, {**train_on, **data_options})
    assert len(record.metrics["classes"]) == 11
    assert np.asarray(record.metrics["confusion"]).sum() == 22
    with pytest.raises(UserError, match="learns something of each class"):
        smoke("linear-probe-facs-clip-11", tmp_path, {**train_on, **data_options})
    with pytest.raises(UserError, match=r"expected train_on\.dataset, got none"):
        smoke("coop-ferplus", tmp_path, {"train_on.limit": 3})


def test_training_labels_may_be_wrong_and_others_are_not(tmp_path, monkeypatch):
    seen = []
    fit = engine.fit
    monkeypatch.setattr(engine, "fit", lambda method, *splits, **names: seen.append(splits) or fit(
        method, *splits, **names
    ))  # fmt: skip
    noise = {"data.label_noise.share": 0.5, "data.label_noise.to": "any"}
    one, other = (smoke("linear-probe-facs-still-8", tmp_path, noise, seed) for seed in (0, 1))
    for train, validation, test, *_ in seen:
        assert int(train.wrong.sum()) == 32
        right = data.open("facs-still-8", "train", limit=64).labels
        assert torch.equal(train.labels != right, train.wrong)
        for split in (validation, test):
            assert torch.equal(split.labels, data.open("facs-still-8", split.split, limit=len(split)).labels)
    assert not torch.equal(seen[0][0].labels, seen[1][0].labels)
    assert one.fingerprint == other.fingerprint
    assert one.config["data"]["label_noise"] == {"share": 0.5, "to": "any"}
    with pytest.raises(UserError, match="expected a share above 0 and up to 1, got 2"):
        smoke("linear-probe-facs-still-8", tmp_path, {"data.label_noise.share": 2})
    with pytest.raises(UserError, match=r"train_on is set; say train_on\.label_noise"):
        smoke("coop-facs-clip-11", tmp_path, {"train_on.dataset": "facs-still-8", **noise})
