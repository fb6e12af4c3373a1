"""Clips against the descriptions of a batch, and the other way round.

CLIP's own contrast (Radford et al. 2021, section 2.3), as EmoCLIP (Foteinopoulou and Patras 2024, arXiv 2310.16640) and
FineCLIPER take it of videos. That descriptions which are equal word for word count as each other's own is our reading.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def description_contrast(logits: Tensor, texts: Sequence[str]) -> Tensor:
    """Mean of the two cross-entropies, over clips and over descriptions.

    Args:
        logits: ``(B, B)``, rows clips and columns the descriptions of the same clips: scaled cosines.
        texts: B descriptions; what a clip shares with others word for word is no negative of theirs.

    Returns:
        ``()``, 0 or more.
    """
    alike = torch.tensor([[one == other for other in texts] for one in texts], device=logits.device)
    target = alike.to(logits.dtype) / alike.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
