"""A device that is not there: tensors that compute on the CPU and say that they lie elsewhere.

A GPU refuses to mix its tensors with the CPU's, which no run on a CPU would notice. Here each operation looks where its
tensors say that they lie, refuses what CUDA refuses, and computes the rest, so that results can be compared with the
CPU's. The device's name is "meta", the only one besides "cpu" for which every build of torch runs a backward pass.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
_tensor = torch.tensor
_ATEN = torch.ops.aten
# Copies go from one device to another, and a CPU's index may pick from a GPU's tensor.
_MIXES = {_ATEN._to_copy.default, _ATEN.copy_.default}
_PICKS = {_ATEN.index.Tensor, _ATEN.index_put_.default, _ATEN.index_put.default}


class Elsewhere(torch.Tensor):
    """A tensor of the pretended device; ``inner`` holds its numbers."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "Elsewhere":
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            layout=inner.layout, device=DEVICE, requires_grad=False,
        )  # fmt: skip
        made.inner = inner
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})

    # Of numbers in a list torch would make an empty tensor on "meta", and never ask.
    def new_tensor(self, data: Any, *, dtype: Any = None, device: Any = None, **kwargs: Any) -> torch.Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype, device=device or self.device, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        return super().__getitem__(tuple(_tensor(each) if isinstance(each, list) else each for each in keys))

    def tolist(self) -> Any:
        return self.inner.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert a tensor of another device to numpy; copy it to the CPU first")

    __array__ = numpy


def _compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor)]
    there = [each for each in tensors if isinstance(each, Elsewhere)]
    _refuse(func, args, kwargs, tensors, there)
    asked = kwargs.get("device")
    to = bool(there) if asked is None else torch.device(asked).type == DEVICE.type
    if func is _ATEN.copy_.default:
        to = isinstance(args[0], Elsewhere)

    def inside(value: Any) -> Any:
        if isinstance(value, Elsewhere):
            return value.inner
        return torch.device("cpu") if isinstance(value, torch.device) else value

    result = func(*tree_map(inside, args), **tree_map(inside, kwargs))
    given = {id(each.inner): each for each in there}  # what is changed in place comes back as it was given

    def outside(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or isinstance(value, Elsewhere):
            return value
        return given[id(value)] if id(value) in given else Elsewhere(value) if to else value

    return tree_map(outside, result)


def _refuse(func: Any, args: Any, kwargs: dict[str, Any], tensors: list[Any], there: list[Any]) -> None:
    """Raises what CUDA raises where devices are mixed."""
    asked = kwargs.get("device")
    generator = kwargs.get("generator")
    if generator is not None and (there or (asked is not None and torch.device(asked).type == DEVICE.type)):
        raise RuntimeError(f"{func}: a generator of the CPU for tensors elsewhere")
    if func in _MIXES or not there:
        return
    if func in _PICKS and isinstance(args[0], Elsewhere):
        tensors = [args[0], *args[2:3]]
    # One number of the CPU may stand beside a GPU's tensors.
    here = [tuple(each.shape) for each in tensors if not isinstance(each, Elsewhere) and each.dim() > 0]
    if here:
        raise RuntimeError(f"{func}: tensors of two devices; on the CPU are those of shape {here}")


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


class _Autocast(torch.autocast):
    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == DEVICE.type else device_type, *args, **kwargs)


def _made(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
    made = _tensor(*args, **kwargs)
    return made if device is None else made.to(device)


@contextmanager
def pretended() -> Iterator[torch.device]:
    """While it is open, the device is there."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch, "tensor", _made))
        stack.enter_context(mock.patch.object(torch, "autocast", _Autocast))
        stack.enter_context(_Mode())
        yield DEVICE
