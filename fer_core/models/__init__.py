"""Methods: one method, one file. Importing a method's module makes its name known."""

from fer_core.models.aim import Aim
from fer_core.models.base import Method, Output, SupervisedConfig, build, get, names
from fer_core.models.clip_adapter import ClipAdapter
from fer_core.models.clip_au import ClipAu
from fer_core.models.cocoop import CoCoOp
from fer_core.models.coop import CoOp
from fer_core.models.dfer_clip import DferClip
from fer_core.models.emo_clip import EmoClip
from fer_core.models.fine_cliper import FineCliper
from fer_core.models.full_fine_tuning import FullFineTuning
from fer_core.models.les_clip import LesClip
from fer_core.models.linear_probe import LinearProbe
from fer_core.models.lora import Lora
from fer_core.models.majority import Majority
from fer_core.models.maple import Maple
from fer_core.models.mpa_fer import MpaFer
from fer_core.models.promptsrc import PromptSrc
from fer_core.models.st_adapter import StAdapter
from fer_core.models.tip_adapter import TipAdapter
from fer_core.models.zero_shot import ZeroShot

__all__ = [
    "Aim", "ClipAdapter", "ClipAu", "CoCoOp", "CoOp", "DferClip", "EmoClip", "FineCliper", "FullFineTuning", "LesClip",
    "LinearProbe", "Lora", "Majority", "Maple", "Method", "MpaFer", "Output", "PromptSrc", "StAdapter",
    "SupervisedConfig", "TipAdapter", "ZeroShot", "build", "get", "names",
]  # fmt: skip
