"""Two processes do what one does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_core.engine import Processes

TOY = Path(__file__).parent.parent / "helpers" / "toy.py"


def launched(count: int, out: Path, settings: str, cache: Path) -> None:
    command = [str(TOY), "--out", str(out), "--training", settings]
    if count > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        run = ["torch.distributed.run", "--nproc-per-node", str(count), "--master-addr", "127.0.0.1"]
        command = ["-m", *run, "--master-port", str(port), *command]
    environment = {**os.environ, "FER_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment, timeout=300)
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


def test_one_process_needs_nothing() -> None:
    alone = Processes(torch.device("cpu"))
    module = torch.nn.Linear(2, 2)
    assert (alone.count, alone.index, alone.main, alone.device) == (1, 0, True, torch.device("cpu"))
    assert alone.wrap(module) is module
    assert alone.gather("x") == ["x"]
    assert torch.equal(alone.sum(torch.ones(2)), torch.ones(2))
    with alone.main_first(), alone.no_sync(module):
        alone.wait()
