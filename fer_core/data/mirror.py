"""What a left-right flip does to a face's annotations: left and right exchange their names, places and columns."""

import re
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

_SIDE = re.compile(r"\b(?:left|right)(?=(?:wards?|most)?\b)", re.IGNORECASE)


def swap_sides(text: str) -> str:
    """The text with the words "left" and "right" exchanged, in whatever case, also in "leftward" and "rightmost"."""
    return _SIDE.sub(lambda found: _other_side(found[0]), text)


def _other_side(word: str) -> str:
    other = "right" if word.lower() == "left" else "left"
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other


def partners(names: Sequence[str]) -> list[int]:
    """For each name the position of the name with its sides exchanged, or its own where there is none."""
    place = {name: position for position, name in enumerate(names)}
    return [place.get(swap_sides(name), position) for position, name in enumerate(names)]


@cache
def _action_unit_partners() -> list[int]:
    from fer_core.faces.action_units import ACTION_UNITS

    return partners([unit.name for unit in ACTION_UNITS])


@cache
def _parsing_partners() -> Tensor:
    from fer_core.faces.canvas import PARSING

    return torch.tensor(partners(PARSING), dtype=torch.uint8)


def action_units(intensities: Tensor) -> Tensor:
    """Intensities ``(..., A)`` of the mirrored face; a unit of one side without its partner (AU46) stays."""
    return intensities[..., _action_unit_partners()]


def parsing(classes: Tensor) -> Tensor:
    """A parsing map ``(..., H, W)``, mirrored."""
    return _parsing_partners()[classes.flip(-1).long()]


def landmarks(points: Tensor) -> Tensor:
    """The 68 landmarks ``(..., 68, 2)`` of the mirrored face, x and y in 0..1."""
    from fer_core.faces.landmarks import MIRROR

    return torch.stack([1 - points[..., 0], points[..., 1]], dim=-1)[..., list(MIRROR), :]
