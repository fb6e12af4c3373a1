"""From action units and identity to the face's geometry.

Everything the renderer draws and every landmark is read from one :class:`Shape`, so that they agree exactly. Lengths
are in face coordinates (x to the viewer's right, y down, the eyes near y = -0.08, the mouth near 0.54, the chin near
1). Displacements are our reading of the photographs and appearance changes described in the FACS manual (Ekman,
Friesen and Hager, 2002).
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fer_core.faces.action_units import column
from fer_core.faces.identity import Identity

#: The head's outline is a superellipse of this exponent whose width narrows towards the chin.
OUTLINE = 2.35


@dataclass
class Shape:
    """Geometry of a batch of faces; ``(B,)`` on the midline, ``(B, 2)`` by side (0: the face's right).

    The raw intensities stay reachable by :meth:`unit`, for what is carved (folds, bulges) rather than moved.
    """

    units: Tensor
    smile: Tensor
    dimple: Tensor
    face_width: Tensor
    jaw_taper: Tensor
    chin: Tensor
    drop: Tensor
    eye_x: Tensor
    eye_y: Tensor
    eye_width: Tensor
    eye_tilt: Tensor
    upper_lid: Tensor
    lower_lid: Tensor
    lid_line: Tensor
    iris: Tensor
    gaze_x: Tensor
    gaze_y: Tensor
    brow_x: Tensor
    brow_y: Tensor
    brow_thickness: Tensor
    nose_y: Tensor
    nose_width: Tensor
    nostril: Tensor
    mouth_y: Tensor
    mouth_width: Tensor
    corner: Tensor
    gap: Tensor
    upper_rise: Tensor
    lower_fall: Tensor
    upper_lip: Tensor
    lower_lip: Tensor

    def unit(self, code: str) -> Tensor:
        """``(B,)`` intensity of an action unit."""
        return self.units[:, column(code)]

    def take(self, positions: Tensor) -> "Shape":
        """The faces at the given positions, in that order, with repetition."""
        return Shape(**{field.name: getattr(self, field.name)[positions] for field in fields(self)})


def shape(units: Tensor, identity: Identity) -> Shape:
    """The geometry of faces that make an expression.

    Args:
        units: ``(B, A)`` intensities in 0..1, the resting face included.
        identity: ``B`` people.

    Returns:
        The shape, on the device of ``units``; differentiable in the intensities and the traits of form.
    """

    def au(code: str) -> Tensor:
        return units[:, column(code)]

    trait = identity.trait
    both = lambda value: value[:, None].expand(-1, 2)  # noqa: E731
    # Mutually exclusive actions saturate instead of adding up.
    smile = torch.stack([au("AU12R"), au("AU12L")], 1)
    dimple = torch.stack([au("AU14R"), au("AU14L")], 1)
    drop = 0.13 * au("AU26") + 0.19 * au("AU27")

    # --- eyes
    closing = both(au("AU43")).clone()
    closing[:, 0] = 1 - (1 - au("AU43")) * (1 - au("AU46"))
    narrow_upper = (1 - 0.24 * au("AU7")) * (1 - 0.14 * au("AU6")) * (1 - 0.20 * au("AU9")) * (1 - 0.34 * au("AU44"))
    narrow_upper = narrow_upper * (1 - 0.48 * au("AU41")) * (1 - 0.74 * au("AU42"))
    narrow_lower = (1 - 0.55 * au("AU7")) * (1 - 0.50 * au("AU6")) * (1 - 0.35 * au("AU9")) * (1 - 0.55 * au("AU44"))
    narrow_lower = narrow_lower * (1 - 0.35 * au("AU42"))
    size = trait("eye_size")
    upper = (0.066 + 0.010 * size) * narrow_upper + 0.052 * au("AU5") - 0.012 * au("AU64")
    lower = (0.048 + 0.005 * size) * narrow_lower + 0.008 * au("AU5")
    # A closing upper lid travels down past the middle and meets the lower one.
    meet = 0.024
    upper_lid = both(upper) * (1 - closing) - meet * closing
    lower_lid = both(lower) * (1 - closing) + meet * closing

    # --- brows: heights at the inner end, the arch and the outer end
    inner = -0.300 - 0.120 * au("AU1") - 0.030 * au("AU2") + 0.088 * au("AU4") + 0.050 * au("AU9")
    arch = -0.350 - 0.062 * au("AU1") - 0.100 * au("AU2") + 0.060 * au("AU4") + 0.035 * au("AU9") + 0.012 * au("AU6")
    outer = -0.295 + 0.020 * au("AU1") - 0.125 * au("AU2") + 0.012 * au("AU4") + 0.020 * au("AU6")
    raised = -0.028 * trait("brow_height")
    brow_y = torch.stack([inner + raised, arch + raised - 0.018 * trait("brow_arch"), outer + raised], 1)
    brow_x = torch.stack(
        [0.125 - 0.050 * au("AU4") + 0.008 * au("AU1"), 0.490 + 0.020 * trait("face_width") - 0.012 * au("AU4")], 1
    )

    # --- nose
    nose_y = 0.290 + 0.028 * trait("nose_length") - 0.036 * au("AU9") - 0.014 * au("AU10")
    flare = 1 + 0.36 * au("AU38") - 0.34 * au("AU39") + 0.10 * au("AU9") + 0.05 * (smile.mean(1))
    nose_width = (0.118 + 0.020 * trait("nose_width")) * flare
    nostril = 1 + 1.10 * au("AU38") - 0.75 * au("AU39")

    # --- mouth
    pursed = (1 - 0.40 * au("AU18")) * (1 - 0.24 * au("AU22")) * (1 - 0.10 * au("AU23")) * (1 - 0.05 * au("AU24"))
    pursed = (
        pursed * (1 - 0.07 * au("AU17")) * (1 - 0.16 * au("AU26")) * (1 - 0.20 * au("AU27")) * (1 - 0.22 * au("AU33"))
    )
    stretched = (
        1 + 0.24 * smile + 0.26 * both(au("AU20")) + 0.10 * dimple + 0.05 * both(au("AU10")) + 0.04 * both(au("AU13"))
    )
    mouth_width = (0.235 + 0.026 * trait("mouth_width"))[:, None] * pursed[:, None] * stretched
    corner = (
        -0.105 * smile - 0.016 * dimple - 0.120 * both(au("AU13")) + 0.088 * both(au("AU15")) + 0.026 * both(au("AU20"))
        + 0.018 * both(au("AU17"))
    )  # fmt: skip
    sealed = (1 - 0.9 * au("AU24")) * (1 - 0.6 * au("AU23")) * (1 - au("AU28"))
    gap = sealed * (
        0.046 * au("AU25") * (1 + 0.95 * smile.mean(1)) + 0.210 * au("AU26") + 0.360 * au("AU27") + 0.030 * au("AU16")
        + 0.022 * au("AU10") + 0.048 * au("AU22") + 0.060 * au("AU19")
    )  # fmt: skip
    upper_rise = 0.052 * au("AU10") + 0.018 * au("AU9") + 0.012 * au("AU22")
    lower_fall = 0.036 * au("AU16") - 0.030 * au("AU17")
    thin = (1 - 0.55 * au("AU23")) * (1 - 0.62 * au("AU24")) * (1 - 0.88 * au("AU28")) * (1 - 0.26 * au("AU20"))
    full = 1 + 0.45 * au("AU18") + 0.55 * au("AU22") - 0.16 * smile.mean(1)
    lip = 0.046 + 0.014 * trait("lip_fullness")
    upper_lip = lip * thin * full * (1 - 0.22 * au("AU10"))
    lower_lip = 1.3 * lip * thin * full * (1 + 0.20 * au("AU17") + 0.15 * au("AU29")) * (1 - 0.85 * au("AU32"))

    return Shape(
        units=units,
        smile=smile,
        dimple=dimple,
        face_width=0.700 + 0.050 * trait("face_width"),
        jaw_taper=0.300 - 0.090 * trait("jaw_width"),
        chin=0.985 + 0.040 * trait("face_length") + 0.030 * au("AU29"),
        drop=drop,
        eye_x=both(0.300 + 0.024 * trait("eye_spacing")),
        eye_y=both(torch.full_like(drop, -0.085)),
        eye_width=both(0.150 + 0.012 * size),
        eye_tilt=both(0.016 * trait("eye_tilt") - 0.014 * au("AU1") * au("AU4")),
        upper_lid=upper_lid,
        lower_lid=lower_lid,
        lid_line=closing,
        iris=both(0.067 + 0.003 * size),
        # Subject's left is the viewer's right; mirrored x makes that "outwards" on side 1 and "inwards" on side 0.
        gaze_x=torch.stack([-1.0 * (au("AU61") - au("AU62")), au("AU61") - au("AU62")], 1) * 0.062,
        gaze_y=both(0.034 * au("AU64") - 0.036 * au("AU63")),
        brow_x=brow_x,
        brow_y=brow_y,
        brow_thickness=0.036 + 0.011 * trait("brow_thickness"),
        nose_y=nose_y,
        nose_width=nose_width,
        nostril=nostril,
        mouth_y=0.545 + 0.014 * trait("nose_length") - 0.022 * au("AU17") + 0.010 * au("AU29"),
        mouth_width=mouth_width,
        corner=corner,
        gap=gap,
        upper_rise=upper_rise,
        lower_fall=lower_fall,
        upper_lip=upper_lip,
        lower_lip=lower_lip,
    )


def half_width(shape: Shape, v: Tensor) -> Tensor:
    """Half the width of the head where its outline would be widest, were it not rounded to skull and chin.

    Args:
        shape: ``B`` faces; clenched jaws (AU31) and blown cheeks (AU33) widen it.
        v: ``(B, K)`` or ``(K,)`` heights.

    Returns:
        ``(B, K)``.
    """
    clench, blow = shape.unit("AU31")[:, None], shape.unit("AU33")[:, None]
    jaw = 1 - shape.jaw_taper[:, None] * v.clamp(min=0.0) ** 1.7
    jaw = jaw + 0.035 * clench * torch.exp(-(((v - 0.42) / 0.20) ** 2))
    jaw = jaw + 0.11 * blow * torch.exp(-(((v - 0.46) / 0.22) ** 2))
    return shape.face_width[:, None] * jaw
