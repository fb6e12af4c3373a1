"""The one table from releases' label codes to class names.

FER releases number the same emotions in different orders, and lists of one data set made by different groups differ
too: an accuracy of 11 % on AffectNet-7 is what one mismatch looks like. So codes are read here and nowhere else; past
this table there are class names alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fer_core.errors import UserError, unknown


@dataclass(frozen=True)
class Release:
    """How one release of a data set writes its labels.

    Args:
        dataset: The data set's public name.
        codes: From what stands in the release's files to the class name; None is a code that the task leaves out.
        source: Where the codes are stated, or what proves them.
    """

    dataset: str
    codes: Mapping[str, str | None]
    source: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names that the codes stand for, in the order of the codes."""
        return tuple(dict.fromkeys(name for name in self.codes.values() if name is not None))


def _numbered(names: Sequence[str | None], first: int = 0) -> dict[str, str | None]:
    """Codes that count from ``first``."""
    return {str(code): name for code, name in enumerate(names, start=first)}


_AFFECTNET = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
# DFEW's order, which the public lists of FERV39k share and the DFER-CLIP lists of MAFW carry on.
_DFEW = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
_FERV39K = ("Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear")
_MAFW = (
    "anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise",
    "contempt", "anxiety", "helplessness", "disappointment",
)  # fmt: skip

_AFFECTNET_SOURCE = "codes 0 to 10 as listed in the release's read-me: Mollahosseini et al., 2019"
_DFER_CLIP = "lists in the DFER-CLIP repository (Zhao and Patras, 2023; MIT)"
_MAE_DFER = "lists in the MAE-DFER repository (Sun et al., 2023; MIT)"

#: From the codes of each release to class names, by the release's name.
RELEASES: dict[str, Release] = {
    "affectnet-8/csv": Release(
        "affectnet-8",
        _numbered((*_AFFECTNET, None, None, None)),
        f"column 'expression'; {_AFFECTNET_SOURCE}; 8 'none', 9 'uncertain' and 10 'no face' are left out",
    ),
    "affectnet-7/csv": Release(
        "affectnet-7",
        _numbered((*_AFFECTNET[:7], None, None, None, None)),
        f"column 'expression'; {_AFFECTNET_SOURCE}; with seven classes 7 'contempt' is left out, too",
    ),
    "affectnet-8/npy": Release(
        "affectnet-8",
        _numbered(_AFFECTNET),
        f"annotations/*_exp.npy; {_AFFECTNET_SOURCE}; this release holds the eight classes alone",
    ),
    "affectnet-7/npy": Release(
        "affectnet-7",
        _numbered((*_AFFECTNET[:7], None)),
        f"annotations/*_exp.npy; {_AFFECTNET_SOURCE}; with seven classes 7 'contempt' is left out",
    ),
    "raf-db/basic": Release(
        "raf-db",
        _numbered(("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"), first=1),
        "EmoLabel/list_patition_label.txt; order of the release's read-me: Li, Deng and Du, 2017",
    ),
    "ferplus/votes": Release(
        "ferplus",
        {
            **{name: name for name in ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")},
            "contempt": "contempt",
            "unknown": None,
            "NF": None,
        },
        "vote columns of fer2013new.csv and, in this order, of label.csv: Barsoum et al., 2016; NF is 'not a face'",
    ),
    "fer2013/csv": Release(
        "fer2013",
        _numbered(("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")),
        "column 'emotion' of fer2013.csv; page of the Kaggle challenge: Goodfellow et al., 2013",
    ),
    "fer2013/folders": Release(
        "fer2013",
        {
            "angry": "anger",
            "disgust": "disgust",
            "fear": "fear",
            "happy": "happiness",
            "sad": "sadness",
            "surprise": "surprise",
            "neutral": "neutral",
        },
        "names of the class folders of the release as images",
    ),
    "dfew/official": Release(
        "dfew",
        _numbered(_DFEW, first=1),
        "column 'label' of EmoLabel_DataSplit: Jiang et al., 2020; one more than the codes of both public lists",
    ),
    "dfew/dfer-clip": Release("dfew", _numbered(_DFEW), f"{_DFER_CLIP}; the official codes less one"),
    "dfew/mae-dfer": Release("dfew", _numbered(_DFEW), f"{_MAE_DFER}; equal to DFER-CLIP's on every fold"),
    "ferv39k/official": Release(
        "ferv39k",
        dict(zip(_FERV39K, _DFEW, strict=True)),
        "4_setups/All_scenes/*_All.csv and the class folders of 2_ClipsforFaceCrop: Wang et al., 2022",
    ),
    "ferv39k/dfer-clip": Release("ferv39k", _numbered(_DFEW), f"{_DFER_CLIP}; proved by the class folder in each path"),
    "ferv39k/mae-dfer": Release("ferv39k", _numbered(_DFEW), f"{_MAE_DFER}; proved by the class folder in each path"),
    "mafw/official": Release(
        "mafw",
        {name: name for name in _MAFW},
        "class words of the official lists: Liu et al., 2022, whose order of classes this is",
    ),
    "mafw/mae-dfer": Release("mafw", _numbered(_MAFW), f"{_MAE_DFER}; the official order of classes, from 0"),
    "mafw/dfer-clip": Release(
        "mafw",
        _numbered((*_DFEW, *_MAFW[7:])),
        f"{_DFER_CLIP}; DFEW's order, then the four further classes; proved against MAE-DFER's clip by clip",
    ),
    "biovid/part-a": Release(
        "biovid",
        {"BL1": "neutral", "PA1": None, "PA2": None, "PA3": None, "PA4": "pain"},
        "stimulus in each file's name: Walter et al., 2013; the task of CLIP-AUTT keeps no pain and the strongest",
    ),
    "stressid/binary": Release(
        "stressid",
        {"0": "neutral", "1": "stress"},
        "column 'binary-stress' of labels.csv: Chaptoukaev et al., 2023; self-rated stress of 5 or more is stress",
    ),
    "bah/video": Release(
        "bah",
        {"0": "neutral", "1": "ambivalence"},
        "labels of videos and segments: Gonzalez-Gonzalez et al., 2025; 1 is ambivalence or hesitancy",
    ),
}


def decode(release: str, code: str, where: str) -> str | None:
    """The class name that a release's code stands for.

    Args:
        release: A key of :data:`RELEASES`.
        code: What stands in the file; spaces around it do not count.
        where: The file and line, for messages.

    Returns:
        The class name; None where the task leaves the code out.

    Raises:
        UserError: If the release has no such code.
    """
    if release not in RELEASES:
        raise unknown("release", release, RELEASES)
    codes = RELEASES[release].codes
    code = code.strip()
    if code not in codes:
        known = ", ".join(codes)
        raise UserError(f"{where}: expected a label of {release} ({known}), got {code!r}; restore the official file")
    return codes[code]
