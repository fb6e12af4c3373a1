"""Views of a video for test-time methods: other crops, mirrored, and other stretches of time."""

import torch
import torch.nn.functional as F
from torch import Tensor


def views_of(videos: Tensor, count: int, least: float, window: int, generator: torch.Generator) -> Tensor:
    """The video itself and random views of it.

    A view is one random square crop of all frames, scaled back to their size, mirrored half of the time; and, with a
    window, one random run of frames.

    Args:
        videos: ``(V, T, 3, H, W)``.
        count: Views of each video, the video itself included.
        least: Least side of a crop, as a share of the frame's.
        window: Frames of a view; 0 for all. The first view is the run in the middle then.
        generator: A CPU generator.

    Returns:
        ``(V, count, T or window, 3, H, W)``.
    """
    amount, frames = videos.shape[:2]
    size = min(window, frames) if window else frames
    starts = torch.randint(frames - size + 1, (amount, count), generator=generator)
    starts[:, 0] = (frames - size) // 2
    side = least + (1 - least) * torch.rand(amount, count, generator=generator)
    mirrored = torch.where(torch.rand(amount, count, generator=generator) < 0.5, -1.0, 1.0)
    shift = (2 * torch.rand(amount, count, 2, generator=generator) - 1) * (1 - side)[..., None]
    side[:, 0], mirrored[:, 0], shift[:, 0] = 1.0, 1.0, 0.0
    matrix = torch.zeros(amount, count, 2, 3)
    matrix[..., 0, 0], matrix[..., 1, 1], matrix[..., 2] = side * mirrored, side, shift
    found = []
    for number, video in enumerate(videos):
        runs = torch.stack([video[start : start + size] for start in starts[number].tolist()])  # (count, size, ...)
        flat = runs.flatten(1, 2)
        grid = F.affine_grid(matrix[number].to(flat), list(flat.shape), align_corners=False)
        seen = F.grid_sample(flat, grid, padding_mode="border", align_corners=False)
        found.append(seen.unflatten(1, (size, -1)))
    return torch.stack(found)
