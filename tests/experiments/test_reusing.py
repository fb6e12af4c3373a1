"""Runs that test what another run has kept: they say what training it again would have said, or why they cannot."""

import json

import pytest

from fer_core import cli, data, experiments, models, records, reproducing, sweeps
from fer_core.data import demo
from fer_core.descriptions.clips import clip_keys
from fer_core.errors import UserError
from fer_core.experiments import trained
from fer_core.sweep_jobs import Job

UNTRAINED = {"backbone": "embedded:random"}
FEW = {"train": 14, "validation": 7, "test": 14}
FROM_7 = {"train_on.dataset": "facs-clip-7", "train_on.frames": 2, "train_on.limit": FEW}
PEOPLE = {"data.limit": {"train": 12, "validation": 8, "test": 12}}


@pytest.fixture
def run(ferplus, tmp_path):
    """Runs an experiment on the miniature FERPlus."""

    def call(name, seed=0, folder="records", overrides=None, **options):
        return experiments.run(
            name, "smoke", seed, device="cpu", data_root=ferplus, overrides={**UNTRAINED, **(overrides or {})},
            records_dir=tmp_path / folder, models_dir=tmp_path / "models", progress=False, **options,
        )  # fmt: skip

    return call


@pytest.fixture
def keep(run, tmp_path):
    """Runs an experiment; gives its record and the file that it has kept."""

    def call(name, *, half=False, **options):
        record = run(name, keep_model="half" if half else True, **options)
        return record, trained.file_of(record.path, tmp_path / "models")

    return call


def of_training(record):
    """What must not depend on who has trained."""
    return (record.metrics, record.predictions, record.trainable_parameters, record.flops, record.config_digest)


@pytest.mark.parametrize("name", ["zero-shot", "linear-probe", "tip-adapter", "les-clip", "mpa-fer"])
def test_a_kept_method_is_tested_as_the_run_that_trained_it_did(name, run, keep, monkeypatch):
    first, file = keep(f"{name}-ferplus")

    def looks(*_):
        raise AssertionError("looked at the training data again")

    monkeypatch.setattr(models.get(name), "prepare", looks)
    again = run(f"{name}-ferplus", folder="again", trained_by=file)
    assert of_training(again) == of_training(first)
    assert again.trained_by == f"{first.path.as_posix()} at {first.commit or 'no commit'}"
    assert first.trained_by is None
    assert [row["epoch"] for row in again.history] == [0] == [again.selection["epoch"]]
    assert again.seconds["training"] == 0


def test_weights_chosen_on_validation_are_those_that_are_tested(run, keep):
    chosen = {"training.selection": "validation", "training.epochs": 3, "training.lr": 0.1}
    first, file = keep("linear-probe-ferplus", overrides=chosen)
    assert of_training(run("linear-probe-ferplus", overrides=chosen, folder="again", trained_by=file)) == of_training(
        first
    )


@pytest.mark.parametrize("name", ["emo-clip", "fine-cliper"])
def test_one_training_is_tested_on_another_data_set(name, run_with, tmp_path):
    run = run_with({**UNTRAINED, "data.limit": FEW})
    kept = run(f"{name}-facs-clip-7", keep_model=True, models_dir=tmp_path)
    anew = run(f"{name}-facs-clip-11", FROM_7)
    tested = run(f"{name}-facs-clip-11", FROM_7, folder="tested", trained_by=trained.file_of(kept.path, tmp_path))
    assert of_training(tested) == of_training(anew)
    assert len(tested.metrics["classes"]) == 11
    assert tested.path == anew.path


def test_one_source_is_adapted_in_several_ways(run_with, tmp_path):
    run = run_with({**UNTRAINED, **PEOPLE})
    kept = run("clip-autt-facs-pain", keep_model=True, models_dir=tmp_path)
    file = trained.file_of(kept.path, tmp_path)
    anew = run("clip-autt-facs-pain", {"adapt.steps": 3})
    tested = run("clip-autt-facs-pain", {"adapt.steps": 3}, folder="tested", trained_by=file)
    assert of_training(tested) == of_training(anew)
    assert of_training(tested) != of_training(kept)
    # A test-time method asks for the trained source, whoever kept that.
    source = run("clip-au-facs-pain", keep_model=True, models_dir=tmp_path)
    file = trained.file_of(source.path, tmp_path)
    again = run("clip-autt-facs-pain", folder="again", trained_by=file)
    assert of_training(again) == of_training(kept)


def test_how_much_is_tested_may_differ_but_not_what_is_trained_on(run, keep):
    first, file = keep("linear-probe-ferplus", overrides={"data.limit": {"train": 16}})
    less = {"data.limit": {"train": 16, "test": 8}}
    assert run("linear-probe-ferplus", overrides=less, folder="less", trained_by=file).metrics["n"] == 8
    with pytest.raises(UserError, match=r"expected train_on\.limit\.train 8, as this run would train, got 16"):
        run("linear-probe-ferplus", overrides={"data.limit": {"train": 8}}, trained_by=file)
    chosen = {"training.selection": "validation"}
    _, file = keep("linear-probe-ferplus", overrides={**chosen, "data.limit": {"train": 16, "validation": 16}})
    fewer = {**chosen, "data.limit": {"train": 16, "validation": 8}}
    with pytest.raises(UserError, match=r"expected train_on\.limit\.validation 8"):
        run("linear-probe-ferplus", overrides=fewer, trained_by=file)
    assert first.metrics["n"] == 24


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("linear-probe-ferplus", {"seed": 1}, "expected seed 1, as this run would train, got 0; set it alike"),
        ("linear-probe-ferplus", {"overrides": {"training.lr": 0.5}}, r"expected training\.lr 0\.5"),
        ("coop-ferplus", {}, "expected method 'coop', as this run would train, got 'linear-probe'"),
        ("linear-probe-ferplus", {"overrides": {"backbone": "embedded"}}, "expected backbone .embedded., as this run"),
        ("linear-probe-ferplus", {"keep_model": True}, "expected a run that trains, got one with trained_by"),
        ("linear-probe-ferplus", {"overrides": {"protocol": "leave-one-out"}}, "trained_by: expected the protocol"),
    ],
)
def test_what_would_train_something_else_is_refused_and_writes_nothing(name, options, told, run, keep, tmp_path):
    _, file = keep("linear-probe-ferplus")
    before = sorted(tmp_path.rglob("*.json"))
    with pytest.raises(UserError, match=told):
        run(name, trained_by=file, folder="other", **options)
    assert sorted(tmp_path.rglob("*.json")) == before


def test_rounded_weights_and_other_pictures_are_refused(run, keep, ferplus):
    _, file = keep("linear-probe-ferplus", half=True)
    with pytest.raises(UserError, match="expected whole weights, got some rounded to half precision"):
        run("linear-probe-ferplus", folder="other", trained_by=file)
    _, file = keep("linear-probe-ferplus", force=True)
    pictures = sorted((ferplus / "FER2013Train").glob("*.png"))
    pictures[0].write_bytes(pictures[1].read_bytes())
    with pytest.raises(UserError, match="expected what linear-probe-ferplus was trained on, got other data"):
        run("linear-probe-ferplus", folder="other", trained_by=file)


@pytest.fixture
def with_files(tmp_path, monkeypatch):
    """Settings of runs on a miniature RAF-DB that need a file of descriptions and a folder of landmarks."""
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    root, rows = tmp_path / "raf-db", []
    demo.write("raf-db", root, seed=0)
    points = "\n".join(f"{20 + place} {30 + place}" for place in range(68))
    for split in data.SPLITS:
        dataset = data.open("raf-db", split, root)
        for key in clip_keys(dataset):
            rows.append({"key": key, "text": f"text of {key}", "model": "m", "prompt_digest": "d", "parameters": {},
                         "created": "2026-01-01T00:00:00+00:00"})  # fmt: skip
        for entry in dataset.listing.entries:
            place = (tmp_path / "points" / entry.path).with_suffix(".pts")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"version: 1\nn_points: 68\n{{\n{points}\n}}\n")
    (tmp_path / "told.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    annotations = {"name": "files", "folder": str(tmp_path / "points")}
    return {"data_root": root, "overrides": {
        **UNTRAINED, "data.descriptions": str(tmp_path / "told.jsonl"), "data.annotations": annotations,
    }}  # fmt: skip


def test_files_are_found_where_the_run_itself_has_them(with_files, tmp_path):
    def run(folder, **options):
        return experiments.run(
            "linear-probe-raf-db", "smoke", device="cpu", records_dir=tmp_path / folder, progress=False, **with_files,
            **options,
        )  # fmt: skip

    first = run("first", keep_model=True, models_dir=tmp_path)
    again = run("again", trained_by=trained.file_of(first.path, tmp_path))
    assert of_training(again) == of_training(first)
    # Who has a record alone does not know where they lie, and is told so.
    chosen = records.iterate(tmp_path / "first")
    (drift,) = reproducing.again([*chosen], device="cpu", data_root=with_files["data_root"], progress=False)
    assert drift.why.startswith(
        "needs files of whoever ran it, data.descriptions=told.jsonl, data.annotations.folder: "
    )
    assert "\n" not in drift.why


def test_all_runs_of_a_sweep_take_it(keep, ferplus, tmp_path):
    first, file = keep("linear-probe-ferplus")
    jobs = [Job("linear-probe-ferplus", "smoke", 0, {**UNTRAINED, **more}) for more in ({}, {"training.lr": 0.5})]
    options = sweeps.Options("cpu", str(ferplus), str(tmp_path / "swept"), trained_by=str(file))
    same, other = sweeps.run(jobs, options)
    assert of_training(same.record) == of_training(first)
    assert same.record.trained_by.startswith(first.path.as_posix())
    assert (other.record, "expected training.lr 0.5" in other.error) == (None, True)


def test_the_command_takes_an_experiment_and_names_what_is_missing(ferplus, tmp_path, capsys):
    def command(*further):
        asked = ["run", "linear-probe-ferplus", "--profile", "smoke", "--device", "cpu", "--quiet"]
        places = ["--data-root", str(ferplus), "--models", str(tmp_path / "models")]
        return cli.main([*asked, *places, "--set", "backbone=embedded:random", *further])

    assert command("--records", str(tmp_path / "one"), "--keep-model") == 0
    file = next((tmp_path / "models").rglob("*.safetensors"))
    assert command("--records", str(tmp_path / "two"), "--trained-by", str(file)) == 0
    for given, told in (
        ("linear-probe-ferplus", "expected a trained method at"),  # kept under its own settings, not with this CLIP
        ("linear-prob", "expected a .safetensors file of a run, or an experiment, got 'linear-prob'"),
        (str(tmp_path / "none.safetensors"), "found no file"),
    ):
        assert command("--records", str(tmp_path / "three"), "--trained-by", given) == 2
        assert told in capsys.readouterr().err
    file.rename(file.with_name("smoke-seed0.safetensors"))
    assert command("--records", str(tmp_path / "three"), "--trained-by", "linear-probe-ferplus") == 0
