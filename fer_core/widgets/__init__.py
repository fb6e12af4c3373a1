"""Widgets that live in a static page: all that they need travels in the page; `camera` alone asks for a kernel."""

from fer_core.widgets.explorer import EmbeddingExplorer, explore
from fer_core.widgets.player import PersonalisationPlayer, play

__all__ = ["EmbeddingExplorer", "PersonalisationPlayer", "explore", "play"]
