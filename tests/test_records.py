"""Records are there whole or not at all, say what they must, and compare as results."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fer_core
from fer_core import records
from fer_core.errors import UserError
from fer_core.records import Predicted, Record

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(fer_core.__file__).parents[1])}


def make(**changes: object) -> Record:
    scores = {"war": 0.75, "uar": 0.5, "f1": 0.6, "recall": {"anger": 1.0, "fear": 0.0}, "confusion": [[3, 0], [1, 0]]}
    values = {
        "experiment": "coop-ferplus", "method": "coop", "dataset": "ferplus", "fingerprint": "0123456789abcdef",
        "split": "test", "backbone": "embedded", "weights": "fedcba9876543210", "profile": "full", "seed": 0,
        "config": {"training": {"lr": 0.1}}, "config_digest": "00",
        "metrics": {**scores, "classes": ["anger", "fear"], "n": 4},
        "selection": {"rule": "last", "epoch": 2, "test_chosen": {"epoch": 1, "war": 0.8, "uar": 0.6}},
        "history": [{"epoch": 1, "loss": 0.5, "seconds": 2.0}], "trainable_parameters": 10, "flops": 20,
        "seconds": {"total": 3.0}, "peak_memory": 40, "hardware": {"cpu": "x"}, "versions": {"torch": "2"},
        "commit": None,
    }  # fmt: skip
    return Record(**{**values, **changes})


def changed(folder: Path, **changes: object) -> Path:
    """A record file with some fields changed by hand; None removes one."""
    path = records.write(make(), folder)
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value != "gone"}))
    return path


def test_written_record_reads_back_equal(tmp_path):
    record = make(overrides={"training.lr": 0.1}, variant="lr=0.1-abc", fold=3)
    path = records.write(record, tmp_path)
    assert path == tmp_path / "coop-ferplus" / "full-seed0-fold3-lr=0.1-abc.json"
    assert records.read(path) == record
    assert sorted(path.parent.iterdir()) == [path]


def test_iterate_is_ordered_and_chooses_the_experiment(tmp_path):
    assert list(records.iterate(tmp_path / "none")) == []
    for seed in (2, 0, 1):
        records.write(make(seed=seed), tmp_path)
    records.write(make(experiment="a-b"), tmp_path)
    assert [record.seed for record in records.iterate(tmp_path, "coop-ferplus")] == [0, 1, 2]
    assert [record.experiment for record in records.iterate(tmp_path)] == ["a-b"] + ["coop-ferplus"] * 3


def test_a_process_killed_before_the_rename_leaves_only_what_is_ignored_and_cleaned(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(
        "import json, os, signal, sys\n"
        "from fer_core import config, records\n"
        "record = config.build(records.Record, json.load(open(sys.argv[1])), 'test')\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"
        "records.write(record, sys.argv[2])\n"
    )
    source, folder = tmp_path / "record.json", tmp_path / "records"
    source.write_text(json.dumps(dataclasses.asdict(make())))
    done = subprocess.run([sys.executable, script, source, folder], check=False, env=ENVIRONMENT)
    assert done.returncode == -signal.SIGKILL
    (leftover,) = (folder / "coop-ferplus").iterdir()
    assert leftover.suffix == ".tmp"
    assert list(records.iterate(folder)) == []
    records.write(make(seed=1), folder)
    assert leftover.exists(), "another process may still be writing it"
    old = time.time() - 3600
    os.utime(leftover, (old, old))
    records.write(make(seed=1), folder)
    assert [path.name for path in (folder / "coop-ferplus").iterdir()] == ["full-seed1.json"]


def test_a_process_killed_at_any_moment_leaves_no_broken_record(tmp_path):
    script = tmp_path / "busy.py"
    script.write_text(
        "import dataclasses, json, sys\n"
        "from fer_core import config, records\n"
        "record = config.build(records.Record, json.load(open(sys.argv[1])), 'test')\n"
        "for seed in range(10**9):\n"
        "    records.write(dataclasses.replace(record, flops=seed), sys.argv[2])\n"
        "    print(seed, flush=True)\n"
    )
    source, folder = tmp_path / "record.json", tmp_path / "records"
    # A long history makes the file big enough to be caught half written.
    source.write_text(json.dumps(dataclasses.asdict(make(history=[{"epoch": n} for n in range(20000)]))))
    draw = random.Random(0)
    for _ in range(4):
        process = subprocess.Popen([sys.executable, script, source, folder], stdout=subprocess.PIPE, env=ENVIRONMENT)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(draw.uniform(0, 0.2))
        process.kill()
        process.wait()
        process.stdout.close()
        (record,) = records.iterate(folder)
        assert len(record.history) == 20000


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused(tmp_path, value):
    with pytest.raises(UserError, match=r"history\[0\]\.loss: expected a finite number"):
        records.write(make(history=[{"loss": value}]), tmp_path)
    assert list(tmp_path.rglob("*")) == []


def test_nan_in_a_file_is_refused(tmp_path):
    path = records.write(make(), tmp_path)
    path.write_text(path.read_text().replace("0.75", "NaN"))
    with pytest.raises(UserError, match=r"metrics\.war: expected a finite number"):
        records.read(path)


@pytest.mark.parametrize("text", ["", "{", '{"experiment": "coop', "\udcff"])
def test_broken_json_is_told_in_one_line(tmp_path, text):
    path = records.write(make(), tmp_path)
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match="expected a record in JSON") as caught:
        records.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "gone"}, "expected the field 'seed'"),
        ({"sed": 0}, "unknown setting of record .*'sed'; did you mean 'seed'"),
        ({"seed": "0"}, "expected int, got '0'"),
        ({"schema": 99}, "expected schema 1, got 99"),
        ({"metrics": {"war": 0.5}}, "got none of: uar, f1, recall, confusion, classes, n"),
    ],
)
def test_a_file_that_is_no_record_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        records.read(changed(tmp_path, **changes))


def test_lists_and_missing_files_are_no_records(tmp_path):
    with pytest.raises(UserError, match="found no file"):
        records.read(tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UserError, match="expected a JSON object, got list"):
        records.read(tmp_path / "list.json")


def test_a_record_in_the_wrong_place_is_refused(tmp_path):
    path = records.write(make(), tmp_path)
    path.rename(path.with_name("full-seed7.json"))
    with pytest.raises(UserError, match=r"expected it at coop-ferplus.full-seed0\.json"):
        list(records.iterate(tmp_path))


def test_an_unwritable_folder_is_a_mistake_of_the_user(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--records"):
        records.write(make(), tmp_path / "file")


def test_same_result_ignores_circumstances_only():
    one = make()
    circumstances = {
        "seconds": {"total": 9.0}, "peak_memory": 1, "hardware": {"cpu": "y"}, "versions": {"torch": "3"},
        "commit": "abc",
        "history": [{"epoch": 1, "loss": 0.5, "seconds": 7.0}],
    }  # fmt: skip
    assert records.same_result(one, make(**circumstances))
    last_digit = {**one.metrics, "war": 0.75 + 2**-53}
    assert last_digit["war"] != 0.75
    assert not records.same_result(one, make(metrics=last_digit))
    assert not records.same_result(one, make(history=[{"epoch": 1, "loss": 0.5000001, "seconds": 2.0}]))
    assert not records.same_result(one, make(seed=1))
    assert not records.same_result(one, make(weights="0"))


def test_variant_names_are_file_names_and_tell_overrides_apart():
    assert records.variant_name({}) is None
    cases = [
        {"training.lr": 0.1}, {"training.lr": 0.10001}, {"model.lr": 0.1}, {"model.templates": "a/b {}"},
        {"model.templates": "a b {}"}, {"backbone": "ViT-B-16:x.pt"}, {f"model.{n}": n for n in range(40)},
    ]  # fmt: skip
    names = [records.variant_name(case) for case in cases]
    assert len(set(names)) == len(cases)
    for name in names:
        assert name is not None
        assert len(name) < 80
        assert "/" not in name
        assert " " not in name
    assert records.variant_name({"a": 1, "b": 2}) == records.variant_name({"b": 2, "a": 1})


def test_predictions_read_back_as_they_were(tmp_path):
    said = Predicted(np.array([0, 10, 1, 35]), np.array([0, 1, 1, 11]), [7, 7, 9, 9])
    record = make(predictions=said.plain())
    assert record.predictions == {"truth": "0a1z", "predicted": "011b", "subjects": [7, 7, 9, 9]}
    again = records.read(records.write(record, tmp_path)).predicted
    assert (again.labels.tolist(), again.classes.tolist(), again.subjects) == (
        [0, 10, 1, 35],
        [0, 1, 1, 11],
        [7] * 2 + [9] * 2,
    )
    assert "subjects" not in Predicted(said.labels, said.classes).plain()


def test_a_record_without_predictions_says_how_to_get_them():
    with pytest.raises(UserError, match="expected predictions, got none; run it again with --force"):
        _ = make().predicted
