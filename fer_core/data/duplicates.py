"""Pixel-identical images within and across the splits of a data set.

FER2013's images were gathered by web search, so some faces are in it several times, also across its splits. A score on
test images that were trained on is too good: pages give a de-duplicated score beside the official one.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np


def pixel_hashes(images: np.ndarray) -> list[bytes]:
    """A 128-bit hash of each image's pixels.

    Args:
        images: ``(N, ...)`` uint8.

    Returns:
        N hashes; images of one shape have equal hashes where all their pixels are equal.
    """
    return [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in images]


def found_in(hashes: Sequence[bytes], others: Sequence[bytes]) -> np.ndarray:
    """Which hashes also come among others: ``(N,)`` bool."""
    known = set(others)
    return np.fromiter((value in known for value in hashes), dtype=bool, count=len(hashes))


def report(splits: Mapping[str, tuple[Sequence[bytes], np.ndarray]]) -> dict[str, dict[str, int]]:
    """Counts pixel-identical images.

    Args:
        splits: For each split its images' hashes and their labels ``(N,)``.

    Returns:
        ``"within SPLIT"``: ``images`` that have a twin in their own split, the ``groups`` they form, and the
        ``conflicts``: groups whose labels differ. ``"A in B"`` for each later split A and earlier split B: ``images``
        of A with a twin in B, and ``conflicts``: those whose label none of their twins has.
    """
    labels_of: dict[str, dict[bytes, list[int]]] = {}
    for split, (hashes, labels) in splits.items():
        groups: dict[bytes, list[int]] = defaultdict(list)
        for value, label in zip(hashes, labels.tolist(), strict=True):
            groups[value].append(label)
        labels_of[split] = dict(groups)
    counts: dict[str, dict[str, int]] = {}
    names = list(splits)
    for place, split in enumerate(names):
        twins = [labels for labels in labels_of[split].values() if len(labels) > 1]
        counts[f"within {split}"] = {
            "images": sum(map(len, twins)),
            "groups": len(twins),
            "conflicts": sum(len(set(labels)) > 1 for labels in twins),
        }
        for earlier in names[:place]:
            shared = [
                (label, labels_of[earlier][value])
                for value, labels in labels_of[split].items()
                if value in labels_of[earlier]
                for label in labels
            ]
            conflicts = sum(label not in others for label, others in shared)
            counts[f"{split} in {earlier}"] = {"images": len(shared), "conflicts": conflicts}
    return counts
