import pytest
import torch

from fer_core import models


@pytest.mark.parametrize("head", ["linear", "text"])
def test_before_training_it_equals_zero_shot(head, tiny_clip, classes, make_batch):
    tuned = models.build("full-fine-tuning", tiny_clip, classes, {"head": head})
    zero_shot = models.build("zero-shot", tiny_clip, classes)
    torch.testing.assert_close(tuned(make_batch()).logits, zero_shot(make_batch()).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("head", ["linear", "text"])
def test_every_weight_of_the_tower_is_trained_and_the_head_as_told(head, tiny_clip, classes, make_batch):
    tuned = models.build("full-fine-tuning", tiny_clip, classes, {"head": head})
    batch = make_batch()
    tuned.losses(batch, tuned(batch))["loss"].backward()
    without = [name for name, parameter in tuned.tower.named_parameters() if parameter.grad is None]
    assert without == []
    assert ("prototypes" in dict(tuned.named_parameters())) == (head == "linear")
    assert tuned.prototypes.requires_grad == (head == "linear")


def test_two_methods_on_one_clip_do_not_share_a_tower(tiny_clip, classes):
    first, second = (models.build("full-fine-tuning", tiny_clip, classes) for _ in range(2))
    first.tower.proj.data.zero_()
    assert second.tower.proj.abs().sum() > 0
    assert tiny_clip.model.visual.proj.abs().sum() > 0
