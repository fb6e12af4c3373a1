import pytest
import torch

from fer_core.errors import UserError
from fer_core.faces import ACTION_UNITS, CODES, action_units, intensities, render
from fer_core.faces.action_units import REGIONS

FACE_UNITS = [unit for unit in ACTION_UNITS if unit.region != "head"]


@pytest.mark.parametrize("unit", ACTION_UNITS, ids=lambda unit: unit.code)
def test_effect_is_visible_and_grows_with_intensity(unit, neutral, average):
    steps = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    units = torch.zeros(len(steps), len(CODES))
    units[:, action_units.column(unit.code)] = steps
    pictures = render(units, *average(len(steps)), 96).image
    change = (pictures[1:] - pictures[0]).abs().mean((1, 2, 3))
    assert (change.diff() > 0).all(), change
    # A tenth of the grey scale over at least some ten of the 9,216 pixels (nostrils are small).
    assert ((pictures[-1] - pictures[0]).abs().amax(0) > 0.1).sum() > 10


@pytest.mark.parametrize("unit", FACE_UNITS, ids=lambda unit: unit.code)
def test_effect_stays_in_its_region(unit, neutral, average, inside):
    active = intensities({unit.code: 1.0})[None]
    before, after = (render(units, *average(), 96).image[0] for units in (neutral, active))
    change = (after - before).abs().amax(0)
    # Depth shifts what stands forward by up to half a pixel at the border of the region.
    outside = ~inside(REGIONS[unit.region], 96, margin=0.05)
    assert change[outside].max() < 0.01


def test_sides_mirror_each_other(average, inside):
    left, right = (intensities({code: 1.0})[None] for code in ("AU12L", "AU12R"))
    one, other = (render(units, *average(), 96).image[0] for units in (left, right))
    # The hair is parted, so compare the inner face.
    face = inside((-0.5, 0.05, 0.5, 0.9), 96)
    assert ((one - other.flip(-1)).abs().amax(0) * face).max() < 1e-3


def test_bilateral_codes_stand_for_both_sides():
    vector = intensities({"AU12": 0.5})
    assert vector[action_units.column("AU12L")] == vector[action_units.column("AU12R")] == 0.5
    assert vector.sum() == 1.0


def test_codes_are_unique_and_enough():
    assert len(set(CODES)) == len(CODES) >= 28


def test_unknown_unit_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'AU12'"):
        intensities({"AU12l": 1.0})


def test_intensity_out_of_range():
    with pytest.raises(UserError, match=r"AU4.*0\.\.1.*1\.5"):
        intensities({"AU4": 1.5})
