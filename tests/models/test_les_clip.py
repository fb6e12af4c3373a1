"""LES-CLIP: it starts at zero-shot CLIP, and each part does what its equation says."""

import pytest
import torch
import torch.nn.functional as F
from tiny import stirred

from fer_core import models
from fer_core.errors import UserError
from fer_core.layers.discrimination import Discrimination
from fer_core.layers.experts import Experts
from fer_core.losses.label_aware_contrastive import label_aware_contrastive
from fer_core.losses.similar_emotion import similar_emotion, text_likeness
from fer_core.models.base import normalise


def built(clip, classes, **settings):
    torch.manual_seed(0)
    return models.build("les-clip", clip, classes, settings)


@pytest.mark.parametrize("experts", ["blocks", "pre", "post", "none"])
@pytest.mark.parametrize("discrimination", [True, False])
@pytest.mark.parametrize("frames", [None, 3])
def test_it_starts_at_zero_shot_clip(experts, discrimination, frames, tiny_clip, classes, make_batch):
    method = built(tiny_clip, classes, experts=experts, discrimination=discrimination).train()
    same = {"templates": method.config.templates, "words": method.config.words}
    zero_shot = models.build("zero-shot", tiny_clip, classes, same)
    batch = make_batch(4, frames=frames)
    torch.testing.assert_close(method(batch).logits, zero_shot(batch).logits, atol=1e-5, rtol=0)
    assert not torch.allclose(stirred(method)(batch).logits, zero_shot(batch).logits, atol=1e-2) or (
        experts == "none" and not discrimination
    )


@pytest.mark.parametrize("experts", ["post", "none"])
def test_a_frozen_tower_may_be_cached(experts, tiny_clip, classes, make_batch):
    method = stirred(built(tiny_clip, classes, experts=experts))
    assert method.frozen_image_tower
    batch = make_batch(3, frames=2)
    expected = method(batch).logits
    batch.features = tiny_clip.encode_image(batch.image)
    batch.image = torch.full_like(batch.image, torch.nan)
    torch.testing.assert_close(method(batch).logits, expected)


def test_experts_in_the_blocks_equal_a_loop(tiny_clip, classes, make_batch):
    """The tower written out: attention, MLP and experts, image by image and expert by expert."""
    method = stirred(built(tiny_clip, classes, first_block=1, discrimination=False))
    batch, visual = make_batch(3), tiny_clip.model.visual
    features = []
    for image in batch.image:
        x = visual._embeds(image[None])
        for number, block in enumerate(visual.transformer.resblocks):
            normed = block.ln_1(x)
            x = x + block.attn(normed, normed, normed, need_weights=False)[0]
            normed = block.ln_2(x)
            added = block.mlp(normed)
            if number >= 1:
                mixture = method.blocks[number - 1].experts
                told = normalise(visual.ln_post(x[:, 0]) @ visual.proj) @ method.texts.T * tiny_clip.logit_scale
                plain = F.layer_norm(x[:, 0], (32,))
                scores = mixture.router.weight @ plain[0] + mixture.listen.weight @ told.softmax(-1)[0]
                best = scores.argsort(descending=True)[:2]
                shares = scores[best].softmax(0)
                for expert, share in zip(best.tolist(), shares, strict=True):
                    rows = slice(16 * expert, 16 * expert + 16)
                    inner = F.gelu(normed @ mixture.down.weight[rows].T + mixture.down.bias[rows])
                    out = inner @ mixture.up.weight[:, rows].T + mixture.up_bias[expert]
                    added = added + mixture.scale * share * out
            x = x + added
        features.append(visual.ln_post(x[:, 0]) @ visual.proj)
    torch.testing.assert_close(method(batch).features, normalise(torch.cat(features)), atol=1e-5, rtol=1e-4)


def test_one_expert_is_a_dense_adapter():
    torch.manual_seed(0)
    one = Experts(12, 4, count=1, bottleneck=5, top=1, dropout=0.0, scale=0.5).eval()
    torch.nn.init.normal_(one.up.weight)
    tokens, token = torch.randn(3, 7, 12), torch.randn(3, 12)
    expected = 0.5 * one.up(F.gelu(one.down(tokens)))
    torch.testing.assert_close(one(tokens, token, torch.rand(3, 4)), expected)
    assert one.balance.item() == pytest.approx(1.0)


def test_gates_choose_the_best_and_the_router_learns_from_them():
    torch.manual_seed(0)
    experts = Experts(12, 4, count=4, top=2).train()
    torch.nn.init.normal_(experts.up.weight)
    experts(torch.randn(5, 7, 12), torch.randn(5, 12), torch.rand(5, 4)).square().sum().backward()
    assert (experts.gates > 0).sum(1).tolist() == [2] * 5
    torch.testing.assert_close(experts.gates.sum(1), torch.ones(5))
    for layer in (experts.router, experts.noise, experts.listen):
        assert layer.weight.grad.abs().max() > 0
    with pytest.raises(UserError, match="expected 1 to 2 experts an image, got 3"):
        Experts(12, 4, count=2, top=3)


def test_an_only_expert_of_several_is_gated_by_its_probability():
    """A softmax over one logit would be 1, and the router would learn nothing from the task."""
    torch.manual_seed(0)
    experts = Experts(12, 4, count=4, top=1).train()
    torch.nn.init.normal_(experts.up.weight)
    token, reading = torch.randn(5, 12), torch.rand(5, 4)
    experts(torch.randn(5, 7, 12), token, reading).square().sum().backward()
    for layer in (experts.router, experts.noise, experts.listen):
        assert layer.weight.grad.abs().max() > 0
    with torch.no_grad():
        experts.eval()(torch.randn(5, 7, 12), token, reading)
        chances = (experts.router(F.layer_norm(token, (12,))) + experts.listen(reading)).softmax(1)
    torch.testing.assert_close(experts.gates.sum(1), chances.max(1).values)
    assert torch.equal(experts.gates.argmax(1), chances.argmax(1))


def test_before_the_first_block_the_router_sees_the_image(tiny_clip, classes, make_batch):
    method = stirred(built(tiny_clip, classes, experts="pre"))
    method(make_batch(6))
    assert method.mixtures[0].gates.std(0).max() > 1e-3


def test_the_router_hears_of_the_classes_only_where_it_is_sensitive(tiny_clip, classes, make_batch):
    batch = make_batch()
    for sensitive in (True, False):
        method = stirred(built(tiny_clip, classes, sensitive=sensitive))
        before = method(batch)
        gates = method.mixtures[-1].gates
        with torch.no_grad():
            method.texts.copy_(method.texts.roll(1, 0))
        method(batch)
        assert torch.equal(method.mixtures[-1].gates, gates) is not sensitive
        assert before.logits.isfinite().all()


def test_noise_is_of_training_alone(tiny_clip, classes, make_batch):
    method, batch = stirred(built(tiny_clip, classes, expert_dropout=0.0)), make_batch()
    assert torch.equal(method(batch).logits, method(batch).logits)
    method.train()
    assert not torch.equal(method(batch).logits, method(batch).logits)


def test_discrimination_equals_a_loop():
    torch.manual_seed(0)
    texts, patches, image = normalise(torch.randn(3, 8)), torch.randn(2, 5, 8), normalise(torch.randn(2, 8))
    module = Discrimination(texts, inner=4, strength=0.7)
    torch.nn.init.normal_(module.out.weight)
    cosines = texts @ texts.T / 0.1
    for number in range(2):
        seen = []
        for text in texts:
            scores = torch.stack([module.query(text) @ module.key(patch) / 2.0 for patch in patches[number]])
            mixed = sum(
                weight * module.value(patch) for weight, patch in zip(scores.softmax(0), patches[number], strict=True)
            )
            seen.append(module.out(mixed))
        for row in range(3):
            others = [other for other in range(3) if other != row]
            shares = cosines[row, others].softmax(0)
            shared = sum(share * seen[other] for share, other in zip(shares, others, strict=True))
            expected = image[number] + 0.7 * (seen[row] - shared)
            torch.testing.assert_close(module(image, patches)[number, row], expected)


def test_discrimination_keeps_its_difference_in_half_precision():
    """At the start classes see nearly the same: what is left of it must not be rounding."""
    torch.manual_seed(0)
    texts, patches = normalise(torch.randn(8, 64)), torch.randn(4, 49, 64)
    module = Discrimination(texts, inner=64)
    for layer in (module.query, module.key):  # attention that is nearly even
        torch.nn.init.normal_(layer.weight, std=0.02)
    torch.nn.init.normal_(module.out.weight)
    nothing = torch.zeros(4, 64)
    exact = module(nothing, patches)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = module(nothing, patches).float()
    assert (rounded - exact).norm() < 0.1 * exact.norm()


def test_equal_texts_leave_the_image_untouched():
    texts = normalise(torch.randn(1, 8)).expand(4, 8)
    module = Discrimination(texts, inner=4, strength=3.0)
    torch.nn.init.normal_(module.out.weight)
    image = normalise(torch.randn(2, 8))
    torch.testing.assert_close(module(image, torch.randn(2, 5, 8)), image[:, None].expand(2, 4, 8), atol=1e-5, rtol=0)
    kept = Discrimination(texts, inner=4, strength=3.0, subtract=False)
    torch.nn.init.normal_(kept.out.weight)
    assert not torch.allclose(kept(image, torch.randn(2, 5, 8)), image[:, None].expand(2, 4, 8), atol=0.1)


def test_the_loss_is_the_weighted_sum_of_its_parts(tiny_clip, classes, make_batch):
    weights = {"contrast": 0.7, "similar": 0.3, "label": 2.0, "balance": 0.5}
    method, batch = built(tiny_clip, classes, **weights), make_batch()
    losses = method.losses(batch, method(batch))
    assert set(losses) == {*weights, "loss"}
    expected = sum(weights[name] * losses[name].item() for name in weights)
    assert losses["loss"].item() == pytest.approx(expected, rel=1e-5)
    for name in weights:
        if name == "label":
            continue
        without = built(tiny_clip, classes, **{**weights, name: 0.0})
        assert name not in without.losses(batch, without(batch))
    without = built(tiny_clip, classes, experts="none")
    assert "balance" not in without.losses(batch, without(batch))


def test_confusions_are_gathered_in_training_alone(tiny_clip, classes, make_batch):
    method, batch = built(tiny_clip, classes, similar_by="confusion").train(), make_batch(8)
    before = method.confusion.clone()
    output = method(batch)
    method.losses(batch, output)
    told = output.logits.softmax(1)
    for label in range(4):
        expected = torch.lerp(before[label], told[batch.label == label].mean(0), 0.01)
        torch.testing.assert_close(method.confusion[label], expected)
    after = method.confusion.clone()
    method.eval()
    method.losses(batch, method(batch))
    assert torch.equal(method.confusion, after)
    similar = method._similar(batch, output)
    torch.testing.assert_close(similar.sum(1), torch.ones(4))
    assert similar.diagonal().abs().max() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"expert_top": 5}, "expected 1 to 4 experts an image, got 5"),
        ({"first_block": 3}, "first_block: expected 0 to 2, got 3"),
        ({"similar": -1.0}, "similar: expected a weight of at least 0"),
        ({"contrast": 0.0, "similar": 0.0, "label": 0.0}, "expected one weight above 0, got none"),
    ],
)
def test_settings_that_do_not_fit(settings, message, tiny_clip, classes):
    with pytest.raises(UserError, match=message):
        built(tiny_clip, classes, **settings)


def test_each_part_of_the_loss_is_what_its_settings_say(tiny_clip, classes, make_batch):
    method = built(tiny_clip, classes, similar_weight=3.0, similar_margin=20.0, label_smoothing=0.2)
    method, batch = stirred(method), make_batch()
    losses = method.losses(batch, output := method(batch))
    likeness, margin = text_likeness(method.texts), 20.0 * tiny_clip.logit_scale / 100
    torch.testing.assert_close(losses["contrast"], label_aware_contrastive(output.logits, batch.label))
    torch.testing.assert_close(
        losses["similar"], similar_emotion(output.logits, batch.label, likeness, weight=3.0, margin=margin)
    )
    torch.testing.assert_close(losses["label"], F.cross_entropy(output.logits, batch.label, label_smoothing=0.2))
    balances = [mixture.balance for mixture in method.mixtures]
    assert len(set(torch.stack(balances).tolist())) == 3
    torch.testing.assert_close(losses["balance"], sum(balances) / 3)


@pytest.mark.parametrize("part", ["contrast", "similar", "label"])
def test_each_part_of_the_loss_teaches(part, tiny_clip, classes, make_batch):
    weights = {"contrast": 0.0, "similar": 0.0, "label": 0.0, "balance": 0.0, part: 1.0}
    method, batch = stirred(built(tiny_clip, classes, **weights)), make_batch()
    output = method(batch)
    (slope,) = torch.autograd.grad(method.losses(batch, output)["loss"], output.logits)
    assert slope.abs().max() > 1e-4


def test_its_parts_are_built_as_the_settings_say(tiny_clip, classes):
    experts = {"expert_count": 3, "expert_width": 5, "expert_top": 1, "expert_dropout": 0.4, "expert_scale": 0.3}
    seen = {"discrimination_width": 7, "discrimination_strength": 0.6, "subtract": False}
    for place in ("blocks", "post"):
        method = built(tiny_clip, classes, experts=place, **experts, **seen)
        for mixture in method.mixtures:
            assert (mixture.count, mixture.top, mixture.down.out_features) == (3, 1, 3 * 5)
            assert (mixture.dropout.p, mixture.scale.item()) == (0.4, pytest.approx(0.3))
        part = method.discrimination
        assert (part.query.out_features, part.strength.item(), part.subtract) == (7, pytest.approx(0.6), False)


@pytest.mark.parametrize("sensitive", [True, False])
def test_experts_behind_the_tower_equal_their_equation(sensitive, tiny_clip, classes, make_batch):
    method = built(tiny_clip, classes, experts="post", sensitive=sensitive, discrimination=False)
    method, batch = stirred(method), make_batch(3)
    made = tiny_clip.encode_image(batch.image)
    tokens = torch.cat([made.class_token[:, None], made.patch_tokens], 1)
    told = (normalise(made.class_token) @ method.texts.T * tiny_clip.logit_scale).softmax(1) if sensitive else None
    added = method.post(F.layer_norm(tokens, (24,)), made.class_token, told)
    torch.testing.assert_close(method(batch).features, normalise((tokens + added)[:, 0]))
