"""Two processes do what one does."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_core.engine import Processes

TOY = Path(__file__).parent.parent / "helpers" / "toy.py"


def command_of(count: int, out: Path, settings: str, *further: str) -> list[str]:
    command = [str(TOY), "--out", str(out), "--training", settings, *further]
    if count > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        run = ["torch.distributed.run", "--nproc-per-node", str(count), "--master-addr", "127.0.0.1"]
        command = ["-m", *run, "--master-port", str(port), *command]
    return [sys.executable, *command]


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "FER_CACHE": str(cache), "OMP_NUM_THREADS": "1"}


def launched(count: int, out: Path, settings: str, cache: Path, *further: str) -> None:
    command = command_of(count, out, settings, *further)
    done = subprocess.run(command, capture_output=True, text=True, env=environment(cache), timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    "settings",
    [
        # 70 training samples: the last batch has 6, and with batches of 23 one, so that one process has none of it.
        '{"epochs": 3, "batch_size": 16, "optimizer": "sgd", "lr": 0.05, "gradient_clip": 0.5}',
        '{"epochs": 2, "batch_size": 16, "lr": 0.01, "shard": true, "ema": 0.9, "accumulate": 2, "gradient_clip": 0.5, '
        '"selection": "validation"}',
        '{"epochs": 2, "batch_size": 23, "optimizer": "sgd", "lr": 0.05, "accumulate": 3, "ema": 0.9, '
        '"cache_features": false, "augmentation": {"flip": 0.5}}',
    ],
)
def test_two_processes_equal_one(fresh_cache: Path, tmp_path: Path, settings: str) -> None:
    for count in (1, 2):
        launched(count, tmp_path / f"{count}.npz", settings, fresh_cache / str(count))
    with np.load(tmp_path / "1.npz") as one, np.load(tmp_path / "2.npz") as two:
        assert two["index"].tolist() == list(range(50))  # no sample twice, none left out
        for name in one.files:
            np.testing.assert_allclose(two[name], one[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_two_processes_that_are_killed_go_on_together(fresh_cache: Path, tmp_path: Path) -> None:
    settings = '{"epochs": 4, "batch_size": 16, "lr": 0.02, "ema": 0.9, "selection": "validation"}'
    further = ("--dropout", "0.2", "--checkpoint", str(tmp_path / "point.safetensors"), "--every", "0")
    launched(2, tmp_path / "whole.npz", settings, fresh_cache, "--dropout", "0.2")
    slow = command_of(2, tmp_path / "killed.npz", settings, *further, "--pause", "0.15")
    started = subprocess.Popen(
        slow, env=environment(fresh_cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    limit = time.monotonic() + 120
    while not (tmp_path / "point.safetensors").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    time.sleep(0.7)  # some steps on, in the midst of an epoch
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    assert not (tmp_path / "killed.npz").exists()
    launched(2, tmp_path / "killed.npz", settings, fresh_cache, *further)
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "killed.npz") as resumed:
        for name in whole.files:
            np.testing.assert_array_equal(resumed[name], whole[name], err_msg=name)


def test_a_checkpoint_of_two_processes_is_none_of_one(fresh_cache: Path, tmp_path: Path) -> None:
    settings, further = '{"epochs": 2, "batch_size": 16}', ("--checkpoint", str(tmp_path / "point"), "--every", "0")
    launched(2, tmp_path / "out.npz", settings, fresh_cache, *further)
    command = command_of(1, tmp_path / "out.npz", settings, *further)
    done = subprocess.run(command, capture_output=True, text=True, env=environment(fresh_cache), timeout=300)
    assert done.returncode != 0
    assert "expected 1 processes, as now, got a checkpoint of 2" in done.stderr


def test_one_process_needs_nothing() -> None:
    alone = Processes(torch.device("cpu"))
    module = torch.nn.Linear(2, 2)
    assert (alone.count, alone.index, alone.main, alone.device) == (1, 0, True, torch.device("cpu"))
    assert alone.wrap(module) is module
    assert alone.gather("x") == ["x"]
    assert torch.equal(alone.sum(torch.ones(2)), torch.ones(2))
    with alone.main_first(), alone.no_sync(module):
        alone.wait()
