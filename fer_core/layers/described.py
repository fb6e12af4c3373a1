"""Descriptions of clips as text features."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_core.clip import Clip
from fer_core.errors import UserError


def sentences(text: str, words: int = 40) -> list[str]:
    """A description cut at its sentences, and long sentences after some words, so that each fits a text tower.

    Args:
        text: A description.
        words: Most words of a piece; a word is seldom more than two of CLIP's tokens.
    """
    pieces: list[str] = []
    for sentence in text.replace("\n", " ").replace("!", ".").replace("?", ".").split("."):
        found = sentence.split()
        count = math.ceil(len(found) / words)
        pieces += [" ".join(found[place * words : (place + 1) * words]) + "." for place in range(count)]
    return pieces


def described(texts: Sequence[str]) -> list[int]:
    """The places of those that say something."""
    return [place for place, text in enumerate(texts) if sentences(text)]


@torch.no_grad()
def describe(clip: Clip, texts: Sequence[str]) -> Tensor:
    """Text features ``(B, D)`` of descriptions, normalised: the mean over their sentences.

    Args:
        clip: Whose text tower encodes, each sentence once.
        texts: The descriptions.

    Raises:
        UserError: If one is empty.
    """
    rows = [sentences(text) for text in texts]
    if not all(rows):
        raise UserError("descriptions: expected a text for each clip, got an empty one; describe it again")
    told = clip.fixed_texts([sentence for row in rows for sentence in row])
    return F.normalize(torch.stack([part.mean(0) for part in told.split([len(row) for row in rows])]), dim=-1)
