"""From light to picture: black and white, blur, noise; and JPEG for stored pictures."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from fer_core.faces.canvas import EXTENT, put
from fer_core.faces.scene import Scene

_LUMA = (0.299, 0.587, 0.114)


def develop(image: Tensor, scene: Scene) -> Tensor:
    """What the camera makes of the light.

    Args:
        image: ``(B, 3, S, S)``; its memory is used again where no gradient is asked for.
        scene: ``B`` views.

    Returns:
        ``(B, 3, S, S)`` in 0..1. Rows without blur or noise pass untouched.
    """
    grey = (scene.grey > 0).nonzero()[:, 0]
    if len(grey):
        chosen = image[grey]
        luma = (chosen * image.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
        image = put(image, grey, torch.lerp(chosen, luma, scene.grey[grey][:, None, None, None]))
    image = _blur(image, scene.blur * image.shape[-1] / (2 * EXTENT))
    noisy = (scene.noise > 0).nonzero()[:, 0]
    if len(noisy):
        grain = _grain(scene.seed[noisy].tolist(), image.shape[1:]).to(image.device)
        grain *= scene.noise[noisy][:, None, None, None]
        add = image.index_add if torch.is_grad_enabled() else image.index_add_
        image = add(0, noisy, grain)
    return image.clamp(0.0, 1.0) if torch.is_grad_enabled() else image.clamp_(0.0, 1.0)


def _grain(seeds: list[int], shape: torch.Size) -> Tensor:
    """Noise of each picture, that depends on its seed alone, not on its place in a batch or the device."""
    grain = torch.empty(len(seeds), *shape)
    for picture, seed in zip(grain, seeds, strict=True):
        picture.normal_(generator=torch.Generator().manual_seed(seed))
    return grain


def _blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with one standard deviation (in pixels) a picture."""
    rows = (sigma > 0.15).nonzero()[:, 0]
    if not len(rows):
        return image
    radius = int(torch.ceil(2.5 * sigma.max()))
    offsets = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma[rows][:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    chosen = image[rows]
    flat = functional.pad(chosen, (radius,) * 4, mode="replicate").flatten(0, 1)[None]
    flat = functional.conv2d(flat, kernel[:, None, None, :], groups=len(kernel))
    flat = functional.conv2d(flat, kernel[:, None, :, None], groups=len(kernel))
    return put(image, rows, flat.view_as(chosen))


def to_bytes(image: Tensor, scene: Scene) -> Tensor:
    """Pictures as uint8, through JPEG where the view asks for it.

    Args:
        image: ``(B, 3, S, S)`` in 0..1.
        scene: ``B`` views.

    Returns:
        ``(B, 3, S, S)`` uint8 on the CPU.
    """
    pictures = (image.detach() * 255.0 + 0.5).to(torch.uint8).cpu()
    for row, quality in enumerate(scene.jpeg.tolist()):
        if quality:
            file = io.BytesIO()
            Image.fromarray(pictures[row].permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
            pictures[row] = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    return pictures
