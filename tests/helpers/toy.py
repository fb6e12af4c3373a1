"""A toy method and toy faces, to the engine's contract; as a script, trainings that a test may kill or multiply."""

import argparse
import copy
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from tiny import stirred, tiny_clip
from torch import Tensor, nn

from fer_core import config, engine, models
from fer_core.batch import Batch, ImageFeatures
from fer_core.data import MemoryDataset
from fer_core.engine import Training
from fer_core.errors import Stopped
from fer_core.models.base import Output


class Tower(nn.Module):
    """A frozen stand-in for a Clip: 2x2 means of an 8x8 image, each a sum of its own pixels alone."""

    image_size, mean, std, name, weights = 8, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "toy", "toy"

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def encode_image(self, image: Tensor, patches: bool = True) -> ImageFeatures:
        self.calls += len(image)
        pooled = F.avg_pool2d(image, 2)  # (B, 3, 4, 4)
        return ImageFeatures(pooled.flatten(1), pooled.flatten(2).transpose(1, 2).repeat(1, 1, 16) if patches else None)


class Toy(nn.Module):
    """A linear classifier on the tower's class token, to the engine's contract."""

    name, config, frozen_image_tower, needs_patches = "toy", None, True, False

    def __init__(self, classes: int = 3, dropout: float = 0.0) -> None:
        super().__init__()
        self.clip = Tower()
        self.head = nn.Linear(48, classes)
        self.dropout = nn.Dropout(dropout)
        self.prepared: list[int] = []

    def forward(self, batch: Batch) -> Output:
        features = batch.features or self.clip.encode_image(batch.image)
        token = features.class_token
        return Output(logits=self.head(self.dropout(token)), features=token)

    def losses(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        entropy = F.cross_entropy(output.logits, batch.label)
        penalty = self.head.weight.square().mean()
        return {"cross_entropy": entropy, "penalty": penalty, "loss": entropy + 0.1 * penalty}

    def for_classes(self, classes: Any) -> "Toy":
        return self

    def end_epoch(self, epoch: int, epochs: int) -> None:
        self.ended = [*getattr(self, "ended", []), (epoch, epochs)]

    def prepare(self, batches: Any) -> None:
        self.prepared = [int(index) for batch in batches for index in batch.index]

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        return [{"params": list(self.head.parameters()), "lr": lr, "weight_decay": weight_decay}]


class Frozen(Toy):
    """Trains nothing, as zero-shot does."""

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        return []


def dataset(size: int, split: str, seed: int = 0) -> MemoryDataset:
    """Faces whose brightness tells the class, noisily."""
    drawn = np.random.default_rng([seed, len(split)])
    labels = drawn.integers(0, 3, size)
    image = np.clip(drawn.normal(60 + 60 * labels[:, None, None, None], 60, (size, 3, 8, 8)), 0, 255).astype(np.uint8)
    fingerprint = config.digest([image.tolist(), labels.tolist()])
    return MemoryDataset("toy", split, ("a", "b", "c"), {"image": image, "label": labels}, fingerprint, "")


TRAIN, VALIDATION, TEST = dataset(70, "train"), dataset(40, "validation"), dataset(50, "test")


def fitted(training: Training, seed: int = 0, method: type[Toy] = Toy, **options: Any) -> tuple[Toy, engine.Fit]:
    engine.seed_everything(seed)
    toy = method(**options)
    return toy, engine.fit(toy, TRAIN, VALIDATION, TEST, training, seed=seed, progress=False)


def weights(method: Toy) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


def slowed(method: Any, pause: float) -> None:
    """Lets a method take its time, so that a signal finds it at work."""
    own = method.losses

    def losses(batch: Batch, output: Output) -> dict[str, Tensor]:
        time.sleep(pause)
        return own(batch, output)

    method.losses = losses


def named(dataset: MemoryDataset) -> MemoryDataset:
    """The same faces, of expressions that prompts have words for."""
    other = copy.copy(dataset)
    other.classes = ("anger", "happiness", "sadness")
    return other


def trained(line: list[str]) -> None:
    """One training, as an argument line says; writes weights, logits and history."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--training", type=json.loads, default={})
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--every", type=float, default=300.0)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--method", default="toy", help="toy, or a method of this library around a tiny CLIP")
    parser.add_argument("--model", type=json.loads, default={})
    parser.add_argument("--no-noise", action="store_true")
    chosen = parser.parse_args(line)
    engine.seed_everything(0)
    splits: Any = (TRAIN, VALIDATION, TEST)
    if chosen.method == "toy":
        method: Any = Toy(dropout=chosen.dropout)
    else:
        splits = tuple(map(named, splits))
        method = models.build(chosen.method, tiny_clip(), splits[0].classes, chosen.model)
        method = stirred(method, 0.05).train()  # adapters that start at nothing have no gradients yet
    slowed(method, chosen.pause)
    training = config.build(Training, chosen.training, "training")
    # Noise of a router, which draws for its own share alone.
    quiet = mock.patch.object(torch, "randn_like", torch.zeros_like) if chosen.no_noise else nullcontext()
    print("ready", flush=True)
    with quiet:
        fit = engine.fit(
            method, *splits, training, seed=0, progress=False, checkpoint=chosen.checkpoint,
            checkpoint_seconds=chosen.every,
        )  # fmt: skip
    processes = engine.Processes(torch.device("cpu"))
    if processes.main:
        # Of what fit gives back: whole again where weights were spread.
        frozen = {name for name, value in method.named_parameters() if not value.requires_grad}
        arrays = {name: value.numpy() for name, value in method.state_dict().items() if name not in frozen}
        losses = [[row["losses"][name] for name in sorted(row["losses"])] for row in fit.history]
        rates = [row["lr"] for row in fit.history]
        np.savez(chosen.out, logits=fit.test.logits, index=fit.test.index, losses=losses, lr=rates, **arrays)


def main() -> None:
    """The training of the command line, or after ``--each FILE`` those of a file of argument lines, in turn."""
    lines = json.loads(Path(sys.argv[2]).read_text()) if sys.argv[1] == "--each" else [sys.argv[1:]]
    try:
        for line in lines:
            trained(line)
    except Stopped as stopped:
        print(stopped, flush=True)
        raise SystemExit(75) from stopped


if __name__ == "__main__":
    main()
