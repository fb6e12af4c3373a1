"""The methods that the papers' own are compared with, against their equations written out."""

import math

import pytest
import torch
from tiny import stirred

from fer_core import models, prompts
from fer_core.batch import Batch, ImageFeatures
from fer_core.errors import UserError
from fer_core.layers.split_attention import SplitAttention
from fer_core.models.base import normalise
from fer_core.models.soft_prompts import words_start


def built(name, clip, classes, **settings):
    torch.manual_seed(0)
    return models.build(name, clip, classes, settings)


# CLIP-Adapter


def test_clip_adapter_mixes_the_adapted_feature_in(tiny_clip, classes, make_batch):
    method, batch = stirred(built("clip-adapter", tiny_clip, classes, ratio=0.3, reduction=3), 0.1), make_batch()
    f = normalise(tiny_clip.encode_image(batch.image).class_token)
    first, second = method.adapter[0].weight, method.adapter[2].weight
    assert first.shape == (8, 24)
    mixed = normalise(0.3 * ((f @ first.T).relu() @ second.T).relu() + 0.7 * f)
    torch.testing.assert_close(method(batch).features, mixed)
    torch.testing.assert_close(method(batch).logits, tiny_clip.logit_scale * mixed @ method.prototypes.T)


# Tip-Adapter


def shown(method, count=24, seed=0):
    """Features of a training split, as batches."""
    generator = torch.Generator().manual_seed(seed)
    token = torch.randn(count, 24, generator=generator)
    label = torch.arange(count) % 3  # of the fourth class there is no image
    rows = []
    for at in range(0, count, 8):
        part = slice(at, at + 8)
        features = ImageFeatures(token[part])
        rows.append(Batch(torch.empty(8, 0), label[part], torch.arange(at, at + 8), features=features))
    return token, label, rows


def test_tip_adapter_equals_its_equations(tiny_clip, classes, make_batch):
    method = built("tip-adapter", tiny_clip, classes, shots=5, alpha=0.7, beta=3.0)
    token, label, rows = shown(method)
    zero_shot = models.build("zero-shot", tiny_clip, classes)
    batch = make_batch()
    # An empty cache says nothing.
    torch.testing.assert_close(method(batch).logits, zero_shot(batch).logits)
    method.prepare(rows)
    f = normalise(tiny_clip.encode_image(batch.image).class_token)
    expected = zero_shot(batch).logits.clone()
    used = method.values.sum(1) > 0
    assert used.sum() == 15
    for key, value in zip(method.keys[used], method.values[used], strict=True):
        votes = torch.exp(-3.0 * (1 - f @ key))
        expected += 0.7 * votes[:, None] * value
        # Each key is the feature of an image of that class.
        same = (normalise(token) - key).abs().amax(1) < 1e-6
        assert label[same].tolist() == [value.argmax().item()]
    torch.testing.assert_close(method(batch).logits, expected)


def test_tip_adapters_cache_does_not_depend_on_the_runs_seed_and_trains_on_request(tiny_clip, classes):
    one, other = (
        built("tip-adapter", tiny_clip, classes, shots=4),
        built("tip-adapter", tiny_clip, classes, train=False),
    )
    _, _, rows = shown(one)
    torch.manual_seed(5)
    one.prepare(rows)
    again = built("tip-adapter", tiny_clip, classes, shots=4)
    again.prepare(rows)
    assert torch.equal(one.keys, again.keys)
    assert one.keys.requires_grad
    assert other.parameter_groups(0.1, 0.1) == []


def tip_rows(order):
    """A training split, its samples coming in some order."""
    token = torch.randn(40, 24, generator=torch.Generator().manual_seed(0))
    rows = []
    for chosen in torch.tensor(order).split(8):
        features = ImageFeatures(token[chosen])
        rows.append(Batch(torch.empty(len(chosen), 0), chosen % 4, chosen, features=features))
    return token, rows


def test_tip_adapter_draws_its_images_whatever_order_they_come_in(tiny_clip, classes):
    method = built("tip-adapter", tiny_clip, classes, shots=5)
    token, rows = tip_rows(list(range(40)))
    method.prepare(rows)
    once = method.keys.detach().clone()
    # Not the first ones of each class: a split may be sorted by people.
    assert not torch.allclose(once[:5], normalise(token[::4][:5]))
    _, turned = tip_rows(list(range(39, -1, -1)))
    method.prepare(turned)
    torch.testing.assert_close(method.keys, once)


def test_tip_adapter_forgets_the_images_of_another_look(tiny_clip, classes):
    method = built("tip-adapter", tiny_clip, classes, shots=5)
    _, rows = tip_rows(list(range(40)))
    method.prepare(rows)
    method.prepare(tip_rows(list(range(8)))[1])
    assert method.values.sum(0).tolist() == [2.0] * 4
    assert (method.keys.abs().sum(1) > 0).sum() == 8


# CoCoOp


def test_cocoop_equals_a_loop_over_images(tiny_clip, classes, make_batch):
    method, batch = stirred(built("cocoop", tiny_clip, classes), 0.1), make_batch(3)
    assert method.context.shape == (4, 16)
    logits = []
    for image in batch.image:
        f = normalise(tiny_clip.encode_image(image[None]).class_token)
        context = method.context + method.meta(f)
        words = tiny_clip.tokens([f"{word}." for word in prompts.class_words(classes)])
        texts = normalise(tiny_clip.encode_text(words.with_context(context)))
        logits.append(tiny_clip.logit_scale * f @ texts.T)
    torch.testing.assert_close(method(batch).logits, torch.cat(logits))


def test_cocoop_starts_at_its_words_where_the_image_says_nothing(tiny_clip, classes, make_batch):
    method, batch = built("cocoop", tiny_clip, classes), make_batch()
    with torch.no_grad():
        for parameter in method.meta[2].parameters():
            parameter.zero_()
    zero_shot = models.build("zero-shot", tiny_clip, classes, {"templates": "a photo of a {}."})
    torch.testing.assert_close(method(batch).logits, zero_shot(batch).logits, atol=1e-5, rtol=0)


def test_cocoop_heeds_its_settings(tiny_clip, classes):
    method = built("cocoop", tiny_clip, classes, context_init="one two", reduction=3, words="adjective")
    torch.testing.assert_close(method.context, words_start(tiny_clip, "one two"))
    assert method.meta[0].out_features == 24 // 3
    expected = tiny_clip.tokens([f"{word}." for word in prompts.class_words(classes, "adjective")])
    assert torch.equal(method.words.ids, expected.ids)


# MaPLe and PromptSRC


def test_maple_couples_the_towers_prompts(tiny_clip, classes, make_batch):
    method, batch = stirred(built("maple", tiny_clip, classes, depth=2, length=3), 0.1), make_batch()
    assert method.text_prompts.shape == (2, 3, 16)
    visual = torch.stack(
        [own @ layer.weight.T + layer.bias for own, layer in zip(method.text_prompts, method.coupling, strict=True)]
    )
    f = normalise(tiny_clip.encode_image(batch.image, prompts=visual).class_token)
    texts = tiny_clip.tokens([f"x x x {word}." for word in prompts.class_words(classes)])
    g = normalise(tiny_clip.encode_text(texts, prompts=method.text_prompts))
    torch.testing.assert_close(method(batch).logits, tiny_clip.logit_scale * f @ g.T)


@pytest.mark.parametrize("name", ["maple", "promptsrc"])
def test_deep_prompts_start_at_the_words(name, tiny_clip, classes):
    method = built(name, tiny_clip, classes, depth=9, length=2)
    words = tiny_clip.tokens(["a photo of a"]).embedding[0, 1:3]
    torch.testing.assert_close(method.text_prompts[0], words)
    assert method.text_prompts.shape[0] == 3  # no deeper than the tower
    assert method.text_prompts[1:].std().item() == pytest.approx(0.02, rel=0.3)


def test_one_layer_of_prompts_is_a_prompt_in_words(tiny_clip, classes, make_batch):
    method, batch = built("promptsrc", tiny_clip, classes, depth=1, length=4, aggregate=False), make_batch()
    with torch.no_grad():
        method.visual_prompts.zero_()
    texts = normalise(tiny_clip.encode_text([f"a photo of a {word}." for word in prompts.class_words(classes)]))
    method(batch)
    torch.testing.assert_close(method._texts, texts, atol=1e-5, rtol=0)


def test_promptsrc_holds_on_to_the_frozen_clip(tiny_clip, classes, make_batch):
    method, batch = (
        stirred(built("promptsrc", tiny_clip, classes, image_weight=3.0, text_weight=5.0, logit_weight=0.5), 0.1),
        make_batch(),
    )
    output = method(batch)
    losses = method.losses(batch, output)
    frozen = normalise(tiny_clip.encode_image(batch.image).class_token)
    told = (tiny_clip.logit_scale * frozen @ method.frozen_texts.T).softmax(1)
    own = output.logits.softmax(1)
    assert losses["image"].item() == pytest.approx((output.features - frozen).abs().mean().item(), rel=1e-5)
    assert losses["text"].item() == pytest.approx((method._texts - method.frozen_texts).abs().mean().item(), rel=1e-5)
    kl = (own * (own / told).log()).sum(1).mean()
    assert losses["logits"].item() == pytest.approx(kl.item(), rel=1e-4)
    parts = losses["label"] + 3.0 * losses["image"] + 5.0 * losses["text"] + 0.5 * losses["logits"]
    assert losses["loss"].item() == pytest.approx(parts.item(), rel=1e-5)


def test_promptsrc_uses_the_gaussian_mean_of_its_epochs(tiny_clip, classes, make_batch):
    method, batch = built("promptsrc", tiny_clip, classes, aggregate_mean=0.5, aggregate_deviation=0.25), make_batch()
    seen, weights = [], []
    for epoch in (1, 2, 3, 4):
        with torch.no_grad():
            method.text_prompts.add_(torch.randn_like(method.text_prompts))
        method.end_epoch(epoch, 4)
        seen.append(method.text_prompts.detach().clone())
        weights.append(math.exp(-0.5 * (epoch - 2.0) ** 2))
    expected = sum(weight * own for weight, own in zip(weights, seen, strict=True)) / sum(weights)
    torch.testing.assert_close(method.gathered_text / method.gathered, expected)
    other = built("promptsrc", tiny_clip, classes, aggregate=False).eval()
    with torch.no_grad():
        other.text_prompts.copy_(expected)
        other.visual_prompts.copy_(method.gathered_visual / method.gathered)
    torch.testing.assert_close(method.eval()(batch).logits, other(batch).logits)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("clip-adapter", {"ratio": 0.0}, r"ratio in \(0, 1\], got 0.0"),
        ("clip-adapter", {"reduction": 0}, "reduction of at least 1"),
        ("tip-adapter", {"shots": 0}, "shots of at least 1"),
        ("tip-adapter", {"beta": 0.0}, "expected alpha >= 0 and beta > 0"),
        ("cocoop", {"context_init": " "}, "expected words in context_init, got none"),
        ("maple", {"depth": 0}, "depth and length of at least 1"),
        ("promptsrc", {"length": 0}, "depth and length of at least 1"),
        ("promptsrc", {"text_weight": -1.0}, "expected weights of at least 0 .*, got 10, -1 and 1, and 0.1; "),
    ],
)
def test_settings_that_do_not_fit(name, settings, message, tiny_clip, classes):
    with pytest.raises(UserError, match=message):
        built(name, tiny_clip, classes, **settings)


@pytest.mark.parametrize("name", ["maple", "promptsrc"])
def test_deep_prompts_heed_their_words(name, tiny_clip, classes):
    method = built(name, tiny_clip, classes, length=2, context_init="one two", words="adjective")
    torch.testing.assert_close(method.text_prompts[0], words_start(tiny_clip, "one two"))
    expected = tiny_clip.tokens([f"x x {word}." for word in prompts.class_words(classes, "adjective")])
    assert torch.equal(method.words.ids, expected.ids)


def test_promptsrc_trains_its_prompts_and_not_their_mean(tiny_clip, classes, make_batch):
    method, batch = built("promptsrc", tiny_clip, classes), make_batch()
    method.end_epoch(1, 2)
    method.train()
    method.losses(batch, method(batch))["loss"].backward()
    for own in (method.text_prompts, method.visual_prompts):
        assert own.grad is not None
        assert own.grad.abs().max() > 0


@pytest.mark.parametrize("tower", ["text", "visual"])
def test_promptsrc_weighs_the_epochs_of_either_tower(tower, tiny_clip, classes):
    method = built("promptsrc", tiny_clip, classes, aggregate_mean=0.5, aggregate_deviation=0.25)
    own, expected, total = getattr(method, f"{tower}_prompts"), 0.0, 0.0
    for epoch in (1, 2, 3, 4):
        with torch.no_grad():
            own.add_(torch.randn_like(own))
        method.end_epoch(epoch, 4)
        weight = torch.tensor(-0.5 * (epoch - 2.0) ** 2).exp()
        expected, total = expected + weight * own.detach(), total + weight
    torch.testing.assert_close(getattr(method, f"gathered_{tower}") / method.gathered, expected / total)


# LoRA


@pytest.mark.parametrize("layers", ["attention", "mlp", "all"])
def test_lora_starts_at_the_frozen_tower_and_equals_merged_weights(layers, tiny_clip, classes, make_batch):
    method, batch = built("lora", tiny_clip, classes, rank=3, alpha=6.0, layers=layers), make_batch()
    torch.testing.assert_close(
        method(batch).features, normalise(tiny_clip.encode_image(batch.image).class_token), atol=1e-6, rtol=0
    )
    stirred(method, 0.1)
    merged = tiny_clip.copy_image_tower()
    for block in merged.transformer.resblocks:
        block.attn = SplitAttention(block.attn)
    change = {name: value for name, value in method.tower.named_parameters() if "lora_" in name}
    assert all((".attn." in name) or layers != "attention" for name in change)
    with torch.no_grad():
        for name, down in change.items():
            if ".lora_A." not in name:
                continue
            up = change[name.replace(".lora_A.", ".lora_B.")]
            place = name.partition(".lora_A.")[0].replace(".base_layer", "")
            merged.get_submodule(place).weight.add_(6.0 / 3 * up @ down)
    expected = tiny_clip.encode_image(batch.image, tower=merged).class_token
    torch.testing.assert_close(method(batch).features, normalise(expected), atol=1e-5, rtol=1e-4)


def test_lora_trains_low_rank_factors_and_its_head_alone(tiny_clip, classes):
    method = built("lora", tiny_clip, classes, rank=2, layers="mlp", head="text")
    names = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
    assert names
    assert all(".lora_A." in name or ".lora_B." in name for name in names)
    # Three blocks, two layers each: r (d + 4 d) numbers a layer.
    assert sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad) == 6 * 2 * 5 * 32
    with pytest.raises(UserError, match="expected rank >= 1"):
        built("lora", tiny_clip, classes, rank=0)


def test_lora_drops_in_training_alone_and_on_request(tiny_clip, classes, make_batch):
    method, batch = stirred(built("lora", tiny_clip, classes, dropout=0.5), 0.1), make_batch()
    assert torch.equal(method(batch).logits, method(batch).logits)
    method.train()
    assert not torch.equal(method(batch).logits, method(batch).logits)
