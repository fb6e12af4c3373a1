"""A map of features to look around in: classes can be hidden, points say what they are, by mouse, touch or keyboard."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from fer_core.errors import UserError
from fer_core.plots import look

_FOLDER = Path(__file__).parent


class EmbeddingExplorer(anywidget.AnyWidget):
    """The widget's state; :func:`explore` fills it.

    Attributes:
        points: ``(N, 2)`` float32, little-endian, as bytes.
        labels: ``(N,)`` uint8, as bytes.
        classes: C class names.
        colors: C colours, as ``#rrggbb``.
        markers: C marker letters, as matplotlib has them.
        captions: What each point says beside its class; empty for nothing.
        shown: C flags, the classes that are to be seen.
        title: What the map is of, for those who cannot see it.
    """

    _esm = _FOLDER / "explorer.js"
    _css = _FOLDER / "explorer.css"
    points = traitlets.Bytes(b"").tag(sync=True)
    labels = traitlets.Bytes(b"").tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    colors = traitlets.List(traitlets.Unicode()).tag(sync=True)
    markers = traitlets.List(traitlets.Unicode()).tag(sync=True)
    captions = traitlets.List(traitlets.Unicode()).tag(sync=True)
    shown = traitlets.List(traitlets.Bool()).tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)


def explore(
    coordinates: Any, labels: Any, classes: Sequence[str], *, title: str, captions: Sequence[str] = ()
) -> EmbeddingExplorer:
    """A map to look around in.

    Args:
        coordinates: ``(N, 2)``, such as :func:`fer_core.entanglement.embed` gives them.
        labels: ``(N,)`` integers, at most 256 classes.
        classes: C class names.
        title: What the map is of; screen readers say it.
        captions: N texts, what each point says beside its class; none for nothing.

    Raises:
        UserError: If shapes do not fit, a coordinate is not finite, or a label is no class.
    """
    places, truth = np.asarray(coordinates, dtype="<f4"), np.asarray(labels)
    if places.ndim != 2 or places.shape[1] != 2 or not np.isfinite(places).all():
        raise UserError(f"coordinates: expected finite numbers (N, 2), got shape {places.shape}; make a map first")
    if truth.shape != (len(places),) or not np.issubdtype(truth.dtype, np.integer):
        raise UserError(
            f"labels: expected {len(places)} integers, got {truth.dtype} of shape {truth.shape}; one a point"
        )
    if len(classes) > 256 or (len(truth) and not 0 <= truth.min() <= truth.max() < len(classes)):
        raise UserError(f"labels: expected 0..{min(len(classes), 256) - 1}, got others; check the class names")
    if len(captions) not in (0, len(places)):
        raise UserError(f"captions: expected {len(places)} or none, got {len(captions)}; pass one a point")
    looks = [look(name, position) for position, name in enumerate(classes)]
    return EmbeddingExplorer(
        points=places.tobytes(),
        labels=truth.astype(np.uint8).tobytes(),
        classes=list(classes),
        colors=[color for color, _ in looks],
        markers=[marker for _, marker in looks],
        captions=list(captions),
        shown=[True] * len(classes),
        title=title,
    )
