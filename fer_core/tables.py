"""Tables that hold published numbers beside reproduced ones.

A cell is *published* (with the mark of its source), *reproduced* (mean and sample deviation over seeds, from records),
*not run* (with the command that would fill it), or empty where nobody reports that number. A column belongs to one data
set: what stands in it was measured on that data set and no other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal

from fer_core import experiments, published, records
from fer_core.errors import UserError, unknown
from fer_core.published import Published
from fer_core.records import Record

# The scores of records that published metrics are compared with; accuracy is what WAR is.
_SCORES = {"WAR": "war", "accuracy_%": "war", "UAR": "uar"}


@dataclass(frozen=True)
class Column:
    """A score on a data set.

    Args:
        key: Short name, for JSON and CSV.
        title: What heads the column.
        dataset: Name of the data set.
        score: ``war`` or ``uar``.
        part: ``all`` of the test split, ``deduplicated``, or ``test chosen``: what choosing the epoch by its test
            score would have given.
    """

    key: str
    title: str
    dataset: str
    score: Literal["war", "uar"]
    part: Literal["all", "deduplicated", "test chosen"] = "all"

    def of(self, record: Record) -> float | None:
        """The score in percent; None where the record has no such part.

        Raises:
            UserError: If the record was measured on another data set.
        """
        if record.dataset != self.dataset:
            raise UserError(
                f"record {record.path}: expected one measured on {self.dataset}, got {record.dataset}; delete it"
            )
        scores = record.metrics
        if self.part == "test chosen":
            scores = record.selection["test_chosen"]
        elif self.part != "all":
            scores = record.metrics.get(self.part)
        return None if scores is None else 100 * scores[self.score]


@dataclass(frozen=True)
class Ours:
    """A row to be filled from records of ``<method>-<dataset of the column>``.

    Args:
        method: Name of the method.
        profile: The profile whose records count.
    """

    method: str
    profile: str = "full"


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
        note: What a footnote says of it; empty for none.
    """

    kind: Literal["published", "reproduced", "not run", "empty"]
    text: str = "–"
    value: float | None = None
    deviation: float | None = None
    status: str | None = None
    stale: bool = False
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One row of a table: ``seeds`` is empty for published rows."""

    method: str
    backbone: str
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]


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


_BASELINES = ("zero-shot", "linear-probe", "coop", "full-fine-tuning")

_DEFINITIONS = (
    Definition(
        "baselines-facs-still-8",
        "Baselines of the embedded CLIP on rendered faces, eight expressions (facs-still-8, test split), in percent.",
        (
            Column("war", "WAR", "facs-still-8", "war"),
            Column("uar", "UAR", "facs-still-8", "uar"),
            Column("war_test_chosen", "WAR if chosen on test", "facs-still-8", "war", "test chosen"),
        ),
        tuple(Ours(method) for method in _BASELINES),
    ),
    Definition(
        "baselines-ferplus",
        "Baselines on FERPlus (eight classes, majority of the votes, official test split), in percent; de-duplicated: "
        "without test images that are also in the training split.",
        (
            Column("war", "WAR", "ferplus", "war"),
            Column("uar", "UAR", "ferplus", "uar"),
            Column("war_deduplicated", "WAR, de-duplicated", "ferplus", "war", "deduplicated"),
            Column("uar_deduplicated", "UAR, de-duplicated", "ferplus", "uar", "deduplicated"),
            Column("war_test_chosen", "WAR if chosen on test", "ferplus", "war", "test chosen"),
        ),
        (
            *(Ours(method) for method in _BASELINES),
            *(Ours(method, "paper") for method in _BASELINES),
            Theirs("Exp-CLIP", "zero-shot FER"),
            Theirs("MPA-FER", "main comparison", ("MPA-FER", "CLIPER", "CEPrompt")),
            Theirs("other", "static FER comparison methods"),
        ),
    ),
)


def names() -> tuple[str, ...]:
    """Names of all tables."""
    return tuple(definition.name for definition in _DEFINITIONS)


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


def _definition(name: str) -> Definition:
    if name not in names():
        raise unknown("table", name, names())
    return next(each for each in _DEFINITIONS if each.name == name)


def fill(definition: Definition, records_dir: Path | str | None, numbers: Sequence[Published]) -> Table:
    """Fills a table's definition; see :func:`build`."""
    rows: list[Row] = []
    for row in definition.rows:
        if isinstance(row, Ours):
            rows.append(_our_row(row, definition.columns, records_dir))
        else:
            rows.extend(_their_rows(filter(row.fits, numbers), definition.columns))
    return Table(definition.name, definition.caption, definition.columns, tuple(rows))


def _their_rows(numbers: Iterable[Published], columns: Sequence[Column]) -> list[Row]:
    """One row a method and backbone, where it has a number for one of the columns."""
    found: dict[tuple[str, str], dict[tuple[str, str], Cell]] = {}
    for number in numbers:
        score = _SCORES.get(number.metric)
        place = (number.dataset.lower(), score or "")
        if not any(place == (column.dataset, column.score) for column in columns):
            continue
        note = "; ".join(part for part in (number.note, number.source) if part)
        cells = found.setdefault((number.method, number.backbone), {})
        cells[place] = Cell("published", number.value, float(number.value), status=number.status, note=note)
    return [
        Row(method, backbone or "–", (), tuple(
            cells.get((column.dataset, column.score), Cell("empty")) if column.part == "all" else Cell("empty")
            for column in columns
        ))
        for (method, backbone), cells in found.items()
    ]  # fmt: skip


def _our_row(row: Ours, columns: Sequence[Column], folder: Path | str | None) -> Row:
    """A method's row: each column from the experiment on its own data set."""
    by_dataset = {column.dataset: _Measured(row, column.dataset, folder) for column in columns}
    cells = tuple(by_dataset[column.dataset].cell(column) for column in columns)
    backbones = dict.fromkeys(measured.backbone for measured in by_dataset.values() if measured.backbone)
    seeds = sorted({record.seed for measured in by_dataset.values() for record in measured.records})
    return Row(row.method, ", ".join(backbones) or "–", tuple(seeds), cells)


class _Measured:
    """The records of one experiment and profile that a table may use: today's, or stale ones if there are no others."""

    def __init__(self, row: Ours, dataset: str, folder: Path | str | None) -> None:
        self.name, self.profile, self.dataset = f"{row.method}-{dataset}", row.profile, dataset
        self.exists = self.name in experiments.names() and row.profile in experiments.load(self.name).profiles
        self.records: list[Record] = []
        self.backbone, self.stale = "", False
        if not self.exists:
            return
        self.backbone = experiments.load(self.name).settings(row.profile).backbone
        # A variant ran with settings that are not the experiment's: it never counts as the experiment's own.
        own = [
            record
            for record in records.iterate(folder, self.name)
            if record.profile == row.profile and record.variant is None
        ]
        current = [record for record in own if not experiments.is_stale(record)]
        self.records = current or own
        if self.records:
            self.backbone = ", ".join(dict.fromkeys(record.backbone for record in self.records))
        mixed = len({(record.fingerprint, record.weights) for record in self.records}) > 1
        self.stale = bool(own) and (not current or mixed)

    def cell(self, column: Column) -> Cell:
        """The cell of a column, which is of this data set."""
        if not self.exists:
            return Cell("empty")
        if not self.records:
            return Cell("not run", "not run", note=f"not run: {self._command()}")
        scores = [score for record in self.records if (score := column.of(record)) is not None]
        if not scores:
            return Cell("empty")
        mean = fmean(scores)
        deviation = stdev(scores) if len(scores) > 1 else None
        text = f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"
        return Cell("reproduced", text, mean, deviation, stale=self.stale, note=self._provenance())

    def _provenance(self) -> str:
        one = self.records[0]
        seeds = ", ".join(str(record.seed) for record in self.records)
        measured = (
            f"reproduced: {self.name}, profile {self.profile}, on {one.dataset} (data {one.fingerprint}) with "
            f"{self.backbone} (weights {one.weights}); mean and sample deviation over seeds {seeds}"
        )
        return f"{measured}; stale: settings, data or weights differ, run {self._command()}" if self.stale else measured

    def _command(self) -> str:
        """The command that fills the row, and what it needs."""
        command, needs = f"fer-core run {self.name} --profile {self.profile} --seed 0,1,2", []
        if not self.dataset.startswith("facs-"):
            command += " --data-root FOLDER"
            needs.append(f"the images of {self.dataset} in FOLDER")
        if ":" in self.backbone:
            needs.append(f"the weights {self.backbone} (downloaded on first use) and a GPU")
        return f"{command} (needs {' and '.join(needs)})" if needs else command
