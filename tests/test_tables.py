"""Tables: which number may stand where, what is said of it, and what the printed forms hold."""

import csv
import dataclasses
import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest

from fer_core import experiments, published, records, table_formats, tables
from fer_core.errors import UserError
from fer_core.experiments import running
from fer_core.published import Published
from fer_core.records import Predicted, Record
from fer_core.tables import Column, Definition, Ours, Theirs

WAR = Column("war", "WAR", "ferplus", "war")
UAR = Column("uar", "UAR", "ferplus", "uar")
DEDUPLICATED = Column("war_deduplicated", "WAR, de-duplicated", "ferplus", "war", "deduplicated")
TEST_CHOSEN = Column("war_test_chosen", "WAR if chosen on test", "ferplus", "war", "test chosen")
FACES = Column("war_faces", "WAR", "facs-still-8", "war")


def write(folder, war, seed=0, name="coop-ferplus", profile="full", **changes):
    """Writes a record of an experiment with a given WAR (a fraction)."""
    experiment = experiments.load(name)
    resolved = experiments.resolve(experiment.settings(profile))
    scores = {"uar": war / 2, "f1": war, "recall": {}, "confusion": [], "classes": [], "n": 10}
    record = Record(**{
        "experiment": name, "method": experiment.method, "dataset": experiment.dataset, "fingerprint": "f00d",
        "split": "test", "backbone": "embedded", "weights": "beef", "profile": profile, "seed": seed,
        "config": resolved, "config_digest": running.digest(resolved),
        "metrics": {**scores, "war": war, "deduplicated": {**scores, "war": war - 0.1}},
        "selection": {"rule": "last", "epoch": 1, "test_chosen": {"epoch": 1, "war": war + 0.1, "uar": war}},
        "history": [], "trainable_parameters": 0, "flops": 0, "seconds": {}, "peak_memory": 0, "hardware": {},
        "versions": {}, "commit": None, **changes,
    })  # fmt: skip
    return records.write(record, folder)


def digest(name, overrides):
    return running.digest(experiments.resolve(experiments.load(name).settings("full", overrides)))


COOP = (Ours("coop"),)


def fill(folder, *columns, rows=COOP, numbers=()):
    return tables.fill(Definition("name", "A caption.", columns, tuple(rows)), folder, numbers)


def number(value="91.15", status="secondary", **changes):
    values = {
        "paper": "P", "table": "T", "method": "M", "backbone": "B", "year": "2025", "dataset": "FERPlus",
        "metric": "UAR",
        "value": value, "status": status, "note": "", "source": "S",
    }  # fmt: skip
    return Published(**{**values, **changes})


def test_a_cell_is_mean_and_sample_deviation_over_seeds(tmp_path):
    for seed, war in enumerate((0.50, 0.52, 0.60)):
        write(tmp_path, war, seed)
    (row,) = fill(tmp_path, WAR, UAR, DEDUPLICATED, TEST_CHOSEN).rows
    assert (row.method, row.backbone, row.seeds) == ("coop", "embedded", (0, 1, 2))
    assert row.cells[0].value == pytest.approx(54)
    assert row.cells[0].deviation == pytest.approx(28**0.5)  # of 50, 52, 60: (16 + 4 + 36) / 2
    assert [cell.text for cell in row.cells] == ["54.00 ± 5.29", "27.00 ± 2.65", "44.00 ± 5.29", "64.00 ± 5.29"]
    assert {cell.kind for cell in row.cells} == {"reproduced"}
    note = row.cells[0].note
    assert "on ferplus (data f00d) with embedded (weights beef)" in note
    assert "over seeds 0, 1, 2" in note


def test_cells_of_other_numbers_of_seeds_are_told(tmp_path):
    for seed in range(3):
        write(tmp_path, 0.5, seed, name="coop-facs-still-8")
    write(tmp_path, 0.5)
    table = fill(tmp_path, WAR, FACES)
    assert [cell.seeds for cell in table.rows[0].cells] == [1, 3]
    assert "| coop | embedded | 1–3 |" in table_formats.markdown(table)
    several = dataclasses.replace(table, rows=table.rows * 2)
    assert "1–3 seeds.</caption>" in table_formats.html(several)


def test_one_seed_has_no_deviation(tmp_path):
    write(tmp_path, 0.5)
    ((cell,),) = (row.cells for row in fill(tmp_path, WAR).rows)
    assert (cell.text, cell.deviation) == ("50.00", None)


def test_other_profiles_and_variants_never_count(tmp_path):
    write(tmp_path, 0.5)
    write(tmp_path, 0.9, seed=1, profile="smoke")
    write(tmp_path, 0.9, seed=2, variant="lr=1-abc", overrides={"training.lr": 1.0})
    (row,) = fill(tmp_path, WAR).rows
    assert (row.cells[0].value, row.seeds) == (50, (0,))


def test_a_column_may_have_settings_of_its_own(tmp_path):
    shots = {"data.limit": {"train": 8}}
    few = Column("war_few", "WAR of 8", "ferplus", "war", overrides=(("data.limit", shots["data.limit"]),))
    write(tmp_path, 0.5)
    (row,) = fill(tmp_path, WAR, few).rows
    assert [cell.kind for cell in row.cells] == ["reproduced", "not run"]
    assert """--set 'data.limit={"train": 8}'""" in row.cells[1].note
    write(
        tmp_path, 0.2, variant="train=8-abc", overrides={"data.limit.train": 8},
        config_digest=digest("coop-ferplus", shots),
    )  # fmt: skip
    (row,) = fill(tmp_path, WAR, few).rows
    assert [cell.value for cell in row.cells] == [50, 20]
    assert "'data.limit={" in row.cells[1].note


def test_stale_records_are_shown_as_stale_only_where_there_are_no_others(tmp_path):
    write(tmp_path, 0.5, config_digest="0" * 16)
    (row,) = fill(tmp_path, WAR).rows
    assert row.cells[0].stale
    assert row.cells[0].value == 50
    assert "stale" in row.cells[0].note
    assert "fer-core run coop-ferplus --profile full" in row.cells[0].note
    write(tmp_path, 0.7, seed=1)
    (row,) = fill(tmp_path, WAR).rows
    assert not row.cells[0].stale
    assert (row.cells[0].value, row.seeds) == (70, (1,))


@pytest.mark.parametrize("changes", [{"fingerprint": "other"}, {"weights": "other"}])
def test_seeds_on_different_data_or_weights_are_no_mean_over_seeds(tmp_path, changes):
    write(tmp_path, 0.5)
    write(tmp_path, 0.5, seed=1, **changes)
    assert fill(tmp_path, WAR).rows[0].cells[0].stale


def test_a_number_on_embedded_data_never_stands_in_a_licensed_column(tmp_path):
    write(tmp_path, 0.9, name="coop-facs-still-8")
    (row,) = fill(tmp_path, WAR, FACES).rows
    assert (row.cells[0].kind, row.cells[0].value) == ("not run", None)
    assert (row.cells[1].kind, row.cells[1].value) == ("reproduced", 90)
    # Not even from a record that says so of itself.
    write(tmp_path, 0.9, dataset="facs-still-8")
    with pytest.raises(UserError, match="expected one measured on ferplus, got facs-still-8"):
        fill(tmp_path, WAR)


def test_no_licensed_column_of_any_table_takes_a_record_of_rendered_faces(tmp_path):
    for name in experiments.names():
        if name.endswith("facs-still-8"):
            write(tmp_path, 0.9, name=name)
    for name in tables.names():
        table = tables.build(name, tmp_path)
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                if not column.dataset.startswith("facs-"):
                    assert cell.kind != "reproduced"


def test_only_records_with_a_rows_own_settings_count(tmp_path):
    settings = {"model.context_length": 2}
    write(tmp_path, 0.5)
    write(tmp_path, 0.7, seed=1, variant="a", overrides=settings, config_digest=digest("coop-ferplus", settings))
    write(tmp_path, 0.9, seed=2, variant="b", overrides={**settings, "training.lr": 1.0})
    rows = fill(tmp_path, WAR, rows=[Ours("coop"), Ours("coop", title="short", overrides=tuple(settings.items()))]).rows
    assert [(row.method, row.seeds, row.cells[0].value) for row in rows] == [("coop", (0,), 50), ("short", (1,), 70)]
    assert "ferplus, profile full, model.context_length=2 on ferplus" in rows[1].cells[0].note
    column = Column("short", "short", "ferplus", "war", overrides=tuple(settings.items()))
    ((cell,),) = (row.cells for row in fill(tmp_path, column).rows)
    assert cell.value == 70


def test_settings_equal_to_the_experiments_own_are_no_variant(tmp_path):
    write(tmp_path, 0.5)
    own = experiments.resolve(experiments.load("coop-ferplus").settings("full"))["model"]["context_length"]
    (row,) = fill(tmp_path, WAR, rows=[Ours("coop", overrides=(("model.context_length", own),))]).rows
    assert row.cells[0].value == 50


def test_what_is_told_of_the_method_has_no_deviation(tmp_path):
    measured = {"entanglement": {"share": 0.25, "index": 0.125}, "generality": {"attributes": 0.6, "captions": 0.2}}
    measured["by_subject"] = {"shares": {"neutral": 0.3, "pain": 0.7}}
    for seed, war in enumerate((0.5, 0.6)):
        path = write(tmp_path, war, seed, trainable_parameters=1234567)
        record = records.read(path)
        records.write(dataclasses.replace(record, metrics={**record.metrics, **measured}), tmp_path)
    scores = ("parameters", "look-alikes", "index", "attributes", "captions", "most", "f1")
    (row,) = fill(tmp_path, *(Column(score, score, "ferplus", score) for score in scores)).rows
    told = ["25.00 ± 0.00", "0.125 ± 0.000", "60.00 ± 0.00", "20.00 ± 0.00", "70.00 ± 0.00", "55.00 ± 7.07"]
    assert [cell.text for cell in row.cells] == ["1,234,567", *told]


def test_an_ablation_is_a_table(tmp_path):
    name = "les-clip-facs-still-8:parts"
    assert name in tables.names()
    table = tables.build(name, tmp_path)
    rows = experiments.load("les-clip-facs-still-8").ablations["parts"].rows
    assert [row.method for row in table.rows] == list(rows)
    assert "fer-core run zero-shot-facs-still-8 --profile full" in table.rows[0].cells[0].note
    common = "--set data.limit.train=2000 --set training.evaluate_every=5"
    assert f"{common} --set model.discrimination=false" in table.rows[1].cells[0].note
    with pytest.raises(UserError, match="did you mean 'les-clip-facs-still-8:parts'"):
        tables.build("les-clip-facs-still-8:part")


def write_right(folder, name, overrides, right):
    """Writes a record with these settings whose predictions are right where ``right`` says so."""
    labels = np.arange(len(right)) % 4
    config = experiments.resolve(experiments.load(name).settings("full", overrides))
    said = Predicted(labels, np.where(right, labels, (labels + 1) % 4), None).plain()
    write(
        folder, right.mean(), name=name, overrides=overrides, variant=records.variant_name(overrides), config=config,
        config_digest=running.digest(config), predictions=said,
    )  # fmt: skip


ACROSS = {
    "train_on.dataset": "facs-clip-7", "train_on.frames": 4, "train_on.limit.train": 840, "training.evaluate_every": 4,
}  # fmt: skip
TAUGHT = {"model.description_weight": 0.5, **ACROSS}
PARTS = {"data.limit.train": 2000, "training.evaluate_every": 5}


@pytest.mark.parametrize(
    ("table", "column", "name", "first", "second"),
    [
        (
            "les-clip-facs-still-8:parts", "war", "les-clip-facs-still-8",
            ("discrimination, hybrid loss", {**PARTS, "model.experts": "none"}), ("all three (LES-CLIP)", PARTS),
        ),
        (
            "clips-facs-across", "war_facs-clip-11", "fine-cliper-facs-clip-11",
            ("fine-cliper, taught by descriptions, class words masked", TAUGHT),
            ("fine-cliper, taught by descriptions", {**TAUGHT, "model.masked": False}),
        ),
    ],
)  # fmt: skip
def test_a_gain_is_of_the_rows_and_the_column_that_are_named(table, column, name, first, second, tmp_path):
    right = [np.random.default_rng(seed).random(40) < share for seed, share in enumerate((0.4, 0.7, 0.9))]
    write_right(tmp_path, name, first[1], right[0])
    assert tables.gain(table, column, first[0], second[0], tmp_path) is None
    write_right(tmp_path, name, second[1], right[1])
    write_right(tmp_path, name, {}, right[2])  # settings that neither row has
    found = tables.gain(table, column, first[0], second[0], tmp_path)
    assert found.interval.value == pytest.approx(right[1].mean() - right[0].mean())
    with pytest.raises(UserError, match=r"unknown class of facs-.*'joy'"):
        tables.gain(table, column, first[0], second[0], tmp_path, classes=["joy"])


def test_a_gain_that_no_table_has_is_named():
    rows = ("discrimination, hybrid loss", "all three (LES-CLIP)")
    with pytest.raises(UserError, match="table 'les-clip-facs-still-8:part'"):
        tables.gain("les-clip-facs-still-8:part", "war", *rows)
    with pytest.raises(UserError, match="row of les-clip-facs-still-8:parts 'all'"):
        tables.gain("les-clip-facs-still-8:parts", "war", "all", rows[1])
    with pytest.raises(UserError, match="column of WAR of les-clip-facs-still-8:parts 'uar'"):
        tables.gain("les-clip-facs-still-8:parts", "uar", *rows)


def test_what_was_not_run_says_how_to_run_it_and_what_it_needs(tmp_path):
    rows = fill(tmp_path, WAR, FACES, rows=(Ours("coop"), Ours("coop", "paper"))).rows
    assert rows[0].cells[0].note == (
        "not run: fer-core run coop-ferplus --profile full --seed 0,1,2 --data-root FOLDER "
        "(needs the images of ferplus in FOLDER)"
    )
    assert rows[0].cells[1].note == "not run: fer-core run coop-facs-still-8 --profile full --seed 0,1,2"
    assert rows[1].backbone == "ViT-B-16-quickgelu:openai"
    assert "the weights ViT-B-16-quickgelu:openai" in rows[1].cells[0].note
    assert rows[1].cells[1].kind == "empty", "rendered faces have no paper profile"


def test_what_trains_on_another_data_set_needs_its_images_too(tmp_path):
    (row,) = tables.build("clips-facs-across", tmp_path).rows[:1]
    assert not any("in FOLDER" in cell.note for cell in row.cells), "rendered clips are drawn"
    (row,) = tables.build("across-facs-ferplus", tmp_path).rows[:1]
    assert all(cell.note.endswith("--data-root FOLDER (needs the images of ferplus in FOLDER)") for cell in row.cells)
    rows = tables.build("fine-cliper-zero-shot", tmp_path).rows
    row = next(each for each in rows if any("fer-core sweep fine-cliper-dfew" in cell.note for cell in each.cells))
    assert any("(needs the images of dfew and mafw in FOLDER and the weights" in cell.note for cell in row.cells)


def test_published_rows_keep_the_printed_value_and_the_mark(tmp_path):
    numbers = [
        number("43.40"), number("48.1", "primary", metric="WAR", note="N"), number("1", dataset="RAF-DB"),
        number("2", metric="params"), number("3", paper="Q"), number("90", method="other", metric="accuracy_%"),
    ]  # fmt: skip
    table = fill(tmp_path, WAR, UAR, DEDUPLICATED, rows=[Theirs("P", "T")], numbers=numbers)
    first, second = table.rows
    assert [cell.text for cell in first.cells] == ["48.1", "43.40", "–"]
    assert [cell.kind for cell in first.cells] == ["published", "published", "empty"]
    assert [cell.status for cell in first.cells] == ["primary", "secondary", None]
    assert [cell.text for cell in second.cells] == ["90", "–", "–"]
    assert table.notes == ("N; S", "S")
    only = fill(tmp_path, WAR, rows=[Theirs("P", "T", ("other",))], numbers=numbers)
    assert [row.method for row in only.rows] == ["other"]


def test_two_sources_of_a_method_share_a_row_unless_they_disagree(tmp_path):
    numbers = [
        number("43.40", note="A"), number("60", method="other"), number("70", method="third"),
        number("43.4", "primary", paper="Q", note="B"), number("48", metric="WAR", paper="Q"),
        number("61", method="other", paper="Q"), number("70", method="third", backbone="X", paper="Q"),
        number("80", method="net", backbone="ResNet-50"), number("80", method="net", backbone="ResNet50", paper="Q"),
        number("90", method="un"), number("90", method="un", backbone="", paper="Q"),
        number("48", method="un", backbone="", metric="WAR", paper="Q"),
        number("95", method="apart"), number("49", method="apart", backbone="", metric="WAR", paper="Q"),
    ]  # fmt: skip
    table = fill(tmp_path, WAR, UAR, rows=[Theirs("P", "T"), Theirs("Q", "T")], numbers=numbers)
    assert [(row.method, row.backbone, row.cells[1].text) for row in table.rows] == [
        ("M", "B", "43.4"), ("other", "B", "60"), ("third", "B", "70"), ("net", "ResNet-50", "80"), ("un", "B", "90"),
        ("apart", "B", "95"), ("other", "B", "61"), ("third", "X", "70"), ("apart", "–", "–"),
    ]  # fmt: skip
    assert table.rows[4].cells[0].text == "48"  # that the other number is equal tells whose it is
    war, uar = table.rows[0].cells
    assert (war.text, war.status) == ("48", "secondary")
    assert (uar.status, uar.note) == ("primary", "B; S; A; S")


def test_sources_that_disagree_within_one_collection_stand_apart(tmp_path):
    numbers = [
        number("66.8", method="S4D", source="a"), number("76.6", method="S4D", metric="WAR", source="a"),
        number("76.68", method="S4D", metric="WAR", source="b"),
        number("50", method="3D ResNet18", metric="WAR"), number("40", method="3D ResNet18"),
        number("50", method="3D ResNet-18", metric="WAR", backbone="CNN", source="c"),
        number("40", method="3D ResNet-18", backbone="CNN", source="c"),
    ]  # fmt: skip
    told = [(row.method, *(cell.text for cell in row.cells)) for row in
            fill(tmp_path, WAR, UAR, rows=[Theirs("P", "T")], numbers=numbers).rows]  # fmt: skip
    assert told == [("S4D", "76.6", "66.8"), ("S4D", "76.68", "–"), ("3D ResNet18", "50", "40")]


def test_published_recalls_folds_and_runs_find_their_columns(tmp_path):
    numbers = [
        number("90", dataset="DFEW", metric="acc_Happy"), number("10", dataset="DFEW", metric="acc_Disgust"),
        number("70", dataset="DFEW fd2", metric="WAR"), number("72", dataset="DFEW", metric="WAR"),
        number("71", dataset="DFEW (reported)", metric="UAR"),
        number("73", dataset="DFEW (reproduced by authors)", metric="UAR"), number("9", dataset="DFEW", metric="FLOPs"),
        number("8", dataset="DFEW fd1 test", metric="WAR"),
    ]  # fmt: skip
    columns = [
        Column("happy", "happiness", "dfew", "recall", label="happiness"), Column("mean", "WAR", "dfew", "war"),
        Column("two", "fold 2", "dfew", "war", fold=2), Column("one", "fold 1", "dfew", "war", fold=1),
        Column("uar", "UAR", "dfew", "uar"), Column("chosen", "WAR", "dfew", "war", "test chosen"),
    ]  # fmt: skip
    own, again = fill(tmp_path, *columns, rows=[Theirs("P", "T")], numbers=numbers).rows
    assert [cell.text for cell in own.cells] == ["90", "72", "70", "–", "71", "–"]
    assert (own.method, again.method) == ("M", "M, reproduced by authors")
    assert [cell.text for cell in again.cells] == ["–", "–", "–", "–", "73", "–"]


def test_a_recall_is_of_one_class(tmp_path):
    for seed, recall in enumerate((0.25, 0.5)):
        scores = {"war": 0.9, "uar": 0.9, "f1": 0.9, "recall": {"fear": recall, "anger": None}, "confusion": [],
                  "classes": [], "n": 10}  # fmt: skip
        write(tmp_path, 0.9, seed, metrics=scores)
    fear, anger = (Column(each, each, "ferplus", "recall", label=each) for each in ("fear", "anger"))
    (row,) = fill(tmp_path, fear, anger).rows
    assert [cell.text for cell in row.cells] == [f"37.5 ± {100 * np.std([0.25, 0.5], ddof=1):.1f}", "–"]


def test_the_tables_of_the_book(tmp_path):
    assert set(tables.names()) >= {"baselines-facs-still-8", "baselines-ferplus"}
    table = tables.build("baselines-ferplus", tmp_path)
    shown = {(row.method, row.backbone): row.cells for row in table.rows}
    assert shown["MPA-FER", "CLIP ViT-B/16 (frozen)"][0].text == "91.15"
    assert shown["POSTER", "IR50+MobileFaceNet+transformer"][0].text == "91.62"
    for backbone, war, uar in (
        ("ViT-B/32", "33.89", "36.05"),
        ("ViT-B/16", "45.14", "34.33"),
        ("ViT-L/14", "46.67", "33.82"),
    ):
        assert [cell.text for cell in shown["CLIP [zero-shot]", backbone][:2]] == [war, uar]
    assert [row.cells[0].kind for row in table.rows[:8]] == ["not run"] * 8
    with pytest.raises(UserError, match="did you mean 'baselines-ferplus'"):
        tables.build("baseline-ferplus")
    with pytest.raises(UserError, match="found none"):
        tables.build("baselines-ferplus", tmp_path, tmp_path)


@pytest.fixture
def table(tmp_path):
    """A table with every kind of cell, and text that each format must escape."""
    write(tmp_path, 0.5, config_digest="0" * 16)
    odd = r"50 % & <b>_x_ | ~^ {$} # \ *"
    numbers = [number(method=odd, note=odd), number("40", "primary", method="plain", metric="WAR")]
    rows = [Ours("coop"), Ours("zero-shot"), Theirs("P", "T")]
    return tables.fill(Definition("odd", odd, (WAR, UAR), tuple(rows)), tmp_path, numbers)


def test_json_holds_everything(table):
    found = json.loads(table_formats.json_text(table))
    assert [row["method"] for row in found["rows"]] == ["coop", "zero-shot", table.caption, "plain"]
    cell = found["rows"][0]["cells"]["war"]
    assert (cell["kind"], cell["value"], cell["stale"]) == ("reproduced", 50.0, True)
    assert found["rows"][3]["cells"]["uar"]["kind"] == "empty"
    assert found["columns"][0]["dataset"] == "ferplus"


def test_csv_has_one_line_a_cell(table):
    lines = list(csv.DictReader(io.StringIO(table_formats.csv_text(table))))
    assert len(lines) == len(table.rows) * len(table.columns)
    assert (lines[0]["kind"], float(lines[0]["value"]), lines[0]["stale"]) == ("reproduced", 50, "True")
    assert lines[4]["method"] == table.caption
    assert lines[4]["value"] == lines[2]["value"] == ""
    assert lines[5]["note"] == f"{table.caption}; S"


def test_markdown_is_a_rectangle_with_notes(table):
    text = table_formats.markdown(table)
    lines = [line.replace(r"\|", "") for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {len(table.columns) + 4}
    assert "50.00 (stale) [1]" in text
    assert "91.15 s [3]" in text
    assert r"\<b\>\_x\_ \| \~^ {$} # \\ \*" in text
    assert "p: primary, read in a paper" in text


def test_latex_escapes_what_latex_reads(table):
    text = table_formats.latex(table)
    assert (
        r"50 \% \& \textless{}b\textgreater{}\_x\_ | \textasciitilde{}\textasciicircum{} \{\$\} \# \textbackslash{} *"
        in text
    )
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].splitlines()[1:-1]
    assert {line.count(" & ") for line in body} == {len(table.columns) + 2}
    assert all(line.endswith(r" \\") for line in body)
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert r"91.15\textsuperscript{s,3}" in text


def test_latex_leaves_commands_as_they_are_typed(tmp_path):
    row = Ours("coop", overrides=(("training.betas", [0.8, 0.9]),))
    text = table_formats.latex(fill(tmp_path, WAR, rows=[row]))
    command = r"\texttt{fer-core run coop-ferplus -{}-profile full -{}-seed 0,1,2 -{}-set "
    assert command + r"\textquotesingle{}training.betas=[0.8, 0.9]\textquotesingle{} " in text
    assert r" -{}-data-root FOLDER} (needs the images of ferplus in FOLDER)\par" in text


class _Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.scopes, self.tags = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.open.append(tag)
        self.tags.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        self.scopes += [found.get("scope")] if tag == "th" else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_html_is_well_formed_and_accessible(table):
    text = table_formats.html(table)
    found = _Reader(text)
    assert found.tags.count("caption") == 1
    assert found.scopes == ["col"] * (len(table.columns) + 3) + ["row"] * len(table.rows)
    assert len(set(found.ids)) == len(found.ids)
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    assert "<b>" not in text
    assert "&lt;b&gt;" in text
    assert 'title="secondary, quoted by others' in text
    assert table._repr_html_() == text


def test_html_says_once_what_all_rows_share(table):
    def of(count):
        return tuple(
            dataclasses.replace(
                row, backbone="ViT-X", cells=tuple(dataclasses.replace(cell, seeds=count) for cell in row.cells)
            )
            for row in table.rows
        )

    alike = dataclasses.replace(table, rows=of(2))
    text = table_formats.html(alike)
    assert _Reader(text).scopes == ["col"] * (len(table.columns) + 1) + ["row"] * len(table.rows)
    assert text.count("ViT-X") == 1
    assert "Every row: backbone ViT-X, 2 seeds.</caption>" in text
    nobody = dataclasses.replace(alike, rows=of(0))
    assert "Every row: backbone ViT-X.</caption>" in table_formats.html(nobody)
    alone = table_formats.html(dataclasses.replace(alike, rows=alike.rows[:1]))
    assert "Every row" not in alone
    assert _Reader(alone).scopes.count("col") == len(table.columns) + 3


@pytest.mark.parametrize(
    ("notes", "opening"), [(1, "<details open><summary>1 note<"), (9, "<details><summary>9 notes<")]
)
def test_many_notes_are_folded(notes, opening, tmp_path):
    numbers = [number(metric="WAR", method=f"method {at}", note=f"note {at}") for at in range(notes)]
    text = table_formats.html(tables.fill(Definition("t", "T", (WAR,), (Theirs("P", "T"),)), tmp_path, numbers))
    assert text.count("<li") == notes
    assert opening in text


@pytest.mark.parametrize("name", tables.names())
@pytest.mark.parametrize("kind", table_formats.FORMATS)
def test_every_table_prints_in_every_format(name, kind, tmp_path):
    text = table_formats.FORMATS[kind](tables.build(name, tmp_path))
    assert text.endswith("\n")
    assert "fer-core run " in text or "fer-core sweep " in text


def test_marks_are_told_apart():
    letters = [letter for letter, _ in published.MARKS.values()]
    assert len(set(letters)) == len(letters) == 4


def test_a_seed_of_folds_is_their_mean(tmp_path):
    column = Column("war", "WAR", "dfew", "war")
    name = "fine-cliper-dfew"
    config = experiments.load(name)

    def kept(war, seed, fold):
        resolved = experiments.resolve(config.settings("paper", {"data.fold": fold}))
        write(tmp_path, war, seed, name, "paper", fold=fold, fingerprint=f"of-fold-{fold}", config=resolved,
              config_digest=running.digest(resolved), overrides={"data.fold": fold})  # fmt: skip

    kept(0.5, 0, 1)
    (cell,) = fill(tmp_path, column, rows=(Ours("fine-cliper", profile="paper"),)).rows[0].cells
    assert (cell.text, cell.stale) == ("50.00 (fold 1 of 5)", False)
    assert "published scores are means over 5" in cell.note
    assert "fer-core sweep fine-cliper-dfew --profile paper --seed 0,1,2 --fold 1,2,3,4,5" in cell.note
    for fold in range(2, 6):
        kept(0.5 + fold / 100, 0, fold)
    for fold in range(1, 6):
        kept(0.6, 1, fold)
    kept(0.9, 2, 3)  # one fold of a third seed is no mean over five
    (cell,) = fill(tmp_path, column, rows=(Ours("fine-cliper", profile="paper"),)).rows[0].cells
    means = [np.mean([0.5, 0.52, 0.53, 0.54, 0.55]), 0.6]
    assert cell.text == f"{100 * np.mean(means):.2f} ± {100 * np.std(means, ddof=1):.2f}"
    assert not cell.stale
    assert "over seeds 0, 1, each the mean over folds 1, 2, 3, 4, 5" in cell.note
    second = dataclasses.replace(column, fold=2)
    (row,) = fill(tmp_path, second, rows=(Ours("fine-cliper", profile="paper"),)).rows
    assert (row.cells[0].text, row.seeds) == (f"56.00 ± {100 * np.std([0.52, 0.6], ddof=1):.2f}", (0, 1))
    assert "over seeds 0, 1, of fold 2" in row.cells[0].note
    lost = fill(tmp_path, second, rows=(Ours("aim", profile="paper"),)).rows[0].cells[0].note
    assert "not run: fer-core run aim-dfew --profile paper --seed 0,1,2 --set data.fold=2 --data-root" in lost
    kept(0.9, 3, 1)
    write(tmp_path, 0.5, 1, name, "paper", fold=1, fingerprint="other", overrides={"data.fold": 1})
    (cell,) = fill(tmp_path, column, rows=(Ours("fine-cliper", profile="paper"),)).rows[0].cells
    assert cell.stale  # of one fold, two different sets of test samples
