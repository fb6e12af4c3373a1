"""A small trained CLIP-AU, and videos of some people for it."""

import pytest
import tiny
import torch

from fer_core import models
from fer_core.batch import Batch, ImageFeatures
from fer_core.clip import Clip
from fer_core.models.clip_au import ClipAu

CLASSES = ("neutral", "pain")


@pytest.fixture(scope="session")
def tower() -> Clip:
    """A CLIP of two blocks a tower, with random weights."""
    return tiny.tiny_clip(layers=2)


@pytest.fixture
def make_source(tower):
    """Makes CLIP-AUs with weights that make their predictions differ from video to video."""

    def make(classes: tuple[str, ...] = CLASSES) -> ClipAu:
        torch.manual_seed(0)
        method = models.build("clip-au", tower, classes)
        assert isinstance(method, ClipAu)
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.data.add_(0.2 * torch.randn_like(parameter))
        return method.eval()

    return make


@pytest.fixture
def source(make_source) -> ClipAu:
    """A CLIP-AU of two classes."""
    return make_source()


@pytest.fixture
def videos():
    """Makes videos of one person, as features of their frames or as pixels."""

    def make(count: int = 5, frames: int = 7, seed: int = 0, pixels: bool = False) -> Batch:
        drawn = torch.Generator().manual_seed(seed)
        label = torch.randint(0, 2, (count,), generator=drawn)
        batch = Batch(torch.zeros(count, 0), label, torch.arange(count))
        batch.caption, batch.votes = ["pain"] * count, torch.eye(2)[label]
        if pixels:
            batch.image = torch.randn(count, frames, 3, 32, 32, generator=drawn)
        else:
            batch.features = ImageFeatures(torch.randn(count, frames, 24, generator=drawn))
        return batch

    return make
