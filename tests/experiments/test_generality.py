"""What image features know besides expressions: CLIP's own, those of captions, and noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fer_core import clip, data, engine, metrics, models
from fer_core.embedded import evaluate
from fer_core.experiments.generality import generality
from fer_core.faces import sets


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The embedded CLIP, few test faces, and zero-shot predictions on them in another order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_CACHE", str(tmp_path_factory.mktemp("cache")))
        tower, test = clip.load("embedded"), data.open("facs-still-8", "test", limit=160)
    method = models.build("zero-shot", tower, test.classes)
    seen = engine.evaluate(method, data.loader(test, data.Transform(tower.image_size, tower.mean, tower.std), 64, 0))
    turned = np.random.default_rng(0).permutation(len(test))
    return tower, test, engine.Predictions(
        seen.logits[turned], seen.labels[turned], seen.index[turned], seen.features[turned]
    )  # fmt: skip


def test_answers_are_those_of_asking_each_attribute_and_each_caption(asked):
    tower, test, said = asked
    found = generality(tower, test, said)["generality"]
    drawn = sets.draw("facs-still-8", "test", 160)
    features = torch.from_numpy(said.features[np.argsort(said.index)])
    told = []
    for attribute in evaluate.ATTRIBUTES:
        value, texts = attribute.value(drawn).numpy(), tower.fixed_texts(attribute.texts)
        outputs = (features @ texts.T).numpy()
        told.append(metrics.summary(value[value >= 0], outputs[value >= 0], attribute.texts)["uar"])
    assert found["attributes"] == pytest.approx(np.mean(told))
    texts = F.normalize(tower.encode_text(drawn.caption).detach(), dim=-1)
    hits = 0
    for likeness in (features @ texts.T, texts @ features.T):
        for face, row in enumerate(likeness):
            above, equal = (row > row[face]).sum(), (row == row[face]).sum() - 1
            hits += (above + 0.5 * equal) < 5
    assert found["captions"] == pytest.approx(int(hits) / 320)


def test_captions_know_more_than_faces_and_noise_nothing(asked):
    tower, test, said = asked
    texts = tower.encode_text([test.rendered.caption[row] for row in said.index]).detach().numpy()
    noise = np.random.default_rng(1).standard_normal(said.features.shape).astype(np.float32)
    best, own, worst = (
        generality(tower, test, replace(said, features=features))["generality"]
        for features in (texts, said.features, noise)
    )
    assert best["captions"] > 0.9 > own["captions"] > 0.1 > worst["captions"]
    assert own["attributes"] > 0.6
    assert 0.3 < worst["attributes"] < 0.55


def test_nothing_is_said_of_clips_or_of_features_that_are_not_clips(asked):
    tower, test, said = asked
    assert generality(tower, test, replace(said, features=said.features[:, :-1])) == {}
    other = data.open("facs-clip-7", "test", limit=7, frames=2)
    assert generality(tower, other, said) == {}
