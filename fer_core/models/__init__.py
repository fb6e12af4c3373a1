"""Methods: one method, one file. Importing a method's module makes its name known."""

from fer_core.models.base import Method, Output, SupervisedConfig, build, get, names
from fer_core.models.coop import CoOp
from fer_core.models.full_fine_tuning import FullFineTuning
from fer_core.models.linear_probe import LinearProbe
from fer_core.models.zero_shot import ZeroShot

__all__ = [
    "CoOp",
    "FullFineTuning",
    "LinearProbe",
    "Method",
    "Output",
    "SupervisedConfig",
    "ZeroShot",
    "build",
    "get",
    "names",
]
