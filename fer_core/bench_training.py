"""Training steps of each method against the plain form of the same method, side by side, after both gave equal numbers.

The ratio of floating-point operations is exact and carries the claim; the ratio of times stands beside it. With
``cached`` features a step leaves out the image tower, which is fair only where it is frozen and nothing is augmented:
the uncached row always stands beside.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fer_core import bench, clip, engine, models, prompts
from fer_core.batch import Batch
from fer_core.bench_measuring import matrix_peak, measured
from fer_core.bench_plain import (
    PlainClipAu,
    PlainCoOp,
    PlainFineCliper,
    PlainFullFineTuning,
    PlainLinearProbe,
    PlainLoop,
    PlainMaple,
    PlainMpaFer,
)
from fer_core.data import CLASSES
from fer_core.engine.steps import Stepper
from fer_core.errors import UserError, unknown
from fer_core.faces import PARSING
from fer_core.models.base import normalise
from fer_core.models.clip_au import ClipAu
from fer_core.models.fine_cliper import FineCliper
from fer_core.models.maple import Maple
from fer_core.models.mpa_fer import MpaFer

TITLE = "Steps of training against the plain form of each method"

TOLERANCE = 1e-5  # of the largest gradient
# Log-odds subtract two texts that nearly agree, so that the rounding of each counts many times: on ViT-B/32 the two
# sides are 2e-5 apart in fp32, 1e-5 with all but the texts in fp64, and 7e-12 with the texts in fp64, too.
TOLERANCE_OF_ODDS = 5e-5
# A learned context in random texts, which nearly agree: on ViT-B/32 the two sides of CoOp are up to 1.03e-5 apart in
# fp32, each 4e-6 from fp64, where they are 4e-7 apart.
TOLERANCE_OF_CONTEXT = 2e-5
_COUNTS = ("batch_size", "clips", "frames", "video_clips", "video_frames", "repeats")
_LR = 1e-6  # weights hardly move, so that every timed step does the same work


@dataclass(frozen=True)
class Options:
    """What is measured.

    Args:
        backbone: Name of the CLIP; random weights do, as only shapes matter.
        batch_size: Images a step.
        clips: Clips a step, of methods whose towers nothing is trained in.
        frames: Of such a clip.
        video_clips: Clips a step, of methods that train in the image tower.
        video_frames: Of such a clip.
        methods: Which methods, or ``all``.
        precision: Of our side: ``fp32``, ``bf16`` or ``fp16``; the plain form is always in fp32.
        device: ``cpu``, ``cuda`` or another one of this machine; through :func:`fer_core.bench.run` also ``auto``.
        repeats: Pairs of timed steps.
    """

    backbone: str = "ViT-B-32:random"
    batch_size: int = 20
    clips: int = 8
    frames: int = 16
    video_clips: int = 2
    video_frames: int = 8
    methods: str = "all"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    device: str = "cpu"
    repeats: int = 5

    def __post_init__(self) -> None:
        wrong = next((name for name in _COUNTS if getattr(self, name) < 1), None)
        if wrong is not None:
            raise UserError(f"{wrong}: expected at least 1, got {getattr(self, wrong)}; choose a positive number")
        if self.methods != "all" and self.methods not in CASES:
            raise unknown("method of the bench", self.methods, CASES)


@dataclass
class Case:
    """A method and its plain form, with equal weights.

    Args:
        method: Ours.
        plain: The module of the plain form.
        pairs: Parameters of ours and of the plain form that must get equal gradients; none where the other side is
            another method.
        cached: Whether our side may train from features.
        clips: How many clips it takes; 0 for stills.
        frames: Of a clip.
        texts: What gives the texts' features ``(C, D)`` on our side and on the plain one, where their cost is measured
            for itself, too.
        tolerance: How far two gradients may be apart, as a share of the largest.
    """

    method: models.Method
    plain: nn.Module
    pairs: Sequence[tuple[Tensor, Tensor]]
    cached: bool
    clips: int = 0
    frames: int = 0
    texts: tuple[Callable[[], Tensor], Callable[[], Tensor]] | None = None
    tolerance: float = TOLERANCE


def _coop(tower: clip.Clip, options: Options) -> Case:
    method = models.build("coop", tower, CLASSES, {})
    words = [f"{word}." for word in prompts.class_words(CLASSES, "noun")]
    plain = PlainCoOp(tower, words, method.context.detach())  # pyright: ignore[reportCallIssue]
    pairs: Any = [(method.context, plain.context)]
    return Case(method, plain, pairs, cached=True, tolerance=TOLERANCE_OF_CONTEXT)


def _linear_probe(tower: clip.Clip, options: Options) -> Case:
    method = models.build("linear-probe", tower, CLASSES, {"start": "text"})
    plain = PlainLinearProbe(tower, method.head, tower.logit_scale)  # pyright: ignore[reportArgumentType]
    pairs = list(zip(method.head.parameters(), plain.head.parameters(), strict=True))  # pyright: ignore
    return Case(method, plain, pairs, cached=True)


def _full_fine_tuning(tower: clip.Clip, options: Options) -> Case:
    method = models.build("full-fine-tuning", tower, CLASSES, {})
    plain = PlainFullFineTuning(tower, method.prototypes)  # pyright: ignore[reportArgumentType]
    pairs = [*zip(method.tower.parameters(), plain.tower.parameters(), strict=True)]  # pyright: ignore
    return Case(method, plain, [*pairs, (method.prototypes, plain.prototypes)], cached=False)  # pyright: ignore


def _maple(tower: clip.Clip, options: Options) -> Case:
    method = models.build("maple", tower, CLASSES, {})
    assert isinstance(method, Maple)
    words = [f"x x {word}." for word in prompts.class_words(CLASSES, "noun")]
    plain = PlainMaple(tower, words, method.text_prompts.detach(), method.coupling)
    pairs = [(method.text_prompts, plain.prompts)]
    pairs += zip(method.coupling.parameters(), plain.coupling.parameters(), strict=True)
    return Case(method, plain, pairs, cached=False, texts=(method.prototypes, plain.texts))


def _clip_au(tower: clip.Clip, options: Options) -> Case:
    method = models.build("clip-au", tower, CLASSES, {})
    assert isinstance(method, ClipAu)
    phrases = prompts.unit_texts(method.config.units)
    plain = PlainClipAu(tower, phrases, method.adapter, method.temporal.convolution, method.classifier)
    parts = ((method.adapter, plain.adapter), (method.temporal.convolution, plain.convolution))
    pairs = [
        pair
        for ours, theirs in (*parts, (method.classifier, plain.classifier))
        for pair in zip(ours.parameters(), theirs.parameters(), strict=True)
    ]
    return Case(method, plain, pairs, cached=True, clips=options.clips, frames=options.frames)


def _mpa_fer(tower: clip.Clip, options: Options) -> Case:
    method = models.build("mpa-fer", tower, CLASSES, {})
    assert isinstance(method, MpaFer)
    method.prototypes.copy_(normalise(torch.randn_like(method.prototypes)))
    plain = PlainMpaFer(method)
    pairs = [(method.context, plain.context), (method.visual_prompts, plain.visual_prompts)]
    return Case(method, plain, pairs, cached=False)  # pyright: ignore[reportArgumentType]


def _fine_cliper(tower: clip.Clip, options: Options, **settings: Any) -> Case:
    method = models.build("fine-cliper", tower, CLASSES, {"drop_path": 0.0, **settings})
    assert isinstance(method, FineCliper)
    plain = PlainFineCliper(method)
    pairs = [*zip(method.adapters.parameters(), plain.adapters.parameters(), strict=True)]
    pairs += [(method.fusion, plain.fusion), (method.log_scale, plain.log_scale)]
    return Case(
        method, plain, pairs, cached=False, clips=options.video_clips, frames=options.video_frames,
        tolerance=TOLERANCE_OF_ODDS,
    )  # fmt: skip


def _fine_cliper_recomputed(tower: clip.Clip, options: Options) -> Case:
    return _fine_cliper(tower, options, recompute=True)


def _fine_cliper_frames(tower: clip.Clip, options: Options) -> Case:
    """FineCLIPER's frames alone, beside full fine-tuning of the tower on the same clips."""
    method = models.build("fine-cliper", tower, CLASSES, {"drop_path": 0.0, "streams": ("frames",)})
    tuned = models.build("full-fine-tuning", tower, CLASSES, {})
    plain = PlainFullFineTuning(tower, tuned.prototypes)  # pyright: ignore[reportArgumentType]
    return Case(method, plain, [], False, options.video_clips, options.video_frames)


CASES: dict[str, Callable[[clip.Clip, Options], Case]] = {
    "linear-probe": _linear_probe, "coop": _coop, "maple": _maple, "full-fine-tuning": _full_fine_tuning,
    "mpa-fer": _mpa_fer, "clip-au": _clip_au, "fine-cliper": _fine_cliper,
    "fine-cliper, blocks recomputed": _fine_cliper_recomputed,
    "fine-cliper's frames, beside full fine-tuning": _fine_cliper_frames,
}  # fmt: skip


def measure(options: Options) -> Iterator[bench.Row]:
    """One row for each method, and one more for each that can train from features."""
    device = torch.device(options.device)
    engine.seed_everything(0)
    tower = clip.load(options.backbone, device=device)
    peak = matrix_peak(device, options.precision)
    for name in CASES if options.methods == "all" else (options.methods,):
        case = CASES[name](tower, options)
        case.method.train()
        batch = _batch(tower, options, case)
        yield _row(name, case, batch, options, peak)
        if case.texts is not None:
            yield _text_row(f"{name}, texts alone", case, options, peak)
        if case.cached:
            with torch.no_grad(), engine.autocast(device, options.precision):
                features = tower.encode_image(batch.image, patches=False)
            features.class_token = features.class_token.float()
            cached = replace(batch, image=batch.image.new_empty(len(batch), 0), features=features)
            yield _row(f"{name}, cached features", case, cached, options, peak, batch.image)


def _batch(tower: clip.Clip, options: Options, case: Case) -> Batch:
    count, size = case.clips or options.batch_size, tower.image_size
    lead = (count, case.frames) if case.clips else (count,)
    place = torch.arange(count, device=tower.device)
    batch = Batch(torch.randn(*lead, 3, size, size, device=tower.device), place % len(CLASSES), place)
    if isinstance(case.method, FineCliper):
        batch.parsing = torch.randint(len(PARSING), (*lead, size, size), device=tower.device).byte()
        batch.landmarks = torch.rand(*lead, 68, 2, device=tower.device)
    return batch


def _row(what: str, case: Case, batch: Batch, options: Options, peak: float, image: Tensor | None = None) -> bench.Row:
    pixels = batch.image if image is None else image
    training = engine.Training(lr=_LR, precision=options.precision)
    stepper = Stepper(case.method, training, engine.Processes(pixels.device))
    loop = PlainLoop(case.plain, _LR)
    seen = replace(batch, image=pixels, features=None)
    difference = _difference(case, stepper, loop, batch, seen) if case.pairs else None
    if difference is not None:
        _refuse_unequal(what, difference, options, case.tolerance)
    ours = lambda: stepper.step(batch, 1.0, 1.0, "the bench")  # noqa: E731
    plain = lambda: loop.step(seen)  # noqa: E731
    unit = "clips" if case.clips else "images"
    row = measured(what, unit, len(batch), ours, plain, torch.device(options.device), options.repeats, peak)
    return {**row, "trained": sum(weight.numel() for weight in stepper.trained), "difference": difference}


def _text_row(what: str, case: Case, options: Options, peak: float) -> bench.Row:
    """The texts' part of a step: their features, and gradients of what a step trains through them."""
    assert case.texts is not None
    weights = [pair[0] for pair in case.pairs], [pair[1] for pair in case.pairs]
    found = []
    for texts, own in zip(case.texts, weights, strict=True):
        target = torch.linspace(-1, 1, texts().numel(), device=own[0].device)

        def step(texts: Any = texts, own: Any = own, target: Tensor = target) -> tuple[Tensor | None, ...]:
            with engine.autocast(target.device, options.precision if texts is case.texts[0] else "fp32"):  # pyright: ignore
                return torch.autograd.grad((texts().flatten() * target).sum(), own, allow_unused=True)

        found.append(step)
    ours, plain = (torch.cat([grad.float().flatten() for grad in step() if grad is not None]) for step in found)
    difference = ((ours - plain).abs().max() / plain.abs().max()).item()
    _refuse_unequal(what, difference, options, case.tolerance)
    row = measured(what, "texts", len(CLASSES), found[0], found[1], torch.device(options.device), options.repeats, peak)
    return {**row, "trained": ours.numel(), "difference": difference}


def _refuse_unequal(what: str, difference: float, options: Options, tolerance: float) -> None:
    if options.precision == "fp32" and difference > tolerance:
        raise AssertionError(f"{what}: expected equal gradients, they differ by {difference:.1e} of the largest")


def _difference(case: Case, stepper: Stepper, loop: PlainLoop, batch: Batch, seen: Batch) -> float:
    """Largest difference of two gradients, as a share of the largest gradient."""
    stepper.optimizer.zero_grad()
    stepper._gradients(batch, 1.0)
    loop.gradients(seen)
    ours, plain = (torch.cat([pair[side].grad.float().flatten() for pair in case.pairs]) for side in (0, 1))  # pyright: ignore
    return ((ours - plain).abs().max() / plain.abs().max()).item()
