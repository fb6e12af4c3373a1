"""Faces rendered from action units, with exact ground truth.

``render`` draws, ``identity`` and ``scene`` say who is seen and how, ``expressions`` turns emotions into action units,
``sequences`` lets them rise and fall, ``captions`` describes them as the web would, ``sets`` holds the named sets.
"""

from fer_core.faces.action_units import ACTION_UNITS, CODES, intensities
from fer_core.faces.canvas import PARSING
from fer_core.faces.render import Face, render

__all__ = ["ACTION_UNITS", "CODES", "PARSING", "Face", "intensities", "render"]
