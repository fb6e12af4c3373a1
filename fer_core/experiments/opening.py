"""Opens the splits that a run needs: its own, another set to train on, few samples a class, wrong labels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fer_core import config, data
from fer_core.data import align_folder, annotated, annotations, facs, layout
from fer_core.data.files import ClipFiles, ImageFiles
from fer_core.data.selections import Subset, Wrapped
from fer_core.descriptions.captioned import Captioned
from fer_core.errors import UserError
from fer_core.experiments.loading import Settings

# Options of `data` that any data set takes: most samples, training samples of each class, wrong training labels, who
# finds landmarks and parsing maps, a file of descriptions.
_OURS = ("limit", "shots", "label_noise", "annotations", "descriptions")
_OF_TRAINING = ("shots", "label_noise")


def splits(settings: Settings, root: str | Path | None, seed: int) -> tuple[dict[str, data.FaceDataset], str]:
    """The splits that a run trains on, is validated on and tested on, and the digest of their fingerprints.

    Without ``"validation"`` where none is held out (``data.validation=0``, as papers train).
    Few samples a class (``data.shots``) and wrong labels (``data.label_noise``) are drawn anew for each seed, after the
    fingerprints were taken: seeds of one experiment are runs on the same data.

    Raises:
        UserError: If a data set, option or file is not what it should be.
    """
    misplaced = next((key for key in _OF_TRAINING if settings.data.get(key) is not None), None)
    if settings.train_on and misplaced is not None:
        raise UserError(
            f"data.{misplaced}: expected the training data's option, as train_on is set; say train_on.{misplaced}"
        )
    _, own = _whence(settings, "train")
    wanted = [split for split in data.SPLITS if split != "validation" or own.get("validation") != 0]
    opened = {split: _open(*_whence(settings, split), split, root) for split in wanted}
    fingerprint = config.digest({split: dataset.fingerprint for split, dataset in opened.items()})
    if own.get("shots") is not None:
        opened["train"] = data.few(opened["train"], own["shots"], seed)
    if own.get("label_noise") is not None:
        opened["train"] = data.Mislabelled(opened["train"], _label_noise(own["label_noise"]), seed)
    return opened, fingerprint


def _whence(settings: Settings, split: str) -> tuple[str, Mapping[str, Any]]:
    """Name and options of the data set that a split comes from."""
    if settings.train_on and split != "test":
        return trained_on(settings), {key: value for key, value in settings.train_on.items() if key != "dataset"}
    return settings.dataset, settings.data


def trained_on(settings: Settings) -> str:
    """Name of the data set that a run trains on.

    Raises:
        UserError: If ``train_on`` has options, but names no data set.
    """
    if settings.train_on and not isinstance(settings.train_on.get("dataset"), str):
        raise UserError("train_on: expected train_on.dataset, got none; name the data set to train on")
    return settings.train_on.get("dataset", settings.dataset)


def train_options(settings: Settings) -> dict[str, Any]:
    """Options of the data set that a run trains on; see :func:`options`."""
    return options(*_whence(settings, "train"))


def options(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A data set's options, defaults included, but not where its pixels are kept or which folder holds its lists.

    Args:
        name: Of the data set.
        given: Options, the data set's own and those that any takes.

    Raises:
        UserError: If an option is not known, or its value is refused.
    """
    own = {key: value for key, value in given.items() if key not in _OURS}
    if name in facs.names():
        built = config.plain(config.build(facs.FacsOptions, own, f"data of {name}"))
        own = {key: value for key, value in built.items() if value is not None}
    if name in layout.LAYOUTS:
        own = config.plain(config.build(layout.LAYOUTS[name].options, own, f"data of {name}"))
        own.pop("store", None)
    for key, value in own.items():
        if isinstance(value, str) and (value.startswith("~") or Path(value).is_absolute()):
            own[key] = Path(value).name
    kept = {key: given[key] for key in ("limit", "shots") if given.get(key) is not None}
    if given.get("label_noise") is not None:
        kept["label_noise"] = config.plain(_label_noise(given["label_noise"]))
    if "descriptions" in given:
        if not isinstance(given["descriptions"], str):
            raise UserError(f"data.descriptions: expected a file's path, got {given['descriptions']!r}; quote it")
        kept["descriptions"] = Path(given["descriptions"]).name
    if "annotations" in given:
        # Which model and files were used is in the data's fingerprint.
        built = config.build(annotations.AnnotatorOptions, given["annotations"], "data.annotations")
        kept["annotations"] = {"name": built.name, "several": built.several}
    return config.plain({**own, **kept})


def _label_noise(given: Mapping[str, Any]) -> data.LabelNoise:
    return config.build(data.LabelNoise, given, "data.label_noise")


def _open(name: str, given: Mapping[str, Any], split: str, root: str | Path | None) -> data.FaceDataset:
    own = {key: value for key, value in given.items() if key not in _OURS}
    limit = given.get("limit")
    if isinstance(limit, Mapping):
        unknown = next((key for key in limit if key not in data.SPLITS), None)
        if unknown is not None:
            raise UserError(f"data.limit: expected splits of {', '.join(data.SPLITS)}, got {unknown!r}; rename it")
        limit = limit.get(split)
    opened = data.open(name, split, root, limit=limit, **own)
    if "annotations" in given:
        chosen = config.build(annotations.AnnotatorOptions, given["annotations"], "data.annotations")
        opened = annotated.annotated(opened, annotations.annotator(chosen))
    if "descriptions" in given:
        opened = Captioned(opened, given["descriptions"])
    return opened


def alignment(dataset: data.FaceDataset) -> str | None:
    """Digest of the transform that aligned the faces of a data set, if a note beside its files says so."""
    while isinstance(dataset, Subset | Wrapped):
        dataset = dataset.dataset
    if not isinstance(dataset, ImageFiles | ClipFiles):
        return None
    first = dataset.listing.folder / dataset.listing.entries[0].path
    note = align_folder.aligned_by(first.parent)
    return None if note is None else note["digest"]
