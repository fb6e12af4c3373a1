"""The processes of one run: one here, or several that ``accelerate launch``, ``torchrun`` or a cluster has started.

Hugging Face Accelerate joins them; each has its share of every batch, and together they do what one process would, but
for losses that compare samples with each other: these see the samples of one process.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.torch_version import TorchVersion

from fer_core.errors import UserError

#: How long a process waits for others: one alone may encode a data set in the meantime.
_PATIENCE = timedelta(days=1)


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
        from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

        # Precision is the engine's own matter: Accelerate fixes one for the life of a process.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # an expert that no sample was sent to
        patient = InitProcessGroupKwargs(timeout=_PATIENCE)
        self._accelerator = Accelerator(
            mixed_precision="no", cpu=device.type == "cpu", device_placement=False, kwargs_handlers=[unused, patient]
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

    def shard(self, module: nn.Module, trained: Collection[Tensor]) -> None:
        """Spreads trained parameters over the processes, in place: fully sharded data parallelism.

        Between steps each process holds its part of every trained weight, and of its moments. The module is one unit:
        while it runs forward and backward, each process holds its trained weights and their gradients whole. What is
        not trained stays whole on each, so that it can be used outside of the module, too; so do numbers without a
        dimension, whose gradients :meth:`average_gradients` must average. An optimiser must be made afterwards.

        Args:
            module: Calls all that uses the parameters, as blocks of a tower are not called as modules.
            trained: Those parameters that are trained.

        Raises:
            UserError: For a torch that leaves out no parameters (2.6), or gives other weights than one process does
                (2.7 and 2.8).
        """
        if torch.__version__ < TorchVersion("2.9"):
            raise UserError(
                f"training.shard: expected torch 2.9 or newer, got {torch.__version__}; update torch, or set "
                "training.shard=false"
            )
        kept = {id(parameter) for parameter in trained if parameter.ndim}
        for parameter in trained:
            parameter.data = parameter.data.contiguous()  # channels_last cannot be cut up
        whole = {parameter for parameter in module.parameters() if id(parameter) not in kept}
        fully_shard(module, mesh=init_device_mesh(self.device.type, (self.count,)), ignored_params=whole)

    @contextmanager
    def gathered(self, module: nn.Module, changed: bool = False) -> Iterator[None]:
        """While entered, the parameters of a sharded module are whole on each process.

        Args:
            module: Of :meth:`shard`; others stay as they are.
            changed: Whether what is written to them, alike on each process, stays; else it is forgotten.
        """
        parts = self.unshard(module)
        whole = [getattr(owner, name).detach() for owner, name, _ in parts]
        try:
            yield
        finally:
            for owner, name, part in parts:
                setattr(owner, name, part)
        if changed:
            with torch.no_grad():
                for value, (_, _, part) in zip(whole, parts, strict=True):
                    part.copy_(spread(value, part))

    def unshard(self, module: nn.Module) -> list[tuple[nn.Module, str, nn.Parameter]]:
        """Puts whole copies in place of parameters that are spread.

        Returns:
            What they stand for: a module, its parameter's name, and the parameter.
        """
        # Not FSDP's own unshard(), which any state_dict() takes back.
        parts, copies = [], {}
        for owner in module.modules():
            for name, part in owner.named_parameters(recurse=False, remove_duplicate=False):
                if isinstance(part, DTensor):
                    parts.append((owner, name, part))
        for owner, name, part in parts:
            if id(part) not in copies:
                copies[id(part)] = nn.Parameter(part.detach().full_tensor().clone(), part.requires_grad)
            setattr(owner, name, copies[id(part)])
        return parts

    @contextmanager
    def no_sync(self, module: nn.Module) -> Iterator[None]:
        """While entered, gradients stay with their process."""
        if self._accelerator is None:
            yield
        elif isinstance(module, FSDPModule):
            # Weights stay gathered, too: processes may compute different numbers of parts.
            module.set_requires_gradient_sync(False)
            module.set_reshard_after_backward(False)
            try:
                yield
            finally:
                module.set_requires_gradient_sync(True)
                module.set_reshard_after_backward(True)
        else:
            with self._accelerator.no_sync(module):
                yield

    def average_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Puts the mean over the processes in place of the gradients of numbers; one that none of them has stays none.

        Args:
            parameters: Each ``()``, alike on each process.
        """
        if not parameters:
            return
        zero = torch.zeros((), device=self.device)
        own = [(zero, zero) if each.grad is None else (each.grad.float(), zero + 1) for each in parameters]
        told = self.sum(torch.stack([torch.stack(pair) for pair in own]))  # (N, 2), gradients and how many have one
        for parameter, (total, having) in zip(parameters, told, strict=True):
            parameter.grad = (total / self.count).to(parameter.dtype) if having else None

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Gives the main process' values to all, in place."""
        if self._accelerator is not None:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, 0)

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
        """The main process runs the block before the others: what it leaves in the cache folder, they find.

        Raises:
            UserError: If the main process' block raised one: then the others raise it, too, and do not run theirs.
            RuntimeError: On the others, if the main process' block raised anything else.
        """
        if self.main:
            failure: UserError | RuntimeError | None = None
            try:
                yield
            except BaseException as error:
                own = isinstance(error, UserError)
                failure = error if own else RuntimeError(f"the main process failed: {error!r}")
                raise
            finally:
                self.gather(failure)  # also where it fails: the others wait for it
            return
        failure = self.gather(None)[0]
        if failure is not None:
            raise failure
        yield


def spread(value: Tensor, target: Tensor) -> Tensor:
    """A whole tensor, cut up over the processes as ``target`` is."""
    if isinstance(target, DTensor) and not isinstance(value, DTensor):
        return distribute_tensor(value, target.device_mesh, target.placements)
    return value


def clip_gradients(parameters: Sequence[Tensor], most: float, processes: Processes) -> None:
    """As ``torch.nn.utils.clip_grad_norm_``, which takes no mixture of gradients that are spread and that are whole.

    Args:
        parameters: With gradients, or without.
        most: The largest norm of all gradients together.
        processes: Over which some are spread.
    """
    found = [parameter.grad for parameter in parameters if parameter.grad is not None]
    parts = [grad.to_local() for grad in found if isinstance(grad, DTensor)]
    whole = [grad for grad in found if not isinstance(grad, DTensor)]

    def squares(grads: list[Tensor]) -> Tensor:
        zero = torch.zeros((), device=processes.device)
        return sum((grad.float().square().sum() for grad in grads), zero)

    norm = (processes.sum(squares(parts)) + squares(whole)).sqrt()
    factor = (most / (norm + 1e-6)).clamp(max=1.0)
    for grad in [*parts, *whole]:
        grad.mul_(factor)
