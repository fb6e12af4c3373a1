"""What every test-time method keeps to: no label reaches it, it forgets, and its source never changes."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from pretended import Elsewhere, pretended

from fer_core import adapt
from fer_core.adapt.base import AdaptConfig, Adapted, TestTimeMethod
from fer_core.batch import Batch
from fer_core.errors import UserError

METHODS = adapt.names()
QUICK = {
    "clip-autt": {"window": 4, "steps": 2},
    "tpt": {"views": 4},
    "prompt-align": {"steps": 2},
    "tent": {"steps": 2},
    "tda": {},
}


def built(name, source, videos, **settings):
    method = adapt.build(name, source, {**QUICK[name], **settings})
    method.remember([adapt.unlabelled(videos(8, seed=99))])
    return method


def seen(method, videos, **options):
    return adapt.unlabelled(videos(pixels=method.pixels, **options))


def test_every_method_is_known():
    assert {"clip-autt", "tent", "tpt", "tda", "prompt-align"} == set(METHODS)
    with pytest.raises(UserError, match="test-time method 'tend'; did you mean 'tent'"):
        adapt.get("tend")


def test_nothing_in_an_unlabelled_batch_tells_what_is_shown(videos):
    batch = adapt.unlabelled(videos())
    assert len(batch) == 5
    told = {name: value for name, value in vars(batch).items() if value is not None}
    assert set(told) == {"image", "label", "index", "features"}
    assert len(set(batch.label.tolist())) == 1
    for ask in (
        lambda: F.cross_entropy(torch.zeros(5, 2), batch.label),
        lambda: F.one_hot(batch.label, 2),
        lambda: torch.eye(2)[batch.label],
        lambda: torch.eye(2).gather(0, batch.label[None]),
        lambda: torch.bincount(batch.label),
    ):
        with pytest.raises((IndexError, RuntimeError)):
            ask()


class Cheat(TestTimeMethod):
    """Asks for labels."""

    name, Config = "cheat", AdaptConfig
    adapted_parameters = 0

    def reset(self) -> None:
        pass

    def adapt(self, videos: Batch) -> Adapted:
        output = self.source(videos)
        self.source.losses(videos, output)["loss"].item()
        return Adapted(output.logits, output.features)


def test_a_method_that_asks_for_labels_fails(source, videos):
    batch = videos()
    Cheat(source, AdaptConfig()).adapt(batch)
    with pytest.raises((IndexError, RuntimeError)):
        Cheat(source, AdaptConfig()).adapt(adapt.unlabelled(batch))


@pytest.mark.parametrize("name", METHODS)
def test_labels_change_nothing(name, source, videos):
    method = built(name, source, videos)
    batch = videos(pixels=method.pixels)
    one = method.adapt(adapt.unlabelled(batch)).logits
    other = built(name, source, videos).adapt(adapt.unlabelled(replace(batch, label=1 - batch.label))).logits
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", METHODS)
def test_after_reset_it_is_as_at_the_start(name, source, videos):
    method = built(name, source, videos)
    first, second = seen(method, videos, seed=1), seen(method, videos, seed=2)
    alone = method.adapt(second).logits
    fresh = built(name, source, videos)
    if name == "tpt":  # its views are drawn on, whoever comes
        fresh.generator.set_state(method.generator.get_state())
        method.generator.set_state(torch.Generator().manual_seed(0).get_state())
        fresh.generator.set_state(torch.Generator().manual_seed(0).get_state())
        alone = fresh.adapt(second).logits
        fresh.generator.manual_seed(0)
    fresh.adapt(first)
    after = fresh.adapt(second).logits
    fresh.reset()
    if name == "tpt":
        fresh.generator.manual_seed(0)
    assert torch.equal(fresh.adapt(second).logits, alone)
    if name != "tpt":
        assert not torch.equal(after, alone), "it learned nothing of the first person"


@pytest.mark.parametrize("name", METHODS)
def test_the_source_and_its_clip_stay_bit_identical(name, source, videos):
    before = {key: value.clone() for key, value in source.state_dict().items()}
    method = built(name, source, videos)
    method.adapt(seen(method, videos))
    assert all(torch.equal(value, before[key]) for key, value in source.state_dict().items())


@pytest.mark.parametrize("name", METHODS)
def test_it_says_what_it_must(name, source, videos):
    method = built(name, source, videos)
    said = method.adapt(seen(method, videos))
    assert said.logits.shape == (5, 2)
    assert said.features.shape == (5, 24)
    assert not said.logits.requires_grad
    torch.testing.assert_close(said.features.norm(dim=1), torch.ones(5))
    if said.passes is not None:
        assert torch.equal(said.passes[-1], said.logits)


@pytest.mark.parametrize("name", METHODS)
def test_a_person_elsewhere_is_a_person_on_the_cpu(name, source, videos):
    moved = copy.deepcopy(source)
    method = built(name, source, videos)
    expected = method.adapt(seen(method, videos))
    with pretended() as device:
        method = adapt.build(name, moved.to(device), QUICK[name])
        method.remember([adapt.unlabelled(videos(8, seed=99).to(device))])
        found = method.adapt(seen(method, videos).to(device))
    for part, value in vars(expected).items():
        if value is not None:
            assert isinstance(getattr(found, part), Elsewhere), f"{part} stayed on the CPU"
            torch.testing.assert_close(getattr(found, part).inner, value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["clip-autt", "tpt", "prompt-align"])
def test_methods_that_tune_unit_prompts_want_clip_au(name, tower):
    from fer_core import models

    other = models.build("linear-probe", tower, ("neutral", "pain"))
    with pytest.raises(UserError, match=f"{name}: expected clip-au as its source, got linear-probe"):
        adapt.build(name, other)


def test_settings_that_do_not_fit(source):
    for name, settings, message in (
        ("clip-autt", {"together": 0}, "together: expected at least 1 video, got 0"),
        ("clip-autt", {"steps": -1}, "steps and weight_decay of at least 0"),
        ("clip-autt", {"lr": 0.0}, "lr above 0"),
        ("clip-autt", {"choice": "soft", "temperature": 0.0}, "temperature: expected above 0"),
        ("clip-autt", {"context_length": 0}, "context_length: expected at least 1"),
        ("clip-autt", {"context_length": 9, "start": "words"}, "expected at most 6 with start=words, got 9"),
        ("tent", {"steps": 0}, "steps of at least 1"),
        ("tpt", {"selected": 0.0}, r"selected and least_crop in \(0, 1\]"),
        ("tda", {"positive_shots": -1}, "positive_shots and negative_shots: expected at least 0, got -1 and 2; "),
        ("tda", {"entropy_range": [0.5, 0.2]}, "0 <= low < high <= 1"),
        ("prompt-align", {"beta": -1.0}, "beta: expected at least 0"),
    ):
        with pytest.raises(UserError, match=message):
            adapt.build(name, source, settings)
