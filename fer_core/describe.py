"""What a figure or a table shows, in a sentence: for readers who cannot see it, and for prose that quotes numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fer_core import published as published_numbers
from fer_core.entanglement import Map
from fer_core.metrics import Interval
from fer_core.metrics_subjects import Gain
from fer_core.tables import Table


def interval(found: Interval, percent: bool = False, digits: int | None = None) -> str:
    """Such as ``0.43 (0.39 to 0.47)`` or ``43.1 % (39.0 to 47.2)``."""
    scale, unit = (100, " %") if percent else (1, "")
    digits = (1 if percent else 2) if digits is None else digits
    # Adding zero turns the -0.0 that rounding may leave into 0.0.
    ends = (round(scale * number, digits) + 0.0 for number in (found.value, found.low, found.high))
    value, low, high = (f"{number:.{digits}f}" for number in ends)
    return f"{value}{unit} ({low} to {high})"


def points(found: Interval) -> str:
    """A difference of two shares in percentage points, such as ``+2.0 (1.0 to 3.0)``."""
    told = interval(Interval(*(100 * number for number in (found.value, found.low, found.high))), digits=1)
    return told if told.startswith(("-", "0.0 ")) else f"+{told}"


def intervals(found: Mapping[str, Interval], percent: bool = False) -> str:
    """All estimates with their intervals, in one sentence."""
    return "; ".join(f"{name} {interval(each, percent)}" for name, each in found.items()) + "."


def outcome(found: Gain | Interval, margin: float = 0.0) -> str:
    """Whether a claimed gain is one: ``held``, ``did not hold``, or ``undecided`` with why.

    Args:
        found: The gain. It is decided where its interval lies on one side of zero and, of a paired gain without a
            margin, also p < 0.05.
        margin: How much may be lost where the claim is that a score is kept, such as 0.05.
    """
    measured = found.interval if isinstance(found, Gain) else found
    low, high = measured.low + margin, measured.high + margin
    if low <= 0 <= high:
        return f"undecided: the interval holds {f'-{100 * margin:g}' if margin else 'zero'}"
    if isinstance(found, Gain) and not margin and found.p_value >= 0.05:
        return f"undecided: p = {found.p_value:.2f}"
    return "held" if low > 0 else "did not hold"


def gain(found: Gain | None) -> str:
    """A paired gain in percentage points: its interval, how many gain and lose, the p-value; or that it was not run.

    It is shorter than the 50 characters after which a data frame cuts its cells.
    """
    if found is None:
        return "not run"
    sides = f"+{found.better} −{found.worse}"
    return f"{points(found.interval)}; {sides}; p = {found.p_value:.4f}"


def claims(found: Mapping[str, Gain | Interval | None], kept: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Claims that one thing is better than another: what was measured of each, of how many seeds, whether it held.

    Args:
        found: By claim, what one side gains over the other: in WAR, or in the score that the claim names.
        kept: By claim, how much may be lost, for claims that something is kept.
    """
    rows = {}
    for text, each in found.items():
        if each is None:
            rows[text] = ("not run", "–", "open")
            continue
        measured, seeds = (each.interval, each.seeds) if isinstance(each, Gain) else (each, ("–",))
        told = " and ".join(dict.fromkeys(map(str, seeds)))
        rows[text] = (points(measured), told, outcome(each, (kept or {}).get(text, 0.0)))
    return pd.DataFrame(rows, index=["gain in points", "seeds", "verdict"]).T


def efficiency(counted: Mapping[str, tuple[int, int, int]], folder: Path | str | None = None) -> pd.DataFrame:
    """What is trained and what it computes, beside CLIP-AUTT's Figure 1(d) with the marks of its numbers.

    Args:
        counted: By method of that figure: trained numbers, operations of what is trained, and of the whole model.
        folder: The published files'; the project's by default.
    """
    known = {
        (number.method, number.metric): number.marked
        for number in published_numbers.read(folder)
        if (number.paper, number.table) == ("CLIP-AUTT", "Figure 1(d) efficiency")
    }
    rows = {
        method: {
            "trained numbers": f"{numbers:,}",
            "GFLOP of what is trained": f"{own / 1e9:.3g}",
            "GFLOP of the whole model": f"{whole / 1e9:.3g}",
            "published: millions trained": known.get((method, "trainable_params_M"), "–"),
            "published: GFLOP": known.get((method, "GFLOPs"), "–"),
            "published: videos/s": known.get((method, "throughput_videos_per_s"), "–"),
        }
        for method, (numbers, own, whole) in counted.items()
    }
    return pd.DataFrame(rows).T


def table(columns: Mapping[str, Mapping[str, Interval]], percent: bool = False) -> pd.DataFrame:
    """Estimates with their intervals as a table: by column, by row."""
    told = {column: {row: interval(each, percent) for row, each in rows.items()} for column, rows in columns.items()}
    return pd.DataFrame(told).fillna("–")


def confusion(matrix: np.ndarray, classes: Sequence[str], most: int = 4) -> str:
    """Each class's recall, and the largest confusions.

    Args:
        matrix: ``(C, C)`` counts or shares, rows true classes.
        classes: C class names.
        most: How many confusions to name.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    total = counts.sum(axis=1, keepdims=True)
    shares = 100 * np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    right = ", ".join(f"{name} {share:.0f} %" for name, share in zip(classes, np.diag(shares), strict=True))
    wrong = shares * (1 - np.eye(len(classes)))
    worst = [np.unravel_index(place, wrong.shape) for place in np.argsort(-wrong, axis=None, kind="stable")[:most]]
    mistaken = [f"{classes[a]} for {classes[b]} {wrong[a, b]:.0f} %" for a, b in worst if wrong[a, b] > 0]
    told = f"Recognised: {right}."
    return f"{told} Most often mistaken: {', '.join(mistaken)}." if mistaken else f"{told} Nothing is mistaken."


def maps(found: Sequence[Map]) -> str:
    """The trustworthiness of maps, with its range over seeds."""
    names = {"umap": "UMAP", "pca": "PCA"}
    told = []
    for each in found:
        low, high = min(each.trust), max(each.trust)
        spread = f"{low:.3f}" if len(each.trust) == 1 else f"{low:.3f} to {high:.3f} over {len(each.trust)} seeds"
        told.append(f"{names[each.method]} {spread}")
    return "Trustworthiness: " + "; ".join(told) + "."


def distance_from_published(published: Table, column: str, backbone: str = "ViT-B/16") -> str:
    """How far our rows stand from the published rows with a given backbone, in a plain statement.

    What was not trained on the data is set beside what was not, and our best trained row beside the trained ones.

    Args:
        published: With our rows and published ones.
        column: Key of the column to compare in.
        backbone: Part of the published rows' backbone.

    Returns:
        A few sentences; says so where a side has no number.
    """
    place = [each.key for each in published.columns].index(column)
    title, dataset = published.columns[place].title, published.columns[place].dataset
    rows = [(row, row.cells[place]) for row in published.rows]
    theirs = {
        row.method: cell.value or 0.0 for row, cell in rows if cell.kind == "published" and backbone in row.backbone
    }
    ours = {
        row.method: cell.value or 0.0
        for row, cell in rows
        if cell.kind == "reproduced" and row.backbone.startswith("embedded")
    }
    if not theirs:
        return f"No {title} on {dataset} is published here for {backbone}."
    if not ours:
        span = ", ".join(f"{name} {value:.2f}" for name, value in _ordered(theirs))
        return f"Published with {backbone}, {title} in percent: {span}. The embedded CLIP has no {dataset} record yet."
    told = []
    for zero_shot, kind in ((True, "zero-shot"), (False, "trained")):
        own, other = (
            _ordered({name: value for name, value in side.items() if ("zero-shot" in name) == zero_shot})
            for side in (ours, theirs)
        )
        if not own:
            continue
        name, value = own[-1]
        told.append(f"The embedded CLIP's best {title} on {dataset}, {kind}, is {value:.2f} % ({name}).")
        if other:
            gaps = ", ".join(f"{published - value:+.1f} ({name})" for name, published in other)
            told.append(f"Published {kind} rows with {backbone} differ from it, in percentage points, by {gaps}.")
    return " ".join(told)


def _ordered(values: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(values.items(), key=lambda each: each[1])
