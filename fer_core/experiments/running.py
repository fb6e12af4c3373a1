"""Runs an experiment: data, CLIP, method, training, evaluation, record.

The record is written when all of it is done. Until then a long run keeps a checkpoint in the cache folder, from which
the same command goes on after a kill.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_core import adapt, clip, config, data, embedded, engine, hardware, models, records
from fer_core.data import align_folder, annotated, annotations, layout
from fer_core.data.dataset import Subset, Wrapped
from fer_core.data.files import ClipFiles, ImageFiles
from fer_core.descriptions.captioned import Captioned
from fer_core.errors import UserError
from fer_core.experiments import measuring, personalising, trained
from fer_core.experiments.loading import Settings, flat, load
from fer_core.faces import sets
from fer_core.folders import cache_folder
from fer_core.records import Record

logger = logging.getLogger(__name__)

SPLIT = "test"

# Options of `data` that any data set takes: most samples; who finds landmarks and parsing maps; a file of descriptions.
_OURS = ("limit", "annotations", "descriptions")


def resolve(settings: Settings) -> dict[str, Any]:
    """Every setting that can change a run's result, defaults included; no device, no path, no number of workers.

    Raises:
        UserError: If a setting of the method or of training is not known, or its value is refused.
    """
    trained_name = settings.source or settings.method
    method_config = models.get(trained_name).Config
    training = config.plain(config.build(engine.Training, settings.training, "training"))
    del training["workers"]
    personal = {}
    if settings.source is not None:
        adapting = config.build(adapt.get(settings.method).Config, settings.adapt, f"adapt of {settings.method}")
        personal = {"source": settings.source, "adapt": config.plain(adapting)}
    return {
        "method": settings.method,
        "dataset": settings.dataset,
        "backbone": _portable(settings.backbone),
        # What ships with the project can change under its name: records made with an older one are stale.
        "weights": _embedded_weights() if settings.backbone == "embedded" else None,
        "faces": sets.GENERATOR_VERSION if settings.dataset in sets.names() else None,
        "data": _data(settings),
        "model": config.plain(config.build(method_config, settings.model, f"model of {trained_name}")),
        "training": training,
        **personal,
    }


def _data(settings: Settings) -> dict[str, Any]:
    """The data set's options, defaults included, but not where its pixels are kept or which folder holds its lists."""
    options = {key: value for key, value in settings.data.items() if key not in _OURS}
    if settings.dataset in layout.LAYOUTS:
        kind = layout.LAYOUTS[settings.dataset].options
        options = config.plain(config.build(kind, options, f"data of {settings.dataset}"))
        options.pop("store", None)
    for key, value in options.items():
        if isinstance(value, str) and (value.startswith("~") or Path(value).is_absolute()):
            options[key] = Path(value).name
    kept = {key: settings.data[key] for key in ("limit",) if key in settings.data}
    if "descriptions" in settings.data:
        kept["descriptions"] = Path(settings.data["descriptions"]).name
    if "annotations" in settings.data:
        # Which model and files were used is in the data's fingerprint.
        built = config.build(annotations.AnnotatorOptions, settings.data["annotations"], "data.annotations")
        kept["annotations"] = {"name": built.name, "several": built.several}
    return config.plain({**options, **kept})


def _portable(backbone: str) -> str:
    """A CLIP's name without the folder of its weights file, as ``Clip.name`` has it."""
    name, colon, tag = backbone.partition(":")
    return f"{name.replace('/', '-')}{colon}{Path(tag).name}"


@lru_cache
def _embedded_weights() -> str | None:
    """Hash of the embedded CLIP's weights by its model card; None while there is none."""
    card = embedded.FOLDER / "model_card.json"
    return json.loads(card.read_text(encoding="utf-8"))["sha256"][:16] if card.is_file() else None


def _changed(own: Mapping[str, Any], resolved: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, by dotted key, that make a run another one than its experiment's own."""
    before = flat(own)
    # The hash of the embedded weights follows from the backbone, and nobody can set it.
    return {key: value for key, value in flat(resolved).items() if key != "weights" and before.get(key) != value}


def changed(name: str, profile: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What overrides change of an experiment's own settings, as ``Record.overrides`` has it, but for the fold.

    Raises:
        UserError: If a name, profile or setting is not known.
    """
    experiment = load(name)
    found = _changed(resolve(experiment.settings(profile)), resolve(experiment.settings(profile, overrides)))
    return {key: value for key, value in found.items() if key != "data.fold"}


def digest(resolved: Mapping[str, Any]) -> str:
    """Digest of :func:`resolve`'s answer."""
    return config.digest(flat(resolved))


def is_stale(record: Record) -> bool:
    """Whether a record was measured with other settings than its experiment has today.

    A setting that came into the code after the record, and that the experiment leaves at its default, does not count.
    """
    return outdated(record.experiment, record.profile, record.overrides, record.config, record.config_digest)


def outdated(
    experiment: str, profile: str, overrides: Mapping[str, Any], measured: Mapping[str, Any], measured_digest: str
) -> bool:
    """Whether settings that something was made with are no longer those of its experiment; see :func:`is_stale`."""
    try:
        settings = load(experiment).settings(profile, overrides)
        today = flat(resolve(settings))
    except UserError:
        return True
    compared = flat(measured).keys() | flat(asdict(settings)).keys()
    return config.digest({key: value for key, value in today.items() if key in compared}) != measured_digest


def run(
    name: str,
    profile: str = "quick",
    seed: int = 0,
    *,
    device: str = "auto",
    data_root: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    records_dir: str | Path | None = None,
    force: bool = False,
    progress: bool = True,
    checkpoint_seconds: float = engine.CHECKPOINT_SECONDS,
    log_dir: str | Path | None = None,
    keep_model: bool = False,
    models_dir: str | Path | None = None,
) -> Record:
    """Trains, evaluates on the test split and writes a record.

    A run that was stopped or killed goes on from its checkpoint; ``force`` does not. Started by ``accelerate launch``
    or ``torchrun``, all processes return the record and one of them writes it.

    Args:
        name: Name of the experiment.
        profile: One of its profiles.
        seed: Seed of everything that is drawn; the samples of a ``limit`` are the same for all seeds.
        device: ``auto`` (CUDA where there is one, else the CPU), or what ``torch.device`` takes.
        data_root: The folder of licensed data; ``FER_DATA_ROOT`` by default.
        overrides: Values by dotted key, laid over the profile. A run with settings other than the experiment's own
            writes a record of its own; so does each fold (``data.fold``).
        records_dir: The folder of records; ``book/records`` by default.
        force: Run even where the same run's record is there.
        progress: Whether to show the course of training.
        checkpoint_seconds: Least time between two writes of the checkpoint.
        log_dir: Folder for TensorBoard's event files; None writes none.
        keep_model: Whether to keep what was trained, for :func:`fer_core.experiments.trained.load`.
        models_dir: The folder for it; ``book/models`` by default.

    Returns:
        The record that was written, or the one that was there.

    Raises:
        UserError: If a name, setting, file or device is not what it should be. No record is written then.
        Stopped: If SIGTERM or SIGUSR1 came; the same run goes on from its checkpoint.
    """
    clock = _Clock()
    experiment = load(name)
    own = resolve(experiment.settings(profile))
    settings = experiment.settings(profile, overrides)
    resolved = resolve(settings)
    processes = engine.Processes(_device(device))
    target = processes.device
    differing = _changed(own, resolved)
    # A fold is no variant: a cross-validated score is the mean over all of them.
    fold = resolved["data"].get("fold")
    variant = records.variant_name({key: value for key, value in differing.items() if key != "data.fold"})
    training = config.build(engine.Training, settings.training, "training")
    with clock.phase("data"), processes.main_first():
        splits = {split: _open(settings, split, data_root) for split in data.SPLITS}
        fingerprint = config.digest({split: dataset.fingerprint for split, dataset in splits.items()})
        test = splits[SPLIT]
    with clock.phase("clip"):
        tower = clip.load(settings.backbone, device=target)
    path = records.path_of(name, profile, seed, fold, variant)
    there = None if force else _there(records_dir, path)
    identity = (digest(resolved), fingerprint, tower.weights)
    kept = not keep_model or trained.file_of(path, models_dir).is_file()
    if there and kept and (there.config_digest, there.fingerprint, there.weights) == identity:
        logger.info("%s is there already, with these settings, data and weights; --force runs it again", there.path)
        return there
    engine.seed_everything(seed)  # a method draws its starting values when it is built
    method = models.build(settings.source or settings.method, tower, test.classes, settings.model)
    checkpoint = cache_folder() / "checkpoints" / f"{path.stem}-{config.digest([name, *identity])}.safetensors"
    if force and processes.main:
        checkpoint.unlink(missing_ok=True)
    processes.wait()
    fit = engine.fit(
        method, splits["train"], splits["validation"], test, training, seed=seed, device=target, progress=progress,
        checkpoint=checkpoint, checkpoint_seconds=checkpoint_seconds, log_dir=log_dir,
    )  # fmt: skip
    assert fit.test is not None
    told, scores, selection = fit.test, {}, _selection(training, fit)
    trained_numbers = sum(each.numel() for each in method.parameters() if each.requires_grad)
    if settings.source is not None:
        personal = personalising.personalise(settings, method, splits, training, seed, processes)
        told, scores, trained_numbers = personal.predictions, personal.scores, personal.parameters
        fit.phases["adaptation"] = personal.seconds
        selection["test_chosen"] = {"epoch": fit.selected_epoch, **personal.test_chosen}
    sample = data.Transform(tower.image_size, tower.mean, tower.std, train=False)(test.take([0]), seed, 0).to(target)
    record = Record(
        experiment=name,
        method=settings.method,
        dataset=test.name,
        fingerprint=fingerprint,
        split=SPLIT,
        fold=fold,
        backbone=tower.name,
        weights=tower.weights,
        profile=profile,
        seed=seed,
        config=resolved,
        config_digest=identity[0],
        metrics=measuring.scores(test, told) | scores,
        selection=selection,
        history=fit.history,
        trainable_parameters=trained_numbers,
        flops=measuring.flops(method, sample),
        seconds=clock.seconds(fit.phases),
        peak_memory=fit.peak_memory,
        hardware=hardware.describe(target),
        versions=hardware.versions(),
        commit=hardware.commit(),
        variant=variant,
        overrides=differing,
        alignment=_alignment(test),
        predictions=_predictions(test, told),
    )
    if processes.main:
        if keep_model:
            logger.info("wrote %s", trained.keep(method, record, models_dir))
        logger.info("wrote %s", records.write(record, records_dir))
        checkpoint.unlink(missing_ok=True)
    return record


def _alignment(dataset: data.FaceDataset) -> str | None:
    """Digest of the transform that aligned the faces of a data set, if a note beside its files says so."""
    while isinstance(dataset, Subset | Wrapped):
        dataset = dataset.dataset
    if not isinstance(dataset, ImageFiles | ClipFiles):
        return None
    first = dataset.listing.folder / dataset.listing.entries[0].path
    note = align_folder.aligned_by(first.parent)
    return None if note is None else note["digest"]


class _Clock:
    """Wall-clock seconds of named phases."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.phases: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.phases[name] = time.perf_counter() - start

    def seconds(self, further: Mapping[str, float]) -> dict[str, float]:
        phases = {**self.phases, **further, "total": time.perf_counter() - self.start}
        return {name: round(seconds, 3) for name, seconds in phases.items()}


def _device(name: str) -> torch.device:
    if name == "auto":
        return hardware.best()
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(f"device: expected one that this machine has, got {name!r}; use cpu, or leave it out") from None
    return device


def _open(settings: Settings, split: str, root: str | Path | None) -> data.FaceDataset:
    options = {key: value for key, value in settings.data.items() if key not in _OURS}
    limit = settings.data.get("limit")
    if isinstance(limit, Mapping):
        unknown = next((key for key in limit if key not in data.SPLITS), None)
        if unknown is not None:
            raise UserError(f"data.limit: expected splits of {', '.join(data.SPLITS)}, got {unknown!r}; rename it")
        limit = limit.get(split)
    opened = data.open(settings.dataset, split, root, limit=limit, **options)
    if "annotations" in settings.data:
        chosen = config.build(annotations.AnnotatorOptions, settings.data["annotations"], "data.annotations")
        opened = annotated.annotated(opened, annotations.annotator(chosen))
    if "descriptions" in settings.data:
        opened = Captioned(opened, settings.data["descriptions"])
    return opened


def _there(folder: str | Path | None, path: Path) -> Record | None:
    found = Path(folder or records.default_folder()) / path
    return records.read(found) if found.is_file() else None


def _predictions(test: data.FaceDataset, said: engine.Predictions) -> dict[str, Any]:
    """What the record keeps of each sample, in the order of the data set."""
    order = np.argsort(said.index)
    subjects = None if test.subjects is None else test.subjects.numpy()[said.index[order]].tolist()
    return records.Predicted(said.labels[order], said.logits[order].argmax(axis=1), subjects).plain()


def _selection(training: engine.Training, fit: engine.Fit) -> dict[str, Any]:
    """How the model was chosen, and what choosing it by its test accuracy would have given."""
    best = max((row for row in fit.history if row["test"] is not None), key=lambda row: row["test"]["war"])
    chosen = {"epoch": best["epoch"], **best["test"]}
    return {"rule": training.selection, "epoch": fit.selected_epoch, "test_chosen": chosen}
