"""Methods in the plain form that public code commonly gives them: what :mod:`fer_core.bench_training` compares with.

In float32; in each step every text goes through the text tower at its full length, and frozen features are computed
anew. Written after the papers' equations and open_clip's own towers.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core.clip import Clip


class NaiveCoOp(nn.Module):
    """CoOp: all class prompts at full length in each step.

    Args:
        clip: Whose open_clip model is used as it is.
        words: One text a class, such as ``"happiness."``.
        context: ``(M, W)`` start of the unified context.
    """

    def __init__(self, clip: Clip, words: Sequence[str], context: Tensor) -> None:
        super().__init__()
        import open_clip

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


class NaiveLinearProbe(nn.Module):
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


class NaiveFullFineTuning(nn.Module):
    """open_clip's image tower and a classifier, all trained."""

    def __init__(self, clip: Clip, prototypes: Tensor) -> None:
        super().__init__()
        self.tower: Any = copy.deepcopy(clip.model.visual).requires_grad_(True)
        self.prototypes = nn.Parameter(prototypes.detach().clone())
        self.scale = clip.logit_scale

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, C)``."""
        return self.scale * F.normalize(self.tower(image), dim=-1) @ self.prototypes.T


class NaiveLoop:
    """The plain training loop: one step at a time, with AdamW as torch gives it."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        self.model = model
        self.optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=0.0)

    def gradients(self, image: Tensor, label: Tensor) -> Tensor:
        """Leaves gradients on the parameters; gives the loss."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(image), label)
        loss.backward()
        return loss.detach()

    def step(self, image: Tensor, label: Tensor) -> float:
        """One step of training; gives the loss."""
        loss = self.gradients(image, label)
        self.optimizer.step()
        return loss.item()
