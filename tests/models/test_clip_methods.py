"""Methods for clips that FineCLIPER is compared with, against their equations."""

import pytest
import torch
import torch.nn.functional as F
from tiny import stirred

from fer_core import models, prompts
from fer_core.descriptions.masking import mask
from fer_core.errors import UserError
from fer_core.models.base import normalise


def built(name, clip, classes, **settings):
    torch.manual_seed(0)
    return models.build(name, clip, classes, settings)


@pytest.mark.parametrize("name", ["aim", "st-adapter"])
def test_adapted_towers_start_at_frame_averaged_zero_shot(name, tiny_clip, classes, make_batch):
    batch = make_batch(3, frames=4)
    method, zero_shot = built(name, tiny_clip, classes), models.build("zero-shot", tiny_clip, classes)
    torch.testing.assert_close(method(batch).logits, zero_shot(batch).logits)
    moved = stirred(method)
    order = make_batch(3, frames=4)
    order.image = order.image.flip(1)
    assert (moved(batch).logits - moved(order).logits).abs().max() > 1e-3


def test_aims_adapters_are_those_of_fine_clipers_frames(tiny_clip, classes, make_batch):
    aim, fine = (
        built("aim", tiny_clip, classes, reduction=4),
        built("fine-cliper", tiny_clip, classes, streams=("frames",)),
    )
    stirred(aim)
    fine.adapters["frames"].load_state_dict(aim.adapters.state_dict())
    batch = make_batch(2, frames=3)
    torch.testing.assert_close(aim(batch).features, fine.eval()(batch).features)


def test_dfer_clip_equals_its_equations(tiny_clip, classes, make_batch):
    method, batch = stirred(built("dfer-clip", tiny_clip, classes, context_length=3), 0.05), make_batch(2, frames=3)
    rows = []
    for place, text in enumerate(prompts.class_descriptions(classes)):
        tokens = tiny_clip.tokens([text])
        ids, embedded = tokens.ids[0, : int(tokens.eos[0]) + 1], tokens.embedding[0, : int(tokens.eos[0]) + 1]
        assert len(ids) == len(embedded)
        joined = torch.cat([embedded[:1], method.context[place], embedded[1:]])
        x = joined[None] + tiny_clip.model.positional_embedding[: len(joined)]
        length = len(joined)
        mask_later = torch.full((length, length), float("-inf")).triu(1)
        x = tiny_clip.model.transformer(x, attn_mask=mask_later)
        rows.append(tiny_clip.model.ln_final(x)[0, -1] @ tiny_clip.model.text_projection)
    texts = normalise(torch.stack(rows))
    torch.testing.assert_close(method.texts(), texts, atol=1e-5, rtol=1e-4)
    frames = torch.stack([normalise(method.tower(clip)) for clip in batch.image])
    features = normalise(method.temporal(frames))
    torch.testing.assert_close(method(batch).logits, tiny_clip.logit_scale * features @ texts.T, atol=1e-3, rtol=1e-4)


def test_towers_that_stay_frozen_may_be_fed_features(tiny_clip, classes, make_batch):
    for name in ("dfer-clip", "emo-clip"):
        method = built(name, tiny_clip, classes, train_tower=False)
        assert method.frozen_image_tower
        assert not any(part.startswith("tower") for part, _ in method.named_parameters())
        batch = make_batch(2, frames=3)
        expected = method(batch).logits
        batch.features = tiny_clip.encode_image(batch.image, patches=False)
        batch.image = torch.empty(2, 0)
        torch.testing.assert_close(method(batch).logits, expected)
        assert not built(name, tiny_clip, classes).frozen_image_tower


@pytest.mark.parametrize("prompt_lr", [1.0, 0.3])
def test_parts_have_their_share_of_the_learning_rate(prompt_lr, tiny_clip, classes):
    method = built("dfer-clip", tiny_clip, classes, tower_lr=0.1, prompt_lr=prompt_lr)
    groups = method.parameter_groups(lr=1.0, weight_decay=0.5)
    own = {id(each): 0.1 for each in method.tower.parameters()} | {id(method.context): prompt_lr}
    for group in groups:
        assert {own.get(id(each), 1.0) for each in group["params"]} == {group["lr"]}
        assert group["weight_decay"] == (0.5 if group["params"][0].ndim > 1 else 0.0)
    counted = sum(each.numel() for group in groups for each in group["params"])
    assert counted == sum(each.numel() for each in method.parameters() if each.requires_grad)


def test_emo_clip_contrasts_clips_with_their_descriptions(tiny_clip, classes, make_batch):
    method, batch = built("emo-clip", tiny_clip, classes), make_batch(4, frames=3)
    output = method(batch)
    told = tiny_clip.fixed_texts([f"The brows of person {place} rise." for place in range(4)])
    told = normalise(told + tiny_clip.fixed_texts(["The lips part."]))
    logits = tiny_clip.logit_scale * output.features @ told.T
    own = torch.arange(4)
    expected = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(method.losses(batch, output)["loss"], expected)
    batch.label = (batch.label + 1) % 4
    torch.testing.assert_close(method.losses(batch, output)["loss"], expected)  # labels are not looked at


def test_a_description_that_stands_twice_belongs_to_both_clips(tiny_clip, classes, make_batch):
    method, batch = built("emo-clip", tiny_clip, classes), make_batch(2, frames=3)
    batch.caption = ["The lips part."] * 2
    output = method(batch)
    # Both are right for both: every clip's best is an even guess, whatever its features.
    assert method.losses(batch, output)["loss"].item() == pytest.approx(torch.tensor(2.0).log().item(), abs=0.05)
    apart = make_batch(2, frames=3)
    assert method.losses(apart, output)["loss"].item() != pytest.approx(0.6931, abs=1e-4)


def test_emo_clip_masks_class_words_on_request_and_needs_descriptions(tiny_clip, classes, make_batch):
    batch = make_batch(2, frames=3)
    batch.caption = ["She looks happy. The lips part.", "He is angry."]
    plain, masked = built("emo-clip", tiny_clip, classes), built("emo-clip", tiny_clip, classes, masked=True)
    output = plain(batch)
    told = plain.losses(batch, output)["loss"]
    hidden = masked.losses(batch, output)["loss"]
    assert told.item() != pytest.approx(hidden.item(), abs=1e-4)
    batch.caption = [mask(text) for text in batch.caption]
    torch.testing.assert_close(plain.losses(batch, output)["loss"], hidden)
    batch.caption = None
    with pytest.raises(UserError, match="expected a description of each clip, got none"):
        plain.losses(batch, output)


def test_clips_without_a_description_teach_emo_clip_nothing(tiny_clip, classes, make_batch):
    method, batch = built("emo-clip", tiny_clip, classes), make_batch(4, frames=3)
    batch.caption[1] = batch.caption[3] = " "
    two = batch.take([0, 2])
    torch.testing.assert_close(method.losses(batch, method(batch))["loss"], method.losses(two, method(two))["loss"])
    batch.caption = [""] * 4
    loss = method.losses(batch, method(batch))["loss"]
    loss.backward()
    assert loss.item() == 0.0
    assert all(not each.grad.any() for each in method.parameters() if each.grad is not None)


def test_classes_may_be_described_otherwise(tiny_clip, classes):
    told = {name: f"The brows of person {place} rise." for place, name in enumerate(classes)}
    expected = tiny_clip.fixed_texts(list(told.values()))
    torch.testing.assert_close(built("emo-clip", tiny_clip, classes, descriptions=told).texts, expected)
    words = built("dfer-clip", tiny_clip, classes, descriptions=told).words
    torch.testing.assert_close(normalise(tiny_clip.encode_text(words)), expected)


def test_emo_clips_class_texts(tiny_clip, classes):
    described, named = (
        built("emo-clip", tiny_clip, classes, class_texts=kind).texts for kind in ("descriptions", "names")
    )
    torch.testing.assert_close(described, tiny_clip.fixed_texts(prompts.class_descriptions(classes)))
    assert not torch.allclose(described, named)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("aim", {"drop_path": 1.0}, r"drop_path in \[0, 1\), got 4, 16 and 1; "),
        ("fine-cliper", {"reduction": 0}, r"drop_path in \[0, 1\), got 0, 16 and 0\.1; "),
        ("st-adapter", {"reduction": 0}, "reduction: expected at least 1, got 0"),
        ("dfer-clip", {"context_length": 0}, "context_length: expected at least 1"),
        ("dfer-clip", {"tower_lr": 0.0}, "tower_lr: expected more than 0"),
        ("dfer-clip", {"prompt_lr": 0.0}, "prompt_lr: expected more than 0"),
        ("emo-clip", {"class_texts": "poems"}, "unknown value|expected descriptions or names"),
        ("emo-clip", {"tower_lr": -1.0}, "tower_lr: expected more than 0"),
        ("emo-clip", {"max_frames": 0}, "max_frames: expected at least 1"),
    ],
)
def test_wrong_settings_are_refused(name, settings, message, tiny_clip, classes):
    with pytest.raises(UserError, match=message):
        built(name, tiny_clip, classes, **settings)


@pytest.mark.parametrize("name", ["aim", "fine-cliper"])
def test_adapters_are_built_as_the_settings_say(name, tiny_clip, classes):
    method = built(name, tiny_clip, classes, reduction=8, drop_path=0.7, max_frames=5)
    adapters = method.adapters if name == "aim" else method.adapters["frames"]
    assert adapters.place.shape == (5, 32)
    for block in adapters.blocks:
        assert block.drop.p == 0.7
        assert block.temporal.down.out_features == 32 // 8


@pytest.mark.parametrize("part", ["temporal", "spatial", "joint"])
def test_fine_clipers_adapters_may_be_left_out(part, tiny_clip, classes):
    method = built("fine-cliper", tiny_clip, classes, **{part: False})
    for adapters in method.adapters.values():
        for block in adapters.blocks:
            kept = {name for name in ("temporal", "spatial", "joint") if getattr(block, name) is not None}
            assert kept == {"temporal", "spatial", "joint"} - {part}


def test_st_adapters_middle_follows_its_reduction(tiny_clip, classes):
    method = built("st-adapter", tiny_clip, classes, reduction=4)
    assert {block.down.out_features for block in method.adapters.blocks} == {32 // 4}


@pytest.mark.parametrize("name", ["dfer-clip", "emo-clip"])
def test_the_transformer_over_time_is_built_as_the_settings_say(name, tiny_clip, classes):
    method = built(name, tiny_clip, classes, layers=2, heads=4, max_frames=5)
    assert len(method.temporal.encoder.layers) == 2
    assert {layer.self_attn.num_heads for layer in method.temporal.encoder.layers} == {4}
    assert method.temporal.place.shape == (1, 6, 24)
    assert method.max_frames == 5
