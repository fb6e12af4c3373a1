"""What a run leaves behind: one JSON file, there whole or not at all.

A record says what ran, on which data and weights, with which settings, what came out and what it cost. It holds no
path, host name or user name of the machine that wrote it.
"""

import json
import math
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from fer_core import atomic, config
from fer_core.errors import UserError

SCHEMA = 1

# What may differ between two runs of one result: what they cost, and where and with which versions they ran.
CIRCUMSTANCES = ("seconds", "peak_memory", "hardware", "versions", "commit")
_CIRCUMSTANCES_OF_AN_EPOCH = ("seconds", "images_per_second")

_METRICS = ("war", "uar", "f1", "recall", "confusion", "classes", "n")


@dataclass(frozen=True)
class Record:
    """One run. ``war``, ``uar`` and ``f1`` are fractions.

    Args:
        experiment: Name of the experiment.
        method: Name of the method.
        dataset: Name of the data set that was really used.
        fingerprint: Digest of the fingerprints of all splits that the run used.
        split: The split that ``metrics`` were measured on.
        backbone: Name of the CLIP.
        weights: SHA-256 of its weights, 16 hex digits.
        profile: ``smoke``, ``quick``, ``full`` or ``paper``.
        seed: The run's seed.
        config: Every setting that can change the result, defaults included.
        config_digest: Digest of ``config``.
        metrics: ``war``, ``uar``, ``f1``, ``recall`` by class, ``confusion`` (rows: truth), ``classes``, ``n``; and the
            same for named subsets such as ``deduplicated``.
        selection: ``rule``, ``epoch``, and ``test_chosen``: the scores that choosing on test would have given.
        history: One mapping an epoch.
        trainable_parameters: Number of values that training changes.
        flops: Floating-point operations of one sample's forward pass.
        seconds: Wall-clock seconds of each phase, and ``total``; interrupted runs that this one went on from included.
        peak_memory: Bytes.
        hardware: What it ran on.
        versions: Python and libraries.
        commit: Of the project, with ``+dirty`` for uncommitted code; None outside git.
        fold: Fold of the data set, where it has folds.
        variant: What tells its file from the experiment's own where settings were overridden.
        overrides: Those settings, by dotted key.
        alignment: Digest of the transform that aligned the faces, where ``fer-core data align`` made them; else None.
        predictions: What was said of each sample, for paired tests: see :class:`Predicted`.
        trained_by: The run that trained what this one has tested, and its commit; None where this one trained. Such a
            record has one row of history, 0, and knows the test score of no other epoch.
        schema: Version of this layout.
    """

    experiment: str
    method: str
    dataset: str
    fingerprint: str
    split: str
    backbone: str
    weights: str
    profile: str
    seed: int
    config: dict[str, Any]
    config_digest: str
    metrics: dict[str, Any]
    selection: dict[str, Any]
    history: list[dict[str, Any]]
    trainable_parameters: int
    flops: int
    seconds: dict[str, float]
    peak_memory: int
    hardware: dict[str, Any]
    versions: dict[str, str]
    commit: str | None
    fold: int | None = None
    variant: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    alignment: str | None = None
    predictions: dict[str, Any] | None = None
    trained_by: str | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"expected schema {SCHEMA}, got {self.schema}; run the experiment again with this version")
        missing = [name for name in _METRICS if name not in self.metrics]
        if missing:
            raise ValueError(f"expected metrics with {', '.join(_METRICS)}, got none of: {', '.join(missing)}")

    @property
    def predicted(self) -> "Predicted":
        """What was said of each sample.

        Raises:
            UserError: If the record is from a time when that was not kept.
        """
        if self.predictions is None:
            raise UserError(f"record {self.path}: expected predictions, got none; run it again with --force")
        try:
            return Predicted.of(self.predictions)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"record {self.path}: expected a digit a sample in predictions, got: {error}; run it again with --force"
            ) from error

    @property
    def path(self) -> Path:
        """Where the record lies, relative to the folder of records."""
        return path_of(self.experiment, self.profile, self.seed, self.fold, self.variant)


_DIGITS = string.digits + string.ascii_lowercase


@dataclass(frozen=True)
class Predicted:
    """True and predicted class of each sample, in the order of the data set.

    Args:
        labels: ``(N,)`` integers below 36.
        classes: ``(N,)`` integers below 36.
        subjects: ``(N,)`` whom each shows; None where the data set does not say.
    """

    labels: np.ndarray
    classes: np.ndarray
    subjects: Sequence[int] | None = None

    def plain(self) -> dict[str, Any]:
        """As a record keeps it: a digit a sample, in base 36."""
        texts = {"truth": self.labels, "predicted": self.classes}
        kept: dict[str, Any] = {
            name: "".join(_DIGITS[value] for value in values.tolist()) for name, values in texts.items()
        }
        return kept | ({} if self.subjects is None else {"subjects": list(self.subjects)})

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "Predicted":
        """The inverse of :meth:`plain`."""
        labels, classes = (np.array([int(digit, 36) for digit in kept[name]]) for name in ("truth", "predicted"))
        return cls(labels, classes, kept.get("subjects"))


def path_of(experiment: str, profile: str, seed: int, fold: int | None = None, variant: str | None = None) -> Path:
    """``<experiment>/<profile>-seed<N>[-fold<K>][-<variant>].json``."""
    parts = [profile, f"seed{seed}"]
    if fold is not None:
        parts.append(f"fold{fold}")
    if variant is not None:
        parts.append(variant)
    return Path(experiment, "-".join(parts) + ".json")


def variant_name(overrides: Mapping[str, Any]) -> str | None:
    """A file name's part for overridden settings: readable, and different for different overrides.

    Args:
        overrides: Settings that differ from the experiment's own, by dotted key.

    Returns:
        Such as ``context_length=8-5b1f02c4``; None where nothing is overridden.
    """
    if not overrides:
        return None
    words = "-".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in sorted(overrides.items()))
    return f"{re.sub(r'[^A-Za-z0-9_=.+-]+', '_', words)[:60]}-{config.digest(overrides)[:8]}"


def book_folder() -> Path:
    """The folder ``book`` of the checkout that this package runs from, else of the current folder."""
    ours = Path(__file__).resolve().parents[1] / "book"
    return ours if ours.is_dir() else Path("book")


def default_folder() -> Path:
    """Where records are written and read unless told otherwise: ``book/records``."""
    return book_folder() / "records"


def write(record: Record, folder: Path | str | None = None) -> Path:
    """Writes a record so that its file is there whole or not at all, whenever the process is killed.

    Args:
        record: What to write; an older record of the same run is replaced.
        folder: The folder of records; ``book/records`` by default.

    Returns:
        The file's path.

    Raises:
        UserError: If a number in the record is not finite, or the folder cannot be written to.
    """
    path = Path(folder or default_folder()) / record.path
    values = config.plain(record)
    _refuse_non_finite(values, f"record {record.path}")
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # One line a row of numbers, so that a confusion matrix reads as one. No JSON string holds a raw line break.
    text = re.sub(r"\[\n[\s\d.,eE+-]+\]", lambda found: " ".join(found[0].split()), text)
    try:
        with atomic.replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"records: cannot write {path} ({error.strerror}); pass another folder as --records") from error
    return path


def _refuse_non_finite(values: Any, where: str) -> None:
    try:
        json.dumps(values, allow_nan=False)  # in C: a walk through thousands of numbers takes longer than to read them
    except ValueError:
        place, number = next(_non_finite(values, where))
        raise UserError(
            f"{place}: expected a finite number, got {number}; look for a diverged loss and run again"
        ) from None


def _non_finite(value: Any, where: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float) and not math.isfinite(value):
        yield where, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _non_finite(item, f"{where}.{key}")
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _non_finite(item, f"{where}[{position}]")


def read(path: Path | str) -> Record:
    """Reads a record and checks its layout.

    Raises:
        UserError: If the file is missing, is no JSON, or lacks a field or has one that no record has.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"expected a record at {path}, found no file; run its experiment first") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected a record in JSON, got: {error}; delete it and run again") from error
    where = f"record {path}"
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected a JSON object, got {type(values).__name__}; delete it and run again")
    required = [each.name for each in fields(Record) if each.default is each.default_factory is MISSING]
    missing = [name for name in required if name not in values]
    if missing:
        raise UserError(f"{where}: expected the field {missing[0]!r}, got none; delete it and run again")
    _refuse_non_finite(values, where)
    return config.build(Record, values, where)


def iterate(folder: Path | str | None = None, experiment: str | None = None) -> Iterator[Record]:
    """All records in a folder, or those of one experiment, ordered by file name.

    Args:
        folder: The folder of records; ``book/records`` by default. One that does not exist holds none.
        experiment: Name of an experiment.

    Raises:
        UserError: If a record is broken, or lies where another one belongs.
    """
    root = Path(folder or default_folder())
    for path in sorted(root.glob(f"{experiment or '*'}/*.json")):
        if path.name.startswith("."):
            continue
        record = read(path)
        if path.relative_to(root) != record.path:
            raise UserError(f"record {path}: expected it at {record.path}, as its fields say; move or delete it")
        yield record


def same_result(one: Record, other: Record) -> bool:
    """Whether two records tell of the same result: equal but for time, memory, hardware, versions and commit."""
    return _result(one) == _result(other)


def _result(record: Record) -> dict[str, Any]:
    values = config.plain(record)
    values["history"] = [
        {key: value for key, value in epoch.items() if key not in _CIRCUMSTANCES_OF_AN_EPOCH}
        for epoch in values["history"]
    ]
    return {key: value for key, value in values.items() if key not in CIRCUMSTANCES}
