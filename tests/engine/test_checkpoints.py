"""Checkpoints and going on from them: bit-equal weights after any stop, and nothing half written."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import toy
from torch import nn
from toy import TEST, TRAIN, VALIDATION, Frozen, Toy, dataset, same, weights
from warm import Started

from fer_core import config, engine
from fer_core.batch import Batch
from fer_core.engine import Training, TrainingError, checkpoints
from fer_core.errors import Stopped, UserError

TOY = Path(__file__).parent.parent / "helpers" / "toy.py"

# Everything that has a state of its own: dropout, EMA, moments, selection, balanced sampling, accumulation, scaling.
SETTINGS = [
    {"epochs": 3, "batch_size": 8},
    {"epochs": 3, "batch_size": 8, "optimizer": "sgd", "warmup": 0.3, "gradient_clip": 0.5, "selection": "validation"},
    {"epochs": 3, "batch_size": 16, "ema": 0.9, "accumulate": 2, "sampling": "balanced"},
    {"epochs": 3, "batch_size": 16, "precision": "fp16", "lr": 0.01, "augmentation": {"flip": 0.5, "erasing": 0.5}},
]


def fitted(settings: dict[str, Any], path: Path | None, every: float = 300.0, method: type[Toy] = Toy) -> Any:
    engine.seed_everything(7)
    toy = method(dropout=0.3)
    training = config.build(Training, settings, "training")
    fit = engine.fit(
        toy, TRAIN, VALIDATION, TEST, training, seed=7, progress=False, checkpoint=path, checkpoint_seconds=every
    )
    return toy, fit


def stopping(after: int, by: str = "SIGTERM") -> type[Toy]:
    """A method that gets a signal in its n-th forward pass of training."""

    class Stops(Toy):
        seen = 0

        def forward(self, batch: Batch) -> Any:
            if self.training:
                type(self).seen += 1
                if type(self).seen == after:
                    signal.raise_signal(getattr(signal, by))
            return super().forward(batch)

    Stops.__name__ = "Toy"  # a checkpoint is of one method
    return Stops


def test_a_checkpoint_gives_back_what_it_was_given(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    groups = {"one": {"a.b": shared, "view": shared.T}, "two": {"n": torch.tensor(3, dtype=torch.int64)}}
    checkpoints.write(tmp_path / "deep" / "c.safetensors", groups, {"epoch": 2, "best": 0.5, "rows": [{"x": None}]})
    read, state = checkpoints.read(tmp_path / "deep" / "c.safetensors")
    assert state == {"epoch": 2, "best": 0.5, "rows": [{"x": None}]}
    assert {group: sorted(members) for group, members in read.items()} == {"one": ["a.b", "view"], "two": ["n"]}
    for group, members in groups.items():
        for name, value in members.items():
            assert torch.equal(read[group][name], value)


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_checkpoint_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"c\.safetensors: expected a whole checkpoint, got: ") as read:
        checkpoints.read(path)
    assert "delete" not in str(read.value)  # not every file of this kind is one to throw away
    with pytest.raises(UserError, match=r"expected a whole checkpoint, got: .*; delete it to start anew$"):
        fitted(SETTINGS[0], path)


def test_an_optimiser_goes_on_as_it_was() -> None:
    def optimiser() -> tuple[nn.Parameter, torch.optim.Optimizer]:
        weight = nn.Parameter(torch.linspace(-1, 1, 5))
        return weight, torch.optim.AdamW([weight], lr=0.1)

    (whole, steady), (resumed, first) = optimiser(), optimiser()

    def step(weight: nn.Parameter, using: torch.optim.Optimizer) -> None:
        using.zero_grad()
        weight.pow(3).sum().backward()
        using.step()

    for _ in range(3):
        step(whole, steady)
        step(resumed, first)
    moments = checkpoints.optimizer_tensors(first)
    second = torch.optim.AdamW([resumed], lr=0.1)
    checkpoints.load_optimizer(second, moments)
    for _ in range(3):
        step(whole, steady)
        step(resumed, second)
    assert torch.equal(whole, resumed)


@pytest.mark.parametrize("after", [1, 4, 9, 13])
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_stopped_training_ends_with_the_same_bits(
    fresh_cache: Path, tmp_path: Path, settings: dict[str, Any], after: int
) -> None:
    whole, expected = fitted(settings, None)
    path = tmp_path / "c.safetensors"
    before = signal.getsignal(signal.SIGTERM)
    start = time.perf_counter()
    with pytest.raises(Stopped, match=r"stopped by SIGTERM after epoch .*goes on from there") as caught:
        fitted(settings, path, method=stopping(after))
    stopped = time.perf_counter() - start
    assert caught.value.by == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before
    toy, fit = fitted(settings, path)
    assert same(weights(toy), weights(whole))
    np.testing.assert_array_equal(fit.test.logits, expected.test.logits)
    assert fit.selected_epoch == expected.selected_epoch
    for one, other in zip(fit.history, expected.history, strict=True):
        for key in ("epoch", "losses", "lr", "validation", "test"):
            assert one[key] == other[key]
    assert fit.phases["training"] == pytest.approx(sum(row["seconds"] for row in fit.history))
    assert 0 < fit.earlier < stopped
    assert fit.earlier < fit.seconds


def test_stops_while_it_evaluates(fresh_cache: Path, tmp_path: Path) -> None:
    class Evaluates(Toy):
        asked = False

        def forward(self, batch: Batch) -> Any:
            if not self.training and not type(self).asked:
                type(self).asked = True
                signal.raise_signal(signal.SIGUSR1)
            return super().forward(batch)

    Evaluates.__name__ = "Toy"
    whole, expected = fitted(SETTINGS[1], None)
    with pytest.raises(Stopped, match="after epoch 1 of 3, step 9 of 9"):
        fitted(SETTINGS[1], tmp_path / "c", method=Evaluates)
    toy, fit = fitted(SETTINGS[1], tmp_path / "c")
    assert same(weights(toy), weights(whole))
    assert [row["lr"] for row in fit.history] == [row["lr"] for row in expected.history]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_training_that_has_ended_is_not_done_again(
    fresh_cache: Path, tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, expected = fitted(settings, tmp_path / "c")

    def trains(*_: Any) -> None:
        raise AssertionError("a step was taken again")

    monkeypatch.setattr(engine.fitting.Stepper, "step", trains)
    toy, fit = fitted(settings, tmp_path / "c")
    assert same(weights(toy), weights(whole))
    np.testing.assert_array_equal(fit.test.logits, expected.test.logits)
    assert (fit.history, fit.selected_epoch) == (expected.history, expected.selected_epoch)


def test_a_signal_at_the_end_of_a_training_is_heard(
    fresh_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = fitted(SETTINGS[2], None)
    row = engine.fitting.Report.row

    def last(self: Any, told: dict[str, Any]) -> None:
        row(self, told)
        if told["epoch"] == 3:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(engine.fitting.Report, "row", last)
        with pytest.raises(Stopped, match="stopped by SIGTERM after its training; start the same run again"):
            fitted(SETTINGS[2], tmp_path / "c")
    toy, _ = fitted(SETTINGS[2], tmp_path / "c")
    assert same(weights(toy), weights(whole))


def test_a_method_without_training_stops_without_a_checkpoint(fresh_cache: Path, tmp_path: Path) -> None:
    class Evaluates(Frozen):
        def forward(self, batch: Batch) -> Any:
            signal.raise_signal(signal.SIGTERM)
            return super().forward(batch)

    with pytest.raises(Stopped, match="stopped by SIGTERM while it evaluated; start the same run again"):
        fitted({"batch_size": 8}, tmp_path / "c", method=Evaluates)
    assert not (tmp_path / "c").exists()


def test_an_interrupt_writes_the_checkpoint_and_a_second_one_ends_at_once(fresh_cache: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)  # a shell's background jobs ignore it
    with pytest.raises(KeyboardInterrupt, match="stopped by SIGINT"):
        fitted(SETTINGS[0], tmp_path / "c", method=stopping(3, "SIGINT"))
    _, state = checkpoints.read(tmp_path / "c")
    assert (state["state"]["epoch"], state["state"]["step"]) == (1, 3)

    class Twice(Toy):
        def forward(self, batch: Batch) -> Any:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("the second interrupt did not end it")

    with pytest.raises(KeyboardInterrupt):
        fitted(SETTINGS[0], tmp_path / "other", method=Twice)
    assert not (tmp_path / "other").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_another_runs_checkpoint_is_refused(fresh_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        fitted(SETTINGS[0], tmp_path / "c", method=stopping(3))
    with pytest.raises(UserError, match="expected this run's checkpoint, got another's; delete it to start anew"):
        fitted({**SETTINGS[0], "lr": 0.5}, tmp_path / "c")
    fitted({**SETTINGS[0], "workers": 1}, tmp_path / "c")  # who prepares the batches does not matter


@pytest.mark.parametrize("change", [
    lambda groups, state: state.clear(), lambda groups, state: groups.pop("method"),
    lambda groups, state: state["state"].update(of_another_version=1),
])  # fmt: skip
def test_a_checkpoint_of_another_version_is_told(change: Any, fresh_cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "c"
    with pytest.raises(Stopped):
        fitted(SETTINGS[0], path, method=stopping(3))
    groups, state = checkpoints.read(path)
    change(groups, state)
    checkpoints.write(path, groups, state)
    with pytest.raises(UserError, match=r"of this version, got another .*delete it to start anew"):
        fitted(SETTINGS[0], path)


def test_a_full_disk_costs_the_checkpoint_alone(
    fresh_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, _ = fitted(SETTINGS[0], None)
    path = tmp_path / "c"
    with pytest.raises(Stopped):
        fitted(SETTINGS[0], path, method=stopping(3))
    before = path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    toy, _ = fitted(SETTINGS[0], path, every=0.0)
    assert "the checkpoint could not be written ([Errno 28] No space left on device)" in caplog.text
    assert same(weights(toy), weights(whole))
    assert path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == sorted([path, fresh_cache])  # nothing half written
    with pytest.raises(Stopped, match="the checkpoint could not be written"):
        fitted(SETTINGS[0], tmp_path / "new", method=stopping(3))


def test_a_broken_loss_names_the_last_good_checkpoint(fresh_cache: Path, tmp_path: Path) -> None:
    class Breaks(Toy):
        def losses(self, batch: Batch, output: Any) -> dict[str, torch.Tensor]:
            parts = super().losses(batch, output)
            if 33 in batch.index.tolist():
                parts["loss"] = parts["loss"] * float("nan")
            return parts

    with pytest.raises(TrainingError, match=r"loss nan at epoch 1.*; the last good checkpoint is .*c\.safetensors"):
        fitted({"epochs": 2, "batch_size": 4}, tmp_path / "c.safetensors", every=0.0, method=Breaks)
    groups, _ = checkpoints.read(tmp_path / "c.safetensors")
    assert all(value.isfinite().all() for value in groups["method"].values())


# Real processes, really killed


Start = Callable[..., Started]


def line_of(out: Path, settings: str, *options: str) -> list[str]:
    return ["--out", str(out), "--training", settings, "--dropout", "0.3", *options]


@pytest.fixture
def start(fresh_cache: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a training in a process of its own, which does not outlive the test, and waits until it trains."""
    started: list[Started] = []

    def one(out: str, settings: str, *options: str) -> Started:
        environment = {**os.environ, "FER_CACHE": str(fresh_cache)}
        told = tmp_path / f"told-{len(started)}.txt"
        process = Started(TOY, line_of(tmp_path / out, settings, *options), environment, told)
        started.append(process)
        while "ready" not in process.told:
            assert not process.over, process.told
            time.sleep(0.01)
        return process

    yield one
    for process in started:
        process.kill()


@pytest.fixture
def alone(fresh_cache: Path, tmp_path: Path) -> Callable[..., None]:
    """Trains in this process, to the end."""
    return lambda out, settings, *options: toy.trained(line_of(tmp_path / out, settings, *options))


def test_kill_9_at_any_moment_leaves_a_checkpoint_to_go_on_from(
    start: Start, alone: Callable[..., None], tmp_path: Path
) -> None:
    settings, path = '{"epochs": 4, "batch_size": 4, "ema": 0.9, "optimizer": "sgd", "lr": 0.01}', tmp_path / "c"
    alone("whole.npz", settings)
    drawn = np.random.default_rng(0)
    kills = 0
    while kills < 3:
        # It writes its checkpoint at every step, so that a kill often meets it writing.
        process = start("out.npz", settings, "--checkpoint", str(path), "--every", "0", "--pause", "0.01")
        time.sleep(float(drawn.uniform(0.2, 0.7)))
        if process.over:
            break
        process.kill()
        kills += 1
        if path.exists():
            checkpoints.read(path)
    assert kills >= 1
    assert path.exists()
    alone("out.npz", settings, "--checkpoint", str(path))
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "out.npz") as resumed:
        for name in whole.files:
            np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_a_cluster_that_takes_the_node_away_gets_a_clean_exit(
    start: Start, alone: Callable[..., None], tmp_path: Path, name: str
) -> None:
    settings, path = '{"epochs": 20, "batch_size": 4}', tmp_path / "c"
    options = ("--checkpoint", str(path), "--every", "0.05")
    process = start("out.npz", settings, *options, "--pause", "0.02")
    for _ in range(600):  # until it is at work
        if path.exists():
            break
        time.sleep(0.1)
    process.send(getattr(signal, name))
    assert process.wait(60) == 75
    assert f"stopped by {name} after epoch" in process.told
    alone("out.npz", settings, *options)
    assert (tmp_path / "out.npz").exists()


def test_the_state_is_read_alone_and_a_cut_file_is_noticed(tmp_path):
    path = tmp_path / "whole.safetensors"
    checkpoints.write(path, {"method": {"weight": torch.arange(1000.0)}}, {"epoch": 3})
    assert checkpoints.read_state(path) == checkpoints.read(path)[1] == {"epoch": 3}
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="expected a whole checkpoint"):
        checkpoints.read_state(path)


@pytest.mark.parametrize("change", ["seed", "weights", "config", "train", "test"])
def test_a_checkpoint_is_of_one_seed_clip_method_and_data(change: str, fresh_cache: Any, tmp_path: Any) -> None:
    class Stops(Toy):
        def losses(self, batch: Any, output: Any) -> Any:
            if not hasattr(self, "goes_on"):
                signal.raise_signal(signal.SIGTERM)
            return super().losses(batch, output)

    def run(seed: int, method: Toy, train: Any, test: Any) -> None:
        training = Training(epochs=2, batch_size=16)
        engine.fit(method, train, VALIDATION, test, training, seed=seed, progress=False, checkpoint=tmp_path / "c")

    with pytest.raises(Stopped):
        run(0, Stops(), TRAIN, TEST)
    method, seed, train, test = Stops(), 0, TRAIN, TEST
    method.goes_on = True
    if change == "seed":
        seed = 1
    elif change == "weights":
        method.clip.weights = "other"
    elif change == "config":
        method.config = {"length": 2}
    elif change == "train":
        train = dataset(70, "train", seed=1)
    else:
        test = dataset(50, "test", seed=1)
    with pytest.raises(UserError, match="expected this run's checkpoint, got another's"):
        run(seed, method, train, test)


class Peaks(Toy):
    """Best in its second epoch of four, by validation; a signal may come in an epoch, or while one is evaluated."""

    stop: tuple[bool, int] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.clock = nn.Parameter(torch.zeros(()))
        self.register_buffer("ends", torch.zeros(()))

    def forward(self, batch: Any) -> Any:
        epoch = round(self.clock.item())
        if self.stop == (self.training, epoch):
            self.stop = None
            signal.raise_signal(signal.SIGTERM)
        if self.training:
            return SimpleNamespace(logits=self.clock.expand(len(batch), 3), features=batch.label[:, None])
        right = torch.arange(len(batch)) < (0.5, 0.9, 0.9, 0.2)[epoch - 1] * len(batch)
        logits = nn.functional.one_hot(torch.where(right, batch.label, (batch.label + 1) % 3), 3).float()
        return SimpleNamespace(logits=logits, features=batch.label[:, None])

    def losses(self, batch: Any, output: Any) -> Any:
        return {"loss": -output.logits.mean()}

    def end_epoch(self, epoch: int, epochs: int) -> None:
        self.ends += 1

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        return [{"params": [self.clock], "lr": lr}]


@pytest.mark.parametrize("stop", [(True, 1), (True, 2), (True, 3), (False, 2), (False, 3), (False, 4)])
def test_a_stopped_training_keeps_the_epoch_that_was_best_and_ends_each_once(
    stop: tuple[bool, int], fresh_cache: Any, tmp_path: Any
) -> None:
    training = Training(
        epochs=4, batch_size=128, optimizer="sgd", lr=1.0, momentum=0.0, schedule="constant", selection="validation"
    )

    def run(method: Toy) -> engine.Fit:
        return engine.fit(method, TRAIN, VALIDATION, TEST, training, seed=0, progress=False, checkpoint=tmp_path / "c")

    first = Peaks()
    first.stop = stop
    with pytest.raises(Stopped):
        run(first)
    method = Peaks()
    assert run(method).selected_epoch == 2
    assert (method.clock.item(), method.ends.item()) == (2.0, 2.0)
