"""Maps as pictures."""

import numpy as np
import pytest
import torch

from fer_core.errors import UserError
from fer_core.faces import PARSING
from fer_core.layers.maps import PALETTE, landmark_picture, parsing_picture


def test_every_parsing_class_has_a_colour_of_its_own() -> None:
    assert len(PALETTE) == len(PARSING)
    colors = np.array(PALETTE)
    apart = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + 10 * np.eye(len(colors))
    assert apart.min() > 0.2
    maps = torch.arange(16, dtype=torch.uint8).view(2, 1, 2, 4)
    picture = parsing_picture(maps)
    assert picture.shape == (2, 1, 3, 2, 4)
    assert tuple(picture[1, 0, :, 0, 1].tolist()) == pytest.approx(PALETTE[9])
    with pytest.raises(UserError, match="expected classes 0 to 15, got 16"):
        parsing_picture(torch.tensor([[[16]]]))


def test_landmarks_are_dots_where_they_are() -> None:
    points = torch.tensor([[[0.25, 0.5], [0.75, 0.5]]])
    picture = landmark_picture(points, 32, spread=0.03)
    assert picture.shape == (1, 3, 32, 32)
    assert torch.equal(picture[:, 0], picture[:, 2])
    axis = (np.arange(32) + 0.5) / 32
    dots = [np.exp(-((axis[None] - x) ** 2 + (axis[:, None] - y) ** 2) / (2 * 0.03**2)) for x, y in points[0].tolist()]
    np.testing.assert_allclose(picture[0, 0].numpy(), np.maximum(*dots), atol=1e-6)
    moved = landmark_picture(points[:, :, None].expand(1, 2, 3, 2).transpose(1, 2), 32)  # clips, too
    assert moved.shape == (1, 3, 3, 32, 32)


def test_where_landmarks_meet_the_brightest_dot_counts() -> None:
    point = torch.tensor([[0.25, 0.5]])
    picture = landmark_picture(point.expand(3, 2), 32, spread=0.03)
    torch.testing.assert_close(picture, landmark_picture(point, 32, spread=0.03))
