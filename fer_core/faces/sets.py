"""Named, seeded, fingerprinted sets of rendered faces.

A set is drawn once, kept in the user's cache and read from there. Its splits share no person. A sample depends on its
position alone, so the first N samples of a split are the same whether N or all of them are drawn.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fer_core import atomic, config
from fer_core.errors import UserError, unknown
from fer_core.faces import captions, expressions, identity, scene, sequences
from fer_core.faces.camera import to_bytes
from fer_core.faces.render import effective_units, render
from fer_core.folders import cache_folder

#: Part of each fingerprint and of the cache's key; raise it with every change that alters a picture or a label.
GENERATOR_VERSION = 3

_CHUNK = 64  # faces rendered at once


@dataclass(frozen=True)
class SetSpec:
    """What a set holds.

    Args:
        classes: Class names in label order.
        counts: Samples in train, validation and test.
        people: People in train, validation and test.
        frames: Frames a clip, 0 for stills.
        size: Side of the pictures in pixels.
        variation: How much faces of one class differ.
        sessions: Whether all clips of a person are one recording: same light, background, clothes and camera (colour,
            blur and compression), nothing before the face. Framing, pose and noise are each clip's own.
    """

    classes: tuple[str, ...]
    counts: tuple[int, int, int]
    people: tuple[int, int, int]
    frames: int = 0
    size: int = 64
    variation: expressions.Variation = dataclasses.field(default_factory=expressions.Variation)
    sessions: bool = False


_EIGHT = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
_ELEVEN = (*_EIGHT, "anxiety", "helplessness", "disappointment")
_CLEAR = expressions.Variation(weakest=0.50, blend=0.15)
_FAINT = expressions.Variation(weakest=0.25, blend=0.10)


def _subjects(name: str) -> SetSpec:
    # Source subjects come in train and validation, target subjects in test: 30 clips a subject.
    return SetSpec(("neutral", name), (1200, 240, 360), (40, 8, 12), frames=12, variation=_FAINT, sessions=True)


SETS: dict[str, SetSpec] = {
    "facs-still-8": SetSpec(_EIGHT, (8000, 1200, 2400), (1000, 150, 300), variation=_CLEAR),
    "facs-clip-7": SetSpec(_EIGHT[:7], (2100, 420, 840), (300, 60, 120), frames=8),
    "facs-clip-11": SetSpec(_ELEVEN, (2750, 550, 1100), (250, 50, 100), frames=8),
    "facs-pain": _subjects("pain"),
    "facs-stress": _subjects("stress"),
    "facs-ambivalence": _subjects("ambivalence"),
}
SPLITS = ("train", "validation", "test")


def names() -> tuple[str, ...]:
    """Names of all sets."""
    return tuple(SETS)


@dataclass
class FacsSet:
    """One split of a set, whole in memory.

    Args:
        name: Of the set.
        split: "train", "validation" or "test".
        classes: Class names in label order.
        image: ``(N, 3, S, S)`` uint8, or ``(N, T, 3, S, S)`` for clips.
        label: ``(N,)`` int64.
        votes: ``(N, C)`` float32 counts of simulated annotators.
        action_units: ``(N, A)`` or ``(N, T, A)`` float32, resting face included.
        landmarks: ``(N, 68, 2)`` or ``(N, T, 68, 2)`` float32 in 0..1.
        parsing: ``(N, S, S)`` or ``(N, T, S, S)`` uint8.
        caption: ``N`` strings.
        subject: ``(N,)`` int64, unique across splits.
        tone: ``(N,)`` float32 skin tone, 0 light to 1 dark.
        resting_face: ``(N,)`` int64, index into ``identity.RESTING_FACES``.
        apex: ``(N, 2)`` float32 begin and end of the apex as shares of the clip; zeros for stills.
        fingerprint: Digest of generator, specification and drawn parameters.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    image: Tensor
    label: Tensor
    votes: Tensor
    action_units: Tensor
    landmarks: Tensor
    parsing: Tensor
    caption: list[str]
    subject: Tensor
    tone: Tensor
    resting_face: Tensor
    apex: Tensor
    fingerprint: str

    def __len__(self) -> int:
        return len(self.label)


@dataclass
class Draw:
    """The parameters of a split: who shows what, seen how. Clips are drawn frame by frame, clip after clip."""

    people: identity.Identity
    views: scene.Scene
    units: Tensor
    label: Tensor
    subject: Tensor
    apex: Tensor
    votes: Tensor
    caption: list[str]

    def take(self, positions: Tensor, frames: int = 0) -> "Draw":
        """The parameters of some samples.

        Args:
            positions: ``(M,)``.
            frames: Of a clip, 0 for stills.
        """
        each = max(frames, 1)
        views = self.views.take((positions[:, None] * each + torch.arange(each)).flatten())
        units, label, subject, apex, votes = (
            of[positions] for of in (self.units, self.label, self.subject, self.apex, self.votes)
        )
        caption = [self.caption[position] for position in positions.tolist()]
        return Draw(self.people.take(positions), views, units, label, subject, apex, votes, caption)


def seed_of(name: str, split: str) -> int:
    """The seed of a split."""
    return int.from_bytes(hashlib.sha256(f"{name}/{split}".encode()).digest()[:6], "big")


def draw(name: str, split: str, limit: int | None = None) -> Draw:
    """Draws the parameters of a split; nothing is rendered.

    Args:
        name: Out of :func:`names`.
        split: Out of ``SPLITS``.
        limit: Only the first so many samples.

    Returns:
        The parameters of each sample.

    Raises:
        UserError: For an unknown set or split.
    """
    spec, place = _spec(name, split)
    count, people_count = spec.counts[place], spec.people[place]
    generator = torch.Generator().manual_seed(seed_of(name, split))
    people = identity.sample(people_count, generator)
    label = torch.arange(count) % len(spec.classes)
    # Each person shows every class about equally often, whatever the numbers.
    person = (torch.arange(count) // len(spec.classes)) % people_count
    views = scene.sample(count, generator)
    units = expressions.sample(label, spec.classes, generator, spec.variation)
    shown = people.take(person)
    perceived = effective_units(units, shown)
    counts = expressions.votes(perceived, label, spec.classes, generator)
    if spec.sessions:
        session = torch.arange(people_count)[person]
        fixed = views.take(session)
        for part in ("light", "ambient", "gain", "warmth", "background", "pattern", "clothes", "grey", "jpeg", "blur"):
            setattr(views, part, getattr(fixed, part))
        views.occlusion = torch.zeros_like(views.occlusion)
    texts = captions.captions(
        shown, views, perceived, [spec.classes[row] for row in label.tolist()], seed_of(name, split)
    )
    apex = torch.zeros(count, 2)
    moving = units
    if spec.frames:
        run = sequences.course(units, spec.frames, generator)
        moving, apex = run.units, run.apex
        views = sequences.drift(views, spec.frames, generator)
    offset = sum(spec.people[:place])
    full = Draw(shown, views, moving, label, person + offset, apex, counts, texts)
    return full if limit is None or limit >= count else full.take(torch.arange(limit), spec.frames)


def _spec(name: str, split: str) -> tuple[SetSpec, int]:
    if name not in SETS:
        raise unknown("FACS set", name, SETS)
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    return SETS[name], SPLITS.index(split)


def fingerprint(name: str, split: str, drawn: Draw) -> str:
    """Digest of what was asked for and of the whole numbers that were drawn.

    Intensities and angles stay out: their last digit differs between machines, and now and then between two runs on
    one. The whole numbers do not show them, being drawn before units, votes and captions: who changes how those are
    drawn raises ``GENERATOR_VERSION``, which a test of some draws of this version watches.
    """
    spec, _ = _spec(name, split)
    numbers = torch.cat([drawn.views.seed, drawn.people.texture, drawn.people.hair_style, drawn.label, drawn.subject])
    content = hashlib.sha256(numbers.to(torch.int64).numpy().tobytes())
    facts = {"generator": GENERATOR_VERSION, "name": name, "split": split, "spec": spec, "content": content.hexdigest()}
    return config.digest(facts)


def load(
    name: str, split: str, cache: Path | None = None, limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FacsSet:  # fmt: skip
    """One split of a set, from the cache or drawn now. A cache that cannot be written is told of and does no harm.

    Args:
        name: Out of :func:`names`.
        split: Out of ``SPLITS``.
        cache: Folder to keep rendered splits in; ``FER_CACHE``, or the user's cache folder, by default.
        limit: Only the first so many samples; classes stay balanced.
        progress: Called with the number of faces drawn and of all faces.

    Returns:
        The split.

    Raises:
        UserError: For an unknown set or split, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit of {name}: expected at least 1 sample, got {limit}; leave it out for all")
    drawn = draw(name, split, limit)
    key = fingerprint(name, split, drawn)
    path = (cache or cache_folder()) / "faces" / f"{name}-{split}-{len(drawn.label)}-{key}.safetensors"
    tensors = read_tensors(path)
    if tensors is None:
        tensors = _render_split(name, split, drawn, progress)
        write_tensors(path, tensors)
    spec, _ = _spec(name, split)
    units = effective_units(drawn.units.flatten(0, -2), _by_frame(drawn, spec.frames)).view(drawn.units.shape)
    return FacsSet(
        name=name, split=split, classes=spec.classes, image=tensors["image"], label=drawn.label, votes=drawn.votes,
        action_units=units, landmarks=tensors["landmarks"], parsing=tensors["parsing"], caption=drawn.caption,
        subject=drawn.subject, tone=drawn.people.tone, resting_face=drawn.people.resting_face, apex=drawn.apex,
        fingerprint=key,
    )  # fmt: skip


def _by_frame(drawn: Draw, frames: int) -> identity.Identity:
    if not frames:
        return drawn.people
    return drawn.people.take(torch.arange(len(drawn.label)).repeat_interleave(frames))


def _render_split(name: str, split: str, drawn: Draw, progress: Callable[[int, int], None] | None) -> dict[str, Tensor]:
    spec, _ = _spec(name, split)
    units, people = drawn.units.flatten(0, -2), _by_frame(drawn, spec.frames)
    total = len(units)
    images, points, maps = [], [], []
    for start in range(0, total, _CHUNK):
        rows = torch.arange(start, min(start + _CHUNK, total))
        view = drawn.views.take(rows)
        with torch.inference_mode():
            face = render(units[rows], people.take(rows), view, spec.size, truth=True)
            images.append(to_bytes(face.image, view))
        assert face.landmarks is not None
        assert face.parsing is not None
        points.append(face.landmarks)
        maps.append(face.parsing)
        if progress is not None:
            progress(int(rows[-1]) + 1, total)
    tensors = {"image": torch.cat(images), "landmarks": torch.cat(points), "parsing": torch.cat(maps)}
    if spec.frames:
        tensors = {key: value.unflatten(0, (-1, spec.frames)) for key, value in tensors.items()}
    return {key: value.contiguous() for key, value in tensors.items()}


def read_tensors(path: Path) -> dict[str, Tensor] | None:
    """Kept tensors; None if the file is missing or broken, so that they are made anew."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        return None


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> bool:
    """Keeps tensors in the cache: an interrupt or a full disk leaves nothing half written.

    Returns:
        Whether the file could be written; if not, a warning has been logged.
    """

    def write(temporary: Path) -> None:
        try:
            save_file(tensors, temporary)
        except SafetensorError as error:  # what it makes of a full disk
            raise OSError(str(error)) from error

    return atomic.keep(path, write)
