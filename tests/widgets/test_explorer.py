"""The explorer's state travels whole in a notebook, its script needs nothing, and it works in a browser by itself."""

import base64
import importlib.resources
import io
import json
import re

import nbformat
import numpy as np
import pytest
import widget_pages
from ipywidgets import Widget
from PIL import Image

from fer_core.errors import UserError
from fer_core.plots import LOOKS
from fer_core.widgets import explore

CLASSES = ("fear", "surprise", "anger")


@pytest.fixture
def points():
    """Twelve places on a line, four a class."""
    return np.stack([np.arange(12.0), np.zeros(12)], 1), np.arange(12) % 3


@pytest.fixture
def widget(points):
    made = explore(*points, CLASSES, title="A line", captions=[f"face {place}" for place in range(12)])
    yield made
    made.close()


def _files():
    folder = importlib.resources.files("fer_core.widgets")
    return {name: folder.joinpath(name).read_text(encoding="utf-8") for name in ("explorer.js", "explorer.css")}


def test_state_survives_a_notebook(widget, points, tmp_path):
    widget.shown = [True, False, True]
    notebook = nbformat.v4.new_notebook()
    state = Widget.get_manager_state(widgets=[widget])
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
    nbformat.write(notebook, tmp_path / "copy.ipynb")
    read = json.loads((tmp_path / "copy.ipynb").read_text())["metadata"]["widgets"]
    (model,) = (
        each
        for each in read["application/vnd.jupyter.widget-state+json"]["state"].values()
        if each["model_module"] == "anywidget"
    )
    sent = {tuple(buffer["path"]): base64.b64decode(buffer["data"]) for buffer in model["buffers"]}
    assert np.frombuffer(sent["points",], "<f4").reshape(-1, 2).tolist() == points[0].tolist()
    assert np.frombuffer(sent["labels",], np.uint8).tolist() == points[1].tolist()
    state = model["state"]
    assert state["classes"] == list(CLASSES)
    assert state["shown"] == [True, False, True]
    assert state["colors"] == [LOOKS[name][0] for name in CLASSES]
    assert state["captions"][3] == "face 3"
    # Without a kernel the page has nothing but this text to run.
    assert state["_esm"] == _files()["explorer.js"]
    assert state["_css"] == _files()["explorer.css"]


def test_nothing_is_fetched():
    for name, text in _files().items():
        assert not re.search(r"https?:|//[a-z]|\bimport\b|@import|fetch\(|url\(", text), name


def test_a_map_of_thousands_stays_small(points):
    many = explore(np.zeros((5000, 2)), np.zeros(5000, int), CLASSES, title="Many")
    assert len(many.points) + len(many.labels) == 5000 * 9
    many.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coordinates": np.zeros((12, 3))}, r"coordinates: expected finite numbers \(N, 2\), got shape \(12, 3\)"),
        ({"coordinates": np.full((12, 2), np.nan)}, "coordinates: expected finite"),
        ({"labels": np.zeros(3, int)}, r"labels: expected 12 integers, got int64 of shape \(3,\)"),
        ({"labels": np.full(12, 3)}, r"labels: expected 0\.\.2"),
        ({"captions": ["one"]}, "captions: expected 12 or none, got 1"),
        ({"said": {"other": np.zeros(12, int)}}, "said: expected , got other; pass one a map"),
        ({"said": {"": np.full(12, 9)}}, r"said: expected 0\.\.2, got others"),
        ({"features": {"": np.zeros((3, 5))}}, r"features: expected finite numbers \(12, D\), got shape \(3, 5\)"),
        ({"images": np.zeros((12, 8, 8, 3), np.uint8)}, r"images: expected uint8 \(12, 3, S, S\), got uint8 \(12, 8"),
        ({"coordinates": {"a": np.zeros((12, 2)), "b": np.zeros((11, 2))}}, r"maps of the same points.*got \[12, 11\]"),
    ],
)
def test_what_does_not_fit_is_refused(change, message, points):
    given = {"coordinates": points[0], "labels": points[1], **change}
    with pytest.raises(UserError, match=message):
        explore(given.pop("coordinates"), given.pop("labels"), CLASSES, title="A line", **given)


def test_neighbours_are_those_of_the_features(points):
    features = np.random.default_rng(0).normal(size=(12, 5))
    made = explore(*points, CLASSES, title="A line", features={"": features})
    near = np.frombuffer(made.near, "<u2").reshape(12, -1)
    assert near.shape == (12, 6)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    for place in range(12):
        others = sorted((other for other in range(12) if other != place), key=lambda other: -unit[place] @ unit[other])
        assert near[place].tolist() == others[:6]
    made.close()


def test_each_point_has_its_picture(points):
    images = np.stack([np.full((3, 16, 16), 20 * place, np.uint8) for place in range(12)])
    made = explore(*points, CLASSES, title="A line", images=images)
    sheet = np.asarray(Image.open(io.BytesIO(made.tiles)))
    assert sheet.shape == (3 * made.tile, 4 * made.tile, 3)
    for place in range(12):
        row, column = divmod(place, 4)
        own = sheet[row * made.tile : (row + 1) * made.tile, column * made.tile : (column + 1) * made.tile]
        assert own.mean() == pytest.approx(20 * place, abs=4)
    made.close()


@pytest.mark.book
@pytest.mark.parametrize("width", [1000, 360])
def test_it_works_by_mouse_and_keyboard(widget, width, chromium):
    page = chromium.new_page(viewport={"width": width, "height": 800})
    wrong = widget_pages.show(page, widget)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    told, area = page.get_by_role("status"), page.get_by_role("application", name="A line")

    area.focus()
    page.keyboard.press("ArrowRight")
    assert told.inner_text() == "anger: face 5"
    page.keyboard.press("ArrowRight")
    assert told.inner_text() == "fear: face 6"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert told.inner_text() == "surprise: face 4"
    for keys in ("Alt+ArrowRight", "Control+ArrowRight", "Shift+ArrowRight", "Control+Enter"):  # the browser's own
        page.keyboard.press(keys)
    assert told.inner_text() == "surprise: face 4"
    assert page.locator(".fer-picked table").count() == 0

    page.get_by_label("surprise").uncheck()
    assert page.evaluate("model.get('shown')") == [True, False, True]
    assert told.inner_text() == ""
    page.keyboard.press("Tab")  # anger's box
    page.keyboard.press("Space")
    assert page.evaluate("model.get('shown')") == [True, False, False]

    page.evaluate("model.set('shown', [true, true, true])")
    assert page.get_by_label("surprise").is_checked()
    assert widget_pages.reached_by_jupyterlab(page) == []
    box = area.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + 14, box["y"] + box["height"] - 14)
    assert told.inner_text() == "fear: face 0"
    assert wrong == []
    page.close()


@pytest.mark.book
def test_two_methods_are_compared(points, chromium):
    line, labels = points
    circle = np.stack([np.cos(np.arange(12)), np.sin(np.arange(12))], 1)
    made = explore(
        {"before": line, "after": circle}, labels, CLASSES, title="Two maps", pairs=[("fear", "surprise")],
        said={"before": np.zeros(12, int), "after": labels}, features={"before": line + 1, "after": circle},
        images=np.zeros((12, 3, 8, 8), np.uint8),
    )  # fmt: skip
    near = np.frombuffer(made.near, "<u2").reshape(2, 12, 6)
    page = chromium.new_page(viewport={"width": 1000, "height": 900}, reduced_motion="reduce")
    wrong = widget_pages.show(page, made)
    told, area = page.get_by_role("status"), page.get_by_role("application", name="Two maps")

    area.focus()
    page.keyboard.press("ArrowRight")
    assert told.inner_text() == "anger; before says fear"
    assert page.locator("figcaption").all_inner_texts() == [CLASSES[labels[at]] for at in (5, *near[0, 5])]
    page.get_by_label("after").check()
    assert page.evaluate("model.get('view')") == 1
    assert told.inner_text() == "anger; after says anger"
    assert page.locator("figcaption").all_inner_texts() == [CLASSES[labels[at]] for at in (5, *near[1, 5])]

    area.focus()
    page.keyboard.press("Enter")
    rows = page.get_by_role("row")
    counts = [int(each) for each in page.locator(".fer-picked td").all_inner_texts() if each]
    assert sum(counts) == 7
    assert page.locator(".fer-picked .fer-right").count() == rows.count() - 1
    page.keyboard.press("Escape")
    assert page.locator(".fer-picked table").count() == 0

    page.get_by_label("before").check()
    box = area.locator("canvas").bounding_box()
    middle = box["y"] + box["height"] - 14  # the line lies at the bottom
    page.mouse.move(box["x"] + 2, middle - 10)
    page.mouse.down()
    half = box["x"] + 14 + 5.5 / 11 * (box["width"] - 28)
    for x, y in ((half, middle - 10), (half, middle + 10), (box["x"] + 2, middle + 10)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    assert page.locator(".fer-picked caption").inner_text().startswith("6 faces: in rows what they show")
    assert page.locator(".fer-picked td").all_inner_texts() == ["", "2", "2", "2"]  # all said to be fear

    page.get_by_label("which classes").select_option("fear, surprise")
    assert page.evaluate("model.get('shown')") == [True, True, False]
    assert page.locator(".fer-picked caption").inner_text().startswith("4 faces")

    chosen = page.get_by_label("which classes")
    said = chosen.evaluate_handle("list => () => list.selectedOptions[0]?.text ?? null")
    assert said.evaluate("said => said()") == "fear, surprise"
    page.get_by_label("anger").check()
    assert said.evaluate("said => said()") == "all classes"
    page.get_by_label("fear").uncheck()
    assert said.evaluate("said => said()") is None
    chosen.select_option("fear, surprise")  # may be had again
    assert page.evaluate("model.get('shown')") == [True, True, False]
    assert wrong == []
    page.close()
    made.close()
