"""Embedded sets, against a stand-in for the renderer's named sets."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

import fer_core.faces
from fer_core import data
from fer_core.data.facs import Facs
from fer_core.errors import UserError

CLASSES = ("neutral", "happiness", "sadness")


@pytest.fixture(params=["still", "clip"])
def rendered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A set of six faces; ``sets.load`` and ``sets.names`` know it alone."""
    lead = (6,) if request.param == "still" else (6, 4)
    drawn = SimpleNamespace(
        name="facs-toy",
        split="test",
        classes=CLASSES,
        image=torch.randint(0, 256, (*lead, 3, 8, 8), dtype=torch.uint8),
        label=torch.tensor([0, 1, 2, 0, 1, 2]),
        votes=torch.tensor([[8.0, 1, 1]] * 6),
        action_units=torch.rand(*lead, 41),
        landmarks=torch.rand(*lead, 68, 2),
        parsing=torch.zeros(*lead, 8, 8, dtype=torch.uint8),
        caption=[f"face {place}" for place in range(6)],
        subject=torch.arange(6) // 2,
        fingerprint="0123456789abcdef",
    )

    def load(name: str, split: str, limit: int | None = None, progress=None) -> SimpleNamespace:
        assert (name, split) == ("facs-toy", "test")
        drawn.asked_limit = limit
        return drawn

    sets = ModuleType("fer_core.faces.sets")
    sets.names, sets.load = lambda: ("facs-toy",), load
    monkeypatch.setitem(sys.modules, "fer_core.faces.sets", sets)
    monkeypatch.setattr(fer_core.faces, "sets", sets, raising=False)
    return drawn


def test_gives_every_annotation(rendered: SimpleNamespace) -> None:
    opened = data.open("facs-toy", "test")
    assert isinstance(opened, Facs)
    assert (opened.classes, opened.fingerprint, len(opened)) == (CLASSES, rendered.fingerprint, 6)
    batch = opened.take([4, 1])
    for name in ("image", "action_units", "landmarks", "parsing", "subject"):
        assert torch.equal(getattr(batch, name), getattr(rendered, name)[[4, 1]]), name
    assert batch.caption == ["face 4", "face 1"]
    assert opened.duplicates_of_train is None


def test_votes_are_shares(rendered: SimpleNamespace) -> None:
    assert torch.allclose(data.open("facs-toy", "test")[0].votes, torch.tensor([0.8, 0.1, 0.1]))


@pytest.mark.usefixtures("rendered")
def test_a_limit_is_the_renderers() -> None:
    # So that no more faces are rendered than are used.
    opened = data.open("facs-toy", "test", limit=3)
    assert opened.rendered.asked_limit == 3
    assert data.open("facs-toy", "test").rendered.asked_limit is None


def test_transforms_like_any_other(rendered: SimpleNamespace) -> None:
    batch = data.Transform(16, (0.5,) * 3, (0.5,) * 3)(data.open("facs-toy", "test").take([0, 1]))
    assert batch.image.shape == (2, *rendered.image.shape[1:-2], 16, 16)
    assert batch.parsing.shape == (*batch.image.shape[:-3], 16, 16)


def test_opens_a_real_set() -> None:
    opened = data.open("facs-still-8", "test", limit=16)
    assert (opened.name, len(opened), opened.classes) == ("facs-still-8", 16, data.CLASSES)
    assert opened.facts()["counts"] == dict.fromkeys(data.CLASSES, 2)
    sample = opened[5]
    assert sample.image.dtype == torch.uint8
    assert sample.votes.sum() == pytest.approx(1)
    assert torch.equal(data.open("facs-still-8", "test", limit=16)[5].image, sample.image)
    chosen = data.Augmentation(flip=0.5, crop_scale=(0.8, 1.0))
    size = sample.image.shape[-1]
    batch = data.Transform(size, (0.5,) * 3, (0.5,) * 3, train=True, augmentation=chosen)(opened.take(range(16)))
    assert batch.action_units.shape == opened.take(range(16)).action_units.shape


def test_clips_may_give_fewer_frames(rendered: SimpleNamespace) -> None:
    if rendered.image.ndim == 4:
        with pytest.raises(UserError, match="at most the 0 that clips of facs-toy have, got 2"):
            data.open("facs-toy", "test", frames=2)
        return
    few = data.open("facs-toy", "test", frames=2)
    batch = few.take([4, 1])
    for name in ("image", "action_units", "landmarks", "parsing"):
        assert torch.equal(getattr(batch, name), getattr(rendered, name)[[4, 1]][:, [1, 3]]), name
    assert few.fingerprint != rendered.fingerprint
    assert data.open("facs-toy", "test", frames=4).fingerprint != few.fingerprint
    with pytest.raises(UserError, match="at most the 4 that clips of facs-toy have, got 5"):
        data.open("facs-toy", "test", frames=5)
    with pytest.raises(UserError, match="frames: expected at least 1, got 0"):
        data.open("facs-toy", "test", frames=0)
    with pytest.raises(UserError, match="unknown setting of data of facs-toy 'frame'"):
        data.open("facs-toy", "test", frame=2)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("facs-still-8", "stills"), ("facs-clip-7", "clips"), ("facs-pain", "subjects"), ("ferplus", "stills"),
        ("dfew", "clips"), ("bah", "subjects"), ("made up", None),
    ],
)  # fmt: skip
def test_kinds(name, kind):
    assert data.kind(name) == kind
