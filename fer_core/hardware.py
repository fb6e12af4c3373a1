"""What a run ran on: processor, memory, accelerator, versions, commit. Nothing here names a machine or its user.

And what a run may ask of its machine: a device, and memory that is kept.
"""

import ctypes
import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import fer_core
from fer_core.errors import UserError

_LIBRARIES = {"torch": "torch", "open_clip": "open_clip_torch", "numpy": "numpy"}


_KINDS = ("cpu", "cuda", "mps")

# glibc's M_MMAP_THRESHOLD and M_TRIM_THRESHOLD (malloc.h), in bytes. Pieces above 32 MiB, the most that the first
# takes, still get pages of their own: kept in the heap, up to ten of a size would lie there, since one that was
# aligned and freed no longer holds the next (glibc 2.36), which a training in the same process cannot afford.
_KEEP = ((-3, 32 * 2**20), (-1, 512 * 2**20))


def best() -> torch.device:
    """The device that runs take unless they are told otherwise: CUDA where there is one, else the CPU."""
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true")  # accelerate launch --cpu
    return torch.device("cuda" if torch.cuda.is_available() and not on_cpu else "cpu")


def device(name: str) -> torch.device:
    """The device of a name; ``auto`` is :func:`best`.

    Raises:
        UserError: If this machine has no such device.
    """
    if name == "auto":
        return best()
    try:
        found = torch.device(name)
        if found.type not in _KINDS:
            raise NotImplementedError
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(f"device: expected one that this machine has, got {name!r}; use cpu, or leave it out") from None
    return found


def computes_bf16(device: torch.device) -> bool:
    """Whether a device has units for bfloat16; without them torch computes it by other means.

    Of CPUs, those with AMX or AVX-512 BF16 have some; of others torch does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # No public ones in torch 2.6.
    asked = (torch.cpu._is_amx_tile_supported, torch.cpu._is_avx512_bf16_supported)
    return device.type != "cpu" or any(each() for each in asked)


@cache
def keep_memory() -> bool:
    """Has this process keep up to 512 MiB that are freed, for work that takes and frees pieces again and again.

    glibc gives what lies free at the end of its heap back to the system; the system then hands out new pages, zeroed,
    one fault each, which can take longer than to fill them. Pieces above 32 MiB still go back at once.

    Returns:
        Whether the C library is one that can be told so.
    """
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    return tell is not None and all(tell(option, value) == 1 for option, value in _KEEP)


def describe(device: torch.device | str = "cpu") -> dict[str, Any]:
    """The hardware that a run on ``device`` uses.

    Returns:
        ``device`` (its kind), ``cpu`` (name), ``cores`` (usable by this process), ``threads`` (torch's), ``memory``
        (bytes), ``gpu`` (name and bytes; None without one in use), ``bf16`` (see :func:`computes_bf16`), ``system``
        and ``architecture``.
    """
    used = torch.device(device)
    return {
        "device": used.type,
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpu": _gpu(used),
        "bf16": computes_bf16(used),
        "system": platform.system(),
        "architecture": platform.machine(),
    }


def _cpu_name() -> str:
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    else:
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        except OSError:
            lines = []
        found = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return found or platform.processor() or "unknown"


def _gpu(device: torch.device) -> dict[str, Any] | None:
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return {"name": properties.name, "memory": properties.total_memory}
    if device.type == "mps":
        return {"name": "Apple Metal", "memory": torch.mps.recommended_max_memory()}
    return None


def versions() -> dict[str, str]:
    """Versions of Python, fer_core and the libraries that numbers depend on."""
    found = {"python": platform.python_version(), "fer_core": fer_core.__version__}
    for name, distribution in _LIBRARIES.items():
        try:
            found[name] = version(distribution)
        except PackageNotFoundError:  # installed by other means than pip
            found[name] = "unknown"
    return found


def commit() -> str | None:
    """The checkout's commit, with ``+dirty`` where the package differs from it; None outside a checkout of ours.

    Records and pages that are not committed yet do not make it dirty: they change no result.
    """
    root = Path(__file__).resolve().parents[1]
    top = _git(root, "rev-parse", "--show-toplevel")
    # Installed into another project's tree, that project's commit would be no answer.
    if top is None or Path(top).resolve() != root:
        return None
    head = _git(root, "rev-parse", "--verify", "HEAD")
    if head is None:
        return None
    return head + ("+dirty" if _git(root, "status", "--porcelain", "--", "fer_core") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
