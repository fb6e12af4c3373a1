"""What CLIPs of several pre-training seeds have in common: ``python -m fer_core.embedded.seeds FOLDER...``.

Which partner of a look-alike pair a CLIP prefers is luck of its seed. What a page says of "the embedded CLIP" should
hold for its sisters too, so each is put through the same runs, and their scores are kept in ``seeds.json`` beside the
shipped weights. The weights themselves are not: the model card's command makes them again.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_core import atomic, cli_common, embedded, experiments, hardware, metrics
from fer_core.config import plain
from fer_core.embedded import evaluate
from fer_core.faces import sets
from fer_core.records import Record

METHODS = ("zero-shot", "linear-probe", "full-fine-tuning")
DATASET = "facs-still-8"
#: Thirds of the trait.
TONES = ("light", "medium", "dark")
PATH = embedded.FOLDER / "seeds.json"


def score(folder: Path, profile: str = "full", device: str = "cpu", progress: bool = True) -> dict[str, Any]:
    """Puts one CLIP through the runs.

    Args:
        folder: Weights and model card, as ``pretrain.py`` writes them.
        profile: Of the experiments.
        device: Where to run.
        progress: Whether to show the course of training.

    Returns:
        ``seed``, ``sha256``, ``minutes`` of pre-training, ``profile``; per method ``war`` and, per third of skin tone,
        ``tone``, with 95 % intervals over people; zero-shot CLIP's ``entanglement`` (as records have it);
        ``attributes`` and ``retrieval`` as :func:`fer_core.embedded.evaluate.report` gives them; ``hardware`` and
        ``versions``.

    Raises:
        UserError: If weights or card are missing, or not each other's.
    """
    name = f"embedded:{embedded.weights(folder)}"
    stages = embedded.stages(folder)
    found: dict[str, Any] = {
        "seed": stages[0]["seed"], "sha256": stages[-1]["sha256"],
        "minutes": round(sum(stage["seconds"] for stage in stages) / 60), "profile": profile, "war": {}, "tone": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as records:
        for method in METHODS:
            record = experiments.run(
                f"{method}-{DATASET}", profile, device=device, overrides={"backbone": name}, records_dir=records,
                progress=progress,
            )  # fmt: skip
            found["war"][method], found["tone"][method] = _of_people(record)
            if method == "zero-shot":
                found["entanglement"] = record.metrics["entanglement"]
                found |= {"hardware": record.hardware, "versions": record.versions}
    report = evaluate.report(name, device=device)
    return plain(found | {key: report[key] for key in ("attributes", "retrieval")})


def _of_people(record: Record) -> tuple[metrics.Interval, dict[str, metrics.Interval]]:
    """Accuracy with its interval over people, of all and of each third of skin tone."""
    said, classes = record.predicted, len(record.metrics["classes"])
    people = np.asarray(said.subjects)
    drawn = sets.load(DATASET, "test", limit=len(people))
    third = np.minimum((3 * drawn.tone.numpy()).astype(int), len(TONES) - 1)

    def of(chosen: np.ndarray) -> metrics.Interval:
        return metrics.interval(said.labels[chosen], said.classes[chosen], classes, groups=people[chosen])

    return of(third >= 0), {name: of(third == place) for place, name in enumerate(TONES)}


def read(path: Path = PATH) -> list[dict[str, Any]]:
    """What was found of each CLIP, in the order of seeds; empty where nothing was kept."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def keep(found: dict[str, Any], path: Path = PATH) -> None:
    """Adds what was found of a CLIP; it takes the place of an earlier one of its seed."""
    others = [each for each in read(path) if each["seed"] != found["seed"]]
    text = json.dumps(sorted([*others, found], key=lambda each: each["seed"]), indent=1)
    with atomic.replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; a user's mistake ends it with one line and exit code 2.

    Args:
        arguments: The process's own by default.
    """
    with cli_common.mistakes_told("seeds"):
        _main(arguments)


def _main(arguments: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(description="Put CLIPs of several pre-training seeds through the same runs.")
    parser.add_argument("folders", type=Path, nargs="+", help="weights and model card, as pretrain.py writes them")
    parser.add_argument("--profile", default="full", help="of the experiments")
    parser.add_argument("--device", default="cpu", help="auto, cpu (default), cuda, cuda:1, mps")
    parser.add_argument("--out", type=Path, default=PATH, help="the file that scores are added to")
    given = parser.parse_args(arguments)
    device = str(hardware.device(given.device))
    atomic.check(given.out)  # before minutes of work
    for folder in given.folders:
        keep(score(folder.resolve(), given.profile, device), given.out)
        print(f"{folder}: added to {given.out}")


if __name__ == "__main__":
    main()
