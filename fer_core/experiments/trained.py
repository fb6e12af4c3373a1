"""What a run has trained, kept as one safetensors file, and the method that comes of it again.

A file holds what training changed and no CLIP: that is loaded by its name, and its hash must be the one that the file
was trained on.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fer_core import clip, models
from fer_core.engine import checkpoints, resuming
from fer_core.errors import UserError
from fer_core.experiments import running
from fer_core.records import Record, book_folder, path_of

_GROUP = "method"
# Of the record, what tells which run it was and how well it did.
_TOLD = (
    "experiment", "profile", "seed", "fold", "variant", "method", "dataset", "fingerprint", "backbone", "weights",
    "config", "config_digest", "overrides", "commit",
)  # fmt: skip


def default_folder() -> Path:
    """Where trained methods are kept unless told otherwise: ``book/models``."""
    return book_folder() / "models"


def file_of(record: Path, folder: Path | str | None = None) -> Path:
    """The file that belongs to a record's path, as ``Record.path`` gives it."""
    return Path(folder or default_folder()) / record.with_suffix(".safetensors")


def record_of(told: Mapping[str, Any]) -> Path:
    """The path, within a folder of records, of the record of the run that :func:`read` tells of."""
    return path_of(*(told[name] for name in ("experiment", "profile", "seed", "fold", "variant")))


def keep(method: models.Method, record: Record, folder: Path | str | None = None, half: bool = False) -> Path:
    """Writes what a run has trained, whole or not at all.

    Args:
        method: As the run left it.
        record: The run's.
        folder: ``book/models`` by default.
        half: Whether to round weights to half precision, for a file of half the size; the method that comes of it
            computes in single precision all the same, and may differ from the record in a few predictions.

    Raises:
        UserError: If the file cannot be written, or half precision does not reach as far as a weight.
    """
    path = file_of(record.path, folder)
    told = {name: getattr(record, name) for name in _TOLD}
    told |= {"classes": list(method.classes), "war": record.metrics["war"], "uar": record.metrics["uar"], "half": half}
    weights = resuming.weights_of(method)
    if half:
        weights = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
        beyond = next((name for name, value in weights.items() if not value.isfinite().all()), None)
        if beyond is not None:
            raise UserError(f"{beyond}: expected weights within half precision's 65,504, got larger; keep it whole")
    try:
        checkpoints.write(path, {_GROUP: weights}, told)
    except OSError as error:
        raise UserError(f"models: cannot write {path} ({error}); pass another folder as --models") from error
    return path


def is_kept(record: Record, folder: Path | str | None = None, half: bool = False) -> bool:
    """Whether the file of a record holds what its run has trained, or another that would come to the same.

    Args:
        record: The run's, measured with today's settings.
        folder: ``book/models`` by default.
        half: Whether it is to be rounded to half precision, or else whole.
    """
    try:
        told = read(file_of(record.path, folder))
    except UserError:  # there is none, or nothing to be had from it
        return False
    same = all(told[name] == getattr(record, name) for name in ("fingerprint", "weights"))
    return same and told["half"] == half and not _is_outdated(told, record.experiment, record.profile)


def _is_outdated(told: Mapping[str, Any], experiment: str, profile: str) -> bool:
    """Whether a file was trained with other settings than an experiment has today."""
    return running.outdated(experiment, profile, told["overrides"], told["config"], told["config_digest"])


def read(path: Path | str) -> dict[str, Any]:
    """What a kept file tells of its run, without its weights.

    Raises:
        UserError: If there is no such file, or it is damaged or not one of ours.
    """
    place = Path(path)
    if not place.is_file():
        raise UserError(f"{place}: expected a method that a run has kept, found no file; `run --keep-model` writes one")
    with _damage_told(place):
        told = {"half": False, **checkpoints.read_state(place)}  # the first files were all whole, and did not say so
        kinds = {"config": dict, "overrides": dict, "classes": list, "backbone": str, "dataset": str, "method": str}
        wrong = [name for name in (*_TOLD, "classes") if not isinstance(told[name], kinds.get(name, object))]
        if wrong or not isinstance(told["config"]["model"], dict) or not isinstance(told["config"]["data"], dict):
            raise UserError(f"a {wrong[0] if wrong else 'config'} that no run writes")
    return told


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (UserError, KeyError, TypeError) as error:
        reason = f"none that is told of its {error}" if isinstance(error, KeyError) else error
        raise UserError(
            f"{path}: expected a method that a run has kept, got another or a damaged file ({reason}); copy it again, "
            "or train it with --force --keep-model"
        ) from error


def open_file(path: Path | str, device: str | torch.device = "cpu", tower: clip.Clip | None = None) -> models.Method:
    """The method of a kept file, trained and in evaluation mode.

    Args:
        path: The file.
        device: Where it goes.
        tower: Its CLIP, where that is loaded already; must be on ``device``.

    Raises:
        UserError: If the file is missing or damaged, or its CLIP has other weights now.
    """
    told = read(path)
    tower = tower or clip.load(told["backbone"], device=device)
    # One file of weights may fit several models: QuickGELU or not changes what they give, and no tensor.
    if (tower.weights, _model(tower.name)) != (told["weights"], _model(told["backbone"])):
        raise UserError(
            f"{path}: expected the weights {told['weights']} of {told['backbone']}, on which it was trained, got "
            f"{tower.weights} of {tower.name}; train it again with --keep-model"
        )
    # Of a test-time method the trained source is kept: what it learns of a person is forgotten with that person.
    method = models.build(
        told["config"].get("source") or told["method"], tower, told["classes"], told["config"]["model"]
    )
    with _damage_told(Path(path)):
        weights = checkpoints.read(Path(path), tower.device)[0].get(_GROUP, {})
    wanted = resuming.weights_of(method)
    theirs, ours = (
        {name: (value.shape, value.is_floating_point()) for name, value in each.items()} for each in (weights, wanted)
    )
    if theirs != ours:
        raise UserError(f"{path}: expected the weights of {told['method']}, got others; train it again")
    diverged = next((name for name, value in weights.items() if not value.isfinite().all()), None)
    if diverged is not None:
        raise UserError(f"{path}: expected finite weights, got others in {diverged}; train it again")
    resuming.load_weights(method, weights)
    return method.eval()


def _model(name: str) -> str:
    """A CLIP's name without its weights."""
    return name.partition(":")[0]


def kept(
    experiment: str,
    profile: str = "full",
    seed: int = 0,
    *,
    fold: int | None = None,
    variant: str | None = None,
    folder: Path | str | None = None,
) -> Path:
    """The file that a run of an experiment has kept, trained with today's settings.

    Args:
        experiment: Name of the experiment.
        profile: Of the run.
        seed: Of the run.
        fold: Of the run.
        variant: As in the run's record.
        folder: ``book/models`` by default.

    Raises:
        UserError: If nothing was kept of that run, the file is damaged, or settings have changed since.
    """
    path = file_of(path_of(experiment, profile, seed, fold, variant), folder)
    if not path.is_file():
        raise UserError(
            f"expected a trained method at {path}, found no file; make it with `fer-core run {experiment} --profile "
            f"{profile} --seed {seed} --keep-model`"
        )
    told = read(path)
    if _is_outdated(told, experiment, profile):
        raise UserError(
            f"{path}: expected a method trained with today's settings, got one of other settings; train it again with "
            f"`fer-core run {experiment} --profile {profile} --seed {seed} --force --keep-model`"
        )
    return path


def load(
    experiment: str,
    profile: str = "full",
    seed: int = 0,
    *,
    fold: int | None = None,
    variant: str | None = None,
    folder: Path | str | None = None,
    device: str | torch.device = "cpu",
    tower: clip.Clip | None = None,
) -> models.Method:
    """The method that a run of an experiment has trained.

    Args:
        experiment: Name of the experiment.
        profile: Of the run.
        seed: Of the run.
        fold: Of the run.
        variant: As in the run's record.
        folder: Where it was kept; ``book/models`` by default.
        device: Where it goes.
        tower: Its CLIP, where that is loaded already.

    Raises:
        UserError: As :func:`kept` and :func:`open_file`.
    """
    path = kept(experiment, profile, seed, fold=fold, variant=variant, folder=folder)
    return open_file(path, device, tower)
