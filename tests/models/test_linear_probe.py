import torch

from fer_core import models


def test_started_at_the_prompts_it_equals_zero_shot(tiny_clip, classes, make_batch):
    probe = models.build("linear-probe", tiny_clip, classes, {"start": "text", "templates": "clip"})
    zero_shot = models.build("zero-shot", tiny_clip, classes, {"templates": "clip"})
    torch.testing.assert_close(probe(make_batch()).logits, zero_shot(make_batch()).logits, atol=1e-5, rtol=0)


def test_started_at_zero_it_guesses_evenly_whatever_the_seed(tiny_clip, classes, make_batch):
    output = models.build("linear-probe", tiny_clip, classes)(make_batch())
    assert output.logits.abs().max() == 0


def test_logits_are_the_scaled_linear_layer(tiny_clip, classes, make_batch):
    probe = models.build("linear-probe", tiny_clip, classes, {"logit_scale": 7})
    probe.head.weight.data.normal_()
    probe.head.bias.data.normal_()
    batch = make_batch()
    features = tiny_clip.model.encode_image(batch.image)
    features = features / features.norm(dim=-1, keepdim=True)
    expected = 7 * (features @ probe.head.weight.T + probe.head.bias)
    torch.testing.assert_close(probe(batch).logits, expected, atol=1e-5, rtol=1e-5)
