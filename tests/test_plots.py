"""Figures show the numbers that they are given, in colours that stay apart, on opaque white."""

import io
import itertools

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from fer_core import plots, plots_people, plots_records
from fer_core.entanglement import Map
from fer_core.errors import UserError
from fer_core.metrics import Interval
from fer_core.records import Record

CLASSES = ("neutral", "fear", "surprise")

#: Linear RGB as seen with full protanopia, deuteranopia, tritanopia (Machado, Oliveira and Fernandes, 2009, table 1).
SIGHT = np.array([
    np.eye(3),
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
])  # fmt: skip


@pytest.fixture(autouse=True)
def backend():
    """No window, whatever the machine has."""
    matplotlib.use("agg")
    yield
    assert plt.get_fignums() == [], "expected figures that pyplot does not hold on to"


@pytest.fixture
def make_record():
    """Gives records of one experiment, with a history of three epochs."""

    def make(seed: int, war: float, epochs: int = 3) -> Record:
        history = [
            {"epoch": epoch, "losses": {"loss": 2.0 / epoch}, "validation": {"war": 0.2 * epoch, "uar": 0.1}}
            for epoch in range(1, epochs + 1)
        ]
        metrics = dict.fromkeys(("uar", "f1"), war) | {"recall": {}, "confusion": [[1]], "classes": ["a"], "n": 1}
        return Record(
            experiment="coop-facs-still-8", method="coop", dataset="facs-still-8", fingerprint="0", split="test",
            backbone="embedded", weights="0", profile="full", seed=seed, config={}, config_digest="0",
            metrics={"war": war, **metrics}, selection={"rule": "last", "epoch": epochs}, history=history,
            trainable_parameters=1, flops=1, seconds={}, peak_memory=1, hardware={}, versions={}, commit=None,
        )  # fmt: skip

    return make


def _rgb(color):
    return np.array([int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)])


def _linear(rgb):
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _lab(linear):
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = np.clip(linear, 0, 1) @ to_xyz.T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def test_class_colours_stay_apart_for_every_sight():
    colors = np.array([_linear(_rgb(color)) for color, _ in plots.LOOKS.values()])
    for sight in SIGHT:
        seen = _lab(colors @ sight.T)
        for (one, a), (other, b) in itertools.combinations(zip(plots.LOOKS, seen, strict=True), 2):
            # A difference of 2 is just seen side by side; 15 is seen between scattered points.
            assert np.linalg.norm(a - b) > 15, (one, other)


def test_class_colours_stand_out_from_white_and_markers_differ():
    for color, _ in plots.LOOKS.values():
        luminance = _linear(_rgb(color)) @ [0.2126, 0.7152, 0.0722]
        assert 1.05 / (luminance + 0.05) >= 3
    assert len({marker for _, marker in plots.LOOKS.values()}) == len(plots.LOOKS) == 11


def test_a_class_without_looks_of_its_own_gets_some():
    assert plots.look("boredom", 1) == (plots.SERIES[1], "s")
    assert plots.look("fear", 1) == plots.LOOKS["fear"]


def test_style_is_ours_whatever_the_reader_has_and_leaves_theirs_alone():
    with plt.rc_context({"axes.facecolor": "black", "font.size": 30, "figure.dpi": 300}):
        drawn = plots.relation([1, 2], [3, 4], ["a", "b"], [True, False], "x", "y")
        assert plt.rcParams["font.size"] == 30
    assert drawn.get_facecolor() == drawn.axes[0].get_facecolor() == (1, 1, 1, 1)
    assert drawn.dpi == 110
    assert drawn.axes[0].get_xticklabels()[0].get_fontsize() == 9.5


def test_figures_show_themselves_in_a_notebook():
    formatter = pytest.importorskip("IPython.core.formatters").DisplayFormatter()
    drawn, again = (plots.similarities({"": np.eye(3)}, CLASSES) for _ in range(2))
    shown, _ = formatter.format(drawn)
    assert shown["image/png"] == again._repr_png_()
    picture = plt.imread(io.BytesIO(shown["image/png"]))
    assert picture.shape == (594, 660, 4)
    assert (picture[..., 3] == 1).all()
    assert (picture[0, 0] == 1).all()


def _texts(axis):
    return [text.get_text() for text in axis.texts]


def test_confusions_are_in_percent_of_the_true_class():
    matrix = np.array([[3, 1, 0], [0, 0, 0], [1, 1, 2]])
    drawn = plots.confusions({"zero-shot": matrix, "coop": None, "probe": matrix}, CLASSES, missing="fer-core run")
    first, second, third, spare = drawn.axes
    assert _texts(first) == ["75", "25", "0", "0", "0", "0", "25", "25", "50"]
    assert _texts(second) == ["fer-core run"]
    assert _texts(third) == _texts(first)
    assert not spare.get_visible()
    assert [label.get_text() for label in first.get_yticklabels()] == list(CLASSES)


def test_figures_without_any_run_are_small(make_record):
    figures = (
        (plots.confusions({"coop": None}, CLASSES), plots.confusions({"coop": np.eye(3)}, CLASSES)),
        (plots_records.learning_curves({"coop": []}), plots_records.learning_curves({"coop": [make_record(0, 0.5)]})),
    )
    for empty, other in figures:
        assert 2 * empty.get_figheight() < other.get_figheight()
        assert _texts(empty.axes[0]) == ["not run"]


def test_dark_cells_carry_light_text():
    axis = plots.confusions({"": np.diag([1, 1, 1])}, CLASSES).axes[0]
    light, dark = axis.texts[0].get_color(), axis.texts[1].get_color()
    assert matplotlib.colors.to_rgb(light) == (1, 1, 1)
    assert sum(matplotlib.colors.to_rgb(dark)) < 1


def test_similarities_share_one_scale():
    drawn = plots.similarities({"image": np.eye(3), "text": np.full((3, 3), 0.5)}, CLASSES)
    one, other = (axis.collections[0].get_clim() for axis in drawn.axes)
    assert one == other == (0, 1)
    assert _texts(drawn.axes[1]) == ["0.50"] * 9


def test_a_matrix_of_another_size_is_refused():
    with pytest.raises(UserError, match=r"expected a matrix \(3, 3\), got \(2, 2\)"):
        plots.confusions({"": np.eye(2)}, CLASSES)


def test_no_matrix_at_all_is_refused():
    with pytest.raises(UserError, match="panels: expected at least one title, got none; pass None"):
        plots.confusions({}, CLASSES)


def test_maps_show_every_point_once():
    places = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    labels = np.arange(50) % 3
    drawn = plots.maps([Map("pca", places, (0.8,)), Map("umap", 2 * places, (0.95, 0.93))], labels, CLASSES)
    for axis, scale in zip(drawn.axes, (1, 2), strict=True):
        shown = [
            (*map(float, place), matplotlib.colors.to_hex(collection.get_facecolors()[0]))
            for collection in axis.collections
            for place in collection.get_offsets()
        ]
        colors = [plots.LOOKS[CLASSES[label]][0] for label in labels]
        expected = [(*map(float, scale * place), color) for place, color in zip(places, colors, strict=True)]
        assert sorted(shown) == sorted(expected)
    assert [axis.get_title(loc="left") for axis in drawn.axes] == [
        "PCA, trustworthiness 0.800", "UMAP, trustworthiness 0.930–0.950",
    ]  # fmt: skip
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == list(CLASSES)


def test_anchors_are_the_last_points_drawn_large():
    places = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    labels = np.concatenate([np.arange(27) % 3, np.arange(3)])
    (axis,) = plots.maps([Map("pca", places, (0.8,))], labels, CLASSES, anchors=3).axes
    small = [each for each in axis.collections if each.get_sizes()[0] < 20 and len(each.get_offsets())]
    large = [each for each in axis.collections if each.get_sizes()[0] > 100]
    assert sum(len(each.get_offsets()) for each in small) == 27
    np.testing.assert_allclose([each.get_offsets()[0] for each in large], places[-3:])


def test_intervals_stand_in_their_rows():
    groups = {
        "images": {"index": Interval(0.5, 0.4, 0.7)},
        "texts": {"index": Interval(0.2, 0.1, 0.3), "gap": Interval(1, 1, 1)},
    }
    drawn = plots.intervals(groups, "share", reference=0.125, percent=True)
    axis = drawn.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["index", "gap"]
    bars = [segment for collection in axis.collections for segment in collection.get_segments()]
    assert [tuple(np.round(bar[:, 0], 6)) for bar in bars] == [(40, 70), (10, 30), (100, 100)]
    assert axis.lines[0].get_xdata()[0] == 12.5
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["images", "texts"]


@pytest.mark.parametrize("others", [0, 1])
def test_an_endless_interval_is_a_hollow_mark_that_the_legend_explains(others):
    known = [axis.lines for axis in plots.intervals({"": {"a": Interval(0.5, 0.4, 0.7)}}, "share").axes]
    groups = {"one": {"a": Interval(0.5, 0.4, 0.7), "b": Interval(0.3, -np.inf, np.inf)}}
    groups |= {"other": {"b": Interval(0.1, -np.inf, np.inf)}} if others else {}
    drawn = plots.intervals(groups, "share")
    (axis,) = drawn.axes
    hollow = [line for line in axis.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [line.get_xdata().tolist() for line in hollow] == [[0.3], [0.1]][: 1 + others]
    assert [line.get_color() for line in hollow] == list(plots.SERIES[: 1 + others])
    told = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert told == [*groups, "hollow: one draw alone, no interval"]
    assert not any(line.get_markerfacecolor() == "white" for lines in known for line in lines)


def test_a_seventh_series_takes_the_first_look_again():
    numbers = {str(number): dict.fromkeys("abcd", float(number)) for number in range(1, 8)}
    last = [
        plots.intervals({name: {"a": Interval(1, 0, 2)} for name in numbers}, "x").axes[0].lines[-3],  # without caps
        plots_records.ratios(numbers, "x").axes[0].lines[-2],  # before the line at 1
        plots_people.dots(numbers, "x").axes[0].lines[-2],
        plots_people.reliability({"": {name: np.array([[0.6, 0.5, 3]]) for name in numbers}}).axes[0].lines[-1],
    ]
    assert [line.get_color() for line in last] == [plots.SERIES[0]] * 4


def test_learning_curves_follow_the_history(make_record):
    runs = [make_record(0, 0.5), make_record(1, 0.6)]
    drawn = plots_records.learning_curves({"coop": runs, "zero-shot": [make_record(0, 0.4, epochs=1)], "probe": []})
    loss, accuracy = drawn.axes[0], drawn.axes[3]
    assert [tuple(line.get_ydata()) for line in loss.lines[::2]] == [(2.0, 1.0, 2.0 / 3)] * 2
    assert tuple(accuracy.lines[0].get_ydata()) == pytest.approx((20, 40, 60))
    assert tuple(accuracy.lines[1].get_xdata()) == (3,)  # the selected epoch
    assert [_texts(axis) for axis in (drawn.axes[1], drawn.axes[2])] == [["nothing to train"], ["not run"]]


def test_a_seed_looks_the_same_in_all_learning_curves_and_the_legend_has_all(make_record):
    panels = {"untrained": [make_record(7, 0.5, epochs=1)], "one": [make_record(2, 0.5)]}
    panels |= {"two": [make_record(seed, 0.5) for seed in (0, 1, 2)]}
    drawn = plots_records.learning_curves(panels)
    one, two = drawn.axes[1], drawn.axes[2]
    assert one.lines[0].get_color() == two.lines[4].get_color() == plots.SERIES[2]
    assert one.lines[1].get_marker() == two.lines[5].get_marker() == plots.SERIES_MARKERS[2]
    (legend,) = drawn.legends
    assert [text.get_text() for text in legend.get_texts()] == ["seed 0", "seed 1", "seed 2"]
    assert [handle.get_color() for handle in legend.legend_handles] == list(plots.SERIES[:3])


def test_learning_curves_of_a_run_without_validation(make_record):
    run = make_record(0, 0.5)
    for row in run.history:
        row["validation"] = None
    drawn = plots_records.learning_curves({"coop": [run]})
    assert len(drawn.axes[0].lines) == 2


def test_seeds_are_points_and_their_mean_a_bar(make_record):
    drawn = plots_records.seeds({"coop": [make_record(0, 0.5), make_record(1, 0.6)], "probe": []})
    axis = drawn.axes[0]
    offsets = [np.asarray(collection.get_offsets()) for collection in axis.collections]
    points = np.concatenate([each for each in offsets if len(each)])
    assert sorted(np.round(points[:, 0], 6)) == [50, 60]
    assert axis.lines[-1].get_xdata()[0] == pytest.approx(55)
    assert _texts(axis) == ["not run"]
    assert plots_records.seeds({"probe": []}).axes[0].get_xlim() == (0, 100)


def test_relation_names_the_marked_pairs_only():
    axis = plots.relation([1, 2, 3], [4, 5, 6], ["a", "b", "c"], [False, True, False], "x", "y").axes[0]
    assert _texts(axis) == ["b"]
    assert np.asarray(axis.collections[1].get_offsets()).tolist() == [[2, 5]]


def test_ratios_stand_where_they_are_and_a_missing_one_is_left_out():
    drawn = plots_records.ratios({"operations": {"one": 10.0, "two": 0.5}, "time": {"one": 4.0}}, "times")
    axis = drawn.axes[0]
    assert axis.get_xscale() == "log"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["one", "two"]
    marks = {
        line.get_label(): list(line.get_xdata()) for line in axis.lines if line.get_label() in ("operations", "time")
    }
    assert marks == {"operations": [10.0, 0.5], "time": [4.0]}
