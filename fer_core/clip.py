"""CLIP (Radford et al. 2021, arXiv 2103.00020): open_clip's towers, frozen, with places for prompts and adapters.

One loader serves the embedded model, every plain ViT of open_clip and local files::

    clip = load("embedded")
    clip = load("ViT-B-16-quickgelu:openai", device="cuda")
    clip = load("ViT-B-32:random", seed=1)
    clip = load("ViT-L-14:weights.safetensors")

With nothing injected both encoders give open_clip's own output. Gradients pass through the frozen towers to whatever
was injected, and only the part of a tower above the lowest injected parameter keeps activations for them.
"""

import copy
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from fer_core import clip_towers, clip_weights
from fer_core.batch import ImageFeatures
from fer_core.clip_towers import Adapters, BlockAdapter, TextTokens, attend
from fer_core.errors import UserError

__all__ = ["Adapters", "BlockAdapter", "Clip", "TextTokens", "attend", "load"]


@lru_cache(maxsize=1)
def _tokenizer() -> open_clip.SimpleTokenizer:
    return open_clip.SimpleTokenizer()


def load(name: str, device: torch.device | str = "cpu", seed: int = 0) -> "Clip":
    """Loads a frozen CLIP.

    Args:
        name: ``embedded`` for the model that ships with the project, else ``NAME:WEIGHTS``. NAME is ``embedded`` or a
            plain ViT of open_clip; WEIGHTS is one of its pretrained tags, ``random``, a file (``.safetensors``, or
            a state dict saved by torch), or ``TAG@FILE``, a tag whose file was fetched by hand. A bare file does
            not say how its model was trained: the activation is NAME's, pixels are normalised as OpenAI's.
        device: Where to put it.
        seed: What fixes random weights.

    Raises:
        UserError: If the name, the weights or their pairing is not known, or the weights cannot be had.
    """
    source = clip_weights.resolve(name)
    return Clip(clip_weights.build(source, seed), source.name, source.mean, source.std).to(device)


class Clip(nn.Module):
    """A frozen CLIP; D is the width of the joint space, N the number of patches, L of tokens, P of prompts.

    Args:
        model: open_clip's model, a ViT pooled at its class token with a causal text tower. It is frozen.
        name: What records call it, ``NAME:WEIGHTS``.
        mean: Per-channel mean that images are normalised with, in 0..1.
        std: Per-channel deviation that images are normalised with, in 0..1.

    Attributes:
        weights: SHA-256 of the weights, 16 hex digits.
        image_size: Height and width of an image, pixels.
        patch_grid: Rows and columns of patches.
        embed_dim: D.
        context_length: The most tokens that a text may have, SOS and EOS included.
        logit_scale: What cosines are multiplied by before softmax (already exponentiated).
        visual_width: Width W of the image tower's tokens; ``visual_layers`` blocks.
        text_width: Width W of the text tower's tokens; ``text_layers`` blocks.

    Raises:
        UserError: If the model's towers lack the places that prompts and adapters need.
    """

    def __init__(
        self, model: nn.Module, name: str, mean: tuple[float, float, float], std: tuple[float, float, float]
    ) -> None:
        super().__init__()
        clip_towers.check_model(model)
        self.model: Any = model.requires_grad_(False)  # open_clip.CLIP, whose attributes have no types
        self.eval()
        self.name, self.mean, self.std = name, mean, std
        self.weights = clip_weights.fingerprint(model.state_dict())
        visual = self.model.visual
        self.image_size: int = visual.image_size[0]
        self.patch_grid: tuple[int, int] = visual.grid_size
        self.embed_dim: int = visual.output_dim
        self.visual_width: int = visual.transformer.width
        self.visual_layers: int = visual.transformer.layers
        self.text_width: int = self.model.transformer.width
        self.text_layers: int = self.model.transformer.layers
        self.context_length: int = self.model.context_length
        self.logit_scale: float = self.model.logit_scale.exp().item()
        self._fixed: dict[str, Tensor] = {}

    @property
    def device(self) -> torch.device:
        """Where the towers are."""
        return self.model.logit_scale.device

    def train(self, mode: bool = True) -> "Clip":
        """Stays in evaluation mode, whatever the method around it does: the towers are frozen."""
        return super().train(False)

    def encode_image(
        self,
        image: Tensor,
        prompts: Tensor | None = None,
        adapters: Adapters | None = None,
        patches: bool = True,
        tower: VisionTransformer | None = None,
        recompute: bool = False,
    ) -> ImageFeatures:
        """Encodes images, or clips frame by frame.

        Args:
            image: ``(B, 3, H, W)`` or ``(B, T, 3, H, W)`` float, normalised with ``mean`` and ``std``.
            prompts: ``(layers, P, visual_width)``. Those of layer *l* are appended to the sequence before block *l* and
                dropped after it; fewer layers than blocks means the first ones.
            adapters: One adapter or None a block.
            patches: Whether to project the patch tokens too.
            tower: A tower from :meth:`copy_image_tower` to run in place of the frozen one.
            recompute: Whether the backward pass computes each block again, in place of what the forward pass would have
                kept: a third more time for a small part of the memory.

        Returns:
            Class token ``(B, D)`` and patch tokens ``(B, N, D)`` after the last norm and the projection, not
            normalised; with a T axis after B for clips.

        Raises:
            UserError: If images, prompts or adapters do not fit the tower.
        """
        visual = self.model.visual if tower is None else tower
        return clip_towers.encode_image(visual, image, prompts, adapters, patches, recompute)

    def encode_text(
        self, texts: Sequence[str] | TextTokens, prompts: Tensor | None = None, adapters: Adapters | None = None
    ) -> Tensor:
        """Encodes texts, cut after the longest one's EOS.

        Args:
            texts: N texts, or their tokens with or without a learned context.
            prompts: ``(layers, P, text_width)``. They take the places 1 to P, after SOS, before each of the first
                ``layers`` blocks; in the first one they stand for the token embeddings there, before positions
                are added.
            adapters: One adapter or None a block.

        Returns:
            ``(N, D)``, not normalised.

        Raises:
            UserError: If a text is too long, or prompts or adapters do not fit.
        """
        tokens = texts.to(self.device) if isinstance(texts, TextTokens) else self.tokens(texts)
        return clip_towers.encode_text(self.model, tokens, prompts, adapters)

    def tokens(self, texts: Sequence[str]) -> TextTokens:
        """Tokenises texts with CLIP's byte-pair encoding and looks up their embeddings.

        Raises:
            UserError: If there is no text, or one is longer than ``context_length``: nothing is cut silently.
        """
        texts = [texts] if isinstance(texts, str) else texts
        if not texts:
            raise UserError("expected at least one text to tokenise, got none; pass a list of texts")
        tokenizer = _tokenizer()
        rows = [[tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id] for text in texts]
        length = max(map(len, rows))
        if length > self.context_length:
            text = next(text for text, row in zip(texts, rows, strict=True) if len(row) == length)
            raise UserError(
                f"expected at most {self.context_length} tokens a text, got {length} in {text[:40]!r}…; shorten it"
            )
        ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
        eos = ids.argmax(dim=-1)  # EOS has the highest id, and open_clip reads the feature there
        shortest = int(eos.min())
        ids, eos = ids.to(self.device), eos.to(self.device)
        return TextTokens(ids, self.model.token_embedding(ids), eos, shortest, self.context_length)

    def fixed_texts(self, texts: Sequence[str]) -> Tensor:
        """Normalised features ``(N, D)`` of texts that nothing trains; each text is encoded once a Clip."""
        texts = [texts] if isinstance(texts, str) else texts
        missing = [text for text in dict.fromkeys(texts) if text not in self._fixed]
        if missing:
            # Everybody shares these features: a caller's autocast must not decide how precise they are.
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                features = F.normalize(self.encode_text(missing), dim=-1)
            self._fixed.update(zip(missing, features, strict=True))
        return torch.stack([self._fixed[text].to(self.device) for text in texts])

    def copy_image_tower(self) -> VisionTransformer:
        """A trainable copy of the image tower, for :meth:`encode_image`; the frozen one stays as it is."""
        return copy.deepcopy(self.model.visual).requires_grad_(True)
