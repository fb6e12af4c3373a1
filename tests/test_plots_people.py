"""Figures of personalisation draw what they are given."""

import numpy as np
import pytest

from fer_core import metrics, plots_people


def test_dots_are_sorted_by_the_last_series():
    drawn = plots_people.dots({"before": {"a": 1.0, "b": 0.0}, "after": {"a": 0.2, "b": 0.1}}, "x")
    (axis,) = drawn.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["b", "a"]
    assert [list(line.get_xdata()) for line in axis.lines[:2]] == [[0.0, 1.0], [0.1, 0.2]]


def test_windows_mark_the_chosen_one_and_the_apex():
    entropies, apex = np.array([[0.5, 0.2, 0.4], [0.1, 0.2, 0.3]]), np.array([[0.25, 0.5], [0.0, 0.0]])
    drawn = plots_people.windows(entropies, 4, 6, apex, ["one", "two"])
    first, second = drawn.axes[:2]
    np.testing.assert_allclose(first.lines[0].get_xdata(), [2, 3, 4])
    assert first.lines[1].get_xdata()[0] == 3
    assert len(first.patches) == 1
    assert not second.patches


def test_people_are_sorted_and_gains_and_losses_differ_in_colour():
    drawn = plots_people.people({"pain": np.array([3.0, -1.0, 0.5])}, "gain")
    heights = [bar.get_height() for bar in drawn.axes[0].patches]
    assert heights == [-1.0, 0.5, 3.0]
    assert drawn.axes[0].patches[0].get_facecolor() != drawn.axes[0].patches[1].get_facecolor()


def test_courses_and_reliability_have_a_line_each():
    drawn = plots_people.courses({"entropy": {"": np.arange(4.0)}, "both": {"a": np.ones(2), "b": np.zeros(2)}}, "pass")
    assert [len(axis.lines) for axis in drawn.axes] == [1, 2]
    drawn = plots_people.courses({"odds": {"": np.arange(2.0)}}, "phase", ticks=("onset", "apex"))
    assert [label.get_text() for label in drawn.axes[0].get_xticklabels()] == ["onset", "apex"]
    rows = np.array([[0.6, 0.5, 10], [0.9, 0.8, 30]])
    drawn = plots_people.reliability({"pain": {"before": rows, "after": rows + 0.01}})
    assert len(drawn.axes[0].lines) == 3  # the diagonal and two


@pytest.mark.parametrize("classes", [2, 8])
def test_reliability_shows_the_least_confidence_of_any_number_of_classes(classes):
    logits = np.concatenate([np.zeros((5, classes)), 9 * np.eye(classes)])
    rows = metrics.reliability(np.arange(5 + classes) % classes, logits)
    drawn = plots_people.reliability({"one": {"a": rows[-1:]}, "two": {"a": rows}})
    for axis in drawn.axes:
        assert axis.get_xlim() == pytest.approx((1 / classes - 0.05, 1.02))
    assert plots_people.reliability({"one": {"a": rows[-1:]}}).axes[0].get_xlim()[0] == 0.45
