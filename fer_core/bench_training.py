"""Training steps of each method against the plain form of the same method, side by side, after both gave equal numbers.

The ratio of floating-point operations is exact and carries the claim; the ratio of times stands beside it. With
``cached`` features a step leaves out the image tower, which is fair only where it is frozen and nothing is augmented:
the uncached row always stands beside.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fer_core import bench, clip, engine, models, prompts
from fer_core.batch import Batch
from fer_core.bench_naive import NaiveCoOp, NaiveFullFineTuning, NaiveLinearProbe, NaiveLoop
from fer_core.data import CLASSES
from fer_core.engine.steps import Stepper
from fer_core.errors import UserError, unknown

TITLE = "Steps of training against the plain form of each method"

TOLERANCE = 1e-5  # of the largest gradient
_LR = 1e-6  # weights hardly move, so that every timed step does the same work


@dataclass(frozen=True)
class Options:
    """What is measured.

    Args:
        backbone: Name of the CLIP; random weights do, as only shapes matter.
        batch_size: Images a step.
        methods: Which methods, or ``all``.
        precision: Of our side: ``fp32``, ``bf16`` or ``fp16``; the plain form is always in fp32.
        device: ``cpu`` or ``cuda``.
        repeats: Pairs of timed steps.
    """

    backbone: str = "ViT-B-32:random"
    batch_size: int = 20
    methods: str = "all"
    precision: str = "fp32"
    device: str = "cpu"
    repeats: int = 5

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.repeats < 1:
            raise UserError("batch_size and repeats: expected at least 1; choose positive numbers")
        if self.methods != "all" and self.methods not in CASES:
            raise unknown("method of the bench", self.methods, CASES)


@dataclass
class Case:
    """A method and its plain form, with equal weights.

    Args:
        method: Ours.
        plain: The module of the plain form.
        pairs: Parameters of ours and of the plain form that must get equal gradients.
        cached: Whether our side may train from features.
    """

    method: models.Method
    plain: nn.Module
    pairs: Sequence[tuple[Tensor, Tensor]]
    cached: bool


def _coop(tower: clip.Clip) -> Case:
    method = models.build("coop", tower, CLASSES, {})
    words = [f"{word}." for word in prompts.class_words(CLASSES, "noun")]
    plain = NaiveCoOp(tower, words, method.context.detach())  # pyright: ignore[reportCallIssue]
    return Case(method, plain, [(method.context, plain.context)], cached=True)  # pyright: ignore[reportArgumentType]


def _linear_probe(tower: clip.Clip) -> Case:
    method = models.build("linear-probe", tower, CLASSES, {"start": "text"})
    plain = NaiveLinearProbe(tower, method.head, tower.logit_scale)  # pyright: ignore[reportArgumentType]
    pairs = list(zip(method.head.parameters(), plain.head.parameters(), strict=True))  # pyright: ignore
    return Case(method, plain, pairs, cached=True)


def _full_fine_tuning(tower: clip.Clip) -> Case:
    method = models.build("full-fine-tuning", tower, CLASSES, {})
    plain = NaiveFullFineTuning(tower, method.prototypes)  # pyright: ignore[reportArgumentType]
    pairs = [*zip(method.tower.parameters(), plain.tower.parameters(), strict=True)]  # pyright: ignore
    return Case(method, plain, [*pairs, (method.prototypes, plain.prototypes)], cached=False)  # pyright: ignore


CASES: dict[str, Callable[[clip.Clip], Case]] = {
    "linear-probe": _linear_probe, "coop": _coop, "full-fine-tuning": _full_fine_tuning,
}  # fmt: skip


def measure(options: Options) -> Iterator[bench.Row]:
    """One row for each method, and one more for each that can train from features."""
    device = torch.device(options.device)
    engine.seed_everything(0)
    tower = clip.load(options.backbone, device=device)
    image = torch.randn(options.batch_size, 3, tower.image_size, tower.image_size, device=device)
    label = torch.arange(options.batch_size, device=device) % len(CLASSES)
    batch = Batch(image, label, torch.arange(options.batch_size, device=device))
    peak = _matrix_peak(device, options.precision)
    for name in CASES if options.methods == "all" else (options.methods,):
        case = CASES[name](tower)
        case.method.train()
        yield _row(name, case, batch, options, peak)
        if case.cached:
            with torch.no_grad(), engine.autocast(device, options.precision):
                features = tower.encode_image(image, patches=False)
            features.class_token = features.class_token.float()
            cached = replace(batch, image=image.new_empty(len(batch), 0), features=features)
            yield _row(f"{name}, cached features", case, cached, options, peak, image)


def _row(what: str, case: Case, batch: Batch, options: Options, peak: float, image: Tensor | None = None) -> bench.Row:
    pixels = batch.image if image is None else image
    training = engine.Training(lr=_LR, precision=options.precision)  # pyright: ignore[reportArgumentType]
    stepper = Stepper(case.method, training, engine.Processes(pixels.device))
    loop = NaiveLoop(case.plain, _LR)
    difference = _difference(case, stepper, loop, batch, pixels)
    if options.precision == "fp32" and difference > TOLERANCE:
        raise AssertionError(f"{what}: expected equal gradients, they differ by {difference:.1e} of the largest")
    ours = lambda: stepper.step(batch, 1.0, 1.0, "the bench")  # noqa: E731
    plain = lambda: loop.step(pixels, batch.label)  # noqa: E731
    ours_flops, plain_flops = _flops(ours), _flops(plain)
    ours_kept, plain_kept = _peak(ours, pixels.device), _peak(plain, pixels.device)
    timed = bench.compare(what, "images", len(batch), _waiting(ours, pixels), _waiting(plain, pixels), options.repeats)
    return {
        "what": what, "trained": sum(weight.numel() for weight in stepper.trained), "difference": difference,
        "GFLOP": ours_flops / 1e9, "plain GFLOP": plain_flops / 1e9, "GFLOP ratio": plain_flops / ours_flops,
        "MiB": ours_kept / 2**20, "plain MiB": plain_kept / 2**20, "unit": timed["unit"], "ours": timed["ours"],
        "plain": timed["plain"], "ratio": timed["ratio"], "lowest": timed["lowest"], "highest": timed["highest"],
        "of matrix peak": ours_flops / len(batch) * timed["ours"] / peak,
    }  # fmt: skip


def _difference(case: Case, stepper: Stepper, loop: NaiveLoop, batch: Batch, pixels: Tensor) -> float:
    """Largest difference of two gradients, as a share of the largest gradient."""
    stepper.optimizer.zero_grad()
    stepper._gradients(batch, 1.0)
    loop.gradients(pixels, batch.label)
    ours, plain = (torch.cat([pair[side].grad.float().flatten() for pair in case.pairs]) for side in (0, 1))  # pyright: ignore
    return ((ours - plain).abs().max() / plain.abs().max()).item()


def _flops(step: Callable[[], Any]) -> int:
    """Floating-point operations of one step, forward and backward, a multiplication and an addition as two."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it hides its products from the counter
    try:
        with FlopCounterMode(display=False) as counter:
            step()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops()


def _peak(step: Callable[[], Any], device: torch.device) -> int:
    """Bytes a step needs: the device's peak on CUDA; elsewhere what it keeps for its backward pass."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with _kept() as kept:
        step()
    return sum(kept.values())


@contextmanager
def _kept() -> Iterator[dict[int, int]]:
    """Sizes of the storages that autograd keeps meanwhile, by address; weights are not counted."""
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes


def _waiting(step: Callable[[], Any], where: Tensor) -> Callable[[], None]:
    """The step, and on CUDA the end of its work."""

    def run() -> None:
        step()
        if where.is_cuda:
            torch.cuda.synchronize(where.device)

    return run


def _matrix_peak(device: torch.device, precision: str) -> float:
    """Floating-point operations a second of a large matrix product, the best of a few."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    size = 8192 if device.type == "cuda" else 1536
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        torch.mm(one, other)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
