"""A map of features to look around in, by mouse, touch or keyboard.

Points say what they are and show their faces and nearest neighbours; classes can be hidden; one method's map turns into
another's; what is drawn around is counted in a table.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from fer_core.errors import UserError
from fer_core.plots import look
from fer_core.widgets.tiles import sheet

_FOLDER = Path(__file__).parent
_NEIGHBOURS = 6
_TILE = 32  # pixels; at 800 faces some 600 KB of the page
_MOST = 65535  # points, as neighbours are told in 16 bits


class EmbeddingExplorer(anywidget.AnyWidget):
    """The widget's state; :func:`explore` fills it.

    Attributes:
        views: Names of the V maps, of which one is shown.
        view: Which one.
        points: ``(V, N, 2)`` float32, little-endian, as bytes.
        labels: ``(N,)`` uint8, as bytes.
        said: ``(V, N)`` uint8, as bytes: the class that each view's method says; empty for nothing.
        near: ``(V, N, K)`` uint16, little-endian, as bytes: each point's nearest neighbours; empty for none.
        tiles: A JPEG with one square picture a point, row after row, as wide as it is high or wider; empty for none.
        tile: Side of each in pixels; 0 for none.
        classes: C class names.
        colors: C colours, as ``#rrggbb``.
        markers: C marker letters, as matplotlib has them.
        captions: What each point says beside its class; empty for nothing.
        pairs: Pairs of class names that can be looked at alone.
        shown: C flags, the classes that are to be seen.
        title: What the map is of, for those who cannot see it.
    """

    _esm = _FOLDER / "explorer.js"
    _css = _FOLDER / "explorer.css"
    views = traitlets.List(traitlets.Unicode()).tag(sync=True)
    view = traitlets.Int(0).tag(sync=True)
    points = traitlets.Bytes(b"").tag(sync=True)
    labels = traitlets.Bytes(b"").tag(sync=True)
    said = traitlets.Bytes(b"").tag(sync=True)
    near = traitlets.Bytes(b"").tag(sync=True)
    tiles = traitlets.Bytes(b"").tag(sync=True)
    tile = traitlets.Int(0).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    colors = traitlets.List(traitlets.Unicode()).tag(sync=True)
    markers = traitlets.List(traitlets.Unicode()).tag(sync=True)
    captions = traitlets.List(traitlets.Unicode()).tag(sync=True)
    pairs = traitlets.List(traitlets.List(traitlets.Unicode())).tag(sync=True)
    shown = traitlets.List(traitlets.Bool()).tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)


def explore(
    coordinates: Any,
    labels: Any,
    classes: Sequence[str],
    *,
    title: str,
    captions: Sequence[str] = (),
    said: Mapping[str, Any] | None = None,
    features: Mapping[str, Any] | None = None,
    images: Any = None,
    pairs: Sequence[tuple[str, str]] = (),
) -> EmbeddingExplorer:
    """A map to look around in, or several of the same points.

    Args:
        coordinates: ``(N, 2)``, such as :func:`fer_core.entanglement.embed` gives them; or such maps by the name of the
            method whose features they show.
        labels: ``(N,)`` integers, at most 256 classes.
        classes: C class names.
        title: What the map is of; screen readers say it.
        captions: N texts, what each point says beside its class; none for nothing.
        said: By method, ``(N,)`` integers: the class that it says.
        features: By method, ``(N, D)``: where neighbours are looked for, by cosine; a plane is too small.
        images: ``(N, 3, S, S)`` uint8, what the points show.
        pairs: Pairs of class names that can be looked at alone.

    Raises:
        UserError: If shapes do not fit, a coordinate is not finite, a label is no class, or a method has no map.
    """
    maps = dict(coordinates) if isinstance(coordinates, Mapping) else {"": coordinates}
    truth = np.asarray(labels)
    places = [_map(each) for each in maps.values()]
    count = len(places[0]) if places else 0
    if not places or any(len(each) != count for each in places) or count > _MOST:
        raise UserError(
            f"coordinates: expected maps of the same points, at most {_MOST}, got {[len(each) for each in places]}; "
            "pass fewer points, the same on each map"
        )
    _check_classes("labels", truth, count, classes)
    if len(captions) not in (0, count):
        raise UserError(f"captions: expected {count} or none, got {len(captions)}; pass one a point")
    for name, given in (("said", said), ("features", features)):
        if given is not None and set(given) != set(maps):
            raise UserError(f"{name}: expected {', '.join(maps)}, got {', '.join(given)}; pass one a map")
    for each in (said or {}).values():
        _check_classes("said", np.asarray(each), count, classes)
    looks = [look(name, position) for position, name in enumerate(classes)]
    tiles, tile = _tiles(images, count) if images is not None else (b"", 0)
    return EmbeddingExplorer(
        views=list(maps),
        points=np.stack(places).tobytes(),
        labels=truth.astype(np.uint8).tobytes(),
        said=b"".join(np.asarray(said[name]).astype(np.uint8).tobytes() for name in maps) if said else b"",
        near=b"".join(_nearest(features[name], count) for name in maps) if features else b"",
        tiles=tiles,
        tile=tile,
        classes=list(classes),
        colors=[color for color, _ in looks],
        markers=[marker for _, marker in looks],
        captions=list(captions),
        pairs=[list(pair) for pair in pairs],
        shown=[True] * len(classes),
        title=title,
    )


def _map(coordinates: Any) -> np.ndarray:
    places = np.asarray(coordinates, dtype="<f4")
    if places.ndim != 2 or places.shape[1] != 2 or not np.isfinite(places).all():
        raise UserError(f"coordinates: expected finite numbers (N, 2), got shape {places.shape}; make a map first")
    return places


def _check_classes(name: str, given: np.ndarray, count: int, classes: Sequence[str]) -> None:
    if given.shape != (count,) or not np.issubdtype(given.dtype, np.integer):
        raise UserError(f"{name}: expected {count} integers, got {given.dtype} of shape {given.shape}; one a point")
    if len(classes) > 256 or (count and not 0 <= given.min() <= given.max() < len(classes)):
        raise UserError(f"{name}: expected 0..{min(len(classes), 256) - 1}, got others; check the class names")


def _nearest(features: Any, count: int) -> bytes:
    """Each point's nearest others by cosine, ``(N, K)`` uint16 as bytes."""
    values = np.asarray(features, dtype=np.float32)
    if values.ndim != 2 or len(values) != count or not np.isfinite(values).all():
        raise UserError(f"features: expected finite numbers ({count}, D), got shape {values.shape}; one row a point")
    values = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    likeness = values @ values.T
    np.fill_diagonal(likeness, -np.inf)
    return np.argsort(-likeness, axis=1, kind="stable")[:, : min(_NEIGHBOURS, count - 1)].astype("<u2").tobytes()


def _tiles(images: Any, count: int) -> tuple[bytes, int]:
    """All pictures in one JPEG, and the side of each."""
    pictures = np.asarray(images)
    if pictures.ndim != 4 or pictures.shape[:2] != (count, 3) or pictures.dtype != np.uint8:
        raise UserError(
            f"images: expected uint8 ({count}, 3, S, S), got {pictures.dtype} {pictures.shape}; one a point"
        )
    return sheet(pictures, _TILE), _TILE
