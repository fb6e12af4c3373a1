"""The faces that the embedded CLIP is pre-trained on.

They share no person, seed or label with any named set: people, views and expressions are drawn from seeds of their
own, over all expressions that the renderer knows. Rendered shards are kept on disk, so that an interrupted run goes
on.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fer_core import config
from fer_core.faces import PARSING, expressions, identity, scene, sets
from fer_core.faces.camera import to_bytes
from fer_core.faces.identity import BEARDS, EYE_COLORS, HAIR_COLORS, HAIR_STYLES
from fer_core.faces.render import effective_units, render

EMOTIONS: tuple[str, ...] = tuple(expressions.EXPRESSIONS)
SHARD = 4096
_CHUNK = 256  # what compiled drawing takes at once at 64 pixels
_PATCH = 8


@dataclass
class Pool:
    """Rendered faces with all that is known of them.

    Args:
        image: ``(N, 3, S, S)`` uint8.
        units: ``(N, A)`` effective intensities.
        landmarks: ``(N, 68, 2)`` in 0..1.
        regions: ``(N, S/8 * S/8, P)`` share of each parsing class in each patch, uint8 of 255.
        view: ``(N, 8)`` yaw, pitch, roll, light x and y, gain, shift x and y.
        traits: ``(N, 6)`` int64: hair colour, hair style, eye colour, beard, glasses, occlusion.
        looks: ``(N, 2)`` skin tone and age.
        people: Who they are, for captions.
        scenes: How they are seen, for captions.
        label: ``(N,)`` int64, index into ``EMOTIONS``.
    """

    image: Tensor
    units: Tensor
    landmarks: Tensor
    regions: Tensor
    view: Tensor
    traits: Tensor
    looks: Tensor
    people: identity.Identity
    scenes: scene.Scene
    label: Tensor


TRAIT_SIZES: tuple[int, ...] = (
    len(HAIR_COLORS),
    len(HAIR_STYLES),
    len(EYE_COLORS),
    len(BEARDS),
    2,
    len(scene.OCCLUSIONS),
)


def _seed(seed: int, number: int) -> int:
    text = f"embedded-clip-pretraining/{seed}/{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def shard(seed: int, number: int, size: int, cache: Path, device: str = "cpu", compiled: bool = False) -> Pool:
    """One shard of the pool, from the cache or rendered now.

    Args:
        seed: Of the pre-training run.
        number: Which shard.
        size: Side of the pictures.
        cache: Folder for rendered shards.
        device: Where to render.
        compiled: Whether to render through ``torch.compile``, see :func:`~fer_core.faces.render.render`.

    Returns:
        The shard, on the CPU.
    """
    generator = torch.Generator().manual_seed(_seed(seed, number))
    people = identity.sample(SHARD // 2, generator).take(torch.arange(SHARD) // 2)
    scenes = scene.sample(SHARD, generator)
    label = torch.randint(len(EMOTIONS), (SHARD,), generator=generator)
    units = expressions.sample(label, EMOTIONS, generator)
    facts = {"generator": sets.GENERATOR_VERSION, "seed": seed, "number": number, "size": size, "emotions": EMOTIONS}
    path = cache / "pool" / f"{config.digest(facts)}.safetensors"
    tensors = sets.read_tensors(path)
    if tensors is None:
        tensors = _render(units, people, scenes, size, device, compiled)
        sets.write_tensors(path, tensors)
    view = torch.cat(
        [torch.stack([scenes.yaw, scenes.pitch, scenes.roll], 1), scenes.light, scenes.gain[:, None], scenes.shift], 1
    )
    kinds = (
        people.hair_color,
        people.hair_style,
        people.eye_color,
        people.beard,
        people.glasses.long(),
        scenes.occlusion,
    )
    return Pool(
        image=tensors["image"], units=effective_units(units, people), landmarks=tensors["landmarks"],
        regions=tensors["regions"], view=view, traits=torch.stack(kinds, 1),
        looks=torch.stack([people.tone, people.age], 1), people=people, scenes=scenes, label=label,
    )  # fmt: skip


def _render(
    units: Tensor, people: identity.Identity, scenes: scene.Scene, size: int, device: str, compiled: bool
) -> dict[str, Tensor]:
    images, points, regions = [], [], []
    for start in range(0, len(units), _CHUNK):
        rows = torch.arange(start, min(start + _CHUNK, len(units)))
        view = scenes.take(rows)
        with torch.inference_mode():
            face = render(
                units[rows].to(device),
                people.take(rows).to(device),
                view.to(device),
                size,
                truth=True,
                compiled=compiled,
            )
        assert face.landmarks is not None
        assert face.parsing is not None
        images.append(to_bytes(face.image, view))
        points.append(face.landmarks.cpu())
        regions.append(_shares(face.parsing).cpu())
    return {"image": torch.cat(images), "landmarks": torch.cat(points), "regions": torch.cat(regions)}


def _shares(parsing: Tensor) -> Tensor:
    """``(B, N, P)`` share of each class in each patch, as uint8 of 255."""
    classes = torch.nn.functional.one_hot(parsing.long(), len(PARSING)).permute(0, 3, 1, 2).float()
    pooled = torch.nn.functional.avg_pool2d(classes, _PATCH)
    return (pooled.flatten(2).transpose(1, 2) * 255).round().to(torch.uint8)


def pool(
    seed: int,
    shards: int,
    size: int,
    cache: Path,
    device: str = "cpu",
    compiled: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Pool:
    """All faces of a run.

    Args:
        seed: Of the pre-training run.
        shards: How many, of ``SHARD`` faces each.
        size: Side of the pictures.
        cache: Folder for rendered shards.
        device: Where to render.
        compiled: Whether to render through ``torch.compile``.
        progress: Called with the number of shards done and of all shards.

    Returns:
        The faces of all shards, on the CPU.
    """
    made = []
    for number in range(shards):
        made.append(shard(seed, number, size, cache, device, compiled))
        if progress is not None:
            progress(number + 1, shards)
    return _join(made)


def _join(parts: list[Any]) -> Any:
    """Dataclasses of tensors, joined along the first axis."""
    values = {}
    for field in fields(parts[0]):
        column = [getattr(part, field.name) for part in parts]
        values[field.name] = torch.cat(column) if isinstance(column[0], Tensor) else _join(column)
    return type(parts[0])(**values)
