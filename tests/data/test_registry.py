"""Opening data by name: the nearest name, split and option is told."""

import sys
from types import ModuleType

import pytest

from fer_core import data
from fer_core.data import layout
from fer_core.errors import UserError


@pytest.fixture(autouse=True)
def _sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Embedded sets by name only: none of these tests renders."""
    import fer_core.faces

    sets = ModuleType("fer_core.faces.sets")
    sets.names = lambda: ("facs-still-8", "facs-clip-7")
    sets.load = lambda *_, **__: pytest.fail("rendered")
    monkeypatch.setitem(sys.modules, "fer_core.faces.sets", sets)
    monkeypatch.setattr(fer_core.faces, "sets", sets, raising=False)


def test_names_what_it_can_open() -> None:
    names = data.names()
    assert names[-2:] == ("facs-still-8", "facs-clip-7")
    assert set(names[:-2]) == set(layout.LAYOUTS)
    # Stills first, then clips, then sets of subjects.
    kinds = [layout.get(name).kind for name in names[:-2]]
    assert kinds == sorted(kinds, key=["stills", "clips", "subjects"].index)


def test_opens_by_name_with_options_and_limit(layout) -> None:
    opened = data.open("ferplus", "test", layout.root, votes="probability", limit=5)
    assert (opened.name, opened.split, len(opened)) == ("ferplus", "test", 5)
    assert opened.classes == data.CLASSES
    assert opened.facts()["votes"] == "probability"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("ferplu", "test"), {}, "unknown data set 'ferplu'; did you mean 'ferplus'?"),
        (("imagenet", "test"), {}, "unknown data set 'imagenet'; known: affectnet-7, affectnet-8, bah"),
        (("ferplus", "testing"), {}, "unknown split 'testing'; did you mean 'test'?"),
        (("ferplus", "test"), {"vote": "majority"}, "setting of data of ferplus 'vote'; did you mean 'votes'"),
        (("ferplus", "test"), {"votes": "major"}, "data of ferplus.votes 'major'; did you mean 'majority'"),
        (("facs-still-8", "test"), {"votes": "majority"}, "setting of data of facs-still-8 'votes'; known: frames"),
        (("ferplus", "test"), {"limit": "5"}, "limit: expected a number of at least 1, got '5'"),
        (("ferplus", "test"), {"limit": True}, "limit: expected a number of at least 1, got True"),
        (("ferplus", "test"), {"limit": 0}, "limit: expected a number of at least 1, got 0"),
    ],
)
def test_refuses_what_it_does_not_know(layout, arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        data.open(*arguments, layout.root, **options)
