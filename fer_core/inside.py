"""What goes on inside a method, against what a rendered face is known to show: parts of the face, action units."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor

from fer_core.clip import BlockAdapter, Clip
from fer_core.errors import UserError
from fer_core.faces.canvas import PARSING
from fer_core.prompts import UnitPhrase

PHASES = ("onset", "apex", "offset")


class _Watcher(BlockAdapter):
    """Keeps where the class token looks in a block that it leaves as it is: ``(B, L)``, means over heads."""

    weights: Tensor

    def attention(self, delta: Tensor, normed: Tensor, x: Tensor, block: ResidualAttentionBlock) -> Tensor:
        self.weights = block.attn(normed[:, :1], normed, normed, need_weights=True)[1][:, 0]
        return delta


def class_attention(tower: Clip, image: Tensor, prompts: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Where the class token looks in the last block of the image tower, mean over heads.

    Args:
        tower: A CLIP whose blocks have torch's own attention.
        image: ``(B, 3, H, W)``, normalised.
        prompts: As of :meth:`Clip.encode_image`.

    Returns:
        Weights of the patches ``(B, rows, columns)``, and of the block's prompts together ``(B,)``; what is missing
        to 1 is the class token's look at itself.
    """
    watcher = _Watcher()
    adapters = [None] * (tower.visual_layers - 1) + [watcher]
    with torch.no_grad():
        tower.encode_image(image, prompts, adapters, patches=False)
    rows, columns = tower.patch_grid
    seen, prompted = watcher.weights[:, 1:].split(
        [rows * columns, watcher.weights.shape[1] - 1 - rows * columns], dim=1
    )
    return seen.unflatten(1, (rows, columns)), prompted.sum(1)


def on_parts(weights: Tensor, parsing: Tensor) -> tuple[Tensor, Tensor]:
    """How much of each face's attention lies on each part of it, and how large that part is.

    Args:
        weights: ``(B, H, W)`` weights of patches, not negative.
        parsing: ``(B, S, S)`` uint8, classes as ``faces.PARSING``; a patch counts for a part by its share of pixels.

    Returns:
        Shares of the attention and of the area, ``(B, parts)`` each, summing to 1.

    Raises:
        UserError: If a face has no attention at all.
    """
    values = weights.detach().double().flatten(1)
    total = values.sum(1, keepdim=True)
    if not (total > 0).all():
        raise UserError("weights: expected some attention on each face, got none on one; pass weights before masking")
    maps = F.one_hot(parsing.long(), len(PARSING)).double().movedim(-1, 1)
    rows, columns = weights.shape[1:]
    cover = F.adaptive_avg_pool2d(maps, (rows, columns)).flatten(2)  # (B, parts, patches)
    return ((values / total)[:, None] * cover).sum(-1), cover.mean(-1)


def by_part(weights: Tensor, parsing: Tensor) -> dict[str, tuple[float, float]]:
    """How much of some attention lies on each part of the face, all faces together; arguments as for :func:`on_parts`.

    Returns:
        By part that any face shows: its share of all attention, and that share relative to the part's area; 1 is
        attention that is spread evenly.
    """
    on, area = (each.mean(0) for each in on_parts(weights, parsing))
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
    return [
        [(str(names[at]), float(row[at])) for at in places] for row, places in zip(found, order.tolist(), strict=True)
    ]


def unit_correlations(
    likeness: np.ndarray, units: np.ndarray, phrases: Sequence[UnitPhrase], codes: Sequence[str]
) -> dict[str, float]:
    """Whether likeness to a unit in words follows the true unit: Pearson's rho over clips, by phrase.

    Args:
        likeness: ``(V, N)`` of clips to phrases.
        units: ``(V, T, A)`` true intensities; a clip shows as much of a unit as its strongest frame.
        phrases: The N phrases; those of units that rendered faces never show, or that these clips never do, are left
            out, and of those that stand for both sides the stronger side counts.
        codes: Names of the A columns.
    """
    strongest_frame = np.asarray(units).max(axis=1)
    found = {}
    for place, phrase in enumerate(phrases):
        columns = [codes.index(code) for code in phrase.codes if code in codes]
        if not columns:
            continue
        shown = strongest_frame[:, columns].max(axis=1)
        if np.ptp(shown) > 0.2:
            found[phrase.phrase] = float(correlations(likeness[:, place : place + 1], shown[:, None])[0, 0])
    return found


def apex_cover(first: np.ndarray, size: int, frames: int, apex: np.ndarray) -> np.ndarray:
    """How much of the apex a window sees: ``(V,)`` shares of the apex's frames.

    Args:
        first: ``(V,)`` or ``(V, M)`` first frame of each window.
        size: Frames of a window.
        frames: Frames T of a clip.
        apex: ``(V, 2)`` begin and end of the apex, as shares of the clip.
    """
    starts = np.asarray(first)
    moment = (np.arange(frames) + 0.5) / frames
    inside_apex = (moment >= apex[:, :1]) & (moment <= apex[:, 1:])  # (V, T)
    nearest = np.abs(moment - apex.mean(axis=1, keepdims=True)).argmin(axis=1)
    inside_apex[np.arange(len(apex)), nearest] = True  # an apex shorter than a frame is in the nearest one
    seen = (np.arange(frames) >= starts[..., None]) & (np.arange(frames) < starts[..., None] + size)  # (V, [M,] T)
    at_apex = inside_apex if starts.ndim == 1 else inside_apex[:, None]
    return (seen & at_apex).sum(-1) / at_apex.sum(-1)


def phases(apex: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """In which phase of an expression each frame lies: ``(V, T)`` of 0 (onset), 1 (apex) and 2 (offset).

    Args:
        apex: ``(V, 2)`` begin and end of the apex, as shares of the clip.
        moments: ``(T,)`` when the frames were taken, as shares of the clip.
    """
    begin, end = (np.asarray(apex)[:, place, None] for place in (0, 1))
    return np.where(moments < begin, 0, np.where(moments <= end, 1, 2))


def attention_by_phase(weights: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """How much a frame of each phase looks at one frame of each phase, as a multiple of an even look at all frames.

    Args:
        weights: ``(V, T, T)`` attention of each frame (rows, summing to 1) to each frame.
        phase: ``(V, T)`` as :func:`phases` gives it.

    Returns:
        ``(3, 3)``, rows: who looks; NaN where no clip has both.
    """
    found = np.full((len(PHASES), len(PHASES)), np.nan)
    for who in range(len(PHASES)):
        for whom in range(len(PHASES)):
            pairs = (phase == who)[:, :, None] & (phase == whom)[:, None, :]
            if pairs.any():
                found[who, whom] = np.asarray(weights)[pairs].mean() * weights.shape[1]
    return found
