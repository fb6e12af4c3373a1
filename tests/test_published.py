"""Reading published numbers: what a file may hold, and what is refused."""

import pytest

from fer_core import published
from fer_core.errors import UserError

HEADER = ",".join(published.COLUMNS)
ROW = 'Exp-CLIP,zero-shot FER,CLIP,ViT-B/32,2021,FERPlus,UAR,36.05,primary,,"tabs.png, Table 2"'


def test_rows_are_read_in_order_with_values_as_printed(tmp_path):
    (tmp_path / "b.csv").write_text(f"{HEADER}\n{ROW}\n")
    (tmp_path / "a.csv").write_text(f"{HEADER}\n{ROW.replace('36.05', '36.50')}\n")
    one, two = published.read(tmp_path)
    assert (one.value, two.value) == ("36.50", "36.05")
    assert (two.paper, two.year, two.note, two.source) == ("Exp-CLIP", "2021", "", "tabs.png, Table 2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the columns paper, table"),
        (HEADER.replace("status", "mark"), "expected the columns .* got .*mark"),
        (f"{HEADER}\n{ROW.replace('primary', 'true')}", "line 2: expected a status of primary, .* got 'true'"),
        (f"{HEADER}\n{ROW}\n{ROW},more", "line 3: expected 11 values, got 12"),
    ],
)
def test_wrong_files_are_refused(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        published.read(tmp_path)


def test_no_files_is_told(tmp_path):
    with pytest.raises(UserError, match="found none"):
        published.read(tmp_path)
