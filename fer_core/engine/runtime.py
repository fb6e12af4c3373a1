"""What a training asks of the machine: seeds, determinism, precision, memory; and its learning-rate schedule."""

import math
import random
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
import torch.utils.deterministic
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from fer_core import hardware
from fer_core.errors import UserError

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch (all devices). Call it before a method draws its first weights, too.

    Raises:
        UserError: If ``seed`` is not in 0..2**32-1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise UserError(f"seed: expected a whole number in 0..2**32-1, got {seed!r}; choose a small one, such as 0")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - for libraries that still draw from the global state
    torch.manual_seed(seed)


def random_state(device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Where Python, NumPy and torch stand in their random numbers.

    Returns:
        Tensors, and what JSON holds; :func:`set_random_state` takes both.
    """
    version, words, gauss = random.getstate()
    kind, keys, place, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - the global state is meant
    tensors = {
        "python": torch.tensor(words, dtype=torch.int64),
        "numpy": torch.from_numpy(np.asarray(keys, dtype=np.int64)),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    return tensors, {"python": [version, gauss], "numpy": [kind, int(place), int(has_gauss), float(cached)]}


def set_random_state(tensors: dict[str, Tensor], plain: dict[str, Any], device: torch.device) -> None:
    """Goes back to where :func:`random_state` was called."""
    version, gauss = plain["python"]
    random.setstate((version, tuple(tensors["python"].tolist()), gauss))
    kind, place, has_gauss, cached = plain["numpy"]
    keys = tensors["numpy"].cpu().numpy().astype(np.uint32)
    np.random.set_state((kind, keys, place, has_gauss, cached))  # noqa: NPY002 - the global state is meant
    torch.set_rng_state(tensors["torch"].cpu())
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"].cpu(), device)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error tells that a batch was too large for the device or the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The CPU's allocator has no exception of its own, nor has cuBLAS where it finds no room for its workspace.
    said = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in said)


@contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """Deterministic algorithms where torch has them (it warns where it has not), and the old settings afterwards.

    On CUDA the backward passes of fused attention have no deterministic form in torch: what trains through a tower
    agrees there from run to run to rounding, but not to the bit, unless attention runs in its plain form
    (``sdpa_kernel(SDPBackend.MATH)``). ``CUBLAS_WORKSPACE_CONFIG``, which cuBLAS asks for, is set when ``fer_core`` is
    imported. Fresh memory is not filled with NaN, as torch does by default then: that costs time, and changes only what
    reads memory that nothing has written.
    """
    if not wanted:
        yield
        return
    enabled, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    benchmark = torch.backends.cudnn.benchmark
    settings: Any = torch.utils.deterministic
    filled = settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        settings.fill_uninitialized_memory = filled


def computed(precision: str, device: torch.device) -> str:
    """The precision that :func:`autocast` computes in where ``precision`` is asked for."""
    replaced = precision == "bf16" and device.type == "cpu" and not hardware.computes_bf16(device)
    return "fp32" if replaced else precision


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """The context in which forward passes run: ``"fp32"`` (no autocast), ``"bf16"`` or ``"fp16"``.

    A CPU without units for bf16 computes in fp32 where bf16 is asked for: other means take it eleven times as long.
    On the CPU half precision takes plain attention: the fused kernel's backward pass is slower there than all the rest
    of a small tower, which then trains two to three times as fast.
    """
    precision = computed(precision, device)
    half = precision in HALF
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(device.type, dtype=HALF.get(precision, torch.bfloat16), enabled=half))
        if half and device.type == "cpu":
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        yield


def peak_memory(device: torch.device) -> int:
    """Most bytes held: on CUDA by tensors of the device since its statistics were reset, else by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # macOS counts bytes, Linux kibibytes


def learning_rate_factor(
    step: int, steps: int, warmup: float, schedule: str, milestones: Sequence[float] = ()
) -> float:
    """The learning rate of a step as a share of its peak.

    With W = round(warmup * steps): ``(step + 1) / (W + 1)`` while ``step < W``; then 1, or for the cosine schedule
    ``(1 + cos(pi * (step - W) / (steps - W))) / 2`` (Loshchilov and Hutter, 2017, equation 5, without restarts), or in
    steps a tenth from each milestone on.

    Args:
        step: Counted from 0.
        steps: Number of all steps.
        warmup: Share of all steps, below 1.
        schedule: ``"cosine"``, ``"constant"`` or ``"steps"``.
        milestones: Of steps: shares of all steps.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    if schedule == "constant":
        return 1.0
    if schedule == "steps":
        return 0.1 ** sum(step >= round(share * steps) for share in milestones)
    return (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2
