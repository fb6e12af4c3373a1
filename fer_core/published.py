"""Published numbers, each with the mark of where it was taken from."""

import csv
from dataclasses import dataclass, fields
from pathlib import Path

from fer_core.errors import UserError
from fer_core.records import book_folder

#: What a number's source is, by status, and the letter that stands behind the number in a table.
MARKS = {
    "primary": ("p", "read in a paper or on its authors' pages, which quote others' methods, too"),
    "secondary": ("s", "quoted by others, not checked against the paper"),
    "digitised": ("d", "read off a figure, approximate"),
    "derived": ("c", "computed from other published numbers"),
}


@dataclass(frozen=True)
class Published:
    """One published number.

    Args:
        paper: Paper or collection that it stands in.
        table: Table in that paper.
        method: The method's name there.
        backbone: The method's backbone; may be empty.
        year: Year of the method, or of the run.
        dataset: The data set's name there.
        metric: What was measured, with its unit where it is not obvious.
        value: The number as printed; a few settings are words.
        status: A key of :data:`MARKS`.
        note: What a reader must know of it; may be empty.
        source: Where it was read; empty for what was derived here.
    """

    paper: str
    table: str
    method: str
    backbone: str
    year: str
    dataset: str
    metric: str
    value: str
    status: str
    note: str
    source: str

    @property
    def marked(self) -> str:
        """The value with its mark behind it, such as ``26.4 d``."""
        return f"{self.value} {MARKS[self.status][0]}"


COLUMNS = tuple(field.name for field in fields(Published))


def read(folder: Path | str | None = None) -> tuple[Published, ...]:
    """All published numbers, in the order of files and rows.

    Args:
        folder: Where the CSV files lie; ``book/published`` by default.

    Raises:
        UserError: If there is no file, or one has other columns or an unknown status.
    """
    root = Path(folder) if folder is not None else book_folder() / "published"
    paths = sorted(root.glob("*.csv"))
    if not paths:
        raise UserError(f"expected published numbers (*.csv) in {root}, found none; run from a checkout of the project")
    return tuple(row for path in paths for row in read_file(path))


def read_file(path: Path) -> list[Published]:
    """The published numbers of one file; see :func:`read`."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = tuple(next(reader, ()))
        if header != COLUMNS:
            raise UserError(f"{path}: expected the columns {', '.join(COLUMNS)}, got {', '.join(header)}; rename them")
        rows = []
        for values in reader:
            if len(values) != len(COLUMNS):
                raise UserError(
                    f"{path}, line {reader.line_num}: expected {len(COLUMNS)} values, got {len(values)}; quote commas"
                )
            row = Published(*values)
            if row.status not in MARKS:
                raise UserError(
                    f"{path}, line {reader.line_num}: expected a status of {', '.join(MARKS)}, got {row.status!r}; "
                    "write one of them"
                )
            rows.append(row)
    return rows
