"""The status page says which full results are there, partial, stale or missing, and how to mend them."""

from dataclasses import replace

import pytest

from book import status
from fer_core import experiments, records
from fer_core.records import Record

METRICS = {"war": 0.5, "uar": 0.5, "f1": 0.5, "recall": {}, "confusion": [], "classes": [], "n": 2}
RECORD = Record(
    experiment="coop-facs-still-8", method="coop", dataset="facs-still-8", fingerprint="0" * 16, split="test",
    backbone="embedded", weights="0" * 16, profile="full", seed=0, config={}, config_digest="0" * 16, metrics=METRICS,
    selection={}, history=[], trainable_parameters=1, flops=1, seconds={"total": 1.0}, peak_memory=1, hardware={},
    versions={}, commit=None,
)  # fmt: skip


@pytest.fixture
def rows(small_book, monkeypatch):
    """The table of records, as the status page shows it for given records, of which some are stale."""

    def show(*written, stale=()):
        for record in written:
            records.write(record, small_book.root / "book" / "records")
        monkeypatch.setattr(experiments, "is_stale", lambda record: record.seed in stale)
        status.write(small_book)
        text = (small_book.generated / "status.md").read_text()
        table = text.partition("Full results of the experiments")[2]
        items = [item.split("\n  - ") for item in table.split("* - ")[1:]]
        return {item[0].strip("` "): [cell.strip().removesuffix("```").strip() for cell in item[1:]] for item in items}

    return show


def _seeds(*seeds):
    return [replace(RECORD, seed=seed) for seed in seeds]


def test_every_experiment_is_listed_with_the_command_that_fills_it(rows):
    found = rows()
    assert set(found) == {"Experiment", *experiments.names()}
    command = "`fer-core run coop-facs-still-8 --profile full --seed 0,1,2`"
    assert found["coop-facs-still-8"] == ["missing", command]


def test_three_current_seeds_are_full(rows):
    assert rows(*_seeds(0, 1, 2))["coop-facs-still-8"] == ["full: seeds 0,1,2", ""]


def test_too_few_seeds_are_partial_and_others_are_asked_for(rows):
    command = "`fer-core run coop-facs-still-8 --profile full --seed 0,2`"
    assert rows(*_seeds(1))["coop-facs-still-8"] == ["partial: seeds 1", command]


def test_stale_seeds_are_named_and_run_again(rows):
    command = "`fer-core run coop-facs-still-8 --profile full --seed 1`"
    assert rows(*_seeds(0, 1, 2), stale=(1,))["coop-facs-still-8"] == ["partial: seeds 0,2, stale: seeds 1", command]


def test_other_profiles_and_overridden_settings_are_no_full_results(rows):
    quick, varied = replace(RECORD, profile="quick"), replace(RECORD, variant="lr=1", overrides={"training.lr": 1})
    assert rows(quick, varied)["coop-facs-still-8"][0] == "missing"


def test_records_of_an_experiment_that_is_gone_are_told(rows):
    assert rows(replace(RECORD, experiment="gone-ferplus"))["gone-ferplus"][0] == "no longer an experiment (1 records)"
