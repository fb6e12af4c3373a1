"""Two processes do what one does."""

import json
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.torch_version import TorchVersion
from toy import TEST, TRAIN, VALIDATION, Toy
from warm import Started, together

from fer_core import config, engine
from fer_core.engine import Processes
from fer_core.errors import UserError

pytestmark = pytest.mark.skipif(torch.__version__ < TorchVersion("2.9"), reason="spreading weights needs torch 2.9")

HELPERS = Path(__file__).parent.parent / "helpers"
TOY = HELPERS / "toy.py"

LES_CLIP = ("--method", "les-clip")
#: What compares samples with each other sees those of its own process alone.
ALONE = '{"expert_dropout": 0.0, "contrast": 0.0, "balance": 0.0}'
#: Its noise, and what it gathers of its confusions, too.
CONFUSED = (*LES_CLIP, "--model", '{"similar_by": "confusion"}')
SPREAD = '"epochs": 2, "batch_size": 16, "optimizer": "sgd", "shard": true'

#: Settings and options of what two processes do as one does.
COPIED = {
    # 70 training samples: the last batch has 6, and with batches of 23 one, so that one process has none of it.
    "clipped": ('{"epochs": 3, "batch_size": 16, "optimizer": "sgd", "lr": 0.05, "gradient_clip": 0.5}',),
    "sharded": (
        '{"epochs": 2, "batch_size": 16, "lr": 0.01, "shard": true, "ema": 0.9, "accumulate": 2, "gradient_clip": 0.5, '
        '"selection": "validation"}',
    ),
    "uncached": (
        '{"epochs": 2, "batch_size": 23, "optimizer": "sgd", "lr": 0.05, "accumulate": 3, "ema": 0.9, '
        '"cache_features": false, "augmentation": {"flip": 0.5}}',
    ),
}
#: The same, of methods of this library; 70 samples in batches of 23 leave one to the last, and each process then
#: computes another number of parts.
METHODS = {
    "full": (
        f'{{{SPREAD}, "lr": 0.01, "accumulate": 2, "selection": "validation", "ema": 0.5, "channels_last": true}}',
        "--method", "full-fine-tuning",
    ),
    "les-clip": (f'{{{SPREAD}, "lr": 0.05, "gradient_clip": 0.5}}', *LES_CLIP, "--model", ALONE, "--no-noise"),
    "mpa-fer": (f'{{{SPREAD}, "lr": 0.05, "batch_size": 23, "accumulate": 3}}', "--method", "mpa-fer"),
    "coop": (f'{{{SPREAD}, "lr": 0.05, "optimizer": "adamw"}}', "--method", "coop"),
    "promptsrc": (f'{{{SPREAD}, "lr": 0.05}}', "--method", "promptsrc"),  # looks at weights in between
}  # fmt: skip
#: Of two processes whose weights are spread, or copied.
PLACED = {
    f"{precision} {shard}": (
        f'{{"epochs": 2, "batch_size": 16, "lr": 0.001, "precision": "{precision}", "shard": {shard}}}', *CONFUSED
    )
    for precision in ("fp32", "fp16")
    for shard in ("true", "false")
}  # fmt: skip
#: Of two processes that are killed.
WHOLE = '{"epochs": 4, "batch_size": 16, "lr": 0.02, "ema": 0.9, "selection": "validation"'
KILLED = {"toy": (f"{WHOLE}}}", "--dropout", "0.2"), "spread": (f'{WHOLE}, "shard": true}}', *LES_CLIP)}
#: What only --slow runs.
SLOW = ("promptsrc", "fp16", "fp16 true", "fp16 false")


def marked(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


def line_of(folder: Path, trainings: dict[str, tuple[str, ...]], *further: str) -> list[str]:
    """Trains each in turn, to a file of its name: processes take longer to meet than all of the trainings."""
    file = folder / "lines.json"
    lines = [
        ["--out", str(folder / f"{name}.npz"), "--training", settings, *options, *further]
        for name, (settings, *options) in trainings.items()
    ]
    file.write_text(json.dumps(lines))
    return ["--each", str(file)]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "FER_CACHE": str(folder / "cache")}


def ended(started: list[Started], seconds: float = 600) -> None:
    """Waits for processes; none outlives its test, and none waits for one that has failed."""
    limit = time.monotonic() + seconds
    try:
        while not all(each.over for each in started) and time.monotonic() < limit:
            time.sleep(0.05)
            if failed := [each for each in started if each.over and each.wait(0)]:
                raise AssertionError(failed[0].told[-3000:])
        assert [each.wait(0) for each in started] == [0] * len(started)
    finally:
        for each in started:
            each.kill()


def launched(count: int, folder: Path, trainings: dict[str, tuple[str, ...]], *further: str) -> Path:
    line = line_of(folder, trainings, *further)
    if count == 1:
        ended([Started(TOY, line, environment(folder), folder / "told.txt")])
    else:
        ended(together(count, TOY, line, environment(folder), folder))
    return folder


@pytest.fixture(scope="module")
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of what one process and two come to in each training."""

    def chosen(trainings: dict[str, Any]) -> dict[str, Any]:
        slow = request.config.getoption("--slow")
        return {name: line for name, line in trainings.items() if slow or name not in SLOW}

    one, two = (tmp_path_factory.mktemp("trained") for _ in range(2))
    both = {**COPIED, **METHODS}
    return launched(1, one, chosen(both)), launched(2, two, chosen({**both, **PLACED, **KILLED}))


def compared(one: Path, other: Path, within: tuple[float, float]) -> None:
    with np.load(one) as expected, np.load(other) as got:
        assert set(expected.files) == set(got.files)
        for name in expected.files:
            np.testing.assert_allclose(got[name], expected[name], *within, err_msg=name)


@pytest.mark.parametrize("name", COPIED)
def test_two_processes_equal_one(trained: tuple[Path, Path], name: str) -> None:
    one, two = (folder / f"{name}.npz" for folder in trained)
    compared(one, two, (1e-5, 1e-5))
    with np.load(two) as arrays:
        assert arrays["index"].tolist() == list(range(50))  # no sample twice, none left out


@pytest.mark.parametrize("name", marked(METHODS))
def test_spread_weights_equal_those_of_one_process(trained: tuple[Path, Path], name: str) -> None:
    compared(*(folder / f"{name}.npz" for folder in trained), (1e-4, 1e-5))


@pytest.mark.parametrize("precision", marked(["fp32", "fp16"]))
def test_spread_weights_equal_copied_ones(trained: tuple[Path, Path], precision: str) -> None:
    _, two = trained
    compared(two / f"{precision} false.npz", two / f"{precision} true.npz", (1e-4, 1e-5))


@pytest.mark.parametrize("name", KILLED)
def test_two_processes_that_are_killed_go_on_together(trained: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    killed = {name: KILLED[name]}
    further = ("--checkpoint", str(tmp_path / "point.safetensors"), "--every", "0")
    slow = line_of(tmp_path, killed, *further, "--pause", "0.15")
    started = together(2, TOY, slow, environment(tmp_path), tmp_path)
    limit = time.monotonic() + 120
    while not (tmp_path / "point.safetensors").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    time.sleep(0.7)  # some steps on, in the midst of an epoch
    for each in started:
        each.send(signal.SIGKILL)
    for each in started:
        assert each.wait(60) == -signal.SIGKILL
    assert (tmp_path / "point.safetensors").exists()
    assert not (tmp_path / f"{name}.npz").exists()
    launched(2, tmp_path, killed, *further)
    compared(trained[1] / f"{name}.npz", tmp_path / f"{name}.npz", (0.0, 0.0))


def test_a_checkpoint_of_two_processes_is_none_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = tmp_path / "point"
    launched(2, tmp_path, {"out": ('{"epochs": 2, "batch_size": 16}',)}, "--checkpoint", str(point), "--every", "0")
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    training = config.build(engine.Training, {"epochs": 2, "batch_size": 16}, "training")
    with pytest.raises(UserError, match="expected 1 processes, as now, got a checkpoint of 2"):
        engine.fit(Toy(), TRAIN, VALIDATION, TEST, training, seed=0, progress=False, checkpoint=point)


def test_one_process_needs_nothing() -> None:
    alone = Processes(torch.device("cpu"))
    module = torch.nn.Linear(2, 2)
    assert (alone.count, alone.index, alone.main, alone.device) == (1, 0, True, torch.device("cpu"))
    assert alone.wrap(module) is module
    assert alone.gather("x") == ["x"]
    assert torch.equal(alone.sum(torch.ones(2)), torch.ones(2))
    with alone.main_first(), alone.no_sync(module):
        alone.wait()


def test_processes_talk(tmp_path: Path) -> None:
    ended(together(2, HELPERS / "talks.py", [str(tmp_path)], environment(tmp_path), tmp_path), 120)
    main, other = (json.loads((tmp_path / f"{index}.json").read_text()) for index in range(2))
    # The other one neither waits for ever, nor does again what has failed.
    assert (main["user"], other["user"]) == ("UserError True: the disk is full", "UserError False: the disk is full")
    assert main["other"] == "OSError True: gone"
    assert other["other"] == "RuntimeError False: the main process failed: OSError('gone')"
    for told in (main, other):
        assert told["full"] == ["Pixels", "Pixels"]
        assert told["damaged"] == ["UserError: process 0", "UserError: process 1"]  # on both processes
        assert (told["room"], told["sum"], told["patient"]) == ("Features", 2.0, True)
        assert told["spread"] == {
            "kinds": ["DTensor", "Parameter"], "changed False": [3.0, 4.0, 0.0], "changed True": [4.0, 5.0, 1.0],
            "clipped": [1.5, 2.0, 0.0, 6.0], "none": True,
        }  # fmt: skip


def test_spreading_says_which_torch_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.8.0"))
    module = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match=r"training.shard: expected torch 2.9 or newer, got 2.8.0; update torch"):
        Processes(torch.device("cpu")).shard(module, list(module.parameters()))
