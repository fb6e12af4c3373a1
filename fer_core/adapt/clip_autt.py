"""CLIP-AUTT: a person's own prompts for action units, tuned on the surest window of each of their videos.

Zeeshan et al. 2026 (arXiv 2603.27999). Abstract, figures, table and the released code are public; where the code
departs from what the figures say we follow the figures, and keep the code's form behind ``released``. CLIP-AU's weights
stay frozen; only contexts of P = 4 vectors before the words of each unit change. For one person with videos v::

    Z      = norm(A_t(E_t([SOS, context_i, words_i, ".", EOS])))       features of the units
    w_v    = argmin over windows w of H(softmax(C(z(w) Z^T)))          K neighbouring frames; no gradient
    L      = mean_v H(softmax(C(5 z(w_v) Z^T)))                        H: entropy
    10 passes, one AdamW step on the contexts each; then every video is classified on its window, chosen anew

Released: contexts without the units' words, their features normalised before the adapter, an optimiser that is built
anew for each step, and contexts that are never reset. Our reading: each person begins from the same contexts; a
person's videos come together; predictions are those after the last step (the release logs the pass before it, and keeps
the best pass by its labels: see ``Adapted.passes``). As in the release, windows are chosen without the factor 5.

Further choices that the abstract allows: a soft choice of windows, or several; see :class:`ClipAuttConfig`.

Reproduces the row "CLIP-AUTT" of Table 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from fer_core.adapt.base import Adapted, register
from fer_core.adapt.unit_prompts import UnitPromptConfig, UnitPromptMethod
from fer_core.batch import Batch
from fer_core.errors import UserError
from fer_core.losses.entropy import entropy
from fer_core.models.base import Method
from fer_core.models.clip_au import LIKENESS


@dataclass(frozen=True)
class ClipAuttConfig(UnitPromptConfig):
    """Settings of CLIP-AUTT.

    Args:
        released: The form of the released code: contexts without the units' words, features normalised before the
            adapter, a new optimiser for each step; ``reset`` is a setting of its own.
        window: K, frames of a window; clips that are shorter are one window. 0 takes the whole clip.
        choice: ``hard`` takes the window of the lowest entropy, ``soft`` weighs all windows by softmax(-entropy /
            temperature), ``several`` takes the mean over the ``kept`` surest.
        kept: Windows that ``several`` keeps.
        temperature: Of ``soft``.
        scaled: Whether windows are chosen by all that decides in the end: with the factor 5, too, and class prompts.
        weight_decay: Of AdamW.
    """

    released: bool = False
    window: int = 16
    choice: Literal["hard", "soft", "several"] = "hard"
    kept: int = 3
    temperature: float = 0.1
    scaled: bool = False
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("window", 0), ("kept", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name}: expected at least {least}, got {getattr(self, name)}; raise it")
        if self.temperature <= 0:
            raise UserError(f"temperature: expected above 0, got {self.temperature}; raise it")


def windows_of(frames: Tensor, window: int) -> Tensor:
    """Every run of ``window`` neighbouring frames: ``(V, T, D)`` to ``(V, M, K, D)``, M = T - K + 1."""
    size = min(window, frames.shape[1]) if window else frames.shape[1]
    return frames.unfold(1, size, 1).movedim(-1, -2)


@dataclass(frozen=True)
class Pass:
    """What one pass over V videos of M windows each saw and said, before the step that follows it.

    Args:
        seen: ``(V, M, D)`` features of the windows, normalised; the same in all passes.
        units: ``(N, D)`` features of the units, normalised.
        weights: ``(V, M)`` how much each window counts, rows summing to 1.
        logits: ``(V, C)``.
    """

    seen: Tensor
    units: Tensor
    weights: Tensor
    logits: Tensor


@register
class ClipAutt(UnitPromptMethod):
    """A person's own action-unit prompts, tuned by the entropy of their surest windows."""

    name = "clip-autt"
    Config = ClipAuttConfig
    config: ClipAuttConfig

    def __init__(self, source: Method, config: Any, seed: int = 0) -> None:
        self.released = config.released
        super().__init__(source, config, seed)

    def adapt(self, videos: Batch) -> Adapted:
        """Tunes on the videos and classifies them; see :class:`~fer_core.adapt.base.TestTimeMethod`."""
        passes = list(self.passes(videos))
        last = passes[-1]
        features = (last.weights[..., None] * last.seen).sum(1)
        return Adapted(
            last.logits,
            torch.nn.functional.normalize(features, dim=-1),
            torch.stack([each.logits for each in passes]),
            last.weights.argmax(1),
        )

    def passes(self, videos: Batch) -> Iterator[Pass]:
        """Tunes on the videos, pass by pass; while a pass is looked at, the prompts are those that it used.

        Args:
            videos: As :meth:`adapt` takes them.

        Yields:
            ``steps`` + 1 passes: each but the last is followed by a step when the next one is asked for.
        """
        frames = self.method.frames(videos)
        # A window's feature does not depend on the prompts: all of them are made once, in one batch.
        with torch.no_grad():
            runs = windows_of(frames, self.config.window)
            seen = self.method.video(runs.flatten(0, 1)).unflatten(0, runs.shape[:2])
        for step in range(self.config.steps + 1):
            last = step == self.config.steps
            with torch.set_grad_enabled(not last):
                units = self.prompts.units()
                weights = self.window_weights(seen, units.detach())
                logits = self._classify(seen, weights, units)
            yield Pass(seen, units.detach(), weights, logits.detach())
            if not last:
                self.step(entropy(logits).mean())

    @torch.no_grad()
    def window_entropies(self, seen: Tensor, units: Tensor) -> Tensor:
        """``(V, M)`` entropy of what the classifier says of each window.

        Args:
            seen: ``(V, M, D)`` features of the windows.
            units: ``(N, D)`` features of the units.
        """
        return entropy(self._logits(seen, units, LIKENESS if self.config.scaled else 1.0))

    @torch.no_grad()
    def window_weights(self, seen: Tensor, units: Tensor) -> Tensor:
        """``(V, M)`` how much each window counts, rows summing to 1."""
        unsure = self.window_entropies(seen, units)
        if self.config.choice == "soft":
            return (-unsure / self.config.temperature).softmax(1)
        kept = 1 if self.config.choice == "hard" else min(self.config.kept, unsure.shape[1])
        best = unsure.topk(kept, dim=1, largest=False).indices
        return torch.zeros_like(unsure).scatter(1, best, 1.0 / kept)

    def _logits(self, seen: Tensor, units: Tensor, scale: float) -> Tensor:
        """The classifier on likenesses of a given scale; ``(..., D)`` to ``(..., C)``."""
        if scale == LIKENESS:
            return self.method.classify(seen.flatten(0, -2), units).unflatten(0, seen.shape[:-1])
        return self.method.classifier(scale * seen @ units.T).float()

    def _classify(self, seen: Tensor, weights: Tensor, units: Tensor) -> Tensor:
        """Logits ``(V, C)``: of the chosen window, or the mean of the windows' logits by their weights."""
        if self.config.choice == "hard":
            chosen = seen[torch.arange(len(seen), device=seen.device), weights.argmax(1)]
            return self._logits(chosen, units, LIKENESS)
        return (weights[..., None] * self._logits(seen, units, LIKENESS)).sum(1)
