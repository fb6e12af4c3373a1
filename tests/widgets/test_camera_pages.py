"""Pictures of one's own in a page: chosen, dropped, pasted, from a camera; what a kernel says, or why nobody does."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import widget_pages
from asking import answer, packed, picture_file
from PIL import Image

from fer_core.data import images

WIDGETS = Path(__file__).parents[2] / "fer_core" / "widgets"

PAGE = """async ([script, style, state]) => {
  const unpacked = (text) => new DataView(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  const text = (buffer) => btoa(Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join(""));
  const listeners = new Set();
  window.hear = (told, buffers = []) => listeners.forEach((act) => act(told, buffers.map(unpacked)));
  window.sent = [];
  const model = {
    get: (name) => state[name],
    on: (name, act) => listeners.add(act),
    off: (name, act) => listeners.delete(act),
    send: async (content, callbacks, buffers = []) => {
      window.sent.push(content);
      if (window.ask) window.hear(...(await window.ask(content, buffers.map(text))));
    },
  };
  document.head.append(Object.assign(document.createElement("style"), { textContent: style }));
  const code = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  window.dispose = code.default.render({ model, el: document.body });
}"""


@pytest.fixture
def opened(chromium, camera_widget, tmp_path):
    """Opens the widget in a page that is a file, with a kernel or without, and with the network cut."""
    pages = []

    def call(width=1000, kernel=True, root="", address=None, **state):
        page = chromium.new_page(viewport={"width": width, "height": 900})
        pages.append(page)
        page.wrong, page.got = [], []
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("request", lambda asked: page.wrong.append(asked.url) if asked.url.startswith("http") else None)
        html = f"<!doctype html><html lang=en {root}><body></body></html>"
        (tmp_path / "page.html").write_text(html)
        if address is None:
            page.context.set_offline(True)
            page.goto((tmp_path / "page.html").as_uri())
        else:
            page.route(address, lambda route: route.fulfill(body=html, content_type="text/html"))
            page.goto(address)
            page.wrong.clear()

        def asked(content, buffers):
            buffers = [base64.b64decode(each) for each in buffers]
            page.got += buffers
            told, answered = answer(camera_widget, content, buffers)
            return [told, [packed(each) for each in answered or []]]

        if kernel:
            page.expose_function("ask", asked)
        names = ("title", "side", "placed", "most", "classes", "colors")
        script, style = ((WIDGETS / f"camera.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
        page.evaluate(PAGE, [script, style, {name: getattr(camera_widget, name) for name in names} | state])
        return page

    yield call
    for page in pages:
        page.close()


def told_by(page):
    return page.get_by_role("status").inner_text()


def wait_for_status(page, start):
    page.wait_for_function("start => document.querySelector('[role=status]').textContent.startsWith(start)", arg=start)


def check_answer(page, predictor, picture):
    """The page shows what Python says of the picture."""
    (expected,) = predictor.of_pictures([picture])
    values = expected.probabilities.values()
    wait_for_status(page, f"{expected.label}: {max(values):.2f}")
    assert page.locator("td").all_inner_texts() == [f"{value:.2f}" for value in values]
    assert page.locator("td.fer-first").count() == 1
    assert page.get_by_role("row").filter(has=page.locator(".fer-first")).inner_text().startswith(expected.label)
    points = [corner.split(",") for corner in page.locator("polygon").first.get_attribute("points").split()]
    assert np.array(points, dtype=float) == pytest.approx(np.array(expected.outline))
    assert page.get_by_alt_text("your picture", exact=True).is_visible()
    crop = page.get_by_alt_text("was cut out for the model")
    assert crop.is_visible()
    assert crop.evaluate("image => image.decode().then(() => image.naturalWidth)") == 224


@pytest.mark.book
@pytest.mark.parametrize("width", [1000, 360])
def test_a_photo_is_chosen_by_keyboard(width, opened, predictor, pictures, tmp_path):
    page = opened(width)
    files = []
    page.on("filechooser", lambda chooser: chooser.set_files(files[-1]))
    wait_for_status(page, "Choose a photo, or use the camera.")
    assert page.get_by_text("This needs a kernel.").is_hidden()
    assert page.get_by_text("coop-facs-still-8, trained on facs-still-8").is_visible()
    page.get_by_role("button", name="Choose a photo").focus()
    for number, kind in enumerate(("PNG", "JPEG")):
        content = picture_file(pictures[number], kind, turned=kind == "JPEG")
        files.append({"name": "me", "mimeType": f"image/{kind.lower()}", "buffer": content})
        page.keyboard.press("Enter")
        check_answer(page, predictor, images.decode("me", content=content).transpose(1, 2, 0))
        assert page.got[-1] == content  # the file's own bytes
        shown = page.get_by_alt_text("your picture", exact=True)
        assert shown.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [260, 200]
    assert widget_pages.reached_by_jupyterlab(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    (tmp_path / "bad.png").write_bytes(content[:100])
    page.locator("input[type=file]").set_input_files(tmp_path / "bad.png")
    wait_for_status(page, "No answer for this picture: bad.png: expected a whole image, got a damaged one")
    assert page.get_by_role("table").count() == 0  # nothing of the picture before it
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.wrong == []


GIVE = """(kind) => {
  const given = new DataTransfer();
  const bytes = Uint8Array.from(atob(window.content ?? ""), (letter) => letter.charCodeAt(0));
  if (window.content) given.items.add(new File([bytes], "me.png", { type: "image/png" }));
  const to = document.querySelector(".fer-drop");
  const settings = { bubbles: true, cancelable: true };
  if (kind === "drop") return !to.dispatchEvent(new DragEvent(kind, { ...settings, dataTransfer: given }));
  return !to.dispatchEvent(new ClipboardEvent(kind, { ...settings, clipboardData: given }));
}"""


@pytest.mark.book
@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_photo_is_dropped_or_pasted(kind, opened, predictor, pictures):
    page = opened()
    assert page.evaluate(GIVE, kind)  # the browser is kept from opening the file
    wait_for_status(page, "Expected the file of a picture, got none")
    page.evaluate("content => { window.content = content; }", packed(picture_file(pictures[1])))
    assert page.evaluate(GIVE, kind)
    check_answer(page, predictor, pictures[1])
    assert page.wrong == []


@pytest.mark.book
def test_a_file_that_no_connection_holds_is_not_sent(opened, pictures):
    content = picture_file(np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8))
    page = opened(most=2**20)
    page.locator("input[type=file]").set_input_files({"name": "big", "mimeType": "image/png", "buffer": content})
    wait_for_status(page, f"Expected a file of at most 1 MB, got {len(content) / 2**20:.1f} MB")
    assert page.evaluate("sent") == [{}]
    assert page.wrong == []


@pytest.mark.book
def test_only_the_latest_picture_counts(opened, pictures):
    page = opened(kernel=False)
    page.evaluate("hear({ready: true})")
    for number, picture in enumerate(pictures):
        given = {"name": "me", "mimeType": "image/png", "buffer": picture_file(picture)}
        page.locator("input[type=file]").set_input_files(given)
        page.wait_for_function("count => sent.length === count", arg=2 + number)

    def hear(which, first):
        told = {"size": [260, 200], "outline": [[0, 0]] * 4, "milliseconds": 1}
        told["probabilities"] = [float(place == first) for place in range(8)]
        script = "([which, told, crop]) => hear({ picture: sent[which].picture, ...told }, [crop])"
        page.evaluate(script, [which, told, packed(picture_file(pictures[0]))])

    hear(1, 0)
    assert told_by(page) == "looking …"
    hear(2, 6)
    assert told_by(page) == "anger: 1.00"
    hear(1, 0)
    page.evaluate("hear({ picture: sent[1].picture, error: 'of a picture long gone' })")
    assert told_by(page) == "anger: 1.00"
    assert page.locator("td.fer-first").inner_text() == "1.00"
    page.evaluate("dispose()")
    hear(2, 0)
    assert told_by(page) == "anger: 1.00"
    assert page.wrong == []


@pytest.mark.book
def test_a_camera_is_looked_at_frame_by_frame(opened, predictor):
    page = opened(360)
    page.context.grant_permissions(["camera"])
    page.get_by_label("keep looking").check()
    page.get_by_role("button", name="Use the camera").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("sent.length > 3")
    assert page.get_by_label("the camera").is_visible()
    assert page.get_by_role("button", name="Take the picture").is_hidden()
    assert page.evaluate("document.activeElement.textContent") == "Stop the camera"  # focus is not lost
    for content in page.got:
        frame = Image.open(io.BytesIO(content))
        assert frame.format == "JPEG"
        assert max(frame.size) <= 720
    assert told_by(page) in predictor.model.method.classes  # without numbers, which a screen reader would say all day
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.evaluate("window.track = document.querySelector('video').srcObject.getTracks()[0]")
    page.keyboard.press("Enter")
    assert page.evaluate("[track.readyState, document.querySelector('video').srcObject]") == ["ended", None]
    assert told_by(page) == "The camera is off."
    assert page.evaluate("document.activeElement.textContent") == "Use the camera"
    count = page.evaluate("sent.length")
    page.wait_for_timeout(300)
    assert page.evaluate("sent.length") == count
    assert page.wrong == []


@pytest.mark.book
def test_frames_wait_for_the_answer_to_the_one_before(opened, pictures):
    page = opened(kernel=False)
    page.context.grant_permissions(["camera"])
    page.evaluate("hear({ready: true})")
    page.get_by_label("keep looking").check()
    page.get_by_role("button", name="Use the camera").click()
    page.wait_for_function("sent.length === 2")
    for choice in ("one picture", "keep looking"):  # asked anew, it waits all the same
        page.get_by_label(choice).check()
    page.wait_for_timeout(300)  # time for some ten frames
    assert page.evaluate("sent.length") == 2
    page.evaluate("hear({ picture: sent[1].picture, error: 'expected a face, found none' })")
    page.wait_for_function("sent.length === 3")  # a frame without a face ends nothing
    assert told_by(page) == "No answer for this picture: expected a face, found none"
    page.evaluate("window.track = document.querySelector('video').srcObject.getTracks()[0]; dispose()")
    assert page.evaluate("track.readyState") == "ended"  # a cell that is run again lets the camera go
    assert page.wrong == []


@pytest.mark.book
def test_a_camera_takes_one_picture(opened, predictor):
    page = opened()
    page.context.grant_permissions(["camera"])
    page.get_by_role("button", name="Use the camera").click()
    page.wait_for_function("document.querySelector('video').videoWidth")
    assert page.evaluate("sent.length") == 1  # nothing is sent before one says so
    page.evaluate("window.track = document.querySelector('video').srcObject.getTracks()[0]")
    page.get_by_role("button", name="Take the picture").click()
    page.wait_for_function("sent.length === 2")
    assert page.evaluate("track.readyState") == "ended"
    (content,) = page.got
    check_answer(page, predictor, images.decode("camera", content=content).transpose(1, 2, 0))
    assert page.get_by_label("the camera").is_hidden()
    page.get_by_role("button", name="Use the camera").click()
    page.wait_for_function("document.querySelector('video').videoWidth")
    assert page.get_by_alt_text("your picture", exact=True).is_hidden()
    page.locator("input[type=file]").set_input_files({"name": "me", "mimeType": "image/jpeg", "buffer": content})
    check_answer(page, predictor, images.decode("camera", content=content).transpose(1, 2, 0))
    assert page.evaluate("document.querySelector('video').srcObject") is None  # a file ends the camera
    assert page.wrong == []


REJECT = """name => {
  navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("something else", name));
}"""


@pytest.mark.book
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "The camera was refused."),  # nobody gave this page leave
        ("NotFoundError", "No camera was found."),
        ("NotReadableError", "The camera is in use by another program."),
        ("AbortError", "The camera cannot be opened: something else"),
    ],
)
def test_a_camera_that_cannot_be_had_is_told(name, message, opened):
    page = opened()
    if name:
        page.evaluate(REJECT, name)
    page.get_by_role("button", name="Use the camera").click()
    wait_for_status(page, message)
    assert page.get_by_role("button", name="Use the camera").is_visible()
    assert page.get_by_role("button", name="Stop the camera").is_hidden()
    assert page.wrong == []


@pytest.mark.book
def test_a_page_that_may_not_use_cameras_says_so(opened):
    page = opened(address="http://book.test/")
    page.get_by_role("button", name="Use the camera").click()
    wait_for_status(page, "This page may not use a camera: browsers allow it on https and on localhost only.")
    assert page.wrong == []


@pytest.mark.book
@pytest.mark.parametrize("width", [1000, 360])
def test_a_page_of_the_book_says_that_it_needs_a_kernel(width, opened):
    page = opened(width, kernel=False, root="data-content_root=../")
    page.get_by_text("This needs a kernel.").wait_for(timeout=1000)
    assert page.get_by_text("fer-core predict photo.jpg").is_visible()
    assert told_by(page) == ""
    assert page.locator("button:visible, input:visible, [tabindex]:visible").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.wrong == []


@pytest.mark.book
def test_elsewhere_a_kernel_is_waited_for(opened):
    page = opened(kernel=False)
    assert told_by(page) == "looking for the kernel …"
    assert page.get_by_text("This needs a kernel.").is_hidden()
    page.get_by_text("This needs a kernel.").wait_for(timeout=2500)
    assert told_by(page) == "No kernel has answered."
    assert page.locator("button:visible").count() == 0
    page.evaluate("hear({ready: true})")  # it was busy
    assert page.get_by_text("This needs a kernel.").is_hidden()
    assert page.locator("button:visible").all_inner_texts() == ["Choose a photo", "Use the camera"]
    assert page.wrong == []


@pytest.mark.book
def test_a_kernel_that_falls_silent_is_told(opened, pictures):
    page = opened(kernel=False)
    page.context.grant_permissions(["camera"])
    page.clock.install(time=0)
    page.clock.pause_at(1000)  # from here on time passes as this test says
    page.evaluate("hear({ready: true})")
    page.get_by_label("keep looking").check()
    page.get_by_role("button", name="Use the camera").click()
    while page.evaluate("sent.length") < 2:  # until the first frame is there
        page.clock.run_for(20)
        page.wait_for_timeout(20)
    page.clock.run_for(9000)
    assert page.evaluate("document.querySelector('video').srcObject !== null")
    page.clock.run_for(2000)
    wait_for_status(page, "No answer for 10 seconds: the kernel is busy, or was restarted.")
    assert page.evaluate("document.querySelector('video').srcObject") is None
    assert page.wrong == []
