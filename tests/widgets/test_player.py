"""The player's state travels whole in a notebook, is small, and a browser shows by keyboard what the course holds."""

import base64
import importlib.resources
import json
import re

import nbformat
import numpy as np
import pytest
import widget_pages
from ipywidgets import Widget

from fer_core.adapt import Course
from fer_core.errors import UserError
from fer_core.widgets import play

CLASSES = ("neutral", "pain", "stress")
PHRASES = tuple(f"unit {letter} moved" for letter in "abcdefgh")
NAMES = ("one", "two", "three")
TRUTHS = np.array([1, 0, 2])
APEX = np.array([[0.25, 0.5], [0.0, 0.0], [0.5, 1.2]])


def _course(passes=5, clips=3, windows=3, phrases=8, classes=3):
    """Numbers of an adaptation that never was; windows are chosen by them as the method does."""
    drawn = np.random.default_rng(3)
    entropies = drawn.uniform(0.1, 1.0, (passes, clips, windows)).astype(np.float32)
    return Course(
        entropies=entropies,
        chosen=entropies.argmin(2),
        probabilities=drawn.dirichlet(np.ones(classes), (passes, clips)).astype(np.float32),
        likeness=drawn.uniform(-5, 5, (passes, clips, phrases)).astype(np.float32),
        moved=np.zeros((passes, phrases), np.float32),
        words=np.ones((passes, phrases), np.float32),
    )


def _frames():
    """Six frames a clip, each of one colour of its own: 12 times its number in all."""
    grey = 12 * np.arange(18, dtype=np.uint8).reshape(3, 6, 1, 1, 1)
    return np.broadcast_to(grey, (3, 6, 3, 8, 8))


@pytest.fixture
def course():
    return _course()


@pytest.fixture
def widget(course):
    made = play(course, _frames(), CLASSES, PHRASES, names=NAMES, truths=TRUTHS, apex=APEX, title="A person")
    yield made
    made.close()


def test_state_survives_a_notebook(widget, course, tmp_path):
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["widgets"] = {
        "application/vnd.jupyter.widget-state+json": Widget.get_manager_state(widgets=[widget])
    }
    nbformat.write(notebook, tmp_path / "copy.ipynb")
    read = json.loads((tmp_path / "copy.ipynb").read_text())["metadata"]["widgets"]
    models = read["application/vnd.jupyter.widget-state+json"]["state"].values()
    (model,) = (each for each in models if each["model_module"] == "anywidget")
    sent = {buffer["path"][0]: base64.b64decode(buffer["data"]) for buffer in model["buffers"]}
    for name in ("entropies", "probabilities", "likeness"):
        expected = getattr(course, name)
        assert np.array_equal(np.frombuffer(sent[name], "<f4").reshape(expected.shape), expected), name
    assert np.frombuffer(sent["chosen"], "<u2").reshape(5, 3).tolist() == course.chosen.tolist()
    state = model["state"]
    assert (state["passes"], state["length"], state["window"]) == (5, 6, 4)
    assert state["apex"] == [[1.5, 3.0], [], [3.0, 6.0]]
    assert (state["truths"], state["phrases"], state["names"]) == (TRUTHS.tolist(), list(PHRASES), list(NAMES))
    # Without a kernel the page has nothing but this text to run.
    folder = importlib.resources.files("fer_core.widgets")
    for name, kept in (("player.js", state["_esm"]), ("player.css", state["_css"])):
        text = folder.joinpath(name).read_text(encoding="utf-8")
        assert kept == text
        assert not re.search(r"https?:|//[a-z]|\bimport\b|@import|fetch\(|url\(", text), name


def test_six_clips_add_little_to_a_page():
    noise = np.random.default_rng(0).integers(0, 255, (6, 12, 3, 64, 64), dtype=np.uint8)  # nothing packs worse
    course = _course(11, 6, 5, 46, 2)
    many = play(course, noise, CLASSES[:2], ["a phrase"] * 46, names=["clip"] * 6, truths=np.zeros(6, int))
    state = Widget.get_manager_state(widgets=[many])["state"][many.model_id]
    assert len(json.dumps(state)) < 600_000
    many.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"frames": np.zeros((3, 6, 8, 8, 3), np.uint8)},
            r"frames: expected uint8 \(V, T, 3, S, S\), got uint8 \(3, 6",
        ),
        ({"frames": np.zeros((3, 6, 3, 8, 8))}, "frames: expected uint8"),
        ({"frames": np.zeros((2, 6, 3, 8, 8), np.uint8)}, "frames: expected 3 clips of at least 3 frames.*got 2 of 6"),
        ({"frames": np.zeros((3, 2, 3, 8, 8), np.uint8)}, "frames: expected 3 clips of at least 3 frames.*got 3 of 2"),
        ({"classes": CLASSES[:2]}, "classes: expected 3, as the course has, got 2"),
        ({"phrases": PHRASES[:2]}, "phrases: expected 8, as the course has, got 2"),
        ({"names": NAMES[:2]}, "names: expected 3, as the course has, got 2"),
        ({"truths": np.array([0, 1])}, r"truths: expected 3 integers in 0\.\.2, got int64 of shape \(2,\)"),
        ({"truths": np.array([0, 1, 3])}, r"truths: expected 3 integers in 0\.\.2"),
        ({"truths": np.zeros(3)}, r"truths: expected 3 integers in 0\.\.2, got float64"),
        ({"apex": np.zeros((3, 3))}, r"apex: expected finite numbers \(3, 2\), got shape \(3, 3\)"),
        ({"apex": np.full((3, 2), np.nan)}, "apex: expected finite numbers"),
    ],
)
def test_what_does_not_fit_is_refused(change, message, course):
    given = {"frames": _frames(), "classes": CLASSES, "phrases": PHRASES, "names": NAMES, "truths": TRUTHS, **change}
    with pytest.raises(UserError, match=message):
        play(course, given.pop("frames"), given.pop("classes"), given.pop("phrases"), **given)


def test_without_an_apex_none_is_told(course):
    made = play(course, _frames(), CLASSES, PHRASES, names=NAMES, truths=TRUTHS)
    assert made.apex == [[], [], []]
    made.close()


def _percent(share):
    return f"{100 * share:.2f} %"


def _signed(value):
    return f"{value:+.2f}".replace("-", "−")


def _said(course, clip, step):
    """What the status has to say."""
    first, now = course.chosen[step, clip], course.probabilities[:, clip]
    told = [f"{CLASSES[row.argmax()]} {_percent(row.max())}" for row in (now[0], now[step])]
    change = f"pass {step} of 4: says {told[1]}, was {told[0]}" if step else f"before adaptation: says {told[0]}"
    window = f"window of frames {first + 1} to {first + 4}, entropy {course.entropies[step, clip, first]:.3f}"
    return f"clip {clip + 1} of 3 shows {CLASSES[TRUTHS[clip]]}; {change}; {window}"


def _rows(page, name):
    cells = "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    return page.locator(f"table.{name} tbody tr").evaluate_all(cells)


def _check(page, course, clip, step):
    """All that is written about a clip and a pass, against the course."""
    assert page.get_by_role("status").inner_text() == _said(course, clip, step)
    now, before = course.probabilities[step, clip], course.probabilities[0, clip]
    expected = [
        [name + (" (true)" if place == TRUTHS[clip] else ""), "", _percent(before[place]), _percent(now[place])]
        for place, name in enumerate(CLASSES)
    ]
    assert _rows(page, "fer-said") == expected
    bars = page.locator(".fer-bar").evaluate_all(
        "all => all.map(({ children: [bar, mark] }) => [parseFloat(bar.style.width), parseFloat(mark.style.left)])"
    )
    assert bars == [pytest.approx(pair, abs=1e-3) for pair in zip(100 * now, 100 * before, strict=True)]
    assert page.locator(".fer-said .fer-first").inner_text() == _percent(now.max())
    fits, first = course.likeness[step, clip], course.likeness[0, clip]
    best = sorted(range(8), key=lambda place: -fits[place])[:5]
    assert _rows(page, "fer-fits") == [[PHRASES[at], _signed(first[at]), _signed(fits[at])] for at in best]
    most = sorted(range(8), key=lambda place: -abs(fits[place] - first[place]))[:5] if step else []
    changed = [[PHRASES[at], _signed(fits[at] - first[at]), _signed(fits[at])] for at in most]
    assert _rows(page, "fer-changed") == (changed or [["none yet: no pass has been made", "", ""]])


# A page's own colours for its text, as a theme sets them; the widget stands on white in any theme.
THEMES = {"light": "", "dark": "body { background: #121212 } * { color: #ced6dd }"}
CONTRASTS = """() => {
  const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const light = (color) => color.match(/[0-9.]+/g).slice(0, 3).map(Number).map(linear)
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const contrast = (element) => {
    const style = getComputedStyle(element);
    const ground = style.backgroundColor === "rgba(0, 0, 0, 0)" ? "rgb(255, 255, 255)" : style.backgroundColor;
    const [a, b] = [light(element instanceof SVGElement ? style.fill : style.color), light(ground)].sort();
    return (b + 0.05) / (a + 0.05);
  };
  const own = (element) => [...element.childNodes].some((each) => each.nodeType === 3 && each.data.trim());
  return [...document.querySelectorAll(".fer-player *:not(option)")].filter(own).map(contrast);
}"""


@pytest.mark.book
@pytest.mark.parametrize(("width", "theme"), [(1000, "light"), (1000, "dark"), (360, "light"), (360, "dark")])
def test_by_keyboard_it_says_what_the_course_holds(width, theme, widget, course, chromium):
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    wrong = widget_pages.show(page, widget, THEMES[theme])
    assert page.get_by_role("group", name="A person").count() == 1
    assert widget_pages.reached_by_jupyterlab(page) == []
    _check(page, course, 0, 0)

    page.get_by_label("clip").focus()
    page.keyboard.press("ArrowDown")
    _check(page, course, 1, 0)
    page.keyboard.press("Tab")  # the button that plays the passes
    page.keyboard.press("Tab")
    for step in range(1, 5):
        page.keyboard.press("ArrowRight")
        _check(page, course, 1, step)
    assert page.evaluate("[model.get('clip'), model.get('step'), model.get('frame')]") == [1, 4, 0]
    slider = page.get_by_label("pass", exact=True)
    assert slider.get_attribute("aria-valuetext") == "pass 4 of 4"

    page.get_by_label("frame", exact=True).focus()
    first = course.chosen[4, 1]
    for frame in range(1, 6):
        page.keyboard.press("ArrowRight")
        inside = "in" if first <= frame < first + 4 else "outside"
        told = page.get_by_label("frame", exact=True).get_attribute("aria-valuetext")
        assert told == f"frame {frame + 1} of 6, {inside} the chosen window"
        pixel = page.evaluate("[...document.querySelector('canvas').getContext('2d').getImageData(90, 90, 1, 1).data]")
        assert pixel[:3] == pytest.approx([12 * (6 + frame)] * 3, abs=4)

    # A kernel, or another view of the same widget, moves it too.
    page.evaluate("model.set('clip', 2)")
    _check(page, course, 2, 4)
    assert page.get_by_label("clip").input_value() == "three, shows stress"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ratios = page.evaluate(CONTRASTS)
    assert len(ratios) > 50
    assert min(ratios) >= 4.5
    assert wrong == []
    page.close()


@pytest.mark.book
def test_the_timeline_shows_window_and_apex(widget, course, chromium):
    page = chromium.new_page(viewport={"width": 1000, "height": 900})
    wrong = widget_pages.show(page, widget)
    svg = page.get_by_role("img", name=re.compile("Entropy of each window of 4 frames"))
    dots = svg.locator("circle").evaluate_all(
        "all => all.map((each) => [+each.getAttribute('cx'), +each.getAttribute('cy')])"
    )
    band, square = (
        svg.locator("rect").nth(at).evaluate("each => ['x', 'y', 'width'].map((name) => +each.getAttribute(name))")
        for at in (0, 1)
    )
    # Middles of windows of 4 lie at 2, 3 and 4; lines through two of them place everything else.
    (left, low), (_, middle), (right, high) = dots
    frame = (right - left) / 2
    assert [band[0], band[2]] == pytest.approx([left - 0.5 * frame, 1.5 * frame], abs=0.01)
    first = course.chosen[0, 0]
    assert [square[0] + 6, square[1] + 6] == pytest.approx(dots[first], abs=0.01)
    slope = (high - low) / (course.entropies[0, 0, 2] - course.entropies[0, 0, 0])
    assert slope < 0  # more entropy stands higher
    expected = low + slope * (course.entropies[0, 0, 1] - course.entropies[0, 0, 0])
    assert middle == pytest.approx(expected, abs=0.01)
    page.get_by_label("clip").select_option(index=1)
    assert svg.locator("rect").count() == 1  # no apex, nothing shaded
    assert wrong == []
    page.close()


@pytest.mark.book
def test_it_moves_when_asked_and_then_alone(widget, chromium):
    page = chromium.new_page(viewport={"width": 1000, "height": 900})
    page.clock.install(time=0)
    widget_pages.show(page, widget)
    page.clock.pause_at(1000)  # from here on time passes as this test says
    page.clock.run_for(10_000)
    where = "[model.get('step'), model.get('frame')]"
    assert page.evaluate(where) == [0, 0]

    button = page.get_by_role("button", name="Play clip")
    button.focus()
    page.keyboard.press("Space")
    page.clock.run_for(8 * 160)
    assert page.evaluate(where) == [0, 2]  # six frames, over and over
    page.keyboard.press("Space")
    page.clock.run_for(1000)
    assert page.evaluate(where) == [0, 2]

    page.get_by_role("button", name="Play passes").focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("button", name="Pause passes").count() == 1
    page.clock.run_for(2 * 900)
    assert page.evaluate(where) == [2, 2]
    page.clock.run_for(10_000)  # it ends with the last pass
    assert page.evaluate(where) == [4, 2]
    page.keyboard.press("Enter")  # and begins anew
    assert page.evaluate(where) == [0, 2]
    page.clock.run_for(900)
    page.get_by_label("pass", exact=True).focus()
    page.keyboard.press("ArrowRight")  # a hand on the slider takes it over
    page.clock.run_for(5000)
    assert page.evaluate(where) == [2, 2]
    page.close()
