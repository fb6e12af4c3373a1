"""Test-time methods: one method, one file. Importing a method's module makes its name known."""

from fer_core.adapt.base import Adapted, TestTimeMethod, build, get, names, unlabelled
from fer_core.adapt.clip_autt import ClipAutt
from fer_core.adapt.following import Course, follow
from fer_core.adapt.prompt_align import PromptAlign
from fer_core.adapt.tda import Tda
from fer_core.adapt.tent import Tent
from fer_core.adapt.tpt import Tpt

__all__ = [
    "Adapted", "ClipAutt", "Course", "PromptAlign", "Tda", "Tent", "TestTimeMethod", "Tpt", "build", "follow", "get",
    "names", "unlabelled",
]  # fmt: skip
