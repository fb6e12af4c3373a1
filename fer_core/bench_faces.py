"""How fast faces are drawn, and what a pixel, a part and an action unit cost.

Each figure is the best of several repeats on as many threads as torch has. Faces a second go by the clock, so other
work on the machine lowers them; milliseconds of processor time change less with it.
"""

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from fer_core import bench
from fer_core.errors import UserError
from fer_core.faces import CODES, identity, render, scene
from fer_core.faces.identity import Identity
from fer_core.faces.scene import Scene

TITLE = "Drawing of faces, and what a pixel, a part and an action unit cost"

_CURVE = (32, 64, 96, 128, 192, 256)  # sides between which the cost of a pixel is fitted
_SEED = 11
_REGION = "faces: "  # what the names of the regions that the renderer marks for profilers begin with
_SMALL = 64  # side of the pictures that most sets hold

Views = tuple[Tensor, Identity, Scene]


@dataclass(frozen=True)
class Options:
    """What is measured.

    Args:
        batch: Faces a call at 64 pixels; at other sizes as many pixels in all.
        sizes: Sides of the pictures whose speed is given.
        repeats: Of each measurement.
        compiled: Whether to measure compiled drawing, too; compiling takes up to minutes a size.
    """

    batch: int = 256
    sizes: tuple[int, ...] = (64, 224)
    repeats: int = 5
    compiled: bool = True

    def __post_init__(self) -> None:
        if self.batch < 1 or self.repeats < 1:
            raise UserError(
                f"batch and repeats: expected at least 1, got {self.batch} and {self.repeats}; choose positive numbers"
            )


def measure(options: Options) -> Iterator[bench.Row]:
    """Rows of ``what``, ``value`` and ``unit``, measured on the CPU."""
    repeats = options.repeats
    count = lambda size: max(1, options.batch * _SMALL**2 // size**2)  # noqa: E731
    for compiled in (False, True) if options.compiled else (False,):
        for size in options.sizes:
            found = speed(faces(count(size)), size, repeats, compiled)
            what = f"{'compiled' if compiled else 'eager'}, {size} px"
            yield {"what": what, "value": found["faces_per_second"], "unit": "faces/s"}
            if compiled:
                yield {"what": f"{what}: first call", "value": found["first_call"], "unit": "s"}
    pixel = pixel_cost({size: speed(faces(count(size)), size, repeats)["milliseconds"] for size in _CURVE})
    yield {"what": "a pixel, eager", "value": pixel["nanoseconds"], "unit": "ns of processor time"}
    yield {"what": "a face of any size, eager", "value": pixel["milliseconds"], "unit": "ms of processor time"}
    yield {"what": "R² of that straight line", "value": pixel["r2"], "unit": ""}
    units = unit_cost(options.batch, _SMALL, repeats)
    yield {"what": "an action unit that shows", "value": 1000 * units["each"], "unit": "µs of processor time"}
    for name, cost in part_costs(faces(options.batch), _SMALL, repeats).items():
        words = name.strip("_").removeprefix("draw_").replace("_", " ")
        yield {"what": f"part: {words}", "value": 100 * cost["share"], "unit": "% of eager drawing"}


def faces(count: int) -> Views:
    """Faces as they come: people and views as sets draw them, a few action units each."""
    generator = torch.Generator().manual_seed(_SEED)
    people, views = identity.sample(count, generator), scene.sample(count, generator)
    return torch.rand(count, len(CODES), generator=generator) ** 4, people, views


def speed(what: Views, size: int = _SMALL, repeats: int = 5, compiled: bool = False) -> dict[str, float]:
    """Draws the same faces again and again, pictures alone.

    Args:
        what: Action units, people and views.
        size: Side of the pictures in pixels.
        repeats: How often, after one call that does not count.
        compiled: Whether to draw through ``torch.compile``.

    Returns:
        ``faces_per_second`` by the clock, ``milliseconds`` of processor time a face, and ``first_call`` in seconds,
        which is where compiling shows.
    """
    with torch.inference_mode():
        draw: Callable[[], Any] = lambda: render(*what, size, compiled=compiled)  # noqa: E731
        with _nothing_compiled():
            first, _ = _clocks(draw)
        clocks = [_clocks(draw) for _ in range(repeats)]
    count = len(what[0])
    return {
        "faces_per_second": count / min(wall for wall, _ in clocks),
        "milliseconds": 1000 * min(processor for _, processor in clocks) / count,
        "first_call": first,
    }


@contextmanager
def _nothing_compiled() -> Iterator[None]:
    """An empty cache of compiled code: the first call is that of a new machine."""
    key = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(key)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[key] = folder
        try:
            yield
        finally:
            os.environ.pop(key)
            if before is not None:
                os.environ[key] = before


def _clocks(draw: Callable[[], Any]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    draw()
    return time.perf_counter() - wall, time.process_time() - processor


def pixel_cost(milliseconds: dict[int, float]) -> dict[str, float]:
    """A straight line through the cost of a face over the number of its pixels.

    Args:
        milliseconds: Processor time a face by side of the picture; at least two sides.

    Returns:
        ``nanoseconds`` a pixel, ``milliseconds`` a face whatever its size, and the share of variance that the line
        explains as ``r2``.
    """
    pixels = np.array([side**2 for side in milliseconds], dtype=float)
    cost = np.array(list(milliseconds.values()))
    slope, start = np.polyfit(pixels, cost, 1)
    rest = cost - (start + slope * pixels)
    return {
        "nanoseconds": 1e6 * float(slope),
        "milliseconds": float(start),
        "r2": 1 - float(rest @ rest) / float(((cost - cost.mean()) ** 2).sum()),
    }


def part_costs(what: Views, size: int = _SMALL, repeats: int = 5) -> dict[str, dict[str, float]]:
    """What each part of the eager drawing takes, from torch's profiler.

    The profiler itself slows the drawing down, so shares say more than times.

    Args:
        what: Action units, people and views.
        size: Side of the pictures in pixels.
        repeats: Calls over which the times are averaged, after one that does not count.

    Returns:
        By part: ``milliseconds`` by the clock a face and ``share`` of the whole, largest first. "the rest" is what no
        part covers: geometry, colours, the picture's joining.
    """
    with torch.inference_mode():
        render(*what, size)
        with profile(activities=[ProfilerActivity.CPU]) as profiler, record_function(_REGION):
            for _ in range(repeats):
                render(*what, size)
    drawn = repeats * len(what[0])
    times = {
        event.key.removeprefix(_REGION): event.cpu_time_total / 1000 / drawn
        for event in profiler.key_averages()
        if event.key.startswith(_REGION)
    }
    whole = times.pop("")
    times["the rest"] = whole - math.fsum(times.values())
    ordered = sorted(times.items(), key=lambda item: -item[1])
    return {name: {"milliseconds": cost, "share": cost / whole} for name, cost in ordered}


def unit_cost(batch: int = 128, size: int = _SMALL, repeats: int = 5) -> dict[str, float]:
    """What an action unit adds: faces that show all of them against faces that show none.

    Every unit is drawn at every intensity, 0 included, so that a batch needs no branches: the expected cost is zero.

    Args:
        batch: Faces a call.
        size: Side of the pictures in pixels.
        repeats: Of each measurement.

    Returns:
        Processor time in ``milliseconds`` a face: ``none``, ``all``, and ``each`` unit's part of the difference.
    """
    units, people, views = faces(batch)
    none = speed((torch.zeros_like(units), people, views), size, repeats)["milliseconds"]
    every = speed((torch.full_like(units, 0.5), people, views), size, repeats)["milliseconds"]
    return {"none": none, "all": every, "each": (every - none) / len(CODES)}
