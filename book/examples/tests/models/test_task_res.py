"""The task residual begins as zero-shot CLIP, and learns its residuals alone."""

import pytest
import torch
from tiny import tiny_clip

from fer_core import models
from fer_core.batch import Batch
from fer_core.errors import UserError

CLASSES = ("fear", "surprise", "anger")


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return Batch(torch.randn(4, 3, 32, 32, generator=generator), torch.tensor([0, 1, 2, 0]), torch.arange(4))


def test_it_begins_as_zero_shot_clip(batch):
    clip = tiny_clip()
    ours, zero_shot = (models.build(name, clip, CLASSES) for name in ("task-res", "zero-shot"))
    torch.testing.assert_close(ours(batch).logits, zero_shot(batch).logits)


def test_residuals_alone_are_learned(batch):
    method = models.build("task-res", tiny_clip(), CLASSES)
    before = {name: value.clone() for name, value in method.clip.state_dict().items()}
    optimizer = torch.optim.SGD(method.parameter_groups(lr=1.0, weight_decay=0.0))
    method.losses(batch, method(batch))["loss"].backward()
    optimizer.step()
    assert [name for name, value in method.named_parameters() if value.grad is not None] == ["residual"]
    assert method.residual.abs().max() > 0
    assert all(torch.equal(value, before[name]) for name, value in method.clip.state_dict().items())


def test_logits_equal_a_loop(batch):
    method = models.build("task-res", tiny_clip(), CLASSES, {"scale": 0.7})
    torch.nn.init.normal_(method.residual, generator=torch.Generator().manual_seed(1))
    features = method.clip.encode_image(batch.image, patches=False).class_token
    for row, feature in enumerate(features):
        for place in range(len(CLASSES)):
            text = method.prototypes[place] + 0.7 * method.residual[place]
            expected = method.clip.logit_scale * torch.cosine_similarity(feature, text, dim=0)
            torch.testing.assert_close(method(batch).logits[row, place], expected)


def test_a_scale_of_zero_is_refused():
    with pytest.raises(UserError, match="expected a scale above 0, got 0"):
        models.build("task-res", tiny_clip(), CLASSES, {"scale": 0})
