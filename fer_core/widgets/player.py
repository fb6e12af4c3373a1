"""A person's clips beside what CLIP-AUTT makes of them: windows, predictions and phrases, pass by pass.

All numbers travel in the page, so that it needs no kernel. Nothing moves by itself, whether or not a reader prefers
less motion: buttons play the clip, over and over, and the passes, once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from fer_core.adapt.following import Course
from fer_core.errors import UserError
from fer_core.plots import look
from fer_core.widgets.tiles import sheet

_FOLDER = Path(__file__).parent
_TILE = 64  # pixels, as rendered faces have; six clips of twelve frames take some 100 KB of the page


class PersonalisationPlayer(anywidget.AnyWidget):
    """The widget's state; :func:`play` fills it.

    Attributes:
        names: Of the V clips.
        truths: V true classes.
        classes: C class names.
        colors: C colours, as ``#rrggbb``.
        phrases: N action units in words.
        passes: S, with the one before the first step.
        length: T, frames of a clip.
        window: K, frames of a window; each clip has M = T - K + 1.
        apex: V pairs, first and last moment of the true apex in frames (0 to T); empty where there is none.
        entropies: ``(S, V, M)`` float32, little-endian, as bytes.
        chosen: ``(S, V)`` uint16, little-endian, as bytes: the chosen window, by its first frame.
        probabilities: ``(S, V, C)`` float32, little-endian, as bytes.
        likeness: ``(S, V, N)`` float32, little-endian, as bytes.
        tiles: A JPEG with all frames, clip after clip, in square tiles, row after row.
        tile: Side of each in pixels.
        clip: Which clip is shown, from 0.
        frame: Which of its frames, from 0.
        step: After how many steps; 0 is before adaptation.
        title: What it is of, for those who cannot see it.
    """

    _esm = _FOLDER / "player.js"
    _css = _FOLDER / "player.css"
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    truths = traitlets.List(traitlets.Int()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    colors = traitlets.List(traitlets.Unicode()).tag(sync=True)
    phrases = traitlets.List(traitlets.Unicode()).tag(sync=True)
    passes = traitlets.Int(0).tag(sync=True)
    length = traitlets.Int(0).tag(sync=True)
    window = traitlets.Int(0).tag(sync=True)
    apex = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    entropies = traitlets.Bytes(b"").tag(sync=True)
    chosen = traitlets.Bytes(b"").tag(sync=True)
    probabilities = traitlets.Bytes(b"").tag(sync=True)
    likeness = traitlets.Bytes(b"").tag(sync=True)
    tiles = traitlets.Bytes(b"").tag(sync=True)
    tile = traitlets.Int(_TILE).tag(sync=True)
    clip = traitlets.Int(0).tag(sync=True)
    frame = traitlets.Int(0).tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)


def play(
    course: Course,
    frames: Any,
    classes: Sequence[str],
    phrases: Sequence[str],
    *,
    names: Sequence[str],
    truths: Any,
    apex: Any = None,
    title: str = "Adaptation to one person, clip by clip and pass by pass",
) -> PersonalisationPlayer:
    """A player of clips and of their adaptation. A window has as many frames as the course's windows leave room for.

    Args:
        course: Of V clips, as :func:`fer_core.adapt.follow` gives it; ``course.take`` chooses some of them.
        frames: ``(V, T, 3, S, S)`` uint8, what the clips show.
        classes: C class names.
        phrases: N action units in words.
        names: Of the V clips.
        truths: ``(V,)`` integers, the true classes, which are shown beside what is predicted.
        apex: ``(V, 2)`` begin and end of the true apex, as shares of the clip; zeros, or None, where nothing is shown.
        title: What it is of; screen readers say it.

    Raises:
        UserError: If shapes do not fit, or a true class is none.
    """
    pictures, true = np.asarray(frames), np.asarray(truths)
    passes, count, windows = course.entropies.shape
    if (
        pictures.dtype != np.uint8
        or pictures.ndim != 5
        or pictures.shape[2] != 3
        or pictures.shape[3] != pictures.shape[4]
    ):
        raise UserError(
            f"frames: expected uint8 (V, T, 3, S, S), got {pictures.dtype} {pictures.shape}; pass a set's own"
        )
    length = pictures.shape[1]
    if len(pictures) != count or not 1 <= windows <= length:
        raise UserError(
            f"frames: expected {count} clips of at least {windows} frames, as the course has windows, got "
            f"{len(pictures)} of {length}; pass the frames of its clips"
        )
    for name, given, expected in (
        ("classes", classes, course.probabilities.shape[2]),
        ("phrases", phrases, course.likeness.shape[2]),
        ("names", names, count),
    ):
        if len(given) != expected:
            raise UserError(f"{name}: expected {expected}, as the course has, got {len(given)}; pass one for each")
    if (
        true.shape != (count,)
        or not np.issubdtype(true.dtype, np.integer)
        or not np.isin(true, range(len(classes))).all()
    ):
        raise UserError(
            f"truths: expected {count} integers in 0..{len(classes) - 1}, got {true.dtype} of shape {true.shape}; "
            "pass the class of each clip"
        )
    return PersonalisationPlayer(
        names=list(names),
        truths=true.tolist(),
        classes=list(classes),
        colors=[look(name, position)[0] for position, name in enumerate(classes)],
        phrases=list(phrases),
        passes=passes,
        length=length,
        window=length - windows + 1,
        apex=_apex(apex, count, length),
        entropies=course.entropies.astype("<f4").tobytes(),
        chosen=course.chosen.astype("<u2").tobytes(),
        probabilities=course.probabilities.astype("<f4").tobytes(),
        likeness=course.likeness.astype("<f4").tobytes(),
        tiles=sheet(pictures.reshape(-1, *pictures.shape[2:]), _TILE),
        title=title,
    )


def _apex(given: Any, count: int, length: int) -> list[list[float]]:
    """What is seen of each apex, in frames; nothing where there is none."""
    if given is None:
        return [[]] * count
    shares = np.asarray(given, dtype=np.float64)
    if shares.shape != (count, 2) or not np.isfinite(shares).all():
        raise UserError(f"apex: expected finite numbers ({count}, 2), got shape {shares.shape}; pass begin and end")
    return [pair if pair[0] < pair[1] else [] for pair in (length * shares.clip(0, 1)).tolist()]
