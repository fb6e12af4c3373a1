"""Runs an experiment: data, CLIP, method, training, evaluation, record.

The record is written when all of it is done. Until then a long run keeps a checkpoint in the cache folder, from which
the same command goes on after a kill.
"""

import itertools
import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fer_core import adapt, atomic, clip, clip_weights, config, data, embedded, engine, hardware, models, records
from fer_core.engine.preemption import stoppable
from fer_core.errors import UserError
from fer_core.experiments import measuring, opening, personalising, protocols, reusing, trained
from fer_core.experiments.generality import generality
from fer_core.experiments.loading import Settings, flat, load
from fer_core.faces import sets
from fer_core.folders import cache_folder
from fer_core.records import Record

logger = logging.getLogger(__name__)

SPLIT = "test"


def resolve(settings: Settings) -> dict[str, Any]:
    """Every setting that can change a run's result, defaults included; no device, no path, no number of workers.

    Raises:
        UserError: If a setting of the method or of training is not known, or its value is refused.
    """
    trained_name = settings.source or settings.method
    method_config = models.get(trained_name).Config
    training = config.plain(config.build(engine.Training, settings.training, "training"))
    del training["workers"]
    further: dict[str, Any] = {}
    if settings.protocol != "splits":
        further["protocol"] = settings.protocol
    if settings.train_on:
        further["train_on"] = {"dataset": opening.trained_on(settings), **opening.train_options(settings)}
    if settings.source is not None:
        adapting = config.build(adapt.get(settings.method).Config, settings.adapt, f"adapt of {settings.method}")
        further |= {"source": settings.source, "adapt": config.plain(adapting)}
    return {
        "method": settings.method,
        "dataset": settings.dataset,
        "backbone": clip_weights.portable(settings.backbone),
        # What ships with the project can change under its name: records made with an older one are stale.
        "weights": _embedded_weights() if settings.backbone == "embedded" else None,
        "faces": sets.GENERATOR_VERSION
        if {settings.dataset, opening.trained_on(settings)} & set(sets.names())
        else None,
        "data": opening.options(settings.dataset, settings.data),
        "model": config.plain(config.build(method_config, settings.model, f"model of {trained_name}")),
        "training": training,
        **further,
    }


@lru_cache
def _embedded_weights() -> str | None:
    """Hash of the embedded CLIP's weights by its model card; None while there is none."""
    card = embedded.FOLDER / "model_card.json"
    return json.loads(card.read_text(encoding="utf-8"))["sha256"][:16] if card.is_file() else None


def _changed(own: Mapping[str, Any], resolved: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, by dotted key, that make a run another one than its experiment's own."""
    before, after, nothing = flat(own), flat(resolved), object()
    # Nobody can set these: they follow from the backbone and the data sets.
    follows = ("weights", "faces")
    found = {key: value for key, value in after.items() if key not in follows and before.get(key, nothing) != value}
    for key in before.keys() - after.keys():
        # A setting that an override took away, or all of several: the widest name under which nothing is left.
        parts = key.split(".")
        names = [".".join(parts[:count]) for count in range(2, len(parts) + 1)]
        if not any(name in after for name in names):
            left = (name for name in names if not any(each.startswith(f"{name}.") for each in after))
            found |= dict.fromkeys(itertools.islice(left, 1))
    return found


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


# While it trains, the engine hears signals first, and writes its checkpoint.
@stoppable("start the same run again; where it had begun to train, it goes on from there")
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
    keep_model: bool | Literal["half"] = False,
    models_dir: str | Path | None = None,
    checkpoints_dir: str | Path | None = None,
    trained_by: str | Path | None = None,
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
        log_dir: Folder for TensorBoard's event files, those of each run in a folder named as its record, and there of
            each person left out; None writes none.
        keep_model: Whether to keep what was trained, for :func:`fer_core.experiments.trained.load`; ``half`` rounds
            it to half precision. Where the record is there, but its method was not kept so, it is trained again.
        models_dir: The folder for it; ``book/models`` by default.
        checkpoints_dir: The folder of checkpoints; in the cache folder by default.
        trained_by: What another run has kept, to be tested in place of training the same again: its file, or its
            experiment, kept in ``models_dir`` with this profile and seed. See :mod:`fer_core.experiments.reusing`.

    Returns:
        The record that was written, or the one that was there.

    Raises:
        UserError: If a name, setting, file or device is not what it should be, or the same run's record is there, made
            with other data or weights, without ``force``. No record is written then.
        Stopped: If SIGTERM, SIGUSR1 or SIGUSR2 came; the same run goes on from its checkpoint, if it had begun to
            train, and what had been trained to the end is not trained again.
    """
    clock, commit = _Clock(), hardware.commit()  # now: somebody may change the files while this runs
    experiment = load(name)
    own = resolve(experiment.settings(profile))
    settings = experiment.settings(profile, overrides)
    resolved = resolve(settings)
    for asked, option in ((keep_model, "keep_model"), (trained_by, "trained_by")):
        if asked and settings.protocol != "splits":
            raise UserError(
                f"{option}: expected the protocol splits, got {settings.protocol}, which trains several; drop it"
            )
    if keep_model and trained_by:
        raise UserError("keep_model: expected a run that trains, got one with trained_by; drop one of them")
    processes = engine.Processes(hardware.device(device))
    if settings.source is not None and processes.count > 1:
        raise UserError(f"{settings.method}: expected one process, got {processes.count}; people come one by one")
    target = processes.device
    differing = _changed(own, resolved)
    # A fold is no variant: a cross-validated score is the mean over all of them.
    fold = resolved["data"].get("fold")
    variant = records.variant_name({key: value for key, value in differing.items() if key != "data.fold"})
    training = config.build(engine.Training, settings.training, "training")
    with clock.phase("data"), processes.main_first():
        splits, fingerprint = opening.splits(settings, data_root, seed)
        test = splits[SPLIT]
    with clock.phase("clip"):
        tower = clip.load(settings.backbone, device=target)
    path = records.path_of(name, profile, seed, fold, variant)
    there = None if force else _there(records_dir, path, fingerprint, tower.weights)
    identity = (digest(resolved), fingerprint, tower.weights)
    if there and (not keep_model or trained.is_kept(there, models_dir, keep_model == "half")):
        logger.info("%s is there already, with these settings, data and weights; --force runs it again", there.path)
        return there
    _check_places(path, records_dir, models_dir, keep_model is not False)
    folder = Path(checkpoints_dir or cache_folder() / "checkpoints")
    checkpoint = folder / f"{path.stem}-{config.digest([name, *identity])}.safetensors"
    if force and processes.main:
        _forget(checkpoint)
    processes.wait()
    curves = Path(log_dir) / path.with_suffix("") if log_dir else None  # TensorBoard draws a folder as one curve
    resources = protocols.Resources(tower, seed, processes, checkpoint, checkpoint_seconds, progress, curves)
    by = None
    if trained_by is not None:
        with processes.main_first():
            method, by = reusing.trained_by(
                trained_by, settings, resolved, profile, seed, tower=tower, data_root=data_root, folder=models_dir
            )
        resources = replace(resources, trained=method)
    told = protocols.carry_out(settings, splits, resources)
    selection, further = _selection(training, told), {}
    if told.personal is not None:
        further, chosen = personalising.scores(test, told.personal)
        selection["test_chosen"] = {"epoch": told.selected_epoch, **chosen}
    sample = data.Transform.of(tower)(test.take([0]), seed, 0).to(target)
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
        metrics=measuring.scores(test, told.predictions) | generality(tower, test, told.predictions) | further,
        selection=selection,
        history=told.history,
        trainable_parameters=told.trainable,
        flops=measuring.flops(told.method, sample),
        seconds=clock.seconds(told.phases, told.earlier),
        peak_memory=told.peak_memory,
        hardware={**hardware.describe(target), "processes": processes.count},
        versions=hardware.versions(),
        commit=commit,
        variant=variant,
        overrides=differing,
        alignment=opening.alignment(test),
        predictions=_predictions(test, told.predictions),
        trained_by=by,
    )
    if processes.main:
        # The record first: what a run was for is not lost where its model cannot be written.
        logger.info("wrote %s", records.write(record, records_dir))
        if keep_model:
            logger.info("wrote %s", trained.keep(told.method, record, models_dir, keep_model == "half"))
        _forget(checkpoint)
    return record


def _forget(checkpoint: Path) -> None:
    """Deletes a run's checkpoint, and those of the methods that it trains one after another."""
    for path in checkpoint.parent.glob(f"*{checkpoint.suffix}"):
        if path.name.startswith(checkpoint.stem):
            path.unlink(missing_ok=True)


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

    def seconds(self, further: Mapping[str, float], earlier: float) -> dict[str, float]:
        phases = {**self.phases, **further, "total": earlier + time.perf_counter() - self.start}
        return {name: round(seconds, 3) for name, seconds in phases.items()}


def _check_places(path: Path, records_dir: str | Path | None, models_dir: str | Path | None, keep: bool) -> None:
    """Before the work: whether its record, and what it has trained, can be written."""
    try:
        atomic.check(Path(records_dir or records.default_folder()) / path)
    except OSError as error:
        raise UserError(f"records: cannot write {error.filename} ({error.strerror}); pass another --records") from error
    if not keep:
        return
    try:
        atomic.check(trained.file_of(path, models_dir))
    except OSError as error:
        raise UserError(f"models: cannot write {error.filename} ({error.strerror}); pass another --models") from error


def _there(folder: str | Path | None, path: Path, fingerprint: str, weights: str) -> Record | None:
    """The record of this very run, if it is there; one that is stale is not, and will be replaced.

    Raises:
        UserError: If the record is of the same settings, but of other data or weights: a name does not tell them apart.
    """
    found = Path(folder or records.default_folder()) / path
    if not found.is_file():
        return None
    record = records.read(found)
    if record.path != path:
        raise UserError(f"{found}: expected the record of {path}, got that of {record.path}; delete it and run again")
    # A setting that the library has learned since, and that stands at its default, changes no result.
    if is_stale(record):
        return None
    for kind, theirs, ours in (("data", record.fingerprint, fingerprint), ("weights", record.weights, weights)):
        if theirs != ours:
            raise UserError(
                f"{found}: expected the {kind} of this record, {theirs}, got {ours}; --force replaces the record, "
                "--records DIR keeps both"
            )
    return record


def _predictions(test: data.FaceDataset, said: engine.Predictions) -> dict[str, Any]:
    """What the record keeps of each sample, in the order of the data set."""
    order = np.argsort(said.index)
    subjects = None if test.subjects is None else test.subjects.numpy()[said.index[order]].tolist()
    return records.Predicted(said.labels[order], said.logits[order].argmax(axis=1), subjects).plain()


def _selection(training: engine.Training, told: protocols.Outcome) -> dict[str, Any]:
    """How the model was chosen, and what choosing it by its test accuracy would have given."""
    best = max((row for row in told.history if row["test"] is not None), key=lambda row: row["test"]["war"])
    chosen = {"epoch": best["epoch"], **best["test"]}
    return {"rule": training.selection, "epoch": told.selected_epoch, "test_chosen": chosen}
