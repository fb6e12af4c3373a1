"""Controlled faces differ in one thing alone."""

import pytest
import torch

from fer_core.data import CLASSES
from fer_core.errors import UserError
from fer_core.faces import controlled, identity, sets


@pytest.fixture(scope="module")
def doses():
    return controlled.doses(CLASSES, 2, (0.0, 0.5, 1.0))


def _of(faces, **chosen):
    keep = torch.ones(len(faces.label), dtype=torch.bool)
    for name, value in chosen.items():
        keep &= getattr(faces, name) == value
    return faces.image[keep].float()


def test_every_person_shows_every_expression_at_every_level(doses):
    shown = len(CLASSES) - 1
    assert len(doses.image) == 3 * 2 * shown
    assert doses.image.shape[1:] == (3, 64, 64)
    seen = set(zip(doses.label.tolist(), doses.level.tolist(), doses.person.tolist(), strict=True))
    assert len(seen) == 3 * 2 * shown
    assert CLASSES.index("neutral") not in doses.label


def test_without_a_dose_all_expressions_are_one_face(doses):
    for person in (0, 1):
        faces = _of(doses, level=0.0, person=person)
        assert torch.equal(faces, faces[:1].expand_as(faces))
    assert not torch.equal(_of(doses, level=0.0, person=0), _of(doses, level=0.0, person=1))


def test_a_larger_dose_moves_a_face_further(doses):
    for label in doses.label.unique().tolist():
        rest, half, full = (_of(doses, level=level, label=label) for level in (0.0, 0.5, 1.0))
        assert 0 < (half - rest).abs().mean() < (full - rest).abs().mean()


@pytest.mark.parametrize("name", controlled.NUISANCES)
def test_a_nuisance_begins_with_nothing_and_grows(name):
    faces = controlled.disturbed(name, CLASSES, 1)
    levels = controlled.NUISANCES[name].levels
    assert len(faces.image) == len(levels) * len(CLASSES)
    parts = faces.image.float().unflatten(0, (len(levels), len(CLASSES)))
    strong = controlled.doses(CLASSES, 1, (1.0,)).image.float()
    assert torch.equal(parts[0, 1:], strong)  # the same faces as of full doses
    away = (parts - parts[0]).abs().mean((1, 2, 3, 4))
    assert (away.diff() > 0).all()


def test_people_at_rest_are_the_test_splits():
    faces = controlled.resting()
    people = sets.SETS["facs-still-8"].people[2]
    assert len(faces.image) == people
    assert set(faces.label.tolist()) <= set(range(len(identity.RESTING_FACES)))
    drawn = sets.draw("facs-still-8", "test")
    kinds = {int(who): int(kind) for who, kind in zip(drawn.subject, drawn.people.resting_face, strict=True)}
    assert faces.label.tolist() == [kinds[who] for who in sorted(kinds)]


def test_wrong_names_and_numbers_are_refused():
    with pytest.raises(UserError, match="nuisance"):
        controlled.disturbed("blurr", CLASSES, 1)
    with pytest.raises(UserError, match="expected 1 to 300"):
        controlled.doses(CLASSES, 301)
