"""What a table is made of: columns, rows from records and from published numbers, and their cells."""

from dataclasses import dataclass
from typing import Any, Literal

from fer_core import data
from fer_core.errors import UserError
from fer_core.experiments import measuring
from fer_core.experiments.loading import Experiment
from fer_core.published import Published
from fer_core.records import Record

Score = Literal[
    "war", "uar", "f1", "recall", "look-alikes", "index", "attributes", "captions", "most", "parameters", "flops"
]

# Where a record's metrics keep the scores that not every run has.
_PARTS = {
    "look-alikes": ("entanglement", "share"), "index": ("entanglement", "index"),
    "attributes": ("generality", "attributes"), "captions": ("generality", "captions"),
}  # fmt: skip

# What is told of the method and not of how well it does: the same for every seed.
_OF_THE_METHOD = {"parameters": "trainable_parameters", "flops": "flops"}


@dataclass(frozen=True)
class Column:
    """A score on a data set.

    Args:
        key: Short name, for JSON and CSV.
        title: What heads the column.
        dataset: Name of the data set.
        score: ``war``, ``uar``, ``f1`` or the ``recall`` of one class in percent; ``look-alikes``, the
            percentage of the errors that falls on a look-alike; ``index``, the entanglement index of the
            logits; ``attributes`` and ``captions``, what the features still know of the rest, in percent;
            ``most``, the percentage of predictions that say the class said most; ``parameters`` that are
            trained, and ``flops`` of one sample, in millions.
        part: ``all`` of the test split, ``deduplicated``, ``test chosen`` (what choosing the epoch by its test score
            would have given), or ``by subject``: the mean over people.
        overrides: Settings of the column, by dotted key, such as a number of shots.
        label: The class of ``recall``.
        fold: Only this fold, from 1; None for the mean over all.
    """

    key: str
    title: str
    dataset: str
    score: Score
    part: Literal["all", "deduplicated", "test chosen", "by subject"] = "all"
    overrides: tuple[tuple[str, Any], ...] = ()
    label: str | None = None
    fold: int | None = None

    @property
    def varies(self) -> bool:
        """Whether seeds may differ in it."""
        return self.score not in _OF_THE_METHOD

    def text(self, value: float) -> str:
        """A value as the column prints it."""
        if self.score == "parameters":
            return f"{value:,.0f}"
        digits = {"index": 3, "recall": 1}.get(self.score, 2)  # recalls are of few samples, and many stand in a row
        return f"{value:.{digits}f}"

    def of(self, record: Record) -> float | None:
        """The score; None where the record has no such part.

        Raises:
            UserError: If the record was measured on another data set.
        """
        if record.dataset != self.dataset:
            raise UserError(
                f"record {record.path}: expected one measured on {self.dataset}, got {record.dataset}; delete it"
            )
        if self.score in _OF_THE_METHOD:
            value = getattr(record, _OF_THE_METHOD[self.score])
            return value / 1e6 if self.score == "flops" else value
        if self.score == "most":
            people = record.metrics.get("by_subject")
            return None if people is None else 100 * max(people["shares"].values())
        if self.score in _PARTS:
            part, name = _PARTS[self.score]
            value = record.metrics.get(part, {}).get(name)
            return value if value is None or self.score == "index" else 100 * value
        scores = record.metrics
        if self.part == "test chosen":
            scores = record.selection["test_chosen"]
        elif self.part != "all":
            scores = record.metrics.get(self.part.replace(" ", "_"))
        value = None if scores is None else scores[self.score]
        if self.label is not None and value is not None:
            value = value[self.label]
        return None if value is None else 100 * value


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Args:
        kind: What it is.
        text: What it shows, without marks.
        value: Percent; None without a number.
        deviation: Sample standard deviation over seeds; None with fewer than two.
        status: Mark of a published number.
        stale: Whether its records were measured with settings, data or weights that are no longer today's.
        seeds: Number of seeds that it is a mean over; 0 for published numbers.
        note: What a footnote says of it; empty for none.
    """

    kind: Literal["published", "reproduced", "not run", "empty"]
    text: str = "–"
    value: float | None = None
    deviation: float | None = None
    status: str | None = None
    stale: bool = False
    seeds: int = 0
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One row of a table: ``seeds`` are those of any cell, empty for published rows."""

    method: str
    backbone: str
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Ours:
    """A row to be filled from records of ``<method>-<dataset of the column>``.

    Args:
        method: Name of the method.
        profile: The profile whose records count.
        title: What the row is called; the method's name by default.
        overrides: Settings of the row, by dotted key: only records of runs with just these count.
    """

    method: str
    profile: str = "full"
    title: str = ""
    overrides: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Theirs:
    """Rows to be filled from published numbers.

    Args:
        paper: As in the published files.
        table: As in the published files.
        methods: Only these; empty for all.
    """

    paper: str
    table: str
    methods: tuple[str, ...] = ()

    def fits(self, number: Published) -> bool:
        """Whether a published number belongs to these rows."""
        wanted = not self.methods or number.method in self.methods
        return (number.paper, number.table) == (self.paper, self.table) and wanted


@dataclass(frozen=True)
class Definition:
    """What a table shows.

    Args:
        name: The table's name.
        caption: One or two sentences.
        columns: Its scores.
        rows: Its rows, from top to bottom.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Ours | Theirs, ...]


def of_ablation(experiment: Experiment, name: str) -> Definition:
    """The table of one of an experiment's ablations."""
    ablation, dataset = experiment.ablations[name], experiment.dataset
    if measuring.is_by_subject(dataset):  # two classes, of which none is another's look-alike
        scores: tuple[tuple[str, Score], ...] = (("WAR", "war"), ("F1", "f1"), ("UAR", "uar"))
        columns = [Column(score, title, dataset, score, "by subject") for title, score in scores]
    else:
        columns = [Column("war", "WAR", dataset, "war"), Column("uar", "UAR", dataset, "uar")]
        columns.append(Column("look_alikes", "errors on look-alikes", dataset, "look-alikes"))
        columns.append(Column("index", "entanglement index", dataset, "index"))
    columns.append(Column("parameters", "trained parameters", dataset, "parameters"))
    if data.kind(dataset) == "clips":  # streams and frames cost what adapters do not tell
        columns.append(Column("flops", "million operations a clip", dataset, "flops"))
    rows = []
    for title, row in ablation.rows.items():
        other = row if isinstance(row, str) else None
        method = other.removesuffix(f"-{dataset}") if other else experiment.method
        rows.append(Ours(method, ablation.profile, title, tuple(ablation.settings(title).items())))
    return Definition(f"{experiment.name}:{name}", ablation.caption, tuple(columns), tuple(rows))
