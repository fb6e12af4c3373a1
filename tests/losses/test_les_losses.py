"""The parts of LES-CLIP's loss against loops and closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F

from fer_core.losses.label_aware_contrastive import label_aware_contrastive
from fer_core.losses.load_balance import load_balance
from fer_core.losses.similar_emotion import similar_emotion, text_likeness

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
LABEL = torch.tensor([0, 1, 1, 3, 0, 3])


def test_contrast_equals_a_loop_over_pairs():
    to_text, to_image = [], []
    for image, label in enumerate(LABEL.tolist()):
        row, column = LOGITS[image].exp(), LOGITS[:, label].exp()
        to_text.append(-math.log(row[label] / row.sum()))
        to_image.append(-math.log(column[image] / column.sum()))
    expected = (sum(to_text) + sum(to_image)) / 12
    assert label_aware_contrastive(LOGITS, LABEL).item() == pytest.approx(expected, rel=1e-5)


def test_contrast_of_even_logits_is_known():
    even = torch.zeros(6, 4)
    assert label_aware_contrastive(even, LABEL).item() == pytest.approx((math.log(4) + math.log(6)) / 2)


def test_similar_emotions_equal_their_formula():
    likeness = text_likeness(F.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(1)), dim=-1))
    total = 0.0
    for logits, label in zip(LOGITS.tolist(), LABEL.tolist(), strict=True):
        others = sum(
            (1 + 1.5 * likeness[label, j].item()) * math.exp(logits[j] + 0.8 * likeness[label, j].item())
            for j in range(4) if j != label
        )  # fmt: skip
        total -= math.log(math.exp(logits[label]) / (math.exp(logits[label]) + others))
    found = similar_emotion(LOGITS, LABEL, likeness, weight=1.5, margin=0.8)
    assert found.item() == pytest.approx(total / 6, rel=1e-5)
    plain = similar_emotion(LOGITS, LABEL, likeness, weight=0.0, margin=0.0)
    torch.testing.assert_close(plain, F.cross_entropy(LOGITS, LABEL))


def test_likeness_of_texts_is_a_softmax_over_the_others():
    texts = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), dim=-1)
    likeness = text_likeness(texts, temperature=0.5)
    torch.testing.assert_close(likeness.sum(1), torch.ones(3))
    assert likeness.diagonal().tolist() == [0, 0, 0]
    near, far = texts[0] @ texts[1], texts[0] @ texts[2]
    assert likeness[0, 1].item() == pytest.approx(1 / (1 + math.exp((far - near) / 0.5)), rel=1e-5)


def test_balance_is_one_where_all_is_even_and_the_number_of_experts_where_one_gets_all():
    even = torch.eye(4, dtype=torch.bool).repeat(2, 1)
    assert load_balance(even, torch.full((8, 4), 0.25)).item() == pytest.approx(1.0)
    lone = F.one_hot(torch.zeros(8, dtype=torch.int64), 4)
    assert load_balance(lone.bool(), lone.float()).item() == pytest.approx(4.0)
    # Two of four experts each: f is a half of all assignments each, p as the softmax says.
    pairs = torch.tensor([[True, True, False, False]]).repeat(3, 1)
    weights = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).repeat(3, 1).requires_grad_()
    loss = load_balance(pairs, weights)
    assert loss.item() == pytest.approx(4 * (0.5 * 0.4 + 0.5 * 0.3))
    loss.backward()
    assert weights.grad[0].tolist() == pytest.approx([4 * 0.5 / 3, 4 * 0.5 / 3, 0.0, 0.0])
