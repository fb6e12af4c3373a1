"""What tests of the renderer share."""

import pytest
import torch

from fer_core.faces import CODES, identity, scene
from fer_core.faces.canvas import EXTENT


@pytest.fixture(scope="session")
def neutral():
    """Zero intensities, one row."""
    return torch.zeros(1, len(CODES))


@pytest.fixture(scope="session")
def average():
    """The average person, seen in even light from the front, so that the two sides are lit alike."""

    def make(count: int = 1):
        views = scene.studio(count)
        views.light = torch.tensor([[0.0, -0.5]]).repeat(count, 1)
        return identity.average(count), views

    return make


@pytest.fixture(scope="session")
def inside():
    """Turns a box in face coordinates into a mask over a picture."""

    def make(box, size: int, margin: float = 0.0):
        axis = (torch.arange(size) + 0.5) / size * 2 * EXTENT - EXTENT
        left, top, right, bottom = box
        across = (axis > left - margin) & (axis < right + margin)
        down = (axis > top - margin) & (axis < bottom + margin)
        return down[:, None] & across[None, :]

    return make
