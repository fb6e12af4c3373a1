"""Figures of what goes on inside methods: what they draw, and when a course reaches a score."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fer_core import plots_inside
from fer_core.plots_diagrams import Box, diagram


def course(*war, every=1, seconds=2.0):
    """A record with a history."""
    return SimpleNamespace(
        history=[
            {"epoch": at, "seconds": seconds, "validation": {"war": value} if at % every == 0 else None}
            for at, value in enumerate(war, start=1)
        ]
    )


def test_a_course_reaches_a_score_in_its_first_epoch_of_that_height():
    found = [course(0.2, 0.6, 0.5, 0.8), course(0.1, 0.2, 0.6, 0.6, seconds=4.0)]
    assert plots_inside.reached(found, 0.6) == (2.5, 8.0)  # after 2 and 3 epochs, 4 and 12 seconds
    assert plots_inside.reached(found, 0.8) is None
    assert plots_inside.reached([], 0.1) is None
    assert plots_inside.reached([course(0.9, 0.9, 0.9, 0.9, every=2)], 0.6) == (2.0, 4.0)


def test_convergence_draws_a_line_a_method_by_epochs_and_by_seconds():
    methods = {"one": [course(0.2, 0.4), course(0.4, 0.6)], "none": [], "untrained": [course(0.5)]}
    drawn = plots_inside.convergence(methods)
    by_epoch, by_time = drawn.axes
    (line,) = by_epoch.lines
    np.testing.assert_allclose(line.get_ydata(), [30, 50])
    np.testing.assert_allclose(line.get_xdata(), [1, 2])
    np.testing.assert_allclose(by_time.lines[0].get_xdata(), [2, 4])
    assert "not run" in plots_inside.convergence({"none": []}).axes[0].texts[0].get_text()


def test_convergence_takes_each_epochs_median_over_the_seeds_that_have_it():
    methods = {"one": [course(0.2, 0.4, 0.6), course(0.4, 0.6), course(0.6, 0.8, seconds=4.0), course(0.9)]}
    by_epoch, by_time = plots_inside.convergence(methods).axes
    np.testing.assert_allclose(by_epoch.lines[0].get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(by_epoch.lines[0].get_ydata(), [40, 60, 60])
    np.testing.assert_allclose(by_time.lines[0].get_xdata(), [2, 4, 6])
    other = [course(*[0.2] * 4, every=2), course(*[0.4] * 6, every=3), course(0.1, 0.1, every=3)]
    np.testing.assert_allclose(plots_inside.convergence({"": other}).axes[0].lines[0].get_xdata(), [2, 3, 4, 6])


def test_attention_has_a_row_of_faces_and_one_for_each_reader():
    image = torch.randint(0, 255, (3, 3, 16, 16), dtype=torch.uint8)
    drawn = plots_inside.attention(image, {"text": torch.rand(3, 4, 4), "other": torch.rand(3, 4, 4)}, ["a", "b", "c"])
    assert len(drawn.axes) == 9
    assert [axis.get_ylabel() for axis in drawn.axes[::3]] == ["picture", "text", "other"]


def test_heat_writes_numbers_where_there_are_few():
    values = {"one": np.arange(6.0).reshape(2, 3), "two": np.ones((2, 3))}
    drawn = plots_inside.heat(values, ["a", "b"], [["x", "y", "z"]] * 2, "what", middle=1.0)
    assert [text.get_text() for text in drawn.axes[0].texts] == [f"{value:.2f}" for value in range(6)]
    wide = {"wide": np.zeros((2, 40))}
    assert not plots_inside.heat(wide, ["a", "b"], [[""] * 40], "what").axes[0].texts


@pytest.mark.parametrize("middle", [None, 1.0])
def test_heat_leaves_what_is_not_known_out_of_its_colours(middle):
    values = {"one": np.array([[0.0, np.nan], [2.0, 4.0]]), "two": np.full((2, 2), np.nan)}
    drawn = plots_inside.heat(values, ["a", "b"], [["x", "y"]] * 2, "what", middle)
    one, two = (axis for axis in drawn.axes if axis.get_title(loc="left"))
    assert one.collections[0].get_clim() == two.collections[0].get_clim() == ((0, 4) if middle is None else (-2, 4))
    assert sorted(text.get_text() for text in one.texts) == ["0.00", "2.00", "4.00", "–"]
    (dash,) = (text for text in one.texts if text.get_text() == "–")
    assert dash.get_position() == (1.5, 0.5)
    assert [text.get_text() for text in two.texts] == ["–"] * 4
    nothing = plots_inside.heat({"two": values["two"]}, ["a", "b"], [["x", "y"]], "what", middle)
    assert [text.get_text() for text in nothing.axes[0].texts] == ["–"] * 4


@pytest.mark.parametrize(("x", "y"), [(2, 0), (0, 2), (2, 2), (-2, 0)])
def test_arrows_join_facing_sides(x, y):
    boxes = {"a": Box(0, 0, "a"), "b": Box(x, y, "b", "trained")}
    drawn = diagram(boxes, [("a", "b")])
    (axis,) = drawn.axes
    assert {text.get_text() for text in axis.texts} == {"a", "b", "data", "trained"}
    arrow = next(patch for patch in axis.patches if type(patch).__name__ == "FancyArrowPatch")
    start, end = arrow._posA_posB
    assert abs(end[0] - start[0]) < abs(x) or abs(end[1] - start[1]) < abs(y)
