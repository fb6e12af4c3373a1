"""One step of training: losses, gradients, the optimiser, and what survives a batch that is too large."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from fer_core.batch import Batch
from fer_core.engine import checkpoints
from fer_core.engine.processes import Processes, clip_gradients, spread
from fer_core.engine.runtime import autocast, out_of_memory
from fer_core.engine.training import Training, TrainingError

if TYPE_CHECKING:  # the contract only: the engine never asks which method it trains
    from fer_core.models.base import Method

logger = logging.getLogger(__name__)


class Average:
    """An exponential moving average of trained weights.

    Its decay starts low, ``min(decay, (1 + n) / (10 + n))`` after n steps, so that the first weights are soon forgotten
    (as in TensorFlow's ``ExponentialMovingAverage``).

    Args:
        weights: What is averaged.
        decay: Share of the average that a step keeps, in the long run.
    """

    def __init__(self, weights: list[Tensor], decay: float) -> None:
        self.weights, self.decay, self.steps = weights, decay, 0
        self.mean = [weight.detach().clone() for weight in weights]

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights as they are now."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for mean, weight in zip(self.mean, self.weights, strict=True):
            mean.lerp_(weight.detach(), 1 - decay)
        self.steps += 1

    @torch.no_grad()
    def keep(self) -> None:
        """Puts the average in place of the weights."""
        for weight, mean in zip(self.weights, self.mean, strict=True):
            weight.copy_(mean)

    @contextmanager
    @torch.no_grad()
    def used(self) -> Iterator[None]:
        """While entered, the average stands in place of the weights."""
        own = [weight.detach().clone() for weight in self.weights]
        self.keep()
        try:
            yield
        finally:
            for weight, value in zip(self.weights, own, strict=True):
                weight.copy_(value)


class Losses(nn.Module):
    """A method's losses of a batch as one module: what is compiled, and what processes average the gradients of.

    The whole of it, as a loss may reach parameters that the logits do not.
    """

    def __init__(self, method: "Method") -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Named parts of the loss."""
        return self.method.losses(batch, self.method(batch))


class Stepper:
    """Trains a method step by step.

    Args:
        method: On its device, with what it trains.
        training: How.
        processes: Those that train it together.

    Attributes:
        trained: The trained parameters, in the optimiser's order; empty where there is nothing to train.
        losses: What is trained, as one module; with ``training.shard`` its trained parameters are spread.
        average: Of the trained weights, where that is asked for.
        parts: Parts that a batch is computed in now: ``training.accumulate``, or more once memory ran out.

    Raises:
        UserError: If weights are to be spread, and this torch cannot do so.
    """

    def __init__(self, method: "Method", training: Training, processes: Processes) -> None:
        self.method, self.training, self.processes = method, training, processes
        self.device = processes.device
        self.parts = training.accumulate
        self.losses = Losses(method)
        self.average: Average | None = None
        groups = method.parameter_groups(training.lr, training.weight_decay)
        self.trained = _members(groups)
        self.sharded = training.shard and processes.count > 1 and bool(self.trained)
        if self.sharded:
            processes.shard(self.losses, self.trained)
            groups = _by_kind(method.parameter_groups(training.lr, training.weight_decay))
            self.trained = _members(groups)
        if not self.trained:
            return
        self.module = self._wrapped(training.compile)
        self.optimizer = self._optimizer(groups)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=training.precision == "fp16")
        if training.ema is not None:
            self.average = Average(self.trained, training.ema)

    def _optimizer(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        training = self.training
        fused = self.device.type in ("cpu", "cuda")
        if training.optimizer == "sgd":
            fused = fused and not self.sharded  # which torch has for AdamW alone
            return torch.optim.SGD(groups, lr=training.lr, momentum=training.momentum, fused=fused)
        return torch.optim.AdamW(groups, lr=training.lr, betas=training.betas, fused=fused)

    def _wrapped(self, compiled: bool) -> Any:
        self.compiled = compiled
        losses: Any = torch.compile(self.losses) if compiled else self.losses
        return losses if self.sharded else self.processes.wrap(losses)

    @property
    def lr(self) -> float:
        """The first group's learning rate."""
        return self.optimizer.param_groups[0]["lr"]

    def step(self, batch: Batch, weight: float, factor: float, where: str) -> dict[str, float]:
        """One step of the optimiser.

        Args:
            batch: This process' share, on the device.
            weight: What its mean counts, see :meth:`fer_core.engine.sources.Source.weight`.
            factor: The learning rate, as a share of its peak.
            where: What messages say of the step's place.

        Returns:
            Mean of each part of the loss over the samples of all processes.

        Raises:
            TrainingError: If the loss is not finite, and no weight was changed; or if memory does not hold a sample.
        """
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        before = torch.get_rng_state()
        before_on_device = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        while True:
            try:
                parts = self._gradients(batch, weight)
                break
            except Exception as error:
                if self.compiled and _of_compiler(error):
                    logger.warning("torch.compile failed (%s); going on without it", str(error).splitlines()[0])
                    self.module = self._wrapped(compiled=False)
                elif out_of_memory(error):
                    self._halve(batch, where)
                else:
                    raise
            # Outside of the handler, whose traceback still holds the tensors of the failed try.
            _let_go(self.method)
            self.optimizer.zero_grad(set_to_none=True)
            torch.set_rng_state(before)
            if before_on_device is not None:
                torch.cuda.empty_cache()
                torch.cuda.set_rng_state(before_on_device, self.device)
        self._check(parts, batch, where)
        if self.training.gradient_clip is not None:
            self.scaler.unscale_(self.optimizer)
            if self.sharded:
                clip_gradients(self.trained, self.training.gradient_clip, self.processes)
            else:
                torch.nn.utils.clip_grad_norm_(self.trained, self.training.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update()
        return parts

    def _gradients(self, batch: Batch, weight: float) -> dict[str, float]:
        """Leaves the batch's gradients on the parameters; gives the loss' parts."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.sharded:
            # What a method gathers while it trains; where weights are not spread, torch shares it.
            names = dict(self.method.named_parameters())
            self.processes.share([value for name, value in self.method.state_dict().items() if name not in names])
        chunks = torch.arange(len(batch)).tensor_split(min(self.parts, len(batch)))
        names, values = [], []
        for place, chosen in enumerate(chunks, 1):
            chunk = batch if len(chunks) == 1 else batch.take(chosen)
            share = weight * len(chunk) / len(batch)
            held = self.losses if self.sharded else self.module
            with self.processes.no_sync(held) if place < len(chunks) else nullcontext():
                with autocast(self.device, self.training.precision):
                    losses = self.module(chunk)
                names = list(losses)
                values.append(share * torch.stack([part.detach().float() for part in losses.values()]))
                self.scaler.scale(share * losses["loss"]).backward()
        if self.sharded:
            self.processes.average_gradients([each for each in self.trained if not isinstance(each, DTensor)])
        # One transfer for all parts; on a GPU each would wait for the device.
        told = self.processes.sum(torch.stack(values).sum(0)) / self.processes.count
        return dict(zip(names, told.tolist(), strict=True))

    def _halve(self, batch: Batch, where: str) -> None:
        """Computes batches in twice as many parts from now on."""
        if self.processes.count > 1:
            # The others wait for this one's gradients, so it cannot try again alone.
            raise TrainingError(
                f"expected memory for {-(-len(batch) // self.parts)} samples at a time in each process, got none at "
                f"{where}; set training.accumulate={2 * self.parts} and start again: it goes on from its checkpoint"
            )
        if self.parts >= len(batch):
            raise TrainingError(
                f"expected memory for one sample, got none at {where}; choose a smaller model or image, or another "
                "device"
            )
        self.parts *= 2
        logger.warning(
            "memory does not hold %d samples at a time; from %s on each batch is computed in %d parts",
            -(-len(batch) // (self.parts // 2)), where, self.parts,
        )  # fmt: skip

    def _check(self, parts: dict[str, float], batch: Batch, where: str) -> None:
        if math.isfinite(parts["loss"]):
            return
        told = ", ".join(f"{name} {part:g}" for name, part in parts.items())
        samples = ", ".join(map(str, batch.index[:16].tolist())) + (", ..." if len(batch) > 16 else "")
        raise TrainingError(
            f"expected a finite loss, got {told} at {where} (samples {samples}); lower training.lr, set "
            "training.gradient_clip or use training.precision=fp32"
        )

    # --- checkpoints

    def state(self) -> tuple[checkpoints.Groups, dict[str, Any]]:
        """Tensors and plain values that :meth:`restore` takes."""
        groups = {"optimizer": self.processes.whole(checkpoints.optimizer_tensors(self.optimizer))}
        rates = [group["lr"] for group in self.optimizer.param_groups]
        plain: dict[str, Any] = {"parts": self.parts, "lr": rates, "scaler": self.scaler.state_dict()}
        if self.average is not None:
            means = {str(place): mean for place, mean in enumerate(self.average.mean)}
            groups["average"] = self.processes.whole(means)
            plain["averaged"] = self.average.steps
        return groups, plain

    def restore(self, groups: checkpoints.Groups, plain: dict[str, Any]) -> None:
        """Goes on from :meth:`state`."""
        moments = {
            name: spread(value, self.trained[int(name.partition(".")[0])]) if value.ndim else value
            for name, value in groups.get("optimizer", {}).items()
        }
        checkpoints.load_optimizer(self.optimizer, moments)
        for group, rate in zip(self.optimizer.param_groups, plain["lr"], strict=True):
            group["lr"] = rate
        self.parts = plain["parts"]
        if plain["scaler"]:
            self.scaler.load_state_dict(plain["scaler"])
        if self.average is not None:
            means = groups["average"]
            self.average.mean = [spread(means[str(place)], weight) for place, weight in enumerate(self.trained)]
            self.average.steps = plain["averaged"]


def _let_go(method: nn.Module) -> None:
    """Detaches what a method remembers of its last pass: through its graph it would hold all of that pass' tensors."""
    for part in method.modules():
        for name, value in list(vars(part).items()):
            if (kept := _detached(value)) is not value:
                vars(part)[name] = kept


def _detached(value: Any) -> Any:
    """A tensor, or a container of tensors, without its graph; the value itself where there is none."""
    if isinstance(value, Tensor):
        return value if value.grad_fn is None else value.detach()
    if isinstance(value, dict):
        for key, member in value.items():
            if (kept := _detached(member)) is not member:
                value[key] = kept
    elif isinstance(value, list):
        value[:] = map(_detached, value)
    elif isinstance(value, tuple):
        members = [_detached(member) for member in value]
        if any(kept is not member for kept, member in zip(members, value, strict=True)):
            return type(value)(*members) if hasattr(value, "_fields") else type(value)(members)
    return value


def _members(groups: list[dict[str, Any]]) -> list[Tensor]:
    """All parameters of an optimiser's groups."""
    return [parameter for group in groups for parameter in group["params"]]


def _by_kind(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups, parameters that are spread first and those that are whole apart: torch updates no mixture."""
    parts = [
        {**group, "params": [each for each in group["params"] if isinstance(each, DTensor) is spread_out]}
        for spread_out in (True, False)
        for group in groups
    ]
    return [group for group in parts if group["params"]]


def _of_compiler(error: Exception) -> bool:
    """Whether ``torch.compile`` itself failed, and not the method in it."""
    return any(kind.__module__.startswith(("torch._dynamo", "torch._inductor")) for kind in type(error).__mro__)
