"""FineCLIPER: an expression is there or is not, by frames, parsing maps, landmarks and descriptions of a clip.

Chen et al. 2024 (ACM MM, arXiv 2407.02157). The parts, the positive and negative texts, the backbone and headline
scores are public or known from secondary sources; equations are our reading, and each choice is a setting. Both of
CLIP's towers stay frozen::

    t+_c, t-_c     texts            "a person with an expression of {c}" and "… of no {c}", (C, D) each
    f_V            frames           clips through the image tower with layers.video_adapters, normalised mean of frames
    f_P, f_L       parsing,         maps drawn as pictures, through the tower with a second set of adapters (shared by
                   landmarks        the two, or one each)
    f_D            descriptions     mean of a description's sentences through the text tower, then a residual bottleneck
    z_m,c        = exp(t) (cos(f_m, t+_c) - cos(f_m, t-_c))      log-odds of a two-way softmax over the two texts
    z_c          = sum_m w_m z_m,c                               w: softmax of learned numbers, even at the start
    L            = CE(z, y) + lambda mean_m CE(z_m, y) + mu mean_c BCE(z_c, c = y) + nu L_D

L_D contrasts f_V with the descriptions of the batch, in both directions; it lets descriptions teach without being
needed in the test. Class words in descriptions are masked unless that is switched off. Our reading: t is learned, and
starts at CLIP's own scale over the mean length of the differences of texts, as a CLIP that hardly hears the word "no"
puts both texts of a class so near that its own scale leaves no odds, and no gradient to raise it by; lambda = 0.5, mu =
0; the class token of each frame is normalised, then averaged; 12 sets of three AIM adapters, 10.65 million numbers with
ViT-B/16, two of which come near the 20 million that the paper reports.

Reproduces the rows "FineCLIPER" of the tables on DFEW, FERV39k and MAFW.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core import prompts
from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.descriptions.masking import mask
from fer_core.errors import UserError, unknown
from fer_core.layers.described import describe, described
from fer_core.layers.maps import landmark_picture, parsing_picture
from fer_core.layers.video_adapters import Bottleneck, VideoAdapters, check_settings
from fer_core.losses.description_contrast import description_contrast
from fer_core.models.base import Method, Output, SupervisedConfig, cosine_logits, normalise, pool, register

STREAMS = ("frames", "parsing", "landmarks", "descriptions")


@dataclass(frozen=True)
class FineCliperConfig(SupervisedConfig):
    """Settings of FineCLIPER.

    Args:
        streams: What is looked at, of ``frames``, ``parsing``, ``landmarks`` and ``descriptions``.
        texts: Which texts are compared with: ``both``, ``positive`` or ``negative``.
        temporal: Whether frames look at each other (adapter over time).
        spatial: Whether the attention within a frame is adapted.
        joint: Whether there is an adapter beside the MLP.
        reduction: The tower's width over that of the adapters' middles.
        drop_path: Probability that a clip goes without an adapter in training.
        max_frames: Most frames of a clip.
        shared_maps: One set of adapters for parsing maps and landmarks, in place of one each.
        fusion: Weights of the streams: ``learned``, or ``even``.
        scale: exp(t): learned from where the odds ``spread`` as CLIP's own logits do, ``learned`` from CLIP's own scale
            on, or held at ``clip``'s.
        stream_weight: lambda, of each stream's own cross-entropy.
        binary_weight: mu, of the binary cross-entropy over classes.
        description_weight: nu, of the contrast with descriptions; 0 leaves it out.
        masked: Whether class words in descriptions are masked.
        recompute: Whether the backward pass computes each block again: less memory, more time.
        missing: What becomes of a stream that a batch lacks: an ``error``, or it is left out (``leave``).
    """

    streams: tuple[str, ...] = ("frames", "parsing", "landmarks")
    texts: Literal["both", "positive", "negative"] = "both"
    temporal: bool = True
    spatial: bool = True
    joint: bool = True
    reduction: int = 4
    drop_path: float = 0.1
    max_frames: int = 16
    shared_maps: bool = True
    fusion: Literal["learned", "even"] = "learned"
    scale: Literal["spread", "learned", "clip"] = "spread"
    stream_weight: float = 0.5
    binary_weight: float = 0.0
    description_weight: float = 0.0
    masked: bool = True
    recompute: bool = False
    missing: Literal["error", "leave"] = "error"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.streams:
            if name not in STREAMS:
                raise unknown("stream", name, STREAMS)
        if not self.streams or len(set(self.streams)) < len(self.streams):
            raise UserError(f"streams: expected one or more, each once, got {list(self.streams)}; choose of {STREAMS}")
        for name in ("stream_weight", "binary_weight", "description_weight"):
            if getattr(self, name) < 0:
                raise UserError(f"{name}: expected at least 0, got {getattr(self, name)}; 0 leaves the term out")
        check_settings(self.reduction, self.max_frames, self.drop_path)
        if self.description_weight and "frames" not in self.streams:
            raise UserError("description_weight: expected the stream frames, which it teaches; add it, or set it to 0")


@register
class FineCliper(Method):
    """Streams of a clip against positive and negative texts."""

    name = "fine-cliper"
    Config = FineCliperConfig
    frozen_image_tower = False
    asks_by_texts = True
    config: FineCliperConfig
    positive: Tensor
    negative: Tensor

    def __init__(self, clip: Clip, classes: Sequence[str], config: FineCliperConfig) -> None:
        super().__init__(clip, classes, config)
        positive, negative = prompts.positive_negative(classes)
        self.register_buffer("positive", clip.fixed_texts(positive), persistent=False)
        self.register_buffer("negative", clip.fixed_texts(negative), persistent=False)
        self.max_frames = config.max_frames
        self.maps = tuple(name for name in ("parsing", "landmarks") if name in config.streams)
        self.needs_maps = bool(self.maps) and config.missing == "error"
        self.adapters = nn.ModuleDict()
        for stream in config.streams:
            if stream != "descriptions" and self.set_of(stream) not in self.adapters:
                self.adapters[self.set_of(stream)] = self._adapters()
        uses_text = "descriptions" in config.streams
        self.describe = Bottleneck(clip.embed_dim, max(1, clip.embed_dim // 4)) if uses_text else None
        learned = config.fusion == "learned" and len(config.streams) > 1
        self.fusion = nn.Parameter(torch.zeros(len(config.streams)), requires_grad=learned)
        start = torch.tensor(clip.logit_scale).log()
        if config.scale == "spread":
            start = start - self.texts().norm(dim=1).mean().clamp_min(1e-4).log().cpu()
        self.log_scale = nn.Parameter(start, requires_grad=config.scale != "clip")
        self.to(clip.device)

    def set_of(self, stream: str) -> str:
        """Name of the set of adapters that a stream goes through."""
        return "maps" if stream != "frames" and self.config.shared_maps else stream

    def _adapters(self) -> VideoAdapters:
        config, clip = self.config, self.clip
        return VideoAdapters(
            clip.visual_width, clip.visual_layers, config.max_frames, config.reduction, temporal=config.temporal,
            spatial=config.spatial, joint=config.joint, drop_path=config.drop_path,
        )  # fmt: skip

    # --- streams

    def features(self, batch: Batch) -> dict[str, Tensor]:
        """Normalised features ``(B, D)`` of the streams that the batch has.

        Raises:
            UserError: If a stream is missing and that is an error, or none is left.
        """
        made = {name: self._stream(name, batch) for name in self.config.streams}
        missing = [name for name, value in made.items() if value is None]
        if missing and self.config.missing == "error":
            raise UserError(
                f"expected a batch with {', '.join(self.config.streams)}, got none of {', '.join(missing)}; set "
                "data.annotations or data.descriptions, choose other model.streams, or set model.missing=leave"
            )
        found = {name: value for name, value in made.items() if value is not None}
        if not found:
            raise UserError(f"expected one of the streams {', '.join(self.config.streams)}, got none; choose others")
        return found

    def picture(self, stream: str, batch: Batch) -> Tensor | None:
        """What the image tower sees of a stream, ``(B, T, 3, H, W)``; None where the batch has nothing of it.

        Args:
            stream: ``frames``, ``parsing`` or ``landmarks``.
            batch: Of clips, or of stills, which are clips of one frame.
        """
        if stream == "frames":
            image = batch.image
        elif stream == "parsing":
            image = None if batch.parsing is None else self._drawn(parsing_picture(batch.parsing))
        elif batch.landmarks is None:
            image = None
        else:
            image = self._drawn(landmark_picture(batch.landmarks, self.clip.image_size))
        return image if image is None or image.ndim == 5 else image[:, None]

    def _stream(self, name: str, batch: Batch) -> Tensor | None:
        if name != "descriptions":
            image = self.picture(name, batch)
            return None if image is None else pool(self.over_time(name, image))
        if batch.caption is None:
            return None
        untold = len(batch.caption) - len(described(batch.caption))
        if untold:  # MAFW's neutral clips have none: whether there is one would tell the class
            raise UserError(
                f"expected a description of each clip, got none of {untold} of {len(batch.caption)}; describe all "
                "(fer-core describe clips), or let descriptions teach alone (model.description_weight)"
            )
        told = self.descriptions(batch.caption)
        assert self.describe is not None
        return normalise(told + self.describe(told))

    def _drawn(self, picture: Tensor) -> Tensor:
        """A picture in 0..1 as the Clip takes it."""
        mean, std = (
            torch.tensor(each, device=picture.device).view(3, 1, 1) for each in (self.clip.mean, self.clip.std)
        )
        size, clips = self.clip.image_size, picture.shape[:-3]
        if picture.shape[-1] != size:
            flat = F.interpolate(picture.flatten(0, -4), (size, size), mode="nearest-exact")
            picture = flat.unflatten(0, clips)
        return (picture - mean) / std

    def over_time(self, stream: str, image: Tensor) -> Tensor:
        """The image tower's class tokens ``(B, T, D)`` of a stream's clips ``(B, T, 3, H, W)``."""
        adapters = self.adapters[self.set_of(stream)].of(image.shape[1])  # pyright: ignore[reportCallIssue]
        encoded = self.clip.encode_image(image, adapters=adapters, patches=False, recompute=self.config.recompute)
        return encoded.class_token

    def descriptions(self, captions: Sequence[str]) -> Tensor:
        """Text features ``(B, D)`` of descriptions, normalised: the mean over their sentences."""
        return describe(self.clip, [self._told(text) for text in captions])

    def _told(self, caption: str) -> str:
        return mask(caption) if self.config.masked else caption

    # --- scores

    def texts(self) -> Tensor:
        """What features are multiplied with, ``(C, D)``: the difference of a class' two texts, or one of them."""
        yes, no = self.positive, self.negative
        return {"both": yes - no, "positive": yes, "negative": -no}[self.config.texts]

    def score(self, feature: Tensor) -> Tensor:
        """``(B, C)`` log-odds that each expression is there, by one stream's features ``(B, D)``.

        The texts are subtracted, not the cosines: of two numbers that are nearly equal, less would be left to fp32.
        """
        return cosine_logits(feature, self.texts(), self.log_scale.exp())

    def weights(self, streams: Sequence[str]) -> Tensor:
        """The weights of some streams, summing to 1."""
        places = [self.config.streams.index(name) for name in streams]
        return self.fusion[places].softmax(0)

    def forward(self, batch: Batch) -> Output:
        """The weighted log-odds of all streams; the features are their weighted mean."""
        self._features = self.features(batch)
        weights = self.weights(list(self._features))
        self._scores = {name: self.score(feature) for name, feature in self._features.items()}
        mix = lambda parts: sum(weight * part for weight, part in zip(weights, parts, strict=True))  # noqa: E731
        return Output(mix(self._scores.values()), normalise(mix(self._features.values())))  # pyright: ignore

    def losses(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """The parts that have a weight, and ``loss``, their weighted sum."""
        config = self.config
        parts, weights = {"label": super().losses(batch, output)["loss"]}, {"label": 1.0}
        if config.stream_weight and len(self._scores) > 1:
            own = [self.labels_against(score, batch) for score in self._scores.values()]
            parts["streams"], weights["streams"] = torch.stack(own).mean(), config.stream_weight
        if config.binary_weight:
            target = F.one_hot(batch.label, len(self.classes)).to(output.logits.dtype)
            parts["binary"] = F.binary_cross_entropy_with_logits(output.logits, target)
            weights["binary"] = config.binary_weight
        if config.description_weight:
            parts["descriptions"], weights["descriptions"] = self._contrast(batch), config.description_weight
        parts["loss"] = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return parts

    def _contrast(self, batch: Batch) -> Tensor:
        """Each clip that is described against the descriptions of the batch, and the other way round."""
        if batch.caption is None:
            raise UserError("description_weight: expected captions in the batch, got none; set data.descriptions, or 0")
        features = self._features["frames"]
        places = described(batch.caption)
        if not places:
            return 0.0 * features.sum()
        texts = [self._told(batch.caption[place]) for place in places]
        logits = cosine_logits(features[places], describe(self.clip, texts), self.clip.logit_scale)
        return description_contrast(logits, texts)
