"""A CLIP small enough to train in a test, and batches for it."""

from collections.abc import Callable

import pytest
import tiny
import torch

from fer_core.batch import Batch
from fer_core.clip import Clip

CLASSES = ("neutral", "happiness", "disgust", "anger")


@pytest.fixture
def classes() -> tuple[str, ...]:
    """Names of four expressions."""
    return CLASSES


@pytest.fixture
def tiny_clip() -> Clip:
    """A fresh CLIP of three blocks a tower."""
    return tiny.tiny_clip()


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """Builds batches of random images, or of clips when ``frames`` is given."""

    def make(size: int = 6, frames: int | None = None, seed: int = 0) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        shape = (size, 3, 32, 32) if frames is None else (size, frames, 3, 32, 32)
        batch = Batch(
            image=torch.randn(shape, generator=generator),
            label=torch.arange(size) % len(CLASSES),
            index=torch.arange(size),
            votes=torch.randint(0, 5, (size, len(CLASSES)), generator=generator).float(),
        )
        clips = shape[:-3]
        batch.parsing = torch.randint(0, 16, (*clips, 32, 32), generator=generator, dtype=torch.uint8)
        batch.landmarks = torch.rand(*clips, 68, 2, generator=generator)
        batch.caption = [f"The brows of person {place} rise. The lips part." for place in range(size)]
        return batch

    return make
