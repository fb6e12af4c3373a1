"""The chapters' sources: clean, short, with their parameters and data declared, and in the table of contents."""

import ast
from pathlib import Path

import nbformat
import pytest

from book.layout import Layout
from fer_core import data

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=SOURCES, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_notebook_is_a_chapter_and_the_other_way_round():
    assert sorted(each.source for each in Layout(ROOT).notebooks) == [f"notebooks/{path.name}" for path in SOURCES]


def test_it_is_valid_and_carries_no_output(notebook):
    nbformat.validate(notebook)
    assert [cell.source for cell in _code(notebook) if cell.outputs or cell.execution_count] == []
    assert "widgets" not in notebook.metadata


def test_it_opens_with_one_title(notebook):
    assert notebook.cells[0].cell_type == "markdown"
    titles = [
        line
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("# ")
    ]
    assert len(titles) == 1
    assert notebook.cells[0].source.startswith(titles[0])


def test_one_cell_of_parameters_sets_the_quick_profile(notebook):
    (parameters,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    values = {}
    for statement in ast.parse(parameters.source).body:
        assert isinstance(statement, ast.Assign), f"expected assignments only, got {ast.unparse(statement)}"
        values[statement.targets[0].id] = ast.literal_eval(statement.value)
    assert values["profile"] == "quick"


def test_it_is_short(notebook):
    assert len(_code(notebook)) <= 25
    assert [cell.source for cell in _code(notebook) if len(cell.source.splitlines()) > 15] == []


def test_figures_have_alternative_text(notebook):
    for cell in _code(notebook):
        settings = cell.metadata.get("mystnb", {})
        if "figure" in settings or "image" in settings:
            assert settings.get("image", {}).get("alt"), f"expected image.alt in the metadata of: {cell.source}"


def test_it_declares_the_data_sets_that_it_names(notebook):
    named = {
        node.value
        for cell in _code(notebook)
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Constant) and node.value in data.names()
    }
    assert named <= set(notebook.metadata.get("fer_core", {}).get("datasets", []))


def test_it_says_how_long_it_takes(notebook):
    assert notebook.metadata["fer_core"]["seconds"] > 0
