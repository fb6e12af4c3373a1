"""Two processes do what one does."""

import json
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

from fer_core.engine import Processes, processes
from fer_core.errors import UserError

HELPERS = Path(__file__).parent.parent / "helpers"


def command_of(count: int, out: Path, settings: str, *further: str) -> list[str]:
    return started_by(count, [str(HELPERS / "toy.py"), "--out", str(out), "--training", settings, *further])


def started_by(count: int, command: list[str]) -> list[str]:
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


LES_CLIP = ("--method", "les-clip")
#: What compares samples with each other sees those of its own process alone.
ALONE = '{"expert_dropout": 0.0, "contrast": 0.0, "balance": 0.0}'


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        # 70 samples in batches of 23 leave one to the last; each process then computes another number of parts.
        (
            '{"lr": 0.01, "accumulate": 2, "selection": "validation", "ema": 0.5, "channels_last": true}',
            ("--method", "full-fine-tuning"),
        ),
        ('{"lr": 0.05, "gradient_clip": 0.5}', (*LES_CLIP, "--model", ALONE, "--no-noise")),
        ('{"lr": 0.05, "batch_size": 23, "accumulate": 3}', ("--method", "mpa-fer")),
        ('{"lr": 0.05, "optimizer": "adamw"}', ("--method", "coop")),
        pytest.param('{"lr": 0.05}', ("--method", "promptsrc"), marks=pytest.mark.slow),  # looks at weights in between
    ],
    ids=["full", "les-clip", "mpa-fer", "coop", "promptsrc"],
)
def test_spread_weights_equal_those_of_one_process(
    fresh_cache: Path, tmp_path: Path, settings: str, options: tuple[str, ...]
) -> None:
    settings = '{"epochs": 2, "batch_size": 16, "optimizer": "sgd", "shard": true, ' + settings[1:]
    for count in (1, 2):
        launched(count, tmp_path / f"{count}.npz", settings, fresh_cache / str(count), *options)
    with np.load(tmp_path / "1.npz") as one, np.load(tmp_path / "2.npz") as two:
        for name in one.files:
            np.testing.assert_allclose(two[name], one[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("fp16", marks=pytest.mark.slow)])
def test_spread_weights_equal_copied_ones(fresh_cache: Path, tmp_path: Path, precision: str) -> None:
    """With all of its losses, its noise, and what it gathers of its confusions."""
    model = ("--model", '{"similar_by": "confusion"}')
    for shard in ("true", "false"):
        settings = f'{{"epochs": 2, "batch_size": 16, "lr": 0.001, "precision": "{precision}", "shard": {shard}}}'
        launched(2, tmp_path / f"{shard}.npz", settings, fresh_cache, *LES_CLIP, *model)
    with np.load(tmp_path / "true.npz") as spread, np.load(tmp_path / "false.npz") as copied:
        for name in copied.files:
            np.testing.assert_allclose(spread[name], copied[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("further_settings", "options"), [("", ("--dropout", "0.2")), (', "shard": true', LES_CLIP)], ids=["toy", "spread"]
)
def test_two_processes_that_are_killed_go_on_together(
    fresh_cache: Path, tmp_path: Path, further_settings: str, options: tuple[str, ...]
) -> None:
    settings = '{"epochs": 4, "batch_size": 16, "lr": 0.02, "ema": 0.9, "selection": "validation"' + further_settings
    settings += "}"
    further = (*options, "--checkpoint", str(tmp_path / "point.safetensors"), "--every", "0")
    launched(2, tmp_path / "whole.npz", settings, fresh_cache, *options)
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


def test_processes_talk(fresh_cache: Path, tmp_path: Path) -> None:
    command = started_by(2, [str(HELPERS / "talks.py"), str(tmp_path)])
    done = subprocess.run(command, capture_output=True, text=True, env=environment(fresh_cache), timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    main, other = (json.loads((tmp_path / f"{index}.json").read_text()) for index in range(2))
    # The other one neither waits for ever, nor does again what has failed.
    assert (main["user"], other["user"]) == ("UserError True: the disk is full", "UserError False: the disk is full")
    assert main["other"] == "OSError True: gone"
    assert other["other"] == "RuntimeError False: the main process failed: OSError('gone')"
    for told in (main, other):
        assert told["full"] == ["Pixels", "Pixels"]
        assert (told["room"], told["sum"], told["patient"]) == ("Features", 2.0, True)
        assert told["spread"] == {
            "kinds": ["DTensor", "Parameter"], "changed False": [3.0, 4.0, 0.0], "changed True": [4.0, 5.0, 1.0],
            "clipped": [1.5, 2.0, 0.0, 6.0], "none": True,
        }  # fmt: skip


def test_spreading_says_which_torch_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "fully_shard", lambda module, *, mesh=None: module)  # as torch 2.6 has it
    module = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match=r"training.shard: expected torch 2.7 or newer, got .*; update torch"):
        Processes(torch.device("cpu")).shard(module, list(module.parameters()))
