"""Faces that differ in one thing alone, for controlled experiments.

How strong an expression is, how a person looks at rest, or one nuisance at a time.

People are those of a test split that no method has met. But where the face at rest is what differs, it is taken from
them; views are frontal, evenly lit and cropped as the sets' own are on average.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from fer_core.errors import UserError, unknown
from fer_core.faces import expressions, identity, scene, sets
from fer_core.faces.camera import to_bytes
from fer_core.faces.render import render

SIZE = 64
LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_FROM = "facs-still-8"


@dataclass(frozen=True)
class Nuisance:
    """Something about a picture that is not the expression.

    Args:
        title: What it is, with its unit.
        levels: From none at all upwards.
        put: Puts a level into views.
    """

    title: str
    levels: tuple[float, ...]
    put: Callable[[scene.Scene, float], None]


def _set(field: str) -> Callable[[scene.Scene, float], None]:
    def put(views: scene.Scene, level: float) -> None:
        getattr(views, field).fill_(level)

    return put


def _from_the_side(views: scene.Scene, level: float) -> None:
    views.ambient -= 0.12 * (level - views.light[:, 0])  # the more from one side, the less from everywhere
    views.light[:, 0] = level


def _covered(kind: str) -> Callable[[scene.Scene, float], None]:
    def put(views: scene.Scene, level: float) -> None:
        views.occlusion.fill_(scene.OCCLUSIONS.index(kind) if level else 0)
        views.hand[:] = torch.tensor([0.0, 0.4, 0.2])  # before the mouth

    return put


#: By name, each from a level at which it does nothing to one beyond what training has seen.
NUISANCES: dict[str, Nuisance] = {
    "turn": Nuisance("head turned, rad", (0.0, 0.2, 0.4, 0.6), _set("yaw")),
    "nod": Nuisance("head lowered, rad", (0.0, 0.12, 0.24, 0.36), _set("pitch")),
    "tilt": Nuisance("head tilted, rad", (0.0, 0.15, 0.3, 0.45), _set("roll")),
    "far": Nuisance("scale of the face", (scene.CROP, 1.24, 1.12, 1.0), _set("scale")),
    "light": Nuisance("light from the side", (-0.45, 0.4, 0.9, 1.4), _from_the_side),
    "dark": Nuisance("brightness", (1.0, 0.7, 0.5, 0.3), _set("gain")),
    "hand": Nuisance("hand before the mouth", (0.0, 1.0), _covered("hand")),
    "mask": Nuisance("mask", (0.0, 1.0), _covered("mask")),
    "blur": Nuisance("blur, face units", (0.0, 0.02, 0.04, 0.08), _set("blur")),
    "noise": Nuisance("noise, standard deviation", (0.0, 0.03, 0.06, 0.12), _set("noise")),
}


@dataclass(frozen=True)
class Faces:
    """Pictures of one experiment.

    Args:
        image: ``(N, 3, 64, 64)`` uint8.
        label: ``(N,)`` int64, index into the experiment's classes.
        level: ``(N,)`` float32, of what differs.
        person: ``(N,)`` int64, who is seen, from 0.
    """

    image: Tensor
    label: Tensor
    level: Tensor
    person: Tensor


def doses(classes: Sequence[str], people: int, levels: Sequence[float] = LEVELS) -> Faces:
    """Expressions from none at all to full, on the same people.

    Args:
        classes: Class names; all that have units are shown.
        people: How many people show each of them.
        levels: Shares of the full prototype.

    Raises:
        UserError: For an unknown expression, or more people than there are.
    """
    units = expressions.prototypes(tuple(classes))
    shown = [place for place in range(len(classes)) if units[place].any()]
    who = _plain(people)
    return _joined([_draw(level * units, shown, who, level) for level in levels])


def disturbed(name: str, classes: Sequence[str], people: int) -> Faces:
    """Full expressions under one nuisance, on the same people.

    Args:
        name: Out of :data:`NUISANCES`.
        classes: Class names.
        people: How many people show each of them.

    Raises:
        UserError: For an unknown nuisance or expression, or more people than there are.
    """
    if name not in NUISANCES:
        raise unknown("nuisance", name, NUISANCES)
    units = expressions.prototypes(tuple(classes))
    nuisance, shown, who = NUISANCES[name], list(range(len(classes))), _plain(people)
    return _joined([_draw(units, shown, who, level, nuisance.put) for level in nuisance.levels])


def resting() -> Faces:
    """All people without any expression, each with the face at rest of their own; ``label`` is its kind.

    The kinds are ``identity.RESTING_FACES``, the plain one first.
    """
    who = _people(None)
    count = len(who)
    views = _view(count)
    image = render(torch.zeros(count, who.resting.shape[1]), who, views, SIZE).image
    return Faces(to_bytes(image, views), who.resting_face, torch.zeros(count), torch.arange(count))


def _people(count: int | None) -> identity.Identity:
    """The first so many people of the test split; all of them for None."""
    everyone = _everyone()
    if count is not None and not 1 <= count <= len(everyone):
        raise UserError(
            f"people: expected 1 to {len(everyone)}, those of {_FROM}'s test split, got {count}; take fewer"
        )
    return everyone.take(torch.arange(len(everyone))[:count])


@cache
def _everyone() -> identity.Identity:
    """The people of the test split, drawn once: each experiment asks for them."""
    drawn = sets.draw(_FROM, "test")
    subjects = drawn.subject.tolist()
    return drawn.people.take(torch.tensor([subjects.index(subject) for subject in dict.fromkeys(subjects)]))


def _view(count: int) -> scene.Scene:
    views = scene.studio(count)
    views.scale.fill_(scene.CROP)
    return views


def _plain(count: int) -> identity.Identity:
    who = _people(count)
    who.resting = torch.zeros_like(who.resting)
    return who


def _draw(
    units: Tensor, shown: Sequence[int], who: identity.Identity, level: float,
    put: Callable[[scene.Scene, float], None] | None = None,
) -> Faces:  # fmt: skip
    """Every person with every expression, at one level."""
    person = torch.arange(len(who)).repeat_interleave(len(shown))
    label = torch.tensor(shown).repeat(len(who))
    views = _view(len(label))
    views.seed = person  # grain of its own for each person
    if put is not None:
        put(views, level)
    image = render(units[label], who.take(person), views, SIZE).image
    return Faces(to_bytes(image, views), label, torch.full((len(label),), float(level)), person)


def _joined(parts: Sequence[Faces]) -> Faces:
    return Faces(*(torch.cat([getattr(part, name) for part in parts]) for name in Faces.__annotations__))
