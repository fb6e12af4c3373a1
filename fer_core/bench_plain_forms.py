"""The papers' own methods in the plain form that public code commonly gives them, with their losses.

As in :mod:`fer_core.bench_naive`, for MPA-FER and FineCLIPER: every text goes through the text tower at its full length
in each step, hard prompts and all; classes, frames and places of a frame are gone through one by one.
"""

import copy
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


def _full_length(model: Any, embedding: Tensor, ids: Tensor) -> Tensor:
    """Text features ``(N, D)`` of embeddings at their full length, normalised."""
    x = model.transformer(embedding + model.positional_embedding, attn_mask=model.attn_mask)
    x = model.ln_final(x)
    return F.normalize(x[torch.arange(len(ids)), ids.argmax(-1)] @ model.text_projection, dim=-1)


class NaiveMpaFer(nn.Module):
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
        hard = list(prompts.hard_prompts(method.classes, method.config.granularity))
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


class NaiveFineCliper(nn.Module):
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
