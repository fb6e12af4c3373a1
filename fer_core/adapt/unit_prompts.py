"""Learned contexts before the words of CLIP-AU's action units: what its test-time prompt methods tune."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from fer_core import prompts
from fer_core.adapt.base import AdaptConfig, TestTimeMethod
from fer_core.clip import TextTokens
from fer_core.errors import UserError
from fer_core.models.base import Method, normalise
from fer_core.models.clip_au import ClipAu
from fer_core.models.soft_prompts import random_start, words_start

Start = Literal["random", "words"]


def clip_au(source: Method, name: str) -> ClipAu:
    """The source, which must be CLIP-AU.

    Raises:
        UserError: If it is another method.
    """
    if not isinstance(source, ClipAu):
        raise UserError(f"{name}: expected clip-au as its source, got {source.name}; it tunes texts of action units")
    return source


def sentences(phrases: Sequence[str]) -> list[str]:
    """Phrases with a full stop; texts that have one, as templates of class names do, stay as the source knows them."""
    return [phrase if phrase.endswith(".") else f"{phrase}." for phrase in phrases]


class UnitPrompts:
    """Contexts of P vectors, one set an action unit, and the features of the texts that they make.

    Args:
        source: A trained CLIP-AU.
        length: P.
        start: ``random`` (N(0, 0.02^2)) or the first P tokens of neutral ``words``.
        released: The form of the authors' released code: the unit's words are not in the sequence. It is SOS, the
            context, the padding token's embedding and zeros, read where the phrase would end without a context.
        seed: Of random starts.
    """

    def __init__(self, source: ClipAu, length: int, start: Start, released: bool, seed: int = 0) -> None:
        if length < 1:
            raise UserError(f"context_length: expected at least 1, got {length}; the paper has 4")
        self.source, self.clip = source, source.clip
        phrases = source.phrases
        self.words, self.released = self.clip.tokens(sentences(phrases)), released
        if released:
            self.words = self._without_words(self.words)
        device = self.clip.device
        if start == "words":
            first = words_start(self.clip, prompts.unit_context(), length)
            if len(first) < length:
                raise UserError(
                    f"context_length: expected at most {len(first)} with start=words, got {length}; lower it, or "
                    "choose start=random"
                )
            self.first = first.expand(len(phrases), -1, -1).clone()
        else:
            generator = torch.Generator().manual_seed(seed)
            # In the released form all units start from one context.
            count = 1 if released else len(phrases)
            drawn = random_start(count, length, self.clip.text_width, generator=generator)
            self.first = drawn.expand(len(phrases), -1, -1).to(device).clone()
        self.context = self.first.clone().requires_grad_(True)

    def _without_words(self, words: TextTokens) -> TextTokens:
        embedding = torch.zeros_like(words.embedding)
        embedding[:, 0] = words.embedding[:, 0]
        embedding[:, 1] = self.clip.model.token_embedding.weight[0]
        return replace(words, embedding=embedding)

    def reset(self) -> None:
        """Back to the first contexts."""
        self.context = self.first.clone().requires_grad_(True)

    def texts(self, context: Tensor | None = None) -> Tensor:
        """Text features ``(N, D)``, not normalised; gradients reach the context alone."""
        tokens = self.words.with_context(self.context if context is None else context)
        return self.clip.encode_text(replace(tokens, eos=self.words.eos) if self.released else tokens)

    def units(self) -> Tensor:
        """Features ``(N, D)`` of the units behind CLIP-AU's adapter, normalised.

        The released form normalises what goes into the adapter, too, which its source was not trained with.
        """
        texts = self.texts()
        return self.source.units(normalise(texts) if self.released else texts)


@dataclass(frozen=True)
class UnitPromptConfig(AdaptConfig):
    """Settings of every method that tunes contexts of action units.

    Args:
        context_length: P, vectors before the words of a unit.
        start: Contexts begin ``random``, or as the first words of a neutral text (``words``).
        steps: Steps on the videos that come at once; 0 tunes nothing.
        lr: Of AdamW.
        weight_decay: Of AdamW.
    """

    context_length: int = 4
    start: Start = "random"
    steps: int = 10
    lr: float = 1e-3
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 0 or self.lr <= 0 or self.weight_decay < 0:
            raise UserError(
                "expected steps and weight_decay of at least 0 and lr above 0, got "
                f"{self.steps}, {self.weight_decay} and {self.lr}; raise them"
            )


class UnitPromptMethod(TestTimeMethod):
    """A test-time method that tunes contexts of CLIP-AU's action units with AdamW."""

    config: Any  # a UnitPromptConfig, of each method its own
    released = False

    def __init__(self, source: Method, config: Any, seed: int = 0) -> None:
        super().__init__(source, config, seed)
        self.method = clip_au(source, self.name)
        self.prompts = UnitPrompts(self.method, config.context_length, config.start, self.released, seed)
        self.reset()

    @property
    def adapted_parameters(self) -> int:
        """Numbers in the contexts."""
        return self.prompts.first.numel()

    def reset(self) -> None:
        """Contexts and the optimiser's moments as at the start."""
        self.prompts.reset()
        self.optimizer = self._optimizer()

    def step(self, loss: Tensor) -> None:
        """One step on the contexts; in the released form the optimiser remembers none before it."""
        if self.released:
            self.optimizer = self._optimizer()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _optimizer(self) -> torch.optim.Optimizer:
        config = self.config
        return torch.optim.AdamW([self.prompts.context], lr=config.lr, weight_decay=config.weight_decay)
