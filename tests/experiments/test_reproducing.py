"""Runs done again: the same on one machine; drift is told, and what cannot be done is no drift."""

import dataclasses
import json

import pytest

from fer_core import cli, experiments, records, reproducing
from fer_core.errors import Stopped, UserError
from fer_core.experiments import opening, running


@pytest.fixture
def recorded(ferplus, tmp_path):
    """Records of two short runs on the miniature FERPlus, and their folder."""
    folder = tmp_path / "records"
    made = {
        name: experiments.run(
            name, "smoke", device="cpu", data_root=ferplus, overrides={"backbone": "embedded:random"},
            records_dir=folder, progress=False,
        )
        for name in ("linear-probe-ferplus", "coop-ferplus")
    }  # fmt: skip
    return folder, made


def changed(folder, record, **fields):
    """The record with other fields in the place of the old one."""
    other = dataclasses.replace(record, **fields)
    (folder / record.path).unlink()
    records.write(other, folder)
    return other


def test_the_same_on_one_machine(recorded, ferplus):
    folder, _ = recorded
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    drifts = list(reproducing.again(reproducing.choose(folder=folder), device="cpu", data_root=ferplus, progress=False))
    assert len(drifts) == 2
    for drift in drifts:
        assert drift.why == ""
        assert drift.row()["same"] is True
        assert (drift.points("war"), drift.agreement) == (0, 1)
        assert not drift.beyond(0)
    assert {path: path.read_bytes() for path in folder.rglob("*.json")} == before  # nothing is kept of reruns


@pytest.mark.parametrize("same", [True, False])
def test_what_another_run_has_trained_is_held_against_a_training_of_its_own(same, ferplus, tmp_path):
    folder, models = tmp_path / "records", tmp_path / "models"
    common = {"device": "cpu", "data_root": ferplus, "overrides": {"backbone": "embedded:random"}, "progress": False}
    experiments.run(
        "linear-probe-ferplus", "smoke", records_dir=tmp_path / "first", keep_model=True, models_dir=models, **common
    )
    file = next(models.rglob("*.safetensors"))
    record = experiments.run("linear-probe-ferplus", "smoke", records_dir=folder, trained_by=file, **common)
    if not same:
        said = record.predictions["predicted"]
        changed(folder, record, predictions={**record.predictions, "predicted": said[1:] + said[:1]})
    [drift] = reproducing.again([*records.iterate(folder)], device="cpu", data_root=ferplus, progress=False)
    assert drift.again.trained_by is None
    assert drift.again.history[-1]["epoch"] > 0 == drift.record.history[-1]["epoch"]
    assert drift.same is same


def test_checkpoints_of_interrupted_runs_stay(recorded, ferplus, monkeypatch):
    folder, _ = recorded
    used = []
    real = running.protocols.carry_out

    def carry_out(settings, splits, resources):
        used.append(resources.checkpoint)
        return real(settings, splits, resources)

    monkeypatch.setattr(running.protocols, "carry_out", carry_out)
    chosen = reproducing.choose(["coop-*"], folder=folder)
    experiments.run(
        "coop-ferplus", "smoke", device="cpu", data_root=ferplus, overrides={"backbone": "embedded:random"},
        records_dir=folder, force=True, progress=False,
    )  # fmt: skip
    interrupted = used[0]
    interrupted.parent.mkdir(parents=True, exist_ok=True)
    interrupted.write_bytes(b"what an interrupted run has left")
    (drift,) = reproducing.again(chosen, device="cpu", data_root=ferplus, progress=False)
    assert drift.same is True
    assert used[1].name == interrupted.name  # else the test would see nothing
    assert used[1].parent != interrupted.parent
    assert interrupted.read_bytes() == b"what an interrupted run has left"


@pytest.mark.parametrize(
    ("raised", "code"), [(Stopped("it goes on from there", "SIGTERM"), 75), (KeyboardInterrupt, 130)]
)
def test_a_stop_promises_nothing_as_nothing_is_kept(raised, code, recorded, ferplus, monkeypatch, capsys):
    folder, _ = recorded

    def stopped(*_, **__):
        raise raised

    monkeypatch.setattr(experiments, "run", stopped, raising=False)
    command = ["reproduce", "--records", str(folder), "--data-root", str(ferplus), "--device", "cpu", "--quiet"]
    assert cli.main(command) == code
    told = capsys.readouterr().err
    assert told == ("fer-core: interrupted\n" if code == 130 else (
        "fer-core: stopped by SIGTERM; nothing is kept of runs done again\n"
    ))  # fmt: skip


def test_settings_that_came_since_are_no_drift(recorded, ferplus):
    folder, made = recorded
    record = made["linear-probe-ferplus"]
    training = {name: value for name, value in record.config["training"].items() if name != "evaluate_every"}
    older = {**record.config, "training": training}
    changed(folder, record, config=older, config_digest=running.digest(older))
    (drift,) = reproducing.again(
        reproducing.choose(["linear-*"], folder=folder), device="cpu", data_root=ferplus, progress=False
    )
    assert (drift.why, drift.same) == ("", True)


def test_drift_is_told(recorded, ferplus, capsys):
    folder, made = recorded
    record = made["linear-probe-ferplus"]
    better = {**record.metrics, "war": record.metrics["war"] + 0.05}
    changed(folder, record, metrics=better)
    command = ["reproduce", "--records", str(folder), "--data-root", str(ferplus), "--device", "cpu", "--quiet"]
    assert cli.main([*command, "coop-*"]) == 0
    assert "1 of 1 runs done, 1 the same to the last digit, 0 beyond 1.5 points" in capsys.readouterr().out
    assert cli.main(command) == 1
    told = capsys.readouterr().out
    assert "TOO FAR" in told
    assert "off by -5.00 points" in told
    assert "2 of 2 runs done, 1 the same to the last digit, 1 beyond 1.5 points" in told
    assert cli.main([*command, "--tolerance", "6", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sorted(row["drift"] for row in rows) == [-5.0, 0.0]


def test_drift_of_uar_alone_is_told_as_such(recorded, ferplus, capsys):
    folder, made = recorded
    record = made["linear-probe-ferplus"]
    changed(folder, record, metrics={**record.metrics, "uar": record.metrics["uar"] - 0.05})
    command = ["reproduce", "linear-*", "--records", str(folder), "--data-root", str(ferplus), "--device", "cpu"]
    assert cli.main([*command, "--quiet"]) == 1
    before, again = 100 * record.metrics["uar"] - 5, 100 * record.metrics["uar"]
    told = capsys.readouterr().out
    assert "TOO FAR" in told
    assert f"UAR {before:.2f}, again {again:.2f}: off by +5.00 points" in told
    assert "WAR" not in told
    assert cli.main([*command, "--quiet", "--json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["drift"], row["drift_uar"]) == (0.0, 5.0)
    assert (row["uar"], row["again_uar"]) == (pytest.approx(before, abs=0.01), pytest.approx(again, abs=0.01))


def test_what_cannot_be_done_is_told_and_no_drift(recorded, ferplus, tmp_path, capsys):
    folder, made = recorded
    record = made["coop-ferplus"]
    changed(folder, record, config_digest="0" * 16)
    drifts = {each.record.experiment: each for each in reproducing.again(
        reproducing.choose(folder=folder), device="cpu", data_root=tmp_path / "nowhere", progress=False)}  # fmt: skip
    assert "settings have changed since" in drifts["coop-ferplus"].why
    assert "expected" in drifts["linear-probe-ferplus"].why
    assert not any(each.beyond(0) for each in drifts.values())
    assert all(each.row()["again"] is None for each in drifts.values())
    command = ["reproduce", "--records", str(folder), "--data-root", str(tmp_path / "nowhere"), "--device", "cpu"]
    assert cli.main([*command, "--quiet"]) == 1  # a check that checked nothing has not passed
    assert "0 of 2 runs done" in capsys.readouterr().out


@pytest.mark.parametrize("left_out", [0, 1])
def test_other_data_is_no_drift(left_out, recorded, ferplus, capsys):
    folder, made = recorded
    label = ferplus / "FER2013Train" / "label.csv"
    rows = label.read_text().splitlines()
    label.write_text("\n".join(rows[1:] if left_out else [rows[0].replace("10", "9"), *rows[1:]]) + "\n")
    test = ferplus / "FER2013Test" / "label.csv"
    test.write_text("\n".join(test.read_text().splitlines()[left_out:]) + "\n")
    command = ["reproduce", "linear-*", "--records", str(folder), "--data-root", str(ferplus), "--device", "cpu"]
    assert cli.main([*command, "--quiet"]) == 1
    told = capsys.readouterr().out
    before = made["linear-probe-ferplus"].fingerprint
    assert f"not done   {made['linear-probe-ferplus'].path.with_suffix('').as_posix()}: other data lies here" in told
    assert f"expected the fingerprint {before}, got " in told
    assert "0 of 1 runs done, 0 the same to the last digit, 0 beyond" in told


def test_other_weights_are_no_drift(recorded, ferplus):
    folder, made = recorded
    changed(folder, made["linear-probe-ferplus"], weights="0" * 16)
    chosen = reproducing.choose(["linear-*"], folder=folder)
    (drift,) = reproducing.again(chosen, device="cpu", data_root=ferplus, progress=False)
    assert drift.why.startswith("other weights lie here: expected 0000000000000000 of embedded:random, got ")
    assert drift.again is None


def test_which_records(recorded):
    folder, made = recorded
    chosen = reproducing.choose(folder=folder)
    assert [each.seconds["total"] for each in chosen] == sorted(each.seconds["total"] for each in made.values())
    assert [each.experiment for each in reproducing.choose(["coop-*"], folder=folder)] == ["coop-ferplus"]
    assert len(reproducing.choose(folder=folder, sample=1)) == 1
    with pytest.raises(UserError, match=r"expected a record of maple-\*, found none"):
        reproducing.choose(["maple-*"], folder=folder)
    with pytest.raises(UserError, match="that took at most 0 seconds, found none"):
        reproducing.choose(folder=folder, most_seconds=0)
    with pytest.raises(UserError, match="sample: expected at least 1, got 0"):
        reproducing.choose(folder=folder, sample=0)


def test_a_committed_record_is_reproduced(monkeypatch):
    """A sample of the book's records, small enough for every test run; `make reproduce` does all."""
    real, splits = opening.data.open, opening.splits
    (record,) = [
        each
        for each in reproducing.choose(["zero-shot-facs-still-8"])
        if (each.profile, each.seed, each.overrides) == ("full", 0, {})
    ]

    def opened(name, split, *rest, limit, **options):  # nothing is trained: most faces need not be rendered
        return real(name, split, *rest, limit=limit if split == "test" else 64, **options)

    monkeypatch.setattr(opening.data, "open", opened)
    monkeypatch.setattr(opening, "splits", lambda *given: (splits(*given)[0], record.fingerprint))
    (drift,) = reproducing.again([record], device="cpu", progress=False)
    assert drift.why == ""
    assert not drift.beyond(0.2)  # nothing is trained: only the rounding of sums may differ between machines
    assert drift.agreement is not None
    assert drift.agreement > 0.995
