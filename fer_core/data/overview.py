"""Every data set in a few words, for listings and pages."""

from typing import Any

from fer_core.data import registry
from fer_core.data.dataset import SPLITS
from fer_core.data.layout import LAYOUTS
from fer_core.faces import sets


def rows() -> list[dict[str, Any]]:
    """What is known of every data set: embedded ones, and licensed ones with where to apply for them.

    Returns:
        For each ``name``, ``embedded``, ``title``, ``kind``, ``classes``, ``samples`` (by split, as far as published),
        ``licence``, ``apply`` (an address; None where none is needed), ``citation`` (key of the bibliography or None)
        and ``needs``.
    """
    found = []
    for name in registry.names():
        row: dict[str, Any] = {"name": name, "embedded": name not in LAYOUTS}
        if name in LAYOUTS:
            known = LAYOUTS[name]
            sizes = {split: counts.get("total", sum(counts.values())) for split, counts in known.official.items()}
            row |= {
                "title": known.title, "kind": registry.kind(name), "classes": list(known.classes), "samples": sizes,
                "licence": known.licence, "apply": known.apply, "citation": known.citation,
                "needs": f"--data-root; apply: {known.apply}",
            }  # fmt: skip
        else:
            spec = sets.SETS[name]
            row |= {
                "title": "rendered faces", "kind": registry.kind(name), "classes": list(spec.classes),
                "samples": dict(zip(SPLITS, spec.counts, strict=True)), "licence": "none needed", "apply": None,
                "citation": None, "needs": "nothing, rendered on first use",
            }  # fmt: skip
        found.append(row)
    return found
