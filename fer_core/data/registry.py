"""Data sets by name."""

import os
from dataclasses import dataclass
from typing import Any

from fer_core import config
from fer_core.data import facs
from fer_core.data.dataset import FaceDataset, balanced, check_split
from fer_core.data.ferplus import Ferplus, FerplusOptions
from fer_core.errors import UserError, unknown


@dataclass(frozen=True)
class NoOptions:
    """Embedded sets leave nothing to choose."""


def names() -> tuple[str, ...]:
    """Every data set that :func:`open` knows."""
    return ("ferplus", *facs.names())


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
        **options: The data set's own options, such as ``votes="probability"`` of ``ferplus``.

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
    if name == "ferplus":
        whole = Ferplus(split, root, config.build(FerplusOptions, options, where))
        return whole if limit is None else balanced(whole, limit)
    config.build(NoOptions, options, where)
    return facs.Facs(name, split, limit)
