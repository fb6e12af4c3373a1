"""Data sets by name."""

import os
from typing import Any, Literal

from fer_core import config
from fer_core.data import facs, layout
from fer_core.data.dataset import FaceDataset, check_split
from fer_core.data.selections import balanced
from fer_core.errors import UserError, unknown

KINDS = ("stills", "clips", "subjects")


def names() -> tuple[str, ...]:
    """Every data set that :func:`open` knows: stills, clips, sets of subjects, then the embedded ones."""
    licensed = sorted(layout.LAYOUTS.values(), key=lambda each: (KINDS.index(each.kind), each.name))
    return (*(each.name for each in licensed), *facs.names())


def kind(name: str) -> Literal["stills", "clips", "subjects"] | None:
    """What a data set holds.

    Args:
        name: Of a data set.

    Returns:
        ``"stills"``, ``"clips"``, or ``"subjects"``: clips that are read person by person, people being sources and
        targets. None for a data set that :func:`open` does not know, such as one in memory.
    """
    if name in layout.LAYOUTS:
        return layout.LAYOUTS[name].kind
    from fer_core.faces import sets  # the renderer is only loaded where faces are asked for

    if name not in sets.SETS:
        return None
    if not sets.SETS[name].frames:
        return "stills"
    return "subjects" if sets.SETS[name].sessions else "clips"


def open(
    name: str,
    split: str,
    root: str | os.PathLike[str] | None = None,
    *,
    limit: int | None = None,
    **options: Any,
) -> FaceDataset:
    """Opens one split of a data set.

    Args:
        name: One of :func:`names`.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        root: The folder of licensed data; ``FER_DATA_ROOT`` by default. Embedded sets need none.
        limit: At most that many samples, evenly over the classes and always the same ones; None for all.
        **options: The data set's own options, such as ``votes="probability"`` of ``ferplus``, ``fold=2`` of ``dfew``,
            or ``frames=4`` of embedded clips.

    Returns:
        The data set, raw.

    Raises:
        UserError: For an unknown name, split or option, a wrong value, or files that are missing or damaged.
    """
    if name not in names():
        raise unknown("data set", name, names())
    check_split(split)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise UserError(f"limit: expected a number of at least 1, got {limit!r}; leave it out for the whole split")
    where = f"data of {name}"
    if name not in layout.LAYOUTS:
        return facs.Facs(name, split, limit, config.build(facs.FacsOptions, options, where))
    found = layout.get(name)
    whole = found.open(split, root, config.build(found.options, options, where))
    return whole if limit is None else balanced(whole, limit)
