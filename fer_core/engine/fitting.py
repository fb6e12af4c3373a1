"""Training of any method, from its first step or from its checkpoint; knows nothing of any paper.

A model is chosen by its last step or on validation data. The test score of every epoch is kept beside it, and never
used, so that a record can say what choosing on test data would have given.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from fer_core import config, hardware
from fer_core.batch import Batch
from fer_core.data import FaceDataset, Transform
from fer_core.engine import runtime
from fer_core.engine.evaluating import Predictions, evaluate_shares
from fer_core.engine.processes import Processes
from fer_core.engine.reporting import Report
from fer_core.engine.resuming import Course, Keeper, load_weights, weights_of
from fer_core.engine.sources import Pixels, Source, encoded
from fer_core.engine.steps import Stepper
from fer_core.engine.training import Training, TrainingError
from fer_core.errors import Stopped, UserError

if TYPE_CHECKING:
    from fer_core.models.base import Method

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

#: Seconds between checkpoints, where the caller says nothing else.
CHECKPOINT_SECONDS = 300.0


@dataclass
class Fit:
    """What came of a training; the method itself holds the weights of the selected epoch.

    Args:
        history: One JSON-like row an epoch: ``epoch`` (from 1; a method that trains nothing has one row, 0), ``losses``
            (mean of each part over the samples), ``lr`` (of the last step), ``validation`` and ``test`` (``war``,
            ``uar``, or None without that split or in an epoch that was not evaluated), ``seconds`` (of training alone)
            and ``images_per_second``.
        selected_epoch: The ``epoch`` of the row whose weights were kept.
        seconds: Wall-clock time of everything, interrupted runs included.
        earlier: The share of it that fell to runs before this one, which were interrupted.
        phases: Wall-clock seconds of ``features`` (encoding once), ``prepare``, ``training`` and ``evaluation``.
        images_per_second: Training samples a second over all epochs; 0 where nothing was trained.
        peak_memory: Bytes: of the device since the start of training on CUDA, else the whole process' so far.
        validation: Predictions of the selected weights on the validation split.
        test: Predictions of the selected weights on the test split.
    """

    history: list[dict[str, Any]]
    selected_epoch: int
    seconds: float
    earlier: float
    phases: dict[str, float]
    images_per_second: float
    peak_memory: int
    validation: Predictions | None
    test: Predictions | None

    @property
    def test_by_epoch(self) -> list[dict[str, float]]:
        """The test score of each row of the history; empty without a test split."""
        return [row["test"] for row in self.history if row["test"] is not None]


class _AskedToStopError(Exception):
    """The signal came while a split was evaluated."""


class _Trainer:
    """One fit: its sources, its steps, where it stands, and its checkpoint."""

    def __init__(
        self, method: "Method", training: Training, seed: int, processes: Processes, report: Report,
        path: Path | None, every: float, prepared: bool,
    ) -> None:  # fmt: skip
        self.method, self.training, self.seed, self.processes = method, training, seed, processes
        self.report, self.prepared = report, prepared
        self.course = Course()
        self.keeper = Keeper(path, every, processes, self.course)

    def timed(self, phase: str, action: Callable[[], Item]) -> Item:
        """Runs an action and adds its time to a phase."""
        start = time.perf_counter()
        try:
            return action()
        finally:
            self.course.state.phases[phase] += time.perf_counter() - start

    # --- data

    def open(self, train: FaceDataset, held_out: dict[str, FaceDataset | None]) -> None:
        """Opens the splits, as pixels or features, and lets the method look at its training data."""
        frozen = self.method.frozen_image_tower and self.training.cache_features
        self.held_out = {
            name: None if split is None else self._source(split, frozen) for name, split in held_out.items()
        }
        if self.prepared:
            self.source: Source = self._pixels(train)  # of which nothing is asked
            self.method.train()
        else:
            plain, self.source = self._training_sources(train, frozen)
            self.method.train()
            self.timed("prepare", lambda: self.method.prepare(self._moved(plain.whole())))
        self.stepper = Stepper(self.method, self.training, self.processes)
        self.keeper.of(self.method, self.stepper, self.identity, self.training.epochs, self.source.steps)

    def _training_sources(self, train: FaceDataset, frozen: bool) -> tuple[Source, Source]:
        """The training split as it is, and as it is trained on."""
        fixed = self.training.augmentation.off and (frozen or not train.draws)
        plain = used = self._source(train, frozen and fixed and not train.draws)
        if fixed and train.draws:
            used = self._source(train, features=True, drawn=True)
        if not fixed or (train.draws and isinstance(used, Pixels)):
            used = self._pixels(train, augmented=True)
        return plain, used

    def _pixels(self, dataset: FaceDataset, augmented: bool = False) -> Pixels:
        clip, training = self.method.clip, self.training
        transform = Transform.of(clip, augmented, training.augmentation)
        return Pixels(
            dataset, transform, training.batch_size, self.seed, self.processes, training.workers, training.sampling
        )

    def _source(self, dataset: FaceDataset, features: bool, drawn: bool = False) -> Source:
        pixels = self._pixels(dataset)
        if not features:
            return pixels
        method, precision = self.method, self.training.precision
        return self.timed("features", lambda: encoded(pixels, method.clip, method.needs_patches, precision, drawn))

    def _moved(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            moved = batch.to(self.processes.device, non_blocking=True)
            if self.training.channels_last and moved.image.ndim == 4:
                moved.image = moved.image.contiguous(memory_format=torch.channels_last)
            yield moved

    def identity(self) -> str:
        """Digest of all that a checkpoint must agree with."""
        splits = [self.source.dataset, *(source.dataset for source in self.held_out.values() if source is not None)]
        return config.digest(
            {
                "method": type(self.method).__name__,
                "config": self.method.config,
                "weights": self.method.clip.weights,
                "training": {key: value for key, value in config.plain(self.training).items() if key != "workers"},
                "seed": self.seed,
                "shapes": [list(parameter.shape) for parameter in self.stepper.trained],
                "splits": [(split.fingerprint, split.sampling) for split in splits],
            }
        )

    # --- one epoch

    def train_epoch(self) -> dict[str, Any]:
        """The rest of the epoch under way; gives its row of the history."""
        state, source, training = self.course.state, self.source, self.training
        self.method.train()
        start, before = time.perf_counter(), state.seconds
        bar = self.report.bar(self._moved(source.train(state.epoch, state.step)), state.epoch, state.step, source.steps)
        for batch in bar:
            done, all_steps = (state.epoch - 1) * source.steps + state.step, training.epochs * source.steps
            factor = runtime.learning_rate_factor(
                done, all_steps, training.warmup, training.schedule, training.milestones
            )
            where = f"epoch {state.epoch}, step {state.step + 1} of {source.steps}"
            parts = self.stepper.step(batch, source.weight(state.step), factor, where)
            for name, part in parts.items():
                state.sums[name] = state.sums.get(name, 0.0) + part * source.size(state.step)
            state.step += 1
            state.seconds = before + time.perf_counter() - start
            bar.set_postfix(loss=f"{parts['loss']:.4f}", refresh=False)
            self.report.step(done + 1, parts, self.stepper.lr)
            self.keeper.look_up()
        if not state.ended:
            with self.processes.gathered(self.stepper.losses, changed=True):
                self.method.end_epoch(state.epoch, training.epochs)
            state.ended = True
        return {
            "epoch": state.epoch,
            "losses": {name: value / source.samples for name, value in state.sums.items()},
            "lr": self.stepper.lr,
            "seconds": state.seconds,
            "images_per_second": source.samples / state.seconds,
        }

    def predictions(self, source: Source | None) -> Predictions | None:
        """The method's predictions on a split."""
        if source is None:
            return None
        precision = self.training.precision

        def watched() -> Iterator[Batch]:
            for batch in self._moved(source.held_out()):
                if self.keeper.preemption.by and self.processes.count == 1:
                    raise _AskedToStopError
                yield batch

        def predicted() -> Predictions:
            with self.processes.gathered(self.stepper.losses):
                # Another data set's classes may be asked of what was trained on this one.
                method = self.method.for_classes(source.dataset.classes)
                return evaluate_shares(method, watched(), source.samples, self.processes, precision)

        return self.timed("evaluation", predicted)

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Evaluates where that is due, keeps the weights if they are to be selected, and goes to the next epoch."""
        state, average = self.course.state, self.stepper.average
        due = state.epoch == self.training.epochs or state.epoch % self.training.evaluate_every == 0
        with average.used() if average is not None and state.epoch else nullcontext():
            made = {name: self.predictions(split) if due else None for name, split in self.held_out.items()}
            row |= {name: None if said is None else said.score() for name, said in made.items()}
            if due and (self.training.selection == "last" or row["validation"]["war"] > state.best):
                state.selected, self.course.kept = state.epoch, made
                if self.training.selection == "validation":
                    state.best = row["validation"]["war"]
                    self.course.weights = self.processes.whole(weights_of(self.method))
        state.history.append(row)
        state.phases["training"] += row["seconds"]
        self.report.row(row)
        state.epoch, state.step, state.sums, state.seconds, state.ended = state.epoch + 1, 0, {}, 0.0, False

    @property
    def stopped_early(self) -> bool:
        """Whether the validation score has not risen for too long."""
        patience = self.training.patience
        return patience is not None and len(self.course.state.history) - self.course.state.selected >= patience

    def run(self) -> None:
        """All epochs that are left."""
        state, epochs = self.course.state, self.training.epochs if self.stepper.trained else 0
        if not epochs:
            state.epoch = 0
            try:
                self.end_epoch({"epoch": 0, "losses": {}, "lr": 0.0, "seconds": 0.0, "images_per_second": 0.0})
            except _AskedToStopError as asked:
                by = self.keeper.preemption.by
                raise Stopped(f"stopped by {by} while it evaluated; start the same run again", by) from asked
            return
        while state.epoch <= epochs and not self.stopped_early:
            row = self.train_epoch()
            try:
                self.end_epoch(row)
            except _AskedToStopError:
                self.keeper.stop()
            if state.epoch <= epochs and not self.stopped_early:
                self.keeper.look_up()
            else:
                self.keeper.end()
        if state.selected != len(state.history):
            load_weights(self.method, self.course.weights)
        elif self.stepper.average is not None:
            self.stepper.average.keep()
        if self.stopped_early:
            self.report.say(f"no better validation WAR for {self.training.patience} epochs: stopped early")


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
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    log_dir: str | Path | None = None,
    prepared: bool = False,
) -> Fit:
    """Trains a method; at the return it holds the weights of the selected epoch.

    Two fits with one seed on one machine give bit-equal weights and predictions, provided that the method's first
    weights are equal too (see :func:`~fer_core.engine.runtime.seed_everything`), and so does a fit that was stopped or
    killed and started again with its checkpoint. On CUDA they agree to rounding, but not to the bit, where training
    goes back through fused attention (see :func:`~fer_core.engine.runtime.deterministic`). Started by ``accelerate
    launch`` or ``torchrun``, its processes share every batch and together take the steps that one would.

    Args:
        method: Moved to ``device``.
        train: Training split.
        validation: Validation split; needed for ``selection="validation"``.
        test: Test split: scored every epoch, used for nothing.
        training: How to train.
        seed: Seeds Python, NumPy, torch, the order of samples and their augmentation.
        device: Where to train.
        progress: A bar in a terminal and one line an epoch, on standard error; False says nothing.
        checkpoint: File to go on from where it is there, and to write now and then, when a signal asks to stop, and
            when training ends: it stays, and nothing is trained again. None for none.
        checkpoint_seconds: Least time between two writes.
        log_dir: Folder for TensorBoard's event files; None writes none.
        prepared: Whether the method has seen its training data already, as one that a file has brought: it does not
            look at them again before its first epoch.

    Raises:
        UserError: For an empty split, a missing validation split, a precision that the device does not have, or a
            checkpoint of another run.
        TrainingError: If the loss becomes NaN or infinite; names epoch, step and samples, and the last checkpoint.
        Stopped: If SIGTERM, SIGUSR1 or SIGUSR2 came and a checkpoint was asked for.
        KeyboardInterrupt: If Ctrl-C was pressed; after the checkpoint was written, where one was asked for.
    """
    if training.selection == "validation" and validation is None:
        raise UserError("selection: expected a validation split, got none; set training.selection=last")
    for split in (train, validation, test):
        if split is not None and not len(split):
            raise UserError(f"{split.name}: expected samples in its {split.split} split, got none; raise data.limit")
    processes = Processes(torch.device(device))
    used = processes.device
    if training.precision == "fp16" and used.type not in ("cpu", "cuda"):
        raise UserError(f"precision: expected bf16 or fp32 on {used.type}, got fp16; set training.precision")
    if processes.main:
        _warn_of_emulation(training.precision, used)
    runtime.seed_everything(seed)
    report = Report(training.epochs, progress and processes.main, Path(log_dir) if log_dir and processes.main else None)
    if runtime.computed(training.precision, used) != training.precision:
        report.say("this CPU has no units for bf16: computing in fp32, which is faster here")
    path = None if checkpoint is None else Path(checkpoint)
    trainer = _Trainer(method, training, seed, processes, report, path, checkpoint_seconds, prepared)
    try:
        with runtime.deterministic(training.deterministic):
            method.to(used)
            if used.type == "cuda":  # only now is CUDA surely initialised, which this does not do
                torch.cuda.reset_peak_memory_stats(used)
            if training.channels_last:
                method.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
            trainer.open(train, {"validation": validation, "test": test})
            if told := trainer.keeper.restore():
                report.say(told)
            with trainer.keeper.preemption if path is not None else nullcontext():
                trainer.run()
            processes.unshard(trainer.stepper.losses)
            method.eval()
    except TrainingError as error:
        there = path is not None and path.is_file()
        raise TrainingError(f"{error}; the last good checkpoint is {path}" if there else str(error)) from error
    except Stopped as stopped:
        if stopped.by == "SIGINT":
            raise KeyboardInterrupt(str(stopped)) from stopped
        raise
    finally:
        report.close()
    state = trainer.course.state
    seconds = state.phases["training"]
    trained = sum(1 for row in state.history if row["epoch"])
    return Fit(
        history=state.history,
        selected_epoch=state.selected,
        seconds=state.total + time.perf_counter() - trainer.keeper.started,
        earlier=state.total,
        phases=state.phases,
        images_per_second=trained * len(train) / seconds if seconds else 0.0,
        peak_memory=runtime.peak_memory(used),
        **trainer.course.kept,
    )


def _warn_of_emulation(precision: str, device: torch.device) -> None:
    """Says where a GPU has no units for bf16, such as a T4: torch then computes by other means, slowly."""
    if precision == "bf16" and device.type == "cuda" and not hardware.computes_bf16(device):
        logger.warning("this GPU only emulates bf16, which is slow; --set training.precision=fp16 is faster here")
