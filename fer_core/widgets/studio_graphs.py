"""What the action-unit studio computes, as functions of a few numbers: they run in Python, and as ONNX in a page.

numbers -> Drawing -> picture -> Seen            -> probabilities of methods on the frozen tower, phrases, a place
                              -> exporting.Graph -> probabilities of a method that has a tower of its own
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core import data, engine, exporting, models
from fer_core.batch import ImageFeatures
from fer_core.clip import Clip
from fer_core.experiments import trained
from fer_core.faces import ACTION_UNITS, CODES, identity, scene
from fer_core.faces.render import portrait

#: What a view is made of, with the least, the greatest and the usual value, whole steps of 0.05 apart, in the terms of
#: :class:`fer_core.faces.scene.Scene`.
VIEW: dict[str, tuple[float, float, float]] = {
    "turn": (-0.5, 0.5, 0.0),
    "nod": (-0.3, 0.3, 0.0),
    "tilt": (-0.3, 0.3, 0.0),
    "light from the side": (-1.2, 1.2, -0.45),
    "light from above": (-1.2, 0.6, -0.55),
    "light from everywhere": (0.21, 0.71, 0.46),
    "closeness": (1.0, 1.6, 1.35),
}
_NUMBERS, _KINDS = (
    ("tone", "age", "freckles", "lipstick", "glasses"),
    ("hair_color", "hair_style", "eye_color", "beard"),
)
_SAMPLES = 512  # held-out faces that the map and the phrases' usual likeness come from
SIZE = 64  # pixels; what the embedded CLIP takes
#: Methods beside zero-shot CLIP, trained by ``METHOD-facs-still-8``, in the order of the studio's columns.
METHODS = ("coop", "les-clip", "mpa-fer")


def person_numbers(people: identity.Identity) -> Tensor:
    """``(B, P)`` float32: all that is drawn of people, in the order in which :class:`Drawing` takes it apart."""
    columns = [getattr(people, name).float()[:, None] for name in (*_NUMBERS, *_KINDS)]
    return torch.cat([people.form, *columns, people.resting], 1)


class Drawing(nn.Module):
    """A face from numbers."""

    name = "drawing"

    def forward(self, units: Tensor, person: Tensor, view: Tensor) -> Tensor:
        """The picture ``(B, 3, 64, 64)`` in 0..1.

        Args:
            units: ``(B, A)`` intensities in 0..1.
            person: ``(B, P)`` as :func:`person_numbers` gives it.
            view: ``(B, V)`` in the order of :data:`VIEW`.
        """
        form, rest = person[:, : len(identity.FORM)], person[:, len(identity.FORM) :]
        numbers = dict(zip(_NUMBERS, rest[:, : len(_NUMBERS)].unbind(1), strict=True))
        rest = rest[:, len(_NUMBERS) :]
        kinds = dict(zip(_KINDS, rest[:, : len(_KINDS)].round().long().unbind(1), strict=True))
        resting, none = rest[:, len(_KINDS) :], torch.zeros_like(kinds["beard"])
        who = identity.Identity(form=form, **numbers, **kinds, resting=resting, resting_face=none, texture=none)
        seen = scene.studio(units.shape[0])
        seen.yaw, seen.pitch, seen.roll, across, down, seen.ambient, seen.scale = view.unbind(1)
        seen.light = torch.stack([across, down], 1)
        return portrait(units, who, seen, SIZE)


@dataclass(frozen=True)
class Landscape:
    """Held-out faces as the frozen CLIP sees them.

    Args:
        mean: ``(D,)`` of their normalised features.
        axes: ``(D, 2)`` two directions that tell the classes apart (linear discriminant analysis).
        points: ``(N, 2)`` where they lie.
        labels: ``(N,)`` their expressions.
        usual: ``(A,)`` mean cosine to each action unit's phrase.
        spread: ``(A,)`` standard deviation of it.
    """

    mean: Tensor
    axes: Tensor
    points: np.ndarray
    labels: np.ndarray
    usual: Tensor
    spread: Tensor


def unit_texts(tower: Clip) -> Tensor:
    """``(A, D)`` normalised text features of the action units' phrases."""
    return tower.fixed_texts([f"a face with {unit.phrase}" for unit in ACTION_UNITS])


def landscape(tower: Clip, samples: int = _SAMPLES) -> Landscape:
    """Looks at the first held-out faces of ``facs-still-8``, as many of each class."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    faces = data.open("facs-still-8", "test", limit=samples)
    transform = data.Transform.of(tower)
    said = engine.evaluate(
        models.build("zero-shot", tower, faces.classes, {}).eval(), data.loader(faces, transform, 128, seed=0)
    )
    features = F.normalize(torch.from_numpy(said.features), dim=1).double().numpy()
    # The solver that takes no inverse of a nearly singular scatter, shrunk by the rule of Ledoit and Wolf.
    fitted = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(features, said.labels)
    axes = fitted.scalings_[:, :2]
    # An eigenvector's sign is the solver's whim, and a page's map and its graph are made by two processes.
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), [0, 1]])
    axes = axes / np.abs((features - features.mean(0)) @ axes).max(0)
    likeness = torch.from_numpy(features).float() @ unit_texts(tower).cpu().T
    return Landscape(
        mean=torch.from_numpy(features.mean(0)).float(), axes=torch.from_numpy(axes).float(),
        points=((features - features.mean(0)) @ axes).astype("<f4"), labels=said.labels, usual=likeness.mean(0),
        spread=likeness.std(0),
    )  # fmt: skip


class Seen(nn.Module):
    """What the frozen tower's features tell.

    Args:
        tower: The CLIP.
        methods: Those that read its features, in evaluation mode, of the same classes.
        world: What it has seen.
    """

    def __init__(self, tower: Clip, methods: Sequence[models.Method], world: Landscape) -> None:
        super().__init__()
        self.methods = nn.ModuleList(methods)
        self.tower = tower
        self.pixels = exporting.Pixels(tower)
        for name, value in (
            ("middle", world.mean), ("axes", world.axes), ("usual", world.usual), ("spread", world.spread),
            ("phrases", unit_texts(tower)),
        ):  # fmt: skip
            self.register_buffer(name, value)

    middle: Tensor
    axes: Tensor
    usual: Tensor
    spread: Tensor
    phrases: Tensor

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the features of pictures tell.

        Args:
            image: ``(B, 3, S, S)`` in 0..1.

        Returns:
            Probabilities ``(B, M, C)``; ``(B, A)`` by how many standard deviations each action unit's phrase fits
            better than it does usually; and the place ``(B, 2)`` on the map.
        """
        batch = self.pixels(image)
        token = self.tower.encode_image(batch.image, patches=False).class_token
        batch.features = ImageFeatures(token)
        told = torch.stack([method(batch).logits.softmax(1) for method in self.methods], 1)
        feature = F.normalize(token, dim=-1)
        fits = (feature @ self.phrases.T - self.usual) / self.spread
        return told, fits, (feature - self.middle) @ self.axes


def write(folder: Any, tower: Clip, kept: Mapping[str, models.Method]) -> dict[str, dict[str, Any]]:
    """Writes the studio's graphs as ONNX.

    Args:
        folder: A ``Path``; gets ``drawing.onnx``, ``seen.onnx`` and a file for each method with a tower of its own.
        tower: The embedded CLIP, on the CPU.
        kept: Trained methods by name; zero-shot CLIP is added.

    Returns:
        For each graph what :func:`fer_core.exporting.save` reports.
    """
    generator = torch.Generator().manual_seed(0)
    people = person_numbers(identity.sample(2, generator))
    units = torch.rand(2, len(CODES), generator=generator)
    low, high = (torch.tensor(ends) for ends in list(zip(*VIEW.values(), strict=True))[:2])
    view = low + (high - low) * torch.rand(2, len(VIEW), generator=generator)
    # A page draws one face at a time: traced with one, and tried with another.
    one, other = (
        {"units": units[at : at + 1], "person": people[at : at + 1], "view": view[at : at + 1]} for at in (0, 1)
    )
    drawing = Drawing()
    facts = {"of": "the action-unit studio"}
    path = folder / "drawing.onnx"
    done = {"drawing": exporting.save(drawing, one, other, ("image",), path, facts=facts, simplify=False)}
    with torch.no_grad():
        first, second = {"image": drawing(**one)}, {"image": drawing(**other)}
    shared, own = split(tower, kept)
    seen = Seen(tower, list(shared.values()), landscape(tower)).eval()
    outputs = ("probabilities", "fits", "place")
    done["seen"] = exporting.save(seen, first, second, outputs, folder / "seen.onnx", facts=facts)
    for name, method in own.items():
        done[name] = exporting.save(
            exporting.Graph(method).eval(), first, second, ("probabilities", "features"), folder / f"{name}.onnx",
            facts=facts,
        )  # fmt: skip
    return done


def trained_methods(tower: Clip) -> dict[str, models.Method]:
    """The studio's :data:`METHODS` by name, as ``book/models`` keeps them.

    Args:
        tower: The embedded CLIP, on the CPU.

    Raises:
        UserError: If one is not there, or not as it was trained.
    """
    return {name: trained.load(f"{name}-facs-still-8", tower=tower) for name in METHODS}


def split(tower: Clip, kept: Mapping[str, models.Method]) -> tuple[dict[str, models.Method], dict[str, models.Method]]:
    """Zero-shot CLIP and the methods that read the frozen tower's features, and those with a tower of their own."""
    classes = next((method.classes for method in kept.values()), data.CLASSES)
    shared: dict[str, models.Method] = {"zero-shot": models.build("zero-shot", tower, classes, {}).eval()}
    shared |= {name: method for name, method in kept.items() if method.frozen_image_tower}
    return shared, {name: method for name, method in kept.items() if not method.frozen_image_tower}
