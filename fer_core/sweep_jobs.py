"""Which runs a sweep makes: a grid of experiments, seeds, folds and settings, or what fills tables."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from fer_core import experiments, tables
from fer_core.errors import UserError, unknown


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Args:
        experiment: Name of the experiment.
        profile: One of its profiles.
        seed: The run's seed.
        overrides: Settings by dotted key, the fold among them.
    """

    experiment: str
    profile: str
    seed: int
    overrides: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        settings = "".join(f" {key}={value}" for key, value in self.overrides.items())
        return f"{self.experiment} {self.profile} seed {self.seed}{settings}"


def grid(
    patterns: Sequence[str],
    profile: str,
    seeds: Sequence[int],
    folds: Sequence[int] = (),
    settings: Mapping[str, Sequence[Any]] | None = None,
    common: Mapping[str, Any] | None = None,
    ablations: Sequence[str] = (),
    shown_in: Sequence[str] = (),
) -> list[Job]:
    """Every combination, as jobs; wrong names and settings are told before the first of them runs.

    Args:
        patterns: Names of experiments, where ``*`` stands for anything: ``coop-*``. None are needed with ``shown_in``,
            where they choose among its runs.
        profile: A profile; experiments that a pattern found and that have no such profile are left out.
        seeds: Seeds.
        folds: Folds, for data sets that have some; empty for the experiment's own.
        settings: Values to try, by dotted key.
        common: Settings of all jobs, by dotted key.
        ablations: Names of the experiments' ablations, or ``all`` that show this profile: their rows are run, each
            kind of run once.
        shown_in: Names of tables, where ``*`` stands for anything: what fills their rows is run, each kind of run once.

    Raises:
        UserError: If a name, profile or setting is not known, a pattern finds nothing, an ablation shows another
            profile, or a row has another value for what is set for all.
    """
    if ablations and shown_in:
        raise UserError("expected ablations or tables, got both; an ablation is the table EXPERIMENT:ABLATION, too")
    if not patterns and not shown_in:
        raise UserError("expected experiments or tables to run, got neither; name one")
    varied = dict(settings or {})
    if folds:
        varied["data.fold"] = list(folds)
    rows = _filling(shown_in, patterns, profile) if shown_in else _rows(_names(patterns, profile), ablations, profile)
    jobs = []
    for name, own in rows:
        _no_clash(own, {key: [value] for key, value in (common or {}).items()} | varied)
        for values in itertools.product(*varied.values()):
            overrides = {**(common or {}), **own, **dict(zip(varied, values, strict=True))}
            experiments.resolve(experiments.load(name).settings(profile, overrides))
            jobs += [Job(name, profile, seed, overrides) for seed in seeds]
    return jobs


def _no_clash(own: Mapping[str, Any], asked: Mapping[str, Sequence[Any]]) -> None:
    """Refuses another value for what a row sets itself: a run is either the row's, or as it was asked for."""
    for key, values in asked.items():
        if key in own and list(values) != [own[key]]:
            raise UserError(
                f"{key}: expected {own[key]!r} or nothing, since a row of the table sets it, got {list(values)!r}; "
                "leave it out, or run the experiment itself with it"
            )


def _filling(shown_in: Sequence[str], patterns: Sequence[str], profile: str) -> list[tuple[str, dict[str, Any]]]:
    """Experiments with the settings that fill tables."""
    found: list[tuple[str, dict[str, Any]]] = []
    for pattern in shown_in:
        named = [name for name in tables.names() if name == pattern or fnmatchcase(name, pattern)]
        if not named:
            raise unknown("table", pattern, tables.names())
        for name in named:
            found += [each for each in tables.runs(name, profile) if each not in found]
    wanted = _names(patterns, profile)
    chosen = found if not patterns else [each for each in found if each[0] in wanted]
    if not chosen:
        raise UserError(
            f"expected rows of the profile {profile} in {', '.join(shown_in)}, got none of these experiments; choose "
            "full or paper, and experiments that the table shows"
        )
    return chosen


def _rows(names: Sequence[str], ablations: Sequence[str], profile: str) -> list[tuple[str, dict[str, Any]]]:
    """Experiments with the settings of their ablations' rows; just the experiments where no ablation is asked for."""
    if not ablations:
        return [(name, {}) for name in names]
    found: list[tuple[str, dict[str, Any]]] = []
    for name in names:
        known = experiments.load(name).ablations
        wrong = next((each for each in ablations if each not in known and each != "all"), None)
        if wrong is not None:
            raise unknown(f"ablation of {name}", wrong, [*known, "all"])
        for ablation in known if "all" in ablations else ablations:
            shown = known[ablation].profile
            if shown != profile:
                if ablation not in ablations:
                    continue
                raise UserError(
                    f"expected --profile {shown}, which the table {name}:{ablation} shows, got {profile}; name that one"
                )
            for title, row in known[ablation].rows.items():
                job = (row if isinstance(row, str) else name, known[ablation].settings(title))
                if job not in found:
                    found.append(job)
    if not found:
        raise UserError(f"expected ablations of the profile {profile} of {', '.join(names)}, got none; choose another")
    return found


def _names(patterns: Sequence[str], profile: str) -> list[str]:
    found: dict[str, None] = {}
    for pattern in patterns:
        if not any(letter in pattern for letter in "*?["):
            experiments.load(pattern)
            found[pattern] = None
            continue
        matching = [name for name in experiments.names() if fnmatchcase(name, pattern)]
        if not matching:
            raise unknown("experiment", pattern, experiments.names())
        having = [name for name in matching if profile in experiments.load(name).profiles]
        if not having:
            raise UserError(f"expected an experiment {pattern} with a profile {profile}, got none; choose another")
        found.update(dict.fromkeys(having))
    return list(found)
