"""Tables that hold published numbers beside reproduced ones; ``table_contents.py`` tells what they hold.

A cell is *published* (with the mark of its source), *reproduced* (mean and sample deviation over seeds, from records),
*not run* (with the command that would fill it), or empty where nobody reports that number. A column belongs to one data
set: what stands in it was measured on that data set and no other.
"""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from fer_core import comparing, experiments, published, records, table_definitions, table_published
from fer_core.data.layout import LAYOUTS
from fer_core.errors import unknown
from fer_core.metrics_subjects import Gain
from fer_core.published import Published
from fer_core.records import Record
from fer_core.table_contents import DEFINITIONS
from fer_core.table_definitions import Cell, Column, Definition, Ours, Row, Theirs

__all__ = [
    "Cell", "Column", "Definition", "Ours", "Row", "Table", "Theirs", "build", "caption", "fill", "gain", "names",
    "runs",
]  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table that is ready to be printed; see :mod:`fer_core.table_formats`."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """Footnotes, numbered from 1 in the order that a reader meets them."""
        return tuple(dict.fromkeys(cell.note for row in self.rows for cell in row.cells if cell.note))

    def _repr_html_(self) -> str:
        from fer_core import table_formats

        return table_formats.html(self)


def names() -> tuple[str, ...]:
    """Names of all tables: those of the book, and ``<experiment>:<ablation>`` of every ablation."""
    found = (experiments.load(name) for name in experiments.names())
    ablations = (f"{each.name}:{ablation}" for each in found for ablation in each.ablations)
    return (*(definition.name for definition in DEFINITIONS), *ablations)


def build(name: str, records_dir: Path | str | None = None, published_dir: Path | str | None = None) -> Table:
    """Fills a table from records and published numbers.

    Args:
        name: One of :func:`names`.
        records_dir: The folder of records; ``book/records`` by default.
        published_dir: The folder of published numbers; ``book/published`` by default.

    Raises:
        UserError: If there is no such table, or a record or a published file is broken.
    """
    return fill(_definition(name), records_dir, published.read(published_dir))


def caption(name: str) -> str:
    """A table's caption.

    Raises:
        UserError: If there is no such table.
    """
    return _definition(name).caption


def runs(name: str, profile: str = "full") -> list[tuple[str, dict[str, Any]]]:
    """The runs that fill the rows of ours: experiments with their settings by dotted key, each once.

    Args:
        name: One of :func:`names`.
        profile: Only rows of this profile.

    Raises:
        UserError: If there is no such table.
    """
    definition = _definition(name)
    ours = [row for row in definition.rows if isinstance(row, Ours) and row.profile == profile]
    asked = [_asked(row, column) for row in ours for column in definition.columns]
    found: list[tuple[str, dict[str, Any]]] = []
    for experiment, settings in asked:
        if _exists(experiment, profile) and (experiment, settings) not in found:
            found.append((experiment, settings))
    return found


def gain(
    name: str,
    column: str,
    first: str,
    second: str,
    records_dir: Path | str | None = None,
    classes: Sequence[str] | None = None,
) -> Gain | None:
    """What one row of ours gains over another in a column of WAR; None where a side has no records.

    Args:
        name: One of :func:`names`.
        column: Key of one of its columns of WAR, such as ``war``.
        first: Title of a row.
        second: Title of another.
        records_dir: As of :func:`build`.
        classes: Only test samples of these classes; all by default.

    Returns:
        As of :func:`fer_core.comparing.paired`, of the current records.

    Raises:
        UserError: If the table has no such row of ours, or no such column of WAR, or its data set no such class.
    """
    definition = _definition(name)
    columns = {each.key: each for each in definition.columns if each.score == "war"}
    rows = {row.title or row.method: row for row in definition.rows if isinstance(row, Ours)}
    if column not in columns:
        raise unknown(f"column of WAR of {name}", column, columns)
    sides = []
    for title in (first, second):
        if title not in rows:
            raise unknown(f"row of {name}", title, rows)
        experiment, settings = _asked(rows[title], columns[column])
        sides.append(comparing.current(experiment, rows[title].profile, settings, records_dir))
    one, two = sides
    return comparing.gain_of_records(one, two, classes)


def _asked(row: Ours, column: Column) -> tuple[str, dict[str, Any]]:
    """The experiment that fills a cell, and its settings."""
    return f"{row.method}-{column.dataset}", {**dict(row.overrides), **dict(column.overrides)}


def _exists(experiment: str, profile: str) -> bool:
    return experiment in experiments.names() and profile in experiments.load(experiment).profiles


def _definition(name: str) -> Definition:
    experiment, colon, ablation = name.partition(":")
    if colon and experiment in experiments.names() and ablation in experiments.load(experiment).ablations:
        return table_definitions.of_ablation(experiments.load(experiment), ablation)
    found = next((each for each in DEFINITIONS if each.name == name), None)
    if found is None:
        raise unknown("table", name, names())
    return found


def fill(definition: Definition, records_dir: Path | str | None, numbers: Sequence[Published]) -> Table:
    """Fills a table's definition; see :func:`build`."""
    found = cache(lambda experiment: list(records.iterate(records_dir, experiment)))  # many cells ask for the same
    rows: list[Row] = []
    for row in definition.rows:
        if isinstance(row, Ours):
            rows.append(_our_row(row, definition.columns, found))
        else:
            for theirs in table_published.rows(filter(row.fits, numbers), definition.columns):
                table_published.join(rows, theirs)
    return Table(definition.name, definition.caption, definition.columns, tuple(rows))


def _our_row(row: Ours, columns: Sequence[Column], found: Callable[[str], list[Record]]) -> Row:
    """A method's row: each column from the experiment on its own data set, with the column's own settings."""
    measured = [_Measured(row, column, found) for column in columns]
    cells = tuple(each.cell(column) for each, column in zip(measured, columns, strict=True))
    backbones = dict.fromkeys(each.backbone for each in measured if each.backbone)
    seeds = sorted({record.seed for each in measured for record in each.records})
    return Row(row.title or row.method, ", ".join(backbones) or "–", tuple(seeds), cells)


class _Measured:
    """The records of one experiment, profile and settings that a cell may use: today's, or stale ones if need be."""

    def __init__(self, row: Ours, column: Column, found: Callable[[str], list[Record]]) -> None:
        (self.name, self.asked), self.profile, self.dataset = _asked(row, column), row.profile, column.dataset
        self.exists = _exists(self.name, row.profile)
        self.records: list[Record] = []
        self.backbone, self.stale, self.fold = "", False, column.fold
        if not self.exists:
            return
        self.backbone = experiments.load(self.name).settings(row.profile, self.asked).backbone
        # What ran with other settings than the row asks for never counts as the row's own.
        own = comparing.with_settings(found(self.name), self.name, row.profile, self.asked)
        if self.fold is not None:
            own = [record for record in own if record.fold == self.fold]
        current = [record for record in own if not experiments.is_stale(record)]
        self.records = [record for runs in whole_seeds(current or own) for record in runs]
        if self.records:
            self.backbone = ", ".join(dict.fromkeys(record.backbone for record in self.records))
        tested = {(record.fold, record.fingerprint) for record in self.records}  # each fold has samples of its own
        mixed = len(tested) > len({fold for fold, _ in tested}) or len({each.weights for each in self.records}) > 1
        self.stale = bool(own) and (not current or mixed)
        known = LAYOUTS.get(self.dataset)
        self.folds = known.folds if known is not None and self.fold is None else None

    def cell(self, column: Column) -> Cell:
        """The cell of a column, which is of this data set."""
        if not self.exists:
            return Cell("empty")
        if not self.records:
            return Cell("not run", "not run", note=f"not run: {self._command()}")
        scores, folds = self._by_seed(column)
        if not scores:
            return Cell("empty")
        mean = fmean(scores)
        deviation = stdev(scores) if len(scores) > 1 and column.varies else None
        text = column.text(mean) if deviation is None else f"{column.text(mean)} ± {column.text(deviation)}"
        if self.folds is not None and len(folds) < self.folds:
            text = f"{text} ({_count(folds)} of {self.folds})"
        note = self._provenance(folds)
        return Cell("reproduced", text, mean, deviation, stale=self.stale, seeds=len(scores), note=note)

    def _by_seed(self, column: Column) -> tuple[list[float], list[int]]:
        """The score of each seed, the mean over its folds; and those folds, which are the same for all."""
        found: dict[int, list[float]] = {}
        for record in self.records:
            if (score := column.of(record)) is not None:
                found.setdefault(record.seed, []).append(score)
        return [fmean(each) for each in found.values()], sorted({each.fold for each in self.records if each.fold})

    def _provenance(self, folds: Sequence[int]) -> str:
        one = self.records[0]
        seeds = ", ".join(str(seed) for seed in dict.fromkeys(record.seed for record in self.records))
        changes = "".join(f" {_setting(key, value)}" for key, value in self.asked.items())
        measured = (
            f"reproduced: {self.name}, profile {self.profile},{changes} on {one.dataset} (data {one.fingerprint}) with "
            f"{self.backbone} (weights {one.weights}); mean and sample deviation over seeds {seeds}"
        )
        if self.fold is not None:
            measured += f", of fold {self.fold}"
        elif folds:
            measured += f", each the mean over {_count(folds)}"
        if self.folds is not None and len(folds) < self.folds:
            measured += f" (published scores are means over {self.folds}): the whole is {self._command()}"
        return f"{measured}; stale: settings, data or weights differ, run {self._command()}" if self.stale else measured

    def _command(self) -> str:
        """The command that fills the row, and what it needs."""
        verb = "sweep" if self.folds else "run"
        command, needs = f"fer-core {verb} {self.name} --profile {self.profile} --seed 0,1,2", []
        command += f" --fold {','.join(map(str, range(1, self.folds + 1)))}" if self.folds else ""
        command += f" --set data.fold={self.fold}" if self.fold else ""
        command += "".join(f" --set {_setting(key, value)}" for key, value in self.asked.items())
        both = dict.fromkeys([self.dataset, self.asked.get("train_on.dataset", self.dataset)])
        licensed = [name for name in both if not name.startswith("facs-")]
        if licensed:
            command += " --data-root FOLDER"
            needs.append(f"the images of {' and '.join(licensed)} in FOLDER")
        if ":" in self.backbone:
            needs.append(f"the weights {self.backbone} (downloaded on first use) and a GPU")
        return f"{command} (needs {' and '.join(needs)})" if needs else command


def whole_seeds(found: Sequence[Record]) -> list[list[Record]]:
    """The records of each seed that has run the most folds, and the same ones; in the order that they came."""
    seeds: dict[int, list[Record]] = {}
    for record in found:
        seeds.setdefault(record.seed, []).append(record)
    folds = {seed: {record.fold for record in runs} for seed, runs in seeds.items()}
    most = max(folds.values(), key=len, default=set())
    return [runs for seed, runs in seeds.items() if folds[seed] == most]


def _count(folds: Sequence[int]) -> str:
    return f"{'fold' if len(folds) == 1 else 'folds'} {', '.join(map(str, folds))}"


def _setting(key: str, value: Any) -> str:
    """A setting as a shell takes it."""
    return shlex.quote(f"{key}={value if isinstance(value, str) else json.dumps(value)}")
