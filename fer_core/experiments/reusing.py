"""What another run has trained and kept, tested in place of training the same again.

One training may be tested on several data sets, or on all folds of one: a run whose ``train_on`` says what the other
run was trained on, with the same settings and seed, would come to the same weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_core import clip, models
from fer_core.errors import UserError
from fer_core.experiments import opening, trained
from fer_core.experiments.loading import Settings, flat, load, names
from fer_core.faces import sets


def trained_by(
    given: Path | str,
    settings: Settings,
    resolved: Mapping[str, Any],
    profile: str,
    seed: int,
    *,
    tower: clip.Clip,
    data_root: Path | str | None = None,
    folder: Path | str | None = None,
) -> tuple[models.Method, str]:
    """The method that a run asks for, as another run has trained it.

    Args:
        given: The kept file; or an experiment, whose run with this profile and seed (and the fold that is trained on)
            has been kept.
        settings: Of the run; where its files lie is taken from them, as a kept file has no paths.
        resolved: The same, as ``Record.config`` has them.
        profile: Of the run.
        seed: Of the run.
        tower: Its CLIP.
        data_root: The folder of licensed data.
        folder: Where kept methods lie; ``book/models`` by default.

    Returns:
        The method, in evaluation mode, and which run trained it, as ``Record.trained_by`` has it.

    Raises:
        UserError: If the file is missing, damaged or rounded, or this run would train something else: by its settings,
            its seed, its CLIP or its data.
    """
    path = Path(given)
    if path.suffix != ".safetensors":
        if path.name not in names():
            raise UserError(
                f"trained_by: expected a .safetensors file of a run, or an experiment, got {str(given)!r}; "
                "`fer-core experiments` lists them"
            )
        path = trained.kept(path.name, profile, seed, fold=_seen(resolved).get("fold"), folder=folder)
    told = trained.read(path)
    if told["half"]:
        raise UserError(
            f"{path}: expected whole weights, got some rounded to half precision, which would not say quite the same; "
            "keep them with --keep-model"
        )
    wanted, found = ({**_causes(each), "seed": own} for each, own in ((resolved, seed), (told["config"], told["seed"])))
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            raise UserError(
                f"{path}: expected {key} {wanted.get(key)!r}, as this run would train, got {found.get(key)!r}; set it "
                "alike, or leave --trained-by out"
            )
    before = load(told["experiment"]).settings(told["profile"], told["overrides"])
    if opening.splits(_placed(before, settings), data_root, told["seed"])[1] != told["fingerprint"]:
        raise UserError(
            f"{path}: expected what {told['experiment']} was trained on, got other data in its place today; train it "
            "again with --keep-model, or leave --trained-by out"
        )
    commit = told["commit"] or "no commit"
    return trained.open_file(path, tower.device, tower), f"{trained.record_of(told).as_posix()} at {commit}"


def _placed(before: Settings, now: Settings) -> Settings:
    """The settings of a kept run, files being where this run has them: a record cuts paths, or leaves them out."""
    train_on, ours = (
        {key: value for key, value in each.train_on.items() if key != "dataset"} for each in (before, now)
    )
    mine = [(opening.trained_on(now), ours), (now.dataset, now.data)]
    if train_on:
        train_on = {"dataset": opening.trained_on(before), **_laid(opening.trained_on(before), train_on, mine)}
    return replace(before, data=_laid(before.dataset, before.data, mine), train_on=train_on)


def _laid(name: str, theirs: Mapping[str, Any], mine: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Options of a data set, those of this run over them where both say the same of one data set."""
    said, laid = opening.options(name, theirs), dict(theirs)
    for given in (given for dataset, given in mine if dataset == name):
        alike = opening.options(name, given)
        laid |= {key: given[key] for key in given.keys() & said.keys() if alike.get(key) == said[key]}
    return laid


def _seen(config: Mapping[str, Any]) -> dict[str, Any]:
    """Name and options of the data that a run trains on."""
    return dict(config.get("train_on") or {"dataset": config["dataset"], **config["data"]})


def _causes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run's settings those that decide what it trains, by dotted key."""
    seen = _seen(config)
    limit = seen.pop("limit", None)
    if limit is not None:
        # How much is tested changes nothing, nor does what validation is measured on, unless that selects.
        limits = dict(limit) if isinstance(limit, Mapping) else {"train": limit, "validation": limit}
        decide = ("train", "validation") if config["training"]["selection"] == "validation" else ("train",)
        seen["limit"] = {split: limits.get(split) for split in decide}
    return flat(
        {
            "method": config.get("source") or config["method"],
            "backbone": config["backbone"],
            "faces": config["faces"] if seen["dataset"] in sets.names() else None,
            "model": config["model"],
            "training": config["training"],
            "train_on": seen,
        }
    )
