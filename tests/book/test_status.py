"""The status page says which full results are there, partial, stale or missing, and how to mend them."""

from dataclasses import replace

import pytest

from book import status
from fer_core import experiments, records
from fer_core.records import Record

METRICS = {"war": 0.5, "uar": 0.5, "f1": 0.5, "recall": {}, "confusion": [], "classes": [], "n": 2}
MACHINE = {"cpu": "a processor", "threads": 1, "cores": 2, "memory": 2**33, "system": "Linux", "gpu": None}
RECORD = Record(
    experiment="coop-facs-still-8", method="coop", dataset="facs-still-8", fingerprint="0" * 16, split="test",
    backbone="embedded", weights="0" * 16, profile="full", seed=0, config={}, config_digest="0" * 16, metrics=METRICS,
    selection={}, history=[], trainable_parameters=1, flops=1, seconds={"total": 1.0}, peak_memory=1, hardware=MACHINE,
    versions={}, commit=None,
)  # fmt: skip


@pytest.fixture
def page(small_book, monkeypatch):
    """What the status page shows for given records, of which some are stale: its text, and tables by first cell."""

    def show(*written, stale=()):
        for record in written:
            records.write(record, small_book.root / "book" / "records")
        monkeypatch.setattr(experiments, "is_stale", lambda record: record.seed in stale)
        status.write(small_book)
        text = (small_book.generated / "status.md").read_text()
        tables = {}
        for table in text.split("```{list-table} ")[1:]:
            caption, body = table.partition("```")[0].split("\n", 1)
            items = [item.split("\n  - ") for item in body.split("* - ")[1:]]
            tables[caption] = {item[0].strip("` "): [cell.strip() for cell in item[1:]] for item in items}
        return text, tables

    return show


def _seeds(*seeds):
    return [replace(RECORD, seed=seed) for seed in seeds]


def test_every_experiment_is_listed_once_with_what_fills_it(page):
    _, tables = page()
    todo = tables["What would complete the results"]
    waiting = tables["Experiments of licensed data sets"]
    pairs = [f"{method.strip('` ')}-{name}" for name, (methods,) in waiting.items() for method in methods.split(",")]
    assert {*todo, *pairs} - {"Experiment", "Methods-Data set"} == set(experiments.names())
    command = "`fer-core run coop-facs-still-8 --profile full --seed 0,1,2`"
    assert todo["coop-facs-still-8"] == ["missing", command]
    assert "full" not in experiments.load("les-clip-raf-db").profiles
    assert "les-clip-raf-db" in pairs


def test_three_current_seeds_are_full(page):
    told = [
        replace(record, seconds={"total": total}) for record, total in zip(_seeds(0, 1, 2), (60, 300, 90), strict=True)
    ]
    text, tables = page(*told)
    assert tables["Results of the full profile"]["coop-facs-still-8"] == ["0,1,2", "2\u00a0min", "–"]
    assert "coop-facs-still-8" not in tables["What would complete the results"]
    assert ", 1 have full results. 3 records, 0 hours of computing" in text


def test_settings_other_than_the_experiments_own_are_counted_apart(page):
    varied = replace(RECORD, variant="lr=1", overrides={"training.lr": 1})
    quick = replace(RECORD, profile="quick", seed=5)
    _, tables = page(*_seeds(0, 1), varied, replace(varied, seed=1), replace(varied, seed=2), quick, stale=(2,))
    assert tables["Results of the full profile"]["coop-facs-still-8"] == ["0,1", "1\u00a0s", "2"]


def test_too_few_seeds_are_partial_and_others_are_asked_for(page):
    command = "`fer-core run coop-facs-still-8 --profile full --seed 0,2`"
    assert page(*_seeds(1))[1]["What would complete the results"]["coop-facs-still-8"] == ["partial: seeds 1", command]


def test_stale_seeds_are_named_and_run_again(page):
    command = "`fer-core run coop-facs-still-8 --profile full --seed 1`"
    _, tables = page(*_seeds(0, 1, 2), stale=(1,))
    todo = tables["What would complete the results"]
    assert todo["coop-facs-still-8"] == ["partial: seeds 0,2, stale: seeds 1", command]
    assert tables["Results of the full profile"]["coop-facs-still-8"][0] == "0,2"


def test_other_profiles_and_overridden_settings_are_no_full_results(page):
    quick, varied = replace(RECORD, profile="quick"), replace(RECORD, variant="lr=1", overrides={"training.lr": 1})
    assert page(quick, varied)[1]["What would complete the results"]["coop-facs-still-8"][0] == "missing"


def test_records_of_an_experiment_that_is_gone_are_told(page):
    _, tables = page(replace(RECORD, experiment="gone-ferplus"))
    assert tables["What would complete the results"]["gone-ferplus"][0] == "no longer an experiment (1 records)"
