"""What goes on inside a method, against what a rendered face is known to show: parts of the face, action units."""

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from fer_core.errors import UserError
from fer_core.faces.canvas import PARSING


def by_part(weights: Tensor, parsing: Tensor) -> dict[str, tuple[float, float]]:
    """How much of some attention lies on each part of the face.

    Args:
        weights: ``(B, H, W)`` weights of patches, not negative.
        parsing: ``(B, S, S)`` uint8, classes as ``faces.PARSING``; a patch counts for a part by its share of pixels.

    Returns:
        By part that any face shows: its share of all attention, and that share relative to the part's area; 1 is
        attention that is spread evenly.

    Raises:
        UserError: If a face has no attention at all.
    """
    values = weights.detach().double().flatten(1)
    total = values.sum(1, keepdim=True)
    if not (total > 0).all():
        raise UserError("weights: expected some attention on each face, got none on one; pass weights before masking")
    maps = F.one_hot(parsing.long(), len(PARSING)).double().movedim(-1, 1)
    cover = F.adaptive_avg_pool2d(maps, tuple(weights.shape[1:])).flatten(2)  # (B, parts, patches)
    on, area = ((values / total)[:, None] * cover).sum(-1).mean(0), cover.mean(-1).mean(0)
    return {
        name: (float(on[place]), float(on[place] / area[place]))
        for place, name in enumerate(PARSING)
        if area[place] > 0
    }


def by_class(values: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Mean of values ``(N, K)`` within each class: ``(C, K)``."""
    return np.stack([np.asarray(values)[np.asarray(labels) == number].mean(axis=0) for number in range(classes)])


def share_between(values: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """Share of the variance of values ``(N, K)`` that lies between the classes (eta squared), mean over K; 0 to 1."""
    spread = np.asarray(values, dtype=np.float64)
    means = by_class(spread, labels, classes)[np.asarray(labels)]
    whole, between = spread.var(axis=0), means.var(axis=0)
    return float(np.mean(between[whole > 0] / whole[whole > 0])) if (whole > 0).any() else 0.0


def correlations(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Pearson correlations of values ``(N, K)`` with intensities ``(N, A)``: ``(K, A)``, 0 where one is constant."""
    one, other = (np.asarray(each, dtype=np.float64) for each in (values, units))
    # A constant's mean may differ from it by a rounding, which would correlate with anything.
    one, other = (np.where(np.ptp(each, axis=0) > 0, each - each.mean(axis=0), 0.0) for each in (one, other))
    scale = np.sqrt(np.square(one).sum(axis=0))[:, None] * np.sqrt(np.square(other).sum(axis=0))
    return np.divide(one.T @ other, scale, out=np.zeros_like(scale), where=scale > 0)


def strongest(found: np.ndarray, names: Sequence[str], most: int = 3) -> list[list[tuple[str, float]]]:
    """For each row of ``(K, A)``, the names of its largest absolute values, with the values."""
    order = np.argsort(-np.abs(found), axis=1)[:, :most]
    return [[(names[place], float(row[place])) for place in places] for row, places in zip(found, order, strict=True)]
