"""The engine on a toy method: closed forms, determinism, selection, caches, failures."""

import math
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pretended import Elsewhere, pretended
from torch import Tensor, nn
from toy import TEST, TRAIN, VALIDATION, Frozen, Tower, Toy, fitted, same, weights

from fer_core import config, engine, hardware
from fer_core.batch import Batch
from fer_core.data import Augmentation, Transform, loader, subset
from fer_core.data.loading import order
from fer_core.engine import Training, TrainingError, runtime
from fer_core.engine.reporting import Report
from fer_core.errors import UserError

# The schedule


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_learning_rate_follows_its_formula(schedule: str) -> None:
    factors = [engine.learning_rate_factor(step, 20, 0.2, schedule) for step in range(20)]
    assert factors[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    rest = [0.5 * (1 + math.cos(math.pi * step / 16)) if schedule == "cosine" else 1.0 for step in range(16)]
    assert factors[4:] == pytest.approx(rest)
    assert engine.learning_rate_factor(0, 20, 0.0, schedule) == 1.0


@pytest.mark.parametrize("schedule", ["cosine", "steps"])
def test_learning_rate_agrees_with_torch(schedule: str) -> None:
    optimizer, schedules = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0), torch.optim.lr_scheduler
    if schedule == "cosine":
        reference, milestones = schedules.CosineAnnealingLR(optimizer, T_max=15), ()
    else:
        reference, milestones = schedules.MultiStepLR(optimizer, milestones=[9, 12], gamma=0.1), (0.6, 0.8)
    for step in range(15):
        factor = engine.learning_rate_factor(step, 15, 0.0, schedule, milestones)
        assert factor == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


def test_a_training_in_steps_takes_them() -> None:
    steps = Training(epochs=4, batch_size=35, optimizer="sgd", lr=0.1, schedule="steps", milestones=(0.5,))
    _, fit = fitted(steps)
    assert [row["lr"] for row in fit.history] == pytest.approx([0.1, 0.1, 0.01, 0.01])


# Steps


def naive_steps(training: Training, seed: int) -> dict[str, Tensor]:
    """SGD by hand, in the engine's order, with gradients in closed form."""
    engine.seed_everything(seed)
    toy = Toy()
    weight, bias = toy.head.weight.detach().double(), toy.head.bias.detach().double()
    velocity = [torch.zeros_like(weight), torch.zeros_like(bias)]
    whole = Transform(8, Tower.mean, Tower.std)(TRAIN.take(range(70)))
    features = Tower().encode_image(whole.image).class_token.double()
    steps = -(-70 // training.batch_size)
    for epoch in range(1, training.epochs + 1):
        positions = torch.from_numpy(order(70, seed, epoch, shuffle=True)).split(training.batch_size)
        for step, chosen in enumerate(positions):
            x, y = features[chosen], F.one_hot(whole.label[chosen], 3)
            slope = (torch.softmax(x @ weight.T + bias, 1) - y) / len(chosen)
            gradients = [slope.T @ x + 0.1 * 2 * weight / weight.numel(), slope.sum(0)]
            norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
            if training.gradient_clip is not None:
                gradients = [gradient * min(1.0, training.gradient_clip / (norm + 1e-6)) for gradient in gradients]
            done = (epoch - 1) * steps + step
            lr = training.lr * 0.5 * (1 + math.cos(math.pi * done / (training.epochs * steps)))
            for place, (parameter, gradient) in enumerate(zip((weight, bias), gradients, strict=True)):
                gradient = gradient + training.weight_decay * parameter
                velocity[place] = training.momentum * velocity[place] + gradient
                parameter -= lr * velocity[place]
    return {"head.weight": weight, "head.bias": bias}


@pytest.mark.parametrize("gradient_clip", [None, 0.5])
@pytest.mark.parametrize("cache_features", [True, False])
def test_sgd_equals_hand_computed_steps(gradient_clip: float | None, cache_features: bool) -> None:
    training = Training(
        epochs=3, batch_size=16, optimizer="sgd", lr=0.05, weight_decay=0.01, momentum=0.9, gradient_clip=gradient_clip,
        cache_features=cache_features,
    )  # fmt: skip
    toy, _ = fitted(training, seed=5)
    for name, expected in naive_steps(training, 5).items():
        torch.testing.assert_close(toy.state_dict()[name].double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.9)])
def test_adamw_equals_torchs_plain_one(betas: tuple[float, float]) -> None:
    training = Training(epochs=2, batch_size=16, lr=0.01, weight_decay=0.1, betas=betas, schedule="constant")
    toy, _ = fitted(training)
    engine.seed_everything(0)
    other = Toy()
    plain = {"foreach": False, "fused": False}
    optimizer = torch.optim.AdamW(other.head.parameters(), lr=0.01, weight_decay=0.1, betas=betas, **plain)
    for epoch in (1, 2):
        for batch in loader(TRAIN, Transform(8, Tower.mean, Tower.std), 16, 0, epoch, shuffle=True):
            optimizer.zero_grad()
            other.losses(batch, other(batch))["loss"].backward()
            optimizer.step()
    torch.testing.assert_close(toy.head.weight, other.head.weight, rtol=1e-5, atol=1e-6)


# Determinism


@pytest.mark.parametrize("cache_features", [True, False])
def test_one_seed_gives_bit_equal_weights_and_logits(cache_features: bool) -> None:
    chosen = Augmentation() if cache_features else Augmentation(crop_scale=(0.5, 1.0), flip=0.5, brightness=0.3)
    training = Training(epochs=2, batch_size=16, cache_features=cache_features, augmentation=chosen)
    (one, first), (two, second) = (fitted(training, seed=3, dropout=0.2) for _ in range(2))
    assert same(weights(one), weights(two))
    np.testing.assert_array_equal(first.test.logits, second.test.logits)
    assert first.test_by_epoch == second.test_by_epoch
    other, _ = fitted(training, seed=4, dropout=0.2)
    assert not same(weights(one), weights(other))


def test_seeds_every_generator() -> None:
    def draws() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002 - the global state is meant

    engine.seed_everything(1)
    first = draws()
    engine.seed_everything(1)
    assert draws() == first
    assert len({draws(), first}) == 2


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, "0"])
def test_refuses_other_seeds(seed: Any) -> None:
    with pytest.raises(UserError, match=r"seed: expected a whole number in 0\.\.2\*\*32-1"):
        engine.seed_everything(seed)


def test_restores_the_deterministic_setting() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    seen = []

    class Looks(Frozen):
        def forward(self, batch: Batch) -> SimpleNamespace:
            seen.append(torch.are_deterministic_algorithms_enabled())
            return super().forward(batch)

    fitted(Training(), method=Looks)
    assert seen
    assert all(seen)
    assert not torch.are_deterministic_algorithms_enabled()


# Features in place of pixels


def test_cached_features_equal_pixels_exactly(fresh_cache: Path) -> None:
    (cached, first), (plain, second) = (
        fitted(Training(epochs=3, batch_size=16, cache_features=cache), dropout=0.3) for cache in (True, False)
    )
    assert same(weights(cached), weights(plain))
    np.testing.assert_array_equal(first.test.logits, second.test.logits)
    np.testing.assert_array_equal(first.test.index, np.arange(50))
    assert first.history[-1]["losses"] == second.history[-1]["losses"]
    assert cached.clip.calls == 71 + 41 + 51  # each image once, and the first one before that to know its shape
    assert fitted(Training(epochs=1, batch_size=16))[0].clip.calls == 3  # another run reads them from the disk
    assert plain.clip.calls == 3 * (70 + 40 + 50)


class Blind(Toy):
    """Notes what its batches hold."""

    seen: list[tuple]

    def forward(self, batch: Batch) -> SimpleNamespace:
        self.seen = [*getattr(self, "seen", []), (tuple(batch.image.shape[1:]), batch.features)]
        return super().forward(batch)


class Patches(Blind):
    needs_patches = True


class Trainable(Blind):
    frozen_image_tower = False


def test_caches_patches_only_where_they_are_wanted() -> None:
    for method, shape in ((Blind, None), (Patches, (16, 48))):
        toy, _ = fitted(Training(epochs=1), method=method)
        for image, features in toy.seen:
            assert image == (0,)  # no pixels to train on by mistake
            assert features.class_token.shape[1:] == (48,)
            assert (None if features.patch_tokens is None else features.patch_tokens.shape[1:]) == shape


@pytest.mark.parametrize(
    ("method", "training"),
    [(Trainable, Training(epochs=1)), (Blind, Training(epochs=1, cache_features=False))],
)
def test_sees_pixels_where_features_would_be_wrong(method: type[Toy], training: Training) -> None:
    toy, _ = fitted(training, method=method)
    assert {image for image, _ in toy.seen} == {(3, 8, 8)}
    assert all(features is None for _, features in toy.seen)


def test_augmented_training_sees_pixels_and_its_evaluation_features() -> None:
    toy, _ = fitted(Training(epochs=1, batch_size=16, augmentation=Augmentation(flip=0.5)), method=Blind)
    assert [image for image, _ in toy.seen] == [(3, 8, 8)] * 5 + [(0,)] * 7


def test_augments_training_alone() -> None:
    training = Training(epochs=1, augmentation=Augmentation(erasing=1.0))
    toy, fit = fitted(training)
    batches = loader(TEST, Transform(8, Tower.mean, Tower.std), 64, 0)
    np.testing.assert_array_equal(fit.test.logits, engine.evaluate(toy, batches).logits)
    plain, _ = fitted(Training(epochs=1))
    assert not same(weights(toy), weights(plain))


def test_prepares_once_in_order() -> None:
    toy, _ = fitted(Training(epochs=2, batch_size=16))
    assert toy.prepared == list(range(70))


# Selection


class Scripted(Toy):
    """Its accuracy in each epoch is written down: the share of samples that it gets right."""

    validation, test = (0.5, 0.9, 0.9, 0.2), (0.9, 0.3, 0.5, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.clock = nn.Parameter(torch.zeros(()))
        self.register_buffer("epochs", torch.zeros(()))

    def forward(self, batch: Batch) -> SimpleNamespace:
        if self.training:
            # The gradient is -1: with one step an epoch and a constant rate of 1 the clock counts epochs.
            self.epochs += 1
            return SimpleNamespace(logits=self.clock.expand(len(batch), 3), features=batch.image)
        epoch = int(self.clock.item())
        total = len(batch)
        share = (self.validation if total == 40 else self.test)[epoch - 1]
        right = torch.arange(total) < round(share * total)
        logits = F.one_hot(torch.where(right, batch.label, (batch.label + 1) % 3), 3).float()
        return SimpleNamespace(logits=logits, features=batch.image)

    def losses(self, batch: Batch, output: SimpleNamespace) -> dict[str, Tensor]:
        return {"loss": -output.logits.mean()}

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        return [{"params": [self.clock], "lr": lr}]


@pytest.mark.parametrize(("selection", "epoch"), [("last", 4), ("validation", 2)])
def test_keeps_the_selected_epoch_and_never_looks_at_test(selection: Any, epoch: int) -> None:
    training = Training(
        epochs=4, batch_size=128, optimizer="sgd", lr=1.0, momentum=0.0, schedule="constant", selection=selection
    )
    method, fit = fitted(training, method=Scripted)
    assert fit.selected_epoch == epoch  # not 3, its equal on validation; not 4, the best on test
    assert method.clock.item() == method.epochs.item() == epoch
    assert [row["war"] for row in fit.test_by_epoch] == pytest.approx([0.9, 0.3, 0.5, 1.0])
    assert [row["validation"]["war"] for row in fit.history] == pytest.approx([0.5, 0.9, 0.9, 0.2], abs=0.01)
    assert fit.test.score() == fit.test_by_epoch[epoch - 1]
    assert fit.validation.score()["war"] == fit.history[epoch - 1]["validation"]["war"]
    assert not method.training


def test_epochs_may_go_by_without_an_evaluation() -> None:
    _, whole = fitted(Training(epochs=5, batch_size=16, lr=0.1))
    _, fit = fitted(Training(epochs=5, batch_size=16, lr=0.1, evaluate_every=2))
    assert [row["epoch"] for row in fit.history if row["validation"] is not None] == [2, 4, 5]
    assert len(fit.test_by_epoch) == 3
    assert fit.history[3]["test"] == whole.history[3]["test"]
    assert fit.selected_epoch == 5
    np.testing.assert_array_equal(fit.test.logits, whole.test.logits)
    chosen = Training(epochs=5, batch_size=16, lr=0.1, evaluate_every=3, selection="validation")
    _, fit = fitted(chosen)
    assert fit.selected_epoch in (3, 5)
    row = fit.history[fit.selected_epoch - 1]
    assert row["validation"]["war"] == max(each["validation"]["war"] for each in fit.history if each["validation"])
    assert fit.test.score() == row["test"]
    with pytest.raises(UserError, match="evaluate_every: expected at least 1, got 0"):
        Training(evaluate_every=0)


def test_selection_needs_a_validation_split() -> None:
    with pytest.raises(UserError, match=r"set training\.selection=last"):
        engine.fit(Toy(), TRAIN, None, TEST, Training(selection="validation"), seed=0, progress=False)


# What a fit tells


def test_history_tells_each_epoch() -> None:
    training = Training(epochs=2, batch_size=16, lr=0.1, optimizer="sgd")
    _, fit = fitted(training)
    assert [row["epoch"] for row in fit.history] == [1, 2]
    row = fit.history[0]
    assert row["losses"]["loss"] == pytest.approx(row["losses"]["cross_entropy"] + 0.1 * row["losses"]["penalty"])
    assert row["lr"] == pytest.approx(0.1 * engine.learning_rate_factor(4, 10, 0.0, "cosine"))
    assert fit.history[1]["losses"]["loss"] < row["losses"]["loss"]
    assert row["test"] == fit.test_by_epoch[0]
    assert 0 < sum(fit.phases.values()) <= fit.seconds
    assert row["images_per_second"] * row["seconds"] == pytest.approx(70)
    assert fit.images_per_second > 0
    assert 50e6 < fit.peak_memory < 1e12  # bytes: a torch process holds more than 50 MB
    config.digest(fit.history)  # JSON types only


def test_learns() -> None:
    _, fit = fitted(Training(epochs=10, batch_size=16, lr=0.01))
    assert fit.test_by_epoch[-1]["war"] > 0.85


def test_mean_loss_weighs_samples_not_batches() -> None:
    # A rate so small that nothing moves: the epoch's mean is the loss of the whole split.
    toy, fit = fitted(Training(epochs=1, batch_size=64, lr=1e-12, optimizer="sgd"))
    whole = Transform(8, Tower.mean, Tower.std)(TRAIN.take(range(70)))
    expected = toy.losses(whole, toy(whole))["cross_entropy"].item()
    assert fit.history[0]["losses"]["cross_entropy"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("method", "epochs"), [(Frozen, 5), (Toy, 0)])
def test_nothing_to_train_is_evaluated_once(method: type[Toy], epochs: int) -> None:
    engine.seed_everything(0)
    before = weights(method())
    toy, fit = fitted(Training(epochs=epochs), method=method)
    assert same(weights(toy), before)
    assert toy.prepared == list(range(70))
    assert (fit.selected_epoch, fit.images_per_second, len(fit.history)) == (0, 0.0, 1)
    assert fit.test_by_epoch == [fit.test.score()]
    assert fit.history[0]["losses"] == {}


def test_held_out_splits_may_be_missing() -> None:
    fit = engine.fit(Toy(), TRAIN, None, None, Training(epochs=1), seed=0, progress=False)
    assert fit.test is fit.validation is fit.history[0]["test"] is None
    assert fit.test_by_epoch == []


def test_says_one_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    engine.fit(Toy(), TRAIN, VALIDATION, TEST, Training(epochs=2), seed=0)
    out, error = capsys.readouterr()
    first, second = error.splitlines()
    assert out == ""
    assert first.startswith("epoch 1/2  cross_entropy ")
    for part in ("penalty", "loss", "validation WAR", "test WAR", "lr", "images/s"):
        assert part in second
    fitted(Training(epochs=1))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("rate", "told"), [(1234.4, "1234 images/s"), (0.043, "0.04 images/s")])
def test_says_how_slow_a_training_is(capsys: pytest.CaptureFixture[str], rate: float, told: str) -> None:
    row = {"epoch": 1, "losses": {}, "validation": None, "test": None, "lr": 0.1, "images_per_second": rate}
    Report(1, True, None).row(row)
    assert capsys.readouterr().err.endswith(f", {told}\n")


# Precision


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("cache_features", [True, False])
def test_half_precision_learns_the_same(monkeypatch: pytest.MonkeyPatch, precision: Any, cache_features: bool) -> None:
    monkeypatch.setattr(hardware, "computes_bf16", lambda device: True)  # without units it is slow, but works
    training = Training(epochs=3, batch_size=16, lr=0.01, gradient_clip=5.0, cache_features=cache_features)
    _, full = fitted(training)
    half = config.build(Training, {**config.plain(training), "precision": precision}, "training")
    toy, fit = fitted(half)
    assert {value.dtype for value in weights(toy).values()} == {torch.float32}
    assert fit.test.logits.dtype == np.float32
    np.testing.assert_allclose(fit.test.logits, full.test.logits, atol=0.1)
    assert not np.array_equal(fit.test.logits, full.test.logits)


# Failures


def test_a_broken_loss_names_epoch_step_and_samples() -> None:
    class Breaks(Toy):
        def losses(self, batch: Batch, output: SimpleNamespace) -> dict[str, Tensor]:
            parts = super().losses(batch, output)
            if 33 in batch.index.tolist():
                parts["loss"] = parts["loss"] * math.nan
            return parts

    drawn = order(70, 0, 1, shuffle=True)
    step = int(np.flatnonzero(drawn == 33)[0]) // 8
    with pytest.raises(TrainingError, match=f"loss nan at epoch 1, step {step + 1} of 9") as caught:
        fitted(Training(epochs=2, batch_size=8), method=Breaks)
    assert f"samples {', '.join(map(str, drawn[8 * step : 8 * step + 8]))}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UserError)


def test_an_interrupt_gets_through_and_settings_come_back() -> None:
    class Interrupted(Toy):
        def losses(self, batch: Batch, output: SimpleNamespace) -> dict[str, Tensor]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(Training(), method=Interrupted)
    assert not torch.are_deterministic_algorithms_enabled()


def test_refuses_an_empty_split() -> None:
    with pytest.raises(UserError, match="samples in its validation split, got none"):
        engine.fit(Toy(), TRAIN, subset(VALIDATION, []), TEST, Training(), seed=0, progress=False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": -1}, "epochs: expected at least 0, got -1"),
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"workers": -1}, "workers: expected at least 0"),
        ({"lr": 0.0}, "lr: expected a number above 0"),
        ({"lr": math.nan}, "lr: expected a number above 0, got nan"),
        ({"weight_decay": -0.1}, "weight_decay: expected a number of at least 0"),
        ({"warmup": 1.0}, r"warmup: expected a number in \[0, 1\), got 1\.0"),
        ({"momentum": -0.1}, "momentum: expected a number in"),
        ({"betas": (0.9, 1.0)}, "betas: expected two numbers in"),
        ({"gradient_clip": 0.0}, "gradient_clip: expected none, or above 0"),
        ({"optimizer": "adam"}, "optimizer: expected 'adamw' or 'sgd', got 'adam'"),
        ({"precision": "fp8"}, "precision: expected 'fp32' or 'bf16' or 'fp16'"),
        ({"schedule": "step"}, "schedule: expected"),
        ({"schedule": "steps"}, "milestones: expected rising shares of all steps"),
        ({"schedule": "steps", "milestones": (0.8, 0.6)}, "milestones: expected rising shares of all steps"),
        ({"schedule": "steps", "milestones": (0.5, 1.0)}, "milestones: expected rising shares of all steps"),
        ({"milestones": (0.5,)}, "milestones: .*none without, got"),
        ({"selection": "test"}, "selection: expected 'last' or 'validation', got 'test'"),
    ],
)
def test_refuses_impossible_settings(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Training(**values)


def test_builds_from_a_mapping() -> None:
    mapping = {"epochs": 3, "lr": 1, "augmentation": {"flip": 0.5, "crop_scale": [0.8, 1]}}
    built = config.build(Training, mapping, "training")
    assert built == Training(epochs=3, lr=1.0, augmentation=Augmentation(flip=0.5, crop_scale=(0.8, 1.0)))
    with pytest.raises(UserError, match=r"setting of training\.augmentation 'flips'; did you mean 'flip'"):
        config.build(Training, {"augmentation": {"flips": 0.5}}, "training")


# Evaluation


def test_evaluates_every_sample_once_in_order() -> None:
    toy = Toy(dropout=0.5).train()
    batches = list(loader(TEST, Transform(8, Tower.mean, Tower.std), 16, 0))
    made = engine.evaluate(toy, batches)
    assert toy.training  # as it was
    assert made.index.tolist() == list(range(50))
    assert made.labels.tolist() == TEST.labels.tolist()
    assert (made.logits.shape, made.features.shape) == ((50, 3), (50, 48))
    whole = Transform(8, Tower.mean, Tower.std)(TEST.take(range(50)))
    with torch.no_grad():
        np.testing.assert_allclose(made.logits, toy.eval()(whole).logits.numpy(), atol=1e-5)
    assert made.score()["war"] == np.mean(made.logits.argmax(1) == TEST.labels.numpy())


def test_evaluation_keeps_no_gradients_yet_makes_usable_tensors() -> None:
    toy = Toy()
    kept = []

    class Keeps(Toy):
        def forward(self, batch: Batch) -> SimpleNamespace:
            kept.append(batch.image * 2)
            return super().forward(batch)

    engine.evaluate(Keeps(), loader(TEST, Transform(8, Tower.mean, Tower.std), 50, 0))
    assert not kept[0].requires_grad
    # A tensor of inference mode could not take part in training.
    toy.head(kept[0].flatten(1)[:, :48]).sum().backward()


def test_refuses_samples_that_come_twice_and_no_samples() -> None:
    batches = list(loader(TEST, Transform(8, Tower.mean, Tower.std), 16, 0))
    with pytest.raises(ValueError, match="every sample once, got some twice"):
        engine.evaluate(Toy(), [*batches, batches[0]])
    with pytest.raises(UserError, match="at least one batch to evaluate"):
        engine.evaluate(Toy(), [])


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_trains_elsewhere_as_on_the_cpu(cached: bool, optimizer: Any) -> None:
    augmentation = Augmentation() if cached else Augmentation(flip=0.5)
    training = Training(epochs=2, batch_size=16, optimizer=optimizer, gradient_clip=1.0, augmentation=augmentation)
    engine.seed_everything(0)
    toy, moved = Toy(), Toy()
    moved.load_state_dict(toy.state_dict())
    expected = engine.fit(toy, TRAIN, VALIDATION, TEST, training, seed=0, progress=False)
    with pretended() as device:
        found = engine.fit(moved, TRAIN, VALIDATION, TEST, training, seed=0, device=device, progress=False)
    np.testing.assert_allclose(found.test.logits, expected.test.logits, rtol=1e-5, atol=1e-6)
    for name, value in moved.state_dict().items():
        assert isinstance(value, Elsewhere)
        torch.testing.assert_close(value.inner, toy.state_dict()[name])


def test_deterministic_leaves_fresh_memory_as_it_is() -> None:
    """Filling it is torch's default then, and costs time."""
    settings = torch.utils.deterministic
    assert settings.fill_uninitialized_memory
    with runtime.deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        assert not settings.fill_uninitialized_memory
    assert settings.fill_uninitialized_memory
    with runtime.deterministic(False):
        assert settings.fill_uninitialized_memory


def test_cublas_is_asked_for_determinism_before_it_starts() -> None:
    script = "import os, fer_core; print(os.environ['CUBLAS_WORKSPACE_CONFIG'])"
    plain = {name: value for name, value in os.environ.items() if name != "CUBLAS_WORKSPACE_CONFIG"}
    for given, expected in (({}, ":4096:8"), ({"CUBLAS_WORKSPACE_CONFIG": ":16:8"}, ":16:8")):
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env={**plain, **given}, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected


@pytest.mark.parametrize(
    ("precision", "device", "units", "told"),
    [("bf16", "cuda", False, True), ("bf16", "cuda", True, False), ("fp16", "cuda", False, False),
     ("bf16", "cpu", False, False)],
)  # fmt: skip
def test_says_where_bf16_is_only_emulated(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, precision: Any, device: str, units: bool,
    told: bool,
) -> None:  # fmt: skip
    def supported(including_emulation: bool = True) -> bool:
        return units or including_emulation

    def stopped(seed: int) -> None:
        raise UserError("far enough")

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(runtime, "seed_everything", stopped)
    with pytest.raises(UserError, match="far enough"):
        engine.fit(Toy(), TRAIN, None, None, Training(precision=precision), seed=0, device=device, progress=False)
    assert ("--set training.precision=fp16" in caplog.text) is told


@pytest.mark.parametrize("units", [True, False])
def test_a_cpu_without_units_for_bf16_computes_in_fp32(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], units: bool
) -> None:
    monkeypatch.setattr(hardware, "computes_bf16", lambda device: units)
    results = []
    for precision in ("fp32", "bf16"):
        engine.seed_everything(0)
        training = Training(epochs=1, batch_size=16, precision=precision)
        results.append(engine.fit(Toy(), TRAIN, None, TEST, training, seed=0).test.logits)
        assert ("this CPU has no units for bf16" in capsys.readouterr().err) is (precision == "bf16" and not units)
    assert np.array_equal(*results) is not units


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_trains_on_a_gpu_deterministically(precision: Any) -> None:
    training = Training(epochs=2, batch_size=16, precision=precision, augmentation=Augmentation(flip=0.5))
    runs = []
    for _ in range(2):
        engine.seed_everything(0)
        toy = Toy()
        fit = engine.fit(toy, TRAIN, VALIDATION, TEST, training, seed=0, device="cuda", progress=False)
        runs.append((weights(toy), fit))
    assert same(runs[0][0], runs[1][0])
    np.testing.assert_array_equal(runs[0][1].test.logits, runs[1][1].test.logits)
    assert 0 < runs[0][1].peak_memory < 1e9
