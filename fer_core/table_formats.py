"""Prints a table as Markdown, CSV, LaTeX, HTML or JSON."""

import csv
import io
import json
import re
from collections.abc import Callable
from html import escape
from typing import Any

from fer_core.published import MARKS
from fer_core.tables import Cell, Row, Table

_STUB = ("Method", "Backbone", "Seeds")
_FEW_NOTES = 3  # more than that are folded below an HTML table


def _seeds(row: Row) -> str:
    """How many seeds the row's cells are means over: a number, or the least and the most."""
    counts = sorted({cell.seeds for cell in row.cells if cell.seeds})
    return "–".join(map(str, counts[:: max(1, len(counts) - 1)])) or "–"


def _text(cell: Cell) -> str:
    return f"{cell.text} (stale)" if cell.stale else cell.text


def _number(table: Table, cell: Cell) -> int | None:
    """The number of a cell's footnote."""
    return table.notes.index(cell.note) + 1 if cell.note else None


def _legend(table: Table) -> dict[str, str]:
    """What the letters that the table uses stand for, in the order of :data:`MARKS`."""
    used = {cell.status for row in table.rows for cell in row.cells}
    return {letter: f"{status}, {meaning}" for status, (letter, meaning) in MARKS.items() if status in used}


def _titles(table: Table) -> list[str]:
    return [*_STUB, *(column.title for column in table.columns)]


def markdown(table: Table) -> str:
    """A pipe table with its caption above and its notes below."""

    def plain(text: str) -> str:
        return re.sub(r"([\\|*_<>`~])", r"\\\1", text)

    def line(values: list[str]) -> str:
        return "| " + " | ".join(plain(value) for value in values) + " |"

    def shown(cell: Cell) -> str:
        mark = f" {MARKS[cell.status][0]}" if cell.status else ""
        number = _number(table, cell)
        return _text(cell) + mark + (f" [{number}]" if number else "")

    rule = "|" + " --- |" * len(_STUB) + " ---: |" * len(table.columns)
    lines = [f"**{plain(table.caption)}**", "", line(_titles(table)), rule]
    for row in table.rows:
        lines.append(line([row.method, row.backbone, _seeds(row), *(shown(cell) for cell in row.cells)]))
    below = ["; ".join(f"{letter}: {meaning}" for letter, meaning in _legend(table).items())]
    below += [f"[{number}] {note}" for number, note in enumerate(table.notes, start=1)]
    for note in filter(None, below):
        lines += ["", plain(note)]
    return "\n".join(lines) + "\n"


def csv_text(table: Table) -> str:
    """One line a cell, with everything that is known of it; numbers in percent, as precise as they are."""
    out = io.StringIO()
    cells = [
        {
            "table": table.name, "method": row.method, "backbone": row.backbone, "seeds": " ".join(map(str, row.seeds)),
            "dataset": column.dataset, "column": column.key, **_facts(cell),
        }
        for row in table.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
    ]  # fmt: skip
    writer = csv.DictWriter(out, list(cells[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells)
    return out.getvalue()


def _facts(cell: Cell) -> dict[str, Any]:
    names = ("kind", "value", "deviation", "status", "stale", "seeds", "note")
    return {name: getattr(cell, name) for name in names}


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "–": "--",
}  # fmt: skip


# A command of a footnote, up to what it needs: in the typewriter font, and without TeX's dashes and curly quotes.
_COMMAND = re.compile(r"fer-core \w.*?(?= \(needs |; |$)")


def _tex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _tex_note(note: str) -> str:
    pieces, end = [], 0
    for found in _COMMAND.finditer(note):
        command = _tex(found[0]).replace("--", "-{}-").replace("'", r"\textquotesingle{}")
        pieces += [_tex(note[end : found.start()]), rf"\texttt{{{command}}}"]
        end = found.end()
    return "".join([*pieces, _tex(note[end:])])


def latex(table: Table) -> str:
    """A ``table`` environment for the package booktabs; its notes stand below the rules."""

    def shown(cell: Cell) -> str:
        marks = [MARKS[cell.status][0]] if cell.status else []
        number = _number(table, cell)
        if number:
            marks.append(str(number))
        return _tex(_text(cell)) + (rf"\textsuperscript{{{','.join(marks)}}}" if marks else "")

    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_tex(table.caption)}}}",
        rf"  \label{{tab:{table.name}}}",
        rf"  \begin{{tabular}}{{ll{'r' * (1 + len(table.columns))}}}",
        r"    \toprule",
        "    " + " & ".join(map(_tex, _titles(table))) + r" \\",
        r"    \midrule",
    ]
    for row in table.rows:
        stub = [_tex(text) for text in (row.method, row.backbone, _seeds(row))]
        lines.append("    " + " & ".join([*stub, *(shown(cell) for cell in row.cells)]) + r" \\")
    lines += [r"    \bottomrule", r"  \end{tabular}"]
    below = {**_legend(table), **{str(number): note for number, note in enumerate(table.notes, start=1)}}
    if below:
        notes = [rf"  \textsuperscript{{{mark}}} {_tex_note(note)}\par" for mark, note in below.items()]
        lines += [r"  \par\smallskip", r"  {\footnotesize\raggedright", *notes, "  }"]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _shared(table: Table) -> dict[int, str]:
    """Columns of the stub in which all rows agree, by place: what the caption may say once, in a few words."""
    backbones, seeds = {row.backbone for row in table.rows}, {_seeds(row) for row in table.rows}
    told = {}
    if len(table.rows) > 1 and len(backbones) == 1:
        told[_STUB.index("Backbone")] = f"backbone {backbones.pop()}"
    if len(table.rows) > 1 and len(seeds) == 1:
        count = seeds.pop()
        told[_STUB.index("Seeds")] = "" if count == "–" else f"{count} seed{'s' * (count != '1')}"
    return told


def html(table: Table) -> str:
    """A table with caption, headers that have a scope, and notes that are linked from their cells.

    Backbone and number of seeds stand in the caption where all rows have the same, so that a page is wide enough.
    """
    base, legend, shared = escape(table.name), _legend(table), _shared(table)
    every = ", ".join(filter(None, shared.values()))
    caption = f"{table.caption} Every row: {every}." if every else table.caption
    titles = [title for place, title in enumerate(_titles(table)) if place not in shared]

    def shown(cell: Cell) -> str:
        marks = []
        if cell.status:
            letter = MARKS[cell.status][0]
            marks.append(f'<abbr title="{escape(legend[letter])}">{letter}</abbr>')
        number = _number(table, cell)
        if number:
            marks.append(f'<a href="#{base}-note-{number}" aria-label="note {number}">{number}</a>')
        return escape(_text(cell)) + (f" <sup>{' '.join(marks)}</sup>" if marks else "")

    # The theme keeps tables of the class "dataframe" readable on a dark page.
    opening = f'<table class="fer-table dataframe" id="{base}">'
    lines = [opening, f"<caption>{escape(caption)}</caption>", "<thead><tr>"]
    lines += [f'<th scope="col">{escape(title)}</th>' for title in titles]
    lines += ["</tr></thead>", "<tbody>"]
    for row in table.rows:
        stub = f'<th scope="row">{escape(row.method)}</th>'
        told = enumerate((row.backbone, _seeds(row)), start=1)
        stub += "".join(f"<td>{escape(text)}</td>" for place, text in told if place not in shared)
        cells = "".join(f'<td class="{cell.kind.replace(" ", "-")}">{shown(cell)}</td>' for cell in row.cells)
        lines.append(f"<tr>{stub}{cells}</tr>")
    lines += ["</tbody>", "</table>"]
    if legend:
        lines.append(f"<p>{escape('; '.join(f'{letter}: {meaning}' for letter, meaning in legend.items()))}</p>")
    if table.notes:
        items = [f'<li id="{base}-note-{at}">{escape(note)}</li>' for at, note in enumerate(table.notes, start=1)]
        summary = f"<summary>{len(items)} notes</summary>" if len(items) > 1 else "<summary>1 note</summary>"
        # A link to a note opens what is folded.
        lines += [f"<details{' open' * (len(items) <= _FEW_NOTES)}>{summary}", "<ol>", *items, "</ol></details>"]
    return "\n".join(lines) + "\n"


def json_text(table: Table) -> str:
    """Everything that the table knows; numbers in percent."""
    keys = [column.key for column in table.columns]
    rows = [
        {
            "method": row.method,
            "backbone": row.backbone,
            "seeds": list(row.seeds),
            "cells": {key: _facts(cell) for key, cell in zip(keys, row.cells, strict=True)},
        }
        for row in table.rows
    ]
    columns = [
        {"key": each.key, "title": each.title, "dataset": each.dataset, "score": each.score, "part": each.part}
        for each in table.columns
    ]
    values = {"name": table.name, "caption": table.caption, "columns": columns, "rows": rows}
    return json.dumps(values, indent=1) + "\n"  # for any terminal


FORMATS: dict[str, Callable[[Table], str]] = {
    "markdown": markdown, "csv": csv_text, "latex": latex, "html": html, "json": json_text,
}  # fmt: skip
