"""A data set in memory whose samples can be told by their pixels."""

import numpy as np

from fer_core.data import CLASSES, MemoryDataset


def make(labels: list[int], **columns) -> MemoryDataset:
    """A data set of 4x4 images of one channel, whose pixels are their numbers, with captions."""
    size = len(labels)
    image = np.arange(size, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 4), dtype=np.uint8)
    image.flags.writeable = False
    columns = {"image": image, "label": labels, **columns}
    return MemoryDataset("toy", "train", CLASSES, columns, "f" * 16, "made up", [f"face {i}" for i in range(size)])
