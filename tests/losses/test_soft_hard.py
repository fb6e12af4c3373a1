"""Alignment of soft and hard prompts against loops and closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F

from fer_core.losses.soft_hard import contrastive_alignment, distance_alignment, token_likeness

GENERATOR = torch.Generator().manual_seed(0)
SOFT, HARD = (torch.randn(4, 6, generator=GENERATOR) for _ in range(2))


def test_the_contrast_runs_over_soft_prompts_for_a_fixed_hard_one():
    expected = 0.0
    for d in range(4):
        scores = [math.exp(F.cosine_similarity(SOFT[c], HARD[d], dim=0).item() / 0.3) for c in range(4)]
        expected -= math.log(scores[d] / sum(scores))
    assert contrastive_alignment(SOFT, HARD, 0.3).item() == pytest.approx(expected, rel=1e-5)
    # The other way round would be another number.
    assert contrastive_alignment(HARD, SOFT, 0.3).item() != pytest.approx(expected, rel=1e-2)


def test_closed_forms():
    same = torch.ones(4, 6)
    assert contrastive_alignment(same, same, 0.07).item() == pytest.approx(4 * math.log(4), rel=1e-5)
    assert distance_alignment(SOFT, 3 * SOFT).item() == pytest.approx(0.0, abs=1e-6)
    one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert distance_alignment(one, other).item() == pytest.approx(1.0)
    assert distance_alignment(one, other, summed=True).item() == pytest.approx(2.0)


@pytest.mark.parametrize("pooling", ["words", "context", "nearest"])
def test_likeness_of_tokens_equals_a_loop(pooling):
    soft, hard = torch.randn(3, 5, 8, generator=GENERATOR), torch.randn(3, 7, 8, generator=GENERATOR)
    soft_mask = torch.arange(5)[None] < torch.tensor([[5], [3], [4]])
    hard_mask = torch.arange(7)[None] < torch.tensor([[2], [7], [5]])
    found = token_likeness(soft, soft_mask, hard, hard_mask, pooling)
    for c in range(3):
        for d in range(3):
            own, other = soft[c][soft_mask[c]], hard[d][hard_mask[d]]
            if pooling == "nearest":
                expected = torch.stack([F.cosine_similarity(token, other).max() for token in own]).mean()
            else:
                expected = F.cosine_similarity(own.mean(0), other.mean(0), dim=0)
            torch.testing.assert_close(found[c, d], expected)
