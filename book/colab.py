"""Lets notebooks open in Colab: ``python -m book.colab`` gives each a set-up cell, for the address in ``_config.yml``.

A hosted kernel has one notebook and nothing else. The cell gets the project and installs it, and does nothing in a
checkout. While ``_config.yml`` names no repository there is nothing to get, and the notebooks have no such cell; a test
holds notebooks and configuration together.
"""

import sys
from pathlib import Path

import nbformat

from book.layout import Layout
from fer_core.errors import UserError

TAG = "setup"

_CELL = """\
# In Colab and on other hosted machines: get the project and install it. In a checkout this does nothing.
import importlib.util, os, subprocess, sys

if importlib.util.find_spec("fer_core") is None:
    subprocess.run(["git", "clone", "--depth", "1", "--branch", "{branch}", "{url}", "fer-book"], check=True)
    # Without constraints.txt: the machine's own torch knows its GPU.
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--editable", "fer-book[book]"], check=True)
    sys.path.insert(0, os.path.abspath("fer-book"))
    os.chdir("fer-book/notebooks")\
"""


def cell(layout: Layout) -> str | None:
    """The set-up cell's code; None while no repository is named.

    Raises:
        UserError: If the address or the branch could end the text that they stand in.
    """
    if layout.repository is None:
        return None
    found = {"url": layout.repository, "branch": layout.config["repository"].get("branch", "main")}
    for name, value in found.items():
        if not all(letter.isalnum() or letter in "-._~:/@+" for letter in value):
            raise UserError(f"_config.yml, repository.{name}: expected a plain address, got {value!r}; mend it")
    return _CELL.format(**found)


def with_setup(notebook: nbformat.NotebookNode, code: str | None) -> nbformat.NotebookNode:
    """The notebook with this set-up cell behind its title, in place of the one that it has, or without any."""
    cells = [each for each in notebook.cells if TAG not in each.metadata.get("tags", [])]
    if code is not None:
        made = nbformat.v4.new_code_cell(code, id=TAG, metadata={"tags": [TAG, "remove-cell"]})
        cells.insert(1, made)
    notebook.cells = cells
    return notebook


def main(root: Path | None = None) -> int:
    """Writes the set-up cell into every notebook of the book, or takes it out; returns the exit code."""
    layout = Layout(root or Path(__file__).resolve().parents[1])
    try:
        code = cell(layout)
        for each in layout.notebooks:
            path = layout.root / each.source
            before = path.read_text(encoding="utf-8")
            notebook = with_setup(nbformat.reads(before, as_version=4), code)
            after = nbformat.writes(notebook) + "\n"
            if after != before:
                path.write_text(after, encoding="utf-8")
                print(f"{each.source}: {'set-up cell written' if code else 'set-up cell taken out'}")
    except UserError as error:
        print(f"book.colab: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
