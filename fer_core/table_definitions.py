"""What the book's tables hold: their columns, and their rows from records and from published numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fer_core.errors import UserError
from fer_core.experiments import measuring
from fer_core.experiments.loading import Experiment
from fer_core.published import Published
from fer_core.records import Record

Score = Literal["war", "uar", "f1", "look-alikes", "index", "parameters", "flops"]

# Scores of a record's `metrics.entanglement`, by ours.
_ENTANGLEMENT = {"look-alikes": "share", "index": "index"}

# What is told of the method and not of how well it does: the same for every seed.
_OF_THE_METHOD = {"parameters": "trainable_parameters", "flops": "flops"}


@dataclass(frozen=True)
class Column:
    """A score on a data set.

    Args:
        key: Short name, for JSON and CSV.
        title: What heads the column.
        dataset: Name of the data set.
        score: ``war``, ``uar`` or ``f1`` in percent; ``look-alikes``, the percentage of the errors that falls on a
            look-alike; ``index``, the entanglement index of the logits; ``parameters`` that are trained, and ``flops``
            of one sample, in millions.
        part: ``all`` of the test split, ``deduplicated``, ``test chosen`` (what choosing the epoch by its test score
            would have given), or ``by subject``: the mean over people.
        overrides: Settings of the column, by dotted key, such as a number of shots.
    """

    key: str
    title: str
    dataset: str
    score: Score
    part: Literal["all", "deduplicated", "test chosen", "by subject"] = "all"
    overrides: tuple[tuple[str, Any], ...] = ()

    @property
    def varies(self) -> bool:
        """Whether seeds may differ in it."""
        return self.score not in _OF_THE_METHOD

    def text(self, value: float) -> str:
        """A value as the column prints it."""
        if self.score == "parameters":
            return f"{value:,.0f}"
        return f"{value:.3f}" if self.score == "index" else f"{value:.2f}"

    def of(self, record: Record) -> float | None:
        """The score; None where the record has no such part.

        Raises:
            UserError: If the record was measured on another data set.
        """
        if record.dataset != self.dataset:
            raise UserError(
                f"record {record.path}: expected one measured on {self.dataset}, got {record.dataset}; delete it"
            )
        if self.score in _OF_THE_METHOD:
            value = getattr(record, _OF_THE_METHOD[self.score])
            return value / 1e6 if self.score == "flops" else value
        if self.score in _ENTANGLEMENT:
            value = record.metrics.get("entanglement", {}).get(_ENTANGLEMENT[self.score])
            return 100 * value if value is not None and self.score == "look-alikes" else value
        scores = record.metrics
        if self.part == "test chosen":
            scores = record.selection["test_chosen"]
        elif self.part != "all":
            scores = record.metrics.get(self.part.replace(" ", "_"))
        return None if scores is None else 100 * scores[self.score]


@dataclass(frozen=True)
class Ours:
    """A row to be filled from records of ``<method>-<dataset of the column>``.

    Args:
        method: Name of the method.
        profile: The profile whose records count.
        title: What the row is called; the method's name by default.
        overrides: Settings of the row, by dotted key: only records of runs with just these count.
    """

    method: str
    profile: str = "full"
    title: str = ""
    overrides: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Theirs:
    """Rows to be filled from published numbers.

    Args:
        paper: As in the published files.
        table: As in the published files.
        methods: Only these; empty for all.
    """

    paper: str
    table: str
    methods: tuple[str, ...] = ()

    def fits(self, number: Published) -> bool:
        """Whether a published number belongs to these rows."""
        wanted = not self.methods or number.method in self.methods
        return (number.paper, number.table) == (self.paper, self.table) and wanted


@dataclass(frozen=True)
class Definition:
    """What a table shows.

    Args:
        name: The table's name.
        caption: One or two sentences.
        columns: Its scores.
        rows: Its rows, from top to bottom.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Ours | Theirs, ...]


def of_ablation(experiment: Experiment, name: str) -> Definition:
    """The table of one of an experiment's ablations."""
    ablation, dataset = experiment.ablations[name], experiment.dataset
    if measuring.is_by_subject(dataset):  # two classes, of which none is another's look-alike
        scores: tuple[tuple[str, Score], ...] = (("WAR", "war"), ("F1", "f1"), ("UAR", "uar"))
        columns = [Column(score, title, dataset, score, "by subject") for title, score in scores]
    else:
        columns = [Column("war", "WAR", dataset, "war"), Column("uar", "UAR", dataset, "uar")]
        columns.append(Column("look_alikes", "errors on look-alikes", dataset, "look-alikes"))
        columns.append(Column("index", "entanglement index", dataset, "index"))
    columns.append(Column("parameters", "trained parameters", dataset, "parameters"))
    rows = []
    for title, row in ablation.rows.items():
        other = row if isinstance(row, str) else None
        method = other.removesuffix(f"-{dataset}") if other else experiment.method
        rows.append(Ours(method, ablation.profile, title, tuple(ablation.settings(title).items())))
    return Definition(f"{experiment.name}:{name}", ablation.caption, tuple(columns), tuple(rows))


_BASELINES = ("zero-shot", "linear-probe", "coop", "full-fine-tuning")

_STILLS = (
    "zero-shot", "linear-probe", "coop", "cocoop", "maple", "promptsrc", "clip-adapter", "tip-adapter", "lora",
    "full-fine-tuning", "les-clip", "mpa-fer",
)  # fmt: skip

_FACS_PEOPLE = (("facs-pain", "pain"), ("facs-stress", "stress"), ("facs-ambivalence", "ambivalence"))
_LEFT_OUT = ("majority", "linear-probe", "clip-au", "clip-autt")  # zero-shot trains on nobody
_SOURCES = ("majority", "zero-shot", "linear-probe", "full-fine-tuning", "clip-au")
_PERSONAL = ("tent", "tpt", "tda", "prompt-align", "clip-autt")


_CLIPS = (
    "zero-shot", "linear-probe", "coop", "full-fine-tuning", "dfer-clip", "emo-clip", "aim", "st-adapter",
    "fine-cliper",
)  # fmt: skip
_SHOTS = (1, 2, 4, 8, 16)
_FEW_SHOT = (
    "zero-shot", "linear-probe", "coop", "maple", "promptsrc", "clip-adapter", "tip-adapter", "les-clip", "mpa-fer",
)  # fmt: skip
_WILD_CLIPS = (("dfew", "DFEW"), ("ferv39k", "FERV39k"), ("mafw", "MAFW"))


def _trained_on(dataset: str, **options: Any) -> tuple[tuple[str, Any], ...]:
    """Settings of a column whose methods train on another data set."""
    return (("train_on.dataset", dataset), *((f"train_on.{name}", value) for name, value in options.items()))


_FROM_MAFW = _trained_on("mafw", fold=1, frames=16, size=224)
_FROM_DFEW = _trained_on("dfew", fold=1, frames=16, size=224)


def _uar_war(
    sets: tuple[tuple[str, str], ...], overrides: Mapping[str, tuple[tuple[str, Any], ...]] | None = None
) -> tuple[Column, ...]:
    """UAR and WAR of some data sets, with settings of their own."""
    scores: tuple[tuple[str, Score], ...] = (("UAR", "uar"), ("WAR", "war"))
    return tuple(
        Column(f"{score}_{name}", f"{title} {heading}", name, score, overrides=(overrides or {}).get(name, ()))
        for name, title in sets
        for heading, score in scores
    )


def _few(dataset: str) -> tuple[Column, ...]:
    """WAR with so many training samples of each class; passes enough for the fewest."""
    longer = (("training.epochs", 50), ("training.batch_size", 32), ("training.evaluate_every", 50))
    return tuple(
        Column(f"war_{shots}", f"{shots} a class", dataset, "war", overrides=(("data.shots", shots), *longer))
        for shots in _SHOTS
    )


def _by_people(sets: tuple[tuple[str, str], ...], overrides: tuple[tuple[str, Any], ...] = ()) -> tuple[Column, ...]:
    """WAR and F1 of some data sets, as means over people, with settings of their own."""
    scores: tuple[tuple[str, Score], ...] = (("WAR", "war"), ("F1", "f1"))
    return tuple(
        Column(f"{score}_{name}", f"{title} {heading}", name, score, "by subject", overrides)
        for name, title in sets
        for heading, score in scores
    )


DEFINITIONS = (
    Definition(
        "baselines-facs-still-8",
        "Baselines of the embedded CLIP on rendered faces, eight expressions (facs-still-8, test split), in percent.",
        (
            Column("war", "WAR", "facs-still-8", "war"),
            Column("uar", "UAR", "facs-still-8", "uar"),
            Column("war_test_chosen", "WAR if chosen on test", "facs-still-8", "war", "test chosen"),
        ),
        tuple(Ours(method) for method in _BASELINES),
    ),
    Definition(
        "baselines-ferplus",
        "Baselines on FERPlus (eight classes, majority of the votes, official test split), in percent; de-duplicated: "
        "without test images that are also in the training split.",
        (
            Column("war", "WAR", "ferplus", "war"),
            Column("uar", "UAR", "ferplus", "uar"),
            Column("war_deduplicated", "WAR, de-duplicated", "ferplus", "war", "deduplicated"),
            Column("uar_deduplicated", "UAR, de-duplicated", "ferplus", "uar", "deduplicated"),
            Column("war_test_chosen", "WAR if chosen on test", "ferplus", "war", "test chosen"),
        ),
        (
            *(Ours(method) for method in _BASELINES),
            *(Ours(method, "paper") for method in _BASELINES),
            Theirs("Exp-CLIP", "zero-shot FER"),
            Theirs("MPA-FER", "main comparison", ("MPA-FER", "CLIPER", "CEPrompt")),
            Theirs("other", "static FER comparison methods"),
        ),
    ),
    Definition(
        "stills-facs-still-8",
        "All methods for stills under one engine, on rendered faces (facs-still-8, test split): one CLIP, one training "
        "split, one rule of selection. Percent, but for the entanglement "
        "index and the trained parameters.",
        (
            Column("war", "WAR", "facs-still-8", "war"),
            Column("uar", "UAR", "facs-still-8", "uar"),
            Column("look_alikes", "errors on look-alikes", "facs-still-8", "look-alikes"),
            Column("index", "entanglement index", "facs-still-8", "index"),
            Column("parameters", "trained parameters", "facs-still-8", "parameters"),
        ),
        tuple(Ours(method) for method in _STILLS),
    ),
    Definition(
        "stills-ferplus",
        "All methods for stills under one engine and on one CLIP, the embedded one, on FERPlus (eight classes, "
        "official test split), in percent.",
        (
            Column("war", "WAR", "ferplus", "war"),
            Column("uar", "UAR", "ferplus", "uar"),
            Column("war_deduplicated", "WAR, de-duplicated", "ferplus", "war", "deduplicated"),
            Column("look_alikes", "errors on look-alikes", "ferplus", "look-alikes"),
        ),
        tuple(Ours(method) for method in _STILLS),
    ),
    Definition(
        "les-clip-main",
        "LES-CLIP: the published number, others on the same data, and what this code reproduces with the paper's "
        "profile. WAR in percent.",
        tuple(
            Column(f"war_{dataset}", title, dataset, "war")
            for title, dataset in (
                ("AffectNet-8", "affectnet-8"), ("AffectNet-7", "affectnet-7"), ("RAF-DB", "raf-db"),
                ("FERPlus", "ferplus"),
            )
        ),
        (
            Ours("les-clip", "paper"),
            Theirs("LES-CLIP", "headline"),
            Theirs("MPA-FER", "main comparison"),
            Theirs("other", "static FER comparison methods"),
        ),
    ),
    Definition(
        "mpa-fer-main",
        "MPA-FER: published numbers, as far as secondary sources agree on them, others on the same data, and what this "
        "code reproduces with the paper's profile. WAR in percent.",
        tuple(
            Column(f"war_{dataset}", title, dataset, "war")
            for title, dataset in (
                ("RAF-DB", "raf-db"), ("FERPlus", "ferplus"), ("AffectNet-7", "affectnet-7"),
                ("AffectNet-8", "affectnet-8"),
            )
        ),
        (
            Ours("mpa-fer", "paper"),
            Theirs("MPA-FER", "main comparison"),
            Theirs("other", "static FER comparison methods"),
        ),
    ),
    Definition(
        "few-shot-facs-still-8",
        "WAR in percent on rendered faces after training on so many of each class, others for each seed.",
        _few("facs-still-8"),
        tuple(Ours(method) for method in _FEW_SHOT),
    ),
    Definition(
        "few-shot-ferplus",
        "WAR in percent on FERPlus after training on so many of each class, others for each seed.",
        _few("ferplus"),
        tuple(Ours(method) for method in _FEW_SHOT),
    ),
    Definition(
        "across-facs-ferplus",
        "Trained on one set of faces and tested on the other; UAR and WAR in percent.",
        _uar_war(
            (("ferplus", "FACS to FERPlus"), ("facs-still-8", "FERPlus to FACS")),
            {"ferplus": _trained_on("facs-still-8"), "facs-still-8": _trained_on("ferplus")},
        ),
        tuple(Ours(method) for method in _STILLS),
    ),
    Definition(
        "clips-facs",
        "Methods for clips on rendered clips of 4 frames: UAR and WAR in percent, and the shares of errors that fall "
        "on look-alikes.",
        (
            *_uar_war((("facs-clip-7", "7 classes"), ("facs-clip-11", "11 classes"))),
            Column("look_alikes", "errors on look-alikes (7)", "facs-clip-7", "look-alikes"),
            Column("parameters", "trained parameters (7)", "facs-clip-7", "parameters"),
            Column("flops", "million operations a clip (7)", "facs-clip-7", "flops"),
        ),
        tuple(Ours(method) for method in _CLIPS),
    ),
    Definition(
        "clips-facs-across",
        "Trained on the rendered clips of one set and tested on the other, whose clips and labels are never seen: 4 of "
        "the 11 classes are none of the 7. UAR and WAR in percent.",
        _uar_war(
            (("facs-clip-11", "7 to 11 classes"), ("facs-clip-7", "11 to 7 classes")),
            {
                "facs-clip-11": _trained_on("facs-clip-7", frames=4),
                "facs-clip-7": _trained_on("facs-clip-11", frames=4),
            },
        ),
        (
            Ours("zero-shot"),
            Ours("coop"),
            Ours("emo-clip", title="emo-clip"),
            Ours("emo-clip", title="emo-clip, class words masked", overrides=(("model.masked", True),)),
            Ours("fine-cliper"),
            *(
                Ours("fine-cliper", title=f"fine-cliper, taught by descriptions{also}", overrides=overrides)
                for also, overrides in (
                    (", class words masked", (("model.description_weight", 0.5),)),
                    ("", (("model.description_weight", 0.5), ("model.masked", False))),
                )
            ),
        ),
    ),
    Definition(
        "few-shot-facs-clip-7",
        "WAR in percent on rendered clips after training on so many of each class, others for each seed.",
        _few("facs-clip-7"),
        tuple(Ours(method) for method in ("zero-shot", "linear-probe", "coop", "aim", "dfer-clip", "fine-cliper")),
    ),
    Definition(
        "fine-cliper-main",
        "FineCLIPER: published numbers, others on the same data as far as we hold them (a method that two sources "
        "print stands once for each), and what this code reproduces with the paper's profile. DFEW and MAFW: means "
        "over five folds. UAR and WAR in percent.",
        _uar_war(_WILD_CLIPS),
        (
            *(Ours(method, "paper") for method in _CLIPS if method != "coop"),
            Theirs("FineCLIPER", "main comparison"),
            Theirs("DFER-CLIP", "main comparison"),
            Theirs("other", "later DFER methods"),
            Theirs("MAE-DFER", "per-class results"),
            Theirs("other", "DFER results per fold"),
            Theirs("SurveyFER", "DFER methods"),
        ),
    ),
    Definition(
        "fine-cliper-zero-shot",
        "Recognition without a label of the data set: published numbers, and what this code reproduces after training "
        "on another set (MAFW for DFEW and FERV39k, DFEW for MAFW). UAR and WAR in percent.",
        _uar_war(_WILD_CLIPS, {"dfew": _FROM_MAFW, "ferv39k": _FROM_MAFW, "mafw": _FROM_DFEW}),
        (
            *(Ours(method, "paper") for method in ("zero-shot", "emo-clip", "fine-cliper")),
            Theirs("Exp-CLIP", "zero-shot FER"),
        ),
    ),
    Definition(
        "personalisation-facs",
        "Source methods, and test-time methods around CLIP-AU, on rendered clips: means over 12 target subjects, who "
        "share nobody with the 40 source subjects, in percent. A majority that says one class always stands first.",
        _by_people(_FACS_PEOPLE),
        tuple(Ours(method) for method in (*_SOURCES, *_PERSONAL)),
    ),
    Definition(
        "personalisation-facs-left-out",
        "The same, each of the 12 people being left out in turn while everybody else trains: means over people, in "
        "percent.",
        _by_people(_FACS_PEOPLE, (("protocol", "leave-one-out"),)),
        tuple(Ours(method) for method in _LEFT_OUT),
    ),
    Definition(
        "clip-autt-main",
        "CLIP-AUTT's Table 1: published numbers (means over 10 target subjects), and what this code reproduces with "
        "the paper's profile, in percent.",
        _by_people((("biovid", "BioVid"), ("stressid", "StressID"), ("bah", "BAH"))),
        (*(Ours(method, "paper") for method in (*_SOURCES, *_PERSONAL)), Theirs("CLIP-AUTT", "Table 1")),
    ),
)  # fmt: skip
