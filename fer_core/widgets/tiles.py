"""Many small pictures as one: a widget's state carries them in a single compressed sheet."""

import io

import numpy as np
from PIL import Image


def sheet(pictures: np.ndarray, side: int) -> bytes:
    """A JPEG with one square tile a picture, row after row, as wide as it is high or wider.

    Args:
        pictures: ``(N, 3, S, S)`` uint8, at least one.
        side: Of a tile, in pixels; pictures are resized to it.
    """
    across = int(np.ceil(np.sqrt(len(pictures))))
    drawn = Image.new("RGB", (across * side, -(-len(pictures) // across) * side))
    for place, picture in enumerate(pictures.transpose(0, 2, 3, 1)):
        small = Image.fromarray(np.ascontiguousarray(picture)).resize((side, side), Image.Resampling.BICUBIC)
        drawn.paste(small, (place % across * side, place // across * side))
    buffer = io.BytesIO()
    drawn.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
