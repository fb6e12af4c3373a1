"""The entanglement atlas: every trained method asked the same questions, and what it answered, kept as one file each.

A method that a run has kept (``fer-core run NAME --keep-model``) is measured on its test split and, where it was
trained on rendered stills, in controlled experiments. ``book/atlas`` holds the answers, with the features of the first
test faces for maps; the chapter draws them.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from fer_core import clip, data, engine, entanglement, experiments, hardware, metrics, models
from fer_core.atomic import replacing
from fer_core.config import plain
from fer_core.errors import UserError
from fer_core.experiments import opening, running, trained
from fer_core.faces import controlled, expressions, identity
from fer_core.records import book_folder, path_of

KEPT = 800  # test samples whose features are kept
_PEOPLE = 20
_BATCH = 256

# Drawn once for all methods that are asked.
_strong, _hard, _at_rest = (cache(each) for each in (controlled.doses, controlled.disturbed, controlled.resting))


@dataclass(frozen=True)
class Answers:
    """What a method said.

    Args:
        told: Which run it is (``experiment``, ``method``, ``dataset``, ``profile``, ``seed``, ``config``,
            ``config_digest``, ``weights``, ``fingerprint``), ``classes``, ``measures`` (intervals by name), ``similar``
            (cosines of class means ``images`` and of class ``texts``), ``controlled`` (of rendered stills),
            ``versions``, ``commit``.
        features: ``(N, D)`` float16, normalised, of the first test samples.
    """

    told: dict[str, Any]
    features: np.ndarray

    @property
    def measures(self) -> dict[str, metrics.Interval]:
        """Measures with their intervals."""
        return {name: metrics.Interval(**each) for name, each in self.told["measures"].items()}

    def dose(self, name: str, look_alike: bool = False) -> tuple[list[float], list[float]]:
        """Intensities of an expression, and the mean probability of it, or of its look-alike, at each."""
        told = self.told["controlled"]["doses"]
        return told["levels"], told["look_alike" if look_alike else "own"][name]

    def nuisance(self, name: str) -> tuple[list[float], list[float]]:
        """Levels of a nuisance, and accuracy in percent at each."""
        told = self.told["controlled"]["nuisances"][name]
        return told["levels"], [100 * each["value"] for each in told["war"]]

    def at_rest(self, name: str) -> dict[str, float]:
        """Share of people without an expression who are called so, by kind of face at rest."""
        return {kind: told["said"][name] for kind, told in self.told["controlled"]["resting"].items()}

    def excess(self, side: Literal["images", "texts"]) -> float | None:
        """By how much cosines of look-alikes' class means, or texts, exceed those of other pairs, in the mean."""
        matrix, classes = self.told["similar"][side], self.told["classes"]
        if matrix is None:
            return None
        alike = np.zeros((len(classes),) * 2, dtype=bool)
        alike[tuple(np.sort(entanglement.positions(classes, expressions.LOOK_ALIKES), axis=1).T)] = True
        other = ~alike & np.triu(np.ones_like(alike), 1)
        return float(np.array(matrix)[alike].mean() - np.array(matrix)[other].mean())


def default_folder() -> Path:
    """Where answers are kept unless told otherwise: ``book/atlas``."""
    return book_folder() / "atlas"


@torch.no_grad()
def ask(
    name: str, profile: str = "full", seed: int = 0, *, models_dir: Path | str | None = None,
    data_root: Path | str | None = None, device: str = "cpu", limit: int | None = None,
) -> Answers:  # fmt: skip
    """Asks one trained method.

    Args:
        name: Name of an experiment on stills.
        profile: Of the run that kept it.
        seed: Of that run.
        models_dir: Where it is kept; ``book/models`` by default.
        data_root: The folder of licensed data; ``FER_DATA_ROOT`` by default.
        device: Where to compute, as :func:`fer_core.hardware.device` takes it.
        limit: At most so many test samples; all by default.

    Raises:
        UserError: If nothing was kept, it does not fit the data or CLIP that are here, this machine has no such
            device, or the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit: expected at least 1 test sample, got {limit}; leave it out for all")
    place = hardware.device(device)
    settings = experiments.load(name).settings(profile)
    tower = clip.load(settings.backbone, device=place)
    path = trained.file_of(path_of(name, profile, seed), models_dir)
    run, method = trained.read(path), trained.open_file(path, place, tower)
    test = opening.splits(settings, data_root, seed)[0]["test"]
    if limit is not None and limit < len(test):
        test = data.subset(test, range(limit))
    transform = data.Transform.of(tower)
    said = engine.evaluate(method, data.loader(test, transform, _BATCH, seed=0), tower.device)
    texts = method.class_texts()
    groups = None if test.subjects is None else test.subjects.numpy()[said.index]
    rows = None if texts is None else texts.float().cpu().numpy()
    keys = ("experiment", "method", "dataset", "profile", "seed", "config", "config_digest", "weights", "fingerprint")
    told: dict[str, Any] = {key: run[key] for key in keys}
    told |= {
        "classes": run["classes"],
        "samples": len(test),
        "limit": limit,
        "measures": plain(measures(said, test.classes, rows, groups)),
    }
    images = entanglement.class_similarity(said.features, said.labels).value
    told["similar"] = {
        "images": images.tolist(), "texts": None if rows is None else entanglement.text_similarity(rows).tolist()
    }  # fmt: skip
    if test.name == "facs-still-8":
        told["controlled"] = experiment(method)
    told |= {"versions": hardware.versions(), "commit": hardware.commit()}
    unit = said.features[:KEPT] / np.linalg.norm(said.features[:KEPT], axis=1, keepdims=True)
    return Answers(told, unit.astype(np.float16))


def measures(
    said: engine.Predictions, classes: Sequence[str], texts: np.ndarray | None, groups: np.ndarray | None
) -> dict[str, metrics.Interval]:
    """All single-number measures of entanglement, each with its interval.

    Args:
        said: Of the test split.
        classes: C class names.
        texts: ``(C, D)`` of methods that compare images with texts: modality gap and alignment are theirs.
        groups: ``(N,)`` people, where they are known: probes never test on somebody they have learned from, and nobody
            is their own neighbour.
    """
    labels, features = said.labels, said.features
    pairs = entanglement.positions(classes, expressions.LOOK_ALIKES)
    probes = {kind: entanglement.probe(features, labels, kind, groups=groups) for kind in ("linear", "neighbours")}
    centroids = entanglement.centroid_scores(features, labels)
    mixing = entanglement.neighbour_mixing(features, labels, groups=groups)
    distance = entanglement.distances(expressions.prototypes(tuple(classes)))
    follows = entanglement.distance_correlation(said.logits, labels, distance)
    found = {
        "UAR": entanglement.balanced_accuracy(said.logits, labels).at(),
        "index, logits": entanglement.entanglement_index(said.logits, labels, pairs).at(),
        "index, logits, any threshold": entanglement.entanglement_index(
            said.logits, labels, pairs, any_threshold=True
        ).at(),
        "index, image centroids": entanglement.entanglement_index(centroids, labels, pairs).at(),
        "linear probe": entanglement.balanced_accuracy(probes["linear"], labels).at(),
        "nearest neighbours": entanglement.balanced_accuracy(probes["neighbours"], labels).at(),
        "silhouette": entanglement.silhouette(features, labels).at(),
        "uniformity": entanglement.uniformity(features, labels).at(),
        "confusion against action-unit distance": metrics.Interval(follows.value, follows.low, follows.high),
    }
    found |= {f"mixing, {classes[one]}/{classes[other]}": mixing.at(one, other) for one, other in pairs}
    if texts is not None:
        found["modality gap"] = entanglement.modality_gap(features, texts, labels).at()
        found["alignment"] = entanglement.alignment(features, texts[labels], labels).at()
    return found


@torch.no_grad()
def experiment(method: models.Method, people: int = _PEOPLE) -> dict[str, Any]:
    """Controlled experiments on a method for rendered stills, see :mod:`fer_core.faces.controlled`.

    Args:
        method: In evaluation mode.
        people: How many people show each expression.

    Returns:
        ``doses``: ``levels``, and by class the mean probability of it (``own``) and of its look-alike, where it has
        one (``look_alike``), at each; ``nuisances``: by name ``levels`` and accuracy ``war`` with its interval over
        people; ``resting``: by kind of face at rest the share of people called each class, and ``people``.
    """
    classes = method.classes
    strong = _strong(classes, people)
    said = _probabilities(method, strong.image)
    partner = {one: other for pair in expressions.LOOK_ALIKES for one, other in (pair, pair[::-1])}
    own: dict[str, list[float]] = {}
    other: dict[str, list[float]] = {}
    for place in strong.label.unique().tolist():
        name = classes[place]
        rows = [(strong.label == place) & (strong.level == level) for level in controlled.LEVELS]
        own[name] = [said[row, place].mean().item() for row in rows]
        if partner.get(name) in classes:
            other[name] = [said[row, classes.index(partner[name])].mean().item() for row in rows]
    nuisances = {name: _disturbed(method, name, people) for name in controlled.NUISANCES}
    return {
        "doses": {"levels": list(controlled.LEVELS), "own": own, "look_alike": other},
        "nuisances": nuisances,
        "resting": _resting(method),
    }


def _disturbed(method: models.Method, name: str, people: int) -> dict[str, Any]:
    faces = _hard(name, method.classes, people)
    said = _probabilities(method, faces.image).argmax(1)
    rows = [faces.level == level for level in faces.level.unique(sorted=False).tolist()]
    rows = sorted(rows, key=lambda row: int(row.nonzero()[0]))  # as drawn: from none at all upwards
    war = [
        metrics.interval(
            faces.label[row].numpy(), said[row].numpy(), len(method.classes), groups=faces.person[row].numpy()
        )
        for row in rows
    ]
    return {"levels": list(controlled.NUISANCES[name].levels), "war": [asdict(each) for each in war]}


def _resting(method: models.Method) -> dict[str, Any]:
    faces = _at_rest()
    said = _probabilities(method, faces.image).argmax(1)
    found = {}
    for place, (kind, *_) in enumerate(identity.RESTING_FACES):
        chosen = said[faces.label == place]
        counts = torch.bincount(chosen, minlength=len(method.classes))
        shares = (counts / counts.sum()).tolist()
        found[kind] = {"people": len(chosen), "said": dict(zip(method.classes, shares, strict=True))}
    return found


def _probabilities(method: models.Method, image: torch.Tensor) -> torch.Tensor:
    """``(N, C)`` on the CPU."""
    tower = method.clip
    transform = data.Transform.of(tower)
    labels = torch.zeros(len(image), dtype=torch.int64)
    columns = {"image": image, "label": labels}
    faces = data.MemoryDataset("controlled", "test", method.classes, columns, "controlled", "rendered faces")
    said = engine.evaluate(method, data.loader(faces, transform, _BATCH, seed=0), tower.device)
    return torch.from_numpy(said.logits).softmax(1)


def check_place(profile: str, seed: int, limit: int | None, folder: Path | str | None) -> None:
    """Keeps ``book/atlas`` to what its chapter shows: ``full``, seed 0, all test samples.

    Args:
        profile: Of the run that is asked.
        seed: Of that run.
        limit: Of test samples.
        folder: Where answers go; None for ``book/atlas``.

    Raises:
        UserError: If other answers would take the place of those.
    """
    if folder is None and (profile, seed, limit) != ("full", 0, None):
        of = f"profile {profile}, seed {seed}, " + ("all samples" if limit is None else f"{limit} samples")
        raise UserError(f"atlas: expected profile full, seed 0, all samples for book/atlas, got {of}; pass --out")


def keep(answers: Answers, folder: Path | str | None = None) -> Path:
    """Writes answers: a JSON file and, beside it, the features as safetensors.

    Raises:
        UserError: If they cannot be written, or as :func:`check_place`.
    """
    told = answers.told
    check_place(told["profile"], told["seed"], told.get("limit"), folder)
    path = Path(folder or default_folder()) / f"{told['experiment']}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path.with_suffix(".safetensors")) as temporary:
            save_file({"features": np.ascontiguousarray(answers.features)}, temporary)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"atlas: cannot write {path} ({error}); pass another folder as --out") from error
    return path


def read(name: str, folder: Path | str | None = None) -> Answers | None:
    """What was kept of an experiment's method; None where nothing was.

    Raises:
        UserError: If a file is damaged.
    """
    path = Path(folder or default_folder()) / f"{name}.json"
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Answers(told, load_file(path.with_suffix(".safetensors"))["features"])
    except Exception as error:
        raise UserError(
            f"{path}: expected answers as `fer-core atlas` keeps them, got {error}; make them again"
        ) from error


def is_stale(answers: Answers) -> bool:
    """Whether the method was trained with other settings, CLIP or renderer than its experiment has today."""
    told = answers.told
    return running.outdated(told["experiment"], told["profile"], {}, told["config"], told["config_digest"])
