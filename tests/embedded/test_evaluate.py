import numpy as np
import pytest
import torch
from torch.nn import functional

from fer_core import clip, metrics
from fer_core.embedded import evaluate
from fer_core.faces import sets


@pytest.fixture(scope="module")
def tower():
    return clip.load("embedded:random")


@pytest.fixture(scope="module")
def drawn():
    return sets.draw("facs-still-8", "test", 400)


@pytest.mark.parametrize("attribute", evaluate.ATTRIBUTES, ids=lambda attribute: attribute.name)
def test_values_are_texts_and_both_sides_occur(attribute, drawn):
    value = attribute.value(drawn)
    assert set(value.tolist()) <= set(range(-1, len(attribute.texts)))
    assert len(set(value[value >= 0].tolist())) > 1


def test_a_perfect_model_knows_every_attribute(tower, drawn):
    for attribute in evaluate.ATTRIBUTES:
        texts = tower.fixed_texts(attribute.texts)
        value = attribute.value(drawn)
        features = texts[value.clamp(min=0)]
        score = evaluate.attribute_scores(tower, features, drawn)[attribute.name]
        assert score.value == score.low == 1
        assert score.n == (value >= 0).sum()


def test_an_untrained_model_knows_none(tower, drawn):
    generator = torch.Generator().manual_seed(0)
    features = functional.normalize(torch.randn(400, tower.embed_dim, generator=generator), dim=-1)
    for name, score in evaluate.attribute_scores(tower, features, drawn).items():
        assert score.low < score.chance + 0.1, name


def test_retrieval_of_own_captions(tower, drawn):
    captions = [f"{caption} number {row}" for row, caption in enumerate(drawn.caption[:50])]
    with torch.no_grad():
        features = functional.normalize(tower.encode_text(captions), dim=-1)
    perfect = evaluate.retrieval_scores(tower, features, captions, np.arange(50))
    assert all(score.value == 1 for score in perfect.values())
    shifted = evaluate.retrieval_scores(tower, features.roll(1, 0), captions, np.arange(50))
    assert shifted["caption of a face, first 1"].value == 0
    assert shifted["caption of a face, first 1"].chance == 1 / 50


def test_intervals_are_over_people(tower, drawn):
    """What a person's faces share makes an interval as wide as few people do, however many faces they have."""
    captions = [f"{caption} number {row}" for row, caption in enumerate(drawn.caption[:60])]
    with torch.no_grad():
        features = functional.normalize(tower.encode_text(captions), dim=-1)
    features[:30] = features[:30].roll(1, 0)  # the first half's own captions are never the first
    widths = []
    for people in (np.arange(60) // 10, np.arange(60)):
        found = evaluate.retrieval_scores(tower, features, captions, people)["caption of a face, first 1"]
        assert found.value == 0.5
        widths.append(found.high - found.low)
    assert widths[0] > 2 * widths[1]  # six people all of one kind each, sixty: a factor of the root of ten
    features = functional.normalize(
        torch.randn(400, tower.embed_dim, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    glasses = evaluate.ATTRIBUTES[1]
    logits = (features @ tower.fixed_texts(glasses.texts).T).numpy()
    own, who = drawn.people.glasses.long().numpy(), drawn.subject.numpy()
    known = metrics.interval(own, logits, 2, "uar", groups=who)
    found = evaluate.attribute_scores(tower, features, drawn)["glasses"]
    assert (found.value, found.low, found.high) == pytest.approx((known.value, known.low, known.high))
    assert (found.low, found.high) != pytest.approx(tuple(vars(metrics.interval(own, logits, 2, "uar")).values())[1:])


@pytest.mark.parametrize(("given", "message"), [
    (["--device", "gpu"], "device: expected one that this machine has, got 'gpu'"),
    (["--limit", "0"], "limit of facs-still-8: expected at least 1 sample, got 0"),
    (["--clip", "embeded"], ""),
    (["--out", "{folder}"], "{folder}: expected to read or write it, got: Is a directory"),
])  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(given, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate.main([word.format(folder=tmp_path) for word in given])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"evaluate: error: {message.format(folder=tmp_path)}")


def test_retrieval_of_equal_captions_is_a_draw(tower):
    with torch.no_grad():
        features = functional.normalize(tower.encode_text(["a face"] * 4), dim=-1)
    scores = evaluate.retrieval_scores(tower, features, ["a face"] * 4, np.arange(4))
    # Every caption fits every face: one's own stands in the middle, not first.
    assert scores["caption of a face, first 1"].value == 0
    assert scores["caption of a face, first 5"].value == 1
