"""Wrong labels: as many as were asked for, of the right kind, and nowhere a trace of the right ones."""

import numpy as np
import pytest
import torch
from numbered import make

from fer_core import data
from fer_core.data import CLASSES, LabelNoise, Mislabelled
from fer_core.errors import UserError
from fer_core.faces.expressions import LOOK_ALIKES

LABELS = np.repeat(np.arange(8), 50)
PARTNERS = {frozenset(pair) for pair in LOOK_ALIKES}


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_so_many_of_each_class_are_wrong(share):
    noisy = Mislabelled(make(LABELS), LabelNoise(share), seed=3)
    for number in range(8):
        assert noisy.wrong[number == LABELS].sum() == round(50 * share)
    assert torch.equal(noisy.wrong, noisy.labels != torch.from_numpy(LABELS))
    # Every other class gets some of them.
    assert {tuple(pair) for pair in zip(LABELS, noisy.labels.tolist(), strict=True)} > {(0, 1), (0, 7), (7, 0)}


def test_look_alikes_are_mistaken_for_one_another_alone():
    noisy = Mislabelled(make(LABELS), LabelNoise(0.4, "look-alike"), seed=0)
    named = {name: noisy.labels[number == LABELS] for number, name in enumerate(CLASSES)}
    for name, found in named.items():
        others = {CLASSES[label] for label in found.unique().tolist()} - {name}
        assert all(frozenset((name, other)) in PARTNERS for other in others)
        has_one = any(name in pair for pair in LOOK_ALIKES)
        assert (found != CLASSES.index(name)).sum() == (20 if has_one else 0)
    assert {CLASSES[label] for label in named["neutral"].unique().tolist()} == {"neutral", "contempt", "sadness"}


def test_batches_hold_the_wrong_labels_and_no_votes():
    right = make(LABELS, votes=np.eye(8, dtype=np.float32)[LABELS])
    noisy = Mislabelled(right, LabelNoise(0.5), seed=1)
    chosen = np.flatnonzero(noisy.wrong.numpy())[:5][::-1].copy()
    for batch in (noisy.take(chosen), noisy.draw(chosen, 0, 0), noisy.without_pixels(chosen)):
        assert torch.equal(batch.label, noisy.labels[chosen])
        assert batch.votes is None
        assert batch.index.tolist() == chosen.tolist()
    assert torch.equal(noisy.take(chosen).image, right.take(chosen).image)
    assert noisy[int(chosen[0])].label == noisy.labels[chosen[0]]
    assert noisy.facts()["wrong_labels"] == int(noisy.wrong.sum())
    assert noisy.facts()["counts"]["neutral"] == int((noisy.labels == 0).sum())


def test_seeds_differ_in_labels_and_share_the_pictures():
    right = make(LABELS)
    one, again, other = (Mislabelled(right, LabelNoise(0.3), seed) for seed in (0, 0, 1))
    assert torch.equal(one.labels, again.labels)
    assert not torch.equal(one.labels, other.labels)
    assert len({one.fingerprint, other.fingerprint, right.fingerprint}) == 3
    assert one.fingerprint == again.fingerprint
    assert {one.pixels, other.pixels, right.pixels} == {right.fingerprint}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 0.0}, "share: expected a share above 0"),
        ({"share": 1.2}, "share: expected a share above 0"),
        ({"share": 0.2, "to": "friends"}, "to: expected any or look-alike, got 'friends'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        LabelNoise(**settings)


def test_classes_without_look_alikes_are_refused():
    columns = {"image": np.zeros((2, 1, 4, 4), dtype=np.uint8), "label": [0, 1]}
    apart = data.MemoryDataset("two", "train", ("happiness", "fear"), columns, "f", "made up")
    with pytest.raises(UserError, match=r"expected classes that look alike, got happiness, fear"):
        Mislabelled(apart, LabelNoise(0.2, "look-alike"), seed=0)
