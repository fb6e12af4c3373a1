"""Parsing maps and landmarks as pictures that an image tower can look at."""

import torch
from torch import Tensor

from fer_core.errors import UserError

#: Colours of the parsing classes in 0..1, far apart from each other; the first is the background.
PALETTE: tuple[tuple[float, float, float], ...] = (
    (0.00, 0.00, 0.00), (0.93, 0.79, 0.69), (0.55, 0.27, 0.07), (1.00, 0.55, 0.00), (0.00, 0.45, 0.70),
    (0.00, 0.75, 1.00), (0.00, 0.62, 0.45), (0.86, 0.08, 0.24), (1.00, 1.00, 1.00), (1.00, 0.41, 0.71),
    (0.40, 0.20, 0.60), (0.94, 0.89, 0.26), (0.60, 0.80, 0.20), (0.44, 0.50, 0.56), (0.70, 0.70, 0.90),
    (0.29, 0.00, 0.15),
)  # fmt: skip


def parsing_picture(parsing: Tensor) -> Tensor:
    """Parsing maps ``(..., H, W)`` of class numbers as colours ``(..., 3, H, W)`` in 0..1.

    Raises:
        UserError: If a class has no colour.
    """
    traced = torch.compiler.is_compiling()  # a graph cannot ask what its numbers are
    if not traced and parsing.numel() and int(parsing.max()) >= len(PALETTE):
        raise UserError(f"parsing: expected classes 0 to {len(PALETTE) - 1}, got {int(parsing.max())}; mend the maps")
    colors = torch.tensor(PALETTE, device=parsing.device)
    return colors[parsing.long()].movedim(-1, -3)


def landmark_picture(landmarks: Tensor, size: int, spread: float = 0.012) -> Tensor:
    """Landmarks as soft white dots on black, the same in three channels.

    Args:
        landmarks: ``(..., K, 2)`` x and y in 0..1 of the picture.
        size: Side S of the picture in pixels.
        spread: Standard deviation of a dot, as a share of the side.

    Returns:
        ``(..., 3, S, S)`` in 0..1.
    """
    axis = (torch.arange(size, device=landmarks.device, dtype=torch.float32) + 0.5) / size
    # A dot is a product of a column and a row, and the brightest dot counts at each pixel.
    row, column = (
        torch.exp(-((axis - landmarks[..., place, None].float()) ** 2) / (2 * spread**2)) for place in (0, 1)
    )
    shape = (*landmarks.shape[:-2], 3, size, size)
    picture = torch.zeros(*landmarks.shape[:-2], size, size, device=landmarks.device)
    for point in range(landmarks.shape[-2]):  # one by one: all at once would take 68 pictures of memory
        torch.maximum(picture, column[..., point, :, None] * row[..., point, None, :], out=picture)
    return picture.unsqueeze(-3).expand(shape)
