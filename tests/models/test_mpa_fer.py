"""MPA-FER: with its prompts off it is CLIP, and each equation against a loop."""

import pytest
import torch
import torch.nn.functional as F
from tiny import stirred

from fer_core import clip as clips
from fer_core import models, prompts
from fer_core.batch import ImageFeatures
from fer_core.errors import UserError
from fer_core.losses.soft_hard import contrastive_alignment
from fer_core.models.base import normalise


def built(clip, classes, **settings):
    torch.manual_seed(0)
    return models.build("mpa-fer", clip, classes, settings)


def test_without_visual_prompts_the_image_side_is_clip(tiny_clip, classes, make_batch):
    method, batch = built(tiny_clip, classes, visual_length=0, local=False), make_batch()
    assert method.frozen_image_tower
    expected = normalise(tiny_clip.encode_image(batch.image).class_token)
    torch.testing.assert_close(method(batch).features, expected)
    cached = make_batch()
    cached.features, cached.image = tiny_clip.encode_image(batch.image), torch.full_like(batch.image, torch.nan)
    torch.testing.assert_close(method(cached).logits, method(batch).logits)


@pytest.mark.parametrize("granularity", [1, 2, 3])
def test_hard_prompts_are_what_the_text_tower_makes_of_them(granularity, tiny_clip, classes):
    method = built(tiny_clip, classes, granularity=granularity)
    texts = prompts.hard_prompts(classes, granularity)
    torch.testing.assert_close(method.hard, normalise(tiny_clip.encode_text(texts)), atol=1e-6, rtol=0)
    tokens = tiny_clip.tokens(texts)
    for row, eos in enumerate(tokens.eos.tolist()):
        assert method.hard_mask[row].nonzero().flatten().tolist() == list(range(1, eos))


def test_other_descriptions_make_other_hard_prompts(tiny_clip, classes):
    told = {name: f"The brows of person {place} rise." for place, name in enumerate(classes)}
    method = built(tiny_clip, classes, descriptions=told)
    texts = prompts.hard_prompts(classes, 3, told)
    assert all(text.endswith(sentence) for text, sentence in zip(texts, told.values(), strict=True))
    torch.testing.assert_close(method.hard, normalise(tiny_clip.encode_text(texts)), atol=1e-6, rtol=0)
    del told[classes[1]]
    with pytest.raises(UserError, match=f"expected one of each class, got none of {classes[1]}"):
        built(tiny_clip, classes, descriptions=told)


def test_the_score_equals_a_loop_over_classes_and_patches(tiny_clip, classes, make_batch):
    method, batch = stirred(built(tiny_clip, classes, patches=3), 0.3), make_batch(4)
    encoded = tiny_clip.encode_image(batch.image, prompts=method.visual_prompts)
    words = tiny_clip.tokens([f"{word}." for word in prompts.class_words(classes)])
    texts = normalise(tiny_clip.encode_text(words.with_context(method.context)))
    logits = method(batch).logits
    for image in range(4):
        token, patches = normalise(encoded.class_token[image]), normalise(encoded.patch_tokens[image])
        for number, text in enumerate(texts):
            nearest = sorted((patch @ text for patch in patches), reverse=True)[:3]
            expected = tiny_clip.logit_scale * (token @ text + sum(nearest) / 3)
            torch.testing.assert_close(logits[image, number], expected)


def test_frames_of_a_clip_count_alike(tiny_clip, classes, make_batch):
    method, batch = stirred(built(tiny_clip, classes), 0.3), make_batch(2, frames=3)
    encoded = tiny_clip.encode_image(batch.image, prompts=method.visual_prompts)
    local = torch.stack([method.local_score(encoded.patch_tokens[:, frame], method.texts()) for frame in range(3)])
    torch.testing.assert_close(method.local_score(encoded.patch_tokens, method.texts()), local.mean(0))
    assert method(batch).logits.shape == (2, 4)


@pytest.mark.parametrize("samples", [None, 2])
def test_prototypes_are_means_of_the_frozen_unprompted_tower(samples, tiny_clip, classes, make_batch):
    method = stirred(built(tiny_clip, classes, prototype_samples=samples), 0.3)
    batches = [make_batch(8, seed=1), make_batch(6, seed=2)]
    method.prepare(iter(batches))
    token = torch.cat([normalise(tiny_clip.encode_image(batch.image).class_token) for batch in batches])
    label = torch.cat([batch.label for batch in batches])
    for number in range(4):
        expected = normalise(token[label == number][:samples].mean(0))
        torch.testing.assert_close(method.prototypes[number], expected)


@pytest.mark.parametrize("distance", ["cosine", "l1", "l1-sum"])
@pytest.mark.parametrize("whole", ["l1", "l1-sum", "contrastive"])
def test_the_loss_is_the_weighted_sum_of_its_parts(distance, whole, tiny_clip, classes, make_batch):
    method = stirred(built(tiny_clip, classes, beta=0.3, gamma=0.7, distance=distance, whole=whole), 0.3)
    batch = make_batch()
    method.prepare([batch])
    output = method(batch)
    losses = method.losses(batch, output)
    label = F.cross_entropy(output.logits, batch.label)
    aligned = contrastive_alignment(method.texts(), method.hard, 0.07)
    if whole != "contrastive":
        apart = (method.texts() - method.hard).abs()
        aligned = apart.mean() if whole == "l1" else apart.sum(1).mean()
    own = method.prototypes[batch.label]
    near = (1 - F.cosine_similarity(output.features, own)).mean()
    if distance != "cosine":
        each = (output.features - own).abs()
        near = each.mean() if distance == "l1" else each.sum(1).mean()
    torch.testing.assert_close(losses["prompts"], aligned)
    torch.testing.assert_close(losses["prototypes"], near)
    expected = label + 0.3 * (losses["tokens"] + aligned) + 0.7 * near
    torch.testing.assert_close(losses["loss"], expected)


def test_tokens_are_aligned_by_their_input_embeddings(tiny_clip, classes, make_batch):
    batch = make_batch()
    for pooling in ("words", "context"):
        method = stirred(built(tiny_clip, classes, pooling=pooling, tau=0.2), 0.3)
        soft = []
        for context, word in zip(method.context, prompts.class_words(classes), strict=True):
            own = tiny_clip.tokens([f"{word}."])
            parts = [context] if pooling == "context" else [context, own.embedding[0, 1 : own.eos[0]]]
            soft.append(torch.cat(parts).mean(0))
        hard = []
        for text in prompts.hard_prompts(classes, 3):
            tokens = tiny_clip.tokens([text])
            hard.append(tokens.embedding[0, 1 : tokens.eos[0]].mean(0))
        expected = contrastive_alignment(torch.stack(soft), torch.stack(hard), 0.2)
        torch.testing.assert_close(method.losses(batch, method(batch))["tokens"], expected)


def test_parts_without_weight_are_left_out(tiny_clip, classes, make_batch):
    batch = make_batch()
    plain = built(tiny_clip, classes, beta=0.0, gamma=0.0)
    assert set(plain.losses(batch, plain(batch))) == {"label", "loss"}
    prompt = built(tiny_clip, classes, tokens=False, gamma=0.0)
    assert set(prompt.losses(batch, prompt(batch))) == {"label", "prompts", "loss"}
    token = built(tiny_clip, classes, whole="none")
    assert set(token.losses(batch, token(batch))) == {"label", "tokens", "prototypes", "loss"}


def test_only_the_two_prompts_learn_and_one_step_leaves_clip_bit_identical(tiny_clip, classes, make_batch):
    method, batch = built(tiny_clip, classes).train(), make_batch()
    before = {name: value.clone() for name, value in tiny_clip.state_dict().items()}
    method.prepare([batch])
    method.losses(batch, method(batch))["loss"].backward()
    torch.optim.SGD(method.parameter_groups(0.1, 0.0), lr=0.1).step()
    learned = {name for name, parameter in method.named_parameters() if parameter.grad is not None}
    assert learned == {"context", "visual_prompts"}
    assert all(torch.equal(before[name], value) for name, value in tiny_clip.state_dict().items())


def test_the_text_side_is_encoded_once_a_step_whatever_the_batch(tiny_clip, classes, make_batch, monkeypatch):
    method, rows = built(tiny_clip, classes), []
    encode = type(tiny_clip).encode_text
    monkeypatch.setattr(type(tiny_clip), "encode_text", lambda *a, **k: rows.append(1) or encode(*a, **k))
    for size in (2, 6):
        batch = make_batch(size)
        method.losses(batch, method(batch))
    assert rows == [1, 1]


@pytest.mark.parametrize(("specific", "expected"), [(False, 78_848), (True, 114_688)])
def test_trained_numbers_with_vit_b_16_are_the_derived_ones(specific, expected):
    tower = clips.load("ViT-B-16-quickgelu:random")
    method = models.build("mpa-fer", tower, prompts.class_names()[:8], {"class_specific": specific})
    assert sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patches": 0}, "patches: expected at least 1, got 0"),
        ({"visual_depth": 0}, "visual_depth: expected none, or at least 1"),
        ({"tau": 0.0}, "tau > 0"),
        ({"granularity": 4}, "unknown value of model of mpa-fer.granularity|expected"),
    ],
)
def test_settings_that_do_not_fit(settings, message, tiny_clip, classes):
    with pytest.raises(UserError, match=message):
        built(tiny_clip, classes, **settings)


def test_features_of_a_clip_may_be_cached_without_visual_prompts(tiny_clip, classes, make_batch):
    method, batch = stirred(built(tiny_clip, classes, visual_length=0), 0.3), make_batch(2, frames=3)
    expected = method(batch).logits
    made = tiny_clip.encode_image(batch.image)
    batch.features = ImageFeatures(made.class_token, made.patch_tokens)
    batch.image = torch.full_like(batch.image, torch.nan)
    torch.testing.assert_close(method(batch).logits, expected)


def test_mpa_fers_settings_of_prompts_and_temperature(tiny_clip, classes, make_batch):
    method = built(tiny_clip, classes, visual_depth=2, visual_length=3, whole="contrastive", tau=0.2)
    assert method.visual_prompts.shape == (2, 3, 32)
    batch = make_batch()
    found = method.losses(batch, method(batch))["prompts"]
    torch.testing.assert_close(found, contrastive_alignment(method.texts(), method.hard, 0.2))
