"""CLIP-AUTT watched at work: what it sees, chooses and says of one person's videos, pass by pass."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import entr
from torch import Tensor

from fer_core.adapt.base import unlabelled
from fer_core.adapt.clip_autt import ClipAutt
from fer_core.adapt.unit_prompts import sentences
from fer_core.batch import Batch

_OF_PHRASES = ("moved", "words")  # fields that know of no videos


@dataclass(frozen=True)
class Course:
    """An adaptation in numbers: S passes (the first one before any step), V videos, M windows, C classes, N phrases.

    Args:
        entropies: ``(S, V, M)`` of what the classifier says of each window, nats, as windows are chosen by them.
        chosen: ``(S, V)`` the window that counts, or counts most; also its first frame.
        probabilities: ``(S, V, C)``, the prediction of each pass.
        likeness: ``(S, V, N)`` of the chosen window to the person's tuned phrases, as the classifier reads it: 5 cos.
        moved: ``(S, N)`` how far each phrase's contexts lie from where they began: mean length over their vectors.
        words: ``(S, N)`` cosine of each phrase's text with its contexts and without them, behind CLIP's text tower.
    """

    entropies: np.ndarray
    chosen: np.ndarray
    probabilities: np.ndarray
    likeness: np.ndarray
    moved: np.ndarray
    words: np.ndarray

    @property
    def unsure(self) -> np.ndarray:
        """``(S, V)`` entropy of the predictions in nats: what each step makes smaller, in the mean over videos."""
        return entr(self.probabilities).sum(axis=-1)

    def take(self, positions: Sequence[int] | np.ndarray) -> "Course":
        """The course of some of the videos, in that order; they were adapted to together with the others."""
        chosen = np.asarray(positions)
        own = [each.name for each in fields(self) if each.name not in _OF_PHRASES]
        return replace(self, **{name: getattr(self, name)[:, chosen] for name in own})


def follow(method: ClipAutt, videos: Batch) -> Course:
    """Adapts as :meth:`ClipAutt.adapt` does, from where the method stands, and keeps what happens on the way.

    Args:
        method: It is left adapted.
        videos: V videos of one person; labels, where it has any, are taken away first.
    """
    source, prompts = method.method, method.prompts
    found: dict[str, list[Tensor]] = {each.name: [] for each in fields(Course)}
    with torch.no_grad():
        plain = source.clip.encode_text(sentences(source.phrases))
    for each in method.passes(unlabelled(videos)):
        with torch.no_grad():
            chosen = each.weights.argmax(1)
            window = each.seen[torch.arange(len(chosen), device=chosen.device), chosen]
            now = {
                "entropies": method.window_entropies(each.seen, each.units),
                "chosen": chosen,
                "probabilities": each.logits.softmax(-1),
                "likeness": source.likeness(window, each.units).float(),
                "moved": (prompts.context - prompts.first).norm(dim=-1).mean(1),
                "words": F.cosine_similarity(prompts.texts(), plain, dim=-1),
            }
        for name, values in now.items():
            found[name].append(values.cpu())
    return Course(**{name: torch.stack(values).numpy() for name, values in found.items()})
