"""CLIP-AU: its equations written out, its published size, and what its parts may see."""

import pytest
import torch
import torch.nn.functional as F

from fer_core import clip as clips
from fer_core import models, prompts
from fer_core.errors import UserError
from fer_core.models.base import normalise


def built(clip, classes, **settings):
    torch.manual_seed(0)
    return models.build("clip-au", clip, classes, settings)


@pytest.mark.parametrize("units", [46, 47])
@pytest.mark.parametrize("class_prompts", [0.0, 0.3])
def test_it_equals_its_equations(units, class_prompts, tiny_clip, classes, make_batch):
    method = built(tiny_clip, classes, units=units, class_prompts=class_prompts)
    batch = make_batch(3, frames=5)
    phrases = [unit.phrase for unit in prompts.action_units(units)]
    assert len(phrases) == units
    first, second = method.adapter[0], method.adapter[2]
    texts = tiny_clip.encode_text(phrases)
    adapted = normalise((texts @ first.weight.T + first.bias).relu() @ second.weight.T + second.bias)
    kernel, bias = method.temporal.convolution.weight, method.temporal.convolution.bias
    for number, images in enumerate(batch.image):
        v = tiny_clip.encode_image(images).class_token
        padded = torch.cat([torch.zeros(1, 24), v, torch.zeros(1, 24)])
        mixed = [bias + sum(kernel[:, :, tap] @ padded[frame + tap] for tap in range(3)) for frame in range(5)]
        video = normalise(F.gelu(torch.stack(mixed)).mean(0))
        z = 5 * adapted @ video
        down, out = method.classifier[0], method.classifier[2]
        logits = out.weight @ (down.weight @ z + down.bias).relu() + out.bias
        if class_prompts:
            own = [f"a person with an expression of {word}." for word in prompts.class_words(classes)]
            logits = 0.7 * logits + 0.3 * 5 * normalise(tiny_clip.encode_text(own)) @ video
        torch.testing.assert_close(method(batch).logits[number], logits, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(method(batch).features[number], video, atol=1e-6, rtol=1e-4)


def test_trained_numbers_with_vit_b_32_are_the_published_ones():
    tower = clips.load("ViT-B-32-quickgelu:random")
    method = models.build("clip-au", tower, ("neutral", "pain"))
    assert sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad) == 1_324_802


def test_a_still_is_a_clip_of_one_frame(tiny_clip, classes, make_batch):
    method, still = built(tiny_clip, classes), make_batch(4)
    clip = make_batch(4)
    clip.image = still.image[:, None]
    torch.testing.assert_close(method(still).logits, method(clip).logits)


def test_the_order_of_frames_counts_and_other_texts_may_stand_for_the_units(tiny_clip, classes, make_batch):
    method, batch = built(tiny_clip, classes), make_batch(2, frames=4)
    expected = method(batch).logits
    batch.image = batch.image.flip(1)
    assert not torch.allclose(method(batch).logits, expected)
    other = torch.randn(46, 24)
    torch.testing.assert_close(method.units(other), normalise(method.adapter(other)))


def test_the_texts_may_be_fewer_or_worded_otherwise(tiny_clip, classes):
    assert built(tiny_clip, classes, units=30).phrases == tuple(unit.phrase for unit in prompts.action_units(47))[:30]
    worded = built(tiny_clip, classes, wording="template").phrases
    assert worded[0] == f"a person with an expression of {prompts.action_units()[0].phrase}"
    named = built(tiny_clip, classes, wording="classes")
    assert named.phrases == tuple(text for row in prompts.texts(classes, "ensemble") for text in row)
    assert named.classifier[0].in_features == len(named.phrases) == 6 * len(classes)
    with pytest.raises(UserError, match="expected 1 to 47, got 48"):
        built(tiny_clip, classes, units=48)


def test_settings_that_do_not_fit(tiny_clip, classes):
    with pytest.raises(UserError, match=r"class_prompts in \[0, 1\), got 1.0"):
        built(tiny_clip, classes, class_prompts=1.0)
