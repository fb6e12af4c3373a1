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

from fer_core.batch import Batch
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


class NaiveMaple(nn.Module):
    """MaPLe: coupled prompts, all class texts at full length in each step.

    Args:
        clip: Whose open_clip model is used as it is.
        words: One text a class, with placeholders for the prompts, as ``"x x happiness."``.
        prompts: ``(J, P, W_t)`` start of the text prompts.
        coupling: The layers that make the image tower's prompts of them.
    """

    def __init__(self, clip: Clip, words: Sequence[str], prompts: Tensor, coupling: nn.ModuleList) -> None:
        super().__init__()
        import open_clip

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


class NaiveClipAu(nn.Module):
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
        import open_clip

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


class NaiveLoop:
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
