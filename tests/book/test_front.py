"""The front page's picture says what the committed records say."""

import json
import shutil
from pathlib import Path

import pytest

from book import front
from fer_core.errors import UserError
from fer_core.faces import sets

RECORDS = Path(__file__).parents[2] / "book" / "records"


@pytest.fixture
def book_with_records(small_book):
    """The small book with the records that the picture reads."""
    for method in ("zero-shot", "les-clip"):
        kept = small_book.root / "book" / "records" / f"{method}-facs-still-8"
        kept.mkdir(parents=True)
        shutil.copy(RECORDS / kept.name / "full-seed0.json", kept)
    return small_book


def test_the_picture_and_its_words_follow_the_records(book_with_records):
    front.write(book_with_records)
    text = (book_with_records.generated / "front.md").read_text()
    classes = sets.SETS["facs-still-8"].classes
    for method, title in (("zero-shot", "zero-shot CLIP"), ("les-clip", "LES-CLIP")):
        record = json.loads((RECORDS / f"{method}-facs-still-8" / "full-seed0.json").read_text())
        kept = record["predictions"]
        truth, predicted = ([classes[int(digit)] for digit in kept[key][:8]] for key in ("truth", "predicted"))
        assert f"{title} names {sum(map(str.__eq__, truth, predicted))}" in text
        for shown, name in zip(truth, predicted, strict=True):
            said = text[text.index(f" {shown}, which") :].split(";")[0]
            assert f"{title} calls {name}" in said
    assert (book_with_records.generated / "front.png").read_bytes().startswith(b"\x89PNG")


def test_errors_are_counted_on_look_alikes():
    truth = ["fear", "anger", "happiness", "neutral"]
    text = front._page(truth, {"A": ["surprise", "fear", "happiness", "contempt"], "B": truth})
    assert "A names 1 and B names 4 right" in text
    assert "2 of CLIP's 3 errors" in text


def test_a_missing_record_is_named(small_book):
    with pytest.raises(UserError, match="fer-core run zero-shot-facs-still-8 --profile full"):
        front.write(small_book)
