"""Errors are one line and name the nearest known name."""

import ast
import pickle
from pathlib import Path

import pytest

import fer_core
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


# Beginnings of messages without advice of their own, and where it comes from.
_ADVISED_ELSEWHERE = {
    ": expected a whole checkpoint, got: ": "checkpoints.read: its callers know whether the file is to be deleted",
    "a  that no run writes": "trained: becomes part of a longer message",
    ": ": "config.build: what a dataclass refused, in that dataclass's words",
}


def _raised():
    """Place and literal text of every ``UserError(...)`` of the package, without what is filled in."""
    for path in sorted(Path(fer_core.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "UserError" and node.args:
                yield f"{path.name}:{node.lineno}", _literal(node.args[0])


def _literal(node):
    """The text of a string, an f-string or a sum of them."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_literal(part) for part in node.values)
    return _literal(node.left) + _literal(node.right) if isinstance(node, ast.BinOp) else ""


def test_every_message_says_what_to_do() -> None:
    raised = dict(_raised())
    assert len(raised) > 200  # else the walk has missed them
    silent = {where: text for where, text in raised.items() if "; " not in text and text not in _ADVISED_ELSEWHERE}
    assert not silent
