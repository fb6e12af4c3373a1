"""Training of any method, from its first step or from its checkpoint; knows nothing of any paper.

A model is chosen by its last step or on validation data. The test score of every epoch is kept beside it, and never
used, so that a record can say what choosing on test data would have given.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from fer_core import config
from fer_core.batch import Batch
from fer_core.data import FaceDataset, Transform
from fer_core.engine import checkpoints, runtime
from fer_core.engine.evaluating import Predictions, evaluate_shares
from fer_core.engine.preemption import Preemption
from fer_core.engine.processes import Processes, spread
from fer_core.engine.reporting import Report
from fer_core.engine.sources import Pixels, Source, encoded
from fer_core.engine.steps import Stepper
from fer_core.engine.training import Training, TrainingError
from fer_core.errors import Stopped, UserError

if TYPE_CHECKING:
    from fer_core.models.base import Method

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

HELD_OUT = ("validation", "test")
CHECKPOINT_SECONDS = 300.0


@dataclass
class Fit:
    """What came of a training; the method itself holds the weights of the selected epoch.

    Args:
        history: One JSON-like row an epoch: ``epoch`` (from 1; a method that trains nothing has one row, 0), ``losses``
            (mean of each part over the samples), ``lr`` (of the last step), ``validation`` and ``test`` (``war``,
            ``uar``, or None without that split), ``seconds`` (of training alone) and ``images_per_second``.
        selected_epoch: The ``epoch`` of the row whose weights were kept.
        seconds: Wall-clock time of everything, interrupted runs included.
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


@dataclass
class _State:
    """Where a training stands, but for weights.

    Args:
        epoch: The epoch under way, from 1.
        step: Steps of it that are done.
        sums: Loss parts of those steps, times samples.
        seconds: That those steps took.
        ended: Whether the method knows that they were the last.
        history: Rows of the epochs before.
        best: Highest validation WAR so far.
        selected: The epoch that gave it, or the last one.
        phases: As of :class:`Fit`.
        total: Wall-clock seconds of the runs before this one.
    """

    epoch: int = 1
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    ended: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
    best: float = -1.0
    selected: int = 0
    phases: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(["features", "prepare", "training", "evaluation"], 0.0)
    )
    total: float = 0.0


class _AskedToStopError(Exception):
    """The signal came while a split was evaluated."""


class _Trainer:
    """One fit: its sources, its steps, where it stands, and its checkpoint."""

    def __init__(
        self, method: "Method", training: Training, seed: int, processes: Processes, report: Report,
        path: Path | None, every: float,
    ) -> None:  # fmt: skip
        self.method, self.training, self.seed, self.processes = method, training, seed, processes
        self.report, self.path, self.every = report, path, every
        self.state = _State()
        self.name = type(method).__name__  # sharding changes the class
        self.started = self.saved = time.perf_counter()
        self.preemption = Preemption()
        self.weights: dict[str, Tensor] = {}  # of the selected epoch
        self.kept: dict[str, Predictions | None] = dict.fromkeys(HELD_OUT)

    def timed(self, phase: str, action: Callable[[], Item]) -> Item:
        """Runs an action and adds its time to a phase."""
        start = time.perf_counter()
        try:
            return action()
        finally:
            self.state.phases[phase] += time.perf_counter() - start

    # --- data

    def open(self, train: FaceDataset, held_out: dict[str, FaceDataset | None]) -> None:
        """Opens the splits, as pixels or features, and lets the method look at its training data."""
        frozen = self.method.frozen_image_tower and self.training.cache_features
        fixed = self.training.augmentation.off and (frozen or not train.draws)
        self.held_out = {
            name: None if split is None else self._source(split, frozen) for name, split in held_out.items()
        }
        plain = self._source(train, frozen and fixed and not train.draws)
        self.source: Source = plain
        if fixed and train.draws:
            self.source = self._source(train, features=True, drawn=True)
        if not fixed or (train.draws and isinstance(self.source, Pixels)):
            self.source = self._pixels(train, augmented=True)
        self.method.train()
        self.timed("prepare", lambda: self.method.prepare(self._moved(plain.whole())))
        self.stepper = Stepper(self.method, self.training, self.processes)

    def _pixels(self, dataset: FaceDataset, augmented: bool = False) -> Pixels:
        clip, training = self.method.clip, self.training
        transform = Transform(clip.image_size, clip.mean, clip.std, augmented, training.augmentation)
        return Pixels(
            dataset, transform, training.batch_size, self.seed, self.processes, training.workers, training.sampling
        )

    def _source(self, dataset: FaceDataset, features: bool, drawn: bool = False) -> Source:
        pixels = self._pixels(dataset)
        if not features:
            return pixels
        patches = getattr(self.method, "needs_patches", False)
        precision = self.training.precision
        return self.timed("features", lambda: encoded(pixels, self.method.clip, patches, precision, drawn))

    def _moved(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            moved = batch.to(self.processes.device, non_blocking=True)
            if self.training.channels_last and moved.image.ndim == 4:
                moved.image = moved.image.contiguous(memory_format=torch.channels_last)
            yield moved

    # --- one epoch

    def train_epoch(self) -> dict[str, Any]:
        """The rest of the epoch under way; gives its row of the history."""
        state, source, training = self.state, self.source, self.training
        self.method.train()
        start, before = time.perf_counter(), state.seconds
        bar = self.report.bar(self._moved(source.train(state.epoch, state.step)), state.epoch, state.step, source.steps)
        for batch in bar:
            done, all_steps = (state.epoch - 1) * source.steps + state.step, training.epochs * source.steps
            factor = runtime.learning_rate_factor(done, all_steps, training.warmup, training.schedule)
            where = f"epoch {state.epoch}, step {state.step + 1} of {source.steps}"
            parts = self.stepper.step(batch, source.weight(state.step), factor, where)
            for name, part in parts.items():
                state.sums[name] = state.sums.get(name, 0.0) + part * source.size(state.step)
            state.step += 1
            state.seconds = before + time.perf_counter() - start
            bar.set_postfix(loss=f"{parts['loss']:.4f}", refresh=False)
            self.report.step(done + 1, parts, self.stepper.lr)
            self.look_up()
        if not state.ended:
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
                if self.preemption.by and self.processes.count == 1:
                    raise _AskedToStopError
                yield batch

        def predicted() -> Predictions:
            try:
                return evaluate_shares(self.method, watched(), source.samples, self.processes, precision)
            finally:
                self.processes.reshard(self.method)

        return self.timed("evaluation", predicted)

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Evaluates, keeps the weights if they are to be selected, and goes to the next epoch."""
        state, average = self.state, getattr(self.stepper, "average", None)
        with average.used() if average is not None and state.epoch else nullcontext():
            made = {name: self.predictions(split) for name, split in self.held_out.items()}
            row |= {name: None if said is None else said.score() for name, said in made.items()}
            if self.training.selection == "last" or row["validation"]["war"] > state.best:
                state.selected, self.kept = state.epoch, made
                if self.training.selection == "validation":
                    state.best = row["validation"]["war"]
                    self.weights = self.processes.whole(_weights(self.method))
        state.history.append(row)
        state.phases["training"] += row["seconds"]
        self.report.row(row)
        state.epoch, state.step, state.sums, state.seconds, state.ended = state.epoch + 1, 0, {}, 0.0, False

    @property
    def stopped_early(self) -> bool:
        """Whether the validation score has not risen for too long."""
        patience = self.training.patience
        return patience is not None and len(self.state.history) - self.state.selected >= patience

    def run(self) -> None:
        """All epochs that are left."""
        state, epochs = self.state, self.training.epochs if self.stepper.trained else 0
        if not epochs:
            state.epoch = 0
            try:
                self.end_epoch({"epoch": 0, "losses": {}, "lr": 0.0, "seconds": 0.0, "images_per_second": 0.0})
            except _AskedToStopError as asked:
                by = self.preemption.by
                raise Stopped(f"stopped by {by} while it evaluated; start the same run again", by) from asked
            return
        while state.epoch <= epochs and not self.stopped_early:
            row = self.train_epoch()
            try:
                self.end_epoch(row)
            except _AskedToStopError:
                self.stop()
            if state.epoch <= epochs:
                self.look_up()
        if state.selected != len(state.history):
            self.load(self.weights)
        elif self.stepper.average is not None:
            self.stepper.average.keep()
        if self.stopped_early:
            self.report.say(f"no better validation WAR for {self.training.patience} epochs: stopped early")

    # --- checkpoints

    def look_up(self) -> None:
        """Between two steps: writes the checkpoint where it is time for it, or stops where that was asked."""
        if self.path is None:
            return
        asked, due = bool(self.preemption.by), time.perf_counter() - self.saved >= self.every
        if self.processes.count > 1:  # all must do the same
            told = torch.tensor([asked, due and self.processes.main], dtype=torch.float32, device=self.processes.device)
            asked, due = (value > 0 for value in self.processes.sum(told).tolist())
        if asked:
            self.stop()
        elif due:
            self.save()

    def stop(self) -> None:
        """Writes the checkpoint and ends the run.

        Raises:
            Stopped: Always.
        """
        written = self.save()
        state, by = self.state, self.preemption.by or "another process"
        where = f"epoch {state.epoch} of {self.training.epochs}, step {state.step} of {self.source.steps}"
        if written:
            raise Stopped(f"stopped by {by} after {where}; start the same run again and it goes on from there", by)
        raise Stopped(f"stopped by {by} after {where}; the checkpoint could not be written", by)

    @cached_property
    def identity(self) -> str:
        """Digest of all that a checkpoint must agree with."""
        splits = [self.source.dataset, *(source.dataset for source in self.held_out.values() if source is not None)]
        return config.digest(
            {
                "method": self.name,
                "config": getattr(self.method, "config", None),
                "weights": self.method.clip.weights,
                "training": {key: value for key, value in config.plain(self.training).items() if key != "workers"},
                "seed": self.seed,
                "shapes": [list(parameter.shape) for parameter in self.stepper.trained],
                "splits": [split.fingerprint for split in splits],
            }
        )

    def load(self, weights: dict[str, Tensor]) -> None:
        """Gives the method what :func:`_weights` copied."""
        now = self.method.state_dict()
        self.method.load_state_dict({name: spread(value, now[name]) for name, value in weights.items()}, strict=False)

    def save(self) -> bool:
        """Writes the checkpoint; whether that succeeded. Every process must call it."""
        assert self.path is not None
        tensors, plain = runtime.random_state(self.processes.device)
        random = self.processes.gather(({name: value.cpu() for name, value in tensors.items()}, plain))
        self.saved = time.perf_counter()
        groups, stepper = self.stepper.state()
        groups |= {"method": self.processes.whole(_weights(self.method)), "selected": self.weights}
        if not self.processes.main:
            return True
        groups |= {f"random{index}": state for index, (state, _) in enumerate(random)}
        groups |= {f"kept_{name}": said.tensors() for name, said in self.kept.items() if said is not None}
        state = asdict(self.state)
        state["total"] += time.perf_counter() - self.started
        whole = {"identity": self.identity, "processes": self.processes.count, "state": state, "stepper": stepper}
        whole["random"] = [plain for _, plain in random]
        try:
            checkpoints.write(self.path, groups, whole)
        except OSError as error:
            logger.warning("the checkpoint could not be written (%s); training goes on without a new one", error)
            return False
        return True

    def restore(self) -> None:
        """Goes on from the checkpoint, if there is one.

        Raises:
            UserError: If it is another run's, or damaged.
        """
        if self.path is None or not self.path.is_file() or not self.stepper.trained:
            return
        device = self.processes.device
        groups, whole = checkpoints.read(self.path, device)
        if whole["identity"] != self.identity:
            raise UserError(f"{self.path}: expected this run's checkpoint, got another's; delete it to start anew")
        if whole["processes"] != self.processes.count:
            raise UserError(
                f"{self.path}: expected {self.processes.count} processes, as now, got a checkpoint of "
                f"{whole['processes']}; start as many, or delete it to start anew"
            )
        self.load(groups["method"])
        self.weights = groups.get("selected", {})
        for name in HELD_OUT:
            if f"kept_{name}" in groups:
                self.kept[name] = Predictions.of(groups[f"kept_{name}"])
        phases = self.state.phases
        self.state = _State(**whole["state"])
        for name, seconds in phases.items():
            self.state.phases[name] += seconds
        self.stepper.restore(groups, whole["stepper"])
        index = self.processes.index
        runtime.set_random_state(groups[f"random{index}"], whole["random"][index], device)
        state = self.state
        self.report.say(f"going on after epoch {state.epoch}, step {state.step} of {self.source.steps}")


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
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    log_dir: str | Path | None = None,
) -> Fit:
    """Trains a method; at the return it holds the weights of the selected epoch.

    Two fits with one seed on one machine give bit-equal weights and predictions, provided that the method's first
    weights are equal too (see :func:`seed_everything`), and so does a fit that was stopped or killed and started again
    with its checkpoint. Started by ``accelerate launch`` or ``torchrun``, its processes share every batch and together
    take the steps that one would.

    Args:
        method: Moved to ``device``.
        train: Training split.
        validation: Validation split; needed for ``selection="validation"``.
        test: Test split: scored every epoch, used for nothing.
        training: How to train.
        seed: Seeds Python, NumPy, torch, the order of samples and their augmentation.
        device: Where to train.
        progress: A bar in a terminal and one line an epoch, on standard error; False says nothing.
        checkpoint: File to go on from where it is there, and to write now and then and when a signal asks to stop.
            It stays when training ends. None for none.
        checkpoint_seconds: Least time between two writes.
        log_dir: Folder for TensorBoard's event files; None writes none.

    Raises:
        UserError: For an empty split, a missing validation split, a precision that the device does not have, or a
            checkpoint of another run.
        TrainingError: If the loss becomes NaN or infinite; names epoch, step and samples, and the last checkpoint.
        Stopped: If SIGTERM or SIGUSR1 came and a checkpoint was asked for.
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
    runtime.seed_everything(seed)
    if used.type == "cuda":
        torch.cuda.reset_peak_memory_stats(used)
    report = Report(training.epochs, progress and processes.main, Path(log_dir) if log_dir and processes.main else None)
    path = None if checkpoint is None else Path(checkpoint)
    trainer = _Trainer(method, training, seed, processes, report, path, checkpoint_seconds)
    try:
        with runtime.deterministic(training.deterministic):
            method.to(used)
            if training.channels_last:
                method.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
            trainer.open(train, {"validation": validation, "test": test})
            trainer.restore()
            with trainer.preemption if path is not None else nullcontext():
                trainer.run()
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
    state = trainer.state
    seconds = state.phases["training"]
    trained = sum(1 for row in state.history if row["epoch"])
    return Fit(
        history=state.history,
        selected_epoch=state.selected,
        seconds=state.total + time.perf_counter() - trainer.started,
        phases=state.phases,
        images_per_second=trained * len(train) / seconds if seconds else 0.0,
        peak_memory=runtime.peak_memory(used),
        **trainer.kept,
    )
