"""Methods that runs have kept: the same scores again, and clear words where a file does not fit."""

import numpy as np
import pytest
import torch

from fer_core import data, engine, experiments, models
from fer_core.clip import load as load_clip
from fer_core.engine import checkpoints
from fer_core.errors import UserError
from fer_core.experiments import running, trained

UNTRAINED = {"backbone": "embedded:random"}


@pytest.fixture
def run(ferplus, tmp_path):
    """Runs an experiment on the miniature FERPlus and keeps what it trained."""

    def call(name, **options):
        return experiments.run(
            name, "smoke", device="cpu", data_root=ferplus, overrides=UNTRAINED, records_dir=tmp_path / "records",
            **{"keep_model": True, "models_dir": tmp_path / "models", "progress": False, **options},
        )  # fmt: skip

    return call


def kept(tmp_path, record):
    return trained.file_of(record.path, tmp_path / "models")


@pytest.mark.parametrize("name", ["linear-probe", "coop", "full-fine-tuning", "tip-adapter", "les-clip", "mpa-fer"])
def test_a_kept_method_says_what_the_record_says(run, ferplus, tmp_path, name):
    record = run(f"{name}-ferplus")
    method = trained.open_file(kept(tmp_path, record))
    test = data.open("ferplus", "test", ferplus)
    transform = data.Transform(method.clip.image_size, method.clip.mean, method.clip.std, train=False)
    precision = record.config["training"]["precision"]
    said = engine.evaluate(method, data.loader(test, transform, 24, seed=0), precision=precision)
    assert np.array_equal(said.logits.argmax(1), record.predicted.classes)
    assert np.array_equal(said.labels, record.predicted.labels)


def test_half_precision_halves_the_file_and_rounds_each_weight(run, tmp_path):
    record = run("les-clip-ferplus")
    whole = kept(tmp_path, record)
    half = trained.file_of(record.path, tmp_path / "half")
    run("les-clip-ferplus", keep_model="half", models_dir=tmp_path / "half", force=True)
    assert trained.read(half)["half"]
    assert not trained.read(whole)["half"]
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    rounded = dict(trained.open_file(half).named_parameters())
    for name, weight in trained.open_file(whole).named_parameters():
        assert rounded[name].dtype == torch.float32
        assert torch.equal(rounded[name], weight.half().float() if weight.requires_grad else weight)


def test_a_weight_beyond_half_precision_is_refused_and_nothing_written(run, tmp_path):
    record = run("linear-probe-ferplus")
    method = trained.open_file(kept(tmp_path, record))
    with torch.no_grad():
        next(each for each in method.parameters() if each.requires_grad).view(-1)[0] = 1e5
    with pytest.raises(UserError, match="expected weights within half precision's 65,504"):
        trained.keep(method, record, tmp_path / "half", half=True)
    assert not (tmp_path / "half").exists()


def test_a_run_found_again_still_keeps_its_method(run, tmp_path):
    record = run("linear-probe-ferplus")
    path = kept(tmp_path, record)
    path.unlink()
    run("linear-probe-ferplus")
    assert trained.read(path)["config_digest"] == record.config_digest


def test_a_file_that_does_not_say_of_its_precision_is_whole(run, tmp_path):
    record = run("linear-probe-ferplus")
    groups, told = checkpoints.read(kept(tmp_path, record))
    del told["half"]
    checkpoints.write(kept(tmp_path, record), groups, told)
    assert trained.read(kept(tmp_path, record))["half"] is False
    assert trained.is_kept(record, tmp_path / "models")


def test_a_file_of_other_weights_data_or_precision_is_made_again(run, ferplus, tmp_path):
    record = run("linear-probe-ferplus", keep_model="half")
    file = kept(tmp_path, record)
    assert trained.read(file)["half"]
    run("linear-probe-ferplus")
    assert not trained.read(file)["half"]
    written, stamp = file.read_bytes(), file.stat().st_mtime_ns
    run("linear-probe-ferplus")
    assert file.stat().st_mtime_ns == stamp
    label = ferplus / "FER2013Train" / "label.csv"
    label.write_text("\n".join(label.read_text().splitlines()[:-1]) + "\n")
    other = run("linear-probe-ferplus", keep_model=False, force=True)
    assert trained.read(file)["fingerprint"] == record.fingerprint != other.fingerprint
    run("linear-probe-ferplus")
    assert trained.read(file)["fingerprint"] == other.fingerprint
    groups, told = checkpoints.read(file)
    checkpoints.write(file, groups, {**told, "config_digest": "0" * 16})
    assert not trained.is_kept(other, tmp_path / "models")
    file.write_bytes(written[:-4])
    run("linear-probe-ferplus")
    assert trained.open_file(file).classes == tuple(data.CLASSES)


def test_another_clip_is_refused(run, tmp_path):
    path = kept(tmp_path, run("linear-probe-ferplus"))
    told = trained.read(path)
    other = load_clip("embedded:random", seed=1)
    with pytest.raises(UserError, match=f"expected the weights {told['weights']} of {told['backbone']}.*train it"):
        trained.open_file(path, tower=other)


def test_another_methods_weights_are_refused(run, tmp_path, monkeypatch):
    path = kept(tmp_path, run("coop-ferplus"))
    build = models.build
    monkeypatch.setattr(models, "build", lambda name, *rest: build("linear-probe", *rest[:2]))
    with pytest.raises(UserError, match="expected the weights of coop, got others"):
        trained.open_file(path)


def test_what_is_not_there_is_told_with_the_command(tmp_path):
    with pytest.raises(UserError, match="fer-core run coop-ferplus --profile full --seed 2 --keep-model"):
        trained.load("coop-ferplus", seed=2, folder=tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    from fer_core.engine import checkpoints

    checkpoints.write(tmp_path / "other.safetensors", {"method": {"weight": torch.zeros(2)}}, {"epoch": 1})
    with pytest.raises(UserError, match="expected a method that a run has kept"):
        trained.open_file(tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match=r"expected a whole checkpoint.*copy it again") as broken:
        trained.open_file(tmp_path / "broken.safetensors")
    assert "delete" not in str(broken.value)


def test_a_method_of_other_settings_is_refused(run, tmp_path, monkeypatch):
    record = run("linear-probe-ferplus")
    where = {"variant": record.variant, "folder": tmp_path / "models"}
    assert trained.load("linear-probe-ferplus", "smoke", **where).name == "linear-probe"
    resolve = running.resolve

    def with_changed_default(settings):
        resolved = resolve(settings)
        return {**resolved, "training": {**resolved["training"], "momentum": 0.8}}

    monkeypatch.setattr(running, "resolve", with_changed_default)
    with pytest.raises(UserError, match=r"today's settings.*--force --keep-model"):
        trained.load("linear-probe-ferplus", "smoke", **where)


def rewritten(path, change):
    """The kept file with its header or weights changed."""
    groups, told = checkpoints.read(path)
    change(groups["method"], told)
    checkpoints.write(path, groups, told)


@pytest.mark.parametrize(("change", "message"), [
    (lambda weights, told: told.update(config={}), "expected a method that a run has kept, got another"),
    (lambda weights, told: told.update(classes=None), "classes that no run writes"),
    (lambda weights, told: told.pop("backbone"), "none that is told of its 'backbone'"),
    (lambda weights, told: weights.update({next(iter(weights)): next(iter(weights.values())) * float("nan")}),
     "expected finite weights"),
    (lambda weights, told: weights.update({next(iter(weights)): next(iter(weights.values())).long()}),
     "expected the weights of linear-probe, got others"),
])  # fmt: skip
def test_a_file_that_was_changed_is_refused(run, tmp_path, change, message):
    path = kept(tmp_path, run("linear-probe-ferplus"))
    rewritten(path, change)
    with pytest.raises(UserError, match=message):
        trained.open_file(path)


def test_a_file_that_is_not_there_is_not_to_be_deleted(tmp_path):
    with pytest.raises(UserError, match=r"found no file; `run --keep-model` writes one"):
        trained.read(tmp_path / "none.safetensors")
