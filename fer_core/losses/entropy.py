"""Entropy of predictions, which test-time methods make small.

TENT (Wang et al. 2021, arXiv 2006.10726), equation 1; TPT (Shu et al. 2022, arXiv 2209.07511), equation 4, takes it of
the mean prediction over an image's views.
"""

import math

import torch
from torch import Tensor


def entropy(logits: Tensor) -> Tensor:
    """Shannon entropy in nats of the softmax over the last axis: ``(..., C)`` to ``(...)``, 0 to log C.

    In no less than fp32: of a confident prediction in half precision nothing would be left.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    told = logits.log_softmax(-1)
    return -(told.exp() * told).sum(-1)


def marginal_entropy(logits: Tensor) -> Tensor:
    """Entropy of the mean prediction over views: ``(..., V, C)`` to ``(...)``."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    mean = logits.log_softmax(-1).logsumexp(-2) - math.log(logits.shape[-2])
    return -(mean.exp() * mean).sum(-1)
