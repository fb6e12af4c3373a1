"""Notebooks run in processes of their own; a failing one is named, and leaves nothing half written."""

from functools import partial
from pathlib import Path

import nbformat
import pytest

from book import stamps
from book.execution import NotebookError, execute_all
from fer_core import experiments
from fer_core.errors import UserError

pytestmark = pytest.mark.book


@pytest.fixture(scope="module")
def book(tmp_path_factory, write_notebook, write_book):
    """A chapter that runs, and one that ran once and then broke."""
    root = tmp_path_factory.mktemp("book")
    write_notebook(root / "notebooks" / "good.ipynb", ('import os\nprint(profile, os.environ["OMP_NUM_THREADS"])', {}))
    write_notebook(root / "notebooks" / "bad.ipynb", ("print(1)", {}))
    return write_book(root, ["good", "bad"])


@pytest.fixture(scope="module")
def story(book, write_notebook):
    """What the build said: at first, with nothing to do, and with one chapter broken."""
    said = {"first": [], "again": [], "broken": []}
    execute_all(book, "smoke", 2, said["first"].append)
    assert execute_all(book, "smoke", 2, said["again"].append) == []
    write_notebook(book.root / "notebooks" / "bad.ipynb", "Some text.", ("value = 1\nvalue / 0", {}))
    with pytest.raises(NotebookError) as raised:
        execute_all(book, "smoke", 2, said["broken"].append)
    return said | {"error": str(raised.value)}


def test_notebooks_run_once(story):
    assert story["first"][:2] == [f"notebooks/{name}.ipynb: it has not been executed" for name in ("good", "bad")]
    assert story["again"] == [f"notebooks/{name}.ipynb: up to date" for name in ("good", "bad")]


def test_only_the_changed_notebook_runs_again(story):
    assert story["broken"][:2] == [
        "notebooks/good.ipynb: up to date",
        "notebooks/bad.ipynb: changed since it ran: source",
    ]


def test_a_failing_notebook_is_named_with_its_cell_and_reason(story):
    assert story["error"].startswith(
        "notebooks/bad.ipynb: cell 4 (value = 1) raised ZeroDivisionError: division by zero"
    )
    assert "\n" not in story["error"]


def test_a_failure_leaves_the_copy_of_before(story, book):
    good, bad = book.notebooks
    left = nbformat.read(book.root / bad.executed, as_version=4)
    assert [cell.source for cell in left.cells if cell.cell_type == "code"][-1] == "print(1)"
    assert stamps.stale_pages(book) == {bad.page: "changed since it ran: source"}
    assert stamps.read(book.root / good.executed).inputs.profile == "smoke"


def test_the_copy_carries_its_output_and_no_path(story, book):
    copy = nbformat.read(book.root / book.notebooks[0].executed, as_version=4)
    # Two at once share the cores; the parameters of the run replace those of the source.
    cores = copy.metadata["fer_core"]["hardware"]["cores"]
    assert copy.cells[-1].outputs[0].text == f"smoke {max(1, cores // 2)}\n"
    assert str(book.root) not in nbformat.writes(copy)


def test_injected_parameters_are_hidden(story, book):
    copy = nbformat.read(book.root / book.notebooks[0].executed, as_version=4)
    hidden = [cell.source for cell in copy.cells if "remove-cell" in cell.metadata.get("tags", [])]
    assert len(hidden) == 1
    assert 'profile = "smoke"' in hidden[0]


def test_long_notebooks_begin_first_and_other_work_beside_them(tmp_path, write_notebook, write_book):
    for name, seconds in (("short", 1), ("long", 200), ("unknown", None)):
        declared = {} if seconds is None else {"fer_core": {"seconds": seconds}}
        write_notebook(tmp_path / "notebooks" / f"{name}.ipynb", ("print(1)", {}), **declared)
    layout, said = write_book(tmp_path, ["short", "unknown", "long"]), []
    ordered = [f"notebooks/{name}.ipynb" for name in ("long", "short", "unknown")]
    made = execute_all(
        layout, "smoke", 1, said.append, beside={"a model": partial(Path.write_text, tmp_path / "made", "whole")}
    )
    assert [notebook.source for notebook, _ in made] == ordered
    assert said[3:] == ["a model: made", *(line for line in said if ": ran in" in line)]
    assert (tmp_path / "made").read_text() == "whole"
    with pytest.raises(UserError, match="unknown experiment 'none'"):
        execute_all(layout, "smoke", 1, said.append, beside={"another": partial(experiments.load, "none")})
    assert said[-1].startswith("failed: another: unknown experiment 'none'")
