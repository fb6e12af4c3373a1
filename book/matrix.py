"""The generated part of the front page: what of each paper was reproduced, and what was not."""

from collections.abc import Iterable
from dataclasses import dataclass

from book import markup
from book.layout import Layout
from book.status import SEEDS
from fer_core import tables
from fer_core.tables import Row, Table

_MARKS = {"all": "●", "some": "◐", "none": "○"}


@dataclass(frozen=True)
class _Paper:
    """A row of the matrix.

    Args:
        title: With its chapter.
        cells: For each column the tables that it counts; one that ends in a colon stands for all ablations of that
            experiment.
    """

    title: str
    cells: tuple[tuple[str, ...], ...]


_HEAD = (
    "Paper", "beside others, rendered faces", "beside others, photographs (FERPlus)", "ablations",
    "few shots, other data, other people", "with its own data and CLIP",
)  # fmt: skip
_STILLS = (("stills-facs-still-8",), ("stills-ferplus",))
_PAPERS = (
    _Paper(
        "[LES-CLIP](notebooks/les_clip.ipynb)",
        (*_STILLS, ("les-clip-facs-still-8:",), (), ("les-clip-main", "les-clip-affectnet-8:")),
    ),
    _Paper(
        "[MPA-FER](notebooks/mpa_fer.ipynb)",
        (
            *_STILLS,
            ("mpa-fer-facs-still-8:",),
            ("few-shot-facs-still-8", "few-shot-ferplus", "across-facs-ferplus"),
            ("mpa-fer-main", "mpa-fer-affectnet-8:"),
        ),
    ),
    _Paper(
        "[FineCLIPER](notebooks/fine_cliper.ipynb)",
        (
            ("clips-facs",),
            (),
            ("fine-cliper-facs-clip-7:", "frames-facs-clip-7"),
            ("few-shot-facs-clip-7", "clips-facs-across"),
            ("fine-cliper-main", "fine-cliper-dfew:", "fine-cliper-zero-shot"),
        ),
    ),
    _Paper(
        "[CLIP-AU and CLIP-AUTT](notebooks/clip_au.ipynb)",
        (
            ("personalisation-facs",),
            (),
            (
                "clip-au-facs-pain:", "clip-au-facs-stress:", "clip-au-facs-ambivalence:", "clip-autt-facs-pain:",
                "clip-autt-facs-stress:", "clip-autt-facs-ambivalence:",
            ),
            ("personalisation-facs-left-out",),
            ("clip-autt-main",),
        ),
    ),
)  # fmt: skip


def write(layout: Layout) -> None:
    """Writes ``book/_generated/matrix.md``, which ``book/index.md`` takes in.

    Args:
        layout: The book, with its records and published numbers.
    """
    rows = [[paper.title, *(_cell(layout, names) for names in paper.cells)] for paper in _PAPERS]
    text = markup.table(
        f"What was run of each paper's tables: rows of ours that records of {SEEDS} seeds fill", _HEAD, rows
    )
    layout.generated.mkdir(parents=True, exist_ok=True)
    (layout.generated / "matrix.md").write_text(text, encoding="utf-8")


def counted() -> set[str]:
    """Names of all tables that the matrix counts."""
    return {name for paper in _PAPERS for names in paper.cells for name in _expanded(names)}


def _expanded(names: Iterable[str]) -> list[str]:
    known = tables.names()
    return [each for name in names for each in known if each == name or (name.endswith(":") and each.startswith(name))]


def _cell(layout: Layout, names: Iterable[str]) -> str:
    folder = layout.root / "book"
    found = [tables.build(name, folder / "records", folder / "published") for name in _expanded(names)]
    states = [_is_done(row) for table in found for row in _ours(table)]
    if not states:
        return "–"
    state = "all" if all(states) else "some" if any(states) else "none"
    return f"{_MARKS[state]} {f'all {len(states)}' if state == 'all' else f'{sum(states)} of {len(states)}'}"


def _ours(table: Table) -> list[Row]:
    return [row for row in table.rows if any(cell.kind in ("reproduced", "not run") for cell in row.cells)]


def _is_done(row: Row) -> bool:
    """Whether records of today, of enough seeds, fill every cell of the row that has a value."""
    return not any(
        cell.kind == "not run" or cell.stale or (cell.kind == "reproduced" and cell.seeds < SEEDS) for cell in row.cells
    )
