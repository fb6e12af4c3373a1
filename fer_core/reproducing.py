"""Runs that records tell of, done again, and how far what comes out has drifted."""

import fnmatch
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_core import experiments, records
from fer_core.errors import Stopped, UserError
from fer_core.experiments import running
from fer_core.records import Record

#: Percentage points of WAR or UAR that a rerun may be off. On the machine of a record it is off by nothing; elsewhere
#: sums are rounded in another order, and a training goes another way.
TOLERANCE = 1.5
_SCORES = ("war", "uar")


@dataclass(frozen=True)
class Drift:
    """A record, and what came of its run done again.

    Args:
        record: Of the first run.
        again: Of the second; None where it could not be done, or was done on other data or weights.
        why: What it would have needed; empty where it was done.
    """

    record: Record
    again: Record | None = None
    why: str = ""

    def points(self, name: str) -> float:
        """By how many percentage points a score, ``war`` or ``uar``, has gone up."""
        assert self.again is not None
        return 100 * (self.again.metrics[name] - self.record.metrics[name])

    @property
    def agreement(self) -> float | None:
        """Share of the samples of which the same was said; None where the first record does not say it."""
        if self.again is None or self.record.predictions is None:
            return None
        return float(np.mean(self.record.predicted.classes == self.again.predicted.classes))

    @property
    def same(self) -> bool | None:
        """Whether scores, predictions and course are equal to the last digit; settings that came since do not count.

        A record of what another run has trained knows no course.
        """
        if self.again is None:
            return None
        unknown = ("trained_by", "history", "selection") if self.record.trained_by else ()
        today = {name: getattr(self.again, name) for name in ("config", "config_digest", *unknown)}
        return records.same_result(replace(self.record, **today), self.again)

    @property
    def worst(self) -> str:
        """The score, ``war`` or ``uar``, that is off by more points; ``war`` where both are off alike."""
        return max(_SCORES, key=lambda name: abs(self.points(name)))

    def beyond(self, tolerance: float) -> bool:
        """Whether a score is off by more than so many percentage points."""
        return self.again is not None and abs(self.points(self.worst)) > tolerance

    def row(self) -> dict[str, Any]:
        """For tables: scores in percent, and what keeps it from being done.

        Returns:
            ``record``; ``war``, ``again`` and ``drift`` of WAR; ``uar``, ``again_uar`` and ``drift_uar``;
            ``agreement``, ``same``, ``seconds`` and ``why``.
        """
        done = self.again
        scores = {}
        for name, again, drift in (("war", "again", "drift"), ("uar", "again_uar", "drift_uar")):
            scores[name] = round(100 * self.record.metrics[name], 2)
            scores[again] = None if done is None else round(100 * done.metrics[name], 2)
            scores[drift] = None if done is None else round(self.points(name), 2)
        return {
            "record": self.record.path.with_suffix("").as_posix(),
            **scores,
            "agreement": None if self.agreement is None else round(100 * self.agreement, 2),
            "same": self.same,
            "seconds": None if done is None else done.seconds["total"],
            "why": self.why,
        }


def choose(
    patterns: Sequence[str] = (),
    *,
    folder: Path | str | None = None,
    sample: int | None = None,
    most_seconds: float | None = None,
) -> list[Record]:
    """Records to be done again, the quickest first.

    Args:
        patterns: Names of experiments, ``*`` for anything; all by default.
        folder: Of records; ``book/records`` by default.
        sample: How many at most, spread evenly over all; None for each.
        most_seconds: Leaves out runs that took longer.

    Raises:
        UserError: If none is left, or a record is broken.
    """
    if sample is not None and sample < 1:
        raise UserError(f"sample: expected at least 1, got {sample}; leave it out for all records")
    found = [
        record
        for record in records.iterate(folder)
        if any(fnmatch.fnmatchcase(record.experiment, pattern) for pattern in patterns or ["*"])
        and (most_seconds is None or record.seconds["total"] <= most_seconds)
    ]
    if not found:
        wanted = f"of {', '.join(patterns) or 'any experiment'}"
        limit = "" if most_seconds is None else f" that took at most {most_seconds:g} seconds"
        raise UserError(f"expected a record {wanted}{limit}, found none; `fer-core experiments` lists names")
    if sample is not None and sample < len(found):
        found = [found[place] for place in np.linspace(0, len(found) - 1, sample).round().astype(int)]
    return sorted(found, key=lambda record: record.seconds["total"])


def again(
    chosen: Sequence[Record], *, device: str = "auto", data_root: str | Path | None = None, progress: bool = True
) -> Iterator[Drift]:
    """Does runs again, one by one; nothing is kept of them.

    Args:
        chosen: As :func:`choose` gives them.
        device: As of :func:`fer_core.experiments.run`.
        data_root: Likewise.
        progress: Likewise.

    Raises:
        Stopped: If SIGTERM, SIGUSR1 or SIGUSR2 came.
    """
    for record in chosen:
        if running.is_stale(record):
            yield Drift(record, why="settings have changed since: run it with --force")
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                made = experiments.run(
                    record.experiment,
                    record.profile,
                    record.seed,
                    device=device,
                    data_root=data_root,
                    overrides=record.overrides,
                    progress=progress,
                    records_dir=folder,
                    checkpoints_dir=folder,  # those of a run that was interrupted are not this one's to take or delete
                )
            except Stopped as stopped:  # its message says that the run goes on, from what is thrown away here
                raise Stopped(f"stopped by {stopped.by}; nothing is kept of runs done again", stopped.by) from stopped
            except UserError as error:
                files = _files(record)
                yield Drift(record, why=f"needs files of whoever ran it, {files}: {error}" if files else str(error))
                continue
        why = _other(record, made)
        yield Drift(record, why=why) if why else Drift(record, made)


def _files(record: Record) -> str:
    """Settings of a record that name files of the one who ran it, whose folder a record does not say."""
    found = []
    for part in ("data", "train_on"):
        options = record.config.get(part) or {}
        found += [f"{part}.{key}={options[key]}" for key in ("descriptions", "lists_root") if options.get(key)]
        if (options.get("annotations") or {}).get("name") == "files":
            found.append(f"{part}.annotations.folder")
    return ", ".join(found)


def _other(record: Record, made: Record) -> str:
    """What a rerun was given in place of the record's data or weights; empty where they are the same."""
    if made.fingerprint != record.fingerprint:
        return (
            f"other data lies here: expected the fingerprint {record.fingerprint}, got {made.fingerprint}; name the "
            "record's own data with --data-root"
        )
    if made.weights != record.weights:
        return f"other weights lie here: expected {record.weights} of {record.backbone}, got {made.weights}; get those"
    return ""
