"""Faces found by MediaPipe's FaceLandmarker: an optional extra, ``pip install "fer-core[faces]"``.

The model file is the user's own, or the official one, downloaded once and checked against its SHA-256. Pictures stay
on this machine; MediaPipe 1.x says of itself that it sends metrics of its use to its maker, so run it without a network
where that is not allowed.

Written against MediaPipe 1.2's Tasks interface; the same calls are in its releases since 0.10. Its landmarks are
normalised by width and height; that 0 and 1 are the image's edges, not centres of pixels, is our reading.
"""

import hashlib
import http.client
import importlib
import logging
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from fer_core import atomic, config
from fer_core.data.faces_in_images import FoundFace, Origin
from fer_core.errors import UserError
from fer_core.folders import cache_folder

logger = logging.getLogger(__name__)

#: The official model "FaceLandmarker (float16), version 1", 3,758,596 bytes, Apache 2.0.
MODEL_URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task"
)
MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
DOWNLOAD = "download"
_MAX_BYTES = 2**26
_TIMEOUT = 60  # seconds
_MESH_POINTS = (468, 478)  # without and with irises, which come last

#: For each of the 68 points the vertex of MediaPipe's face mesh that lies nearest by its meaning. The 68-point markup
#: has no official counterpart in the mesh: the choice is ours. Jaw, eyes and lips are vertices of the mesh's own
#: contours (face oval, eyes, lips); brows are their upper edge; all are symmetric under the mesh's mirror image.
MESH_68 = (
    127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356,  # jaw, from the right ear
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # right brow from outside, left brow from inside
    168, 197, 5, 4, 98, 97, 2, 326, 327,  # nose: bridge to tip, then its base from right to left
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # right eye from outside, left eye from inside
    61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91,  # outer lips, clockwise from the right corner
    78, 81, 13, 311, 308, 402, 14, 178,  # inner lips
)  # fmt: skip


class FaceMesh:
    """A finder that runs MediaPipe's FaceLandmarker on the CPU.

    Args:
        model: The model file (``face_landmarker.task``), or ``"download"`` for the official one.
        most: Largest number of faces told of one image.
        confidence: Least confidence of a face, 0 to 1, for detection and for presence alike.

    Raises:
        UserError: If MediaPipe is not installed, or the model is missing, cannot be downloaded or is not the official
            one; at the first image, if MediaPipe does not accept the model.
    """

    name = "mediapipe"
    by_pixels = True

    def __init__(self, model: str | os.PathLike[str] = DOWNLOAD, most: int = 8, confidence: float = 0.5) -> None:
        if most < 1 or not 0 <= confidence <= 1:
            raise UserError(
                f"mediapipe: expected most >= 1 and confidence in 0..1, got {most} and {confidence}; mend it"
            )
        package = _mediapipe()  # a missing one is told before anything is downloaded
        self.path = fetch_model() if model == DOWNLOAD else _existing(Path(model).expanduser())
        self.most, self.confidence = most, confidence
        points = config.digest({"points": MESH_68})[:8]
        self.version = f"{_sha256(self.path)[:16]}-{most}-{confidence:g}-{points}-{package.__version__}"
        self._landmarker: tuple[int, Any] | None = None

    def find(self, image: np.ndarray, origin: Origin | None = None) -> list[FoundFace]:
        """See :class:`~fer_core.data.faces_in_images.FaceFinder`; the box is the whole mesh's."""
        mediapipe = _mediapipe()
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        height, width = image.shape[:2]
        found = self._running().detect(picture)
        return [
            _face(np.array([[point.x * width, point.y * height] for point in mesh])) for mesh in found.face_landmarks
        ]

    def _running(self) -> Any:
        """The landmarker of this process: one that was made before a fork hangs after it."""
        if self._landmarker is None or self._landmarker[0] != os.getpid():
            tasks = _mediapipe().tasks
            options = tasks.vision.FaceLandmarkerOptions(
                base_options=tasks.BaseOptions(model_asset_path=str(self.path)),
                num_faces=self.most,
                min_face_detection_confidence=self.confidence,
                min_face_presence_confidence=self.confidence,
            )
            try:
                landmarker = tasks.vision.FaceLandmarker.create_from_options(options)
            except (RuntimeError, ValueError) as error:
                raise UserError(
                    f"{self.path.name}: expected a FaceLandmarker model, got: {_one_line(error)}; use 'download'"
                ) from error
            self._landmarker = (os.getpid(), landmarker)
        return self._landmarker[1]

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process, which opens the model anew."""
        return {**self.__dict__, "_landmarker": None}


def _face(mesh: np.ndarray) -> FoundFace:
    if len(mesh) not in _MESH_POINTS:
        raise UserError(f"mediapipe: expected 468 or 478 points a face, got {len(mesh)}; use a FaceLandmarker model")
    (left, top), (right, bottom) = mesh.min(axis=0).tolist(), mesh.max(axis=0).tolist()
    return FoundFace((left, top, right, bottom), landmarks=mesh[list(MESH_68)])


def _mediapipe() -> Any:
    try:
        # By name, so that type checkers and the rest of the library do without the optional package.
        return importlib.import_module("mediapipe")
    except ImportError as error:
        raise UserError(
            'mediapipe: expected the package, found none; run pip install "fer-core[faces]", or use face files'
        ) from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"mediapipe: expected a model file, found none at {path}; mend the path, or use 'download'")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")


def fetch_model() -> Path:
    """The official model in the cache folder; downloaded if it is not there or damaged.

    Raises:
        UserError: If it cannot be downloaded or written, or is not the file that was asked for.
    """
    path = cache_folder() / "models" / "face_landmarker.task"
    if path.is_file() and _sha256(path) == MODEL_SHA256:
        return path
    logger.info("downloading MediaPipe's FaceLandmarker model, once")
    try:
        with urllib.request.urlopen(MODEL_URL, timeout=_TIMEOUT) as answer:
            content = answer.read(_MAX_BYTES + 1)
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        raise UserError(
            f"mediapipe: expected to download the model, got {type(error).__name__} ({_one_line(error)}); connect to "
            "the network, or fetch face_landmarker.task elsewhere and give its path"
        ) from error
    came = hashlib.sha256(content).hexdigest()
    if came != MODEL_SHA256:
        raise UserError(
            f"mediapipe: expected a model of SHA-256 {MODEL_SHA256[:16]}…, got {came[:16]}… ({len(content)} bytes); "
            "try again, or give the path of a model that you trust"
        )
    _keep(path, content)
    return path


def _keep(path: Path, content: bytes) -> None:
    try:
        with atomic.replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UserError(
            f"mediapipe: expected to write {path}, got: {error.strerror}; point FER_CACHE elsewhere"
        ) from error
