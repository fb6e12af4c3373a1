"""Stamps: from what a page was made, so that a page that no longer says what its sources say is found.

An executed notebook carries its stamp in its metadata under ``fer_core``. It is stale when its source, the library, the
installed packages, the records and published numbers, a data set that it names, or the profile have changed since it
ran.
"""

import hashlib
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
from packaging.requirements import Requirement

import fer_core
from book.layout import Layout, Notebook
from fer_core import config
from fer_core.errors import UserError

KEY = "fer_core"
NOT_HERE = "not on this machine"


@dataclass(frozen=True)
class Inputs:
    """What an executed notebook was made from. Digests are 16 hex digits of SHA-256.

    Args:
        version: The library's version.
        library: Digest of all files of ``fer_core``.
        packages: Digest of :func:`packages`.
        source: Digest of the clean notebook.
        evidence: Digest of all records and published numbers.
        profile: The profile that it ran with.
        data: Fingerprint of each data set that the notebook names, or :data:`NOT_HERE`.
    """

    version: str
    library: str
    packages: str
    source: str
    evidence: str
    profile: str
    data: dict[str, str]


@dataclass(frozen=True)
class Stamp:
    """An executed notebook's inputs, and how it ran.

    Args:
        inputs: What it was made from.
        started: UTC, ISO 8601, to the second.
        seconds: Wall-clock time of the whole notebook.
        hardware: As :func:`fer_core.hardware.describe`.
        versions: As :func:`fer_core.hardware.versions`.
    """

    inputs: Inputs
    started: str
    seconds: float
    hardware: dict[str, Any]
    versions: dict[str, str]


def digest_files(files: Iterable[Path], base: Path) -> str:
    """SHA-256 of the files' names relative to ``base`` and of their bytes, its first 16 hex digits."""
    total = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        # Name and length before the bytes: no other set of files gives the same stream.
        total.update(f"{path.relative_to(base).as_posix()}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()[:16]


@cache
def library_digest() -> str:
    """Digest of everything in the package that runs."""
    package = Path(fer_core.__file__).parent
    files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return digest_files(files, package)


@cache
def packages() -> dict[str, str]:
    """Versions of Python and of what the project requires for its book, as they are installed."""
    wanted = [Requirement(line) for line in metadata.requires("fer-core") or ()]
    names = sorted({each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": "book"})})
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # installed by other means than pip
            found[name] = "unknown"
    return found


def declared_data(layout: Layout, notebook: Notebook) -> list[str]:
    """Names of the data sets that a notebook says it uses: ``"fer_core": {"datasets": [...]}`` in its metadata."""
    return list(_declared(layout, notebook).get("datasets", []))


def declared_seconds(layout: Layout, notebook: Notebook) -> float:
    """About how long a notebook says that it takes on two cores (``"seconds"`` beside the data sets), for the order."""
    return float(_declared(layout, notebook).get("seconds", 0.0))


def _declared(layout: Layout, notebook: Notebook) -> dict[str, Any]:
    return dict(nbformat.read(layout.root / notebook.source, as_version=4).metadata.get(KEY, {}))


def fingerprints(names: Iterable[str]) -> dict[str, str]:
    """A digest over the splits' fingerprints of each data set; :data:`NOT_HERE` for one that cannot be opened."""
    return {name: _fingerprint(name) for name in sorted(set(names))}


@cache
def _fingerprint(name: str) -> str:
    from fer_core import data  # brings torch and torchvision: many pages need neither
    from fer_core.data import facs

    if name not in data.names():
        raise UserError(f"unknown data set {name!r} in a notebook's metadata; known: {', '.join(data.names())}")
    if name in facs.names():
        from fer_core.faces import sets  # what is drawn tells it: nothing has to be rendered

        drawn = {split: sets.fingerprint(name, split, sets.draw(name, split)) for split in data.SPLITS}
        return config.digest(drawn)
    try:
        return config.digest({split: data.open(name, split).fingerprint for split in data.SPLITS})
    except UserError:  # licensed data that this machine does not have
        return NOT_HERE


def inputs(layout: Layout, notebook: Notebook, profile: str, data: Mapping[str, str]) -> Inputs:
    """What the notebook would be made from now.

    Args:
        layout: The book.
        notebook: One of its notebooks.
        profile: The profile to run.
        data: Fingerprints of the data sets that the notebook names.
    """
    return Inputs(
        version=fer_core.__version__,
        library=library_digest(),
        packages=config.digest(packages()),
        source=digest_files([layout.root / notebook.source], layout.root),
        evidence=digest_files(layout.evidence, layout.root),
        profile=profile,
        data=dict(data),
    )


def read(path: Path) -> Stamp | None:
    """The stamp of an executed notebook; None where there is no such file or it carries no sound stamp."""
    try:
        values = nbformat.read(path, as_version=4).metadata[KEY]
        return config.build(Stamp, values, path.name)
    except (OSError, KeyError, ValueError, nbformat.ValidationError):
        return None


def attach(notebook: nbformat.NotebookNode, stamp: Stamp) -> None:
    """Writes the stamp into a notebook's metadata."""
    notebook.metadata[KEY] = nbformat.from_dict(asdict(stamp))


def stale(stamp: Stamp | None, now: Inputs) -> str | None:
    """Why an executed notebook no longer stands for its sources, in words; None where it does."""
    if stamp is None:
        return "it has not been executed"
    changed = [each.name for each in fields(Inputs) if getattr(stamp.inputs, each.name) != getattr(now, each.name)]
    return f"changed since it ran: {', '.join(changed)}" if changed else None


def stale_pages(layout: Layout) -> dict[str, str]:
    """Stale executed notebooks by page, with the reason; data and profile are taken as they were when it ran.

    Whether the data is still the same is asked by the build, which opens it.
    """
    found = {}
    for notebook in layout.notebooks:
        stamp = read(layout.root / notebook.executed)
        profile, data = (stamp.inputs.profile, stamp.inputs.data) if stamp else ("", {})
        reason = stale(stamp, inputs(layout, notebook, profile, data))
        if reason:
            found[notebook.page] = reason
    return found
