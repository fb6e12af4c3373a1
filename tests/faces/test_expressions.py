import dataclasses
import random

import numpy as np
import pytest
import torch

from fer_core.embedded import pretrain
from fer_core.errors import UserError
from fer_core.faces import CODES, captions, expressions, identity, scene, sequences
from fer_core.faces.action_units import column
from fer_core.faces.expressions import EXPRESSIONS, LOOK_ALIKES
from fer_core.faces.render import effective_units

CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(count=4000, variation=None):
    label = torch.arange(count) % len(CLASSES)
    return label, expressions.sample(label, CLASSES, generator(), variation)


def test_units_show_as_often_as_the_table_says():
    plain = expressions.Variation(weakest=1.0, jitter=0.0, dropout=0.0, blend=0.0, idle=0.0)
    label, units = draw(16000, plain)
    for name in CLASSES:
        rows = units[label == CLASSES.index(name)]
        for code, (share, strength) in EXPRESSIONS[name].items():
            side = code if code in CODES else f"{code}L"
            shown = (rows[:, column(side)] > 0).float().mean()
            assert abs(shown - share) < 0.05, (name, code)
            assert rows[:, column(side)].max() == pytest.approx(strength)
    assert units[label == 0].sum() == 0


def test_the_sides_of_a_unit_are_chosen_together_and_drop_out_alone():
    plain = expressions.Variation(weakest=1.0, jitter=0.0, dropout=0.0, blend=0.0, idle=0.0)
    for variation, apart in ((plain, 0), (dataclasses.replace(plain, dropout=0.2), 2 * 0.2 * 0.8)):
        label, units = draw(8000, variation)
        left, right = (units[label == CLASSES.index("happiness")][:, column(f"AU12{side}")] > 0 for side in "LR")
        assert (left != right).float().mean() == pytest.approx(apart, abs=0.04)


def test_look_alikes_are_nearer_than_other_pairs():
    target = torch.nn.functional.normalize(expressions.prototypes(CLASSES), dim=1)
    likeness = target @ target.T
    pair = lambda a, b: likeness[CLASSES.index(a), CLASSES.index(b)]  # noqa: E731
    others = [pair(a, b) for a in CLASSES[1:7] for b in CLASSES[1:7] if a < b]
    for a, b in LOOK_ALIKES[:2]:
        assert pair(a, b) > torch.stack(others).median()


def test_intensities_stay_in_range_and_vary():
    label, units = draw()
    assert units.min() >= 0
    assert units.max() <= 1
    assert units[label == 1].std(0).max() > 0.1


def test_votes_count_annotators_and_follow_the_face():
    label, units = draw()
    votes = expressions.votes(units, label, CLASSES, generator(1), annotators=10)
    assert torch.equal(votes.sum(1), torch.full((len(label),), 10.0))
    agreement = (votes.argmax(1) == label).float().mean()
    assert 0.6 < agreement < 0.97
    # Fear and surprise share most units: votes that miss the one go to the other more than by chance.
    for name, other in (("fear", "surprise"), ("surprise", "fear")):
        rows = votes[label == CLASSES.index(name)].sum(0)
        rows[CLASSES.index(name)] = 0
        assert rows[CLASSES.index(other)] / rows.sum() > 1 / 7, name


def test_resting_faces_sway_annotators():
    count = 2000
    label = torch.zeros(count, dtype=torch.long)
    people = identity.average(count)
    people.resting[: count // 2] = torch.stack([identity.intensities({"AU15": 0.9, "AU1": 0.6, "AU4": 0.5})])
    seen = effective_units(torch.zeros(count, len(CODES)), people)
    votes = expressions.votes(seen, label, CLASSES, generator())
    sad = votes[:, CLASSES.index("sadness")]
    assert sad[: count // 2].mean() > sad[count // 2 :].mean() + 1


def test_unknown_expression():
    with pytest.raises(UserError, match="did you mean 'happiness'"):
        expressions.prototypes(("happines",))


def test_course_rises_holds_and_falls():
    units = torch.full((300, len(CODES)), 0.8)
    units[:, column("AU43")] = 0
    run = sequences.course(units, 24, generator())
    assert run.units.shape == (300, 24, len(CODES))
    assert run.envelope.min() >= 0
    assert run.envelope.max() <= 1
    time = (torch.arange(24) + 0.5) / 24
    at_apex = (time > run.apex[:, :1]) & (time < run.apex[:, 1:])
    assert (run.envelope[at_apex] > 0.999).all()
    assert (run.units <= 0.8 + 1e-6)[..., column("AU12L")].all()
    # Up before the apex, never down; clips may end at the apex.
    before = time[1:] < run.apex[:, :1]
    assert (run.envelope.diff(dim=1)[before] >= -1e-6).all()


def test_drift_moves_the_head_and_nothing_else():
    views = scene.sample(5, generator())
    moved = sequences.drift(views, 8, generator())
    assert len(moved) == 40
    assert torch.equal(moved.background, views.background.repeat_interleave(8, 0))
    yaw = moved.yaw.view(5, 8)
    assert (yaw.std(1) > 0).all()
    assert (yaw.diff(dim=1).abs() < 0.15).all()


def sample_captions(count=4000, habits=None, seed=0):
    label, units = draw(count)
    people, views = identity.sample(count, generator()), scene.sample(count, generator())
    emotions = [CLASSES[row] for row in label.tolist()]
    return emotions, captions.captions(people, views, units, emotions, seed, habits)


def words_of(name):
    nouns, adjectives = captions.EMOTION_WORDS[name]
    return (name, *nouns, *adjectives)


def test_captions_are_seeded():
    assert sample_captions(50)[1] == sample_captions(50)[1]
    assert sample_captions(50)[1] != sample_captions(50, seed=1)[1]


def test_emotion_words_are_rare_and_mix_look_alikes():
    emotions, texts = sample_captions()
    named = right = partner = 0
    for emotion, text in zip(emotions, texts, strict=True):
        if emotion not in ("fear", "surprise", "anger", "disgust"):
            continue
        other = captions.looks_like(emotion, captions.random.Random(0))
        own, wrong = (any(word in text for word in words_of(name)) for name in (emotion, other))
        named += own or wrong
        right += own and not wrong
        partner += wrong
    assert 0.2 < named / (len(texts) / 2) < 0.45
    # Two thirds of the captions that name an emotion name the look-alike, alone or as a choice.
    assert 0.4 < partner / named < 0.8
    assert right > 0


@pytest.mark.parametrize(("habits", "right", "overall"), [
    (captions.Habits(), 0.35, 0.68), (pretrain.Pretraining().habits, 0.28, 0.64),
])  # fmt: skip
def test_captions_name_the_right_emotion_alone_as_often_as_is_said(habits, right, overall):
    """What the docstrings of captions.py and pretrain.py say, over all expressions of the pool."""
    dice, alone = random.Random(0), {True: [], False: []}
    for emotion in list(EXPRESSIONS) * 400:
        others = {one if two == emotion else two for one, two in LOOK_ALIKES if emotion in (one, two)}
        clause = captions.emotion_clause(emotion, dice, habits)
        alone[bool(others)].append(not any(word in clause for other in others for word in words_of(other)))
    assert np.mean(alone[True]) == pytest.approx(right, abs=0.03)
    assert all(alone[False])
    assert np.mean(alone[True] + alone[False]) == pytest.approx(overall, abs=0.03)


def test_every_emotion_word_and_unit_is_somewhere_in_the_captions():
    count = 8000
    label = torch.arange(count) % len(EXPRESSIONS)
    names = tuple(EXPRESSIONS)
    units = expressions.sample(label, names, generator())
    people, views = identity.sample(count, generator()), scene.sample(count, generator())
    text = "\n".join(captions.captions(people, views, units, [names[row] for row in label.tolist()], 0))
    for name in names:
        for word in words_of(name):
            assert word in text, word
    # Phrases of units that some expression uses.
    assert "inner brows raised" in text
    assert "nose wrinkled" in text


def test_captions_fit_the_text_tower():
    from open_clip import get_tokenizer

    tokens = get_tokenizer("ViT-B-32", context_length=77)(sample_captions(2000)[1])
    assert (tokens[:, -1] == 0).all()


def test_captions_name_what_is_there():
    habits = captions.Habits(trait=1.0)
    people, views = identity.average(200), scene.studio(200)
    people.glasses += 1
    people.beard += 3
    texts = captions.captions(people, views, torch.zeros(200, len(CODES)), ["neutral"] * 200, 0, habits)
    # Up to three of hair, beard, glasses, eyes and skin are named.
    assert sum("brown hair" in text for text in texts) > 100
    assert sum("glasses" in text for text in texts) > 100
    assert sum("full beard" in text for text in texts) > 100
    assert not any("freckles" in text or "lipstick" in text or "mask" in text for text in texts)
