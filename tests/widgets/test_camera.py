"""Pictures of one's own: a kernel says of them what the predictor says, or what is wrong with them."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from asking import answer, picture_file
from hostile import bomb
from known import KnownFaces
from PIL import Image

from fer_core import predicting
from fer_core.data import images
from fer_core.data.alignment import Alignment
from fer_core.data.faces_in_images import FacePlacer, FoundFace
from fer_core.predicting import Predictor
from fer_core.widgets.camera import camera

WIDGETS = Path(__file__).parents[2] / "fer_core" / "widgets"


def ask(widget, content, name="me.png"):
    return answer(widget, {"picture": 7, "name": name}, [content])


@pytest.mark.parametrize(("kind", "turned"), [("PNG", False), ("JPEG", False), ("JPEG", True), ("WEBP", False)])
def test_a_kernel_says_what_the_predictor_says(camera_widget, predictor, pictures, kind, turned):
    content = picture_file(pictures[0], kind, turned)
    told, (crop,) = ask(camera_widget, content)
    stored = Image.open(io.BytesIO(content))
    upright = np.asarray((stored.transpose(Image.Transpose.ROTATE_270) if turned else stored).convert("RGB"))
    (expected,) = predictor.of_pictures([upright])
    assert told["probabilities"] == pytest.approx(list(expected.probabilities.values()), abs=1e-6)
    assert (told["picture"], told["size"]) == (7, [260, 200])
    assert np.array(told["outline"]) == pytest.approx(np.array([[30, 0], [230, 0], [230, 200], [30, 200]]))
    assert told["milliseconds"] > 0
    assert np.array_equal(images.decode("crop", content=crop), expected.image[0].numpy())
    (lying,) = predictor.of_pictures([np.rot90(upright)])
    assert np.abs(np.subtract(told["probabilities"], list(lying.probabilities.values()))).max() > 0.01


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "me.png: expected a whole image, got a damaged one (none of JPEG, PNG"),
        (b"%PDF-1.4", "me.png: expected a whole image, got a damaged one (none of JPEG, PNG"),
        (picture_file(np.zeros((40, 40, 3), np.uint8))[:60], "me.png: expected a whole image, got a damaged one"),
        (bomb(), "me.png: expected 1 to 67108864 pixels, got 32768x4096; leave the file out"),
    ],
)
def test_a_kernel_tells_what_is_wrong_with_a_file(camera_widget, content, message, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # our own limit alone
    told, buffers = ask(camera_widget, content)
    assert told["picture"] == 7
    assert told["error"].startswith(message)
    assert "\n" not in told["error"]
    assert buffers is None


def test_faces_are_found_or_missed(predictor, pictures):
    known = KnownFaces([(pictures[0], [FoundFace((70.0, 20.0, 230.0, 180.0))])])
    placed = Predictor(predictor.model, placer=FacePlacer(Alignment(mode="box", margin=0), known))
    made = camera(placed, title="a model")
    assert (made.placed, made.title) == (True, "a model")
    told, _ = ask(made, picture_file(pictures[0]))
    assert np.array(told["outline"]) == pytest.approx(np.array([[70, 20], [230, 20], [230, 180], [70, 180]]))
    (expected,) = placed.of_pictures(pictures[:1])
    assert told["probabilities"] == pytest.approx(list(expected.probabilities.values()), abs=1e-6)
    told, _ = ask(made, picture_file(pictures[1]))
    assert told["error"].startswith("expected a face, found none; try")
    made.close()


def test_the_widget_tells_its_model_and_keeps_no_picture(camera_widget, predictor, pictures):
    assert camera_widget.title == "coop-facs-still-8, trained on facs-still-8"
    assert not camera_widget.placed
    assert camera_widget.classes == list(predictor.model.method.classes)
    assert camera_widget.side == 64
    before = camera_widget.get_state()
    ask(camera_widget, picture_file(pictures[0]))
    assert camera_widget.get_state() == before
    assert answer(camera_widget, {}) == ({"ready": True}, None)
    zero_shot = camera(Predictor(predicting.Model(predictor.model.method, 1, {"model": "zero-shot", "backbone": "b"})))
    assert zero_shot.title == "zero-shot by the CLIP b"
    zero_shot.close()


def test_nothing_is_fetched():
    for name in ("camera.js", "camera.css"):
        text = (WIDGETS / name).read_text(encoding="utf-8")
        assert not re.search(r"https?:|//[a-z]|\bimport\b|@import|fetch\(|url\(", text), name
