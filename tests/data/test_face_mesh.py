"""MediaPipe is optional, so a module with the same interface stands in for it; a slow test asks the real one."""

import hashlib
import os
import pickle
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import numpy as np
import pytest

from fer_core.data import face_mesh
from fer_core.data.face_mesh import MESH_68, FaceMesh
from fer_core.errors import UserError
from fer_core.faces.landmarks import MIRROR

MODEL = b"a model"
# The mesh's contours, each from one corner on, as MediaPipe's FaceLandmarksConnections lists them.
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398)
RIGHT_BROW, LEFT_BROW = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107), (276, 283, 282, 295, 285, 300, 293, 334, 296, 336)
RIGHT_OVAL = (10, 109, 67, 103, 54, 21, 162, 127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152)
LEFT_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152)
RIGHT_LIPS = (61, 146, 91, 181, 84, 17, 185, 40, 39, 37, 0, 78, 95, 88, 178, 87, 14, 191, 80, 81, 82, 13)
LEFT_LIPS = (291, 375, 321, 405, 314, 17, 409, 270, 269, 267, 0, 308, 324, 318, 402, 317, 14, 415, 310, 311, 312, 13)


@dataclass
class Point:
    x: float
    y: float
    z: float = 0.0


class Landmarker:
    """As ``mediapipe.tasks.vision.FaceLandmarker``: finds one mesh for each value that the top left pixel has."""

    made = 0

    def __init__(self, options):
        self.options = options

    @classmethod
    def create_from_options(cls, options):
        with open(options.base_options.model_asset_path, "rb") as file:
            if file.read() != MODEL:
                raise RuntimeError("Unable to open\nzip archive.")
        cls.made += 1
        return cls(options)

    def detect(self, image):
        count = min(int(image.data[0, 0, 0]), self.options.num_faces)
        meshes = [[Point(*xy) for xy in mesh(number)] for number in range(count)]
        return SimpleNamespace(face_landmarks=meshes, face_blendshapes=[], facial_transformation_matrixes=[])


def mesh(number, points=478):
    return np.random.default_rng(number).random((points, 2))


@pytest.fixture
def mediapipe(monkeypatch):
    def picture(image_format, data):
        assert image_format == 1
        assert data.flags.c_contiguous
        return SimpleNamespace(data=data)

    module = SimpleNamespace(
        __version__="1.2.0",
        Image=picture,
        ImageFormat=SimpleNamespace(SRGB=1),
        tasks=SimpleNamespace(
            BaseOptions=SimpleNamespace,
            vision=SimpleNamespace(FaceLandmarkerOptions=SimpleNamespace, FaceLandmarker=Landmarker),
        ),
    )
    monkeypatch.setitem(__import__("sys").modules, "mediapipe", module)
    monkeypatch.setattr(Landmarker, "made", 0)
    return module


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(MODEL)
    return path


@pytest.fixture
def server(monkeypatch):
    """A server whose answer a test sets; the official model is what it holds."""
    state = SimpleNamespace(status=200, body=MODEL, length=None, asked=0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.asked += 1
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(state.body) if state.length is None else state.length))
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(face_mesh, "MODEL_URL", f"http://127.0.0.1:{listening.server_port}/model")
        monkeypatch.setattr(face_mesh, "MODEL_SHA256", hashlib.sha256(MODEL).hexdigest())
        yield state
        listening.shutdown()
        thread.join()


def picture(faces):
    image = np.zeros((80, 40, 3), dtype=np.uint8)
    image[0, 0, 0] = faces
    return image


def test_landmarks_are_pixels_in_the_order_of_the_68_points(mediapipe, model):
    finder = FaceMesh(model)
    assert finder.find(picture(0)) == []
    (face,) = finder.find(picture(1))
    expected = mesh(0) * [40, 80]
    np.testing.assert_allclose(face.landmarks, expected[list(MESH_68)])
    np.testing.assert_allclose(face.box, [*expected.min(0), *expected.max(0)])
    assert len(finder.find(picture(3))) == 3
    assert len(FaceMesh(model, most=2).find(picture(3))) == 2
    assert Landmarker.made == 2


def test_another_process_opens_the_model_anew(mediapipe, model, monkeypatch):
    finder = FaceMesh(model)
    finder.find(picture(1))
    copy = pickle.loads(pickle.dumps(finder))
    assert len(copy.find(picture(1))) == 1
    assert Landmarker.made == 2
    monkeypatch.setattr(os, "getpid", lambda: 1)
    finder.find(picture(1))
    assert Landmarker.made == 3


def test_the_version_follows_all_that_answers_depend_on(mediapipe, model, tmp_path, monkeypatch):
    other = tmp_path / "other.task"
    other.write_bytes(b"another model")
    versions = {FaceMesh(model).version, FaceMesh(other).version, FaceMesh(model, confidence=0.3).version}
    assert len(versions) == 3
    with monkeypatch.context() as patch:
        patch.setattr(face_mesh, "MESH_68", MESH_68[::-1])
        versions.add(FaceMesh(model).version)
    mediapipe.__version__ = "1.3.0"  # whose answers may differ
    versions.add(FaceMesh(model).version)
    assert len(versions) == 5


def test_a_mesh_of_another_size(mediapipe, model, monkeypatch):
    monkeypatch.setattr(Landmarker, "detect", lambda *_: SimpleNamespace(face_landmarks=[[Point(0, 0)] * 5]))
    with pytest.raises(UserError, match="expected 468 or 478 points a face, got 5"):
        FaceMesh(model).find(picture(1))


def test_what_is_no_model(mediapipe, tmp_path):
    (tmp_path / "text.task").write_text("not a model")
    with pytest.raises(
        UserError, match=r"text.task: expected a FaceLandmarker model, got: Unable to open zip archive; use"
    ):
        FaceMesh(tmp_path / "text.task").find(picture(1))
    with pytest.raises(UserError, match="expected a model file, found none"):
        FaceMesh(tmp_path / "missing.task")


@pytest.mark.parametrize("settings", [{"most": 0}, {"confidence": 1.5}])
def test_wrong_settings(mediapipe, model, settings):
    with pytest.raises(UserError, match=r"most >= 1 and confidence in 0\.\.1"):
        FaceMesh(model, **settings)


def test_without_the_package(monkeypatch, model, server):
    monkeypatch.setitem(__import__("sys").modules, "mediapipe", None)
    with pytest.raises(UserError, match=r"expected the package, found none; run pip install \"fer-core\[faces\]\""):
        FaceMesh()
    assert server.asked == 0


def test_the_model_is_downloaded_once(mediapipe, server, tmp_path):
    assert len(FaceMesh().find(picture(1))) == 1
    FaceMesh()
    assert server.asked == 1
    kept = tmp_path / "cache" / "models" / "face_landmarker.task"
    assert kept.read_bytes() == MODEL
    kept.write_bytes(b"damaged")
    FaceMesh()
    assert server.asked == 2
    assert kept.read_bytes() == MODEL
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"body": b"another file"}, r"expected a model of SHA-256 \w{16}…, got \w{16}… \(12 bytes\)"),
        ({"status": 404}, "expected to download the model, got HTTPError"),
        ({"body": MODEL[:4], "length": len(MODEL)}, r"expected a model of SHA-256 \w{16}…, got \w{16}… \(4 bytes\)"),
    ],
)
def test_downloads_that_fail(mediapipe, server, tmp_path, answer, message):
    vars(server).update(answer)
    with pytest.raises(UserError, match=message):
        FaceMesh()
    assert not list((tmp_path / "cache").rglob("*.task"))


def test_a_network_that_is_not_there(mediapipe, monkeypatch):
    monkeypatch.setattr(face_mesh, "MODEL_URL", "http://127.0.0.1:9/model")
    with pytest.raises(UserError, match="expected to download the model, got URLError"):
        FaceMesh()


def test_points_lie_on_the_contours_they_stand_for():
    assert len(set(MESH_68)) == 68
    assert set(MESH_68[:17]) <= {*RIGHT_OVAL, *LEFT_OVAL}
    assert set(MESH_68[17:22]) <= set(RIGHT_BROW)
    assert set(MESH_68[22:27]) <= set(LEFT_BROW)
    assert set(MESH_68[36:42]) <= set(RIGHT_EYE)
    assert set(MESH_68[42:48]) <= set(LEFT_EYE)
    assert set(MESH_68[48:]) <= {*RIGHT_LIPS, *LEFT_LIPS}


def test_points_are_symmetric():
    right = (*RIGHT_EYE, *RIGHT_BROW, *RIGHT_OVAL, *RIGHT_LIPS, 98, 97)
    left = (*LEFT_EYE, *LEFT_BROW, *LEFT_OVAL, *LEFT_LIPS, 327, 326)
    mirror = dict(zip((*right, *left), (*left, *right), strict=True)) | {point: point for point in (168, 197, 5, 4, 2)}
    assert [mirror[point] for point in MESH_68] == [MESH_68[place] for place in MIRROR]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the packages that MediaPipe brings along
def test_the_real_mediapipe_has_this_interface(tmp_path):
    pytest.importorskip("mediapipe")
    (tmp_path / "text.task").write_text("not a model")
    with pytest.raises(UserError, match=r"text.task: expected a FaceLandmarker model, got: "):
        FaceMesh(tmp_path / "text.task").find(picture(1))
