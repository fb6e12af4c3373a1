"""The front page counts rows that records fill, and no table is forgotten."""

from dataclasses import replace

import pytest

from book import matrix
from fer_core import tables
from fer_core.tables import Cell, Row, Table

# Other pages show what these are about: baselines, all methods, what is kept besides expressions, who collapsed, wrong
# labels, why methods of other papers end where they do.
ELSEWHERE = {
    "baselines-facs-still-8", "baselines-ferplus", "generality-facs-still-8", "mpa-fer-generality", "methods",
    "personalisation-facs-collapse", "label-noise-facs-still-8", "coop-facs-still-8:length",
    "maple-facs-still-8:length", "promptsrc-facs-still-8:hold", "classes-facs-clip-7", "classes-facs-clip-11",
    "classes-dfew", "classes-ferv39k", "classes-mafw", "folds-dfew", "folds-mafw",
}  # fmt: skip
FULL = (0, 1, 2)
REPRODUCED, NOT_RUN, PUBLISHED = Cell("reproduced", "1", seeds=3), Cell("not run", "not run"), Cell("published", "2")


def test_every_table_is_counted():
    assert matrix.counted() == set(tables.names()) - ELSEWHERE


@pytest.mark.parametrize(("rows", "told"), [
    ([(FULL, REPRODUCED, REPRODUCED), (FULL, REPRODUCED, Cell("empty"))], "● all 2"),
    ([(FULL, REPRODUCED, REPRODUCED), ((), PUBLISHED, PUBLISHED), (FULL, REPRODUCED, NOT_RUN)], "◐ 1 of 2"),
    ([(FULL, REPRODUCED), (FULL, REPRODUCED, replace(REPRODUCED, seeds=2))], "◐ 1 of 2"),
    ([(FULL, replace(REPRODUCED, stale=True))], "○ 0 of 1"),
    ([((), NOT_RUN), ((), NOT_RUN), ((), PUBLISHED)], "○ 0 of 2"),
    ([((), PUBLISHED)], "–"),
])  # fmt: skip
def test_a_cell_counts_rows_of_ours(rows, told, small_book, monkeypatch):
    made = Table("clips-facs", "", (), tuple(Row("m", "b", seeds, tuple(cells)) for seeds, *cells in rows))
    asked = []
    monkeypatch.setattr(tables, "build", lambda *arguments: asked.append(arguments) or made)
    assert matrix._cell(small_book, ["clips-facs"]) == told
    assert asked == [("clips-facs", small_book.root / "book" / "records", small_book.root / "book" / "published")]


def test_the_matrix_has_a_row_for_each_paper(small_book, monkeypatch):
    empty = Table("t", "", (), (Row("m", "b", (), (NOT_RUN,)),))
    monkeypatch.setattr(tables, "build", lambda *arguments: empty)
    matrix.write(small_book)
    text = (small_book.generated / "matrix.md").read_text()
    for paper in ("LES-CLIP", "MPA-FER", "FineCLIPER", "CLIP-AUTT"):
        assert text.count(f"* - [{paper}") + text.count(f"* - {paper}") + text.count(f"and {paper}]") == 1
    cells = [line for line in text.splitlines() if line.startswith("  - ")]
    assert len(cells) == 5 * 5
