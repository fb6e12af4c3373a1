"""Cross-entropy in which classes that are taken for each other push harder.

Our reading of the part of LES-CLIP's hybrid loss (Fu et al., MM 2025) that aims at similar emotions; the paper's
equation is not public. With w_yj the likeness of classes y and j, sum_j w_yj = 1, w_yy = 0::

    L = - log( exp l_y / (exp l_y + sum_{j != y} (1 + b w_yj) exp(l_j + m w_yj)) )

b weighs a similar class up, m demands a margin from it in logits. With b = m = 0 it is plain cross-entropy.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def similar_emotion(
    logits: Tensor, label: Tensor, likeness: Tensor, weight: float = 1.0, margin: float = 2.0
) -> Tensor:
    """The mean loss of a batch.

    Args:
        logits: ``(B, C)``.
        label: ``(B,)`` int64.
        likeness: ``(C, C)``, rows sum to 1, zeros on the diagonal.
        weight: b.
        margin: m, in logits.
    """
    similar = likeness.to(logits.dtype)[label]  # (B, C); 0 at the true class
    return F.cross_entropy(logits + margin * similar + torch.log1p(weight * similar), label)


def text_likeness(texts: Tensor, temperature: float = 0.1) -> Tensor:
    """How alike the classes' texts are: a softmax over each class' cosines to the others.

    Args:
        texts: ``(C, D)`` normalised.
        temperature: Of the softmax; lower ones look at the nearest class alone.

    Returns:
        ``(C, C)``, rows sum to 1, zeros on the diagonal.
    """
    cosines = texts @ texts.T / temperature
    return cosines.masked_fill(torch.eye(len(texts), dtype=torch.bool, device=texts.device), -torch.inf).softmax(1)
