"""The facial action coding system (FACS) as the renderer knows it.

Codes, names and the muscles' places follow Ekman and Friesen (1978) and Ekman, Friesen and Hager (2002). *Left* and
*right* are the face's own: its left side lies on the viewer's right. A unit's ``region`` is the part of the upright,
frontal face in which the renderer lets it change anything; head movements move the whole head.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fer_core.errors import UserError, unknown

#: Boxes ``(left, top, right, bottom)`` in face coordinates: x to the viewer's right, y down, the head's height is
#: about 2.
REGIONS: dict[str, tuple[float, float, float, float]] = {
    "brows": (-0.66, -0.86, 0.66, 0.14),
    "eyes": (-0.66, -0.36, 0.66, 0.20),
    "right eye": (-0.66, -0.36, 0.02, 0.20),
    "cheeks": (-0.80, -0.36, 0.80, 0.70),
    "nose": (-0.66, -0.46, 0.66, 0.66),
    "mouth": (-0.72, 0.08, 0.72, 1.10),
    "jaw": (-0.90, 0.00, 0.90, 1.12),
    "head": (-1.12, -1.12, 1.12, 1.12),
}


@dataclass(frozen=True)
class ActionUnit:
    """One action unit, or one side of it.

    Args:
        code: "AU4"; "AU12L" and "AU12R" are the two sides of one unit.
        name: The FACS name.
        phrase: What a viewer sees, in a few plain words.
        region: Key of ``REGIONS``.
    """

    code: str
    name: str
    phrase: str
    region: str


#: Action units and movements of head and eyes, in the order of columns of intensities.
ACTION_UNITS: tuple[ActionUnit, ...] = (
    ActionUnit("AU1", "inner brow raiser", "inner brows raised", "brows"),
    ActionUnit("AU2", "outer brow raiser", "outer brows raised", "brows"),
    ActionUnit("AU4", "brow lowerer", "brows lowered and drawn together", "brows"),
    ActionUnit("AU5", "upper lid raiser", "upper eyelids raised", "eyes"),
    ActionUnit("AU6", "cheek raiser", "cheeks raised, eye corners wrinkled", "cheeks"),
    ActionUnit("AU7", "lid tightener", "eyelids tightened", "eyes"),
    ActionUnit("AU9", "nose wrinkler", "nose wrinkled", "nose"),
    ActionUnit("AU10", "upper lip raiser", "upper lip raised", "mouth"),
    ActionUnit("AU11", "nasolabial deepener", "nasolabial fold deepened", "mouth"),
    ActionUnit("AU12L", "lip corner puller, left", "left lip corner pulled up", "cheeks"),
    ActionUnit("AU12R", "lip corner puller, right", "right lip corner pulled up", "cheeks"),
    ActionUnit("AU13", "sharp lip puller", "lip corners pulled sharply up, cheeks puffed", "cheeks"),
    ActionUnit("AU14L", "dimpler, left", "left lip corner tightened into a dimple", "mouth"),
    ActionUnit("AU14R", "dimpler, right", "right lip corner tightened into a dimple", "mouth"),
    ActionUnit("AU15", "lip corner depressor", "lip corners pulled down", "mouth"),
    ActionUnit("AU16", "lower lip depressor", "lower lip pulled down", "mouth"),
    ActionUnit("AU17", "chin raiser", "chin raised", "mouth"),
    ActionUnit("AU18", "lip pucker", "lips puckered", "mouth"),
    ActionUnit("AU19", "tongue show", "tongue shown", "mouth"),
    ActionUnit("AU20", "lip stretcher", "lips stretched", "mouth"),
    ActionUnit("AU22", "lip funneler", "lips funnelled", "mouth"),
    ActionUnit("AU23", "lip tightener", "lips tightened", "mouth"),
    ActionUnit("AU24", "lip pressor", "lips pressed together", "mouth"),
    ActionUnit("AU25", "lips part", "lips parted", "mouth"),
    ActionUnit("AU26", "jaw drop", "jaw dropped", "jaw"),
    ActionUnit("AU27", "mouth stretch", "mouth stretched open", "jaw"),
    ActionUnit("AU28", "lip suck", "lips sucked in", "mouth"),
    ActionUnit("AU29", "jaw thrust", "jaw thrust forward", "jaw"),
    ActionUnit("AU31", "jaw clencher", "jaw clenched", "jaw"),
    ActionUnit("AU32", "lip bite", "lower lip bitten", "mouth"),
    ActionUnit("AU33", "cheek blow", "cheeks blown out", "jaw"),
    ActionUnit("AU38", "nostril dilator", "nostrils widened", "nose"),
    ActionUnit("AU39", "nostril compressor", "nostrils narrowed", "nose"),
    ActionUnit("AU41", "lid droop", "upper eyelids drooping", "eyes"),
    ActionUnit("AU42", "slit", "eyes narrowed to slits", "eyes"),
    ActionUnit("AU43", "eyes closed", "eyes closed", "eyes"),
    ActionUnit("AU44", "squint", "eyes squinting", "eyes"),
    ActionUnit("AU46", "wink", "right eye winking", "right eye"),
    ActionUnit("AU51", "head turn left", "head turned left", "head"),
    ActionUnit("AU52", "head turn right", "head turned right", "head"),
    ActionUnit("AU53", "head up", "head tilted up", "head"),
    ActionUnit("AU54", "head down", "head tilted down", "head"),
    ActionUnit("AU61", "eyes turn left", "eyes turned left", "eyes"),
    ActionUnit("AU62", "eyes turn right", "eyes turned right", "eyes"),
    ActionUnit("AU63", "eyes up", "eyes turned up", "eyes"),
    ActionUnit("AU64", "eyes down", "eyes turned down", "eyes"),
)

#: Codes of :data:`ACTION_UNITS`, in their order.
CODES: tuple[str, ...] = tuple(unit.code for unit in ACTION_UNITS)
_COLUMNS = {code: position for position, code in enumerate(CODES)}
BILATERAL = {"AU12": ("AU12L", "AU12R"), "AU14": ("AU14L", "AU14R")}


def column(code: str) -> int:
    """The column of an action unit in every ``(..., A)`` tensor of intensities.

    Raises:
        UserError: For a code that is not in ``ACTION_UNITS``.
    """
    if code not in _COLUMNS:
        raise unknown("action unit", code, [*CODES, *BILATERAL])
    return _COLUMNS[code]


def intensities(units: Mapping[str, float]) -> Tensor:
    """Named intensities as a vector; "AU12" and "AU14" stand for both of their sides.

    Args:
        units: Codes and intensities in 0..1.

    Returns:
        ``(A,)`` float32.

    Raises:
        UserError: For an unknown code, or an intensity outside 0..1.
    """
    vector = torch.zeros(len(CODES))
    for code, intensity in units.items():
        if not 0.0 <= intensity <= 1.0:
            raise UserError(f"intensity of {code}: expected a number in 0..1, got {intensity!r}; 1 is the strongest")
        for side in BILATERAL.get(code, (code,)):
            vector[column(side)] = intensity
    return vector
