"""What is said of CLIPs of several seeds comes from runs of each, and the shipped CLIP is one of them."""

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fer_core import clip, embedded, experiments, metrics
from fer_core.embedded import evaluate, seeds
from fer_core.faces import sets


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained CLIP with a card."""
    made = tmp_path_factory.mktemp("weights")
    torch.manual_seed(5)
    state = {name: value.half().contiguous() for name, value in clip.load("embedded:random").model.state_dict().items()}
    save_file(state, made / "weights.safetensors")
    digest = hashlib.sha256((made / "weights.safetensors").read_bytes()).hexdigest()
    first = {"sha256": "a", "seed": 5, "start": None, "seconds": 120}
    card = {"sha256": digest, "seed": 5, "seconds": 60, "start": {"weights": "a", "card": first}}
    (made / "model_card.json").write_text(json.dumps(card))
    return made


@pytest.fixture(scope="module")
def found(folder):
    return seeds.score(folder, "smoke", progress=False)


def test_scores_are_those_of_the_runs(found, folder, tmp_path):
    assert (found["seed"], found["minutes"], found["profile"]) == (5, 3, "smoke")
    record = experiments.run(
        "zero-shot-facs-still-8", "smoke", device="cpu", records_dir=tmp_path, progress=False,
        overrides={"backbone": f"embedded:{folder / 'weights.safetensors'}"},
    )  # fmt: skip
    war = found["war"]["zero-shot"]
    assert war["value"] == record.metrics["war"]
    assert war["low"] < war["value"] < war["high"]
    assert found["entanglement"] == record.metrics["entanglement"]
    assert str(folder) not in json.dumps(found)
    report = evaluate.report(f"embedded:{folder / 'weights.safetensors'}")
    assert found["retrieval"] == report["retrieval"]


def test_tones_share_out_all_faces(found):
    count = experiments.load("zero-shot-facs-still-8").settings("smoke").data["limit"]["test"]
    tone = sets.load("facs-still-8", "test", limit=count).tone.numpy()
    sizes = np.bincount(np.minimum((3 * tone).astype(int), 2), minlength=3)
    for method in seeds.METHODS:
        values = [found["tone"][method][name]["value"] for name in seeds.TONES]
        assert np.dot(values, sizes) / count == pytest.approx(found["war"][method]["value"], abs=1e-9)


def test_a_seed_is_kept_once(found, tmp_path):
    path = tmp_path / "seeds.json"
    for seed in (7, 5, 7):
        seeds.keep({**found, "seed": seed}, path)
    assert [each["seed"] for each in seeds.read(path)] == [5, 7]
    assert seeds.read(tmp_path / "none.json") == []


def test_wrong_weights_are_refused(folder, tmp_path, capsys):
    (tmp_path / "weights.safetensors").write_bytes((folder / "weights.safetensors").read_bytes()[:-1] + b"x")
    (tmp_path / "model_card.json").write_bytes((folder / "model_card.json").read_bytes())
    with pytest.raises(SystemExit) as stop:
        seeds.main([str(tmp_path), "--out", str(tmp_path / "seeds.json")])
    assert stop.value.code == 2
    assert "SHA-256" in capsys.readouterr().err
    assert not (tmp_path / "seeds.json").exists()


@pytest.mark.parametrize(("given", "message"), [
    (["--device", "gpu"], "device: expected one that this machine has, got 'gpu'"),
    (["--out", "{folder}"], "{folder}: expected to read or write it, got: Is a directory"),
])  # fmt: skip
def test_wrong_options_are_told_before_the_work(given, message, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(seeds, "score", lambda *_: pytest.fail("began to work"))
    with pytest.raises(SystemExit) as stop:
        seeds.main([str(folder), *(word.format(folder=tmp_path) for word in given)])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(f"seeds: error: {message.format(folder=tmp_path)}")


def test_the_shipped_clip_is_among_them():
    kept = seeds.read()
    assert embedded.stages()[-1]["sha256"] in {each["sha256"] for each in kept}
    for each in kept:
        assert each["profile"] == "full"
        assert isinstance(metrics.Interval(**each["war"]["zero-shot"]), metrics.Interval)
