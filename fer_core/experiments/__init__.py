"""Experiments: one YAML file each, their profiles, and :func:`~fer_core.experiments.run`.

Reading experiments needs neither torch nor data; :func:`run` and what else needs them is imported on first use.
"""

from typing import TYPE_CHECKING, Any

from fer_core.experiments.loading import PROFILES, Ablation, Experiment, Settings, load, names, parse_overrides

if TYPE_CHECKING:
    from fer_core.experiments.running import changed, is_stale, resolve, run

__all__ = [
    "PROFILES",
    "Ablation",
    "Experiment",
    "Settings",
    "changed",
    "is_stale",
    "load",
    "names",
    "parse_overrides",
    "resolve",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from fer_core.experiments import running

        return getattr(running, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
