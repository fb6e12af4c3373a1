"""Checkpoints: one safetensors file each, tensors in named groups and all else as JSON in its header.

A file is replaced as a whole, so a process that is killed while it writes leaves the one before.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fer_core import atomic
from fer_core.errors import UserError

Groups = dict[str, dict[str, Tensor]]

_HEADER = "state"


def write(path: Path, groups: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Writes a checkpoint in place of the one that is there.

    Args:
        path: The file; its folder is made.
        groups: Tensors by name, by group; a group's name has no dot.
        state: What else there is to know, JSON types only.

    Raises:
        OSError: If the disk is full or cannot be written; the checkpoint before is still there.
    """
    # Cloned, as safetensors refuses tensors that share memory.
    tensors = {
        f"{group}.{name}": value.detach().cpu().clone().contiguous()
        for group, members in groups.items()
        for name, value in members.items()
    }
    with atomic.replacing(path) as temporary:
        try:
            save_file(tensors, temporary, {_HEADER: json.dumps(state)})
        except SafetensorError as error:  # what a full disk becomes
            raise OSError(f"{path} could not be written: {error}") from error


def read(path: Path, device: torch.device | str = "cpu") -> tuple[Groups, dict[str, Any]]:
    """Reads a checkpoint.

    Returns:
        Tensors by name, by group, and the state.

    Raises:
        UserError: If the file is none of :func:`write`'s, or damaged; what to do then, the caller knows and adds.
    """
    groups: Groups = {}
    place = torch.device(device)
    # Among several processes it is cpu:0, which safetensors refuses.
    with _opened(path, "cpu" if place.type == "cpu" else str(place)) as (file, state):
        for key in file.keys():  # noqa: SIM118, safe_open has no iterator
            group, _, name = key.partition(".")
            groups.setdefault(group, {})[name] = file.get_tensor(key)
    return groups, state


def read_state(path: Path) -> dict[str, Any]:
    """The state of a checkpoint alone; its tensors are not read, but their places in the file are checked.

    Raises:
        UserError: As :func:`read`.
    """
    with _opened(path, "cpu") as (_, state):
        return state


@contextmanager
def _opened(path: Path, device: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The open file and its state."""
    try:
        with safe_open(path, framework="pt", device=device) as file:
            yield file, json.loads((file.metadata() or {})[_HEADER])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: expected a whole checkpoint, got: {error}") from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's moments as ``<parameter's place>.<name>``."""
    return {
        f"{place}.{name}": torch.as_tensor(value)
        for place, moments in optimizer.state_dict()["state"].items()
        for name, value in moments.items()
        if value is not None
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Gives an optimiser of the same parameters the moments of :func:`optimizer_tensors`."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        place, _, name = key.partition(".")
        moments.setdefault(int(place), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
