"""The studio draws what the renderer draws and says what methods say: in Python, by a kernel, and in a page alone."""

import base64
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import widget_pages
from asking import answer, packed
from torch.torch_version import TorchVersion

from book import assets, live
from book.layout import Layout
from fer_core import clip, data
from fer_core.batch import Batch
from fer_core.exporting import Graph
from fer_core.faces import CODES, expressions, identity, render, scene
from fer_core.widgets import studio_graphs as graphs
from fer_core.widgets.studio import people, studio

ROOT = Path(__file__).parents[2]
WIDGETS = ROOT / "fer_core" / "widgets"


@pytest.fixture(scope="module")
def tower():
    return clip.load("embedded")


@pytest.fixture(scope="module")
def kept(tower):
    return graphs.trained_methods(tower)


@pytest.fixture(scope="module")
def widget(tower, kept):
    made = studio(tower, kept)
    yield made
    made.close()


@pytest.fixture(scope="module")
def faces():
    """Sixteen people, each with an expression and a view of its own."""
    generator = torch.Generator().manual_seed(1)
    who = identity.sample(16, generator)
    who.texture = torch.zeros_like(who.texture)  # of which the studio has one
    assert {int(each) for each in who.glasses} == {0, 1}
    assert len(set(who.beard.tolist())) > 2
    low, high = (
        torch.tensor(each) for each in zip(*((low, high) for low, high, _ in graphs.VIEW.values()), strict=True)
    )
    view = low + (high - low) * torch.rand(16, len(low), generator=generator)
    return torch.rand(16, len(CODES), generator=generator) * 0.6, who, view


def test_drawing_is_rendering(faces):
    units, who, view = faces
    seen = scene.studio(16)
    seen.yaw, seen.pitch, seen.roll = view[:, :3].unbind(1)
    seen.light, seen.ambient, seen.scale = view[:, 3:5], view[:, 5], view[:, 6]
    expected = render(units, who, seen, 64).image
    torch.testing.assert_close(graphs.Drawing()(units, graphs.person_numbers(who), view), expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_methods_say_what_they_say_elsewhere(tower, kept, faces):
    units, who, view = faces
    image = graphs.Drawing()(units, graphs.person_numbers(who), view)
    shared, own = graphs.split(tower, kept)
    assert (list(shared), list(own)) == (["zero-shot", "coop"], ["les-clip", "mpa-fer"])
    world = graphs.landscape(tower, 64)
    told, fits, place = graphs.Seen(tower, list(shared.values()), world)(image)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (tower.mean, tower.std))
    zeros = torch.zeros(16, dtype=torch.int64)
    batch = Batch((image - mean) / std, zeros, zeros)
    for row, method in enumerate(shared.values()):
        torch.testing.assert_close(told[:, row], method(batch).logits.softmax(1), atol=1e-6, rtol=0)
    for method in own.values():
        torch.testing.assert_close(Graph(method)(image)[0], method(batch).logits.softmax(1), atol=1e-6, rtol=0)
    token = torch.nn.functional.normalize(tower.encode_image(batch.image).class_token, dim=-1)
    for unit, code in enumerate(CODES[:3]):
        text = graphs.unit_texts(tower)[unit]
        expected = (token @ text - world.usual[unit]) / world.spread[unit]
        torch.testing.assert_close(fits[:, unit], expected, atol=1e-4, rtol=1e-4, msg=code)
    torch.testing.assert_close(place, (token - world.mean) @ world.axes, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_usual_view_is_one_that_methods_know(kept):
    """Cropped and lit as training faces are; a wider crop made most of these answers wrong."""
    seen = scene.sample(2000, torch.Generator().manual_seed(0))
    usual = {name: usual for name, (_, _, usual) in graphs.VIEW.items()}
    assert usual["closeness"] == pytest.approx(seen.scale.mean().item(), abs=0.02)
    assert usual["light from everywhere"] == pytest.approx(seen.ambient.mean().item(), abs=0.05)
    who = identity.sample(40, torch.Generator().manual_seed(5))
    who.resting = torch.zeros_like(who.resting)
    units = expressions.prototypes(data.CLASSES)
    view = torch.tensor([list(usual.values())]).expand(40 * len(units), -1)
    numbers = graphs.person_numbers(who).repeat_interleave(len(units), 0)
    image = graphs.Drawing()(units.repeat(40, 1), numbers, view)
    truth = torch.arange(len(units)).repeat(40)
    for name, method in kept.items():
        right = (Graph(method)(image)[0].argmax(1) == truth).float().mean().item()
        assert right > 0.9, name


def test_the_map_tells_expressions_apart(tower):
    world = graphs.landscape(tower, 240)
    assert len(world.points) == len(world.labels) == 240
    assert np.abs(world.points).max() <= 1 + 1e-5
    centres = np.stack([world.points[world.labels == label].mean(0) for label in range(8)])
    own = np.linalg.norm(world.points - centres[world.labels], axis=1).mean()
    others = np.linalg.norm(centres[:, None] - centres[None], axis=-1)[~np.eye(8, dtype=bool)].mean()
    assert others > 1.2 * own


def test_people_have_faces_at_rest_of_their_own():
    names, who = people()
    assert names[0] == "average"
    assert len(set(names)) == len(names) == len(who)
    for name, place in zip(names[1:], who.resting_face[1:].tolist(), strict=True):
        assert identity.RESTING_FACES[place][0] in name


def _content(faces, at):
    units, who, view = faces
    numbers = graphs.person_numbers(who)
    return {"request": 7, "units": units[at].tolist(), "person": numbers[at].tolist(), "view": view[at].tolist()}


@torch.no_grad()
def test_a_kernel_answers(widget, tower, kept, faces):
    told, (image, fits, place, seen, *rest) = answer(widget, _content(faces, 3))
    assert told == {"request": 7, "graphs": ["seen", "les-clip", "mpa-fer"]}
    units, who, view = faces
    drawn = graphs.Drawing()(units[3:4], graphs.person_numbers(who)[3:4], view[3:4])
    assert np.frombuffer(image, "<f4") == pytest.approx(drawn.flatten().numpy(), abs=1e-6)
    assert (len(fits), len(place), len(seen)) == (4 * len(CODES), 8, 4 * 2 * 8)
    for name, values in zip(("les-clip", "mpa-fer"), rest, strict=True):
        expected = Graph(kept[name])(drawn)[0].flatten().numpy()
        assert np.frombuffer(values, "<f4") == pytest.approx(expected, abs=1e-6)
    told, buffers = answer(widget, {"request": 8, "units": [0.0], "person": [], "view": []})
    assert set(told) == {"request", "error"}
    assert told["request"] == 8
    assert buffers is None


def test_nothing_is_fetched():
    for name in ("studio.js", "studio.css"):
        text = (WIDGETS / name).read_text(encoding="utf-8")
        assert not re.search(r"https?:|//[a-z]|@import|fetch\(|url\(", text), name


@pytest.fixture(scope="module")
def folder():
    """The models as pages load them."""
    if torch.__version__ < TorchVersion("2.9"):
        pytest.skip("export needs torch 2.9")
    layout = Layout(ROOT)
    assets.fetch(layout)
    live.write(layout)
    return ROOT / "book" / "assets" / "live"


@pytest.mark.book
def test_what_is_written_is_whole_and_made_once(folder):
    assert live.are_there(Layout(ROOT))
    names = {path.stem for path in folder.glob("*.js")}
    assert names == {"drawing", "seen", "les-clip", "mpa-fer", "runtime", "wasm"}
    text = (folder / "wasm.js").read_text(encoding="utf-8")
    packed = re.fullmatch(r'\(window\.ferLive \?\?= \{\}\)\["wasm"\] = "([A-Za-z0-9+/=]+)";\n', text)
    assert packed is not None
    assert gzip.decompress(base64.b64decode(packed[1])).startswith(b"\0asm")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 30e6


PAGE = """async ([script, style, state]) => {
  const view = (values) => {  // at an offset that no float may start at
    const held = new Uint8Array(values.length + 1);
    held.set(values, 1);
    return new DataView(held.buffer, 1);
  };
  const unpacked = (text) => view(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)));
  for (const name of ["persons", "presets", "points", "labels"]) state[name] = unpacked(state[name]);
  state.first = state.first.map(unpacked);
  const listeners = [];
  window.hear = (told, buffers) => listeners.forEach((act) => act(told, buffers.map(unpacked)));
  window.sent = [];
  const model = {
    get: (name) => state[name],
    on: (name, act) => listeners.push(act),
    send: async (content) => {
      window.sent.push(content);
      if (window.ask) window.hear(...(await window.ask(content)));
    },
  };
  document.head.append(Object.assign(document.createElement("style"), { textContent: style }));
  const code = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  window.show = (el) => code.default.render({ model, el });
  window.show(document.body);
}"""
MAP = "(map => ({ drawn: map.width, shown: map.clientWidth }))(document.querySelector('.fer-left').lastChild)"
SAID = (
    "Object.fromEntries(Object.entries(document.body.ferStudio.found.probabilities).map(([name, p]) => [name, [...p]]))"
)


def _asked(widget, content):
    told, buffers = answer(widget, content)
    return [told, [packed(each) for each in buffers or []]]


@pytest.fixture
def opened(chromium, widget, tmp_path):
    """Opens the studio in a page that is a file, with a kernel or without, and with the network cut."""
    pages = []

    def call(root, width=1000, kernel=True):
        (tmp_path / "page.html").write_text(f"<!doctype html><html lang=en {root}><body></body></html>")
        if not (tmp_path / "_static").exists():
            (tmp_path / "_static").symlink_to(ROOT / "book" / "assets")
        page = chromium.new_page(viewport={"width": width, "height": 900})
        pages.append(page)
        page.context.set_offline(True)
        page.wrong = []
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("requestfailed", lambda request: page.wrong.append(request.url))

        if kernel:
            page.expose_function("ask", lambda content: _asked(widget, content))
        page.goto((tmp_path / "page.html").as_uri())
        names = ("units", "view", "people", "expressions", "classes", "colors", "methods", "graphs", "title")
        state = {name: getattr(widget, name) for name in names}
        state |= {name: packed(getattr(widget, name)) for name in ("persons", "presets", "points", "labels")}
        state["first"] = [packed(each) for each in widget.first]
        script, style = ((WIDGETS / f"studio.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
        page.evaluate(PAGE, [script, style, json.loads(json.dumps(state))])
        return page

    yield call
    for page in pages:
        page.close()


@torch.no_grad()
def _expected(kept, tower, units):
    """What Python says of the average person in the usual view."""
    view = torch.tensor([[usual for _, _, usual in graphs.VIEW.values()]])
    image = graphs.Drawing()(units[None], graphs.person_numbers(people()[1])[:1], view)
    shared, own = graphs.split(tower, kept)
    probabilities, fits, place = graphs.Seen(tower, list(shared.values()), graphs.landscape(tower))(image)
    told = {"seen": probabilities.flatten().tolist()}
    told |= {name: Graph(method)(image)[0].flatten().tolist() for name, method in own.items()}
    return {"image": image.flatten().tolist(), "fits": fits[0].tolist(), "place": place[0].tolist()}, told


@pytest.mark.book
@pytest.mark.parametrize(("root", "width"), [("data-content_root=./", 1000), ("data-content_root=./", 360), ("", 1000)])
def test_it_works_by_keyboard_and_says_what_python_says(root, width, opened, folder, kept, tower):
    page = opened(root, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert widget_pages.reached_by_jupyterlab(page) == []
    assert "the models are loaded then" in page.get_by_role("status").inner_text()
    before = page.get_by_role("row", name="surprise").inner_text()

    page.get_by_role("button", name="surprise").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.body.ferStudio", timeout=60_000)
    assert page.get_by_role("row", name="surprise").inner_text() != before
    units = expressions.prototypes(data.CLASSES)[data.CLASSES.index("surprise")]
    assert not torch.equal(units, (20 * units).round() / 20)  # where sliders can stand
    seen, expected = _expected(kept, tower, units)
    assert page.evaluate("[...document.body.ferStudio.chosen.units]") == pytest.approx(units.tolist(), abs=1e-6)
    for name, tolerance in (("image", 1e-4), ("fits", 1e-3), ("place", 1e-4)):
        found = page.evaluate(f"[...document.body.ferStudio.found.{name}]")
        assert found == pytest.approx(seen[name], abs=tolerance), name
    said = page.evaluate(SAID)
    assert set(said) == set(expected)
    for name, values in expected.items():
        assert said[name] == pytest.approx(values, abs=1e-4), name

    slider = page.get_by_label("AU4 brow lowerer")
    slider.focus()
    page.evaluate("document.body.ferStudio = null")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.body.ferStudio", timeout=10_000)
    unit = CODES.index("AU4")
    units[unit] = (20 * units[unit] + 0.5).floor() / 20 + 0.05  # the others stay what they were
    assert page.evaluate("[...document.body.ferStudio.chosen.units]") == pytest.approx(units.tolist(), abs=1e-6)
    _, expected = _expected(kept, tower, units)
    for name, values in expected.items():
        assert page.evaluate(SAID)[name] == pytest.approx(values, abs=1e-4), name
    assert re.search(
        r"zero-shot: \w+, coop: \w+, les-clip: \w+, mpa-fer: \w+ \(\d+ ms\)", page.get_by_role("status").inner_text()
    )
    assert page.wrong == []


@pytest.mark.book
def test_the_map_keeps_its_shape_where_the_width_changes(opened):
    page = opened("")
    before = page.evaluate(MAP)
    assert before["drawn"] == before["shown"]
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_function(f"{MAP}.drawn === {MAP}.shown", timeout=10_000)
    assert page.evaluate(MAP)["shown"] < before["shown"] - 50
    assert page.wrong == []


@pytest.mark.book
def test_a_page_without_its_models_says_so(opened):
    page = opened("data-content_root=./nowhere/")
    page.get_by_role("button", name="fear").click()
    page.wait_for_function("document.querySelector('[role=status]').textContent.includes('cannot run here')")
    assert "runtime.js is not beside this page" in page.get_by_role("status").inner_text()


@pytest.mark.book
def test_a_kernel_that_is_silent_is_told_and_may_be_asked_again(opened, widget):
    page = opened("", kernel=False)
    page.clock.install(time=0)
    page.clock.pause_at(1000)  # from here on time passes as this test says
    page.get_by_role("button", name="fear").click()
    page.clock.run_for(9000)
    assert page.get_by_role("status").inner_text() == "asking the kernel …"
    page.clock.run_for(2000)
    told = page.get_by_role("status").inner_text()
    assert told.startswith("The studio cannot run here: no answer for 10 seconds; the kernel is busy or was restarted")
    page.evaluate("answer => hear(...answer)", _asked(widget, page.evaluate("sent[0]")))
    assert page.get_by_role("status").inner_text() == told  # too late: nobody waits for it
    page.get_by_role("button", name="surprise").click()
    assert page.get_by_role("status").inner_text() == "asking the kernel …"
    page.evaluate("answer => hear(...answer)", _asked(widget, page.evaluate("sent[1]")))
    page.wait_for_function("document.querySelector('[role=status]').textContent.startsWith('zero-shot: ')")
    page.clock.run_for(11_000)
    assert page.get_by_role("status").inner_text().startswith("zero-shot: ")
    assert page.wrong == []


@pytest.mark.book
def test_two_views_do_not_take_each_others_answers(opened, widget):
    page = opened("", kernel=False)
    page.evaluate("show(document.body.appendChild(document.createElement('section')))")
    for place, name in enumerate(("fear", "surprise")):
        page.get_by_role("button", name=name).nth(place).click()
    for place in (1, 0):
        page.evaluate("answer => hear(...answer)", _asked(widget, page.evaluate(f"sent[{place}]")))
    page.wait_for_function("document.body.ferStudio && document.querySelector('section').ferStudio")
    for place, view in enumerate(("document.body", "document.querySelector('section')")):
        _, (image, *_) = answer(widget, page.evaluate(f"sent[{place}]"))
        found = page.evaluate(f"[...{view}.ferStudio.found.image]")
        assert found == pytest.approx(np.frombuffer(image, "<f4").tolist(), abs=1e-6)
    assert page.wrong == []
