"""The processes of one run: one here, or several that ``accelerate launch``, ``torchrun`` or a cluster has started.

Hugging Face Accelerate joins them; each has its share of every batch, and together they do what one process would.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from fer_core.errors import UserError


class Processes:
    """How many processes there are, which one this is, and how they talk.

    Args:
        device: Where the run was asked to be. With several processes, "cuda" becomes each one's own device.

    Attributes:
        count: Number of processes.
        index: This one's place, from 0.
        device: This one's device.
    """

    def __init__(self, device: torch.device) -> None:
        self.count, self.index, self.device = 1, 0, device
        self._accelerator: Any = None
        if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
            return
        from accelerate import Accelerator, DistributedDataParallelKwargs

        # Precision is the engine's own matter: Accelerate fixes one for the life of a process.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # an expert that no sample was sent to
        self._accelerator = Accelerator(
            mixed_precision="no", cpu=device.type == "cpu", device_placement=False, kwargs_handlers=[unused]
        )
        self.count, self.index = self._accelerator.num_processes, self._accelerator.process_index
        self.device = self._accelerator.device
        if self.device.type != device.type:
            raise UserError(f"device: expected {device.type} for all processes, got {self.device}; leave --device out")

    @property
    def main(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.index == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module, its gradients being averaged over the processes."""
        return module if self._accelerator is None else self._accelerator.prepare_model(module)

    def shard(self, module: nn.Module) -> None:
        """Spreads a method's parameters over the processes, in place; each block gathers its own while it runs.

        Fully sharded data parallelism. An optimiser must be made afterwards.
        """
        from torch.export import register_dataclass

        from fer_core.models.base import Output

        # It looks for tensors in what a module returns, and finds none in dataclasses that it does not know.
        with suppress(ValueError):  # known already
            register_dataclass(Output)
        for part in list(module.modules()):
            if isinstance(part, nn.ModuleList):
                for block in part:
                    fully_shard(block)
        fully_shard(module)

    def reshard(self, module: nn.Module) -> None:
        """Lets go of what the blocks gathered: needed before weights are changed without a backward pass."""
        for part in module.modules():
            if isinstance(part, FSDPModule):
                part.reshard()

    def no_sync(self, module: nn.Module) -> AbstractContextManager[Any]:
        """While entered, gradients stay with their process."""
        return nullcontext() if self._accelerator is None else self._accelerator.no_sync(module)

    def sum(self, values: Tensor) -> Tensor:
        """The element-wise sum over the processes, on each of them."""
        return values if self._accelerator is None else self._accelerator.reduce(values, "sum")

    def gather(self, value: Any) -> list[Any]:
        """Every process' value, in their order, on each of them."""
        if self._accelerator is None:
            return [value]
        from accelerate.utils import gather_object

        return gather_object([value])

    def wait(self) -> None:
        """Returns when all processes have come here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of which each process holds a part, whole on each of them; others as they are."""
        return {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in tensors.items()}

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """The main process runs the block before the others: what it leaves in the cache folder, they find."""
        if not self.main:
            self.wait()
        yield
        if self.main:
            self.wait()


def spread(value: Tensor, target: Tensor) -> Tensor:
    """A whole tensor, cut up over the processes as ``target`` is."""
    if isinstance(target, DTensor) and not isinstance(value, DTensor):
        return distribute_tensor(value, target.device_mesh, target.placements)
    return value
