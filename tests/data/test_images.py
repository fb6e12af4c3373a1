"""Decoding stills: as torchvision resizes them, upright, and never more than fits."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile import bomb
from PIL import Image, ImageOps
from torchvision.transforms import v2

from fer_core.data import images
from fer_core.errors import UserError


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(50, 80), (80, 51), (64, 64), (20, 33)])
def test_resizes_and_crops_as_clips_preprocessing(tmp_path: Path, height: int, width: int) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise(height, width)).save(path)
    reference = v2.Compose([v2.Resize(32, v2.InterpolationMode.BICUBIC), v2.CenterCrop(32), v2.PILToTensor()])
    expected = reference(Image.open(path).convert("RGB"))
    assert torch.equal(torch.from_numpy(images.decode(path, 32)), expected)


def test_leaves_the_size_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise(5, 7)).save(path)
    np.testing.assert_array_equal(images.decode(path), noise(5, 7).transpose(2, 0, 1))
    np.testing.assert_array_equal(images.decode("in a zip", content=path.read_bytes()), images.decode(path))


def test_turns_upright_before_cutting(tmp_path: Path) -> None:
    path, exif = tmp_path / "a.png", Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    Image.fromarray(noise(4, 6)).save(path, exif=exif)
    upright = np.rot90(noise(4, 6), -1).transpose(2, 0, 1)
    np.testing.assert_array_equal(images.decode(path), upright)
    np.testing.assert_array_equal(images.decode(path, box=(1, 2, 2, 3)), upright[:, 2:5, 1:3])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_as_pillow_does(tmp_path: Path, orientation: int) -> None:
    path, exif = tmp_path / "a.png", Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(4, 6)).save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image)).transpose(2, 0, 1)
        assert (images.turned(image) in images.SIDEWAYS) == (expected.shape[1:] == (6, 4))
    np.testing.assert_array_equal(images.decode(path), expected)


def test_odd_exif_tags_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    # ImageDescription as a fraction, which Pillow would have to write anew; then a block that ends too early.
    tags = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHII", 0x010E, 5, 1, 38)
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + tags + struct.pack("<III", 0, 1, 2)
    Image.fromarray(noise(4, 6)).save(path, exif=block)
    with Image.open(path) as image, pytest.raises((TypeError, AttributeError, struct.error)):
        ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(images.decode(path), np.rot90(noise(4, 6), -1).transpose(2, 0, 1))
    Image.fromarray(noise(4, 6)).save(path, exif=block[:12])
    np.testing.assert_array_equal(images.decode(path), noise(4, 6).transpose(2, 0, 1))


def test_a_box_counts_as_far_as_it_lies_inside(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise(8, 8)).save(path)
    whole = images.decode(path)
    np.testing.assert_array_equal(images.decode(path, box=(-3, 5, 8, 99)), whole[:, 5:, :5])
    with pytest.raises(UserError, match=r"a\.png: expected a face box inside 8x8 pixels, got .*9, 0, 4, 4"):
        images.decode(path, box=(9, 0, 4, 4))


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1"])
def test_gives_colour_whatever_the_mode(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(noise(6, 6)).convert(mode).save(path)
    assert images.decode(path).shape == (3, 6, 6)


def test_names_every_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(40, 40)).save(buffer, format="JPEG")
    whole = buffer.getvalue()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # our own limit alone
    for content, message in [
        (whole[: len(whole) // 2], "expected a whole image, got a damaged one"),
        (b"", "expected a whole image"),
        (b"#!/bin/sh", r"expected a whole image, got a damaged one \(none of JPEG, PNG, BMP, TIFF, WEBP, GIF\); copy"),
        (b"%PDF-1.4", "expected a whole image"),
        (bomb(), "expected 1 to 67108864 pixels, got 32768x4096"),
    ]:
        path = tmp_path / "face.jpg"
        path.write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            images.decode(path, 16)
        assert "face.jpg" in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="expected an image file, found none"):
        images.decode(tmp_path / "none.jpg")


@pytest.mark.parametrize(("kind", "white"), [("uint8", 255), ("uint16", 65535), ("int32", 65535)])
def test_grey_of_any_depth_keeps_its_brightness(tmp_path: Path, kind: str, white: int) -> None:
    ramp = np.linspace(0, 1, 256)[None].repeat(4, 0)
    path = tmp_path / "a.tif"
    Image.fromarray((ramp * white).round().astype(kind)).save(path)
    np.testing.assert_allclose(images.decode(path)[0], (255 * ramp).round(), atol=1)


@pytest.mark.parametrize("values", [np.linspace(0, 1, 16, dtype="float32"), np.arange(16, dtype="int32") - 3])
def test_numbers_that_are_no_brightness_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(values.reshape(4, 4)).save(path)
    with pytest.raises(UserError, match=r"a\.tif: expected brightness of 8 or 16 bits, got"):
        images.decode(path)


def test_a_strip_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (60000, 1)).save(path)
    with pytest.raises(UserError, match="expected a picture, got a strip of 60000x1 pixels"):
        images.decode(path, 224)
    Image.new("RGB", (100, 1)).save(path)
    assert images.decode(path, 32).shape == (3, 32, 32)
    with pytest.raises(UserError, match="expected a face box inside"):
        images.decode(path, box=(float("nan"), 0, 4, 4))
