"""Decoding image files: whole, upright, in colour, and of a size that fits into memory."""

import io
import math
import os
import struct
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from fer_core.errors import UserError

#: Stands in the names of kept pixels and features of files; raise it with every change that alters a decoded pixel, of
#: images or of videos.
DECODING_VERSION = 1
MAX_PIXELS = 2**26  # 8192 x 8192; more is no face photograph, but may be a small file that fills the memory
MAX_RATIO = 100  # of the longer side to the shorter one
_WHITE = 2**16 - 1
#: Of the formats that Pillow knows, those that face data sets hold; fewer decoders face a hostile file.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")

#: Turns that exchange width and height.
SIDEWAYS = (
    Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90,
)  # fmt: skip
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

FaceBox = tuple[float, float, float, float]  # left, top, width, height, in pixels of the upright image


def decode(
    path: str | os.PathLike[str], size: int | None = None, box: FaceBox | None = None, content: bytes | None = None
) -> np.ndarray:
    """Decodes one image file.

    Args:
        path: The file.
        size: Side of the square that is given: the shorter side is resized to it (bicubic, antialiased, as in CLIP's
            own preprocessing) and the centre is kept. None leaves the image as large as it is.
        box: What is cut out first, as far as it lies inside the image; EXIF orientation is applied before.
        content: The file's bytes where they have been read, as out of a zip; ``path`` is then only its name.

    Returns:
        ``(3, H, W)`` uint8, red, green and blue.

    Raises:
        UserError: If the file is missing, no image of a known format, damaged, of more than 2**26 pixels, of numbers
            that are no brightness, or the box lies outside of it.
    """
    name = Path(path)
    try:
        with Image.open(name if content is None else io.BytesIO(content), formats=FORMATS) as image:
            check_pixels(image.width, image.height, str(name))  # the header alone has been read so far
            turn = turned(image)
            upright = image if turn is None else image.transpose(turn)
            upright = _eight_bit(upright, str(name)).convert("RGB")
    except FileNotFoundError:
        raise UserError(f"{name}: expected an image file, found none; restore the official layout") from None
    # All that Pillow raises for a damaged file; bombs are beyond our limit.
    except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, UserError):
            raise
        # Pillow's own words for bytes of no known format name an object in memory.
        reason = f"none of {', '.join(FORMATS)}" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"{name}: expected a whole image, got a damaged one ({reason}); copy the file again") from error
    if box is not None:
        upright = _cut(upright, box, str(name))
    if size is not None:
        upright = resized(upright, size)
    return np.ascontiguousarray(np.asarray(upright).transpose(2, 0, 1))


def turned(image: Image.Image) -> Image.Transpose | None:
    """How an image's EXIF orientation asks to turn it; None where it asks nothing, or cannot be read.

    Pillow's own function to turn an image writes all tags anew, and fails at an intact photograph one of whose other
    tags is of a type that it does not expect.
    """
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (struct.error, SyntaxError, ValueError, TypeError, LookupError, AttributeError, EOFError, OSError):
        return None


def _eight_bit(image: Image.Image, where: str) -> Image.Image:
    """Grey of 16 bits as grey of 8; Pillow's own conversion would cut off all that is brighter than 255."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > _WHITE:
        raise UserError(
            f"{where}: expected brightness of 8 or 16 bits, got {values.dtype} from {values.min()} to {values.max()}; "
            "save it as 8 bits"
        )
    return Image.fromarray(np.round(values / (_WHITE / 255)).astype(np.uint8))


def check_pixels(width: int, height: int, where: str) -> None:
    """Refuses an image or video whose header promises more pixels than a frame may have.

    Raises:
        UserError: If it has none, more than 2**26, or is over a hundred times as long as it is wide: what a strip
            becomes when its shorter side is resized would fill the memory.
    """
    if not 0 < width * height <= MAX_PIXELS:
        raise UserError(f"{where}: expected 1 to {MAX_PIXELS} pixels, got {width}x{height}; leave the file out")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise UserError(f"{where}: expected a picture, got a strip of {width}x{height} pixels; leave the file out")


def _cut(image: Image.Image, box: FaceBox, where: str) -> Image.Image:
    left = top = right = bottom = 0
    if all(map(math.isfinite, box)):
        left, top = max(0, round(box[0])), max(0, round(box[1]))
        right, bottom = min(image.width, round(box[0] + box[2])), min(image.height, round(box[1] + box[3]))
    if left >= right or top >= bottom:
        raise UserError(
            f"{where}: expected a face box inside {image.width}x{image.height} pixels, got left, top, width, height "
            f"{tuple(box)}; mend the list"
        )
    return image.crop((left, top, right, bottom))


def resized(image: Image.Image, size: int) -> Image.Image:
    """Shorter side to ``size``, then the centre square: rounded as torchvision's Resize and CenterCrop do."""
    short = min(image.size)
    width, height = (int(size * side / short) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))
