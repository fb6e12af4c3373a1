"""Alignment of soft prompts with hard ones, at the level of tokens and of whole prompts.

MPA-FER (ICCV 2025, arXiv 2506.21017), equations 1 to 4, as secondary sources give them. With t_c the soft prompt of
class c, t*_d the hard prompt of class d, sim the cosine::

    P(d | t_d) = exp(sim(t_d, t*_d) / tau) / sum_c exp(sim(t_c, t*_d) / tau)          over soft prompts, d fixed
    L          = - sum_d log P(d | t_d)

The token level compares input embeddings, the prompt level what the text tower makes of them. For the prompt level the
sources disagree: one gives the same contrast, the other an L1 distance::

    L_pa = mean_d || theta(t_d) - theta(t*_d) ||_1

Summed over the dimensions, as it is written, that distance weighs D times what it does as a mean over them. PromptSRC's
public code takes the mean for the same purpose (``F.l1_loss`` with ``reduction="mean"``), and so does this project;
which of the two serves better is a row of MPA-FER's ablation ``alignment``.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive_alignment(soft: Tensor, hard: Tensor, tau: float) -> Tensor:
    """The contrast over soft prompts, summed over hard ones.

    Args:
        soft: ``(C, D)`` one vector a soft prompt.
        hard: ``(C, D)`` one vector a hard prompt.
        tau: Temperature.
    """
    with torch.autocast(soft.device.type, enabled=False):
        likeness = F.normalize(soft.float(), dim=-1) @ F.normalize(hard.float(), dim=-1).T / tau  # (soft, hard)
    return -likeness.log_softmax(0).diagonal().sum()


def distance_alignment(soft: Tensor, hard: Tensor, summed: bool = False) -> Tensor:
    """The mean L1 distance of normalised features ``(C, D)``, a mean over dimensions or ``summed`` over them."""
    apart = (F.normalize(soft.float(), dim=-1) - F.normalize(hard.float(), dim=-1)).abs()
    return (apart.sum(-1) if summed else apart.mean(-1)).mean()


Pooling = Literal["words", "context", "nearest"]


def token_likeness(soft: Tensor, soft_mask: Tensor, hard: Tensor, hard_mask: Tensor, pooling: Pooling) -> Tensor:
    """``(C, C)`` cosines of soft and hard prompts by their input embeddings; which tokens count is our reading.

    Not in half precision, even under autocast: the temperature would multiply its rounding.

    Args:
        soft: ``(C, L, W)`` embeddings of the soft prompts.
        soft_mask: ``(C, L)`` the tokens of each that count.
        hard: ``(C, M, W)`` embeddings of the hard prompts.
        hard_mask: ``(C, M)``.
        pooling: ``words`` and ``context`` compare means over the tokens that count; ``nearest`` takes for each soft
            token its nearest hard one, and the mean of those cosines.
    """
    with torch.autocast(soft.device.type, enabled=False):
        if pooling == "nearest":
            cosines = torch.einsum("clw,dmw->cdlm", F.normalize(soft, dim=-1), F.normalize(hard, dim=-1))
            cosines = cosines.masked_fill(~hard_mask[None, :, None, :], -torch.inf).amax(-1)  # (C, C, L)
            counts = soft_mask.sum(1)[:, None]
            return cosines.masked_fill(~soft_mask[:, None, :], 0.0).sum(-1) / counts
        mean = lambda tokens, mask: (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)  # noqa: E731
        return F.normalize(mean(soft, soft_mask), dim=-1) @ F.normalize(mean(hard, hard_mask), dim=-1).T
