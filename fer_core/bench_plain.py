"""Methods in the plain form that public code commonly gives them: what :mod:`fer_core.bench_training` compares with.

In float32; in each step every text goes through the text tower at its full length, hard prompts and all, and frozen
features are computed anew; MPA-FER and FineCLIPER go through classes, frames and places of a frame one by one. Written
after the papers' equations and open_clip's own towers.
"""

import copy
from collections.abc import Sequence
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core import prompts
from fer_core.batch import Batch
from fer_core.clip import Clip
from fer_core.models.fine_cliper import FineCliper
from fer_core.models.mpa_fer import MpaFer


class PlainCoOp(nn.Module):
    """CoOp: all class prompts at full length in each step.

    Args:
        clip: Whose open_clip model is used as it is.
        words: One text a class, such as ``"happiness."``.
        context: ``(M, W)`` start of the unified context.
    """

    def __init__(self, clip: Clip, words: Sequence[str], context: Tensor) -> None:
        super().__init__()
        self.model: Any = clip.model
        self.scale = clip.logit_scale
        self.context = nn.Parameter(context.clone())
        ids = open_clip.tokenize([" ".join(["x"] * len(context)) + " " + word for word in words], clip.context_length)
        self.register_buffer("ids", ids.to(context.device))
        self.register_buffer("embedding", self.model.token_embedding(self.ids).detach())

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, C)``."""
        model, count = self.model, len(self.ids)  # pyright: ignore[reportArgumentType]
        after = self.embedding[:, 1 + len(self.context) :]  # pyright: ignore[reportIndexIssue]
        own = self.context.expand(count, -1, -1)
        x = torch.cat([self.embedding[:, :1], own, after], 1) + model.positional_embedding  # pyright: ignore
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask))
        texts = x[torch.arange(count), self.ids.argmax(-1)] @ model.text_projection  # pyright: ignore
        pictures = model.encode_image(image)
        return self.scale * F.normalize(pictures, dim=-1) @ F.normalize(texts, dim=-1).T


class PlainLinearProbe(nn.Module):
    """A linear layer on features that the frozen tower makes anew for each batch."""

    def __init__(self, clip: Clip, head: nn.Linear, scale: float) -> None:
        super().__init__()
        self.model: Any = clip.model
        self.head, self.scale = copy.deepcopy(head), scale

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, C)``."""
        with torch.no_grad():
            pictures = self.model.encode_image(image)
        return self.scale * self.head(F.normalize(pictures, dim=-1))


class PlainFullFineTuning(nn.Module):
    """open_clip's image tower and a classifier, all trained; of clips, the mean of normalised frames."""

    def __init__(self, clip: Clip, prototypes: Tensor) -> None:
        super().__init__()
        self.tower: Any = copy.deepcopy(clip.model.visual).requires_grad_(True)
        self.prototypes = nn.Parameter(prototypes.detach().clone())
        self.scale = clip.logit_scale

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, C)``."""
        features = F.normalize(self.tower(image.flatten(0, -4)), dim=-1)
        if image.ndim == 5:
            features = F.normalize(features.unflatten(0, image.shape[:2]).mean(1), dim=-1)
        return self.scale * features @ self.prototypes.T


class PlainMaple(nn.Module):
    """MaPLe: coupled prompts, all class texts at full length in each step.

    Args:
        clip: Whose open_clip model is used as it is.
        words: One text a class, with placeholders for the prompts, as ``"x x happiness."``.
        prompts: ``(J, P, W_t)`` start of the text prompts.
        coupling: The layers that make the image tower's prompts of them.
    """

    def __init__(self, clip: Clip, words: Sequence[str], prompts: Tensor, coupling: nn.ModuleList) -> None:
        super().__init__()
        self.model: Any = clip.model
        self.scale = clip.logit_scale
        self.prompts, self.coupling = nn.Parameter(prompts.clone()), copy.deepcopy(coupling)
        self.register_buffer("ids", open_clip.tokenize(list(words), clip.context_length).to(prompts.device))
        self.register_buffer("embedding", self.model.token_embedding(self.ids).detach())

    def texts(self) -> Tensor:
        """Text features ``(C, D)``, normalised."""
        model, count = self.model, len(self.ids)  # pyright: ignore[reportArgumentType]
        x = self.embedding
        for place, block in enumerate(model.transformer.resblocks):
            if place < len(self.prompts):
                own = self.prompts[place].expand(count, -1, -1)
                x = torch.cat([x[:, :1], own, x[:, 1 + own.shape[1] :]], 1)  # pyright: ignore[reportIndexIssue]
            x = block(x + model.positional_embedding if place == 0 else x, attn_mask=model.attn_mask)
        x = model.ln_final(x)
        return F.normalize(x[torch.arange(count), self.ids.argmax(-1)] @ model.text_projection, dim=-1)  # pyright: ignore

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, C)``."""
        visual = self.model.visual
        x = visual._embeds(image)
        length = x.shape[1]
        for place, block in enumerate(visual.transformer.resblocks):
            if place < len(self.prompts):
                own = self.coupling[place](self.prompts[place]).expand(len(x), -1, -1)
                x = torch.cat([x[:, :length], own], 1)
            else:
                x = x[:, :length]
            x = block(x)
        pictures = visual.ln_post(x[:, 0]) @ visual.proj
        return self.scale * F.normalize(pictures, dim=-1) @ self.texts().T


class PlainClipAu(nn.Module):
    """CLIP-AU: frames one by one through the frozen tower, all phrases at full length, in each step.

    Args:
        clip: Whose open_clip model is used as it is.
        phrases: The action units in words.
        adapter: Of their features.
        convolution: Over time.
        classifier: Of the likenesses.
    """

    def __init__(
        self, clip: Clip, phrases: Sequence[str], adapter: nn.Module, convolution: nn.Module, classifier: nn.Module
    ) -> None:  # fmt: skip
        super().__init__()
        self.model: Any = clip.model
        self.register_buffer("ids", open_clip.tokenize(list(phrases), clip.context_length).to(clip.device))
        self.adapter, self.convolution = copy.deepcopy(adapter), copy.deepcopy(convolution)
        self.classifier = copy.deepcopy(classifier)

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, C)`` of clips ``(B, T, 3, H, W)``."""
        with torch.no_grad():
            texts = self.model.encode_text(self.ids)
            frames = torch.stack([self.model.encode_image(frame) for frame in image.unbind(1)], 1)
        units = F.normalize(self.adapter(texts), dim=-1)
        video = F.normalize(F.gelu(self.convolution(frames.transpose(1, 2))).mean(-1), dim=-1)
        return self.classifier(5.0 * video @ units.T)


def _full_length(model: Any, embedding: Tensor, ids: Tensor) -> Tensor:
    """Text features ``(N, D)`` of embeddings at their full length, normalised."""
    x = model.transformer(embedding + model.positional_embedding, attn_mask=model.attn_mask)
    x = model.ln_final(x)
    return F.normalize(x[torch.arange(len(ids)), ids.argmax(-1)] @ model.text_projection, dim=-1)


class PlainMpaFer(nn.Module):
    """MPA-FER with the settings of the paper: soft and hard prompts encoded in each step, classes one by one.

    Args:
        method: Ours, whose weights, prototypes and settings it takes.
    """

    def __init__(self, method: MpaFer) -> None:
        super().__init__()
        clip = method.clip
        self.model: Any = clip.model
        self.config, self.scale = method.config, clip.logit_scale
        self.context = nn.Parameter(method.context.detach().clone())
        assert method.visual_prompts is not None
        self.visual_prompts = nn.Parameter(method.visual_prompts.detach().clone())
        self.prototypes = method.prototypes
        gap = " ".join(["x"] * method.config.context_length)
        soft = [f"{gap} {word}." for word in prompts.class_words(method.classes)]
        hard = list(prompts.hard_prompts(method.classes, method.config.granularity, method.config.descriptions))
        ids = [open_clip.tokenize(texts, clip.context_length).to(clip.device) for texts in (soft, hard)]
        self.soft_ids, self.hard_ids = ids

    def _pictures(self, image: Tensor) -> tuple[Tensor, Tensor]:
        visual = self.model.visual
        x = visual._embeds(image)
        length = x.shape[1]
        for own, block in zip(self.visual_prompts, visual.transformer.resblocks, strict=True):
            x = block(torch.cat([x, own.expand(len(x), -1, -1)], 1))[:, :length]
        x = F.normalize(visual.ln_post(x) @ visual.proj, dim=-1)
        return x[:, 0], x[:, 1:]

    def loss(self, batch: Batch) -> Tensor:
        """Equation 12, each part written out."""
        config, model = self.config, self.model
        embedding = model.token_embedding(self.soft_ids).detach()
        after = embedding[:, 1 + config.context_length :]
        embedding = torch.cat([embedding[:, :1], self.context, after], 1)
        texts = _full_length(model, embedding, self.soft_ids)
        with torch.no_grad():
            hard_embedding = model.token_embedding(self.hard_ids)
            hard = _full_length(model, hard_embedding, self.hard_ids)
        features, patches = self._pictures(batch.image)
        scores = []
        for text in texts:
            nearest = (patches @ text).topk(min(config.patches, patches.shape[1]), dim=1).values
            scores.append(features @ text + nearest.mean(1))
        loss = F.cross_entropy(self.scale * torch.stack(scores, 1), batch.label)
        sides = []
        for ids, rows in ((self.soft_ids, embedding), (self.hard_ids, hard_embedding)):
            means = [row[1:end].mean(0) for row, end in zip(rows, ids.argmax(-1).tolist(), strict=True)]
            sides.append(F.normalize(torch.stack(means), dim=-1))
        likeness = sides[0] @ sides[1].T / config.tau
        tokens = -sum(likeness[:, place].log_softmax(0)[place] for place in range(len(texts)))
        apart = (texts - hard).abs().mean()
        near = (1 - (features * self.prototypes[batch.label]).sum(1)).mean()
        return loss + config.beta * (tokens + apart) + config.gamma * near


class PlainFineCliper(nn.Module):
    """FineCLIPER with the settings of the chapter: frame by frame, and over time place by place.

    Args:
        method: Ours, whose weights and settings it takes; without drop path.
    """

    def __init__(self, method: FineCliper) -> None:
        super().__init__()
        clip: Clip = method.clip
        self.model: Any = clip.model
        self.config, self.picture, self.set_of = method.config, method.picture, method.set_of
        self.log_scale = nn.Parameter(method.log_scale.detach().clone())
        self.adapters, self.fusion = copy.deepcopy(method.adapters), nn.Parameter(method.fusion.detach().clone())
        texts = prompts.positive_negative(method.classes)
        self.ids = [open_clip.tokenize(list(rows), clip.context_length).to(clip.device) for rows in texts]

    def _feature(self, image: Tensor, adapters: Any) -> Tensor:
        visual = self.model.visual
        frames = [visual._embeds(frame) + place for frame, place in zip(image.unbind(1), adapters.place, strict=False)]
        for block, adapter in zip(visual.transformer.resblocks, adapters.blocks, strict=True):
            clip = torch.stack(frames, 1)  # (B, T, L, W)
            moved = [adapter.temporal(block.attention(block.ln_1(place))) for place in clip.unbind(2)]
            frames = []
            for frame in (clip + torch.stack(moved, 2)).unbind(1):
                seen = block.attention(block.ln_1(frame))
                frame = frame + seen + adapter.spatial(seen)
                normed = block.ln_2(frame)
                frames.append(frame + block.mlp(normed) + adapter.scale * adapter.joint(normed))
        tokens = [F.normalize(visual.ln_post(frame[:, 0]) @ visual.proj, dim=-1) for frame in frames]
        return F.normalize(torch.stack(tokens).mean(0), dim=-1)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the fused log-odds and of each stream's own."""
        model = self.model
        with torch.no_grad():
            yes, no = (_full_length(model, model.token_embedding(ids), ids) for ids in self.ids)
        scores = []
        for stream in self.config.streams:
            image = self.picture(stream, batch)
            assert image is not None
            feature = self._feature(image, self.adapters[self.set_of(stream)])
            scores.append(self.log_scale.exp() * feature @ (yes - no).T)
        weights = self.fusion.softmax(0)
        fused = sum(weight * score for weight, score in zip(weights, scores, strict=True))
        own = [F.cross_entropy(score, batch.label) for score in scores]
        assert isinstance(fused, Tensor)
        return F.cross_entropy(fused, batch.label) + self.config.stream_weight * torch.stack(own).mean()


class PlainLoop:
    """The plain training loop: one step at a time, with AdamW as torch gives it."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        self.model = model
        self.optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=0.0)

    def gradients(self, batch: Batch) -> Tensor:
        """Leaves gradients on the parameters; gives the loss, the model's own where it has one."""
        self.optimizer.zero_grad()
        model: Any = self.model
        own = getattr(model, "loss", None)
        loss = F.cross_entropy(model(batch.image), batch.label) if own is None else own(batch)
        loss.backward()
        return loss.detach()

    def step(self, batch: Batch) -> float:
        """One step of training; gives the loss."""
        loss = self.gradients(batch)
        self.optimizer.step()
        return loss.item()
