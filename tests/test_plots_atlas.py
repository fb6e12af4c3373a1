"""Figures of the atlas draw what they are given."""

import numpy as np
import pytest

from fer_core import plots_atlas
from fer_core.entanglement import Map
from fer_core.metrics import Interval

CLASSES = ("fear", "surprise")


def test_maps_share_their_limits_and_name_their_trust():
    generator = np.random.default_rng(0)
    maps = {
        name: Map("umap", (scale * generator.standard_normal((20, 2))).astype(np.float32), trust)
        for name, scale, trust in (("small", 1, (0.9,)), ("large", 10, (0.8, 0.85)))
    }
    drawn = plots_atlas.gallery(maps, np.arange(20) % 2, CLASSES)
    small, large, unused = drawn.axes
    assert (small.get_xlim(), small.get_ylim()) == (large.get_xlim(), large.get_ylim())
    assert small.get_title(loc="left") == "small  (0.90)"
    assert large.get_title(loc="left") == "large  (0.80–0.85)"
    assert not unused.get_visible()
    places = np.concatenate([each.get_offsets() for each in large.collections])
    assert np.array_equal(np.sort(places[:, 0]), np.sort(maps["large"].coordinates[:, 0]))
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == list(CLASSES)


def test_responses_have_a_line_a_method():
    lines = {"zero-shot": ((0, 1), (0.1, 0.9)), "coop": ((0, 1), (0.2, 0.8))}
    panels = dict.fromkeys(("a", "b", "c", "d"), lines)
    drawn = plots_atlas.responses(panels, dict.fromkeys(panels, "level"), "WAR", reference=0.5)
    shown = [axis for axis in drawn.axes if axis.get_visible()]
    assert len(shown) == 4
    for axis in shown:
        reference, *others = axis.lines
        assert list(reference.get_ydata()) == [0.5, 0.5]
        assert [list(line.get_ydata()) for line in others] == [[0.1, 0.9], [0.2, 0.8]]
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["zero-shot", "coop"]


def test_cost_has_a_mark_a_method_with_its_interval():
    points = {"few": (100, Interval(0.8, 0.7, 0.9)), "many": (1_000_000, Interval(0.2, 0.1, 0.3))}
    drawn = plots_atlas.cost(points, "index")
    (axis,) = drawn.axes
    assert axis.get_xscale() == "log"
    assert [(text.get_text(), text.xy) for text in axis.texts] == [("few", (100, 0.9)), ("many", (1_000_000, 0.3))]
    marks = [container.lines[0].get_xydata()[0].tolist() for container in axis.containers]
    assert marks == [[100, 0.8], [1_000_000, 0.2]]


def test_names_of_methods_of_one_size_stand_apart():
    places = np.array([0.5, 0.1, 0.5, 0.51, 0.9])
    placed = plots_atlas._apart(places, 0.05)
    assert placed[[1, 4]].tolist() == [0.1, 0.9]  # nothing near them
    assert np.diff(placed[[0, 2, 3]]) == pytest.approx([0.05, 0.05])  # in their order
    assert placed[[0, 2, 3]].mean() == pytest.approx(places[[0, 2, 3]].mean())
    assert np.diff(np.sort(plots_atlas._apart(np.linspace(0, 1, 60) ** 3, 0.01))).min() > 0.01 - 1e-12
