import math

import pytest
import torch
import torch.nn.functional as F

from fer_core.errors import UserError
from fer_core.losses import LabelDistributionLoss

BATCH, CLASSES = 5, 4


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(BATCH, CLASSES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def label() -> torch.Tensor:
    return torch.tensor([0, 3, 1, 1, 2])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_equal_a_naive_loop(logits, label, smoothing):
    total = 0.0
    for row, target in zip(logits, label, strict=True):
        shares = row.exp() / row.exp().sum()
        for k in range(CLASSES):
            wanted = (1 - smoothing) * float(k == target) + smoothing / CLASSES
            total -= wanted * math.log(shares[k])
    loss = LabelDistributionLoss(smoothing)(logits, label)
    torch.testing.assert_close(loss.item(), total / BATCH)


def test_votes_equal_a_naive_loop_and_count_as_shares(logits, label):
    votes = torch.tensor([[7, 2, 1, 0], [0, 0, 0, 10], [1, 1, 1, 1], [0, 3, 0, 0], [2, 0, 2, 0]]).double()
    total = 0.0
    for row, vote in zip(logits, votes, strict=True):
        shares = row.exp() / row.exp().sum()
        total -= sum(vote[k] / vote.sum() * math.log(shares[k]) for k in range(CLASSES))
    loss = LabelDistributionLoss()
    torch.testing.assert_close(loss(logits, label, votes).item(), float(total / BATCH))
    torch.testing.assert_close(loss(logits, label, votes), loss(logits, label, 3 * votes))


def test_unanimous_votes_are_labels_and_missing_votes_fall_back_on_them(logits, label):
    loss = LabelDistributionLoss(0.1)
    unanimous = 10 * F.one_hot(label, CLASSES).double()
    unanimous[2] = 0
    torch.testing.assert_close(loss(logits, label, unanimous), loss(logits, label))


def test_the_least_loss_is_the_entropy_of_the_votes(label):
    votes = torch.tensor([[6.0, 2, 1, 1]]).double().expand(BATCH, -1)
    shares = votes / 10
    entropy = -(shares * shares.log()).sum(dim=1).mean()
    loss = LabelDistributionLoss()
    torch.testing.assert_close(loss(shares.log(), label, votes), entropy)
    assert loss(shares.log() + torch.eye(CLASSES)[0], label, votes) > entropy


def test_gradient(logits, label):
    votes = torch.rand(BATCH, CLASSES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = LabelDistributionLoss(0.2)
    assert torch.autograd.gradcheck(lambda x: loss(x, label, votes), logits.requires_grad_())


def test_bad_settings_and_shapes(logits, label):
    with pytest.raises(ValueError, match="label_smoothing in"):
        LabelDistributionLoss(1.0)
    with pytest.raises(UserError, match=r"votes of shape \(5, 4\).*got \(5, 10\)"):
        LabelDistributionLoss()(logits, label, torch.ones(BATCH, 10))
