"""What a training tells while it runs: a bar, lines, and curves for TensorBoard."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fer_core.batch import Batch
from fer_core.errors import UserError


class Report:
    """Tells the course of a training on standard error, one line an epoch, with a bar where that is a terminal.

    Args:
        epochs: Of the whole training.
        progress: False says nothing.
        log_dir: Folder for TensorBoard's event files; None writes none.

    Raises:
        UserError: If TensorBoard is wanted and not installed.
    """

    def __init__(self, epochs: int, progress: bool, log_dir: Path | None) -> None:
        self.epochs, self.progress = epochs, progress
        self._writer: Any = None
        if log_dir is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise UserError(
                    'log_dir: expected TensorBoard, got none; pip install "fer-core[tensorboard]", or leave it out'
                ) from error
            self._writer = SummaryWriter(str(log_dir))

    def bar(self, batches: Iterable[Batch], epoch: int, start: int, steps: int) -> "tqdm[Batch]":
        """The batches of an epoch under a bar, which a terminal alone sees.

        Args:
            batches: Those still to come.
            epoch: Number of the epoch.
            start: Steps of it that are done.
            steps: All of its steps.
        """
        shown = self.progress and sys.stderr.isatty()
        return tqdm(
            batches, total=steps, initial=start, desc=f"epoch {epoch}/{self.epochs}", leave=False, disable=not shown
        )

    def step(self, number: int, parts: dict[str, float], lr: float) -> None:
        """After a step; ``number`` counts all steps of the training from 1."""
        if self._writer is not None:
            for name, part in {**{f"step/{name}": part for name, part in parts.items()}, "step/lr": lr}.items():
                self._writer.add_scalar(name, part, number)

    def say(self, text: str) -> None:
        """One line."""
        if self.progress:
            tqdm.write(text, file=sys.stderr)

    def row(self, row: dict[str, Any]) -> None:
        """After an epoch: its row of the history."""
        told = [f"epoch {row['epoch']}/{self.epochs}" if row["epoch"] else "nothing to train"]
        told += [f"{name} {value:.4f}" for name, value in row["losses"].items()]
        for split in ("validation", "test"):
            if row[split] is not None:
                told.append(f"{split} WAR {100 * row[split]['war']:.2f} UAR {100 * row[split]['uar']:.2f}")
        if row["epoch"]:
            rate = row["images_per_second"]
            told.append(f"lr {row['lr']:.2e}, {rate:.{0 if rate >= 10 else 2}f} images/s")
        self.say("  ".join(told))
        if self._writer is not None:
            scores = {f"{split}/{name}": score for split in ("validation", "test") if row[split]
                      for name, score in row[split].items()}  # fmt: skip
            told_parts = {f"epoch/{name}": value for name, value in row["losses"].items()}
            for name, value in {**told_parts, **scores, "images_per_second": row["images_per_second"]}.items():
                self._writer.add_scalar(name, value, row["epoch"])
            self._writer.flush()

    def close(self) -> None:
        """Ends the event file."""
        if self._writer is not None:
            self._writer.close()
