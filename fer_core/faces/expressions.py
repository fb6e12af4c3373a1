"""From emotions to action units, and from faces to annotators' votes.

For the basic emotions each unit's share of people who show it is that of Du, Tao and Martinez (2014, table 1), whose
defining units are consistent with the prototypes of the FACS investigator's guide (Ekman, Friesen and Hager, 2002).
Contempt is the guide's unilateral AU12 with AU14. Pain has the units of the Prkachin and Solomon (2008) index (AU4,
AU6 or AU7, AU9 or AU10, AU43); that AU20, AU25 and AU26 may come with them is not in it, but our reading. Stress,
ambivalence, anxiety, helplessness and disappointment have no agreed prototype: their rows are our reading. The
intensities are ours.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fer_core.errors import unknown
from fer_core.faces.action_units import BILATERAL, CODES, column

#: Emotion -> unit -> (share of faces that show it, intensity at full expression).
EXPRESSIONS: dict[str, dict[str, tuple[float, float]]] = {
    "neutral": {},
    "happiness": {"AU12": (1.0, 0.95), "AU25": (1.0, 0.75), "AU6": (0.51, 0.80)},
    "sadness": {
        "AU4": (1.0, 0.55), "AU15": (1.0, 0.90), "AU1": (0.60, 0.95), "AU6": (0.50, 0.35), "AU11": (0.26, 0.60),
        "AU17": (0.67, 0.50),
    },
    "surprise": {"AU1": (1.0, 0.95), "AU2": (1.0, 0.95), "AU25": (1.0, 0.70), "AU26": (1.0, 0.90), "AU5": (0.66, 0.65)},
    "fear": {
        "AU1": (1.0, 0.95), "AU4": (1.0, 0.60), "AU20": (1.0, 0.90), "AU25": (1.0, 0.80), "AU2": (0.57, 0.70),
        "AU5": (0.63, 0.95), "AU26": (0.33, 0.40),
    },
    "disgust": {
        "AU9": (1.0, 0.90), "AU10": (1.0, 0.80), "AU17": (1.0, 0.45), "AU4": (0.31, 0.50), "AU24": (0.26, 0.35),
    },
    "anger": {
        "AU4": (1.0, 0.95), "AU7": (1.0, 0.75), "AU24": (1.0, 0.70), "AU10": (0.26, 0.50), "AU17": (0.52, 0.40),
        "AU23": (0.29, 0.70),
    },
    "contempt": {"AU12R": (1.0, 0.50), "AU14R": (1.0, 0.90)},
    "anxiety": {
        "AU1": (1.0, 0.65), "AU4": (1.0, 0.55), "AU20": (0.5, 0.40), "AU24": (0.6, 0.60), "AU5": (0.3, 0.35),
        "AU32": (0.3, 0.80), "AU61": (0.3, 0.60), "AU64": (0.3, 0.50),
    },
    "helplessness": {
        "AU1": (1.0, 0.90), "AU4": (0.7, 0.40), "AU15": (0.6, 0.45), "AU41": (0.6, 0.60), "AU63": (0.4, 0.70),
        "AU25": (0.4, 0.30), "AU53": (0.3, 0.40),
    },
    "disappointment": {
        "AU15": (1.0, 0.60), "AU24": (0.5, 0.50), "AU14": (0.5, 0.60), "AU64": (0.6, 0.70), "AU54": (0.6, 0.45),
        "AU41": (0.4, 0.50), "AU4": (0.3, 0.30),
    },
    "pain": {
        "AU4": (1.0, 0.80), "AU6": (0.8, 0.80), "AU7": (0.9, 0.80), "AU9": (0.6, 0.55), "AU10": (0.7, 0.60),
        "AU43": (0.6, 0.75), "AU20": (0.4, 0.50), "AU25": (0.5, 0.60), "AU26": (0.2, 0.30),
    },
    "stress": {
        "AU4": (0.8, 0.55), "AU7": (0.6, 0.45), "AU23": (0.5, 0.55), "AU24": (0.6, 0.60), "AU14": (0.4, 0.50),
        "AU17": (0.4, 0.35), "AU32": (0.25, 0.80), "AU38": (0.3, 0.60), "AU43": (0.3, 0.60),
    },
    "ambivalence": {
        "AU12": (0.7, 0.45), "AU4": (0.6, 0.45), "AU1": (0.6, 0.55), "AU14": (0.5, 0.60), "AU15": (0.4, 0.40),
        "AU24": (0.4, 0.45), "AU61": (0.4, 0.80), "AU63": (0.4, 0.70), "AU52": (0.3, 0.35),
    },
}  # fmt: skip

#: Pairs that people and models confuse. Those of the first two share most of their units; contempt and sadness share
#: none with neutral, which has none, but look like it where they are faint.
LOOK_ALIKES: tuple[tuple[str, str], ...] = (
    ("fear", "surprise"), ("anger", "disgust"), ("contempt", "neutral"), ("sadness", "neutral"),
)  # fmt: skip

#: Units that come and go without meaning: glances, a blink, a parted mouth.
_IDLE: dict[str, tuple[float, float]] = {
    "AU61": (0.07, 0.7), "AU62": (0.07, 0.7), "AU63": (0.05, 0.6), "AU64": (0.07, 0.6), "AU25": (0.08, 0.35),
    "AU43": (0.03, 1.0), "AU46": (0.008, 1.0), "AU2": (0.04, 0.4), "AU24": (0.04, 0.4), "AU14L": (0.02, 0.4),
    "AU18": (0.02, 0.5), "AU22": (0.008, 0.5), "AU28": (0.015, 0.7), "AU32": (0.015, 0.8), "AU19": (0.010, 0.9),
    "AU33": (0.010, 0.8), "AU13": (0.010, 0.6), "AU16": (0.012, 0.6), "AU27": (0.010, 0.8), "AU29": (0.010, 0.8),
    "AU31": (0.012, 0.8), "AU38": (0.012, 0.8), "AU39": (0.010, 0.8), "AU41": (0.020, 0.6), "AU42": (0.012, 0.8),
    "AU44": (0.015, 0.7), "AU51": (0.02, 0.5), "AU52": (0.02, 0.5), "AU53": (0.02, 0.5), "AU54": (0.02, 0.5),
}  # fmt: skip


def _matrix(rows: list[dict[str, tuple[float, float]]]) -> tuple[Tensor, Tensor]:
    """Shares and intensities, ``(rows, A)`` each."""
    share, strength = torch.zeros(len(rows), len(CODES)), torch.zeros(len(rows), len(CODES))
    for row, units in enumerate(rows):
        for code, (probability, intensity) in units.items():
            for side in BILATERAL.get(code, (code,)):
                share[row, column(side)], strength[row, column(side)] = probability, intensity
    return share, strength


def prototypes(classes: tuple[str, ...]) -> Tensor:
    """Expected intensities of full expressions.

    Args:
        classes: Names out of ``EXPRESSIONS``.

    Returns:
        ``(C, A)``.

    Raises:
        UserError: For a name without a row.
    """
    for name in classes:
        if name not in EXPRESSIONS:
            raise unknown("expression", name, EXPRESSIONS)
    share, strength = _matrix([EXPRESSIONS[name] for name in classes])
    return share * strength


@dataclass(frozen=True)
class Variation:
    """How much faces of one class differ.

    Args:
        weakest: Intensity of the faintest expressions, a share of the full one.
        jitter: Standard deviation of the logarithm of each unit's intensity.
        dropout: Share of units that fail to show; of one with two sides, each by itself.
        blend: Share of faces that mix in a second expression.
        idle: Scale of the units that come without meaning.
    """

    weakest: float = 0.35
    jitter: float = 0.25
    dropout: float = 0.06
    blend: float = 0.20
    idle: float = 1.0


def sample(
    label: Tensor, classes: tuple[str, ...], generator: torch.Generator, variation: Variation | None = None
) -> Tensor:
    """Draws expressions.

    Args:
        label: ``(N,)`` int64, index into ``classes``.
        classes: Names out of ``EXPRESSIONS``.
        generator: A CPU generator.
        variation: How much faces of one class differ.

    Returns:
        ``(N, A)`` intensities in 0..1.
    """
    variation = variation or Variation()
    count = len(label)
    prototypes(classes)  # refuses unknown names
    share, strength = _matrix([EXPRESSIONS[name] for name in classes])

    def draw(rows: Tensor) -> Tensor:
        shown = (torch.rand(count, len(CODES), generator=generator) < share[rows]).float()
        # Both sides of a unit are chosen together; they drop out one by one, and differ a little in strength.
        for left, right in BILATERAL.values():
            both = share[rows, column(left)] == share[rows, column(right)]
            shown[:, column(left)] = torch.where(both, shown[:, column(right)], shown[:, column(left)])
        kept = (torch.rand(count, len(CODES), generator=generator) >= variation.dropout).float()
        # In double precision: a float's last digit would change with the memory's alignment, from run to run.
        jitter = variation.jitter * torch.randn(count, len(CODES), generator=generator).double()
        return shown * kept * strength[rows] * torch.exp(jitter).float()

    intensity = variation.weakest + (1 - variation.weakest) * torch.rand(count, 1, generator=generator)
    units = draw(label) * intensity
    other = torch.randint(len(classes), (count,), generator=generator)
    mixed = (torch.rand(count, 1, generator=generator) < variation.blend).float()
    weight = mixed * 0.30 * torch.rand(count, 1, generator=generator)
    units = units + weight * draw(other)
    idle_share, idle_strength = _matrix([_IDLE])
    shown = (torch.rand(count, len(CODES), generator=generator) < variation.idle * idle_share).float()
    idle = shown * idle_strength * (0.5 + 0.5 * torch.rand(count, len(CODES), generator=generator))
    return torch.maximum(units, idle).clamp(0.0, 1.0)


def votes(
    units: Tensor, label: Tensor, classes: tuple[str, ...], generator: torch.Generator, annotators: int = 10
) -> Tensor:
    """Simulated annotators, who see the whole face, resting expression included.

    Each vote is drawn from how near the face is to every expression's prototype (the cosine of the units, for neutral
    the absence of units), with a pull towards what the face was meant to show, as context gives it away.

    Args:
        units: ``(N, A)`` effective intensities.
        label: ``(N,)`` intended class.
        classes: Names out of ``EXPRESSIONS``.
        generator: A CPU generator.
        annotators: Votes a face.

    Returns:
        ``(N, C)`` float32 counts.
    """
    units, target = units.double(), prototypes(classes).double()
    strength = units.square().sum(1).sqrt()
    norm = target.square().sum(1).sqrt()
    likeness = units @ target.T / (strength[:, None] * norm).clamp(min=1e-6)
    # A faint face looks neutral whatever direction it takes.
    visible = (strength / 1.1).clamp(max=1.0)
    likeness = likeness * visible[:, None]
    for position, name in enumerate(classes):
        if name == "neutral":
            likeness[:, position] = 0.95 - 0.75 * visible
    pull = torch.nn.functional.one_hot(label, len(classes)).float()
    chance = torch.softmax(6.5 * likeness + 1.0 * pull, 1)
    drawn = torch.multinomial(chance, annotators, replacement=True, generator=generator)
    return torch.nn.functional.one_hot(drawn, len(classes)).sum(1).float()
