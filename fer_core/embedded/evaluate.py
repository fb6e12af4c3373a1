"""What an embedded CLIP knows besides emotions: ``python -m fer_core.embedded.evaluate --out report.json``.

A CLIP that was pre-trained on captions should tell hair, glasses or skin by their words, and find a face's caption
among many. Both are measured on held-out faces: the test split of ``facs-still-8``, whose people pre-training never
saw.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fer_core import atomic, cli_common, clip, hardware, metrics
from fer_core.clip import Clip
from fer_core.config import plain
from fer_core.faces import sets
from fer_core.faces.identity import BEARDS, HAIR_COLORS
from fer_core.faces.sets import Draw, FacsSet

_BATCH = 200


@dataclass(frozen=True)
class Attribute:
    """Something that a caption may say of a face.

    Args:
        name: Of the attribute.
        texts: One text a value.
        value: Gives each face's value ``(N,)``, -1 where the face shows none of them clearly.
    """

    name: str
    texts: tuple[str, ...]
    value: Callable[[Draw], Tensor]


@dataclass(frozen=True)
class Score(metrics.Interval):
    """A share with its 95 % interval.

    Args:
        chance: What guessing gives.
        n: Number of faces.
    """

    chance: float
    n: int


def _thirds(trait: Tensor) -> Tensor:
    """0 in the lower and 1 in the upper third, -1 between."""
    return torch.where(trait < 0.35, 0, torch.where(trait > 0.65, 1, -1))


def _beard(drawn: Draw) -> Tensor:
    """No beard against a moustache or a full beard; stubble is neither."""
    beard = drawn.people.beard
    return torch.where(beard == BEARDS.index("none"), 0, torch.where(beard == BEARDS.index("stubble"), -1, 1))


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute(
        "hair colour",
        tuple(f"a photo of a person with {color} hair" for color in HAIR_COLORS),
        lambda drawn: drawn.people.hair_color,
    ),
    Attribute(
        "glasses", ("a photo of a person", "a photo of a person with glasses"),
        lambda drawn: drawn.people.glasses.long(),
    ),
    Attribute("beard", ("a photo of a person", "a photo of a person with a full beard"), _beard),
    Attribute(
        "skin", ("a photo of a person with light skin", "a photo of a person with dark skin"),
        lambda drawn: _thirds(drawn.people.tone),
    ),
    Attribute(
        "age", ("a photo of a young person", "a photo of an old person"), lambda drawn: _thirds(drawn.people.age)
    ),
    Attribute(
        "black and white", ("a photo of a person", "a photo of a person, black and white"),
        lambda drawn: drawn.views.grey.long(),
    ),
)  # fmt: skip


def encode(tower: Clip, faces: FacsSet) -> Tensor:
    """Normalised class tokens ``(N, D)`` of a split of stills, on the CPU."""
    mean, std = (torch.tensor(value, device=tower.device)[:, None, None] for value in (tower.mean, tower.std))
    features = []
    with torch.no_grad():
        for images in faces.image.split(_BATCH):
            pixels = (images.to(tower.device).float() / 255.0 - mean) / std
            features.append(tower.encode_image(pixels, patches=False).class_token.cpu())
    return functional.normalize(torch.cat(features), dim=-1)


def attribute_scores(tower: Clip, features: Tensor, drawn: Draw, resamples: int = 2000) -> dict[str, Score]:
    """Balanced zero-shot accuracy (UAR) of each attribute, with a 95 % interval over people and what chance gives.

    Args:
        tower: Encodes the texts.
        features: ``(N, D)`` normalised class tokens.
        drawn: What is true of the ``N`` faces.
        resamples: Bootstrap samples of the intervals.
    """
    scores = {}
    for attribute in ATTRIBUTES:
        value = attribute.value(drawn)
        known = value >= 0
        logits = features[known] @ tower.fixed_texts(attribute.texts).cpu().T
        found = metrics.interval(
            value[known].numpy(), logits.numpy(), len(attribute.texts), "uar", resamples=resamples,
            groups=drawn.subject[known].numpy(),
        )  # fmt: skip
        scores[attribute.name] = Score(**asdict(found), chance=1 / len(attribute.texts), n=int(known.sum()))
    return scores


def retrieval_scores(
    tower: Clip, features: Tensor, captions: list[str], subjects: np.ndarray, seed: int = 0, resamples: int = 1000
) -> dict[str, Score]:
    """How often a face's own caption is among the nearest k, and a caption's own face, with 95 % intervals over people.

    Args:
        tower: Encodes the captions.
        features: ``(N, D)`` normalised class tokens.
        captions: ``N`` captions; many fit several faces, so that even a perfect model stays below 1.
        subjects: ``(N,)`` who each face is.
        seed: Of the bootstrap.
        resamples: Its samples.
    """
    with torch.no_grad():
        texts = torch.cat(
            [tower.encode_text(captions[row : row + _BATCH]).cpu() for row in range(0, len(captions), _BATCH)]
        )
    likeness = features @ functional.normalize(texts, dim=-1).T
    who, place = np.unique(subjects, return_inverse=True)
    faces = np.bincount(place)
    draws = np.random.default_rng(seed).integers(0, len(who), (resamples, len(who)))
    scores = {}
    for direction, table in (("caption of a face", likeness), ("face of a caption", likeness.T)):
        own = table.diagonal()[:, None]
        rank = ((table > own).sum(1) + 0.5 * ((table == own).sum(1) - 1)).numpy()
        for k in (1, 5, 10):
            hit = (rank < k).astype(float)
            hits = np.bincount(place, weights=hit)
            low, high = np.percentile(hits[draws].sum(1) / faces[draws].sum(1), [2.5, 97.5])
            scores[f"{direction}, first {k}"] = Score(
                float(hit.mean()), float(low), float(high), chance=k / len(captions), n=len(captions)
            )
    return scores


def report(name: str = "embedded", limit: int = 1000, device: str = "cpu") -> dict:
    """Attributes and retrieval of a CLIP on held-out faces.

    Args:
        name: Of the CLIP, as ``clip.load`` takes it.
        limit: Faces to measure on.
        device: Where to run, as :func:`fer_core.hardware.device` takes it.

    Returns:
        ``backbone``, ``weights``, ``faces`` (fingerprint), ``attributes`` and ``retrieval``.

    Raises:
        UserError: If there is no such CLIP or device, or the limit is below 1.
    """
    tower = clip.load(name, device=hardware.device(device))
    faces, drawn = sets.load("facs-still-8", "test", limit=limit), sets.draw("facs-still-8", "test", limit)
    features = encode(tower, faces)
    return {
        "backbone": tower.name, "weights": tower.weights, "faces": faces.fingerprint,
        "attributes": plain(attribute_scores(tower, features, drawn)),
        "retrieval": plain(retrieval_scores(tower, features, faces.caption, drawn.subject.numpy())),
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """The command line; a user's mistake ends it with one line and exit code 2.

    Args:
        argv: Arguments; the process's own by default.
    """
    with cli_common.mistakes_told("evaluate"):
        _main(argv)


def _main(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(description="Measure what an embedded CLIP knows besides emotions.")
    parser.add_argument(
        "--clip", default="embedded", help="as clip.load takes it, such as embedded:weights.safetensors"
    )
    parser.add_argument("--limit", type=int, default=1000, help="faces to measure on")
    parser.add_argument("--device", default="cpu", help="auto, cpu (default), cuda, cuda:1, mps")
    parser.add_argument("--out", type=Path, help="where the JSON goes; standard output by default")
    arguments = parser.parse_args(argv)
    if arguments.out is not None:
        atomic.check(arguments.out)  # before the work
    text = json.dumps(report(arguments.clip, arguments.limit, arguments.device), indent=2) + "\n"
    if arguments.out is None:
        print(text, end="")
    else:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
