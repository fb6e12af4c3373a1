"""The book's files as its table of contents and configuration name them."""

import ast
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


ROOT = Path(__file__).parents[2]


def rooms():
    """Of each room of the design page its modules and packages, as patterns, and what it says that they import."""
    text = (ROOT / "book" / "design.md").read_text(encoding="utf-8")
    table = text[text.index("## Rooms") : text.index("Nothing in `fer_core` imports")]
    cells = [re.fullmatch(r"\| (.*?) \| .* \| (.*?) \|", line) for line in table.splitlines() if "`fer_core/" in line]
    found = [
        ([name.removeprefix("fer_core/") for name in re.findall(r"`([^`]*)`", each[1])], each[2]) for each in cells
    ]
    return [(names, says) for names, says in found if names[0] != "fer_core"]


def room_of(name, known):
    """The room of a module or package at the top of ``fer_core``; None where there is none."""
    return next((place for place, (patterns, _) in enumerate(known)
                 if any(fnmatch(f"{name}.py", each) or each == f"{name}/" for each in patterns)), None)  # fmt: skip


def test_every_module_has_a_room_in_the_design():
    tops = [path.stem for path in (ROOT / "fer_core").glob("*.py") if path.name != "__init__.py"]
    tops += [path.parent.name for path in (ROOT / "fer_core").glob("*/__init__.py")]
    assert not [each for each in tops if room_of(each, rooms()) is None]


def test_rooms_import_what_the_design_says():
    known = rooms()
    imported = {place: set() for place in range(len(known))}
    for path in (ROOT / "fer_core").rglob("*.py"):
        parts = path.relative_to(ROOT / "fer_core").with_suffix("").parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [f"{node.module}.{each.name}" for each in node.names] if isinstance(node, ast.ImportFrom) else []
            ours = {room_of(name.split(".")[1], known) for name in names if name.startswith("fer_core.")}
            imported.get(room_of(parts[0], known), set()).update(ours - {None})
    for place, (names, says) in enumerate(known):
        if says in ("nothing of ours", "all"):
            assert says == "all" or imported[place] <= {0}, names
            continue
        told = {room_of(word, known) for word in re.findall(r"[a-z_]+", re.sub(r"\(.*?\)", "", says))} - {None}
        assert imported[place] - {0, place} == told - {place}, names
