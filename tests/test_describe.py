"""Sentences quote the numbers of the figures and tables that they stand for."""

import dataclasses

import numpy as np
import pytest

from fer_core import describe, tables
from fer_core.entanglement import Map
from fer_core.metrics import Interval
from fer_core.metrics_subjects import Gain
from fer_core.tables import Cell, Column, Row, Table

COLUMN = Column("war", "WAR", "ferplus", "war")


def _table(*rows: tuple[str, str, Cell]) -> Table:
    return Table("t", "A table.", (COLUMN,), tuple(Row(name, backbone, (), (cell,)) for name, backbone, cell in rows))


def test_intervals_in_words():
    found = Interval(0.4321, 0.39, 0.4749)
    assert describe.interval(found) == "0.43 (0.39 to 0.47)"
    assert describe.interval(Interval(-0.001, -0.02, 0.003)) == "0.00 (-0.02 to 0.00)"
    assert describe.interval(found, percent=True) == "43.2 % (39.0 to 47.5)"
    assert describe.intervals({"index": found, "gap": Interval(1, 1, 1)}, percent=True) == (
        "index 43.2 % (39.0 to 47.5); gap 100.0 % (100.0 to 100.0)."
    )


def test_intervals_as_a_table():
    told = describe.table(
        {"text": {"a": Interval(0.5, 0.4, 0.6)}, "probe": {"a": Interval(0, 0, 0), "b": Interval(1, 1, 1)}}
    )
    assert told.loc["a"].tolist() == ["0.50 (0.40 to 0.60)", "0.00 (0.00 to 0.00)"]
    assert told.loc["b", "text"] == "–"


def test_confusion_in_words_names_the_worst_first():
    told = describe.confusion(np.array([[6, 3, 1], [0, 10, 0], [4, 2, 4]]), ("fear", "surprise", "anger"), most=2)
    assert told == (
        "Recognised: fear 60 %, surprise 100 %, anger 40 %. "
        "Most often mistaken: anger for fear 40 %, fear for surprise 30 %."
    )


def test_confusion_without_errors():
    assert describe.confusion(np.eye(2), ("a", "b")).endswith("Nothing is mistaken.")
    assert "b 0 %" in describe.confusion(np.array([[1, 0], [0, 0]]), ("a", "b"))


def test_maps_in_words():
    places = np.zeros((1, 2), np.float32)
    told = describe.maps([Map("pca", places, (0.8123,)), Map("umap", places, (0.95, 0.93))])
    assert told == "Trustworthiness: PCA 0.812; UMAP 0.930 to 0.950 over 2 seeds."


def test_distance_from_published_rows():
    table = _table(
        ("linear-probe", "embedded", Cell("reproduced", "50.00", 50.0)),
        ("coop", "embedded", Cell("reproduced", "60.25", 60.25)),
        ("zero-shot", "embedded", Cell("reproduced", "13.50", 13.5)),
        ("zero-shot", "ViT-B-16:openai", Cell("reproduced", "99.00", 99.0)),
        ("MPA-FER", "CLIP ViT-B/16 (frozen)", Cell("published", "91.15", 91.15)),
        ("CLIP [zero-shot]", "ViT-B/16", Cell("published", "45.14", 45.14)),
        ("RAN", "ResNet-18", Cell("published", "88.55", 88.55)),
    )
    assert describe.distance_from_published(table, "war") == (
        "The embedded CLIP's best WAR on ferplus, zero-shot, is 13.50 % (zero-shot). Published zero-shot rows with "
        "ViT-B/16 differ from it, in percentage points, by +31.6 (CLIP [zero-shot]). "
        "The embedded CLIP's best WAR on ferplus, trained, is 60.25 % (coop). Published trained rows with ViT-B/16 "
        "differ from it, in percentage points, by +30.9 (MPA-FER)."
    )


def test_distance_says_what_is_missing():
    published = ("MPA-FER", "CLIP ViT-B/16 (frozen)", Cell("published", "91.15", 91.15))
    not_run = ("coop", "embedded", Cell("not run", "not run"))
    told = describe.distance_from_published(_table(published, not_run), "war")
    assert (
        told == "Published with ViT-B/16, WAR in percent: MPA-FER 91.15. The embedded CLIP has no ferplus record yet."
    )
    assert "No WAR on ferplus is published here" in describe.distance_from_published(_table(not_run), "war")


@pytest.mark.parametrize("name", ["baselines-facs-still-8", "baselines-ferplus"])
def test_it_reads_the_projects_own_tables(name, tmp_path):
    table = tables.build(name, records_dir=tmp_path)
    told = describe.distance_from_published(table, "war")
    assert told.endswith("record yet.") if "ferplus" in name else told.startswith("No WAR")


@pytest.mark.parametrize(
    ("low", "high", "margin", "said"),
    [
        (1, 2, 0, "held"),
        (-2, -1, 0, "did not hold"),
        (-1, 1, 0, "undecided: the interval holds zero"),
        (-2, -1, 3, "held"),
        (-2, 1, 0.5, "undecided: the interval holds -50"),
        (-2, -1, 0.5, "did not hold"),
    ],
)
def test_a_claim_holds_where_the_interval_leaves_no_doubt(low, high, margin, said):
    assert describe.outcome(Interval((low + high) / 2, low, high), margin) == said


def test_a_paired_gain_must_pass_its_test_too():
    four = Gain(Interval(0.02, 0.01, 0.03), 4, 0, 2 / 2**4)  # what four people can tell at most
    assert describe.outcome(four) == "undecided: p = 0.12"
    assert describe.outcome(dataclasses.replace(four, p_value=0.04)) == "held"
    assert describe.outcome(four, margin=0.05) == "held"


def test_efficiency_stands_beside_the_published_figure():
    told = describe.efficiency({"CLIP-AU": (1_324_802, 73_000_000, 141_000_000_000), "ours": (7, 10**9, 2 * 10**9)})
    assert told.loc["CLIP-AU"].tolist() == ["1,324,802", "0.073", "141", "1.3 p", "0.124 p", "16.9 p"]
    (adapted,) = describe.efficiency({"CLIP-AUTT": (1, 1, 1)})["published: videos/s"]
    assert adapted == "26.4 d"  # a marker's place in the figure
    assert told.loc["ours"].tolist() == ["7", "1", "2", "–", "–", "–"]


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (0.02, 0.01, 0.03, "+2.0 (1.0 to 3.0)"),
        (-0.02, -0.03, 0.01, "-2.0 (-3.0 to 1.0)"),
        (-0.0, 0, 0, "0.0 (0.0 to 0.0)"),
    ],
)
def test_differences_are_points_with_a_sign(value, low, high, said):
    assert describe.points(Interval(value, low, high)) == said


def test_claims_say_what_was_measured_and_what_was_not():
    gain = Gain(Interval(0.02, 0.01, 0.03), 7, 2, 0.0123, (3, 1))
    assert describe.gain(gain) == "+2.0 (1.0 to 3.0); +7 −2; p = 0.0123"
    assert describe.gain(None) == "not run"
    told = describe.claims(
        {"it is better": gain, "it is faster": None, "it forgets nothing": Interval(-0.4, -0.5, -0.3)},
        kept={"it forgets nothing": 0.45},
    )
    assert told.loc["it forgets nothing"].tolist() == [
        "-40.0 (-50.0 to -30.0)",
        "–",
        "undecided: the interval holds -45",
    ]
    assert told.loc["it is better"].tolist() == ["+2.0 (1.0 to 3.0)", "3 and 1", "held"]
    assert told.loc["it is faster"].tolist() == ["not run", "–", "open"]
