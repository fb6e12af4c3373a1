"""The book's files as its table of contents and configuration name them."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from book.layout import Notebook
from fer_core.errors import UserError


def test_notebooks_are_the_pages_made_of_executed_copies(small_book):
    assert small_book.pages == ["book/index", "book/notebooks/one", "book/notebooks/two"]
    assert small_book.notebooks[1] == Notebook("book/notebooks/two", "notebooks/two.ipynb", "book/notebooks/two.ipynb")


def test_a_chapter_without_a_notebook_is_named(small_book):
    (small_book.root / "notebooks" / "two.ipynb").unlink()
    with pytest.raises(UserError, match=r"expected notebooks/two\.ipynb for the page book/notebooks/two"):
        _ = small_book.notebooks


def test_the_repository_is_unset_or_its_address(small_book):
    assert small_book.repository is None
    small_book.config["repository"]["url"] = "https://example.org/owner/name"
    assert small_book.repository == "https://example.org/owner/name"


def test_evidence_is_records_and_published_numbers(small_book):
    evidence = ("records/coop/full-seed0.json", "published/a.csv", "atlas/coop.json", "atlas/coop.safetensors")
    for name in (*evidence, "published/notes.txt", "page.md"):
        path = small_book.root / "book" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert {path.relative_to(small_book.root / "book").as_posix() for path in small_book.evidence} == {*evidence}


def test_every_module_has_a_room_in_the_design():
    root = Path(__file__).parents[2]
    text = (root / "book" / "design.md").read_text(encoding="utf-8")
    table = text[text.index("## Rooms") : text.index("Nothing in `fer_core` imports")]
    named = [name.removeprefix("fer_core/") for cell in re.findall(r"^\| ([^|]*)", table, re.M)
             for name in re.findall(r"`([^`]*)`", cell)]  # fmt: skip
    modules = [path.name for path in (root / "fer_core").glob("*.py") if path.name != "__init__.py"]
    packages = [f"{path.parent.name}/" for path in (root / "fer_core").glob("*/__init__.py")]
    missing = [each for each in (*modules, *packages) if not any(fnmatch(each, name) for name in named)]
    assert not missing
