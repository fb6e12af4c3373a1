"""A test-time method among people: one person's videos after another, labels kept from it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fer_core.adapt.base import TestTimeMethod, unlabelled
from fer_core.engine.evaluating import Predictions
from fer_core.errors import UserError

if TYPE_CHECKING:
    from fer_core.engine.sources import Source


@dataclass
class Personalised:
    """What a test-time method says of a split.

    Args:
        predictions: In the order of the split.
        passes: ``(P, N, C)`` logits of each of its passes, the last ones its predictions; None where it makes none.
        windows: ``(N,)`` first frame of the window that it chose; None where it chooses none.
        seconds: Wall-clock time of adaptation and prediction, loading of pixels included.
    """

    predictions: Predictions
    passes: np.ndarray | None
    windows: np.ndarray | None
    seconds: float


def streams(method: TestTimeMethod, subjects: np.ndarray) -> Iterator[list[np.ndarray]]:
    """For each person, in the order of their numbers, the positions of the videos that come at once."""
    together = method.config.together
    for subject in np.unique(subjects):
        positions = np.flatnonzero(subjects == subject)
        size = together or len(positions)
        yield [positions[at : at + size] for at in range(0, len(positions), size)]


def personalise(method: TestTimeMethod, source: "Source", device: torch.device | str) -> Personalised:
    """Lets a test-time method meet the people of a split one by one.

    Args:
        method: Around its trained source, on ``device``.
        source: The split, as pixels or as features of the frozen tower; its data set knows its subjects.
        device: Where the method is.

    Raises:
        UserError: If the data set does not say who is who.
    """
    dataset = source.dataset
    if dataset.subjects is None:
        raise UserError(f"{dataset.name}: expected subjects, got none; personalisation needs to know who is who")
    start, found = time.perf_counter(), []
    method.reset()
    for chunks in streams(method, dataset.subjects.numpy()):
        if method.config.reset == "subject":
            method.reset()
        for batch in source.batches(chunks):
            if method.config.reset == "video":
                method.reset()
            seen = batch.to(device)
            adapted = method.adapt(unlabelled(seen))
            columns = {
                "index": batch.index, "labels": batch.label, "logits": adapted.logits.float(),
                "features": adapted.features.float(), "windows": adapted.windows,
                "passes": None if adapted.passes is None else adapted.passes.float().movedim(0, 1),
            }  # fmt: skip
            found.append({name: None if value is None else value.cpu().numpy() for name, value in columns.items()})
    seconds = time.perf_counter() - start
    order = np.argsort(np.concatenate([part["index"] for part in found]))

    def whole(name: str) -> np.ndarray | None:
        if any(part[name] is None for part in found):
            return None
        return np.concatenate([part[name] for part in found])[order]

    columns = {name: whole(name) for name in ("logits", "labels", "index", "features")}
    passes = whole("passes")
    return Personalised(
        Predictions(**columns),  # pyright: ignore[reportArgumentType]
        None if passes is None else passes.swapaxes(0, 1),
        whole("windows"),
        seconds,
    )
