"""The contrast of clips and descriptions against a naive version, and what equal descriptions share."""

import math

import pytest
import torch

from fer_core.losses.description_contrast import description_contrast


def test_it_is_clips_contrast_of_both_directions():
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    texts = ["a", "b", "c", "b"]
    naive = 0.0
    for table in (logits, logits.T):
        chance = table.exp() / table.exp().sum(1, keepdim=True)
        for row, own in enumerate(texts):
            right = [column for column, other in enumerate(texts) if other == own]
            naive -= sum(math.log(chance[row, column]) for column in right) / len(right) / 4 / 2
    assert description_contrast(logits, texts).item() == pytest.approx(naive, rel=1e-5)


def test_who_is_described_alike_is_no_negative():
    same = torch.full((2, 2), 30.0)
    assert description_contrast(same, ["a", "a"]).item() == pytest.approx(math.log(2))
    sure = 50 * torch.eye(2)
    assert description_contrast(sure, ["a", "b"]).item() == pytest.approx(0, abs=1e-6)
    assert description_contrast(sure, ["a", "a"]).item() == pytest.approx(25, rel=1e-3)
