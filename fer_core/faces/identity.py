"""Who a face belongs to: traits of form, colour and age, and the face at rest.

Nobody's resting face is neutral: low brows look angry, drooping lip corners sad. Each identity therefore carries
action-unit intensities that are added to every expression it makes; that is what makes subtle expressions confusable
and personal.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fer_core.faces import draws
from fer_core.faces.action_units import CODES, intensities

HAIR_COLORS: dict[str, tuple[float, float, float]] = {
    "black": (0.09, 0.07, 0.07),
    "brown": (0.29, 0.18, 0.11),
    "blond": (0.72, 0.54, 0.28),
    "red": (0.55, 0.21, 0.08),
    "grey": (0.62, 0.61, 0.60),
    "white": (0.86, 0.85, 0.83),
}
HAIR_STYLES: tuple[str, ...] = ("shaved", "short", "parted", "curly", "bob", "long", "fringe", "bald")
EYE_COLORS: dict[str, tuple[float, float, float]] = {
    "brown": (0.27, 0.15, 0.07),
    "dark": (0.12, 0.08, 0.06),
    "blue": (0.27, 0.47, 0.66),
    "green": (0.30, 0.45, 0.26),
    "grey": (0.45, 0.50, 0.53),
}
BEARDS: tuple[str, ...] = ("none", "stubble", "moustache", "full beard")

#: Skin from light to dark, as display-space colours at tones 0, 0.2, ... 1 (tone is a continuous trait).
SKIN_TONES: tuple[tuple[float, float, float], ...] = (
    (0.98, 0.84, 0.76),
    (0.94, 0.76, 0.64),
    (0.86, 0.65, 0.50),
    (0.72, 0.50, 0.36),
    (0.55, 0.36, 0.25),
    (0.40, 0.26, 0.19),
)

#: Resting faces and how common they are; each is scaled by an intensity of its own.
RESTING_FACES: tuple[tuple[str, float, dict[str, float]], ...] = (
    ("plain", 0.40, {}),
    ("stern", 0.13, {"AU4": 0.55, "AU7": 0.30}),
    ("drooping", 0.13, {"AU15": 0.55, "AU1": 0.20, "AU41": 0.15}),
    ("smiling", 0.12, {"AU12": 0.40, "AU6": 0.15}),
    ("startled", 0.08, {"AU5": 0.45, "AU1": 0.30, "AU2": 0.30}),
    ("smirking", 0.07, {"AU12R": 0.20, "AU14R": 0.45}),
    ("sneering", 0.07, {"AU10": 0.40, "AU9": 0.20}),
)

#: Traits of form in -1..1, each about its average at 0.
FORM: tuple[str, ...] = (
    "face_width", "face_length", "jaw_width", "chin_size", "cheekbones", "eye_size", "eye_spacing", "eye_tilt",
    "brow_thickness", "brow_height", "brow_arch", "nose_length", "nose_width", "nose_bridge", "mouth_width",
    "lip_fullness", "ear_size", "forehead",
)  # fmt: skip


@dataclass
class Identity:
    """A batch of people.

    Args:
        form: ``(B, 18)`` traits of form in -1..1, columns as ``FORM``.
        tone: ``(B,)`` skin tone, 0 light to 1 dark.
        age: ``(B,)`` 0 young to 1 old.
        freckles: ``(B,)`` 0 to 1.
        lipstick: ``(B,)`` 0 to 1.
        hair_color: ``(B,)`` int64, index into ``HAIR_COLORS``.
        hair_style: ``(B,)`` int64, index into ``HAIR_STYLES``.
        eye_color: ``(B,)`` int64, index into ``EYE_COLORS``.
        beard: ``(B,)`` int64, index into ``BEARDS``.
        glasses: ``(B,)`` 0 or 1.
        resting: ``(B, A)`` action units of the face at rest.
        resting_face: ``(B,)`` int64, index into ``RESTING_FACES``.
        texture: ``(B,)`` int64, seed of the skin's and hair's fine texture.
    """

    form: Tensor
    tone: Tensor
    age: Tensor
    freckles: Tensor
    lipstick: Tensor
    hair_color: Tensor
    hair_style: Tensor
    eye_color: Tensor
    beard: Tensor
    glasses: Tensor
    resting: Tensor
    resting_face: Tensor
    texture: Tensor

    def __len__(self) -> int:
        return len(self.tone)

    def trait(self, name: str) -> Tensor:
        """``(B,)`` trait of form."""
        return self.form[:, FORM.index(name)]

    def take(self, positions: Tensor) -> "Identity":
        """The people at the given positions, in that order, with repetition."""
        return Identity(**{field.name: getattr(self, field.name)[positions] for field in fields(self)})

    def to(self, device: torch.device | str) -> "Identity":
        """The same people on another device."""
        return Identity(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def average(count: int = 1, tone: float = 0.25) -> Identity:
    """People with every trait of form at its average, young, with short brown hair and a plain resting face."""
    zero, none = torch.zeros(count), torch.zeros(count, dtype=torch.long)
    return Identity(
        form=torch.zeros(count, len(FORM)), tone=zero + tone, age=zero + 0.2, freckles=zero.clone(),
        lipstick=zero.clone(), hair_color=none + 1, hair_style=none + 1, eye_color=none.clone(), beard=none.clone(),
        glasses=zero.clone(), resting=torch.zeros(count, len(CODES)), resting_face=none.clone(), texture=none.clone(),
    )  # fmt: skip


def sample(count: int, generator: torch.Generator) -> Identity:
    """Draws people.

    Args:
        count: How many.
        generator: A CPU generator; the same state gives the same people.

    Returns:
        The people, on the CPU.
    """
    uniform = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    # The sum of two uniforms favours the average without ever leaving -1..1.
    form = uniform(count, len(FORM)) + uniform(count, len(FORM)) - 1.0
    tone, age = uniform(count), uniform(count)
    # Hair greys with age, and dark skin rarely comes with fair hair.
    hair = torch.tensor([0.30, 0.32, 0.16, 0.12, 0.05, 0.01]).repeat(count, 1)
    dark, old = (tone > 0.6).float()[:, None], (age > 0.7).float()[:, None]
    hair = hair * (1 - dark * torch.tensor([0.0, 0.3, 0.85, 0.85, 0.0, 0.0]))
    hair = hair * (1 + old * torch.tensor([-0.7, -0.7, -0.6, -0.7, 8.0, 20.0]))
    eye = torch.tensor([0.36, 0.20, 0.20, 0.13, 0.11]).repeat(count, 1)
    eye = eye * (1 - dark * torch.tensor([0.0, 0.0, 0.8, 0.8, 0.8]))
    style = draws.choose(torch.tensor([0.08, 0.20, 0.16, 0.14, 0.13, 0.14, 0.09, 0.06]).repeat(count, 1), generator)
    # Beards go with short hair here, lipstick with long hair: web captions lean on such regularities, too.
    long_hair = torch.isin(style, torch.tensor([HAIR_STYLES.index(name) for name in ("bob", "long", "fringe")]))
    beard = draws.choose(torch.tensor([0.55, 0.18, 0.10, 0.17]).repeat(count, 1), generator) * (~long_hair).long()
    lipstick = (uniform(count) < 0.4).float() * long_hair.float() * (0.4 + 0.6 * uniform(count))
    resting_face = draws.choose(torch.tensor([weight for _, weight, _ in RESTING_FACES]).repeat(count, 1), generator)
    patterns = torch.stack([intensities(units) for _, _, units in RESTING_FACES])
    return Identity(
        form=form,
        tone=tone,
        age=age,
        freckles=(uniform(count) < 0.18).float() * uniform(count) * (1 - tone),
        lipstick=lipstick,
        hair_color=draws.choose(hair, generator),
        hair_style=style,
        eye_color=draws.choose(eye, generator),
        beard=beard,
        glasses=(uniform(count) < 0.18).float(),
        resting=patterns[resting_face] * (0.6 + 0.8 * uniform(count, 1)),
        resting_face=resting_face,
        texture=draws.seeds(count, generator),
    )
