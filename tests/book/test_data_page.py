"""The data page tells of every data set, layout and label code, and shows what a check really prints."""

from pathlib import Path

import pytest

from book import data_page
from fer_core import data
from fer_core.data.labels import RELEASES
from fer_core.data.layout import LAYOUTS


@pytest.fixture(scope="module")
def text(tmp_path_factory, write_book):
    """The generated part of the page."""
    layout = write_book(tmp_path_factory.mktemp("page"), [])
    data_page.write(layout)
    return (layout.generated / "data.md").read_text(encoding="utf-8")


def test_every_data_set_is_there_with_its_command(text):
    for name in data.names():
        assert f"* - `{name}`\n" in text
    for name, layout in LAYOUTS.items():
        assert f"`fer-core data check {name} FOLDER`" in text
        assert f"{{cite:p}}`{layout.citation}`" in text
        assert layout.tree.rstrip() in text
        assert f"]({layout.apply})" in text


def test_every_release_is_there_with_its_codes(text):
    for name in RELEASES:
        assert f"* - `{name}`\n" in text
    assert "  - 1 surprise, 2 fear, 3 disgust, 4 happiness, 5 sadness, 6 anger, 7 neutral\n" in text
    assert "; left out: 8, 9, 10\n" in text


def test_the_example_is_a_check_of_a_miniature(text):
    example = text.partition("## What a check prints")[2]
    assert "RAF-DB, basic emotions (raf-db) in FOLDER\n" in example
    assert example.rstrip("`\n").endswith("\nsound")


def test_every_citation_is_in_the_bibliography():
    references = (Path(__file__).parents[2] / "book" / "references.bib").read_text(encoding="utf-8")
    for layout in LAYOUTS.values():
        assert f"{{{layout.citation},\n" in references


def test_what_markdown_would_read_is_escaped():
    assert data_page._plain("annotations/*_exp.npy [a]") == r"annotations/\*\_exp.npy \[a\]"
