"""One step: parts of a batch, a batch too large for memory, a compiler that fails, averaged weights."""

import gc
import logging
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_clip
from toy import TEST, TRAIN, VALIDATION, Tower, Toy, fitted, same, weights

from fer_core import engine, models
from fer_core.batch import Batch
from fer_core.data import Transform, loader
from fer_core.engine import Processes, Training, TrainingError
from fer_core.engine.runtime import out_of_memory
from fer_core.engine.steps import Average, Stepper, _detached, _of_compiler

SGD = {"epochs": 2, "batch_size": 16, "optimizer": "sgd", "lr": 0.05}


@pytest.mark.parametrize("parts", [2, 3, 16, 100])
def test_accumulated_parts_equal_the_whole_batch(parts: int) -> None:
    (whole, one), (toy, other) = fitted(Training(**SGD)), fitted(Training(**SGD, accumulate=parts))
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(toy)[name], value, rtol=1e-5, atol=1e-6)
    assert other.history[-1]["losses"] == pytest.approx(one.history[-1]["losses"], rel=1e-5)


@pytest.mark.parametrize("name", ["les-clip", "fine-cliper"])
def test_a_failed_try_leaves_nothing_of_its_graph(name: str) -> None:
    """What a method remembers of its last pass would hold it, while the next try starts."""
    clip = tiny_clip()
    settings = {"streams": ("frames", "parsing"), "missing": "leave"} if name == "fine-cliper" else {}
    method = models.build(name, clip, ("anger", "happiness"), settings)
    saved: list[weakref.ref[torch.Tensor]] = []
    tries = []

    class Fails(torch.autograd.Function):
        """Passes on; going back there is no room the first time."""

        @staticmethod
        def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
            return value.clone()

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
            if len(tries) == 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return grads[0]

    own = method.losses

    def losses(batch: Batch, output: Any) -> dict[str, torch.Tensor]:
        return {part: Fails.apply(value) for part, value in own(batch, output).items()}

    def started(*_: Any) -> None:
        gc.collect()
        tries.append(sum(kept() is not None for kept in saved))

    def packed(tensor: torch.Tensor) -> torch.Tensor:
        kept = tensor.detach()  # lives as long as the graph that it is saved in
        saved.append(weakref.ref(kept))
        return kept

    method.losses = losses  # pyright: ignore[reportAttributeAccessIssue]
    method.register_forward_pre_hook(started)
    stepper = Stepper(method.train(), Training(**SGD), Processes(torch.device("cpu")))
    batch = Batch(torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 0, 1]), torch.arange(4))
    if name == "fine-cliper":
        batch.parsing = torch.zeros(4, 32, 32, dtype=torch.uint8)
    with torch.autograd.graph.saved_tensors_hooks(packed, lambda tensor: tensor):
        stepper.step(batch, 1.0, 1.0, "the first step")
    assert tries[:2] == [0, 0]
    assert stepper.parts == 2


def test_detaches_tensors_in_containers() -> None:
    weight = torch.ones(2, requires_grad=True)
    held = {"a": [weight * 2, "text"], "b": (weight * 3, 1)}
    assert _detached(held) is held
    assert (held["a"][0].grad_fn, held["b"][0].grad_fn) == (None, None)
    assert (held["a"][0].tolist(), held["b"][0].tolist(), held["b"][1]) == ([2.0] * 2, [3.0] * 2, 1)
    assert _detached(weight) is weight


def test_a_workspace_that_cublas_cannot_have_counts_as_too_large() -> None:
    error = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    assert out_of_memory(error)
    assert not out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"))


class Hungry(Toy):
    """Has memory for few samples at a time."""

    room, sizes = 5, []

    def forward(self, batch: Batch) -> SimpleNamespace:
        if self.training:
            type(self).sizes.append(len(batch))
            if len(batch) > self.room:
                self.dropout(torch.ones(3))  # draws before it fails, which must not show
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().forward(batch)


def test_a_batch_too_large_for_memory_is_halved_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    Hungry.sizes.clear()
    hungry, _ = fitted(Training(**SGD), method=Hungry, dropout=0.3)
    assert Hungry.sizes[:6] == [16, 8, 4, 4, 4, 4]  # tried whole, in halves, in quarters, and so for good
    assert max(Hungry.sizes[2:]) == 4
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert told == [
        "memory does not hold 16 samples at a time; from epoch 1, step 1 of 5 on each batch is computed in 2 parts",
        "memory does not hold 8 samples at a time; from epoch 1, step 1 of 5 on each batch is computed in 4 parts",
    ]
    # Bit for bit what computing in quarters gives from the start, random numbers included.
    expected, _ = fitted(Training(**SGD, accumulate=4), dropout=0.3)
    assert same(weights(hungry), weights(expected))


def test_the_cpu_allocators_error_counts_as_too_large() -> None:
    class Huge(Toy):
        def forward(self, batch: Batch) -> SimpleNamespace:
            if self.training and len(batch) > 8:
                torch.empty(2**60, dtype=torch.uint8)  # a real refusal
            return super().forward(batch)

    toy, _ = fitted(Training(**SGD), method=Huge)
    expected, _ = fitted(Training(**SGD, accumulate=2))
    assert same(weights(toy), weights(expected))


def test_one_sample_too_large_is_an_error_and_other_errors_stay() -> None:
    class Small(Hungry):
        room = 0

    with pytest.raises(TrainingError, match="expected memory for one sample, got none at epoch 1, step 1 of 5"):
        fitted(Training(**SGD), method=Small)

    class Wrong(Toy):
        def losses(self, batch: Batch, output: SimpleNamespace) -> dict[str, torch.Tensor]:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fitted(Training(**SGD), method=Wrong)


def test_goes_on_plainly_where_the_compiler_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no C++ compiler")

    own = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module: own(module, backend=broken))
    toy, _ = fitted(Training(**SGD, compile=True))
    assert "torch.compile failed (" in caplog.text
    assert "going on without it" in caplog.text
    expected, _ = fitted(Training(**SGD))
    assert same(weights(toy), weights(expected))
    assert not _of_compiler(RuntimeError("mine"))


@pytest.mark.slow
def test_compiled_equals_plain() -> None:
    (compiled, _), (plain, _) = fitted(Training(**SGD, compile=True)), fitted(Training(**SGD))
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(compiled)[name], value, rtol=1e-4, atol=1e-5)


def test_the_average_equals_its_formula() -> None:
    weight = torch.zeros(3)
    average, expected = Average([weight], 0.5), np.zeros(3)
    for step, value in enumerate([1.0, 4.0, -2.0, 3.0, 3.0, 3.0, 3.0, 3.0, 5.0, 7.0, 1.0]):
        weight.fill_(value)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        np.testing.assert_allclose(average.mean[0].numpy(), expected, rtol=1e-6)
    with average.used():
        np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-6)
    assert weight.tolist() == [1.0] * 3


@pytest.mark.parametrize("selection", ["last", "validation"])
def test_averaged_weights_are_what_is_scored_and_kept(selection: Any) -> None:
    training = Training(epochs=3, batch_size=16, lr=0.05, ema=0.8, selection=selection)
    toy, fit = fitted(training)
    plain, _ = fitted(Training(epochs=3, batch_size=16, lr=0.05, selection=selection))
    assert not same(weights(toy), weights(plain))
    again = engine.evaluate(toy, loader(TEST, Transform(8, Tower.mean, Tower.std), 16, 0))
    np.testing.assert_array_equal(again.logits, fit.test.logits)


def test_stops_early_at_a_validation_score_that_does_not_rise() -> None:
    class Falls(Toy):
        """Learns nothing: its first epoch is its best."""

        def losses(self, batch: Batch, output: SimpleNamespace) -> dict[str, torch.Tensor]:
            return {"loss": 0.0 * output.logits.sum()}

    _, fit = fitted(Training(epochs=9, batch_size=16, selection="validation", patience=2), method=Falls)
    assert [row["epoch"] for row in fit.history] == [1, 2, 3]
    assert fit.selected_epoch == 1
    for settings in ({}, {"selection": "validation", "evaluate_every": 5}):  # of which no epoch would be evaluated
        with pytest.raises(ValueError, match=r"patience: expected none, or at least evaluate_every \([15]\) with sel"):
            Training(patience=2, **settings)


def test_channels_last_changes_nothing_but_the_layout() -> None:
    settings = {**SGD, "cache_features": False}
    (one, _), (other, _) = fitted(Training(**settings)), fitted(Training(**settings, channels_last=True))
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(other)[name], value, rtol=1e-5, atol=1e-6)


def test_writes_curves_for_tensorboard(tmp_path: Any) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is an extra that is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    engine.fit(Toy(), TRAIN, VALIDATION, TEST, Training(**SGD), seed=0, progress=False, log_dir=tmp_path)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert len(events.Scalars("step/loss")) == 10
    assert [event.step for event in events.Scalars("test/war")] == [1, 2]


def first_batch() -> Batch:
    return next(iter(loader(TRAIN, Transform(8, Tower.mean, Tower.std), 16, 0)))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_optimiser_heeds_a_methods_groups(optimizer: Any) -> None:
    class Halves(Toy):
        def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
            first = {"params": [self.head.weight], "lr": lr, "weight_decay": weight_decay}
            return [first, {"params": [self.head.bias], "lr": 0.1 * lr, "weight_decay": 0.0}]

    training = Training(epochs=1, batch_size=16, optimizer=optimizer, lr=0.05, weight_decay=0.5)
    stepper = Stepper(Halves(), training, Processes(torch.device("cpu")))
    stepper.step(first_batch(), 1.0, 0.5, "the first step")
    groups = stepper.optimizer.param_groups
    assert [group["lr"] for group in groups] == pytest.approx([0.025, 0.0025])
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]


@pytest.mark.parametrize(("asked", "decay"), [(0.8, 0.1), (0.05, 0.05)])  # that of the first step is at most 0.1
def test_the_average_takes_in_the_weights_behind_each_step(asked: float, decay: float) -> None:
    toy = Toy()
    stepper = Stepper(toy, Training(**SGD, ema=asked), Processes(torch.device("cpu")))
    before = toy.head.weight.detach().clone()
    stepper.step(first_batch(), 1.0, 1.0, "the first step")
    assert stepper.average is not None
    torch.testing.assert_close(stepper.average.mean[0], decay * before + (1 - decay) * toy.head.weight.detach())


def test_loss_scaling_goes_on_where_it_stood() -> None:
    training = Training(**SGD, precision="fp16")
    one, other = (Stepper(Toy(), training, Processes(torch.device("cpu"))) for _ in range(2))
    one.step(first_batch(), 1.0, 1.0, "the first step")
    one.scaler.update(8.0)
    other.restore(*one.state())
    assert other.scaler.get_scale() == 8.0
