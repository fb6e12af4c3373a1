"""Pieces of Markdown that generated pages are made of."""

from collections.abc import Iterable, Sequence


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a caption, in MyST's directive: its cells may hold what a Markdown table's cannot.

    Args:
        caption: Above it.
        head: Its first row.
        rows: As many cells each; where there are none, a line says so.
    """
    rows = list(rows)
    if not rows:
        return f"{caption}: none.\n"
    lines = [f"```{{list-table}} {caption}", ":header-rows: 1", ""]
    for row in [head, *rows]:
        lines += [f"{'* -' if column == 0 else '  -'} {cell}" for column, cell in enumerate(row)]
    return "\n".join([*lines, "```", ""])
