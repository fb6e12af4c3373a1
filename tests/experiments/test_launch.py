"""The launch files of the book: shells accept them, and a node's two processes give one process' record."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fer_core
from fer_core import experiments, records

ROOT = Path(fer_core.__file__).parents[1]
LAUNCH = ROOT / "book" / "launch"


@pytest.mark.parametrize("name", sorted(path.name for path in LAUNCH.iterdir()))
def test_a_shell_accepts_it(name):
    subprocess.run(["bash", "-n", str(LAUNCH / name)], check=True)


@pytest.mark.parametrize(("file", "processes"), [("one-gpu.sh", 1), ("one-node.sh", 2)])
def test_it_runs_an_experiment(ferplus, tmp_path, file, processes):
    command = [
        "coop-ferplus",
        "--profile",
        "smoke",
        "--data-root",
        str(ferplus),
        "--records",
        str(tmp_path / "records"),
    ]
    command += ["--set", "backbone=embedded:random", "--set", "training.batch_size=7", "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PROCESSES": str(processes), "DEVICE": "cpu"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", str(LAUNCH / file), *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (record,) = records.iterate(tmp_path / "records")
    assert sum(map(sum, record.metrics["confusion"])) == 24
    # One process' own run; small differences of rounding may move a sample that lies between two classes.
    alone = experiments.run(
        "coop-ferplus", "smoke", 0, device="cpu", data_root=ferplus, records_dir=tmp_path / "alone", progress=False,
        overrides={"backbone": "embedded:random", "training.batch_size": 7},
    )  # fmt: skip
    for one, other in zip(record.history, alone.history, strict=True):
        assert one["losses"]["loss"] == pytest.approx(other["losses"]["loss"], rel=1e-4)
    assert abs(record.metrics["war"] - alone.metrics["war"]) <= 1 / 24
