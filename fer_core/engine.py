"""Training and evaluation of any method; knows nothing of any paper.

A model is chosen by its last step or on validation data. The test score of every epoch is kept beside it, and never
used, so that a record can say what choosing on test data would have given.
"""

import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fer_core import metrics
from fer_core.batch import Batch
from fer_core.data import Augmentation, FaceDataset, Transform
from fer_core.engine_runtime import HALF, autocast, deterministic, learning_rate_factor, peak_memory, seed_everything
from fer_core.engine_sources import Features, Pixels, Source
from fer_core.errors import UserError

if TYPE_CHECKING:  # the contract only: the engine never asks which method it trains
    from fer_core.models.base import Method

__all__ = [
    "Fit", "Predictions", "Training", "TrainingError", "evaluate", "fit", "learning_rate_factor", "seed_everything",
]  # fmt: skip

Item = TypeVar("Item")


class TrainingError(UserError):
    """Training cannot go on: the loss is no longer a number."""


@dataclass(frozen=True)
class Training:
    """How a method is trained.

    Args:
        epochs: Passes over the training split; 0 evaluates the method as it is built.
        batch_size: Samples in a step, and in a batch of an evaluation.
        optimizer: ``"adamw"`` or ``"sgd"``.
        lr: Learning rate at its peak.
        weight_decay: Decay of the parameters that the method wants decayed.
        momentum: Of SGD; AdamW takes its usual 0.9 and 0.999.
        warmup: Share of all steps over which the learning rate rises linearly to its peak.
        schedule: ``"cosine"`` falls to zero after the warm-up, ``"constant"`` stays at the peak.
        gradient_clip: Largest norm of all gradients together; None clips nothing.
        precision: Autocast of forward passes: ``"fp32"`` (none), ``"bf16"``, or ``"fp16"`` with loss scaling.
        selection: ``"last"`` keeps the last epoch's weights, ``"validation"`` those of the highest validation WAR
            (the earlier of equals).
        cache_features: Encode each split once and train on the features, where the method's image tower is frozen and
            nothing is augmented. Features stay in memory.
        workers: Processes that prepare batches.
        augmentation: Random changes of training images.
    """

    epochs: int = 10
    batch_size: int = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    warmup: float = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    gradient_clip: float | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    selection: Literal["last", "validation"] = "last"
    cache_features: bool = True
    workers: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        def check(name: str, holds: bool, expected: str) -> None:
            if not holds:
                raise UserError(f"{name}: expected {expected}, got {getattr(self, name)!r}; choose such a value")

        for name, least in (("epochs", 0), ("batch_size", 1), ("workers", 0)):
            check(name, getattr(self, name) >= least, f"at least {least}")
        check("lr", 0 < self.lr < math.inf, "a number above 0")
        check("weight_decay", 0 <= self.weight_decay < math.inf, "a number of at least 0")
        for name in ("momentum", "warmup"):
            check(name, 0 <= getattr(self, name) < 1, "a number in [0, 1)")
        check("gradient_clip", self.gradient_clip is None or 0 < self.gradient_clip < math.inf, "none, or above 0")
        for name, known in (
            ("optimizer", ("adamw", "sgd")),
            ("schedule", ("cosine", "constant")),
            ("precision", ("fp32", *HALF)),
            ("selection", ("last", "validation")),
        ):
            check(name, getattr(self, name) in known, " or ".join(map(repr, known)))


@dataclass
class Predictions:
    """What a method says of a split, as numpy arrays in the order of its batches.

    Args:
        logits: ``(N, C)`` float32.
        labels: ``(N,)`` int64.
        index: ``(N,)`` int64, position in the data set.
        features: ``(N, D)`` float32.
    """

    logits: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    features: np.ndarray

    def score(self) -> dict[str, float]:
        """``war`` and ``uar``, as fractions."""
        matrix = metrics.confusion(self.labels, self.logits, self.logits.shape[1])
        return {"war": float(metrics.war(matrix)), "uar": float(metrics.uar(matrix))}


@dataclass
class Fit:
    """What came of a training; the method itself holds the weights of the selected epoch.

    Args:
        history: One JSON-like row an epoch: ``epoch`` (from 1; a method that trains nothing has one row, 0), ``losses``
            (mean of each part over the samples), ``lr`` (of the last step), ``validation`` and ``test`` (``war``,
            ``uar``, or None without that split), ``seconds`` (of training alone) and ``images_per_second``.
        selected_epoch: The ``epoch`` of the row whose weights were kept.
        seconds: Wall-clock time of everything.
        phases: Wall-clock seconds of ``features`` (encoding once), ``prepare``, ``training`` and ``evaluation``.
        images_per_second: Training samples a second over all epochs; 0 where nothing was trained.
        peak_memory: Bytes: of the device since the start of training on CUDA, else the whole process' so far.
        validation: Predictions of the selected weights on the validation split.
        test: Predictions of the selected weights on the test split.
    """

    history: list[dict[str, Any]]
    selected_epoch: int
    seconds: float
    phases: dict[str, float]
    images_per_second: float
    peak_memory: int
    validation: Predictions | None
    test: Predictions | None

    @property
    def test_by_epoch(self) -> list[dict[str, float]]:
        """The test score of each row of the history; empty without a test split."""
        return [row["test"] for row in self.history if row["test"] is not None]


def evaluate(
    method: "Method", batches: Iterable[Batch], device: str | torch.device = "cpu", precision: str = "fp32"
) -> Predictions:
    """Runs a method in evaluation mode, without gradients.

    Args:
        method: On ``device`` already; its training mode is restored.
        batches: Every sample once.
        device: Where to run.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``.

    Raises:
        UserError: If there is no batch.
        ValueError: If a sample comes twice.
    """
    device, training = torch.device(device), method.training
    columns: dict[str, list[Tensor]] = {"logits": [], "labels": [], "index": [], "features": []}
    method.eval()
    try:
        # Not inference mode: a text encoded here for the first time may be kept for training.
        with torch.no_grad(), autocast(device, precision):
            for batch in batches:
                output = method(batch.to(device, non_blocking=True))
                made = (output.logits.float(), batch.label, batch.index, output.features.float())
                for column, values in zip(columns.values(), made, strict=True):
                    column.append(values.cpu())
    finally:
        method.train(training)
    if not columns["labels"]:
        raise UserError("expected at least one batch to evaluate, got none; check the split and its limit")
    predictions = Predictions(**{name: torch.cat(column).numpy() for name, column in columns.items()})
    if len(np.unique(predictions.index)) != len(predictions.index):
        raise ValueError("expected every sample once, got some twice; their scores would count twice")
    return predictions


class _Trainer:
    """One fit: its sources, optimiser and progress."""

    def __init__(self, method: "Method", training: Training, seed: int, device: torch.device, progress: bool) -> None:
        self.method, self.training, self.seed, self.device, self.progress = method, training, seed, device, progress
        self.phases: dict[str, float] = dict.fromkeys(["features", "prepare", "training", "evaluation"], 0.0)
        self.scaler = torch.amp.GradScaler(device.type, enabled=training.precision == "fp16")
        self.cached = method.frozen_image_tower and training.cache_features and training.augmentation.off
        self.trained: list[Tensor] = []

    def timed(self, phase: str, action: Callable[[], Item]) -> Item:
        """Runs an action and adds its time to a phase."""
        start = time.perf_counter()
        result = action()
        self.phases[phase] += time.perf_counter() - start
        return result

    def source(self, dataset: FaceDataset, augmented: bool = False) -> Source:
        """A split's batches."""
        clip, training = self.method.clip, self.training
        transform = Transform(clip.image_size, clip.mean, clip.std, augmented, training.augmentation)
        pixels = Pixels(dataset, transform, training.batch_size, self.seed, training.workers)
        if not self.cached:
            return pixels
        patches = getattr(self.method, "needs_patches", False)
        precision = autocast(self.device, training.precision)
        return self.timed("features", lambda: Features(pixels, clip, patches, self.device, precision))

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Lets the method look at the un-augmented training split, then collects what it trains."""
        self.method.train()
        self.method.prepare(batch.to(self.device, non_blocking=True) for batch in batches)
        training = self.training
        groups = self.method.parameter_groups(training.lr, training.weight_decay)
        self.trained = [parameter for group in groups for parameter in group["params"]]
        if not self.trained:
            return
        if training.optimizer == "sgd":
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(groups, lr=training.lr, momentum=training.momentum)
        else:
            fused = self.device.type in ("cpu", "cuda")
            self.optimizer = torch.optim.AdamW(groups, lr=training.lr, fused=fused)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]

    def step(self, batch: Batch, factor: float, where: str) -> dict[str, float]:
        """One step of the optimiser; gives the named parts of the loss."""
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        with autocast(self.device, self.training.precision):
            losses = self.method.losses(batch, self.method(batch))
        # One transfer for all parts; on a GPU each would wait for the device.
        values = torch.stack([part.detach().float() for part in losses.values()]).tolist()
        parts = dict(zip(losses, values, strict=True))
        if not math.isfinite(parts["loss"]):
            told = ", ".join(f"{name} {part:g}" for name, part in parts.items())
            samples = ", ".join(map(str, batch.index[:16].tolist())) + (", ..." if len(batch) > 16 else "")
            raise TrainingError(
                f"expected a finite loss, got {told} at {where} (samples {samples}); lower training.lr, set "
                "training.gradient_clip or use training.precision=fp32"
            )
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(losses["loss"]).backward()
        if self.training.gradient_clip is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.trained, self.training.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return parts

    def train_epoch(self, source: Source, epoch: int) -> dict[str, Any]:
        """One pass over the training split; gives its row of the history."""
        self.method.train()
        epochs, start = self.training.epochs, time.perf_counter()
        sums: dict[str, float] = {}
        bar = tqdm(
            source.epoch(epoch, shuffle=True),
            total=source.steps,
            desc=f"epoch {epoch}/{epochs}",
            leave=False,
            disable=not (self.progress and sys.stderr.isatty()),
        )
        for step, batch in enumerate(bar):
            done = (epoch - 1) * source.steps + step
            factor = learning_rate_factor(done, epochs * source.steps, self.training.warmup, self.training.schedule)
            where = f"epoch {epoch}, step {step + 1} of {source.steps}"
            parts = self.step(batch.to(self.device, non_blocking=True), factor, where)
            for name, part in parts.items():
                sums[name] = sums.get(name, 0.0) + part * len(batch)
            bar.set_postfix(loss=f"{parts['loss']:.4f}", refresh=False)
        seconds = time.perf_counter() - start
        return {
            "epoch": epoch,
            "losses": {name: value / source.samples for name, value in sums.items()},
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": seconds,
            "images_per_second": source.samples / seconds,
        }

    def predictions(self, source: Source | None) -> Predictions | None:
        """The method's predictions on a split."""
        if source is None:
            return None
        batches = source.epoch(0, shuffle=False)
        return self.timed("evaluation", lambda: evaluate(self.method, batches, self.device, self.training.precision))

    def tell(self, row: dict[str, Any]) -> None:
        """One line an epoch."""
        if not self.progress:
            return
        told = [f"epoch {row['epoch']}/{self.training.epochs}" if row["epoch"] else "nothing to train"]
        told += [f"{name} {value:.4f}" for name, value in row["losses"].items()]
        for split in ("validation", "test"):
            if row[split] is not None:
                told.append(f"{split} WAR {100 * row[split]['war']:.2f} UAR {100 * row[split]['uar']:.2f}")
        if row["epoch"]:
            told.append(f"lr {row['lr']:.2e}, {row['images_per_second']:.0f} images/s")
        tqdm.write("  ".join(told), file=sys.stderr)


def _weights(method: "Method") -> dict[str, Tensor]:
    """A copy of what training can change: trained parameters and buffers."""
    frozen = {name for name, parameter in method.named_parameters() if not parameter.requires_grad}
    return {name: value.detach().clone() for name, value in method.state_dict().items() if name not in frozen}


def fit(
    method: "Method",
    train: FaceDataset,
    validation: FaceDataset | None,
    test: FaceDataset | None,
    training: Training,
    *,
    seed: int,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> Fit:
    """Trains a method; at the return it holds the weights of the selected epoch.

    Two fits with one seed on one machine give bit-equal weights and predictions, provided that the method's first
    weights are equal too (see :func:`seed_everything`).

    Args:
        method: Moved to ``device``.
        train: Training split.
        validation: Validation split; needed for ``selection="validation"``.
        test: Test split: scored every epoch, used for nothing.
        training: How to train.
        seed: Seeds Python, NumPy, torch, the order of samples and their augmentation.
        device: Where to train.
        progress: A bar in a terminal and one line an epoch, on standard error; False says nothing.

    Raises:
        UserError: For an empty split, a missing validation split, or a precision that the device does not have.
        TrainingError: If the loss becomes NaN or infinite; names epoch, step and samples.
    """
    start = time.perf_counter()
    device = torch.device(device)
    if training.selection == "validation" and validation is None:
        raise UserError("selection: expected a validation split, got none; set training.selection=last")
    for split in (train, validation, test):
        if split is not None and not len(split):
            raise UserError(f"{split.name}: expected samples in its {split.split} split, got none; raise data.limit")
    if training.precision == "fp16" and device.type not in ("cpu", "cuda"):
        raise UserError(f"precision: expected bf16 or fp32 on {device.type}, got fp16; set training.precision")
    seed_everything(seed)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with deterministic():
        method.to(device)
        trainer = _Trainer(method, training, seed, device, progress)
        plain = trainer.source(train)
        held_out = {
            name: None if split is None else trainer.source(split)
            for name, split in (("validation", validation), ("test", test))
        }
        trainer.timed("prepare", lambda: trainer.prepare(plain.epoch(0, shuffle=False)))
        source = plain if training.augmentation.off else trainer.source(train, augmented=True)
        history: list[dict[str, Any]] = []
        best, selected, kept, weights = -1.0, 0, dict.fromkeys(held_out), {}
        epochs = training.epochs if trainer.trained else 0
        for epoch in range(1, epochs + 1) if epochs else (0,):
            row = {"epoch": 0, "losses": {}, "lr": 0.0, "seconds": 0.0, "images_per_second": 0.0}
            if epoch:
                row = trainer.timed("training", lambda epoch=epoch: trainer.train_epoch(source, epoch))
            made = {name: trainer.predictions(split) for name, split in held_out.items()}
            row |= {name: None if said is None else said.score() for name, said in made.items()}
            history.append(row)
            trainer.tell(row)
            if training.selection == "last" or row["validation"]["war"] > best:
                selected, kept = epoch, made
                if training.selection == "validation":
                    best, weights = row["validation"]["war"], _weights(method)
        if selected != epochs:
            method.load_state_dict(weights, strict=False)
        method.eval()
    seconds = trainer.phases["training"]
    return Fit(
        history=history,
        selected_epoch=selected,
        seconds=time.perf_counter() - start,
        phases=trainer.phases,
        images_per_second=epochs * len(train) / seconds if seconds else 0.0,
        peak_memory=peak_memory(device),
        validation=kept["validation"],
        test=kept["test"],
    )
