"""The generated part of the status page: what ran, where, how long; which records are there, stale or missing."""

import itertools
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from book import markup, stamps
from book.layout import Layout
from book.stamps import Stamp
from fer_core import experiments, records
from fer_core.records import Record

SEEDS = 3  # runs that a full result rests on, at least


def write(layout: Layout) -> None:
    """Writes ``book/_generated/status.md``, which ``book/status.md`` takes in.

    Args:
        layout: The book, its notebooks executed.
    """
    ran = {each.source: stamps.read(layout.root / each.executed) for each in layout.notebooks}
    parts = [
        "## Notebooks\n",
        _notebooks({source: stamp for source, stamp in ran.items() if stamp}),
        "## Records\n",
        _records(list(records.iterate(layout.root / "book" / "records"))),
    ]
    layout.generated.mkdir(parents=True, exist_ok=True)
    (layout.generated / "status.md").write_text("\n".join(parts), encoding="utf-8")


def _notebooks(ran: dict[str, Stamp]) -> str:
    rows = []
    for source, stamp in ran.items():
        data = ", ".join(f"{name} `{digest}`" for name, digest in stamp.inputs.data.items()) or "none"
        # Spaces that do not break keep the day on one line, and a time with its unit.
        started = f"{datetime.fromisoformat(stamp.started):%d\u00a0%b\u00a0%Y, %H:%M}"
        rows.append([f"`{source}`", stamp.inputs.profile, started, f"{stamp.seconds:.0f}\u00a0s", data])
    total = sum(stamp.seconds for stamp in ran.values())
    machines = sorted({_machine(stamp.hardware) for stamp in ran.values()})
    versions = sorted(
        {", ".join(f"{name} {number}" for name, number in stamp.versions.items()) for stamp in ran.values()}
    )
    lines = [
        markup.table("Executed notebooks", ["Notebook", "Profile", "Ran (UTC)", "Took", "Data"], rows),
        f"All together {total:.0f} s.\n",
        f"Ran on: {'; '.join(machines)}.\n",
        f"Versions: {'; '.join(versions)}.\n",
    ]
    return "\n".join(lines)


def _machine(machine: Mapping[str, Any]) -> str:
    gpu = machine["gpu"]
    memory = f"{machine['memory'] / 2**30:.0f} GiB"
    processor = f"{machine['cpu']}, {machine['threads']} of {machine['cores']} cores, {memory}, {machine['system']}"
    return f"{gpu['name']}; {processor}" if gpu else processor


@dataclass(frozen=True)
class _Result:
    """What there is of an experiment's ``full`` profile."""

    name: str
    current: list[Record]  # of the experiment's own settings
    stale: list[int]  # seeds of those whose settings have changed since
    variants: int  # records of overridden settings, which ablations and further tables show

    @property
    def seeds(self) -> list[int]:
        return sorted({record.seed for record in self.current})

    @property
    def missing(self) -> list[int]:
        """Seeds to run, stale ones with them, until the result is full."""
        taken = {*self.seeds, *self.stale}
        free = itertools.islice((seed for seed in itertools.count() if seed not in taken), max(0, SEEDS - len(taken)))
        return sorted([*self.stale, *free])

    @property
    def state(self) -> str:
        told = [f"partial: seeds {_numbers(self.seeds)}"] if self.seeds else []
        told += [f"stale: seeds {_numbers(self.stale)}"] if self.stale else []
        return ", ".join(told) or "missing"


def _records(found: Iterable[Record]) -> str:
    by_experiment: dict[str, list[Record]] = defaultdict(list)
    for record in found:
        # Other profiles are no evidence for the experiment's numbers.
        if record.profile == "full":
            by_experiment[record.experiment].append(record)
    files = [experiments.load(name) for name in experiments.names()]
    results = [_result(each.name, by_experiment[each.name]) for each in files if "full" in each.profiles]
    gone = set(by_experiment) - set(experiments.names())
    open_ = [[f"`{each.name}`", each.state, _command(each.name, each.missing)] for each in results if each.missing]
    open_ += [
        [f"`{name}`", f"no longer an experiment ({len(by_experiment[name])} records)", "delete them"]
        for name in sorted(gone)
    ]
    licensed: dict[str, list[str]] = defaultdict(list)
    for each in files:
        if "full" not in each.profiles:
            licensed[each.dataset].append(f"`{each.method}`")
    parts = [
        _summary(results, by_experiment),
        markup.table(
            "Results of the full profile",
            ["Experiment", "Seeds", "A run", "Other settings"],
            [_row(each) for each in results if each.current],
        ),
        "### Partial, stale or missing\n",
        markup.table("What would complete the results", ["Experiment", "State", "Command"], open_),
        "### Waiting for data\n",
        "These experiments have the `paper` profile alone: they need a licensed data set and a GPU, and nobody has run"
        " them here. `fer-core run METHOD-DATASET --profile paper --data-root FOLDER` does.\n",
        markup.table(
            "Experiments of licensed data sets",
            ["Data set", "Methods"],
            [[f"`{name}`", ", ".join(methods)] for name, methods in licensed.items()],
        ),
    ]
    return "\n".join(parts)


def _result(name: str, found: Sequence[Record]) -> _Result:
    sides: dict[bool, list[Record]] = {True: [], False: []}
    for record in found:
        sides[experiments.is_stale(record)].append(record)
    return _Result(
        name,
        current=[record for record in sides[False] if record.variant is None],
        stale=sorted(record.seed for record in sides[True] if record.variant is None),
        variants=sum(record.variant is not None for record in sides[False]),
    )


def _summary(results: Sequence[_Result], found: Mapping[str, Sequence[Record]]) -> str:
    made = [record for each in results for record in found[each.name]]
    machines = Counter(_machine(record.hardware) for record in made)
    hours = sum(record.seconds["total"] for record in made) / 3600
    told = "; ".join(f"{machine} ({count})" for machine, count in machines.most_common())
    full = sum(not each.missing for each in results)
    lines = [f"Of {len(results)} experiments that need no licence but FERPlus' own, {full} have full results."]
    if made:
        lines.append(
            f"{len(made)} records, {hours:.0f} hours of computing in all, stand behind them and their ablations."
        )
        lines.append(f"Ran on: {told}.")
    return " ".join(lines) + "\n"


def _row(result: _Result) -> list[str]:
    minutes = statistics.median(record.seconds["total"] for record in result.current) / 60
    took = f"{minutes:.0f}\u00a0min" if minutes >= 1 else f"{60 * minutes:.0f}\u00a0s"
    return [f"`{result.name}`", _numbers(result.seeds), took, f"{result.variants or '–'}"]


def _command(name: str, seeds: Sequence[int]) -> str:
    return f"`fer-core run {name} --profile full --seed {_numbers(seeds)}`"


def _numbers(seeds: Sequence[int]) -> str:
    return ",".join(map(str, seeds))
