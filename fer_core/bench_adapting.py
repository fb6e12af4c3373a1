"""Adaptation at test time against its plain form, side by side, after both said the same of the same videos.

Plain is what released code of such methods commonly does: frames or views go through the frozen image tower again in
every pass, windows one after another through a loop, every text through the text tower at its full length.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_core import adapt, bench, clip, engine, models
from fer_core.adapt.unit_prompts import UnitPromptMethod
from fer_core.adapt.views import views_of
from fer_core.batch import Batch, ImageFeatures
from fer_core.bench_measuring import matrix_peak, measured
from fer_core.clip import TextTokens
from fer_core.errors import UserError
from fer_core.losses.entropy import entropy, marginal_entropy
from fer_core.models.clip_au import ClipAu

TITLE = "Adaptation at test time against its plain form"

# Of the largest logit: after one pass, and after several, over which AdamW carries the rounding of small gradients on.
TOLERANCE, TOLERANCE_OF_SEVERAL = 1e-5, 1e-3


@dataclass(frozen=True)
class Options:
    """What is measured.

    Args:
        backbone: Name of the CLIP; random weights do, as only shapes matter.
        videos: Of a person, for CLIP-AUTT.
        frames: Of each of these videos.
        window: Frames of CLIP-AUTT's windows.
        views: Of a video, for TPT.
        view_frames: Of that video, as its views go through the tower frame by frame in the plain form's every step.
        steps: Of TPT.
        passes: Of CLIP-AUTT over a person's videos, in the row of a whole adaptation.
        device: ``cpu``, ``cuda`` or another one of this machine; through :func:`fer_core.bench.run` also ``auto``.
        repeats: Pairs of timed calls.
    """

    backbone: str = "ViT-B-32:random"
    videos: int = 4
    frames: int = 32
    window: int = 8
    views: int = 8
    view_frames: int = 12
    steps: int = 4
    passes: int = 3
    device: str = "cpu"
    repeats: int = 3

    def __post_init__(self) -> None:
        for name in ("videos", "frames", "window", "view_frames", "steps", "passes", "repeats"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}: expected at least 1, got {getattr(self, name)}; choose a positive number")
        if self.views < 2:
            raise UserError(f"views: expected at least 2, got {self.views}; the first is the video itself")


def measure(options: Options) -> Iterator[bench.Row]:
    """A step of CLIP-AUTT, a whole adaptation of it, and one of TPT."""
    device = torch.device(options.device)
    engine.seed_everything(0)
    tower = clip.load(options.backbone, device=device)
    source = models.build("clip-au", tower, ("neutral", "pain"))
    assert isinstance(source, ClipAu)
    shape = (options.videos, options.frames, 3, tower.image_size, tower.image_size)
    videos = torch.randn(shape, device=device)
    one_video = torch.randn(1, options.view_frames, *shape[2:], device=device)
    peak = matrix_peak(device, "fp32")
    with torch.no_grad():
        seen = tower.encode_image(videos, patches=False)

    def autt(passes: int, features: ImageFeatures | None) -> Callable[[], Tensor]:
        def run() -> Tensor:
            own = features or _encoded(tower, videos)
            return _method("clip-autt", source, options, passes).adapt(_batch(videos, own)).passes[-2]  # pyright: ignore

        return run

    def plain_autt(passes: int) -> Callable[[], Tensor]:
        return lambda: _plain_autt(_method("clip-autt", source, options, passes), videos, options.window, passes)

    def tpt() -> Tensor:
        return _method("tpt", source, options, options.steps).adapt(_batch(one_video, None)).logits

    count, passes = options.videos, options.passes
    for what, amount, ours, plain, allowed in (
        ("clip-autt, a pass on cached features", count, autt(1, seen), plain_autt(1), TOLERANCE),
        (f"clip-autt, {passes} passes", count, autt(passes, None), plain_autt(passes), TOLERANCE_OF_SEVERAL),
        (f"tpt, {options.steps} steps", 1, tpt, lambda: _plain_tpt(source, one_video, options), TOLERANCE_OF_SEVERAL),
    ):
        one, other = ours(), plain()
        difference = ((one - other).abs().max() / other.abs().max()).item()
        if difference > allowed:
            raise AssertionError(f"{what}: expected equal logits, they differ by {difference:.1e} of the largest")
        row = measured(what, "videos", amount, ours, plain, device, options.repeats, peak)
        yield {**row, "difference": difference}


def _encoded(tower: clip.Clip, videos: Tensor) -> ImageFeatures:
    with torch.no_grad():
        return tower.encode_image(videos, patches=False)


def _batch(videos: Tensor, features: ImageFeatures | None) -> Batch:
    none = torch.zeros(len(videos), dtype=torch.int64, device=videos.device)
    image = videos if features is None else videos.new_empty(len(videos), 0)
    return adapt.unlabelled(Batch(image, none, torch.arange(len(videos)), features=features))


def _method(name: str, source: ClipAu, options: Options, steps: int) -> UnitPromptMethod:
    settings: dict[str, Any] = {"steps": steps}
    settings |= {"window": options.window} if name == "clip-autt" else {"views": options.views}
    method = adapt.build(name, source, settings)
    assert isinstance(method, UnitPromptMethod)
    return method


# --- plain forms


def _full_texts(method: UnitPromptMethod, context: Tensor) -> Tensor:
    """Features of all units, their texts at the tower's full length."""
    tower, words = method.method.clip, method.prompts.words
    missing = tower.context_length - words.ids.shape[1] - context.shape[1]
    blank = words.embedding.new_zeros(len(words.ids), missing, words.embedding.shape[2])
    longer = TextTokens(
        F.pad(words.ids, (0, missing)), torch.cat([words.embedding, blank], 1), words.eos, words.shortest, words.limit
    )
    return method.method.units(tower.encode_text(longer.with_context(context)))


def _frame_by_frame(tower: clip.Clip, video: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.stack([tower.model.encode_image(frame[None])[0] for frame in video])


def _plain_autt(method: UnitPromptMethod, videos: Tensor, window: int, passes: int) -> Tensor:
    """CLIP-AUTT: everything anew in each pass, windows one by one; logits of the last pass, before its step."""
    source, context = method.method, method.prompts.first.clone().requires_grad_(True)
    optimizer = torch.optim.AdamW([context], lr=method.config.lr, weight_decay=method.config.weight_decay)
    logits = videos.new_zeros(0)
    for _ in range(passes):
        chosen = []
        with torch.no_grad():
            units = _full_texts(method, context)
        for video in videos:
            frames = _frame_by_frame(source.clip, video)
            with torch.no_grad():
                unsure = []
                for at in range(max(1, len(frames) - window + 1)):
                    z = source.video(frames[None, at : at + window])
                    unsure.append(entropy(source.classifier(z @ units.T))[0])
            best = int(torch.stack(unsure).argmin())
            chosen.append(frames[best : best + window])
        logits = source.classify(source.video(torch.stack(chosen)), _full_texts(method, context))
        optimizer.zero_grad()
        entropy(logits).mean().backward()
        optimizer.step()
    return logits.detach()


def _plain_tpt(source: ClipAu, videos: Tensor, options: Options) -> Tensor:
    """TPT: views encoded again in every step; logits of the video itself after the last one."""
    method = _method("tpt", source, options, options.steps)
    config: Any = method.config
    context = method.prompts.first.clone().requires_grad_(True)
    optimizer = torch.optim.AdamW([context], lr=config.lr, weight_decay=config.weight_decay)
    views = views_of(videos, config.views, config.least_crop, config.window, torch.Generator().manual_seed(0))[0]

    def seen(of: Sequence[Tensor] | Tensor) -> Tensor:
        return source.video(torch.stack([_frame_by_frame(source.clip, view) for view in of]))

    best = None
    for _ in range(config.steps):
        logits = source.classify(seen(views).detach(), _full_texts(method, context))
        if best is None:
            best = entropy(logits.detach()).topk(max(1, int(config.selected * config.views)), largest=False).indices
        optimizer.zero_grad()
        marginal_entropy(logits[best]).backward()
        optimizer.step()
    with torch.no_grad():
        return source.classify(seen(videos), _full_texts(method, context))
