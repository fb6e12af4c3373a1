"""Is a folder what a data set's official release holds? Counts, files, frames, duplicates, people.

Lists are read by the data set's own layout, so what passes here is what its loader sees. Nothing in the folder is
changed.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from fer_core import config
from fer_core.data import check_files, layout
from fer_core.data.check_files import Pictures, Progress
from fer_core.data.dataset import SPLITS
from fer_core.data.files import Listing
from fer_core.errors import UserError

SCHEMA = 1  # of the JSON report; raised when a key changes its meaning or goes
#: Files of each split that are decoded where not all are.
SAMPLE = 100
IMBALANCED = 10.0  # most to least samples of a class from which on the report says so

_EXAMPLES = 5
Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """Something that is not as the official release has it.

    Args:
        severity: ``"error"``: it cannot be used so; ``"warning"``: scores would mislead; ``"note"``: good to know.
        kind: What it is, in words that do not change from release to release.
        split: Where; None where it is between splits.
        message: One line.
        count: How many samples it concerns.
        examples: Some of them.
    """

    severity: Severity
    kind: str
    split: str | None
    message: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class SplitReport:
    """One split as it lies there.

    Args:
        samples: Number of samples in the lists.
        counts: Samples of each class.
        imbalance: Most to least samples of a class; None where a class has none.
        people: Number of people; None where the release does not say who is seen.
        decoded: Samples that were decoded.
    """

    samples: int
    counts: dict[str, int]
    imbalance: float | None
    people: int | None
    decoded: int


@dataclass(frozen=True)
class Report:
    """What :func:`check` found.

    Args:
        name: The data set.
        title: As its paper writes it.
        kind: ``"stills"``, ``"clips"`` or ``"subjects"``.
        folder: Where it was found.
        options: The loader's options that were asked for.
        all_files: Whether every file was decoded.
        splits: Those whose lists could be read.
        official: Samples of each split and class in the official release, as far as somebody published them.
        findings: Errors first, notes last.
        sound: Whether there is nothing worse than a note.
        schema: Version of this report's JSON.
    """

    name: str
    title: str
    kind: str
    folder: str
    options: dict[str, Any]
    all_files: bool
    splits: dict[str, SplitReport]
    official: dict[str, dict[str, int]]
    findings: tuple[Finding, ...]
    sound: bool
    schema: int = SCHEMA


@dataclass
class _Findings:
    found: list[Finding] = field(default_factory=list)

    def add(
        self, severity: Severity, kind: str, split: str | None, message: str, concerned: Sequence[str],
        of: int | None = None,
    ) -> None:  # fmt: skip
        """Adds a finding, which begins with "3 of 7" where ``of`` is given. None concerned, nothing found."""
        if concerned:
            count = len(concerned)
            line = message if of is None else f"{count} of {of} {message}"
            self.found.append(Finding(severity, kind, split, line, count, tuple(concerned[:_EXAMPLES])))


def check(
    name: str,
    root: str | os.PathLike[str] | None,
    options: Mapping[str, Any] | None = None,
    *,
    all_files: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> Report:
    """Compares what lies in a folder with a data set's official release.

    Args:
        name: A data set that has a layout.
        root: The data folder; ``FER_DATA_ROOT`` where it is None.
        options: The loader's options, such as the fold.
        all_files: Whether to decode every file, frames included, and not a sample of :data:`SAMPLE` of each split.
        seed: Decides which files are in the sample.
        progress: Whether to show on standard error how far it is.

    Returns:
        The report.

    Raises:
        UserError: For an unknown name or option, or where no split's lists can be read.
    """
    wanted = layout.get(name)
    built = config.build(wanted.options, options, f"data of {name}")
    shown: Progress = check_files.bar if progress else check_files.silent
    findings, listings = _Findings(), {}
    failed: list[UserError] = []
    for split in SPLITS:
        try:
            listings[split] = wanted.listing(split, root, built)
        except UserError as error:
            failed.append(error)
            findings.add("error", "split unreadable", split, str(error), [split])
    if not listings:
        raise failed[0]
    pictures: dict[str, Pictures] = {}
    splits = {}
    for split, listing in listings.items():
        decoded = 0
        try:
            pictures[split] = check_files.pictures(wanted, split, root, built, listing)
            decoded = _files(split, pictures[split], all_files, seed, findings, shown)
        except UserError as error:  # where the loader alone can read them
            findings.add("error", "unreadable files", split, str(error), [split])
        splits[split] = _split(split, listing, decoded, findings)
    _compare(wanted.official, splits, findings)
    _people(listings, findings)
    _duplicates(pictures, listings, findings, shown)
    severities = ("error", "warning", "note")
    found = tuple(sorted(findings.found, key=lambda finding: severities.index(finding.severity)))
    return Report(
        name=name,
        title=wanted.title,
        kind=wanted.kind,
        folder=str(next(iter(listings.values())).folder),
        options=dict(options or {}),
        all_files=all_files,
        splits=splits,
        official={split: dict(counts) for split, counts in wanted.official.items()},
        findings=found,
        sound=all(finding.severity == "note" for finding in found),
    )


def _files(split: str, found: Pictures, all_files: bool, seed: int, findings: _Findings, shown: Progress) -> int:
    """Missing and unreadable files, segments without their frames, and clips of other lengths than the list says.

    Returns:
        How many samples were decoded.
    """
    absent = set(found.missing())
    message = "files of the list are not there; extract the release again"
    names = [found.names[place] for place in sorted(absent)]
    findings.add("error", "missing files", split, message, names, of=len(found.names))
    there = [place for place in range(len(found.names)) if place not in absent]
    counts: dict[int, tuple[int | None, int]] = {}
    lacking: dict[int, str] = {}
    folders = found.countable(there, [])
    for place in shown(folders, f"counting frames of {split}"):
        try:
            counts[place] = found.frame_counts(place)
        except UserError as error:
            lacking[place] = str(error)
    message = "clips lack frames of their segments; extract them again, or mend the list"
    findings.add("error", "missing frames", split, message, list(lacking.values()), of=len(folders))
    present = np.array([place for place in there if place not in lacking], dtype=np.int64)
    chosen = present
    if not all_files and len(present) > SAMPLE:
        chosen = np.sort(np.random.default_rng(seed).choice(present, SAMPLE, replace=False))
    broken: dict[int, str] = {}
    for place in shown(chosen.tolist(), f"decoding {split}"):
        try:
            found.verify(place, every_frame=all_files)
        except UserError as error:
            broken[place] = str(error)
    message = "files cannot be decoded; copy them again"
    findings.add("error", "unreadable files", split, message, list(broken.values()), of=len(chosen))
    whole = [place for place in present.tolist() if place not in broken]
    countable = found.countable(whole, chosen.tolist())
    videos = [place for place in countable if place not in counts]
    counts |= {place: found.frame_counts(place) for place in shown(videos, f"counting frames of {split}")}
    differing = [
        f"{found.names[place]}: list {listed}, really {real}"
        for place in countable
        for listed, real in [counts[place]]
        if listed is not None and listed != real
    ]
    message = "clips have other numbers of frames than the list says; the frames really there are used"
    findings.add("warning", "frame counts differ", split, message, differing, of=len(countable))
    return len(chosen)


def _split(split: str, listing: Listing, decoded: int, findings: _Findings) -> SplitReport:
    found = Counter(entry.label for entry in listing.entries)
    counts = {name: found[name] for name in listing.classes}
    most, least = max(counts.values()), min(counts.values())
    if most:
        without = [name for name, count in counts.items() if not count]
        findings.add("warning", "class missing", split, "classes have no sample", without, of=len(counts))
    elif split != "validation":  # which its option can switch off
        findings.add("error", "split empty", split, "the lists hold no sample", [split])
    if least and most / least >= IMBALANCED:
        rare = min(counts, key=lambda name: counts[name])
        message = f"{most / least:.0f} samples of the most frequent class to one of {rare}; look at UAR beside WAR"
        findings.add("note", "imbalance", split, message, [rare])
    for message, names in listing.left_out.items():
        findings.add("note", "left out", split, message, names, of=len(listing.entries) + len(names))
    subjects = {entry.subject for entry in listing.entries}
    people = None if None in subjects or not subjects else len(subjects)
    return SplitReport(len(listing.entries), counts, most / least if least else None, people, decoded)


def _compare(official: Mapping[str, Mapping[str, int]], splits: Mapping[str, SplitReport], findings: _Findings) -> None:
    for split, expected in official.items():
        parts = official_parts(split, official)
        if not all(part in splits for part in parts):
            continue  # told as unreadable
        here = Counter[str]()
        for part in parts:
            here.update(splits[part].counts)
            here["total"] += splits[part].samples
        differing = [f"{name} {here[name]}, not {count}" for name, count in expected.items() if here[name] != count]
        message = f"other numbers of samples in {' and '.join(parts)} than in the official release"
        findings.add("note", "counts differ", split, message, differing)


def official_parts(split: str, official: Mapping[str, Any]) -> tuple[str, ...]:
    """Our splits that make up an official one: where there is no official validation split, ours is part of train."""
    return ("train", "validation") if split == "train" and "validation" not in official else (split,)


def _people(listings: Mapping[str, Listing], findings: _Findings) -> None:
    seen: dict[str, set[str]] = {
        split: {entry.subject for entry in listing.entries if entry.subject is not None}
        for split, listing in listings.items()
    }
    for split, earlier in _pairs(listings):
        shared = sorted(seen[split] & seen[earlier])
        message = f"people of {split} are in {earlier}, too; scores do not tell of new people"
        findings.add("warning", "people shared", None, message, shared, of=len(seen[split]))


def _duplicates(
    pictures: Mapping[str, Pictures], listings: Mapping[str, Listing], findings: _Findings, shown: Progress
) -> None:
    hashes = check_files.content_hashes(pictures, shown)
    places = {split: _by_hash(split_hashes) for split, split_hashes in hashes.items()}
    for split, earlier in _pairs(pictures):
        twins, conflicts = [], 0
        for content, found in places[split].items():
            others = places[earlier].get(content, [])
            labels = {listings[earlier].entries[other].label for other in others}
            for place in found if others else []:
                twins.append(f"{pictures[split].names[place]} = {pictures[earlier].names[others[0]]}")
                conflicts += listings[split].entries[place].label not in labels
        differ = f", {conflicts} of them under another label" if conflicts else ""
        message = f"samples of {split} are in {earlier}, too{differ}"
        findings.add("warning", "duplicates", None, message, twins, of=len(pictures[split].names))


def _by_hash(hashes: Mapping[int, bytes]) -> dict[bytes, list[int]]:
    found: dict[bytes, list[int]] = {}
    for place, content in hashes.items():
        found.setdefault(content, []).append(place)
    return found


def _pairs(splits: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = list(splits)
    return [(name, earlier) for place, name in enumerate(names) for earlier in names[:place]]
