"""A photograph or a camera's picture of one's own before a trained method: aligned, shown, and told.

The page has the files and the camera, the kernel has the model. Pictures go from the one to the other, and neither
keeps them. In a page without a kernel the widget says that it needs one.
"""

import io
import time
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from PIL import Image

from fer_core.data import images
from fer_core.errors import UserError
from fer_core.plots import look
from fer_core.predicting import LeftOut, Predictor

_FOLDER = Path(__file__).parent
MOST_BYTES = 8 * 2**20  # a message of more than 10 MiB ends the connection to Jupyter's server


class FaceCamera(anywidget.AnyWidget):
    """The widget's state; :func:`camera` fills it. No picture is ever part of it.

    Attributes:
        title: What the model is called.
        side: The model's pixels along each side of a picture.
        placed: Whether faces are looked for; if not, the centre square of a picture is taken.
        most: Bytes that a picture's file may have.
        classes: C class names.
        colors: C colours, as ``#rrggbb``.
    """

    _esm = _FOLDER / "camera.js"
    _css = _FOLDER / "camera.css"
    title = traitlets.Unicode("").tag(sync=True)
    side = traitlets.Int(0).tag(sync=True)
    placed = traitlets.Bool(False).tag(sync=True)
    most = traitlets.Int(MOST_BYTES).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    colors = traitlets.List(traitlets.Unicode()).tag(sync=True)


def camera(predictor: Predictor, *, title: str = "") -> FaceCamera:
    """A widget that shows what a model says of one's own pictures.

    Args:
        predictor: The model, and who finds and aligns faces for it.
        title: What the model is called; its experiment and data set by default.
    """
    method = predictor.model.method

    def asked(widget: FaceCamera, content: dict[str, Any], buffers: Any) -> None:
        """The page asks whether anybody is there, or what a picture shows."""
        if "picture" not in content:
            widget.send({"ready": True})
            return
        number = content["picture"]
        try:
            told, crop = _told(predictor, content["name"], bytes(buffers[0]))
        except Exception as error:
            widget.send({"picture": number, "error": str(error)})  # the page shows it; a kernel's log nobody sees
            return
        widget.send({"picture": number, **told}, [crop])

    made = FaceCamera(
        title=title or _title(predictor.model.told),
        side=method.clip.image_size,
        placed=predictor.placer is not None,
        classes=list(method.classes),
        colors=[look(name, at)[0] for at, name in enumerate(method.classes)],
    )
    made.on_msg(asked)
    return made


def _title(told: dict[str, Any]) -> str:
    if "experiment" in told:
        return f"{told['experiment']}, trained on {told['dataset']}"
    return f"{told['model']} by the CLIP {told['backbone']}"


def _told(predictor: Predictor, name: str, content: bytes) -> tuple[dict[str, Any], bytes]:
    """What the page shows of a picture, and the crop that the model was given as a PNG.

    Args:
        predictor: Says it.
        name: Of the file.
        content: The file's bytes.

    Raises:
        UserError: If it is no whole image of at most 2**26 pixels, or shows no face.
    """
    start = time.perf_counter()
    picture = np.ascontiguousarray(images.decode(name, content=content).transpose(1, 2, 0))
    (said,) = predictor.of_pictures([picture])
    if isinstance(said, LeftOut):
        raise UserError(f"{said.why}; try a picture with a larger face, seen from the front")
    buffer = io.BytesIO()
    Image.fromarray(said.image[0].permute(1, 2, 0).numpy()).save(buffer, "PNG")
    told = {
        "size": [picture.shape[1], picture.shape[0]],
        "outline": said.outline,
        "probabilities": list(said.probabilities.values()),
        "milliseconds": 1000 * (time.perf_counter() - start),
    }
    return told, buffer.getvalue()
