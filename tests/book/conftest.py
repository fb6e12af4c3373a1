"""A small book of its own, to build and to break."""

import shutil
from pathlib import Path

import nbformat
import pytest

from book.layout import Layout

ROOT = Path(__file__).parents[2]


def _write_notebook(path, *cells, **metadata):
    """A notebook of a title, a parameters cell and the given cells: text as Markdown, ``(code, metadata)`` as code."""
    made = [nbformat.v4.new_markdown_cell(f"# {path.stem.capitalize()}")]
    made.append(nbformat.v4.new_code_cell('profile = "none"', metadata={"tags": ["parameters"]}))
    for cell in cells:
        made.append(
            nbformat.v4.new_markdown_cell(cell)
            if isinstance(cell, str)
            else nbformat.v4.new_code_cell(cell[0], metadata=cell[1])
        )
    for position, cell in enumerate(made):
        cell["id"] = str(position)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": kernel, **metadata})
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def _write_book(root, chapters, pages=()):
    """The project's configuration with a table of contents of its own."""
    (root / "book").mkdir(parents=True)
    shutil.copy(ROOT / "_config.yml", root)
    entries = [f"  - file: book/notebooks/{name}" for name in chapters] + [f"  - file: book/{name}" for name in pages]
    toc = ["format: jb-book", "root: book/index", "chapters:", *entries]
    (root / "book" / "_toc.yml").write_text("\n".join(toc) + "\n")
    return Layout(root)


@pytest.fixture(scope="session")
def write_notebook():
    return _write_notebook


@pytest.fixture(scope="session")
def write_book():
    return _write_book


@pytest.fixture
def small_book(tmp_path):
    """Two chapters, not executed."""
    _write_notebook(tmp_path / "notebooks" / "one.ipynb", ("print(profile)", {}))
    _write_notebook(tmp_path / "notebooks" / "two.ipynb", ("print(2)", {}))
    return _write_book(tmp_path, ["one", "two"])
