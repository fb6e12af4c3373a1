"""Speed, measured side by side in one run: ratios outlive the machine that they were taken on, seconds do not.

A bench is a module with ``TITLE`` (one line), ``Options`` (a frozen dataclass) and ``measure(options) -> rows``; it is
made known in :data:`BENCHES`.
"""

import gc
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from fer_core import atomic, config, records
from fer_core.errors import UserError, unknown

BENCHES = {
    "adapting": "fer_core.bench_adapting",
    "data": "fer_core.bench_data",
    "faces": "fer_core.bench_faces",
    "training": "fer_core.bench_training",
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """What a bench measured.

    Args:
        name: Of the bench.
        title: One line.
        rows: What it measured; all rows have the same keys.
        options: What it was asked to do, defaults included.
        hardware: As :func:`fer_core.hardware.describe`.
        versions: As :func:`fer_core.hardware.versions`.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    options: dict[str, Any]
    hardware: dict[str, Any]
    versions: dict[str, str]


def listing() -> list[dict[str, str]]:
    """Name and title of every bench."""
    return [{"name": name, "title": import_module(module).TITLE} for name, module in BENCHES.items()]


def run(name: str, options: Mapping[str, Any] | None = None) -> Report:
    """Runs a bench.

    Args:
        name: A key of :data:`BENCHES`.
        options: Settings of its ``Options``.

    Raises:
        UserError: For an unknown name or option, a value that is refused, or a device that this machine lacks.
    """
    from fer_core import hardware  # imports torch, which a listing does not need

    if name not in BENCHES:
        raise unknown("bench", name, BENCHES)
    bench = import_module(BENCHES[name])
    built = config.build(bench.Options, options, f"bench {name}")
    device = str(hardware.device(getattr(built, "device", "cpu")))
    if hasattr(built, "device"):
        built = replace(built, device=device)  # "auto" would not say where it was measured
    rows = tuple(bench.measure(built))
    return Report(name, bench.TITLE, rows, config.plain(built), hardware.describe(device), hardware.versions())


def default_folder() -> Path:
    """Where reports are kept for the book: ``book/benches``."""
    return records.book_folder() / "benches"


def write(report: Report, folder: Path) -> Path:
    """Keeps a report as ``<name>-<backbone>-<device>.json``, in place of the one that is there."""
    backbone = str(report.options.get("backbone", "")).partition(":")[0]
    parts = [report.name, backbone, report.hardware["device"]]
    path = folder / ("-".join(part for part in parts if part) + ".json")
    with atomic.replacing(path) as temporary:
        temporary.write_text(json.dumps(to_json(report), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read(folder: Path) -> list[Report]:
    """The reports of a folder, sorted by file name; none if there is no folder.

    Raises:
        UserError: If a file is none of :func:`write`'s.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(config.build(Report, json.loads(path.read_text(encoding="utf-8")), path.name))
        except ValueError as error:
            raise UserError(f"{path}: expected a bench's report, got: {error}; make it anew") from error
    return found


def compare(
    what: str, unit: str, amount: int, ours: Callable[[], object], plain: Callable[[], object], repeats: int
) -> Row:
    """Times two ways to do the same work, in turns, so that a busy machine slows both alike.

    Args:
        what: The work, in words.
        unit: What ``amount`` counts.
        amount: How much work one call does.
        ours: Does it once.
        plain: Does it once, the way it is compared with.
        repeats: Pairs of calls that count; one more comes before them and does not.

    Returns:
        ``what``, ``unit``, the median rates ``ours`` and ``plain`` in units a second, and of the ratios of the pairs
        the median (``ratio``; above 1 ours is faster), ``lowest`` and ``highest``.
    """
    pairs = []
    for turn in range(repeats + 1):
        # Who goes first changes from turn to turn: a warm cache or a throttled processor favours neither.
        order = (ours, plain) if turn % 2 else (plain, ours)
        seconds = {call: _seconds(call) for call in order}
        pairs.append((seconds[ours], seconds[plain]))
    counted = pairs[1:]
    ratios = [theirs / own for own, theirs in counted]
    return {
        "what": what, "unit": f"{unit}/s", "ours": amount / median(own for own, _ in counted),
        "plain": amount / median(theirs for _, theirs in counted), "ratio": median(ratios), "lowest": min(ratios),
        "highest": max(ratios),
    }  # fmt: skip


def _seconds(call: Callable[[], object]) -> float:
    gc.collect()  # the other's garbage is not this one's to clear away
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def to_json(report: Report) -> dict[str, Any]:
    """The report as JSON types."""
    return config.plain(report)


def to_markdown(report: Report) -> str:
    """The report as a table, and what it was measured on."""
    columns = list(report.rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(row[column]) for column in columns) + " |" for row in report.rows]
    machine = report.hardware
    options = ", ".join(f"{key} {value}" for key, value in report.options.items())
    versions = ", ".join(f"{key} {value}" for key, value in report.versions.items())
    where = f"{machine['cpu']}, {machine['threads']} of {machine['cores']} cores; {versions}; {options}"
    return "\n".join([f"{report.title}.", "", *lines, "", where])


def cell(value: Any) -> str:
    """A value of a row as a table shows it: numbers with three digits, or whole from 100 on."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"
