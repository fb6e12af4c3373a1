"""Errors are one line and name the nearest known name."""

import pickle

import pytest

from fer_core.errors import Stopped, UserError, unknown


def test_names_the_nearest_known_name() -> None:
    error = unknown("data set", "ferpluss", ["ferplus", "raf-db"])
    assert str(error) == "unknown data set 'ferpluss'; did you mean 'ferplus'?"


def test_lists_all_names_where_none_is_near() -> None:
    assert str(unknown("method", "xyz", ["tent", "coop"])) == "unknown method 'xyz'; known: coop, tent."


def test_says_that_nothing_is_known() -> None:
    assert str(unknown("setting", "lr", [])) == "unknown setting 'lr'; known: none."


@pytest.mark.parametrize("name", ["two\nlines", 7, None])
def test_is_always_one_line(name: object) -> None:
    assert "\n" not in str(unknown("split", name, ["train"]))


def test_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="unknown split"):
        raise unknown("split", "x", ["train"])
    assert isinstance(unknown("split", "x", ["train"]), UserError)


def test_a_stopped_run_travels_between_processes():
    there = pickle.loads(pickle.dumps(Stopped("stopped after step 3", "SIGTERM")))
    assert (str(there), there.by) == ("stopped after step 3", "SIGTERM")
