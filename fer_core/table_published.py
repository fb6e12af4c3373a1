"""Rows of tables from published numbers: the cell of each, and what two sources print of one method."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fer_core import published
from fer_core.published import Published
from fer_core.table_definitions import Cell, Column, Row

# The scores of records that published metrics are compared with; accuracy is what WAR is.
_SCORES = {"WAR": "war", "accuracy_%": "war", "accuracy_%_derived": "war", "UAR": "uar", "F1": "f1"}

# Published tables of recalls say an adjective where the data sets' own names have a noun.
_CLASSES = {"happy": "happiness", "sad": "sadness"}
_RECALL = "acc_"

# "DFEW fd1" is its first fold; what stands in brackets tells whose run it was, or of which samples.
_DATASET = re.compile(r"(?P<name>.+?)(?: fd(?P<fold>\d))?(?: \((?P<which>[^()]+)\))?")

#: What brackets say of the numbers that a paper reports itself, as opposed to a later run.
_OWN = "reported"

_Place = tuple[str, str, str | None, int | None]  # data set, score, class and fold


def rows(numbers: Iterable[Published], columns: Sequence[Column]) -> list[Row]:
    """One row for each method, backbone and source that has a number for one of the columns.

    Args:
        numbers: Published numbers, of which some may belong to no column.
        columns: The table's.
    """
    wanted = [_place_of(column) for column in columns]
    found: dict[tuple[str, str, str], dict[_Place, Cell]] = {}
    for number in numbers:
        method, place = _placed(number)
        if place is None or place not in wanted:
            continue
        note = "; ".join(part for part in (number.note, number.source) if part)
        cell = Cell("published", number.value, float(number.value), status=number.status, note=note)
        found.setdefault((method, number.backbone, number.source), {})[place] = cell
    return [
        Row(
            method,
            backbone or "–",
            (),
            tuple(Cell("empty") if place is None else cells.get(place, Cell("empty")) for place in wanted),
        )
        for (method, backbone, _), cells in found.items()
    ]


def join(known: list[Row], new: Row) -> None:
    """Adds a published row; one row for what two sources print of a method, where they do not disagree.

    Sources name one backbone in many ways, or none, so numbers tell: two equal ones, or one where a source names none.

    Args:
        known: The rows so far, ours among them, which stay as they are.
        new: The row to add.
    """
    for place, old in enumerate(known):
        ours = any(cell.kind in ("reproduced", "not run") for cell in old.cells)
        if ours or _spelled(old.method) != _spelled(new.method):
            continue
        both = list(zip(old.cells, new.cells, strict=True))
        told = [one.value == other.value for one, other in both if None not in (one.value, other.value)]
        enough = 1 if "–" in (old.backbone, new.backbone) else 2
        if all(told) and (_spelled(old.backbone) == _spelled(new.backbone) or len(told) >= enough):
            backbone = new.backbone if old.backbone == "–" else old.backbone
            cells = tuple(_better(one, other) for one, other in both)
            known[place] = replace(old, backbone=backbone, cells=cells)
            return
    known.append(new)


def _placed(number: Published) -> tuple[str, _Place | None]:
    """The method as a table says it, and the place of a number; None for what no table shows."""
    metric = number.metric
    label = _CLASSES.get(word := metric.removeprefix(_RECALL).lower(), word) if metric.startswith(_RECALL) else None
    score = "recall" if label else _SCORES.get(metric)
    match = _DATASET.fullmatch(number.dataset)
    if match is None or score is None:
        return number.method, None
    which = match["which"]
    method = number.method if which in (None, _OWN) else f"{number.method}, {which}"
    return method, (match["name"].lower(), score, label, int(match["fold"]) if match["fold"] else None)


def _place_of(column: Column) -> _Place | None:
    """The place of the numbers that a column shows; None for what nobody prints."""
    if column.part not in ("all", "by subject"):
        return None
    return column.dataset, column.score, column.label, column.fold


def _spelled(name: str) -> str:
    """A name, however it is spelled: ResNet-50 and ResNet50 are the same."""
    return re.sub(r"[\s-]", "", name).lower()


def _better(one: Cell, other: Cell) -> Cell:
    """Of two cells that do not disagree the one whose source is nearer to the authors, with the notes of both."""
    if "empty" in (one.kind, other.kind):
        return other if one.kind == "empty" else one
    marks = list(published.MARKS)
    first, second = sorted((one, other), key=lambda cell: marks.index(cell.status or marks[-1]))
    return replace(first, note="; ".join(dict.fromkeys(note for note in (first.note, second.note) if note)))
