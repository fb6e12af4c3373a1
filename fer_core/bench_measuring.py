"""What two ways to do one piece of work cost, side by side: operations, memory, time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fer_core import bench, flops


def measured(
    what: str,
    unit: str,
    amount: int,
    ours: Callable[[], Any],
    plain: Callable[[], Any],
    device: torch.device,
    repeats: int,
    peak: float,
) -> bench.Row:
    """Operations, memory and times of both sides.

    Args:
        what: The work, in words.
        unit: What ``amount`` counts.
        amount: How much work one call does.
        ours: Does it once.
        plain: Does it once, the plain way.
        device: Where both run.
        repeats: Pairs of timed calls.
        peak: Operations a second of :func:`matrix_peak`.

    Returns:
        A row: operations in thousand millions, what is kept in MiB, rates as :func:`fer_core.bench.compare` gives them,
        and the share of the machine's peak that our side reaches.
    """
    ours_flops, plain_flops = flops.count(ours), flops.count(plain)
    ours_kept, plain_kept = _peak(ours, device), _peak(plain, device)
    timed = bench.compare(what, unit, amount, _waiting(ours, device), _waiting(plain, device), repeats)
    return {
        "what": what, "GFLOP": ours_flops / 1e9, "plain GFLOP": plain_flops / 1e9,
        "GFLOP ratio": plain_flops / ours_flops, "MiB": ours_kept / 2**20, "plain MiB": plain_kept / 2**20,
        "unit": timed["unit"], "ours": timed["ours"], "plain": timed["plain"], "ratio": timed["ratio"],
        "lowest": timed["lowest"], "highest": timed["highest"],
        "of matrix peak": ours_flops / amount * timed["ours"] / peak,
    }  # fmt: skip


def _peak(step: Callable[[], Any], device: torch.device) -> int:
    """Bytes a step needs: the device's peak on CUDA; elsewhere what it keeps for its backward pass."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with _kept() as kept:
        step()
    return sum(kept.values())


@contextmanager
def _kept() -> Iterator[dict[int, int]]:
    """Sizes of the storages that autograd keeps meanwhile, by address; weights are not counted."""
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes


def _waiting(step: Callable[[], Any], device: torch.device) -> Callable[[], None]:
    """The step, and on CUDA the end of its work."""

    def run() -> None:
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def matrix_peak(device: torch.device, precision: str) -> float:
    """Floating-point operations a second of a large matrix product, the best of a few."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    size = 8192 if device.type == "cuda" else 1536
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        torch.mm(one, other)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
