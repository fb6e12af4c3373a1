"""Columns that several tables have, and the settings that such columns ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fer_core.table_definitions import Column, Score

Overrides = tuple[tuple[str, Any], ...]

UAR_WAR: tuple[Score, ...] = ("uar", "war")
_SHOTS = (1, 2, 4, 8, 16)
# Whose labels are wrong ones, how a table says it, and how large a share of them.
_NOISE = (("look-alike", "look-alike", (0.2, 0.4, 0.6)), ("any", "any class", (0.4,)))

#: As many faces as the ablations train on; as short a training needs one evaluation, and no half precision.
SOME: Overrides = (("train_on.limit.train", 2000), ("training.evaluate_every", 5), ("training.precision", "fp32"))

#: As many clips as FineCLIPER's ablations train on, for the same reason.
SOME_CLIPS: Overrides = (("train_on.limit.train", 840), ("training.evaluate_every", 4))

#: What the rows of MPA-FER's ablations have in common, and columns of wrong labels.
QUARTER: Overrides = (("data.limit.train", 2000), *SOME[1:])


def trained_on(dataset: str, **options: Any) -> Overrides:
    """Settings of a column whose methods train on another data set."""
    return (("train_on.dataset", dataset), *((f"train_on.{name}", value) for name, value in options.items()))


def scores(
    titles: Mapping[str, str], each: tuple[Score, ...], overrides: Mapping[str, Overrides] | None = None
) -> tuple[Column, ...]:
    """Scores of each of some data sets, by its name and title, with settings of its own."""
    return tuple(
        Column(f"{score}_{name}", f"{title} {score.upper()}", name, score, overrides=(overrides or {}).get(name, ()))
        for name, title in titles.items()
        for score in each
    )


def still(dataset: str) -> tuple[Column, Column]:
    """WAR and UAR of one data set."""
    return Column("war", "WAR", dataset, "war"), Column("uar", "UAR", dataset, "uar")


def wild_stills(*datasets: str) -> tuple[Column, ...]:
    """WAR of data sets of photographs, in this order."""
    titles = {"raf-db": "RAF-DB", "ferplus": "FERPlus", "affectnet-7": "AffectNet-7", "affectnet-8": "AffectNet-8"}
    return tuple(Column(f"war_{name}", titles[name], name, "war") for name in datasets)


def by_class(dataset: str, classes: Sequence[str]) -> tuple[Column, ...]:
    """The recall of each class, UAR and WAR of one data set."""
    recalls = (Column(f"recall_{label}", label, dataset, "recall", label=label) for label in classes)
    return (*recalls, Column("uar", "UAR", dataset, "uar"), Column("war", "WAR", dataset, "war"))


def by_fold(dataset: str) -> tuple[Column, ...]:
    """UAR and WAR of each of five folds of one data set, and the means."""
    each = tuple(
        Column(f"{score}_{fold}", f"fold {fold} {score.upper()}", dataset, score, fold=fold)
        for fold in range(1, 6)
        for score in UAR_WAR
    )
    return (*each, *(Column(score, f"mean {score.upper()}", dataset, score) for score in UAR_WAR))


def few(dataset: str, score: Score = "war", batch_size: int | None = 32) -> tuple[Column, ...]:
    """A score with so many training samples of each class; passes enough for the fewest. None: own batches."""
    batches = () if batch_size is None else (("training.batch_size", batch_size),)
    longer: Overrides = (("training.epochs", 50), ("training.evaluate_every", 50), *batches)
    return tuple(
        Column(f"{score}_{shots}", f"{shots} a class", dataset, score, overrides=(("data.shots", shots), *longer))
        for shots in _SHOTS
    )


def noisy(dataset: str) -> tuple[Column, ...]:
    """WAR after training on right labels, and on labels of which such shares are wrong."""
    wrong = [(to, words, share) for to, words, shares in _NOISE for share in shares]
    return (
        Column("war", "right labels", dataset, "war", overrides=QUARTER),
        *(
            Column(
                f"war_{to}_{share}", f"{share:.0%} {words}", dataset, "war",
                overrides=(("data.label_noise.share", share), ("data.label_noise.to", to), *QUARTER),
            )
            for to, words, share in wrong
        ),
    )  # fmt: skip


def by_people(titles: Mapping[str, str], overrides: Overrides = ()) -> tuple[Column, ...]:
    """WAR and F1 of some data sets, as means over people."""
    columns = scores(titles, ("war", "f1"), dict.fromkeys(titles, overrides))
    return tuple(replace(column, part="by subject") for column in columns)
