"""The published numbers that the book shows: complete rows, known marks, numbers that are numbers, nothing twice."""

from collections import Counter
from pathlib import Path

import pytest

from fer_core import published

FOLDER = Path(__file__).parents[2] / "book" / "published"
FILES = sorted(FOLDER.glob("*.csv"))
# Rows that hold a setting or an estimate in words, by metric.
WORDS = {"lr_schedule", "gpu"}
ABOUT = {"test-time training GFLOPs"}


@pytest.fixture(scope="module")
def numbers():
    return published.read(FOLDER)


def test_the_papers_of_the_book_are_there(numbers):
    papers = {number.paper for number in numbers}
    assert {"LES-CLIP", "MPA-FER", "FineCLIPER", "CLIP-AUTT", "Exp-CLIP", "DFER-CLIP", "datasets"} <= papers


def test_every_row_says_what_it_is_and_where_it_is_from(numbers):
    for number in numbers:
        for field in ("paper", "table", "method", "dataset", "metric", "value", "status"):
            assert getattr(number, field).strip() == getattr(number, field) != "", number
        assert number.year.isdigit() or not number.year, number
        # Only what was computed here has no source.
        assert number.source or (number.status == "derived" and number.method.startswith("ours")), number


def test_every_status_is_used_and_known(numbers):
    assert {number.status for number in numbers} == set(published.MARKS)


def test_values_are_numbers(numbers):
    for number in numbers:
        if number.metric in WORDS:
            continue
        value = float(number.value.removeprefix("~") if number.metric in ABOUT else number.value)
        assert value == value, number
        if number.metric in ("WAR", "UAR", "accuracy_%", "F1"):
            assert 0 < value <= 100, number
        if number.metric.startswith("acc_"):
            assert 0 <= value <= 100, number  # a class may be missed altogether


def test_only_digitised_numbers_are_approximate(numbers):
    assert {number.status for number in numbers if number.value.startswith("~")} == {"digitised"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_number_stands_twice_in_a_file(path):
    rows = Counter(published.read_file(path))
    keys = Counter(
        (row.paper, row.table, row.method, row.backbone, row.dataset, row.metric, row.source) for row in rows.elements()
    )
    assert [key for key, count in keys.items() if count > 1] == []


def test_files_are_plain_utf8_with_unix_line_ends():
    for path in FILES:
        text = path.read_bytes()
        assert b"\r" not in text, path.name
        assert text.endswith(b"\n"), path.name
        assert not text.startswith(b"\xef\xbb\xbf"), path.name
