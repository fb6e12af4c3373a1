"""Where a training stands, and how it goes on from its checkpoint."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fer_core.engine import checkpoints, runtime
from fer_core.engine.evaluating import Predictions
from fer_core.engine.preemption import Preemption
from fer_core.engine.processes import Processes, spread
from fer_core.engine.steps import Stepper
from fer_core.errors import Stopped, UserError

if TYPE_CHECKING:
    from fer_core.models.base import Method

logger = logging.getLogger(__name__)

HELD_OUT = ("validation", "test")


@dataclass
class State:
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
        phases: Wall-clock seconds of each phase.
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


@dataclass
class Course:
    """A training as it goes.

    Args:
        state: Where it stands.
        weights: Of the selected epoch, where one is selected by validation.
        kept: Predictions of the selected epoch, by split.
    """

    state: State = field(default_factory=State)
    weights: dict[str, Tensor] = field(default_factory=dict)
    kept: dict[str, Predictions | None] = field(default_factory=lambda: dict.fromkeys(HELD_OUT))


def weights_of(method: "Method") -> dict[str, Tensor]:
    """A copy of what training can change: trained parameters and buffers."""
    frozen = {name for name, parameter in method.named_parameters() if not parameter.requires_grad}
    return {name: value.detach().clone() for name, value in method.state_dict().items() if name not in frozen}


def load_weights(method: "Method", weights: dict[str, Tensor]) -> None:
    """Gives a method what :func:`weights_of` copied."""
    now = method.state_dict()
    method.load_state_dict({name: spread(value, now[name]) for name, value in weights.items()}, strict=False)


class Keeper:
    """Writes the checkpoint of a training now and then, stops it when a signal asks, and goes on from the file.

    Args:
        path: The file; None for no checkpoint.
        every: Least seconds between two writes.
        processes: Those that train together; all must call each method here.
        course: The training.
    """

    method: "Method"
    stepper: Stepper
    epochs: int
    steps: int

    def __init__(self, path: Path | None, every: float, processes: Processes, course: Course) -> None:
        self.path, self.every, self.processes, self.course = path, every, processes, course
        self.preemption = Preemption()
        self.started = self.saved = time.perf_counter()

    def of(
        self, method: "Method", stepper: Stepper, identity: Callable[[], str], epochs: int, steps: int
    ) -> None:  # fmt: skip
        """What is kept.

        Args:
            method: The method.
            stepper: Trains it.
            identity: Digest of all that a checkpoint must agree with; asked only where there is one.
            epochs: Of the whole training.
            steps: Of an epoch.
        """
        self.method, self.stepper, self._identity, self.epochs, self.steps = method, stepper, identity, epochs, steps

    @cached_property
    def identity(self) -> str:
        """Digest of all that a checkpoint must agree with."""
        return self._identity()

    def look_up(self) -> None:
        """Between two steps: writes the checkpoint where it is time for it, or stops where that was asked."""
        if self.path is None:
            return
        due = time.perf_counter() - self.saved >= self.every
        asked, due = self._agreed(bool(self.preemption.by), due and self.processes.main)
        if asked:
            self.stop()
        elif due:
            self.save()

    def end(self) -> None:
        """After the last step: writes the checkpoint, since a run may have more to do; stops where that was asked.

        Raises:
            Stopped: If it was.
        """
        if self.path is None:
            return
        written = self.save()
        if self._agreed(bool(self.preemption.by))[0]:
            self._stop("its training", written)

    def stop(self) -> None:
        """Writes the checkpoint and ends the run.

        Raises:
            Stopped: Always.
        """
        state = self.course.state
        self._stop(f"epoch {state.epoch} of {self.epochs}, step {state.step} of {self.steps}", self.save())

    def _stop(self, where: str, written: bool) -> None:
        by = self.preemption.by or "another process"
        if written:
            raise Stopped(f"stopped by {by} after {where}; start the same run again and it goes on from there", by)
        raise Stopped(f"stopped by {by} after {where}; the checkpoint could not be written", by)

    def _agreed(self, *wished: bool) -> list[bool]:
        """What any of the processes wishes: all must do the same."""
        if self.processes.count == 1:
            return list(wished)
        told = torch.tensor(wished, dtype=torch.float32, device=self.processes.device)
        return [value > 0 for value in self.processes.sum(told).tolist()]

    def save(self) -> bool:
        """Writes the checkpoint; whether that succeeded."""
        assert self.path is not None
        tensors, plain = runtime.random_state(self.processes.device)
        random = self.processes.gather(({name: value.cpu() for name, value in tensors.items()}, plain))
        self.saved = time.perf_counter()
        course = self.course
        groups, stepper = self.stepper.state()
        groups |= {"method": self.processes.whole(weights_of(self.method)), "selected": course.weights}
        if not self.processes.main:
            return True
        groups |= {f"random{index}": state for index, (state, _) in enumerate(random)}
        groups |= {f"kept_{name}": said.tensors() for name, said in course.kept.items() if said is not None}
        state = asdict(course.state)
        state["total"] += time.perf_counter() - self.started
        whole = {"identity": self.identity, "processes": self.processes.count, "state": state, "stepper": stepper}
        whole["random"] = [plain for _, plain in random]
        try:
            checkpoints.write(self.path, groups, whole)
        except OSError as error:
            logger.warning("the checkpoint could not be written (%s); training goes on without a new one", error)
            return False
        return True

    def restore(self) -> str:
        """Goes on from the checkpoint, if there is one; says from where, or nothing.

        Raises:
            UserError: If it is another run's, or damaged.
        """
        if self.path is None or not self.path.is_file() or not self.stepper.trained:
            return ""
        device = self.processes.device
        try:
            groups, whole = checkpoints.read(self.path, device)
        except UserError as error:
            raise UserError(f"{error}; delete it to start anew") from error
        try:
            return self._restore(groups, whole, device)
        except (KeyError, TypeError, IndexError) as error:  # of another version of this library, or tampered with
            raise UserError(
                f"{self.path}: expected a checkpoint of this version, got another ({error}); delete it to start anew"
            ) from error

    def _restore(self, groups: checkpoints.Groups, whole: dict[str, Any], device: torch.device) -> str:
        course = self.course
        if whole["identity"] != self.identity:
            raise UserError(f"{self.path}: expected this run's checkpoint, got another's; delete it to start anew")
        if whole["processes"] != self.processes.count:
            raise UserError(
                f"{self.path}: expected {self.processes.count} processes, as now, got a checkpoint of "
                f"{whole['processes']}; start as many, or delete it to start anew"
            )
        load_weights(self.method, groups["method"])
        course.weights = groups.get("selected", {})
        for name in HELD_OUT:
            if f"kept_{name}" in groups:
                course.kept[name] = Predictions.of(groups[f"kept_{name}"])
        phases = course.state.phases
        course.state = State(**whole["state"])
        for name, seconds in phases.items():
            course.state.phases[name] += seconds
        self.stepper.restore(groups, whole["stepper"])
        index = self.processes.index
        runtime.set_random_state(groups[f"random{index}"], whole["random"][index], device)
        state = course.state
        ended = state.epoch > self.epochs
        return "going on after " + (
            "its training" if ended else f"epoch {state.epoch}, step {state.step} of {self.steps}"
        )
