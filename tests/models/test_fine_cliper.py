"""FineCLIPER: it starts at frame-averaged CLIP, scores are log-odds, and a missing stream is told."""

import math

import pytest
import torch
import torch.nn.functional as F
from tiny import stirred

from fer_core import clip, models, prompts
from fer_core.data import CLASSES
from fer_core.descriptions.masking import mask
from fer_core.errors import UserError
from fer_core.layers.maps import landmark_picture, parsing_picture
from fer_core.models.base import normalise, pool


def built(clip, classes, **settings):
    torch.manual_seed(0)
    return models.build("fine-cliper", clip, classes, settings)


def test_the_embedded_clip_hardly_hears_a_no():
    embedded = clip.load("embedded")
    positive, negative = (embedded.fixed_texts(rows) for rows in prompts.positive_negative(CLASSES))
    assert (positive * negative).sum(-1).min() > 0.99
    assert (positive @ positive.T).mean() < 0.8  # while expressions are apart, but for look-alikes


def test_with_adapters_at_zero_it_is_frame_averaged_clip(tiny_clip, classes, make_batch):
    method, batch = built(tiny_clip, classes, streams=("frames",)).train(), make_batch(3, frames=4)
    expected = pool(tiny_clip.encode_image(batch.image).class_token)
    torch.testing.assert_close(method(batch).features, expected, atol=1e-6, rtol=0)


def test_a_score_is_the_log_odds_of_two_texts(tiny_clip, classes, make_batch):
    method, batch = stirred(built(tiny_clip, classes, streams=("frames",))), make_batch(3, frames=2)
    output = method(batch)
    yes, no = prompts.positive_negative(classes)
    for number, feature in enumerate(output.features):
        for column in range(4):
            pair = torch.stack(
                [normalise(tiny_clip.encode_text([text]))[0] @ feature for text in (yes[column], no[column])]
            )
            chance = (method.log_scale.exp() * pair).softmax(0)[0]
            torch.testing.assert_close(output.logits[number, column].sigmoid(), chance, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("texts", ["both", "positive", "negative"])
def test_odds_spread_at_the_start_as_logits_of_clip_do(texts, tiny_clip, classes):
    yes, no = (tiny_clip.fixed_texts(rows) for rows in prompts.positive_negative(classes))
    method = built(tiny_clip, classes, texts=texts)
    spread = (yes - no).norm(dim=1).mean() if texts == "both" else 1.0
    torch.testing.assert_close(method.log_scale.exp() * spread, torch.tensor(tiny_clip.logit_scale))
    assert method.log_scale.requires_grad
    for scale, trained in (("learned", True), ("clip", False)):
        other = built(tiny_clip, classes, texts=texts, scale=scale)
        torch.testing.assert_close(other.log_scale.exp(), torch.tensor(tiny_clip.logit_scale))
        assert other.log_scale.requires_grad == trained


@pytest.mark.parametrize(("texts", "sign"), [("positive", 1), ("negative", -1)])
def test_one_kind_of_text_alone(texts, sign, tiny_clip, classes, make_batch):
    method, batch = stirred(built(tiny_clip, classes, streams=("frames",), texts=texts)), make_batch(3, frames=2)
    yes, no = (normalise(tiny_clip.encode_text(rows)) for rows in prompts.positive_negative(classes))
    expected = sign * method.log_scale.exp() * method(batch).features @ (yes if sign > 0 else no).T
    torch.testing.assert_close(method(batch).logits, expected, atol=1e-4, rtol=1e-4)


def test_maps_go_through_the_tower_as_pictures(tiny_clip, classes, make_batch):
    method, batch = stirred(built(tiny_clip, classes)), make_batch(2, frames=3)
    assert set(method.adapters) == {"frames", "maps"}
    features = method.features(batch)
    for stream, drawn in (
        ("parsing", parsing_picture(batch.parsing)), ("landmarks", landmark_picture(batch.landmarks, 32)),
    ):  # fmt: skip
        picture = (drawn - 0.5) / 0.25
        seen = tiny_clip.encode_image(picture, adapters=method.adapters["maps"].of(3)).class_token
        torch.testing.assert_close(features[stream], pool(seen))
    apart = built(tiny_clip, classes, shared_maps=False)
    assert set(apart.adapters) == {"frames", "parsing", "landmarks"}


def test_streams_are_weighed(tiny_clip, classes, make_batch):
    method, batch = stirred(built(tiny_clip, classes)), make_batch(2, frames=3)
    weights = method.fusion.softmax(0)
    features = method.features(batch)
    expected = sum(
        weight * method.score(features[name]) for weight, name in zip(weights, method.config.streams, strict=True)
    )
    torch.testing.assert_close(method(batch).logits, expected)
    even = built(tiny_clip, classes, fusion="even")
    assert not even.fusion.requires_grad
    assert even.weights(["frames", "parsing"]).tolist() == [0.5, 0.5]


def test_the_loss_is_the_weighted_sum_of_its_parts(tiny_clip, classes, make_batch):
    weights = {"stream_weight": 0.3, "binary_weight": 0.7, "description_weight": 0.2}
    method, batch = stirred(built(tiny_clip, classes, **weights)), make_batch(3, frames=2)
    output = method(batch)
    losses = method.losses(batch, output)
    features = method.features(batch)
    own = sum(F.cross_entropy(method.score(feature), batch.label) for feature in features.values()) / 3
    chance = output.logits.sigmoid()
    binary = 0.0
    for number, label in enumerate(batch.label.tolist()):
        for column in range(4):
            hit = chance[number, column] if column == label else 1 - chance[number, column]
            binary -= hit.log() / 12
    logits = tiny_clip.logit_scale * features["frames"] @ method.descriptions(batch.caption).T
    contrast = (F.cross_entropy(logits, torch.arange(3)) + F.cross_entropy(logits.T, torch.arange(3))) / 2
    torch.testing.assert_close(losses["streams"], own)
    torch.testing.assert_close(losses["binary"], binary, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(losses["descriptions"], contrast)
    expected = F.cross_entropy(output.logits, batch.label) + 0.3 * own + 0.7 * losses["binary"] + 0.2 * contrast
    torch.testing.assert_close(losses["loss"], expected)
    batch.caption = ["The lips part.", " ", "The brows rise."]  # a clip that nobody described is left out
    two = batch.take([0, 2])
    told = method.losses(batch, method(batch))["descriptions"]
    torch.testing.assert_close(told, method.losses(two, method(two))["descriptions"])
    batch.caption = [""] * 3
    assert method.losses(batch, method(batch))["descriptions"].item() == 0
    batch.caption = ["The lips part.", "...", "The brows rise."]
    told = method.losses(batch, method(batch))["descriptions"]
    torch.testing.assert_close(told, method.losses(two, method(two))["descriptions"])
    alone = built(tiny_clip, classes, streams=("frames",))
    assert set(alone.losses(batch, alone(batch))) == {"label", "loss"}


def test_each_stream_learns_from_smoothed_labels_or_votes(tiny_clip, classes, make_batch):
    batch = make_batch(3, frames=2)
    batch.votes = torch.rand(3, 4).softmax(1)
    for settings in ({"label_smoothing": 0.2}, {"votes": True}):
        method = stirred(built(tiny_clip, classes, **settings))
        losses = method.losses(batch, method(batch))
        scores = [method.score(feature) for feature in method.features(batch).values()]
        target = batch.votes if "votes" in settings else batch.label
        smoothing = settings.get("label_smoothing", 0.0)
        expected = sum(F.cross_entropy(each, target, label_smoothing=smoothing) for each in scores) / 3
        torch.testing.assert_close(losses["streams"], expected)


def test_a_description_is_the_mean_of_its_masked_sentences(tiny_clip, classes):
    method = built(tiny_clip, classes)
    told = method.descriptions(["She looks happy. The lips part."])
    parts = normalise(tiny_clip.encode_text(["She looks emotion.", "The lips part."]))
    torch.testing.assert_close(told[0], normalise(parts.mean(0)), atol=1e-6, rtol=0)
    plain = built(tiny_clip, classes, masked=False)
    assert not torch.allclose(plain.descriptions(["She looks happy."]), method.descriptions(["She looks happy."]))
    with pytest.raises(UserError, match="expected a text for each clip, got an empty one"):
        method.descriptions(["The lips part.", " "])


def test_descriptions_as_a_stream_start_at_the_text(tiny_clip, classes, make_batch):
    method, batch = built(tiny_clip, classes, streams=("frames", "descriptions")), make_batch(2, frames=2)
    torch.testing.assert_close(method.features(batch)["descriptions"], method.descriptions(batch.caption))
    assert stirred(method).features(batch)["descriptions"].shape == (2, 24)
    batch.caption = ["The lips part.", ""]
    with pytest.raises(UserError, match="expected a description of each clip, got none of 1 of 2; describe all"):
        method(batch)


def test_a_missing_stream_is_named_or_left_out(tiny_clip, classes, make_batch):
    batch = make_batch(2, frames=2)
    batch.parsing = batch.landmarks = None
    with pytest.raises(UserError, match=r"got none of parsing, landmarks; set data\.annotations"):
        built(tiny_clip, classes)(batch)
    left = built(tiny_clip, classes, missing="leave")
    alone = built(tiny_clip, classes, streams=("frames",))
    torch.testing.assert_close(left(batch).logits, alone(batch).logits)
    with pytest.raises(UserError, match="expected one of the streams"):
        built(tiny_clip, classes, streams=("parsing",), missing="leave")(batch)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"streams": ["frame"]}, "unknown stream 'frame'; did you mean 'frames'"),
        ({"streams": []}, "streams: expected one or more"),
        ({"binary_weight": -1.0}, "binary_weight: expected at least 0"),
        ({"drop_path": 1.0}, r"drop_path in \[0, 1\)"),
        ({"streams": ["parsing"], "description_weight": 1.0}, "expected the stream frames"),
    ],
)
def test_settings_that_do_not_fit(settings, message, tiny_clip, classes):
    with pytest.raises(UserError, match=message):
        built(tiny_clip, classes, **settings)


def test_scores_are_zero_where_both_texts_are_alike(tiny_clip, classes, make_batch):
    method = stirred(built(tiny_clip, classes, streams=("frames",)))
    method.negative.copy_(method.positive)
    logits = method(make_batch(2, frames=2)).logits
    assert logits.abs().max() < 1e-4
    assert F.cross_entropy(logits, torch.tensor([0, 1])).item() == pytest.approx(math.log(4), rel=1e-4)


def test_descriptions_that_teach_are_masked(tiny_clip, classes, make_batch):
    batch = make_batch(2, frames=2)
    batch.caption = ["She looks happy. The lips part.", "He is angry."]
    masked, plain = (
        built(tiny_clip, classes, streams=("frames",), description_weight=1.0, masked=each) for each in (True, False)
    )
    hidden = masked.losses(batch, masked(batch))["descriptions"]
    assert plain.losses(batch, plain(batch))["descriptions"].item() != pytest.approx(hidden.item(), abs=1e-4)
    batch.caption = [mask(text) for text in batch.caption]
    torch.testing.assert_close(plain.losses(batch, plain(batch))["descriptions"], hidden)


def test_maps_of_another_size_keep_their_classes(tiny_clip, classes, make_batch):
    method, batch = stirred(built(tiny_clip, classes, streams=("parsing",))), make_batch(2, frames=2)
    batch.parsing = batch.parsing[..., :8, :8]
    small = method(batch).features
    batch.parsing = batch.parsing.repeat_interleave(4, -1).repeat_interleave(4, -2)
    torch.testing.assert_close(method(batch).features, small)
