"""Random numbers that come out the same in every version of torch.

torch keeps ``rand`` and ``randn`` of a seed as they are, but 2.6 draws exponential numbers, which ``multinomial`` takes
for a single choice, by MKL where that is at hand, and whole numbers up to 2**31 from 32 random bits instead of 64.
People and views would be others there, and no record would fit them.
"""

import torch
from torch import Tensor


def choose(weights: Tensor, generator: torch.Generator) -> Tensor:
    """One index a row, each as likely as its weight: what ``torch.multinomial(weights, 1)`` draws in torch 2.15.

    Of exponential numbers, each over its weight, the smallest lies at an index with just that probability.

    Args:
        weights: ``(B, K)`` float32, at least 0, in each row one above it.
        generator: A CPU generator.

    Returns:
        ``(B,)`` int64.
    """
    waits = -torch.log1p(-torch.rand(weights.shape, dtype=torch.float64, generator=generator))
    return (weights / waits.float()).argmax(1)


def seeds(count: int, generator: torch.Generator) -> Tensor:
    """``(count,)`` int64 in 0..2**31 - 1: what ``torch.randint(0, 2**31, (count,))`` draws in torch 2.15.

    Args:
        count: How many.
        generator: A CPU generator.
    """
    bits = torch.empty(count, dtype=torch.int64).random_(-(2**63), None, generator=generator)  # all 64, in any version
    return bits % 2**31
