"""How a method is trained, as experiments say it."""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from fer_core.data import Augmentation
from fer_core.engine.runtime import HALF
from fer_core.errors import UserError


class TrainingError(UserError):
    """Training cannot go on: the loss is no longer a number, or not even one sample fits into memory."""


@dataclass(frozen=True)
class Training:
    """How a method is trained.

    Args:
        epochs: Passes over the training split; 0 evaluates the method as it is built.
        batch_size: Samples in a step of all processes together, and in a batch of an evaluation.
        accumulate: Parts that a step's batch is computed in, one after another, to fit into memory; losses that
            compare samples with each other compare them within a part.
        sampling: ``"shuffle"`` shows every sample once an epoch, ``"balanced"`` every class equally often.
        optimizer: ``"adamw"`` or ``"sgd"``.
        lr: Learning rate at its peak.
        weight_decay: Decay of the parameters that the method wants decayed.
        momentum: Of SGD.
        betas: Decay of AdamW's two moments.
        warmup: Share of all steps over which the learning rate rises linearly to its peak.
        schedule: ``"cosine"`` falls to zero after the warm-up, ``"constant"`` stays at the peak, ``"steps"`` falls to a
            tenth at each of the milestones.
        milestones: Of steps: shares of all steps, rising.
        gradient_clip: Largest norm of all gradients together; None clips nothing.
        ema: Decay of an exponential moving average of the weights, which is then what is evaluated and kept; None for
            no average.
        precision: Autocast of forward passes: ``"fp32"`` (none), ``"bf16"`` (on a CPU without units for it: none), or
            ``"fp16"`` with loss scaling; trained weights stay in float32.
        selection: ``"last"`` keeps the last epoch's weights, ``"validation"`` those of the highest validation WAR
            (the earlier of equals).
        evaluate_every: Epochs from one evaluation to the next; the last epoch is always evaluated.
        patience: With selection "validation": stop after so many epochs without a new best, at least
            ``evaluate_every``; None never does.
        cache_features: Encode each split once and train on the features, where the method's image tower is frozen and
            nothing in a training sample is random. They are kept in the cache folder.
        deterministic: Ask torch for deterministic algorithms; on a GPU some are slower, and fused attention has none.
        compile: Run the method through ``torch.compile``, or plainly where that fails.
        shard: With several processes, spread trained weights, their moments and their average over them instead of
            copying them to each, where these fill a device. Frozen weights, activations, and trained numbers without a
            dimension stay whole on each; during a step, so do trained weights and their gradients. Needs torch 2.9.
        channels_last: Keep images and convolutions with their channels last, which some GPUs prefer.
        workers: Processes that prepare batches.
        augmentation: Random changes of training images.
    """

    epochs: int = 10
    batch_size: int = 64
    accumulate: int = 1
    sampling: Literal["shuffle", "balanced"] = "shuffle"
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: float = 0.0
    schedule: Literal["cosine", "constant", "steps"] = "cosine"
    milestones: tuple[float, ...] = ()
    gradient_clip: float | None = None
    ema: float | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    selection: Literal["last", "validation"] = "last"
    evaluate_every: int = 1
    patience: int | None = None
    cache_features: bool = True
    deterministic: bool = True
    compile: bool = False
    shard: bool = False
    channels_last: bool = False
    workers: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        def check(name: str, holds: bool, expected: str) -> None:
            if not holds:
                raise UserError(f"{name}: expected {expected}, got {getattr(self, name)!r}; choose such a value")

        for name, least in (("epochs", 0), ("batch_size", 1), ("accumulate", 1), ("evaluate_every", 1), ("workers", 0)):
            check(name, getattr(self, name) >= least, f"at least {least}")
        check("lr", 0 < self.lr < math.inf, "a number above 0")
        check("weight_decay", 0 <= self.weight_decay < math.inf, "a number of at least 0")
        for name in ("momentum", "warmup"):
            check(name, 0 <= getattr(self, name) < 1, "a number in [0, 1)")
        check("betas", all(0 <= beta < 1 for beta in self.betas), "two numbers in [0, 1)")
        check("gradient_clip", self.gradient_clip is None or 0 < self.gradient_clip < math.inf, "none, or above 0")
        check("ema", self.ema is None or 0 < self.ema < 1, "none, or a number between 0 and 1")
        for name, known in (
            ("optimizer", ("adamw", "sgd")),
            ("schedule", ("cosine", "constant", "steps")),
            ("sampling", ("shuffle", "balanced")),
            ("precision", ("fp32", *HALF)),
            ("selection", ("last", "validation")),
        ):
            check(name, getattr(self, name) in known, " or ".join(map(repr, known)))
        shares = (0.0, *self.milestones, 1.0)
        rising = all(one < other for one, other in pairwise(shares)) and bool(self.milestones)
        check("milestones", rising if self.schedule == "steps" else not self.milestones,
              "rising shares of all steps between 0 and 1 with schedule=steps, and none without")  # fmt: skip
        selects = self.selection == "validation"
        # Fewer than from one evaluation to the next would end a training before its first.
        check("patience", self.patience is None or (self.patience >= self.evaluate_every and selects),
              f"none, or at least evaluate_every ({self.evaluate_every}) with selection=validation")  # fmt: skip
