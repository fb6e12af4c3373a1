"""A method of the embedded CLIP, drawn pictures for it, and the widget that puts both together."""

import numpy as np
import pytest
import torch

from fer_core import predicting
from fer_core.faces import expressions, identity, render, scene
from fer_core.predicting import Predictor
from fer_core.widgets.camera import camera


@pytest.fixture(scope="module")
def predictor():
    return Predictor(predicting.open_model("coop-facs-still-8"))


@pytest.fixture(scope="module")
def camera_widget(predictor):
    made = camera(predictor)
    yield made
    made.close()


@pytest.fixture(scope="module")
def pictures(predictor):
    """Two drawn faces ``(200, 260, 3)`` uint8, surprised and angry, beside the middle of a grey ground."""
    units = expressions.prototypes(predictor.model.method.classes)[[3, 6]]
    faces = render(units, identity.average(2), scene.studio(2), 160).image
    pictures = np.full((2, 200, 260, 3), 120, dtype=np.uint8)
    pictures[:, 20:180, 70:230] = (255 * faces).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return pictures
